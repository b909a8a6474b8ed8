// How many processors the process may use, counted again from time to time.
#include "build.h"
#include "processors.h"

#include <math.h>

#include "mlpfast.h"
#include "os/os.h"

// A quota of one and a half processors counts as two.
static int count_processors(void) {
    int n = mlp_processors_of_process();
    double quota = ceil(mlp_cpu_quota(""));
    return quota > 0 && quota < n ? (int)quota : n;
}

#define COUNT_SECONDS 0.05  // a change is obeyed within that time; counting takes some 30 us

static atomic_int counted;
static _Atomic double when;

int mlp_processors(void) {
    double now = mlp_seconds();
    if (atomic_load(&counted) > 0 && now - atomic_load(&when) < COUNT_SECONDS) return atomic_load(&counted);
    atomic_store(&when, now);
    int n = count_processors();
    atomic_store(&counted, n);
    return n;
}

int mlp_processors_last_counted(void) {
    int n = atomic_load_explicit(&counted, memory_order_relaxed);
    return n > 1 ? n : mlp_processors();  // calls on one thread would never count again
}
