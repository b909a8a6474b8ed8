// For all C tests: counted checks, and buffers with unreadable pages at both ends. Include it first.
#ifndef MLP_TEST_CHECK_H
#define MLP_TEST_CHECK_H

#include "pages.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Checks ----

#define CHECKS_PRINTED 20  // print only the first failures: thousands of similar ones may follow

static long check_count, check_failures;
static char check_doing[256];  // what is being tested, printed with a failure

__attribute__((format(printf, 1, 2))) static inline void doing(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check_doing, sizeof check_doing, format, arguments);
    va_end(arguments);
}

#define CHECK(condition) check_that(!!(condition), #condition, __FILE__, __LINE__)

static inline int check_that(int holds, const char *condition, const char *file, int line) {
    check_count++;
    if (!holds && check_failures++ < CHECKS_PRINTED) {
        fprintf(stderr, "%s:%d: %s\n    is false: %s\n", file, line, check_doing, condition);
    }
    return holds;
}

// On a crash or a timeout, says what was being tested.
static inline void check_died(const char *why) {
    write_error(why);
    write_error(check_doing);
    write_error("\n");
    end_at_once(2);
}

// Call it first. Returns whether the program was called with --quick; sets a time limit in seconds, which the environment
// variable TEST_PATIENCE multiplies: under an emulator all takes some 30 times as long.
static inline int check_begin(int argc, char **argv, unsigned seconds) {
    const char *patience = getenv("TEST_PATIENCE");
    watch_over(seconds * (patience ? (unsigned)atoi(patience) : 1), check_died);
    return argc > 1 && strcmp(argv[1], "--quick") == 0;
}

// The exit code of main.
static inline int check_end(const char *name) {
    printf("%s: %ld checks, %ld failed\n", name, check_count, check_failures);
    return check_failures != 0 || check_count == 0;
}

// ---- Guarded buffers ----

// Memory between two unreadable pages. A test places an array in it that ends directly before the second page (its
// alignment then follows from its length, at least that of an element), or begins directly after the first.
typedef struct {
    unsigned char *begin;
    size_t bytes;  // whole pages
} guarded;

typedef enum { AT_END, AT_BEGIN } guarded_side;

#define CANARY 0xA5
#define CANARY_BYTES 128  // two of the widest vectors

static inline guarded guarded_create(size_t bytes) {
    size_t page = page_size(), room = (bytes + CANARY_BYTES + page - 1) / page * page;
    unsigned char *pages = make_pages(room + 2 * page);
    if (!pages || !forbid_page(pages) || !forbid_page(pages + page + room)) {
        perror("guarded_create");
        exit(3);
    }
    return (guarded){pages + page, room};
}

static inline void guarded_destroy(guarded *buffer) {
    size_t page = page_size();
    free_pages(buffer->begin - page, buffer->bytes + 2 * page);
    *buffer = (guarded){0};
}

static inline unsigned char *guarded_canary(const guarded *buffer, size_t bytes, guarded_side side) {
    return side == AT_END ? buffer->begin + buffer->bytes - bytes - CANARY_BYTES : buffer->begin + bytes;
}

// A place for an array of `bytes` bytes, with a canary on its open side. With 0 bytes and AT_END, the unreadable page.
static inline void *guarded_place(const guarded *buffer, size_t bytes, guarded_side side) {
    if (bytes + CANARY_BYTES > buffer->bytes) {
        fprintf(stderr, "%s: a buffer of the test itself is too small\n", check_doing);
        exit(3);
    }
    memset(guarded_canary(buffer, bytes, side), CANARY, CANARY_BYTES);
    return side == AT_END ? buffer->begin + buffer->bytes - bytes : buffer->begin;
}

// Whether the canary of the last guarded_place is intact.
static inline int guarded_intact(const guarded *buffer, size_t bytes, guarded_side side) {
    const unsigned char *canary = guarded_canary(buffer, bytes, side);
    for (int i = 0; i < CANARY_BYTES; i++) {
        if (canary[i] != CANARY) return 0;
    }
    return 1;
}

#endif
