// The crew: every part is done once, the floating-point mode, and crews in forked children.
#include "check.h"

#include <limits.h>
#include <math.h>
#include <stdatomic.h>

#include "fpmode.h"
#include "mlpfast.h"
#include "crew.h"
#include "slot.h"
#include "system.h"

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

static void see_mode(void *context, mlp_part part) {
    modes_seen *seen = context;
    (void)part;
    atomic_fetch_add(&seen->members, 1);
    atomic_fetch_add(&seen->in_core, mlp_fpmode_is(mlp_fpmode_now(), mlp_fpmode_core()));
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
            mlp_call call;
            mlp_call_begin(&call, threads, INFINITY);
            for (int phase = 0; phase < 1000; phase++) mlp_call_run(&call, see_mode, &seen);
            mlp_call_end(&call);
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

// ---- Parts ----

#define PHASES 300

typedef struct {
    atomic_int times[PHASES][MOST];  // each part was done
    int phase;                       // not atomic: ThreadSanitizer sees whether phases are ordered
} record;

static void write_down(void *context, mlp_part part) {
    record *r = context;
    atomic_fetch_add(&r->times[r->phase][part.number], 1);
}

// Runs phases in a call of that many parts; returns whether each part of each was done once before the next began.
// between: called before each phase, or NULL.
static int each_part_is_done_once(int threads, void (*between)(int phase)) {
    record own = {.phase = 0}, *r = &own;  // a sanitizer's allocator may be locked for ever in a forked child
    mlp_call call;
    int well = 1;
    mlp_call_begin(&call, threads, INFINITY);
    for (r->phase = 0; r->phase < PHASES; r->phase++) {
        if (between) between(r->phase);
        mlp_call_refresh(&call);
        mlp_call_run(&call, write_down, r);
        for (int i = 0; i < MOST; i++) well &= atomic_load(&r->times[r->phase][i]) == (i < call.parts);
    }
    mlp_call_end(&call);
    return well;
}

static void test_parts(void) {
    for (int threads = 1; threads <= MOST; threads++) {
        doing("parts of %d threads", threads);
        for (int i = 0; i < 20; i++) CHECK(each_part_is_done_once(threads, NULL));
    }
}

static void nap(int phase) {
    if (phase % 50 == 0) mlp_nap(200e-6);  // until helpers sleep
}

static void test_parts_after_sleep(void) {
    doing("parts after sleep");
    CHECK(each_part_is_done_once(MOST, nap));
}

static void *call_often(void *well) {
    for (int i = 0; i < 40; i++) *(int *)well &= each_part_is_done_once(2 + i % (MOST - 1), NULL);
    return NULL;
}

static void test_callers(void) {
    doing("several callers");
    enum { CALLERS = 5 };
    mlp_thread thread[CALLERS];
    int well[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        well[i] = 1;
        CHECK(mlp_thread_start(&thread[i], call_often, &well[i]));
    }
    for (int i = 0; i < CALLERS; i++) {
        mlp_thread_join(thread[i]);
        CHECK(well[i]);
    }
}

static void count(void *context, mlp_part part) {
    (void)part;
    atomic_fetch_add((atomic_int *)context, 1);
}

// Calls within calls, as functions of the caller's make them: more than have slots, on as many threads as there are
// processors. Those without a slot work alone.
static void test_calls_within_calls(void) {
    enum { CALLS = MLP_SLOTS + 3 };
    static mlp_call call[CALLS];
    doing("calls within calls");
    mlp_allow_oversubscription(0);
    for (int i = 0; i < CALLS; i++) {
        mlp_call_begin(&call[i], i % 2 ? MOST : INT_MAX, INFINITY);
        CHECK(call[i].most == (i % 2 ? MOST : MLP_MOST_THREADS) && call[i].parts >= 1);
        CHECK((call[i].slot != NULL) == (i < MLP_SLOTS));
        CHECK(i < MLP_SLOTS || call[i].parts == 1);
    }
    for (int i = CALLS; i-- > 0;) {
        atomic_int done;
        atomic_init(&done, 0);
        mlp_call_refresh(&call[i]);
        mlp_call_run(&call[i], count, &done);
        CHECK(atomic_load(&done) == call[i].parts);
        mlp_call_end(&call[i]);
    }
    mlp_allow_oversubscription(1);
    CHECK(each_part_is_done_once(MOST, NULL));  // the slots are free again
}

static void test_sizes_of_crews(void) {
    doing("how many parts are worth having");
    CHECK(mlp_crew_bound(INT_MIN, INFINITY) == MLP_MOST_THREADS && mlp_crew_bound(INT_MAX, 1) == MLP_MOST_THREADS);
    CHECK(mlp_crew_bound(-3, INFINITY) == 3 && mlp_crew_bound(-3, 1) == 1);
    CHECK(mlp_crew_share(MOST, 1000) == MOST);
    mlp_allow_oversubscription(0);
    CHECK(mlp_crew_share(MOST, 1000) == 1 && mlp_crew_share(1, 0) == 1);
    mlp_allow_oversubscription(1);
}

// ---- Helpers ----

static int has_threads(void) { return strcmp(mlp_threading(), "none") != 0; }

// Whether helpers come for calls of that many threads: where they were late, they are left out for a while.
static int helpers_come(int threads) {
    double end = mlp_seconds() + 10;
    while (has_threads() && mlp_seconds() < end) {
        mlp_call call;
        int come = 0;
        mlp_call_begin(&call, threads, INFINITY);
        for (int part = 1; part < threads; part++) come += mlp_awaits(call.slot, part);
        mlp_call_end(&call);
        if (come == threads - 1) return 1;
        mlp_yield();
    }
    return !has_threads();
}

static void test_helpers_come(void) {
    doing("helpers come");
    for (int i = 0; i < 20; i++) {
        CHECK(helpers_come(MOST));
        mlp_nap(1e-3);  // they sleep
    }
}

// ---- Forks ----

#if !defined(_WIN32)
#include <sys/wait.h>

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

// Sanitizers do not support new threads in a child whose parent had several: their own locks may be held there.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

static int child_has_threads(void) {
    if (SANITIZED) return each_part_is_done_once(1, NULL);
    return mlp_crew_size(0, 1e12) == mlp_max_threads() && helpers_come(MOST) && each_part_is_done_once(MOST, NULL);
}

static int child_and_grandchild(void) {
    return child_has_threads() && answer_of(child_has_threads) == 1 && child_has_threads();
}

static void test_forks(void) {
    for (int i = 0; i < 20; i++) {
        doing("fork %d", i);
        CHECK(helpers_come(MOST));
        CHECK(answer_of(child_has_threads) == 1);
        CHECK(answer_of(child_and_grandchild) == 1);
    }
    CHECK(mlp_forks() == 0);
}

static atomic_int at_work, over;

static void *work_until_over(void *well) {
    while (!atomic_load(&over)) {
        *(int *)well &= each_part_is_done_once(MOST, NULL);
        atomic_store(&at_work, 1);
    }
    return NULL;
}

static void test_fork_while_others_work(void) {
    doing("forks while another thread is in calls");
    int well = 1;
    mlp_thread other;
    if (!CHECK(mlp_thread_start(&other, work_until_over, &well))) return;
    while (!atomic_load(&at_work)) mlp_yield();
    for (int i = 0; i < 30; i++) CHECK(answer_of(child_has_threads) == 1);
    atomic_store(&over, 1);
    mlp_thread_join(other);
    CHECK(well);
}

static pid_t parent;
static atomic_int in_phase, strangers;

static void know_the_process(void *context, mlp_part part) {
    (void)context, (void)part;
    if (getpid() != parent) atomic_fetch_add(&strangers, 1);
    atomic_store(&in_phase, 1);
    double end = mlp_seconds() + 1e-3;
    while (mlp_seconds() < end) continue;
}

static void *know_until_over(void *unused) {
    while (!atomic_load(&over)) {
        mlp_call call;
        mlp_call_begin(&call, 2, INFINITY);
        for (int phase = 0; phase < 10; phase++) mlp_call_run(&call, know_the_process, NULL);
        mlp_call_end(&call);
    }
    return unused;
}

static int child_has_work_of_its_own(void) {
    return child_has_threads() && atomic_load(&strangers) == 0;
}

static void test_work_of_threads_that_a_child_does_not_have(void) {
    doing("a fork while another thread is in a phase");
    mlp_thread other;
    parent = getpid();
    atomic_store(&over, 0);
    if (!CHECK(mlp_thread_start(&other, know_until_over, NULL))) return;
    for (int i = 0; i < 20; i++) {
        atomic_store(&in_phase, 0);
        while (!atomic_load(&in_phase)) mlp_yield();
        CHECK(answer_of(child_has_work_of_its_own) == 1);
    }
    atomic_store(&over, 1);
    mlp_thread_join(other);
}

static pid_t forked = -1;
static mlp_thread second;
static int second_is_well;

// In the child, another thread makes calls while the one that forked goes on.
static void fork_and_share(int phase) {
    if (phase == PHASES / 3) {
        forked = fork();
        if (forked != 0) return;
        alarm(30);
        second_is_well = 1;
        if (SANITIZED || !mlp_thread_start(&second, call_often, &second_is_well)) _exit(1);
    }
    if (forked == 0) mlp_nap(10e-6);
}

static void test_two_callers_in_a_child(void) {
    if (SANITIZED) return;
    for (int i = 0; i < 5; i++) {
        doing("a call goes on in a child beside another thread's");
        int well = each_part_is_done_once(MOST, fork_and_share), status = -1;
        if (forked == 0) {
            mlp_thread_join(second);
            _exit(well && second_is_well);
        }
        waitpid(forked, &status, 0);
        CHECK(well);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    }
}

static void fork_in_the_middle(int phase) {
    if (phase != PHASES / 2) return;
    forked = fork();
    if (forked == 0) alarm(30);
}

// The call goes on in both processes.
static void test_fork_within_a_call(void) {
    for (int threads = 1; threads <= (SANITIZED ? 1 : MOST); threads++) {
        doing("a call of %d threads forks", threads);
        mlp_fpmode before = mlp_fpmode_now();
        int well = each_part_is_done_once(threads, fork_in_the_middle);
        if (forked == 0) _exit(well && mlp_fpmode_is(before, mlp_fpmode_now()) && child_has_threads());
        int status = -1;
        waitpid(forked, &status, 0);
        CHECK(well);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    }
}
#endif

int main(int argc, char **argv) {
    check_begin(argc, argv, 300);
    mlp_allow_oversubscription(1);
    test_modes();
    test_random_numbers();
    test_parts();
    test_parts_after_sleep();
    test_callers();
    test_calls_within_calls();
    test_sizes_of_crews();
    test_helpers_come();
#if !defined(_WIN32)
    test_forks();
    test_fork_while_others_work();
    test_work_of_threads_that_a_child_does_not_have();
    test_two_callers_in_a_child();
    test_fork_within_a_call();
#endif
    return check_end("test_crew");
}
