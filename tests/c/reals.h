// Numbers of either dtype as doubles, so that one reference serves both tables. Every float is a double, and the
// rounding of a double sum, product or quotient of floats to float is the float operation's own (53 >= 2 * 24 + 2).
#ifndef MLP_TEST_REALS_H
#define MLP_TEST_REALS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel_table.h"

static inline double get(const mlp_kernels *k, const void *array, int64_t i) {
    return k->dtype == MLP_FLOAT32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static inline void put(const mlp_kernels *k, void *array, int64_t i, double x) {
    if (k->dtype == MLP_FLOAT32) ((float *)array)[i] = (float)x;
    else ((double *)array)[i] = x;
}

static inline double rounded(const mlp_kernels *k, double x) { return k->dtype == MLP_FLOAT32 ? (double)(float)x : x; }

static inline double fused(const mlp_kernels *k, double a, double b, double c) {
    return k->dtype == MLP_FLOAT32 ? (double)fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
}

static inline double epsilon(const mlp_kernels *k) { return k->dtype == MLP_FLOAT32 ? FLT_EPSILON : DBL_EPSILON; }
static inline double tiniest_normal(const mlp_kernels *k) { return k->dtype == MLP_FLOAT32 ? FLT_MIN : DBL_MIN; }
static inline const char *dtype_name(const mlp_kernels *k) { return k->dtype == MLP_FLOAT32 ? "float32" : "float64"; }

// Equal bits; any NaN equals any other, since their bits are unspecified.
static inline int same(double a, double b) { return (a != a && b != b) || memcmp(&a, &b, sizeof a) == 0; }

static inline int same_array(const mlp_kernels *k, const void *a, const void *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!same(get(k, a, i), get(k, b, i))) return 0;
    }
    return 1;
}

// ---- The standard normal distribution and its density, to a double's last place and beyond ----

#define ONE_OVER_SQRT_2 0.707106781186547524400844362104849039L
#define ONE_OVER_SQRT_2_PI 0.398942280401432677939946059934381868L

// In the tails the rounding of what erfc and exp are taken of, even to a long double, would show: it is put back to
// first order. high holds the upper 9 bits of 1 / sqrt 2, or the upper 24 of x, so that products with it are exact.
static inline long double normal_cdf(long double x) {
    const long double high = 0x1.6ap-1L, low = ONE_OVER_SQRT_2 - high;
    if (!(fabsl(x) <= 40)) return isnan(x) ? x : x > 0;
    long double a = -x * high, b = -x * low, y = a + b, lost = b - (y - a);  // |a| > |b|
    return 0.5L * erfcl(y) - lost * expl(-y * y) * 0.564189583547756286948079451560772586L;
}

static inline long double normal_pdf(long double x) {
    if (!(fabsl(x) <= 40)) return isnan(x) ? x : 0;
    long double high = (float)x, low = x - high, square = x * x;
    long double lost = ((high * high - square) + 2 * high * low) + low * low;
    return expl(-0.5L * square) * (1 - 0.5L * lost) * ONE_OVER_SQRT_2_PI;
}

// ---- Random numbers: splitmix64, good enough for test data ----

static uint64_t random_state = 1;

static inline uint64_t random_bits(void) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline double random_unit(void) { return (double)(random_bits() >> 11) * 0x1p-53; }
static inline int64_t random_below(int64_t n) { return (int64_t)(random_bits() % (uint64_t)n); }
static inline double random_integer(void) { return (double)(random_below(9) - 4); }  // -4 .. 4
static inline double random_real(const mlp_kernels *k) { return rounded(k, 4 * random_unit() - 2); }

// The i-th table of both dtypes together, NULL past the last: a loop over it visits every table there is.
static inline const mlp_kernels *every_table(int i) {
    return mlp_kernels_available(i / 2, i % 2 ? MLP_FLOAT64 : MLP_FLOAT32);
}

#endif
