// Windows, 7 and later. It does not fork.
#include "../build.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "os.h"

#include <stdlib.h>

double mlp_seconds(void) {
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return (double)ticks.QuadPart / (double)per_second.QuadPart;
}

void mlp_yield(void) { SwitchToThread(); }
void mlp_nap(double seconds) { Sleep((DWORD)(1e3 * seconds)); }

// ---- Sleep: words share condition variables by their addresses ----

#define BELLS 64

// All zeros is how both begin: SRWLOCK_INIT, CONDITION_VARIABLE_INIT.
static struct bell {
    SRWLOCK lock;
    CONDITION_VARIABLE rung;
} bells[BELLS];

static struct bell *bell_of(const atomic_uint *word) { return &bells[(uintptr_t)word / 64 % BELLS]; }

void mlp_sleep_while(atomic_uint *word, unsigned value) {
    struct bell *bell = bell_of(word);
    AcquireSRWLockExclusive(&bell->lock);
    if (atomic_load(word) == value) SleepConditionVariableSRW(&bell->rung, &bell->lock, INFINITE, 0);
    ReleaseSRWLockExclusive(&bell->lock);
}

// Whoever has seen the word's old value holds the lock until it sleeps.
void mlp_wake(atomic_uint *word) {
    struct bell *bell = bell_of(word);
    AcquireSRWLockExclusive(&bell->lock);
    ReleaseSRWLockExclusive(&bell->lock);
    WakeAllConditionVariable(&bell->rung);
}

// ---- Threads ----

const char *mlp_threads_of_system(void) { return "windows"; }

typedef struct {
    void *(*begin)(void *);
    void *argument;
} beginning;

static DWORD WINAPI run_thread(LPVOID argument) {
    beginning b = *(beginning *)argument;
    free(argument);
    b.begin(b.argument);
    return 0;
}

int mlp_thread_start(mlp_thread *thread, void *(*begin)(void *), void *argument) {
    beginning *b = malloc(sizeof *b);
    if (!b) return 0;
    *b = (beginning){begin, argument};
    HANDLE started = CreateThread(NULL, 0, run_thread, b, 0, NULL);
    if (!started) free(b);
    else *thread = (mlp_thread)started;
    return started != NULL;
}

void mlp_thread_join(mlp_thread thread) {
    WaitForSingleObject((HANDLE)thread, INFINITE);
    CloseHandle((HANDLE)thread);
}

void mlp_thread_leave(mlp_thread thread) { CloseHandle((HANDLE)thread); }
unsigned long mlp_this_thread(void) { return GetCurrentThreadId(); }

void mlp_watch_forks(void (*before)(void), void (*after)(void), void (*in_child)(void)) {
    (void)before, (void)after, (void)in_child;
}

// ---- Processors and memory ----

int mlp_processor(void) { return (int)GetCurrentProcessorNumber(); }

// The mask is 0 in a process with threads in several groups of 64 processors.
int mlp_processors_of_process(void) {
    DWORD_PTR mask = 0, all;
    if (GetProcessAffinityMask(GetCurrentProcess(), &mask, &all) && mask) return __builtin_popcountll(mask);
    DWORD n = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return n > 0 ? (int)n : 1;
}

double mlp_cpu_quota(const char *root) { return (void)root, 0; }

void mlp_take_huge_pages(void *block, size_t bytes) { (void)block, (void)bytes; }
#else
typedef int mlp_not_built;
#endif
