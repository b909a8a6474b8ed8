// Dropout and noise: random numbers for whole rows at once, from the generator of rng.h. Template parameters: a
// simd/*.h.
//
// The numbers of a row are generated in blocks of RANDOM_COLS columns. RANDOM_COLS / 4 generators, whose counters
// contain stream, step, row and block, give four words each; word k of generator g is for column k RANDOM_COLS / 4 + g.
// So each number depends only on (seed, stream, step, row, column), and the backward pass generates it again instead of
// reading a stored copy.

#include <string.h>

#define RANDOM_COLS 64
#define GENERATORS (RANDOM_COLS / 4)

static SIMD_TARGET void random_words(uint32_t *word, const mlp_rng_key *key, int64_t row, int64_t block) {
    uint32_t c[4][GENERATORS], k0 = (uint32_t)key->seed, k1 = (uint32_t)(key->seed >> 32);
    for (int g = 0; g < GENERATORS; g++) {
        c[0][g] = (uint32_t)(block * GENERATORS + g), c[1][g] = (uint32_t)(key->first_row + row);
        c[2][g] = (uint32_t)key->step, c[3][g] = key->stream;
    }
    for (int round = 0; round < 10; round++, k0 += MLP_PHILOX_WEYL_0, k1 += MLP_PHILOX_WEYL_1) {
        for (int g = 0; g < GENERATORS; g++) {
            uint64_t product0 = (uint64_t)MLP_PHILOX_0 * c[0][g], product1 = (uint64_t)MLP_PHILOX_1 * c[2][g];
            c[0][g] = (uint32_t)(product1 >> 32) ^ c[1][g] ^ k0;
            c[2][g] = (uint32_t)(product0 >> 32) ^ c[3][g] ^ k1;
            c[1][g] = (uint32_t)product1;
            c[3][g] = (uint32_t)product0;
        }
    }
    for (int k = 0; k < 4; k++) memcpy(word + k * GENERATORS, c[k], sizeof c[k]);
}

// Columns [*from, *to) of the block that lie in [j0, j1).
SIMD void columns_of_block(int64_t block, int64_t j0, int64_t j1, int64_t *from, int64_t *to) {
    *from = block * RANDOM_COLS < j0 ? j0 - block * RANDOM_COLS : 0;
    *to = (block + 1) * RANDOM_COLS > j1 ? j1 - block * RANDOM_COLS : RANDOM_COLS;
}

// out (.., n) = in, each number zero with probability p and divided by 1 - p otherwise: Srivastava et al. (2014).
static SIMD_TARGET void dropout(void *out, const void *in, int64_t n, mlp_block part, double p,
                                  const mlp_rng_key *key) {
    uint32_t word[RANDOM_COLS];
    uint64_t kept_below = (uint64_t)((1 - p) * 0x1p32);  // 2^32 (nothing is dropped) if 1 - p rounds to 1
    real scale = (real)(1 / (1 - p));
    for (int64_t i = part.i0; i < part.i1; i++) {
        for (int64_t block = part.j0 / RANDOM_COLS; block * RANDOM_COLS < part.j1; block++) {
            int64_t from, to;
            random_words(word, key, i, block);
            columns_of_block(block, part.j0, part.j1, &from, &to);
            const real *x = (const real *)in + i * n + block * RANDOM_COLS;
            real *y = (real *)out + i * n + block * RANDOM_COLS;
            for (int64_t j = from; j < to; j++) y[j] = word[j] < kept_below ? x[j] * scale : 0;
        }
    }
}

// Upper-tail normal quantile: z > 0 with P(Z > z) = v < 1/2. Wichura, "Algorithm AS 241: the percentage points of the
// normal distribution", Applied Statistics 37 (1988), PPND7; about seven digits. v is at least 2^-33, so that the last
// of its three ranges is never reached.
SIMD vreal normal_upper_quantile(vreal v) {
    static const real a[] = {(real)3.3871327179, (real)50.434271938, (real)159.29113202, (real)59.109374720};
    static const real b[] = {1, (real)17.895169469, (real)78.757757664, (real)67.187563600};
    static const real c[] = {(real)1.4234372777, (real)2.7568153900, (real)1.3067284816, (real)0.17023821103};
    static const real d[] = {1, (real)0.73700164250, (real)0.12021132975};
    vreal q = v_sub(v_set1((real)0.5), v), r = v_fma(v_sub(v_zero(), q), q, v_set1((real)0.180625));
    vreal central = v_div(v_mul(q, POLY(r, a)), POLY(r, b));
    vreal s = v_sub(v_sqrt(v_sub(v_zero(), v_log(v))), v_set1((real)1.6));
    return v_select(v_lt(v_set1((real)0.425), q), v_div(POLY(s, c), POLY(s, d)), central);
}

// rows [i0, i1) of x (.., n) += deviation times normal numbers.
static SIMD_TARGET void add_noise(void *x, int64_t n, int64_t i0, int64_t i1, double deviation,
                                  const mlp_rng_key *key) {
    uint32_t word[RANDOM_COLS];
    real upper[RANDOM_COLS];
    for (int64_t i = i0; i < i1; i++) {
        for (int64_t block = 0; block * RANDOM_COLS < n; block++) {
            int64_t from, to;
            random_words(word, key, i, block);
            columns_of_block(block, 0, n, &from, &to);
            for (int j = 0; j < RANDOM_COLS; j++) {
                upper[j] = ((real)(int32_t)(word[j] >> 1) + (real)0.5) * (real)0x1p-32;
            }
            for (int j = 0; j < RANDOM_COLS; j += VL) v_store(upper + j, normal_upper_quantile(v_load(upper + j)));
            real *to_row = (real *)x + i * n + block * RANDOM_COLS;
            for (int64_t j = 0; j < to; j++) to_row[j] += (real)deviation * (word[j] & 1 ? -upper[j] : upper[j]);
        }
    }
}
