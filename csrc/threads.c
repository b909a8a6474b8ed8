// OpenMP has no threads outside a parallel region, and the end of a region waits for all of them, often without
// sleeping. So a thread of ours opens a single region in which the helpers work as long as they live, and sleeps
// meanwhile.
#include "build.h"
#include "threads.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "mlpfast.h"
#include "system.h"

#if defined(_OPENMP)
#include <omp.h>

const char *mlp_threading(void) { return "openmp"; }

int mlp_threads_allowed(void) { return omp_get_max_threads(); }
void mlp_threads_allow(int n) { omp_set_num_threads(n); }

static mlp_thread opener;
static int has_opener;
static atomic_uint newest;  // the number of the region that is to stay open

static void *wait_for_end_of_trial(void *is_over) {
    while (!atomic_load((atomic_uint *)is_over)) mlp_sleep_while(is_over, 0);
    return NULL;
}

// How many of those threads the system allows. libgomp ends the process if it cannot create one, for example under a
// limit on processes or memory: so all are created once before, and joined. Their cached stacks are reused.
static int available(int wanted) {
    mlp_thread trial[MLP_MOST_THREADS];
    atomic_uint is_over;
    int size = 0;
    atomic_init(&is_over, 0);
    while (size < wanted && mlp_thread_start(&trial[size], wait_for_end_of_trial, &is_over)) size++;
    atomic_store(&is_over, 1);
    mlp_wake(&is_over);
    for (int i = 0; i < size; i++) mlp_thread_join(trial[i]);
    return size;
}

static void *open_region(void *argument) {
    unsigned number = (unsigned)((uintptr_t)argument / MLP_MOST_THREADS);
    int helpers = available((int)((uintptr_t)argument % MLP_MOST_THREADS));
#pragma omp parallel num_threads(helpers + 1)
    if (omp_get_thread_num() > 0) mlp_help(number);
    else while (atomic_load(&newest) == number) mlp_sleep_while(&newest, number);
    return NULL;
}

int mlp_threads_start(int n, unsigned number) {
    atomic_store(&newest, number);
    if (n >= MLP_MOST_THREADS) n = MLP_MOST_THREADS - 1;
    has_opener = mlp_thread_start(&opener, open_region, (void *)((uintptr_t)number * MLP_MOST_THREADS + (uintptr_t)n));
    return has_opener;
}

// LLVM's OpenMP holds a lock during a fork that its threads need to end, and takes care of the child itself. libgomp
// does not: a child forked in the middle of the end of a region would inherit half of it.
#if !defined(__clang__)
extern int __kmpc_global_thread_num(void *) __attribute__((weak));  // defined if LLVM's runtime replaces libgomp
static int waits_for_end(void) { return !__kmpc_global_thread_num; }
#else
static int waits_for_end(void) { return 0; }
#endif

void mlp_threads_finish(void) {
    atomic_fetch_add(&newest, 1);
    mlp_wake(&newest);
    if (has_opener && waits_for_end()) mlp_thread_join(opener);
    else if (has_opener) mlp_thread_leave(opener);
    has_opener = 0;
}

#elif defined(MLP_PTHREADS)
const char *mlp_threading(void) { return mlp_threads_of_system(); }

// The first number of a variable of OpenMP's that has a list of them, such as "4,2"; what OpenMP would ignore is no limit.
static int of_environment(const char *name) {
    const char *text = getenv(name);
    long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < MLP_MOST_THREADS ? (int)n : MLP_MOST_THREADS;
}

// As OpenMP, the variables are read once: a program may change its environment while other threads are in calls.
static atomic_int by_default = MLP_MOST_THREADS, by_limit = MLP_MOST_THREADS;

__attribute__((constructor)) static void read_environment(void) {
    int limit = of_environment("OMP_THREAD_LIMIT"), n = of_environment("OMP_NUM_THREADS");
    atomic_store(&by_limit, limit);
    atomic_store(&by_default, n < limit ? n : limit);
}

static _Thread_local int allowed;  // 0: by default. As omp_set_num_threads, for calls of this thread

int mlp_threads_allowed(void) { return allowed ? allowed : atomic_load_explicit(&by_default, memory_order_relaxed); }

void mlp_threads_allow(int n) {
    int limit = atomic_load_explicit(&by_limit, memory_order_relaxed);
    allowed = n < limit ? n : limit;
}

static mlp_thread threads[MLP_MOST_THREADS];
static int size;

static void *begin(void *number) {
    mlp_help((unsigned)(uintptr_t)number);
    return NULL;
}

// A call's own thread is one of those that OMP_THREAD_LIMIT counts.
int mlp_threads_start(int n, unsigned number) {
    int limit = atomic_load(&by_limit);
    if (n >= limit) n = limit - 1;
    while (size < n && mlp_thread_start(&threads[size], begin, (void *)(uintptr_t)number)) size++;
    return size > 0;
}

void mlp_threads_finish(void) {
    while (size > 0) mlp_thread_join(threads[--size]);
}

#else
const char *mlp_threading(void) { return "none"; }
int mlp_threads_allowed(void) { return 1; }
void mlp_threads_allow(int n) { (void)n; }
int mlp_threads_start(int n, unsigned number) { return (void)n, (void)number, 0; }
void mlp_threads_finish(void) {}
#endif
