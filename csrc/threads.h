// Where helpers come from: OpenMP, or threads of the system if the compiler has no OpenMP or the build asked for them. Only
// threads.c knows which.
#ifndef MLP_THREADS_H
#define MLP_THREADS_H

#define MLP_MOST_THREADS 256  // of a call

// As many threads as the settings of OpenMP allow calls of this thread. Threads of the system obey the variables
// OMP_NUM_THREADS and OMP_THREAD_LIMIT, as they were when the library was loaded, and this function: n >= 1.
int mlp_threads_allowed(void);
void mlp_threads_allow(int n);

// Starts up to n threads that call mlp_help(number), in which all signals are blocked, and does not wait for them.
// Returns 0 if there will be none. Between two starts: mlp_threads_finish.
int mlp_threads_start(int n, unsigned number);
void mlp_help(unsigned number);  // of helpers.c

// After a start all of whose threads have returned from mlp_help or will at once.
void mlp_threads_finish(void);

#endif
