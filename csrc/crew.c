// Threads, and the only file that knows OpenMP.
//
// The process has one crew of helpers, at most processors minus one, made when a call first wants one. A call takes a
// slot, in which it posts its phases; helpers that are free are given a place there, and look for the next phase. The
// parts of a phase are claimed by compare-and-swap: everyone takes the part of his own place first, so that each core
// keeps its columns of W, and then others that nobody has claimed in time, the caller among them. A phase is over when
// its parts are done, whoever did them: nobody arrives anywhere, and a helper that does not come costs nothing but its
// help. The caller waits only for parts that a helper holds. If that takes long, the system has given the helper's
// processor to somebody else; helpers are then left out for some milliseconds, doubling while it goes on.
//
// Helpers that have found nothing for SPIN_SECONDS sleep. Before a fork they leave, and parent and child make a crew anew
// when they next want one; the call that forked goes on in both, alone.
#define _GNU_SOURCE
#include "crew.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "mlpfast.h"
#include "processors.h"

#ifdef _OPENMP
#include <omp.h>
int mlp_has_openmp(void) { return 1; }
static int openmp_threads(void) { return omp_get_max_threads(); }
#else
int mlp_has_openmp(void) { return 0; }
static int openmp_threads(void) { return 1; }
#endif

#define MOST_THREADS 256  // so that a part's number fits beside that of its phase
#define MOST_CALLS 64     // at a time with helpers; others work alone

// Numbers of phases: a part is claimed by raising `claimed` to the number of its phase, which only one thread can.
typedef struct {
    _Alignas(64) atomic_ullong claimed;
    atomic_ullong done;
    atomic_int awaits;  // whether a helper has this place
} part_state;

struct mlp_slot {
    _Alignas(64) atomic_ullong phase;  // number * MOST_THREADS + parts - 1, of the newest
    mlp_work *work;                    // of that phase: constant as long as one of its parts is not done
    void *context;
    _Alignas(64) int lock;             // held by the call that has the slot
    atomic_uint bell;                  // counts the parts that were done while the caller slept
    atomic_int caller_sleeps;
    part_state part[MOST_THREADS];
};

typedef struct {
    _Alignas(64) atomic_uint place;  // 0: none; else 1 + slot * MOST_THREADS + part
    atomic_int asleep;
} helper;

static mlp_slot slots[MOST_CALLS];
static struct {
    int lock;             // around making and dismissing it
    pthread_t opener;     // the thread that opened the region of the helpers
    int has_opener;
    atomic_int wanted;    // helpers to be made
    atomic_int size;      // helpers that there are
    atomic_int left;      // of those that are to leave
    atomic_uint number, opened;  // of the newest crew, and of the newest whose helpers are there
    _Atomic double benched_until, backoff;
    helper helpers[MOST_THREADS];
} crew;

#define GONE UINT_MAX  // the place of a helper that is to leave

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

double mlp_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__linux__)
static void sleep_while(atomic_uint *word, unsigned value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }
#else
static void sleep_while(atomic_uint *word, unsigned value) {
    if (atomic_load(word) == value) nanosleep(&(struct timespec){0, 50000}, NULL);
}
static void wake(atomic_uint *word) { (void)word; }
#endif

// ---- Forks ----

static atomic_int forks;
static atomic_ulong survivor;
static atomic_int callers;           // calls that may have helpers, of all threads
static _Thread_local int own_calls;  // of this thread
int mlp_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }
unsigned long mlp_this_thread(void) { return (unsigned long)pthread_self(); }
unsigned long mlp_survivor(void) { return atomic_load_explicit(&survivor, memory_order_relaxed); }

static int try_lock(int *lock) {
    int held = mlp_forks() + 1;  // 0: free; any other value was set before a fork and counts as free
    int seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
    return seen != held && __atomic_compare_exchange_n(lock, &seen, held, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void mlp_lock(int *lock) {
    while (!try_lock(lock)) sched_yield();
}

void mlp_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }

// ---- Parts ----

#define PAUSES 32           // per reading of the clock: 0.3 us on an Intel Xeon with AMX, 2 us on a Skylake server
#define SPIN_SECONDS 25e-6  // sleeping and waking take 20 to 60 us on a virtual machine

// With MLP_DELAYS, for tests, a thread may stop for a while at any point where another one could overtake it.
#ifdef MLP_DELAYS
static void delay(void) {
    static _Thread_local unsigned state;
    if (state == 0) state = (unsigned)mlp_this_thread() / 4096 | 1;
    state = state * 1664525u + 1013904223u;
    if (state >> 26 == 0) nanosleep(&(struct timespec){0, (long)(state % 300000)}, NULL);
}
#else
static void delay(void) {}
#endif

static int claim(mlp_slot *slot, int part, unsigned long long phase) {
    delay();
    atomic_ullong *claimed = &slot->part[part].claimed;
    unsigned long long seen = atomic_load_explicit(claimed, memory_order_relaxed);
    return seen < phase && atomic_compare_exchange_strong(claimed, &seen, phase);
}

static void do_part(mlp_slot *slot, int part, int parts, unsigned long long phase) {
    delay();
    slot->work(slot->context, (mlp_part){part, parts});
    delay();
    atomic_store(&slot->part[part].done, phase);
    if (atomic_load(&slot->caller_sleeps)) {
        atomic_fetch_add(&slot->bell, 1);
        wake(&slot->bell);
    }
}

// Takes parts of that phase until all are claimed: that of its place, then those whose helper is not there or late.
// Part 0 is the caller's, who alone may call functions of the program's.
static void take_parts(mlp_slot *slot, int place, int parts, unsigned long long phase) {
    if (claim(slot, place, phase)) do_part(slot, place, parts, phase);
    if (place > 0 && parts == 2) return;
    for (int late = 0; late < 2; late++) {
        for (int i = 1; i < parts; i++) {
            int part = (place + i) % parts;
            if (part == 0) continue;
            if (atomic_load_explicit(&slot->part[part].claimed, memory_order_relaxed) >= phase) continue;
            if (!late && atomic_load_explicit(&slot->part[part].awaits, memory_order_relaxed)) continue;
            if (claim(slot, part, phase)) do_part(slot, part, parts, phase);
        }
        for (int i = 0; !late && i < PAUSES / 4; i++) relax();
    }
}

// ---- Helpers ----

static mlp_slot *slot_of(unsigned place) { return &slots[(place - 1) / MOST_THREADS]; }
static int part_of(unsigned place) { return (int)((place - 1) % MOST_THREADS); }
static int is_place(unsigned place) { return place != 0 && place != GONE; }

static void leave_place(unsigned place) { atomic_store(&slot_of(place)->part[part_of(place)].awaits, 0); }

#ifdef _OPENMP
// Without work for SPIN_SECONDS: gives up the place, and sleeps until it gets another.
static void rest(helper *h, unsigned place) {
    if (is_place(place)) {
        if (!atomic_compare_exchange_strong(&h->place, &place, 0)) return;  // it has another by now
        leave_place(place);
    }
    atomic_store(&h->asleep, 1);
    while (atomic_load(&h->place) == 0) sleep_while(&h->place, 0);
    atomic_store(&h->asleep, 0);
}

// Takes parts at that place as they are posted, as long as there are any within PAUSES.
static void work_at(const helper *h, unsigned place, unsigned long long *seen) {
    mlp_slot *slot = slot_of(place);
    for (int pauses = 0; pauses < PAUSES; pauses++) {
        unsigned long long phase = atomic_load_explicit(&slot->phase, memory_order_acquire);
        int mine = part_of(place), parts = (int)(phase % MOST_THREADS) + 1;
        if (phase != *seen) {
            *seen = phase;
            if (mine < parts) take_parts(slot, mine, parts, phase / MOST_THREADS);
            pauses = 0;
        }
        if (atomic_load_explicit(&h->place, memory_order_relaxed) != place) return;
        relax();
    }
}

static void help(helper *h) {
    unsigned last = 0;
    unsigned long long seen = 0;
    double until = 0;
    mlp_fpmode_enter_core();
    for (;;) {
        unsigned place = atomic_load_explicit(&h->place, memory_order_acquire);
        if (place == GONE) {
            atomic_fetch_add(&crew.left, 1);  // from here on it touches nothing of the crew's
            return;
        }
        if (place != last) last = place, seen = 0, until = 0;
        unsigned long long before = seen;
        if (is_place(place)) work_at(h, place, &seen);
        else for (int i = 0; i < PAUSES; i++) relax();
        double now = mlp_seconds();
        if (until == 0 || seen != before) until = now + SPIN_SECONDS;
        if (now > until) rest(h, place), until = 0;
    }
}

static void *wait_for_end_of_trial(void *lock) {
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

// How many of those threads the system allows. libgomp ends the process if it cannot create one, for example under a
// limit on processes or memory: so all are created once before, and joined. Their cached stacks are reused.
static int available_threads(int wanted) {
    pthread_t trial[MOST_THREADS];
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int size = 0;
    pthread_mutex_lock(&lock);
    while (size < wanted && pthread_create(&trial[size], NULL, wait_for_end_of_trial, &lock) == 0) size++;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < size; i++) pthread_join(trial[i], NULL);
    return size;
}

// rank 0 tells that the helpers of crew `number` are there, unless they are to leave before they have begun.
static void tell_size(unsigned number, int size) {
    while (!try_lock(&crew.lock)) {
        if (atomic_load(&crew.number) != number) return;
        sched_yield();
    }
    if (atomic_load(&crew.number) == number) {
        atomic_store(&crew.size, size);
        atomic_store(&crew.opened, number);
    }
    mlp_unlock(&crew.lock);
}

static void *open_region(void *argument) {
    unsigned number = (unsigned)(uintptr_t)argument;
    int helpers = available_threads(atomic_load(&crew.wanted));
#pragma omp parallel num_threads(helpers + 1)
    {
        int rank = omp_get_thread_num();
        if (rank == 0) {
            tell_size(number, omp_get_num_threads() - 1);
            // The end of the region may spin for as long as it waits.
            while (atomic_load(&crew.number) == number) sleep_while(&crew.number, number);
        } else {
            while (atomic_load(&crew.opened) != number && atomic_load(&crew.number) == number) sched_yield();
            if (atomic_load(&crew.opened) == number) help(&crew.helpers[rank - 1]);
        }
    }
    return NULL;
}
#else
static void *open_region(void *argument) { return argument; }
#endif

// ---- The crew ----

// LLVM's OpenMP holds a lock during a fork that its threads need to end, and takes care of the child itself. libgomp does
// not: a child forked in the middle of the end of a region would inherit half of it.
#if defined(_OPENMP) && !defined(__clang__)
extern int __kmpc_global_thread_num(void *) __attribute__((weak));  // defined if LLVM's runtime replaces libgomp
static int waits_for_end(void) { return !__kmpc_global_thread_num; }
#else
static int waits_for_end(void) { return 0; }
#endif

// Helpers finish the parts they hold, and leave. Under the lock.
static void dismiss(void) {
    int size = atomic_load(&crew.size);
    atomic_store(&crew.left, 0);
    atomic_fetch_add(&crew.number, 1);
    wake(&crew.number);
    for (int i = 0; i < size; i++) {
        unsigned place = atomic_exchange(&crew.helpers[i].place, GONE);
        if (is_place(place)) leave_place(place);
        wake(&crew.helpers[i].place);
    }
    while (atomic_load(&crew.left) < size) sched_yield();
    if (crew.has_opener && waits_for_end()) pthread_join(crew.opener, NULL);
    else if (crew.has_opener) pthread_detach(crew.opener);
    crew.has_opener = 0;
    atomic_store(&crew.size, 0);
}

// Makes that many helpers if there are fewer, and waits for them, but not longer than until a fork: LLVM's OpenMP may
// keep them from coming before it is over. A thread that cannot be made is no error.
static void make_crew(int helpers) {
    sigset_t all, before;
    if (!mlp_has_openmp()) return;
    mlp_lock(&crew.lock);
    if (!crew.has_opener || atomic_load(&crew.wanted) < helpers) {
        dismiss();
        atomic_store(&crew.wanted, helpers);
        for (int i = 0; i < helpers; i++) atomic_store(&crew.helpers[i].place, 0);
        void *number = (void *)(uintptr_t)atomic_load(&crew.number);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
        crew.has_opener = pthread_create(&crew.opener, NULL, open_region, number) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    unsigned number = atomic_load(&crew.number);
    int comes = crew.has_opener;
    mlp_unlock(&crew.lock);
    while (comes && atomic_load(&crew.opened) != number && atomic_load(&crew.number) == number) sched_yield();
}

static void before_fork(void) {
    mlp_lock(&crew.lock);
    dismiss();
}

static void after_fork(void) { mlp_unlock(&crew.lock); }

static void in_child(void) {
    atomic_store(&survivor, mlp_this_thread());
    atomic_fetch_add(&forks, 1);
    atomic_store(&callers, own_calls);
    // A thread that the child does not have may have been about to recruit.
    for (int slot = 0; slot < MOST_CALLS; slot++) {
        for (int part = 1; part <= atomic_load(&crew.wanted); part++) atomic_store(&slots[slot].part[part].awaits, 0);
    }
    mlp_unlock(&crew.lock);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

// ---- Calls ----

// The slot of the thread's last call, where its helpers still are if that was a moment ago; or any that is free.
static mlp_slot *take_slot(void) {
    static _Thread_local unsigned last;
    for (unsigned i = 0; i < MOST_CALLS; i++) {
        unsigned number = (last + i) % MOST_CALLS;
        if (try_lock(&slots[number].lock)) return &slots[last = number];
    }
    return NULL;
}

static unsigned place_of(const mlp_slot *slot, int part) {
    return 1 + (unsigned)(slot - slots) * MOST_THREADS + (unsigned)part;
}

// Whether the helper can be given another place: it has none, or one where no call is at work.
static int is_free(unsigned place) {
    if (!is_place(place)) return place == 0;
    return __atomic_load_n(&slot_of(place)->lock, __ATOMIC_RELAXED) != mlp_forks() + 1;
}

// Gives free helpers the places of slot that nobody has, and wakes them.
static void recruit(mlp_slot *slot, int parts) {
    int size = atomic_load(&crew.size), next = 0;
    for (int part = 1; part < parts; part++) {
        while (!atomic_load(&slot->part[part].awaits) && next < size) {
            helper *h = &crew.helpers[next++];
            unsigned place = atomic_load(&h->place);
            if (!is_free(place)) continue;
            atomic_store(&slot->part[part].awaits, 1);
            if (!atomic_compare_exchange_strong(&h->place, &place, place_of(slot, part))) {
                atomic_store(&slot->part[part].awaits, 0);
                continue;
            }
            if (is_place(place)) leave_place(place);
            if (atomic_load(&h->asleep)) wake(&h->place);
        }
    }
}

static atomic_int oversubscribes;  // for tests: large crews on small machines
void mlp_allow_oversubscription(int allowed) { atomic_store(&oversubscribes, allowed); }

// Callers divide the processors that there are.
static int share_of(const mlp_call *call) {
    int left = mlp_processors() - atomic_load_explicit(&callers, memory_order_relaxed) + 1;
    return atomic_load(&oversubscribes) || left > call->most ? call->most : left;
}

void mlp_call_refresh(mlp_call *call) {
    call->parts = 1;
    int most = call->slot ? share_of(call) : 1;
    if (most <= 1) return;
    double until = atomic_load_explicit(&crew.benched_until, memory_order_relaxed);
    if (until > 0 && mlp_seconds() < until) return;
    recruit(call->slot, most);
    for (int part = 1; part < most; part++) {
        if (atomic_load_explicit(&call->slot->part[part].awaits, memory_order_relaxed)) call->parts = most;
    }
}

void mlp_call_begin(mlp_call *call, int parts) {
    *call = (mlp_call){.most = parts < MOST_THREADS ? parts : MOST_THREADS, .parts = 1};
    call->callers_mode = mlp_fpmode_enter_core();
    if (call->most == 1) return;
    int helpers = call->most - 1, others = mlp_processors() - 1;
    if (atomic_load(&crew.wanted) < helpers || atomic_load(&crew.size) == 0) {
        make_crew(helpers > others ? helpers : others);
    }
    call->slot = take_slot();
    atomic_fetch_add(&callers, 1);
    own_calls++;
    mlp_call_refresh(call);
}

void mlp_call_end(mlp_call *call) {
    if (call->slot) mlp_unlock(&call->slot->lock);
    if (call->most > 1) atomic_fetch_sub(&callers, 1), own_calls--;
    mlp_fpmode_leave(call->callers_mode);
}

#define LATE_SECONDS 200e-6      // beyond what a part may reasonably take longer than another
#define SHORTEST_BENCH 2e-3
#define LONGEST_BENCH 100e-3

// Doubles if helpers were not on time for as long as they had been left out; else it begins anew.
static void was_late(void) {
    double now = mlp_seconds(), backoff = atomic_load(&crew.backoff);
    backoff = now - atomic_load(&crew.benched_until) < backoff ? 2 * backoff : SHORTEST_BENCH;
    if (backoff > LONGEST_BENCH) backoff = LONGEST_BENCH;
    atomic_store(&crew.backoff, backoff);
    atomic_store(&crew.benched_until, now + backoff);
}

// The caller waits for a part that a helper holds.
static void wait_for(mlp_slot *slot, int part, unsigned long long phase, double started) {
    atomic_ullong *done = &slot->part[part].done;
    double begin = 0, now = 0;
    while (atomic_load_explicit(done, memory_order_acquire) < phase) {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(done, memory_order_acquire) >= phase) break;
            relax();
        }
        now = mlp_seconds();
        if (begin == 0) begin = now;
        if (now - begin < SPIN_SECONDS) continue;
        unsigned bell = atomic_load(&slot->bell);
        atomic_store(&slot->caller_sleeps, 1);
        if (atomic_load(done) < phase) sleep_while(&slot->bell, bell);
        atomic_store(&slot->caller_sleeps, 0);
    }
    if (begin > 0 && now - begin > LATE_SECONDS && now - begin > begin - started) was_late();
}

void mlp_call_run(mlp_call *call, mlp_work *work, void *context) {
    mlp_slot *slot = call->slot;
    if (call->parts == 1) {
        work(context, (mlp_part){0, 1});
        return;
    }
    double started = mlp_seconds();
    int parts = call->parts;
    unsigned long long phase = atomic_load_explicit(&slot->phase, memory_order_relaxed) / MOST_THREADS + 1;
    slot->work = work, slot->context = context;
    atomic_store(&slot->phase, phase * MOST_THREADS + (unsigned)parts - 1);
    take_parts(slot, 0, parts, phase);
    for (int part = 1; part < parts; part++) wait_for(slot, part, phase, started);
}

// ---- How many ----

// A phase costs about 0.3 us; splitting it pays if each thread has several times that. 150,000 operations take one core
// about 1.5 us with AVX-512.
#define FLOPS_PER_THREAD 150e3

// The processors of the affinity mask. Not omp_get_num_procs: libgomp counts in a buffer that all threads share.
static int processors_of_mask(void) {
#if defined(__linux__)
    unsigned long mask[128];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int n = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++) n += __builtin_popcountl(mask[i]);
    if (n > 0) return n;
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

// Those that the affinity mask and the CPU quota, rounded up, allow. Without OpenMP there are no helpers for more.
static int count_processors(void) {
    int n = mlp_has_openmp() ? processors_of_mask() : 1;
    double quota = ceil(mlp_cpu_quota(""));
    if (quota > 0 && quota < n) n = (int)quota;
    return n > 0 ? n : 1;
}

#define COUNT_SECONDS 0.05  // a change is obeyed within that time; counting takes some 30 us

static atomic_int counted, counted_first;

int mlp_processors(void) {
    static _Atomic double when;
    double now = mlp_seconds();
    if (atomic_load(&counted) > 0 && now - atomic_load(&when) < COUNT_SECONDS) return atomic_load(&counted);
    atomic_store(&when, now);
    int n = count_processors(), none = 0;
    atomic_compare_exchange_strong(&counted_first, &none, n);
    atomic_store(&counted, n);
    return n;
}

// Those of the first count: what memory is sized by must not change between sizing and use.
static int processors_at_first(void) {
    int n = atomic_load(&counted_first);
    return n > 0 ? n : (mlp_processors(), atomic_load(&counted_first));
}

int mlp_max_threads(void) {
    int n = openmp_threads(), most = mlp_processors();
    return n < most ? n : most;
}

static int at_most(int n, double most) { return most >= n ? n : most < 1 ? 1 : (int)most; }

int mlp_crew_bound(int asked, double flops_per_phase) {
    int most = asked > 0 ? asked : asked == 0 ? processors_at_first() : asked > -MOST_THREADS ? -asked : MOST_THREADS;
    if (most > MOST_THREADS) most = MOST_THREADS;
    return asked > 0 ? most : at_most(most, flops_per_phase / FLOPS_PER_THREAD);
}

int mlp_crew_size(int asked, double flops_per_phase) {
    int size = mlp_crew_bound(asked, flops_per_phase);
    if (size <= 1) return 1;  // without a look at the clock
    if (asked == 0) size = at_most(size, mlp_max_threads());
    return atomic_load(&oversubscribes) ? size : at_most(size, mlp_processors());
}
