// How many parts a call's phases are worth cutting into.
#include "build.h"
#include <stdatomic.h>

#include "crew.h"
#include "mlpfast.h"
#include "processors.h"
#include "threads.h"

// A phase costs about 0.3 us; splitting it pays if each thread has several times that. 150,000 operations take one core
// about 1.5 us with AVX-512.
#define FLOPS_PER_THREAD 150e3
// Threads that are asked for are used down to a tenth of that: below, their caches exchange more than they compute.
#define LEAST_FLOPS_PER_THREAD 15e3

static atomic_int oversubscribes;

void mlp_allow_oversubscription(int allowed) { atomic_store(&oversubscribes, allowed); }
int mlp_crew_oversubscribes(void) { return atomic_load_explicit(&oversubscribes, memory_order_relaxed); }

static int least(int a, int b) { return a < b ? a : b; }

int mlp_max_threads(void) { return least(mlp_threads_allowed(), mlp_processors()); }

int mlp_crew_limit(void) { return least(mlp_threads_allowed(), mlp_processors_last_counted()); }

// What memory is sized by must not change between sizing and use.
static int most_at_first(void) {
    static atomic_int most;
    int none = 0;
    if (atomic_load(&most) == 0) atomic_compare_exchange_strong(&most, &none, mlp_processors());
    return atomic_load(&most);
}

static int worth(double flops, double each) {
    double parts = flops / each;
    return parts >= MLP_MOST_THREADS ? MLP_MOST_THREADS : parts < 1 ? 1 : (int)parts;
}

int mlp_crew_bound(int asked, double flops_per_phase) {
    if (asked > 0) return least(asked, MLP_MOST_THREADS);
    int most = asked == 0 ? most_at_first() : asked > -MLP_MOST_THREADS ? -asked : MLP_MOST_THREADS;
    return least(most, worth(flops_per_phase, FLOPS_PER_THREAD));
}

int mlp_crew_size(int asked, double flops_per_phase) {
    int size = mlp_crew_bound(asked, flops_per_phase);
    if (size <= 1) return 1;
    if (asked > 0 && !mlp_crew_oversubscribes()) size = least(size, worth(flops_per_phase, LEAST_FLOPS_PER_THREAD));
    if (asked == 0) size = least(size, mlp_threads_allowed());
    return mlp_crew_share(size, 0);
}

int mlp_crew_share(int parts, int others) {
    if (mlp_crew_oversubscribes()) return parts;
    int left = mlp_processors_last_counted() - others;
    return left < 1 ? 1 : least(parts, left);
}
