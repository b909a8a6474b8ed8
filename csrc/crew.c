// Calls, which hand parts of their work to helpers.
//
// The process has one crew of helpers (helpers.c), at most processors minus one. A call takes a slot (slot.c), in which it
// posts its phases; helpers that are free are given places there. The parts of a phase are claimed by compare-and-swap:
// everyone takes the part of his own place first, so that each core keeps its columns of W, and then others that nobody
// has claimed in time, the caller among them. A phase is over when its parts are done, whoever did them: nobody arrives
// anywhere, and a helper that does not come costs nothing but its help. The caller waits only for parts that a helper
// holds. If that takes long, the system has given the helper's processor to somebody else; helpers are then left out for
// some milliseconds, doubling while it goes on. Helpers that sleep are woken for work that takes several times as long
// as waking them. A call during which the process forks goes on in both processes.
#include "crew.h"

#include <pthread.h>

#include "helpers.h"
#include "mlpfast.h"
#include "processors.h"
#include "system.h"

static atomic_int callers;           // calls that may have helpers, of all threads
static _Thread_local int own_calls;  // of this thread

static void in_child(void) { atomic_store(&callers, own_calls); }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

// ---- Leaving helpers out ----

#define LATE_SECONDS 200e-6  // beyond what a part may reasonably take longer than another
#define SHORTEST_BACKOFF 2e-3
#define LONGEST_BACKOFF 100e-3

static _Atomic double left_out_until, backoff;

static void leave_out(double now, double seconds) {
    if (seconds > LONGEST_BACKOFF) seconds = LONGEST_BACKOFF;
    atomic_store(&backoff, seconds);
    atomic_store(&left_out_until, now + seconds);
}

// For twice as long as before, if helpers were not on time for as long as they had been left out.
static void were_late(void) {
    double now = mlp_seconds(), before = atomic_load(&backoff);
    leave_out(now, now - atomic_load(&left_out_until) < before ? 2 * before : SHORTEST_BACKOFF);
}

// ---- Looking for helpers ----

#define FLOPS_PER_SECOND 100e9        // of one core with AVX-512, about
#define SHORTEST_WORTH_WAKING 300e-6  // waking takes 20 to 60 us on a virtual machine, and the helper's caches are cold
#define FORGET_SECONDS 1e-3

// Whether what this call and those just before it have to do alone takes several times as long as waking helpers.
static int is_worth_waking(const mlp_call *call, double now) {
    double alone = now - call->began, wake = 4 * mlp_helpers_wake_seconds();
    if (alone < call->seconds) alone = call->seconds;
    if (mlp_crew_oversubscribes()) return 1;
    return call->slot->alone + alone > (wake > SHORTEST_WORTH_WAKING ? wake : SHORTEST_WORTH_WAKING);
}

static void ensure_helpers(int n, int others) {
    if (mlp_helpers_wanted() < n && !mlp_helpers_make(n > others ? n : others)) leave_out(mlp_seconds(), LONGEST_BACKOFF);
}

// Returns how many parts are worth having now.
static int look_for_helpers(mlp_call *call) {
    mlp_slot *slot = call->slot;
    double now = mlp_seconds();
    if (now < atomic_load_explicit(&left_out_until, memory_order_relaxed)) return 1;
    int wakes = is_worth_waking(call, now);
    if (!wakes && mlp_helpers_awake() == 0) return 1;
    int processors = mlp_processors();
    int most = mlp_crew_share(call->most, atomic_load_explicit(&callers, memory_order_relaxed) - 1);
    if (most == 1) return 1;
    if (wakes) ensure_helpers(most - 1, processors - 1);
    mlp_helpers_recruit(slot, most, 0);
    if (wakes) mlp_helpers_recruit(slot, most, 1);
    int parts = 1;
    for (int part = 1; part < most; part++) {
        if (mlp_awaits(slot, part)) parts = part + 1;
    }
    if (parts > 1) slot->alone = 0, call->began = now;
    return parts;
}

void mlp_call_refresh(mlp_call *call) {
    if (!call->slot) return;
    call->parts = look_for_helpers(call);
    if (mlp_crew_oversubscribes()) call->parts = call->most;
}

// ---- Calls ----

// The slot of the thread's last call, where its helpers still are if that was a moment ago; or any that is free.
static mlp_slot *take_slot(void) {
    static _Thread_local unsigned last;
    for (unsigned i = 0; i < MLP_SLOTS; i++) {
        unsigned number = (last + i) % MLP_SLOTS;
        if (mlp_try_lock(&mlp_slots[number].lock)) return &mlp_slots[last = number];
    }
    return NULL;
}

void mlp_call_begin(mlp_call *call, int parts, double flops) {
    *call = (mlp_call){.most = parts < MLP_MOST_THREADS ? parts : MLP_MOST_THREADS, .parts = 1};
    call->callers_mode = mlp_fpmode_enter_core();
    if (call->most == 1) return;
    atomic_fetch_add(&callers, 1);
    own_calls++;
    call->slot = take_slot();
    if (!call->slot) return;
    call->seconds = flops / FLOPS_PER_SECOND;
    call->began = mlp_seconds();
    if (call->began - call->slot->ended > FORGET_SECONDS) call->slot->alone = 0;
    mlp_call_refresh(call);
}

void mlp_call_run(mlp_call *call, mlp_work *work, void *context) {
    int parts = call->parts;
    if (parts == 1) {
        work(context, (mlp_part){0, 1});
        return;
    }
    double begin = mlp_seconds(), longest = 0;
    unsigned long long phase = mlp_slot_post(call->slot, work, context, parts);
    mlp_slot_work(call->slot, 0, parts, phase);
    double own = mlp_seconds() - begin;
    for (int part = 1; part < parts; part++) {
        double waited = mlp_slot_wait(call->slot, part, phase);
        if (waited > longest) longest = waited;
    }
    if (longest > LATE_SECONDS && longest > own) were_late();
}

void mlp_call_end(mlp_call *call) {
    mlp_slot *slot = call->slot;
    if (slot) {
        slot->ended = mlp_seconds();
        if (call->parts == 1) slot->alone += slot->ended - call->began;
        mlp_unlock(&slot->lock);
    }
    if (call->most > 1) atomic_fetch_sub(&callers, 1), own_calls--;
    mlp_fpmode_leave(call->callers_mode);
}
