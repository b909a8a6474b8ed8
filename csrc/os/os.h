// What the core needs of the operating system. Each .c file of this folder is for one system, or for those that share
// an interface, and is empty on all others: nothing outside of it asks which system it is on.
#ifndef MLP_OS_H
#define MLP_OS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

// ---- Time ----

// A monotonic clock.
double mlp_seconds(void);
// Lets other threads run: those that are ready, or for about so long.
void mlp_yield(void);
void mlp_nap(double seconds);

// Sleeps until mlp_wake is called for that word, or returns at once if it does not have that value. It may return
// without reason.
void mlp_sleep_while(atomic_uint *word, unsigned value);
void mlp_wake(atomic_uint *word);

// ---- Threads ----

typedef uintptr_t mlp_thread;

// What they are called: mlp_threading.
const char *mlp_threads_of_system(void);
// Starts a thread, in which all signals are blocked: they are for the program's own. Returns 0 if it cannot.
int mlp_thread_start(mlp_thread *thread, void *(*begin)(void *), void *argument);
void mlp_thread_join(mlp_thread thread);
void mlp_thread_leave(mlp_thread thread);  // it will not be joined
// This thread, as a number that other threads do not have.
unsigned long mlp_this_thread(void);

// From now on these are called around each fork, the last one in the child.
void mlp_watch_forks(void (*before)(void), void (*after)(void), void (*in_child)(void));

// ---- Processors and memory ----

// The number of the processor that the thread is on; -1 where the system does not say.
int mlp_processor(void);
// Those that the process may run on, at least 1.
int mlp_processors_of_process(void);
// The CPU time that the control groups of this process allow it, in processors, e.g. 1.5; 0 without a limit. root is
// prefixed to every path that is read: "" except in tests.
double mlp_cpu_quota(const char *root);

#define MLP_HUGE_PAGE ((size_t)1 << 21)
// A block of memory, of whole huge pages, may be made of them.
void mlp_take_huge_pages(void *block, size_t bytes);

#endif
