// macOS, and other systems with POSIX's interface that are not Linux.
//
// Sleeping by condition variables: words share them by their addresses. With MLP_NO_FUTEX Linux has this too, for tests.
#include "../build.h"

#if !defined(_WIN32) && !defined(__wasi__) && (!defined(__linux__) || defined(MLP_NO_FUTEX))
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <pthread.h>
#include <unistd.h>

#define BELLS 64

static struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
} bells[BELLS] = {[0 ... BELLS - 1] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER}};

static struct bell *bell_of(const atomic_uint *word) { return &bells[(uintptr_t)word / 64 % BELLS]; }

void mlp_sleep_while(atomic_uint *word, unsigned value) {
    struct bell *bell = bell_of(word);
    pthread_mutex_lock(&bell->lock);
    if (atomic_load(word) == value) pthread_cond_wait(&bell->rung, &bell->lock);
    pthread_mutex_unlock(&bell->lock);
}

// Whoever has seen the word's old value holds the lock until it sleeps.
void mlp_wake(atomic_uint *word) {
    struct bell *bell = bell_of(word);
    pthread_mutex_lock(&bell->lock);
    pthread_mutex_unlock(&bell->lock);
    pthread_cond_broadcast(&bell->rung);
}

// In a forked child: other threads of the parent's may have held them.
static void renew(void) {
    for (int i = 0; i < BELLS; i++) {
        pthread_mutex_init(&bells[i].lock, NULL);
        pthread_cond_init(&bells[i].rung, NULL);
    }
}

__attribute__((constructor)) static void watch(void) { pthread_atfork(NULL, NULL, renew); }

#if !defined(__linux__)
int mlp_processor(void) { return -1; }

int mlp_processors_of_process(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

double mlp_cpu_quota(const char *root) { return (void)root, 0; }

void mlp_take_huge_pages(void *block, size_t bytes) { (void)block, (void)bytes; }
#endif
#else
typedef int mlp_not_built;
#endif
