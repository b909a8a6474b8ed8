// What check.h needs of the operating system: unreadable pages, and an end to what crashes or never ends.
#ifndef MLP_TEST_PAGES_H
#define MLP_TEST_PAGES_H

#define OUT_OF_TIME "does not end: "
#define OUT_OF_BOUNDS "touched memory that is not its own: "

static void (*when_died)(const char *why);

#if !defined(_WIN32)
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE  // MAP_ANONYMOUS, sigaction
#endif
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
static inline void *make_pages(size_t bytes) {
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}
static inline int forbid_page(void *page) { return mprotect(page, page_size(), PROT_NONE) == 0; }
static inline void free_pages(void *pages, size_t bytes) { munmap(pages, bytes); }

static inline void end_at_once(int status) { _exit(status); }
// Only write() is safe in a signal handler.
static inline void write_error(const char *text) {
    if (write(2, text, strlen(text)) < 0) _exit(3);
}

static inline void on_signal(int number) { when_died(number == SIGALRM ? OUT_OF_TIME : OUT_OF_BOUNDS); }

// After so many seconds, or what would end the process, died is called.
static inline void watch_over(unsigned seconds, void (*died)(const char *why)) {
    struct sigaction action = {.sa_handler = on_signal};
    when_died = died;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    alarm(seconds);
}

#else
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <io.h>
#include <string.h>

#undef near  // words that the header takes from everybody
#undef far
#undef small
#undef IN
#undef OUT

static inline size_t page_size(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}
static inline void *make_pages(size_t bytes) { return VirtualAlloc(NULL, bytes, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE); }
static inline int forbid_page(void *page) {
    DWORD before;
    return VirtualProtect(page, page_size(), PAGE_NOACCESS, &before) != 0;
}
static inline void free_pages(void *pages, size_t bytes) { (void)bytes, VirtualFree(pages, 0, MEM_RELEASE); }

static inline void end_at_once(int status) { TerminateProcess(GetCurrentProcess(), (UINT)status); }
static inline void write_error(const char *text) { _write(2, text, (unsigned)strlen(text)); }

static inline LONG WINAPI on_exception(EXCEPTION_POINTERS *what) { return (void)what, when_died(OUT_OF_BOUNDS), 0; }
static inline DWORD WINAPI wait_and_die(LPVOID seconds) {
    Sleep((DWORD)(size_t)seconds * 1000);
    when_died(OUT_OF_TIME);
    return 0;
}

// After so many seconds, or what would end the process, died is called.
static inline void watch_over(unsigned seconds, void (*died)(const char *why)) {
    when_died = died;
    SetUnhandledExceptionFilter(on_exception);
    CloseHandle(CreateThread(NULL, 0, wait_and_die, (LPVOID)(size_t)seconds, 0, NULL));
}
#endif

#endif
