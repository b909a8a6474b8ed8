// Teams: the floating-point mode of their members, and teams in forked children.
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "fpmode.h"
#include "mlpfast.h"
#include "team.h"

#define MOST 4

// ---- The floating-point mode ----

#if defined(__x86_64__)
// The default; flush to zero; rounding up, down, toward zero; a trap enabled.
static const mlp_fpmode odd_modes[] = {0x1f80, 0x9fc0, 0x5f80, 0x3f80, 0x7f80, 0x1d80};
#elif defined(__aarch64__)
static const mlp_fpmode odd_modes[] = {0, 1 << 24, 1 << 22, 2 << 22, 3 << 22, 1 << 25};  // the last: default NaN
#endif

#if defined(__x86_64__) || defined(__aarch64__)
typedef struct {
    atomic_int members, in_core;
} modes_seen;

static void see_mode(void *context, mlp_member *me) {
    modes_seen *seen = context;
    atomic_fetch_add(&seen->members, 1);
    atomic_fetch_add(&seen->in_core, mlp_fpmode_is(mlp_fpmode_now(), mlp_fpmode_core()));
    mlp_team_barrier(me);
}

// Sets the modes of OpenMP's workers outside the core, in the pool that the core also uses.
static void set_modes(int threads, mlp_fpmode mode) {
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
#endif
    mlp_fpmode_set(mode);
    mlp_fpmode_set(mode);  // again, since LLVM's OpenMP restores the caller's mode and hands it to the workers
}

static int all_have(int threads, mlp_fpmode mode) {
    atomic_int others;
    atomic_init(&others, 0);
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
#endif
    if (!mlp_fpmode_is(mlp_fpmode_now(), mode)) atomic_fetch_add(&others, 1);
    return atomic_load(&others) == 0;
}

static void test_modes(void) {
    for (size_t i = 0; i < sizeof odd_modes / sizeof *odd_modes; i++) {
        for (int threads = 1; threads <= MOST; threads++) {
            doing("floating-point mode %#lx, %d threads", (unsigned long)odd_modes[i], threads);
            modes_seen seen;
            atomic_init(&seen.members, 0);
            atomic_init(&seen.in_core, 0);
            set_modes(threads, odd_modes[i]);
            mlp_team_run(threads, see_mode, &seen);
            int restored = all_have(threads, odd_modes[i]);
            set_modes(threads, mlp_fpmode_default());
            CHECK(restored);
            CHECK(atomic_load(&seen.members) >= 1 && atomic_load(&seen.in_core) == atomic_load(&seen.members));
        }
    }
}

static void test_random_numbers(void) {
    double plain[100], odd[100];
    mlp_random_normal(plain, 0, 100, 3, 0);
    for (size_t i = 0; i < sizeof odd_modes / sizeof *odd_modes; i++) {
        doing("normal numbers in mode %#lx", (unsigned long)odd_modes[i]);
        mlp_fpmode_set(odd_modes[i]);
        mlp_random_normal(odd, 0, 100, 3, 0);
        mlp_fpmode after = mlp_fpmode_now();
        mlp_fpmode_set(mlp_fpmode_default());
        CHECK(memcmp(plain, odd, sizeof odd) == 0);
        CHECK(mlp_fpmode_is(after, odd_modes[i]));
    }
}
#else
static void test_modes(void) {}
static void test_random_numbers(void) {}
#endif

// ---- Forks ----

static void meet(void *context, mlp_member *me) {
    for (int i = 0; i < 100; i++) mlp_team_barrier(me);
    if (me->rank == 0) *(int *)context = me->size;
}

static int team_of(int threads) {
    int size = 0;
    return mlp_team_run(threads, meet, &size) ? size : 0;
}

// Forks a process that runs child(); returns its result.
static int answer_of(int (*child)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);  // alarms are not inherited
        _exit(child());
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int child_has_threads(void) {
    return mlp_team_size(0, 1e12) == mlp_max_threads() && team_of(MOST) == (mlp_has_openmp() ? MOST : 1);
}

static int child_and_grandchild(void) {
    return child_has_threads() && answer_of(child_has_threads) == 1 && child_has_threads();
}

static void test_forks(void) {
    for (int i = 0; i < 20; i++) {
        doing("fork %d", i);
        CHECK(team_of(MOST) == (mlp_has_openmp() ? MOST : 1));
        CHECK(answer_of(child_has_threads) == 1);
        CHECK(answer_of(child_and_grandchild) == 1);
    }
    CHECK(mlp_forks() == 0);
}

typedef struct {
    atomic_int at_work, over;
} long_work;

static void work_until_over(void *context, mlp_member *me) {
    long_work *work = context;
    if (me->rank == 0) atomic_store(&work->at_work, 1);
    while (!atomic_load(&work->over)) sched_yield();
    mlp_team_barrier(me);
}

static void *run_long(void *work) {
    mlp_team_run(mlp_processors(), work_until_over, work);
    return NULL;
}

static void test_fork_while_others_work(void) {
    doing("forks while another thread runs a team");
    long_work work;
    atomic_init(&work.at_work, 0);
    atomic_init(&work.over, 0);
    pthread_t other;
    if (!CHECK(pthread_create(&other, NULL, run_long, &work) == 0)) return;
    while (!atomic_load(&work.at_work)) sched_yield();
    CHECK(mlp_team_size(0, 1e12) == 1);  // the other team occupies all processors
    for (int i = 0; i < 10; i++) CHECK(answer_of(child_has_threads) == 1);
    atomic_store(&work.over, 1);
    pthread_join(other, NULL);
    CHECK(mlp_team_size(0, 1e12) == mlp_max_threads());
}

typedef struct {
    pid_t child;
    int forks_before_barrier, ended;
} fork_within;

static void fork_in_team(void *context, mlp_member *me) {
    fork_within *f = context;
    mlp_team_barrier(me);
    if (me->rank == 0) {
        f->child = fork();
        if (f->child == 0) alarm(30);
    }
    if (f->forks_before_barrier) mlp_team_barrier(me);
}

// The other members do not exist in the child, which must not wait for them and continues on one thread.
static void test_fork_from_within_a_team(void) {
    for (int threads = 1; threads <= MOST; threads++) {
        for (int before_barrier = 0; before_barrier < 2; before_barrier++) {
            doing("a team of %d forks itself, %s", threads, before_barrier ? "before a barrier" : "at its end");
            mlp_fpmode before = mlp_fpmode_now();
            fork_within f = {.forks_before_barrier = before_barrier};
            int ended = mlp_team_run(threads, fork_in_team, &f);
            if (f.child == 0) {
                int wanted = !mlp_has_openmp() || threads == 1;
                int restored = mlp_fpmode_is(before, mlp_fpmode_now());
                _exit(ended == wanted && restored && team_of(3) >= 1 && mlp_team_size(0, 1e12) == mlp_max_threads());
            }
            int status = -1;
            waitpid(f.child, &status, 0);
            CHECK(ended == 1);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        }
    }
}

int main(int argc, char **argv) {
    check_begin(argc, argv, 300);
    test_modes();
    test_random_numbers();
    test_forks();
    test_fork_while_others_work();
    test_fork_from_within_a_team();
    return check_end("test_team");
}
