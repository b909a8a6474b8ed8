// Calls, which hand parts of their work to helpers.
//
// The process has one crew of helpers (helpers.c), at most processors minus one. A call takes a slot (slot.c), in which
// it posts its phases; helpers that are free are given places there. The parts of a phase are claimed by
// compare-and-swap: everyone takes the part of his own place first, so that each core keeps its columns of W, and then
// others that nobody has claimed in time, the caller among them. A phase is over when its parts are done, whoever did
// them: nobody arrives anywhere, and a helper that does not come costs nothing but its help. The caller waits only for
// parts that a helper holds. Where it waits longer than helpers save, since the system has given their processors to
// somebody else, they are left out for some milliseconds, doubling while it goes on. Helpers that sleep are woken for
// work that takes several times as long as waking them. A call during which the process forks goes on in both
// processes.
#include "build.h"
#include "crew.h"

#include "helpers.h"
#include "mlpfast.h"
#include "processors.h"
#include "system.h"

static atomic_int callers;             // calls that may have helpers, of all threads
static _Thread_local mlp_call *newest;  // of this thread: a function of the program's may make one within another

// The child has only the thread that forked, whose calls go on. Slots of other threads' calls are free.
static void in_child(void) {
    mlp_count_fork();
    mlp_helpers_after_fork();
    int own = 0;
    for (int i = 0; i < MLP_SLOTS; i++) {
        const mlp_call *call = newest;
        while (call && call->slot != &mlp_slots[i]) call = call->outer;
        if (!call) mlp_slot_abandon(&mlp_slots[i]);
        else mlp_lock(&mlp_slots[i].lock);
    }
    for (const mlp_call *call = newest; call; call = call->outer) own++;
    atomic_store(&callers, own);
}

__attribute__((constructor)) static void watch_forks(void) {
    mlp_watch_forks(mlp_helpers_before_fork, mlp_helpers_after_fork, in_child);
}

// ---- Whether helpers help ----

#define SHORTEST_BACKOFF 2e-3
#define LONGEST_BACKOFF 100e-3
#define MOST_CREDIT 1e-3  // so that a rare interruption does not matter where helpers help
#define MOST_DEBT 200e-6  // until they have shown what they can do: waking them is the first that is entered

// Helpers are left out, for twice as long as before unless they had made up for that.
static void leave_out(mlp_ledger *ledger, double now) {
    double seconds = ledger->gain > ledger->backoff / 2 ? 0 : 2 * ledger->backoff;
    if (seconds < SHORTEST_BACKOFF) seconds = SHORTEST_BACKOFF;
    ledger->backoff = seconds < LONGEST_BACKOFF ? seconds : LONGEST_BACKOFF;
    ledger->left_out_until = now + ledger->backoff;
    ledger->gain = ledger->credit = 0;
}

// Enters seconds that helpers saved, or cost.
static void enter(mlp_ledger *ledger, double gain, double now) {
    if (gain > MOST_CREDIT) gain = MOST_CREDIT;  // the caller may have been interrupted
    ledger->gain += gain;
    ledger->credit += gain;
    if (ledger->credit > MOST_CREDIT) ledger->credit = MOST_CREDIT;
    if (ledger->credit < -MOST_DEBT) leave_out(ledger, now);
}

// Whether a helper is on the caller's processor: then they take turns, and what it computes saves nothing.
static int shares_processor(const mlp_call *call) {
    int own = mlp_processor(), here = 0;
    for (int part = 0; part < call->parts; part++) {
        here += atomic_load_explicit(&call->slot->part[part].processor, memory_order_relaxed) == own;
    }
    return own >= 0 && here > call->computed;
}

// Enters what helpers saved in the last phase: alone, the caller would have taken as much longer as there were more
// parts than it computed, and would not have waited.
static void settle(mlp_call *call, double now) {
    if (call->posted == 0) return;
    double at_work = now - call->posted - call->waited;
    double saved = shares_processor(call) ? 0 : at_work * (call->parts - call->computed) / call->computed;
    call->posted = 0;
    enter(&call->slot->ledger, saved - call->waited, now);
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
    return call->slot->ledger.alone + alone > (wake > SHORTEST_WORTH_WAKING ? wake : SHORTEST_WORTH_WAKING);
}

// Returns how many parts are worth having now.
static int look_for_helpers(mlp_call *call) {
    mlp_slot *slot = call->slot;
    mlp_ledger *ledger = &slot->ledger;
    double now = mlp_seconds();
    settle(call, now);
    if (now < ledger->left_out_until && !mlp_crew_oversubscribes()) return 1;
    int wakes = is_worth_waking(call, now);
    if (!wakes && mlp_helpers_awake() == 0) return 1;
    int others = mlp_processors() - 1;
    int most = mlp_crew_share(call->most, atomic_load_explicit(&callers, memory_order_relaxed) - 1);
    if (most == 1) return 1;
    if (wakes && mlp_helpers_wanted() < most - 1 && !mlp_helpers_make(most > others ? most - 1 : others)) {
        leave_out(ledger, now);
        return 1;
    }
    mlp_helpers_recruit(slot, most, 0);
    if (wakes && mlp_helpers_recruit(slot, most, 1)) enter(ledger, now - mlp_seconds(), now);
    int parts = 1;
    for (int part = 1; part < most; part++) {
        if (mlp_awaits(slot, part)) parts = part + 1;
    }
    if (parts > 1) ledger->alone = 0, call->began = now;
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
    call->outer = newest;
    newest = call;
    call->slot = take_slot();
    if (!call->slot) return;
    call->seconds = flops / FLOPS_PER_SECOND;
    call->began = mlp_seconds();
    if (call->began - call->slot->ledger.ended > FORGET_SECONDS) call->slot->ledger.alone = 0;
    mlp_call_refresh(call);
}

void mlp_call_run(mlp_call *call, mlp_work *work, void *context) {
    int parts = call->parts;
    if (parts == 1) {
        work(context, (mlp_part){0, 1});
        return;
    }
    double now = mlp_seconds();
    settle(call, now);
    call->posted = now, call->waited = 0;
    unsigned long long phase = mlp_slot_post(call->slot, work, context, parts);
    call->computed = mlp_slot_work(call->slot, 0, parts, phase);
    for (int part = 1; part < parts; part++) call->waited += mlp_slot_wait(call->slot, part, phase);
}

void mlp_call_end(mlp_call *call) {
    mlp_slot *slot = call->slot;
    if (slot) {
        double now = mlp_seconds();
        settle(call, now);
        if (call->parts == 1) slot->ledger.alone += now - call->began;
        slot->ledger.ended = now;
        mlp_unlock(&slot->lock);
    }
    if (call->most > 1) atomic_fetch_sub(&callers, 1), newest = call->outer;
    mlp_fpmode_leave(call->callers_mode);
}
