// The order of the examples and random initial weights, from the counter-based generator of rng.h.
#include "build.h"
#if !defined(MLP_NO_TRAINING)
#include "rng.h"

#include <math.h>
#include <string.h>

#include "fpmode.h"
#include "kernel_table.h"

// The 32-bit words of a stream, drawn one after another.
typedef struct {
    uint64_t seed, stream, position;
    uint64_t pair[2];
    int left;
} words;

static uint32_t next_word(words *from) {
    if (from->left == 0) {
        mlp_random_pair(from->pair, from->seed, from->stream, from->position++);
        from->left = 4;
    }
    int i = --from->left;
    return (uint32_t)(from->pair[i / 2] >> 32 * (i % 2));
}

// Uniform in 0 .. range-1 without bias: Lemire, "Fast random integer generation in an interval" (2019).
static uint32_t below(uint32_t range, words *from) {
    for (;;) {
        uint64_t product = (uint64_t)next_word(from) * range;
        uint32_t low = (uint32_t)product;
        if (low >= range || low >= (0 - range) % range) return (uint32_t)(product >> 32);
    }
}

// For few rows, a uniformly random permutation by Fisher and Yates: with small halves, the Feistel network of
// order.inc.h would not give all orders with equal probability.
static void order_few(int64_t *rows, int64_t first, int64_t count, int64_t n, uint64_t seed, uint64_t stream) {
    int64_t all[MLP_FEW_ROWS];
    words from = {.seed = seed, .stream = stream};
    for (int64_t i = 0; i < n; i++) all[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {  // Fisher and Yates
        int64_t j = below((uint32_t)i + 1, &from), other = all[j];
        all[j] = all[i];
        all[i] = other;
    }
    memcpy(rows, all + first, (size_t)count * sizeof *rows);
}

static mlp_permutation permutation_of(int64_t n, uint64_t seed, uint64_t stream) {
    mlp_permutation p = {.n = n};
    while (p.left_bits < 31 && (UINT64_C(2) << 2 * p.left_bits) < (uint64_t)n) p.left_bits++;
    p.left_bits += n > INT64_C(1) << 62;  // right_count is at most 2^31
    p.right_count = (uint32_t)(((uint64_t)n - 1) >> p.left_bits) + 1;
    for (int round = 0; round < MLP_ORDER_ROUNDS; round++) {
        uint64_t pair[2];
        mlp_random_pair(pair, seed, stream, (uint64_t)round);
        p.left_key[round][0] = (uint32_t)pair[0], p.left_key[round][1] = (uint32_t)(pair[0] >> 32) | 1;
        p.right_key[round][0] = (uint32_t)pair[1], p.right_key[round][1] = (uint32_t)(pair[1] >> 32) | 1;
    }
    return p;
}

void mlp_order(int64_t *rows, int64_t first, int64_t count, int64_t n, uint64_t seed, uint64_t epoch) {
    if (count <= 0) return;
    uint64_t stream = MLP_STREAM_SHUFFLE + epoch;
    if (n <= MLP_FEW_ROWS) {
        order_few(rows, first, count, n, seed, stream);
        return;
    }
    mlp_permutation p = permutation_of(n, seed, stream);
    mlp_kernels_for(MLP_FLOAT32)->order(rows, first, count, &p);
}

static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

void mlp_random_uniform(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t pair[2];
        mlp_random_pair(pair, seed, MLP_STREAM_UNIFORM + stream, (uint64_t)(first + i));
        out[i] = unit(pair[0]);
    }
}

#if defined(MLP_NO_FLOAT64) && defined(MLP_WRONG_FMA)
#error "without float64, GCC for Windows needs -mfma: MinGW's fma() rounds wrongly, and so would the logarithm here"
#endif
#if defined(MLP_NO_FLOAT64)  // the logarithm alone, of plain C, which has the bits of the others
#define REAL_BITS 64
#define UNROLL
#pragma GCC diagnostic ignored "-Wunused-function"
#include "simd/generic.h"
#include "kernels/math.inc.h"
static double log_of(double x) { return v_log(x); }
#else
static double log_of(double x) {
    double log_x;
    mlp_kernels_for(MLP_FLOAT64)->log(&log_x, &x, 1);
    return log_x;
}
#endif

// Marsaglia's polar method, with the core's logarithm, so that every machine gives the same bits.
static double normal_at(uint64_t i, uint64_t seed, uint64_t stream) {
    for (uint64_t attempt = 0;; attempt++) {
        uint64_t pair[2];
        mlp_random_pair(pair, seed, MLP_STREAM_NORMAL + stream, i | attempt << 48);
        double u = 2 * unit(pair[0]) - 1, v = 2 * unit(pair[1]) - 1, s = u * u + v * v;
        if (s >= 1 || s == 0) continue;
        return u * sqrt(-2 * log_of(s) / s);
    }
}

void mlp_random_normal(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream) {
    mlp_fpmode before = mlp_fpmode_enter_core();
    for (int64_t i = 0; i < count; i++) out[i] = normal_at((uint64_t)(first + i), seed, stream);
    mlp_fpmode_leave(before);
}
#endif
