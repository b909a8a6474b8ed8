// The peak rate of this machine: fused multiply-adds in the chosen instruction set.
#include "kernel_table.h"
#include "team.h"

#define ROUND_STEPS 20000  // a round takes 30 to 60 us: short enough that some rounds are not interrupted

typedef struct {
    const mlp_kernels *kernels;
    double seconds, best;
    int done;  // written by rank 0 before a barrier, read by all after it
} peak_job;

// Runs rounds on all members at once until `seconds` have passed; keeps the fastest.
static void run(void *context, mlp_member *me) {
    peak_job *job = context;
    double begin = mlp_seconds(), end = begin;
    do {
        mlp_team_barrier(me);
        double start = mlp_seconds();
        double flops = job->kernels->multiply_adds(ROUND_STEPS) * me->size;
        mlp_team_barrier(me);
        if (me->rank == 0) {
            end = mlp_seconds();
            double rate = flops / (end - start);
            if (rate > job->best) job->best = rate;
            job->done = end - begin >= job->seconds;
        }
        mlp_team_barrier(me);
    } while (!job->done);
}

double mlp_peak_flops(mlp_dtype dtype, int threads, double seconds) {
    if ((dtype != MLP_FLOAT32 && dtype != MLP_FLOAT64) || threads < 1) return 0;
    peak_job job = {.kernels = mlp_kernels_for(dtype), .seconds = seconds};
    mlp_team_run(mlp_team_size(threads, 0), run, &job);
    return job.best;
}
