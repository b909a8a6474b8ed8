// WASI: WebAssembly without threads, signals and forks. Its clock is that of posix.c.
#include "../build.h"

#if defined(__wasi__)
#include "os.h"

void mlp_sleep_while(atomic_uint *word, unsigned value) { (void)word, (void)value; }
void mlp_wake(atomic_uint *word) { (void)word; }

const char *mlp_threads_of_system(void) { return "none"; }
int mlp_thread_start(mlp_thread *thread, void *(*begin)(void *), void *argument) {
    return (void)thread, (void)begin, (void)argument, 0;
}
void mlp_thread_join(mlp_thread thread) { (void)thread; }
void mlp_thread_leave(mlp_thread thread) { (void)thread; }
unsigned long mlp_this_thread(void) { return 1; }
void mlp_watch_forks(void (*before)(void), void (*after)(void), void (*in_child)(void)) {
    (void)before, (void)after, (void)in_child;
}

int mlp_processor(void) { return -1; }
int mlp_processors_of_process(void) { return 1; }
double mlp_cpu_quota(const char *root) { return (void)root, 0; }
void mlp_take_huge_pages(void *block, size_t bytes) { (void)block, (void)bytes; }
#else
typedef int mlp_not_built;
#endif
