// The only file with OpenMP: parallel region, barrier, and how many threads a job is worth.
#define _DEFAULT_SOURCE
#include "team.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "fpmode.h"
#include "mlpfast.h"
#include "processors.h"

#ifdef _OPENMP
#include <omp.h>
#endif

// The counters stand on cache lines of their own: arriving members must not disturb the waiting ones.
struct mlp_team {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint turn;
    atomic_int asleep;
    _Alignas(64) int born;  // mlp_forks() when it began
    mlp_fpmode callers_mode;
    jmp_buf way_out;        // of the calling thread, once it is an orphan
};

#ifdef _OPENMP
int mlp_has_openmp(void) { return 1; }
static int openmp_threads(void) { return omp_get_max_threads(); }
static int openmp_processors(void) { return omp_get_num_procs(); }
#else
int mlp_has_openmp(void) { return 0; }
static int openmp_threads(void) { return 1; }
static int openmp_processors(void) { return 1; }
#endif

// ---- Forks ----

// Members of all teams of the process that are at work. Who leaves the choice to mlpfast gets what the others leave
// free.
static atomic_int running;

// A forked child has the thread that forked and no other. LLVM's OpenMP begins anew in it. GCC's keeps a pool of
// threads for each thread that has run a team, and would wait in the child for ever for those of this one: they are let
// go before the fork, which costs the parent making them again. Where that cannot be done, within a parallel region,
// the child works alone, with the same bits.
static atomic_int forks, works_alone;
static _Thread_local int keeps_pool;
static _Thread_local int pool_size = 1;  // of the calling thread: its last team

#if !defined(_OPENMP) || defined(__clang__)
static int release_pool(void) { return 1; }
#elif __GNUC__ >= 9
extern int __kmpc_global_thread_num(void *) __attribute__((weak));  // where LLVM's stands in for GCC's
static int release_pool(void) { return __kmpc_global_thread_num || omp_pause_resource_all(omp_pause_hard) == 0; }
#else
static int release_pool(void) { return 0; }
#endif

static void before_fork(void) {
    keeps_pool = !release_pool();
    pool_size = 1;
}

static atomic_ulong survivor;
unsigned long mlp_this_thread(void) { return (unsigned long)pthread_self(); }
unsigned long mlp_survivor(void) { return atomic_load_explicit(&survivor, memory_order_relaxed); }

static void in_child(void) {
    atomic_store(&survivor, mlp_this_thread());
    atomic_fetch_add(&forks, 1);
    atomic_store(&running, 0);
    if (keeps_pool) atomic_store(&works_alone, 1);
}

// As the library is loaded: whatever has used the OpenMP runtime, the child needs a pool that is not there.
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, NULL, in_child); }

int mlp_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

void mlp_lock(int *lock) {
    int held = mlp_forks() + 1;  // 0 is free; what another process held is too
    for (;;) {
        int seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
        if (seen != held && __atomic_compare_exchange_n(lock, &seen, held, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
        sched_yield();
    }
}

void mlp_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }

// The process was forked while this team was at work, from within it: the others are still in the parent, alone.
static int is_orphan(const mlp_team *team) { return team->born != mlp_forks(); }

// The calling thread goes back to where the team began. Another one, in a function of the caller's that forked, has
// nowhere to go: the process ends with its last thread.
_Noreturn static void leave_orphaned(const mlp_member *me) {
    if (me->rank == 0) longjmp(me->team->way_out, 1);
    pthread_exit(NULL);
}

#define MOST_THREADS 256  // absurd numbers do not reach the system

// ---- Running a team ----

#ifdef _OPENMP
// libgomp aborts the process if a thread cannot be created, as under a limit on processes or memory. So as many threads
// as its pool will grow by are created and joined first, all at once; their cached stacks serve those that follow.
// Another thread or process can still use up the limit in between.
static void *wait_for_end_of_trial(void *lock) {
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

// Of a team of so many, how many can be had.
static int threads_to_be_had(int wanted) {
    pthread_t trial[MOST_THREADS];
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int size = pool_size;
    pthread_mutex_lock(&lock);
    while (size < wanted && pthread_create(&trial[size], NULL, wait_for_end_of_trial, &lock) == 0) size++;
    pthread_mutex_unlock(&lock);
    for (int i = pool_size; i < size; i++) pthread_join(trial[i], NULL);
    return pool_size = size < wanted ? size : wanted;
}

static void run_member(mlp_member me, void (*work)(void *context, mlp_member *member), void *context) {
    mlp_fpmode before = mlp_fpmode_enter_core();
    if (me.rank == 0) me.team->callers_mode = before;
    work(context, &me);
    if (is_orphan(me.team)) leave_orphaned(&me);  // the region's end would wait for the others
    mlp_fpmode_leave(before);
}

static int run_together(mlp_team *team, int threads, void (*work)(void *context, mlp_member *member), void *context) {
    if (setjmp(team->way_out)) {
        mlp_fpmode_leave(team->callers_mode);
        return 0;
    }
#pragma omp parallel num_threads(threads)
    {
        // The runtime may give fewer threads than asked for.
        mlp_member member = {team, omp_get_thread_num(), omp_get_num_threads(), 0};
        run_member(member, work, context);
    }
    return 1;
}
#endif

static int run_team(mlp_team *team, int threads, void (*work)(void *context, mlp_member *member), void *context) {
#ifdef _OPENMP
    if (threads > 1 && !atomic_load(&works_alone)) threads = threads_to_be_had(threads);
    if (threads > 1 && !atomic_load(&works_alone)) return run_together(team, threads, work, context);
#else
    (void)threads;
#endif
    mlp_member alone = {team, 0, 1, 0};
    mlp_fpmode before = mlp_fpmode_enter_core();
    work(context, &alone);
    mlp_fpmode_leave(before);
    return 1;
}

int mlp_team_run(int threads, void (*work)(void *context, mlp_member *member), void *context) {
    mlp_team team;
    atomic_init(&team.arrived, 0);
    atomic_init(&team.turn, 0);
    atomic_init(&team.asleep, 0);
    team.born = mlp_forks();
    atomic_fetch_add(&running, threads);
    int ended = run_team(&team, threads, work, context);
    if (!is_orphan(&team)) atomic_fetch_sub(&running, threads);  // a child counts from zero
    return ended;
}

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

// A phase of a step takes microseconds, so the others are usually here within a short spin. When they are not, there may
// be more threads than cores: sleeping lets the others run, and where two members share a core while another is idle,
// waking moves one of them there; yielding does not. To sleep and be woken costs 100 us on a virtual Intel Xeon with AMX;
// less than 10 us of spinning made steps of 784-128-10 slower there on two threads than on one.
#define SPIN_SECONDS 25e-6
#define PAUSES 32  // between two looks at the clock: 0.3 us on that machine, 2 us on a Skylake server

// Whether the others have come.
static int spin_until(mlp_team *team, unsigned turn) {
    double now = 0, end = 0;  // the first look at the clock comes after the first pauses, which mostly are enough
    while (now <= end) {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(&team->turn, memory_order_acquire) == turn) return 1;
            relax();
        }
        now = mlp_seconds();
        if (end == 0) end = now + SPIN_SECONDS;
    }
    return 0;
}

#if defined(__linux__)
static void sleep_while(mlp_team *team, unsigned turn) {
    atomic_fetch_add(&team->asleep, 1);
    if (atomic_load(&team->turn) == turn) syscall(SYS_futex, &team->turn, FUTEX_WAIT_PRIVATE, turn, NULL, NULL, 0);
    atomic_fetch_sub(&team->asleep, 1);
}
static void wake_all(mlp_team *team) {
    if (atomic_load(&team->asleep) > 0) syscall(SYS_futex, &team->turn, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
static void sleep_while(mlp_team *team, unsigned turn) {
    (void)team;
    (void)turn;
    sched_yield();
}
static void wake_all(mlp_team *team) { (void)team; }
#endif

void mlp_team_barrier(mlp_member *member) {
    if (member->size == 1) return;
    mlp_team *team = member->team;
    unsigned turn = ++member->turn;
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == member->size - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store(&team->turn, turn);
        wake_all(team);
        return;
    }
    if (spin_until(team, turn)) return;
    while (atomic_load_explicit(&team->turn, memory_order_acquire) != turn) {
        if (is_orphan(team)) leave_orphaned(member);
        sleep_while(team, turn - 1);
    }
}

// A barrier costs a member about 0.3 us; a phase must hold several times that for each thread to be worth splitting.
// 150,000 operations are about 1.5 us of one core with AVX-512.
#define FLOPS_PER_THREAD 150e3

// More threads than processors only wait for each other; the tests want them all the same.
static atomic_int oversubscribes;
void mlp_allow_oversubscription(int allowed) { atomic_store(&oversubscribes, allowed); }

// What the affinity mask and the CPU quota of the control groups leave; a part of a processor is worth a thread.
static int count_processors(void) {
    int n = openmp_processors();
    double quota = ceil(mlp_cpu_quota(""));
    if (quota > 0 && quota < n) n = (int)quota;
    return n > 0 ? n : 1;
}

// Counted once: libgomp counts in a buffer that all threads share, and a workspace must not be sized by one answer and
// used by another.
int mlp_processors(void) {
    static atomic_int counted;
    int n = atomic_load(&counted), none = 0;
    if (n > 0) return n;
    n = count_processors();
    return atomic_compare_exchange_strong(&counted, &none, n) ? n : none;
}

int mlp_max_threads(void) {
    int n = openmp_threads(), most = mlp_processors();
    return n < most ? n : most;
}

static int at_most(int n, double most) { return most >= n ? n : most < 1 ? 1 : (int)most; }

int mlp_team_bound(int asked, double flops_per_phase) {
    int most = asked > 0 ? asked : asked == 0 ? mlp_processors() : asked > -MOST_THREADS ? -asked : MOST_THREADS;
    if (most > MOST_THREADS) most = MOST_THREADS;
    return asked > 0 ? most : at_most(most, flops_per_phase / FLOPS_PER_THREAD);
}

int mlp_team_size(int asked, double flops_per_phase) {
    int team = mlp_team_bound(asked, flops_per_phase);
    if (asked == 0) team = at_most(team, mlp_max_threads());
    if (atomic_load(&oversubscribes)) return team;
    return at_most(team, asked > 0 ? mlp_processors() : mlp_processors() - atomic_load(&running));
}
