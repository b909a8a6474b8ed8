// Where a call posts its phases, and threads claim their parts: whoever raises `claimed` of a part to the number of the
// newest phase computes it.
#ifndef MLP_SLOT_H
#define MLP_SLOT_H

#include <stdatomic.h>

#include "crew.h"
#include "threads.h"

#if defined(_OPENMP) || defined(MLP_PTHREADS)
#define MLP_SLOTS 64  // calls at a time with helpers; others work alone
#else
#define MLP_SLOTS 1
#endif

#define MLP_PAUSES 32           // per reading of the clock: 0.3 us on an Intel Xeon with AMX, 2 us on a Skylake server

typedef struct {
    _Alignas(64) atomic_ullong claimed;  // the newest phase whose part was claimed
    atomic_ullong done;                  // and computed
    atomic_int awaits;                   // whether a helper has this place
    atomic_int processor;                // on which it was computed
} mlp_part_state;

// What the calls of a slot know of helpers, in seconds.
typedef struct {
    double alone, ended;            // how long they have worked while helpers slept; when the last one ended
    double gain, credit;            // what helpers saved, less what was waited for them, since then; credit is bounded
    double left_out_until, backoff;
} mlp_ledger;

struct mlp_slot {
    _Alignas(64) atomic_ullong phase;  // number * MLP_MOST_THREADS + parts - 1, of the newest
    mlp_work *work;                    // of that phase: constant as long as one of its parts is not done
    void *context;
    _Alignas(64) int lock;             // held by the call that has the slot
    mlp_ledger ledger;
    atomic_uint bell;                  // counts the parts that were done while the caller slept
    atomic_int caller_sleeps;
    mlp_part_state part[MLP_MOST_THREADS];
};

extern mlp_slot mlp_slots[MLP_SLOTS];

// The caller posts a phase of `parts` parts; returns its number.
unsigned long long mlp_slot_post(mlp_slot *slot, mlp_work *work, void *context, int parts);
// Computes parts of that phase until all are claimed: that of the thread's place, then those whose helper is not there
// or late. Part 0 is the caller's, who alone may call functions of the program's. Returns how many it computed.
int mlp_slot_work(mlp_slot *slot, int place, int parts, unsigned long long phase);
// The caller waits until a part is done. Returns the seconds that took.
double mlp_slot_wait(mlp_slot *slot, int part, unsigned long long phase);

// In a forked child: nobody works on what was posted before, by a thread that the child does not have.
void mlp_slot_abandon(mlp_slot *slot);

// ---- Places: a part of a slot, which a helper takes before others ----

#define MLP_NOWHERE 0

static inline unsigned mlp_place_of(const mlp_slot *slot, int part) {
    return 1 + (unsigned)(slot - mlp_slots) * MLP_MOST_THREADS + (unsigned)part;
}
static inline mlp_slot *mlp_slot_of(unsigned place) { return &mlp_slots[(place - 1) / MLP_MOST_THREADS]; }
static inline int mlp_part_of(unsigned place) { return (int)((place - 1) % MLP_MOST_THREADS); }

static inline void mlp_set_awaits(mlp_slot *slot, int part, int awaits) {
    atomic_store(&slot->part[part].awaits, awaits);
}
static inline int mlp_awaits(const mlp_slot *slot, int part) {
    return atomic_load_explicit(&slot->part[part].awaits, memory_order_relaxed);
}

#endif
