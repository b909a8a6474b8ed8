// What the library needs of the operating system: a clock, sleeping, and locks that live through forks.
#ifndef MLP_SYSTEM_H
#define MLP_SYSTEM_H

#include <stdatomic.h>

// A monotonic clock.
double mlp_seconds(void);

// The number of the processor that the thread is on; -1 where the system does not say.
int mlp_processor(void);

// Tells the processor that the thread is in a loop that waits.
static inline void mlp_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Sleeps until mlp_wake is called for that word, or returns at once if it does not have that value. It may return
// without reason.
void mlp_sleep_while(atomic_uint *word, unsigned value);
void mlp_wake(atomic_uint *word);

// The number of forks between the process that loaded the library and this one. crew.c counts them, in the child.
int mlp_forks(void);
void mlp_count_fork(void);
// This thread, and the one that a forked child has of its parent's, as numbers that other threads do not have; 0: none.
unsigned long mlp_this_thread(void);
unsigned long mlp_survivor(void);

// Around a few instructions. A child forked meanwhile has a copy of the lock that nobody will give back: it may take
// it.
int mlp_try_lock(int *lock);
void mlp_lock(int *lock);
void mlp_unlock(int *lock);
int mlp_is_locked(const int *lock);

#endif
