// A helper has a place, a part of a slot, and looks there for the next phase. When it has found nothing for
// SPIN_SECONDS it gives the place up and sleeps, until a caller gives it another. Before a fork helpers leave, and
// parent and child make a crew anew when they next want one.
#include "build.h"
#include "helpers.h"

#include <limits.h>

#include "system.h"

typedef struct {
    _Alignas(64) atomic_uint place;  // of slot.h, MLP_NOWHERE or GONE
    atomic_int asleep;
    _Atomic double woken;            // when it was woken last
} helper;

#define GONE UINT_MAX  // it is to leave

// As long as sleeping and waking take on a virtual machine, 20 to 60 us: so it costs at most twice what it would if one
// knew when work comes (the ski rental problem). A Python program has the next call ready within 10 to 40 us.
#define SPIN_SECONDS 50e-6

static struct {
    int lock;                     // around making and dismissing it, and a helper's arrival
    atomic_int wanted;            // helpers that were asked for; 0: there is no crew
    atomic_int size;              // helpers that have arrived
    atomic_int awake;             // of these
    atomic_int left;              // of those that are to leave
    atomic_uint number;           // of the newest crew
    _Atomic double wake_seconds;
    helper helpers[MLP_MOST_THREADS];
} crew;

int mlp_helpers_wanted(void) { return atomic_load_explicit(&crew.wanted, memory_order_relaxed); }
int mlp_helpers_awake(void) { return atomic_load_explicit(&crew.awake, memory_order_relaxed); }
double mlp_helpers_wake_seconds(void) { return atomic_load_explicit(&crew.wake_seconds, memory_order_relaxed); }

static int is_place(unsigned place) { return place != MLP_NOWHERE && place != GONE; }

static void leave_place(unsigned place) { mlp_set_awaits(mlp_slot_of(place), mlp_part_of(place), 0); }

// ---- At work and asleep ----

// Wakes the helpers that come after h in a binary tree, if they have been given places: the time until all are awake
// grows with the logarithm of their number.
static void wake_next(const helper *h) {
    int next = 2 * (int)(h - crew.helpers) + 1;
    for (int i = next; i < next + 2 && i < atomic_load(&crew.size); i++) {
        helper *other = &crew.helpers[i];
        if (is_place(atomic_load(&other->place)) && atomic_load(&other->asleep)) mlp_wake(&other->place);
    }
}

#define LONGEST_WAKE 2e-3  // longer ones say that the processors are busy: the backoff is for that

static void measure_wake(helper *h) {
    double woken = atomic_exchange(&h->woken, 0), took = mlp_seconds() - woken;
    if (woken == 0) return;
    if (took > LONGEST_WAKE) took = LONGEST_WAKE;
    atomic_store(&crew.wake_seconds, 0.75 * atomic_load(&crew.wake_seconds) + 0.25 * took);
}

// Without work for SPIN_SECONDS: gives up the place, and sleeps until it gets another.
static void rest(helper *h, unsigned place) {
    if (is_place(place)) {
        if (!atomic_compare_exchange_strong(&h->place, &place, 0)) return;  // it has another by now
        leave_place(place);
    }
    atomic_fetch_sub(&crew.awake, 1);
    atomic_store(&h->asleep, 1);
    while (atomic_load(&h->place) == 0) mlp_sleep_while(&h->place, 0);
    atomic_store(&h->asleep, 0);
    atomic_fetch_add(&crew.awake, 1);
    wake_next(h);
    measure_wake(h);
}

// Takes parts at that place as they are posted, as long as there are any within MLP_PAUSES.
static void work_at(const helper *h, unsigned place, unsigned long long *seen) {
    mlp_slot *slot = mlp_slot_of(place);
    for (int pauses = 0; pauses < MLP_PAUSES; pauses++) {
        unsigned long long phase = atomic_load_explicit(&slot->phase, memory_order_acquire);
        int mine = mlp_part_of(place), parts = (int)(phase % MLP_MOST_THREADS) + 1;
        if (phase != *seen) {
            *seen = phase;
            if (mine < parts) mlp_slot_work(slot, mine, parts, phase / MLP_MOST_THREADS);
            pauses = 0;
        }
        if (atomic_load_explicit(&h->place, memory_order_relaxed) != place) return;
        mlp_relax();
    }
}

static void work_until_dismissed(helper *h) {
    unsigned last = 0;
    unsigned long long seen = 0;
    double until = 0;
    for (;;) {
        unsigned place = atomic_load_explicit(&h->place, memory_order_acquire);
        if (place == GONE) return;
        if (place != last) last = place, seen = 0, until = 0;
        unsigned long long before = seen;
        if (is_place(place)) work_at(h, place, &seen);
        else for (int i = 0; i < MLP_PAUSES; i++) mlp_relax();
        double now = mlp_seconds();
        if (until == 0 || seen != before) until = now + SPIN_SECONDS;
        if (now > until) rest(h, place), until = 0;
    }
}

// NULL if that crew has been dismissed meanwhile: who does that holds the lock, and may wait for this thread.
static helper *arrive(unsigned number) {
    while (!mlp_try_lock(&crew.lock)) {
        if (atomic_load(&crew.number) != number) return NULL;
        mlp_yield();
    }
    helper *h = NULL;
    if (atomic_load(&crew.number) == number) {
        h = &crew.helpers[atomic_load(&crew.size)];
        atomic_store(&h->place, 0);
        atomic_store(&h->asleep, 0);
        atomic_fetch_add(&crew.awake, 1);
        atomic_fetch_add(&crew.size, 1);
    }
    mlp_unlock(&crew.lock);
    return h;
}

void mlp_help(unsigned number) {
    helper *h = arrive(number);
    if (!h) return;
    mlp_fpmode_enter_core();
    work_until_dismissed(h);
    atomic_fetch_add(&crew.left, 1);  // from here on it touches nothing of the crew's
}

// ---- Making and dismissing ----

// Helpers finish the parts they hold, and leave. Under the lock.
static void dismiss(void) {
    int size = atomic_load(&crew.size);
    atomic_store(&crew.left, 0);
    atomic_fetch_add(&crew.number, 1);
    for (int i = 0; i < size; i++) {
        unsigned place = atomic_exchange(&crew.helpers[i].place, GONE);
        if (is_place(place)) leave_place(place);
        mlp_wake(&crew.helpers[i].place);
    }
    while (atomic_load(&crew.left) < size) mlp_yield();
    if (atomic_load(&crew.wanted) > 0) mlp_threads_finish();
    atomic_store(&crew.wanted, 0);
    atomic_store(&crew.size, 0);
    atomic_store(&crew.awake, 0);
}

int mlp_helpers_make(int n) {
    if (!mlp_try_lock(&crew.lock)) return 1;  // somebody else is at it
    if (atomic_load(&crew.wanted) < n) {
        dismiss();
        if (mlp_threads_start(n, atomic_load(&crew.number))) atomic_store(&crew.wanted, n);
    }
    int is_made = atomic_load(&crew.wanted) > 0;
    mlp_unlock(&crew.lock);
    return is_made;
}

void mlp_helpers_before_fork(void) {
    mlp_lock(&crew.lock);
    dismiss();
}

void mlp_helpers_after_fork(void) { mlp_unlock(&crew.lock); }

// ---- Recruiting ----

// Whether the helper can be given another place: it has none, or one where no call is at work.
static int is_free(unsigned place) { return is_place(place) ? !mlp_is_locked(&mlp_slot_of(place)->lock) : place == 0; }

static int give_place(helper *h, mlp_slot *slot, int part) {
    unsigned place = atomic_load(&h->place);
    if (!is_free(place)) return 0;
    mlp_set_awaits(slot, part, 1);
    if (!atomic_compare_exchange_strong(&h->place, &place, mlp_place_of(slot, part))) {
        mlp_set_awaits(slot, part, 0);
        return 0;
    }
    if (is_place(place)) leave_place(place);
    return 1;
}

static int next_free_part(const mlp_slot *slot, int part, int parts) {
    while (part < parts && mlp_awaits(slot, part)) part++;
    return part;
}

static void call_helper(helper *h) {
    atomic_store(&h->woken, mlp_seconds());
    mlp_wake(&h->place);
}

int mlp_helpers_recruit(mlp_slot *slot, int parts, int sleepers) {
    char called[MLP_MOST_THREADS];
    int part = next_free_part(slot, 1, parts), size = part < parts ? atomic_load(&crew.size) : 0, woken = 0;
    for (int i = size - 1; i >= 0; i--) {  // a helper's place is there before the helper that wakes it is woken
        helper *h = &crew.helpers[i];
        called[i] = 0;
        if (part == parts || atomic_load(&h->asleep) != sleepers || !give_place(h, slot, part)) continue;
        part = next_free_part(slot, part, parts);
        called[i] = (char)atomic_load(&h->asleep);
        woken += called[i];
    }
    for (int i = 0; i < size; i++) {
        if (called[i] && (i == 0 || !called[(i - 1) / 2])) call_helper(&crew.helpers[i]);
    }
    return woken;
}
