#include "build.h"

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "system.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

double mlp_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__linux__)
int mlp_processor(void) { return sched_getcpu(); }

void mlp_sleep_while(atomic_uint *word, unsigned value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void mlp_wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }
#else
int mlp_processor(void) { return -1; }

void mlp_sleep_while(atomic_uint *word, unsigned value) {
    if (atomic_load(word) == value) nanosleep(&(struct timespec){0, 50000}, NULL);
}

void mlp_wake(atomic_uint *word) { (void)word; }
#endif

// ---- Forks ----

static atomic_int forks;
static atomic_ulong survivor;

int mlp_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }
unsigned long mlp_this_thread(void) { return (unsigned long)pthread_self(); }
unsigned long mlp_survivor(void) { return atomic_load_explicit(&survivor, memory_order_relaxed); }

void mlp_count_fork(void) {
    atomic_store(&survivor, mlp_this_thread());
    atomic_fetch_add(&forks, 1);
}

// ---- Locks ----

// What a lock holds while it is taken. 0: free; any other value was set before a fork and counts as free.
static int taken(void) { return mlp_forks() + 1; }

int mlp_is_locked(const int *lock) { return __atomic_load_n(lock, __ATOMIC_RELAXED) == taken(); }

int mlp_try_lock(int *lock) {
    int seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
    return seen != taken() && __atomic_compare_exchange_n(lock, &seen, taken(), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void mlp_lock(int *lock) {
    while (!mlp_try_lock(lock)) sched_yield();
}

void mlp_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
