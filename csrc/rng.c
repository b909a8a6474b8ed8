// Permutations of the examples and random initial weights, from the counter-based generator of rng.h.
#include "rng.h"

#include <math.h>

#include "fpmode.h"
#include "kernel_table.h"

// Uniform in 0 .. range-1 without bias: Lemire, "Fast random integer generation in an interval" (2019).
// The position says which draw this is; a rejected draw takes its next number from a counter of its own.
static uint64_t below(uint64_t range, uint64_t seed, uint64_t stream, uint64_t position) {
    for (uint64_t attempt = 0;; attempt++) {
        uint64_t pair[2];
        mlp_random_pair(pair, seed, stream, position | attempt << 48);
        for (int half = 0; half < 2; half++) {
            __extension__ typedef unsigned __int128 wide;
            wide product = (wide)pair[half] * range;
            if ((uint64_t)product >= (UINT64_C(0) - range) % range) return (uint64_t)(product >> 64);
        }
    }
}

void mlp_shuffle(int64_t *order, int64_t n, uint64_t seed, uint64_t epoch) {
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {  // Fisher and Yates
        int64_t j = (int64_t)below((uint64_t)i + 1, seed, MLP_STREAM_SHUFFLE + epoch, (uint64_t)i);
        int64_t other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
}

static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

void mlp_random_uniform(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t pair[2];
        mlp_random_pair(pair, seed, MLP_STREAM_UNIFORM + stream, (uint64_t)(first + i));
        out[i] = unit(pair[0]);
    }
}

// Marsaglia's polar method, with the project's own logarithm so that every machine gives the same bits.
static double normal_at(uint64_t i, uint64_t seed, uint64_t stream) {
    for (uint64_t attempt = 0;; attempt++) {
        uint64_t pair[2];
        mlp_random_pair(pair, seed, MLP_STREAM_NORMAL + stream, i | attempt << 48);
        double u = 2 * unit(pair[0]) - 1, v = 2 * unit(pair[1]) - 1, s = u * u + v * v, log_s;
        if (s >= 1 || s == 0) continue;
        mlp_kernels_for(MLP_FLOAT64)->log(&log_s, &s, 1);
        return u * sqrt(-2 * log_s / s);
    }
}

void mlp_random_normal(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream) {
    mlp_fpmode before = mlp_fpmode_enter_core();
    for (int64_t i = 0; i < count; i++) out[i] = normal_at((uint64_t)(first + i), seed, stream);
    mlp_fpmode_leave(before);
}
