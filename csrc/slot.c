#include "build.h"
#include "slot.h"

#include "system.h"

mlp_slot mlp_slots[MLP_SLOTS];

// With MLP_DELAYS, for tests, a thread may stop for a while at any point where another one could overtake it.
#ifdef MLP_DELAYS
static void delay(void) {
    static _Thread_local unsigned state;
    if (state == 0) state = (unsigned)mlp_this_thread() / 4096 | 1;
    state = state * 1664525u + 1013904223u;
    if (state >> 26 == 0) mlp_nap(1e-9 * (state % 300000));
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

// A caller that falls asleep says so and then looks at `done`; who is done says so and then looks whether the caller
// sleeps. One of them must see the other. Both write by atomic_exchange: a store would do on a processor, but qemu, by
// which tests and containers for AArch64 often run on x86-64, lets the load overtake it.
//
// Returns whether the part was still to be claimed.
static int take(mlp_slot *slot, int part, int parts, unsigned long long phase) {
    if (!claim(slot, part, phase)) return 0;
    delay();
    slot->work(slot->context, (mlp_part){part, parts});
    delay();
    atomic_store_explicit(&slot->part[part].processor, mlp_processor(), memory_order_relaxed);
    atomic_exchange(&slot->part[part].done, phase);  // before the look at caller_sleeps
    if (atomic_load(&slot->caller_sleeps)) {
        atomic_fetch_add(&slot->bell, 1);
        mlp_wake(&slot->bell);
    }
    return 1;
}

int mlp_slot_work(mlp_slot *slot, int place, int parts, unsigned long long phase) {
    int done = take(slot, place, parts, phase);
    if (place > 0 && parts == 2) return done;
    for (int late = 0; late < 2; late++) {
        for (int i = 1; i < parts; i++) {
            int part = (place + i) % parts;
            if (part == 0) continue;
            if (atomic_load_explicit(&slot->part[part].claimed, memory_order_relaxed) >= phase) continue;
            if (late || !mlp_awaits(slot, part)) done += take(slot, part, parts, phase);
        }
        for (int i = 0; !late && i < MLP_PAUSES / 4; i++) mlp_relax();
    }
    return done;
}

unsigned long long mlp_slot_post(mlp_slot *slot, mlp_work *work, void *context, int parts) {
    unsigned long long phase = atomic_load_explicit(&slot->phase, memory_order_relaxed) / MLP_MOST_THREADS + 1;
    slot->work = work, slot->context = context;
    atomic_store(&slot->phase, phase * MLP_MOST_THREADS + (unsigned)parts - 1);
    return phase;
}

#define SPIN_SECONDS 25e-6  // then a caller that waits for a part sleeps

double mlp_slot_wait(mlp_slot *slot, int part, unsigned long long phase) {
    atomic_ullong *done = &slot->part[part].done;
    double begin = 0, now = 0;
    while (atomic_load_explicit(done, memory_order_acquire) < phase) {
        for (int i = 0; i < MLP_PAUSES; i++) {
            if (atomic_load_explicit(done, memory_order_acquire) >= phase) break;
            mlp_relax();
        }
        now = mlp_seconds();
        if (begin == 0) begin = now;
        if (now - begin < SPIN_SECONDS) continue;
        unsigned bell = atomic_load(&slot->bell);
        atomic_exchange(&slot->caller_sleeps, 1);  // before the look at done
        if (atomic_load(done) < phase) mlp_sleep_while(&slot->bell, bell);
        atomic_store(&slot->caller_sleeps, 0);
    }
    return now - begin;
}

void mlp_slot_abandon(mlp_slot *slot) {
    unsigned long long phase = atomic_load(&slot->phase) / MLP_MOST_THREADS;
    for (int part = 0; phase > 0 && part < MLP_MOST_THREADS; part++) {
        atomic_store(&slot->part[part].claimed, phase);
        atomic_store(&slot->part[part].awaits, 0);
    }
    mlp_unlock(&slot->lock);
}
