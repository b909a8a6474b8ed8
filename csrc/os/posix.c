// The clock of all systems but Windows, and the threads and forks of all but Windows and WASI, which has none.
#include "../build.h"

#if !defined(_WIN32)
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <sched.h>
#include <time.h>

double mlp_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void mlp_yield(void) { sched_yield(); }

void mlp_nap(double seconds) {
    nanosleep(&(struct timespec){(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))}, NULL);
}

#if !defined(__wasi__)
#include <pthread.h>
#include <signal.h>

const char *mlp_threads_of_system(void) { return "pthreads"; }

int mlp_thread_start(mlp_thread *thread, void *(*begin)(void *), void *argument) {
    sigset_t all, before;
    pthread_t started;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int is_started = pthread_create(&started, NULL, begin, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (is_started) *thread = (mlp_thread)started;
    return is_started;
}

void mlp_thread_join(mlp_thread thread) { pthread_join((pthread_t)thread, NULL); }
void mlp_thread_leave(mlp_thread thread) { pthread_detach((pthread_t)thread); }
unsigned long mlp_this_thread(void) { return (unsigned long)pthread_self(); }

void mlp_watch_forks(void (*before)(void), void (*after)(void), void (*in_child)(void)) {
    pthread_atfork(before, after, in_child);
}
#endif
#else
typedef int mlp_not_built;
#endif
