// The only file with OpenMP: the parallel region, barriers, forks, and the choice of the number of threads.
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

// `arrived` and `turn` are on separate cache lines, so that arriving members do not invalidate the line that waiting
// members poll.
struct mlp_team {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint turn;
    atomic_int asleep;
    _Alignas(64) int born;  // mlp_forks() when the team began
    mlp_fpmode callers_mode;
    jmp_buf way_out;        // where the calling thread continues in a forked child, see leave_orphaned
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

// Members of all running teams of the process. A call that leaves the number of threads to mlpfast gets at most the
// processors that these leave free.
static atomic_int running;

// A forked child has only the thread that forked. LLVM's OpenMP starts a new pool there. GCC's libgomp keeps a pool of
// threads for each thread that has run a team, and in the child would wait for them forever. So the pool of the forking
// thread is released before the fork, and the parent creates it again later. Within a parallel region it cannot be
// released; the child then computes on one thread, with the same bits.
static atomic_int forks, works_alone;
static _Thread_local int keeps_pool;
static _Thread_local int pool_size = 1;  // libgomp's pool of the calling thread: the size of its last team

#if !defined(_OPENMP) || defined(__clang__)
static int release_pool(void) { return 1; }
#elif __GNUC__ >= 9
extern int __kmpc_global_thread_num(void *) __attribute__((weak));  // defined if LLVM's runtime replaces libgomp
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

// Registered when the library is loaded, since other users of the OpenMP runtime may create a pool as well.
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, NULL, in_child); }

int mlp_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

void mlp_lock(int *lock) {
    int held = mlp_forks() + 1;  // 0: free; any other value was set before a fork and counts as free
    for (;;) {
        int seen = __atomic_load_n(lock, __ATOMIC_RELAXED);
        if (seen != held && __atomic_compare_exchange_n(lock, &seen, held, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return;
        }
        sched_yield();
    }
}

void mlp_unlock(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }

// Whether the process was forked by a member of this running team: the other members exist only in the parent.
static int is_orphan(const mlp_team *team) { return team->born != mlp_forks(); }

// In a forked child: rank 0 returns to where the team began. Any other rank (a user's function that forked there)
// cannot return to a caller: its thread ends, and the process with it.
_Noreturn static void leave_orphaned(const mlp_member *me) {
    if (me->rank == 0) longjmp(me->team->way_out, 1);
    pthread_exit(NULL);
}

#define MOST_THREADS 256  // limits absurd requests before they reach the system

// ---- Running a team ----

#ifdef _OPENMP
// libgomp aborts the process if a thread cannot be created, for example under a limit on processes or memory. So the
// threads by which its pool will grow are first created here, all at once, and joined; their cached stacks are reused.
// Another thread or process can still reach the limit in between.
static void *wait_for_end_of_trial(void *lock) {
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

// The number of threads, at most `wanted`, of which a team can be started.
static int available_threads(int wanted) {
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
    if (is_orphan(me.team)) leave_orphaned(&me);  // the end of the parallel region would wait for the other members
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
    if (threads > 1 && !atomic_load(&works_alone)) threads = available_threads(threads);
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
    if (!is_orphan(&team)) atomic_fetch_sub(&running, threads);  // in_child has reset the count
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

// A phase of a step takes microseconds, so the other members usually arrive during a short spin. If not, there may be
// more threads than cores, and sleeping lets the others run. If two members share a core while another core is idle,
// waking moves one of them there, which sched_yield does not. Sleeping and waking cost 100 us on a virtual Intel Xeon
// with AMX; there, with less than 10 us of spinning, steps of 784-128-10 were slower on two threads than on one.
#define SPIN_SECONDS 25e-6
#define PAUSES 32  // per reading of the clock: 0.3 us on that machine, 2 us on a Skylake server

// Spins until the barrier opens; returns 0 after SPIN_SECONDS.
static int spin_until(mlp_team *team, unsigned turn) {
    double now = 0, end = 0;  // the clock is first read after PAUSES pauses, which usually suffice
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

// A barrier costs about 0.3 us; splitting a phase pays if each thread has several times that. 150,000 operations take
// one core about 1.5 us with AVX-512.
#define FLOPS_PER_THREAD 150e3

// More threads than processors only wait for each other; tests allow them to cover large teams on small machines.
static atomic_int oversubscribes;
void mlp_allow_oversubscription(int allowed) { atomic_store(&oversubscribes, allowed); }

// The processors allowed by the affinity mask and by the CPU quota, which is rounded up.
static int count_processors(void) {
    int n = openmp_processors();
    double quota = ceil(mlp_cpu_quota(""));
    if (quota > 0 && quota < n) n = (int)quota;
    return n > 0 ? n : 1;
}

// Counted once: libgomp counts in a buffer shared by all threads, and a workspace must be sized and used with the same
// number.
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
