#include "build.h"
#include "system.h"

// ---- Forks ----

static atomic_int forks;
static atomic_ulong survivor;

int mlp_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }
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
    while (!mlp_try_lock(lock)) mlp_yield();
}

void mlp_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
