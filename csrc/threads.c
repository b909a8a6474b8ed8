// OpenMP has no threads outside a parallel region, and the end of a region waits for all of them, often without
// sleeping. So a thread of ours opens a single region in which the helpers work as long as they live, and sleeps
// meanwhile.
#include "build.h"

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "mlpfast.h"
#include "system.h"

#if defined(_OPENMP) || defined(MLP_PTHREADS)
// Signals are for the program's own threads.
static int create(pthread_t *thread, void *(*begin)(void *), uintptr_t argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int created = pthread_create(thread, NULL, begin, (void *)argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return created;
}
#endif

#if defined(_OPENMP)
#include <omp.h>

const char *mlp_threading(void) { return "openmp"; }

int mlp_threads_allowed(void) { return omp_get_max_threads(); }

static pthread_t opener;
static int has_opener;
static atomic_uint newest;  // the number of the region that is to stay open

static void *wait_for_end_of_trial(void *lock) {
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

// How many of those threads the system allows. libgomp ends the process if it cannot create one, for example under a
// limit on processes or memory: so all are created once before, and joined. Their cached stacks are reused.
static int available(int wanted) {
    pthread_t trial[MLP_MOST_THREADS];
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int size = 0;
    pthread_mutex_lock(&lock);
    while (size < wanted && pthread_create(&trial[size], NULL, wait_for_end_of_trial, &lock) == 0) size++;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < size; i++) pthread_join(trial[i], NULL);
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
    has_opener = create(&opener, open_region, (uintptr_t)number * MLP_MOST_THREADS + (uintptr_t)n);
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
    if (has_opener && waits_for_end()) pthread_join(opener, NULL);
    else if (has_opener) pthread_detach(opener);
    has_opener = 0;
}

#elif defined(MLP_PTHREADS)
const char *mlp_threading(void) { return "pthreads"; }

int mlp_threads_allowed(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < MLP_MOST_THREADS ? (int)n : MLP_MOST_THREADS;
}

static pthread_t threads[MLP_MOST_THREADS];
static int size;

static void *begin(void *number) {
    mlp_help((unsigned)(uintptr_t)number);
    return NULL;
}

int mlp_threads_start(int n, unsigned number) {
    if (n > MLP_MOST_THREADS) n = MLP_MOST_THREADS;
    while (size < n && create(&threads[size], begin, number)) size++;
    return size > 0;
}

void mlp_threads_finish(void) {
    while (size > 0) pthread_join(threads[--size], NULL);
}

#else
const char *mlp_threading(void) { return "none"; }
int mlp_threads_allowed(void) { return 1; }
int mlp_threads_start(int n, unsigned number) { return (void)n, (void)number, 0; }
void mlp_threads_finish(void) {}
#endif
