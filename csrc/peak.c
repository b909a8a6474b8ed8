// The peak rate of this machine: fused multiply-adds in the chosen instruction set.
#include "build.h"
#if !defined(MLP_NO_TRAINING)
#include "kernel_table.h"
#include "crew.h"
#include "system.h"

#define ROUND_STEPS 20000  // a round takes 30 to 60 us: short enough that some rounds are not interrupted

static void round_of_part(void *kernels, mlp_part part) {
    (void)part;
    ((const mlp_kernels *)kernels)->multiply_adds(ROUND_STEPS);
}

// The fastest of the rounds that fit into `seconds`.
double mlp_peak_flops(mlp_dtype dtype, int threads, double seconds) {
    if ((dtype != MLP_FLOAT32 && dtype != MLP_FLOAT64) || threads < 1) return 0;
    const mlp_kernels *kernels = mlp_kernels_for(dtype);
    double flops = kernels->multiply_adds(1) * ROUND_STEPS, best = 0, begin = mlp_seconds(), end = begin;
    mlp_call call;
    mlp_call_begin(&call, mlp_crew_size(threads, INFINITY), INFINITY);
    do {
        mlp_call_refresh(&call);
        double start = mlp_seconds();
        mlp_call_run(&call, round_of_part, (void *)(uintptr_t)kernels);
        end = mlp_seconds();
        double rate = flops * call.parts / (end - start);
        if (rate > best) best = rate;
    } while (end - begin < seconds);
    mlp_call_end(&call);
    return best;
}
#endif
