// Locks that live through forks, and how a thread waits in a loop.
#ifndef MLP_SYSTEM_H
#define MLP_SYSTEM_H

#include "os/os.h"

// Tells the processor that the thread is in a loop that waits.
static inline void mlp_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// The number of forks between the process that loaded the library and this one. crew.c counts them, in the child.
int mlp_forks(void);
void mlp_count_fork(void);
// The thread that a forked child has of its parent's, by mlp_this_thread; 0: none.
unsigned long mlp_survivor(void);

// Around a few instructions. A child forked meanwhile has a copy of the lock that nobody will give back: it may take
// it.
int mlp_try_lock(int *lock);
void mlp_lock(int *lock);
void mlp_unlock(int *lock);
int mlp_is_locked(const int *lock);

#endif
