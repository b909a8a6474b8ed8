// exp, log, tanh and related functions, built from the vector operations of simd/*.h only: no libm, no branches, and
// every rounding explicit, so that all instruction sets and compilers give the same bits. Template parameters:
// REAL_BITS, UNROLL (a pragma).
//
// Networks as one C file (mlpfast/export_c.py) contain functions of this file, of activation.inc.h and columns.inc.h,
// which are therefore C99 and C++11 too, without compound literals.
//
// Largest errors in ulp, float32 over all inputs and float64 over samples; tests/c/test_math.c measures them:
//   exp 0.9   log 0.9   log1p_unit 1.0   tanh 2.0   sigmoid 1.7   expm1_down 1.5   normal_cdf 3.7   normal_pdf 2.3
//
// Source of the polynomials: each minimizes the maximum relative error of the whole function on the stated interval
// (Remez exchange algorithm, 50 decimal digits). Exceptions are float64's exp_poly, which approximates exp(x) - 1, and
// normal_poly: both are near-minimax, by Lawson's weighted least squares. Coefficients were rounded to `real` one by
// one from the lowest degree up, refitting the higher ones after each rounding; the stated error is that of the rounded
// polynomial in exact arithmetic. One ulp is 2^-23 or 2^-52 relative to a power of two.

#include <math.h>

#if REAL_BITS == 32

#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define MANTISSA_MASK 0x007fffffu
#define THREE_QUARTERS_BITS 0x3f400000u
#define ONE_BITS 0x3f800000u
#define MIN_NORMAL 0x1p-126f
#define TWO_POW_MANTISSA 0x1p23f

// ln 2 = LN2_HIGH + LN2_LOW, each rounded to 24 bits.
#define LN2_HIGH 0x1.62e43p-1f
#define LN2_LOW -0x1.05c61p-29f
#define LOG2_E 0x1.715476p+0f

// exp is 0 below -150 ln 2 = -103.97 and overflows above 128 ln 2 = 88.72.
#define EXP_LOWEST -104.0f
#define EXP_HIGHEST 89.0f
// tanh rounds to 1 from 9.01 on.
#define TANH_ONE 10.0f

// exp(x) - 1 rounds to -1 below -17.4, and Phi(z) to 0 below -14.2.
#define EXPM1_LOWEST -20.0f
#define NORMAL_MOST 14.5f

// (exp(r) - 1) / r on |r| <= 0.3469, slightly more than ln 2 / 2; the first coefficient is fixed. Error of exp 2^-28.2.
static const real exp_poly[] = {1.0f, 0.49999994f, 0.16666517f, 0.041668106f, 0.008369138f, 0.0013836671f};
// (log(1 + f) - f) / f^2 on -1/4 <= f <= 1/2. Error of the logarithm 2^-27.5.
static const real log_poly[] = {-0.5f,        0.33333462f,  -0.25000194f, 0.19990395f,  -0.16642736f,
                                0.14475346f, -0.13204864f, 0.10578406f,  -0.04592913f};
// (w + K) M(w) in q = (w - K) / (w + K), 0 <= w <= 14.5, see normal_of. Error 2^-25.7, from rounding the first
// coefficient.
static const real normal_poly[] = {0.75528514f,   -0.6078966f,    0.38713646f,   -0.18652223f,
                                   0.06040847f,  -0.007533938f, -0.0035314201f, 0.0015902141f,
                                   0.00021253362f, -0.0001452062f, -1.899576e-05f};

#else

#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define MANTISSA_MASK 0x000fffffffffffffu
#define THREE_QUARTERS_BITS 0x3fe8000000000000u
#define ONE_BITS 0x3ff0000000000000u
#define MIN_NORMAL 0x1p-1022
#define TWO_POW_MANTISSA 0x1p52

// ln 2 = LN2_HIGH + LN2_LOW, each rounded to 53 bits.
#define LN2_HIGH 0x1.62e42fefa39efp-1
#define LN2_LOW 0x1.abc9e3b39803fp-56
#define LOG2_E 0x1.71547652b82fep+0

// exp is 0 below -1075 ln 2 = -745.13 and overflows above 1024 ln 2 = 709.78.
#define EXP_LOWEST -746.0
#define EXP_HIGHEST 710.0
// tanh rounds to 1 from 19.06 on.
#define TANH_ONE 20.0

// exp(x) - 1 rounds to -1 below -37.5, and Phi(z) to 0 below -38.5.
#define EXPM1_LOWEST -40.0
#define NORMAL_MOST 39.0

// (exp(r) - 1) / r on |r| <= 0.3469, slightly more than ln 2 / 2; the first coefficient is fixed. Error 2^-61.6.
static const real exp_poly[] = {1.0,
                                0.5,
                                0.16666666666666677,
                                0.04166666666666664,
                                0.008333333333321506,
                                0.001388888888891018,
                                0.00019841269886355153,
                                2.480158726170419e-05,
                                2.7557244015346743e-06,
                                2.755733440832687e-07,
                                2.5109099952664003e-08,
                                2.0894663526618415e-09};
// (log(1 + f) - f) / f^2 on -1/4 <= f <= 1/2. Error of the logarithm 2^-56.4.
static const real log_poly[] = {
    -0.4999999999999997,  0.3333333333333395,   -0.25000000000019656, 0.19999999999815998,  -0.166666666627465,
    0.14285714301382765,  -0.1250000035026991,  0.11111110798462069,  -0.09999983745088775, 0.09090889611547216,
    -0.083337321825609,   0.07693481751076445,  -0.07138423809673054, 0.06642268245779609,  -0.062490907001070954,
    0.060872504890199276, -0.05977766529977065, 0.050754236678398464, -0.02936256496582678, 0.008059583360513437};
// (w + K) M(w) in q = (w - K) / (w + K), 0 <= w <= 39, see normal_of. Error 2^-54.9.
static const real normal_poly[] = {
    0.7552851304157515, -0.6078966419718921, 0.3871374007422085, -0.18652185795965714,
    0.06039657489124619, -0.0075401889667806804, -0.003479692373728491, 0.0016308184586175361,
    0.00013334437984314322, -0.00023109494147406827, -1.9086822040310487e-06, 3.514468620999622e-05,
    7.183447172966972e-07, -5.920000994293884e-06, -6.340121889477896e-07, 1.020657038049411e-06,
    2.7900659032557323e-07, -1.5272979089241848e-07, -9.294391996458665e-08, 1.0212945474178726e-08,
    2.411489070392536e-08, 4.149542525957954e-09, -3.689402393124798e-09, -1.399960632133548e-09};

#endif

#define NORMAL_K ((real)4)
#define ONE_OVER_SQRT_2_PI ((real)0.39894228040143267793994605993438)

// c[0] + c[1] x + ... by Horner's rule, which takes the fewest instructions; the callers' independent vectors hide its
// latency. POLY_AFTER skips the lowest coefficients.
#define POLY(x, c) POLY_AFTER(x, c, 0)
#define POLY_AFTER(x, c, left_out) poly(x, (c) + (left_out), (int)(sizeof(c) / sizeof *(c)) - (left_out))
SIMD vreal poly(vreal x, const real *c, int terms) {
    vreal p = v_set1(c[terms - 1]);
    UNROLL
    for (int k = terms - 2; k >= 0; k--) p = v_fma(p, x, v_set1(c[k]));
    return p;
}

SIMD vint sign_bit(void) { return v_bits(v_set1((real)-0.0)); }
SIMD vreal minus_size(vreal x) { return v_from_bits(vi_or(v_bits(x), sign_bit())); }  // -|x|

// ---- exp ----

// x = r + n ln 2 with |r| <= ln 2 / 2 and n an integer, so exp(x) = exp(r) 2^n. The low bits of field are n + bias.
typedef struct {
    vreal r, high, low;  // r = high + low, rounded
    vint field;
} exp_parts;

// x log2 e is rounded to an integer by adding 1.5 * 2^MANTISSA_BITS (+ bias), whose ulp is 1. Subtracting n LN2_HIGH is
// exact: the difference is small and a multiple of the ulp of x or of LN2_HIGH.
SIMD exp_parts exp_split(vreal x, int bias) {
    vreal rounder = v_set1((real)1.5 * TWO_POW_MANTISSA + (real)bias);
    vreal rounded = v_fma(x, v_set1(LOG2_E), rounder);
    vreal minus_n = v_sub(rounder, rounded);
    vreal high = v_fma(minus_n, v_set1(LN2_HIGH), x), low = v_mul(minus_n, v_set1(LN2_LOW));
    vreal r = v_fma(minus_n, v_set1(LN2_LOW), high);
    exp_parts e = {r, high, low, v_bits(rounded)};
    return e;
}

// (exp(r) - 1) / r, and exp(r) from it.
SIMD vreal exp_slope(vreal r) { return POLY(r, exp_poly); }
SIMD vreal exp_small(vreal r) { return v_fma(exp_slope(r), r, v_set1(1)); }
// exp(r) - 1 as r + r^2 (...): the error is little more than the rounding of the last addition.
SIMD vreal exp_minus_1_small(exp_parts e) {
    return v_add(e.high, v_fma(v_mul(e.r, e.r), POLY_AFTER(e.r, exp_poly, 1), e.low));
}

// The power of two whose exponent field is the low bits of `field`; the shift drops the bits above.
SIMD vreal power_of_field(vint field) { return v_from_bits(vi_shl(field, MANTISSA_BITS)); }

// 2^n may be outside the range of one factor, so it is applied as two. The product with the first is exact, so results
// are rounded once, also subnormal ones (which the core's floating-point mode then flushes to 0). v_min and v_max
// return their second operand if either is NaN, so NaN is preserved.
SIMD vreal v_exp(vreal x) {
    exp_parts e = exp_split(v_max(v_set1(EXP_LOWEST), v_min(v_set1(EXP_HIGHEST), x)), 2 * EXPONENT_BIAS);
    vint half = vi_shr(e.field, 1);
    return v_mul(v_mul(exp_small(e.r), power_of_field(half)), power_of_field(vi_sub(e.field, half)));
}

// exp(x) for x <= 0: the same bits as v_exp with less work, since 2^(n + 64) is always a normal number.
SIMD exp_parts exp_down_split(vreal x) { return exp_split(v_max(v_set1(EXP_LOWEST), x), EXPONENT_BIAS + 64); }
SIMD vreal exp_down_join(exp_parts e) {
    return v_mul(v_mul(exp_small(e.r), power_of_field(e.field)), v_set1((real)0x1p-64));
}
SIMD vreal exp_down(vreal x) { return exp_down_join(exp_down_split(x)); }

// t = exp(-|x|) cannot overflow. For x < 0 sigmoid(x) = q = t / (1 + t), but t - t q is more accurate: the rounding
// error of 1 + t enters it times t.
typedef struct {
    vreal s, rest;  // sigmoid(x), 1 - sigmoid(x)
} sigmoid_parts;
SIMD sigmoid_parts sigmoid_split(vreal x) {
    vreal one = v_set1(1), t = exp_down(minus_size(x)), q = v_div(t, v_add(one, t));
    vreal small = v_fma(v_sub(v_zero(), t), q, t), large = v_sub(one, q);
    vmask negative = v_lt(x, v_zero());
    sigmoid_parts g = {v_select(negative, small, large), v_select(negative, large, small)};
    return g;
}
SIMD vreal v_sigmoid(vreal x) { return sigmoid_split(x).s; }

SIMD vreal v_sign(vreal x) {
    vreal one = v_select(v_lt(v_zero(), x), v_set1(1), v_zero());
    return v_select(v_lt(x, v_zero()), v_set1(-1), one);
}
// size * sign(x) for size > 0; for NaN the sign is that of its sign bit.
SIMD vreal v_signed(vreal size, vreal x) {
    vreal other = v_from_bits(vi_or(v_bits(size), vi_and(v_bits(x), sign_bit())));
    return v_select(v_eq(x, v_zero()), v_zero(), other);
}

// exp(x) - 1 for x <= 0: 2^n (exp(r) - 1) + (2^n - 1). The second term is exact unless it is within an ulp of -1.
SIMD vreal expm1_down(vreal x) {
    exp_parts e = exp_split(v_max(v_set1(EXPM1_LOWEST), x), EXPONENT_BIAS);
    vreal power = power_of_field(e.field);
    return v_fma(v_mul(exp_slope(e.r), e.r), power, v_sub(power, v_set1(1)));
}

// ---- The standard normal distribution ----

typedef struct {
    vreal cdf, pdf;  // Phi(z) and phi(z) = exp(-z^2 / 2) / sqrt(2 pi)
} normal;

// For w >= 0, Phi(-w) = exp(-w^2 / 2) M(w), where (w + K) M(w), K = NORMAL_K, is a smooth function of t = 1 / (w + K):
// Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc(x) in 0 <= x < infinity", Math. Comp. 36
// (1981). The rounding errors of w^2 (in the exponential), w + K and t (in q = 1 - 2 K t, which multiplies them by 2 K)
// would be visible, so they are computed and corrected to first order.
SIMD normal normal_of(vreal z) {
    vreal zero = v_zero(), one = v_set1(1), minus_half = v_set1((real)-0.5);
    vreal minus_w = v_max(v_set1(-NORMAL_MOST), minus_size(z)), square = v_mul(minus_w, minus_w);
    vreal lost = v_fma(minus_w, minus_w, v_sub(zero, square));
    exp_parts parts = exp_down_split(v_mul(square, minus_half));
    parts.r = v_fma(lost, minus_half, parts.r);
    vreal e = exp_down_join(parts);
    vreal k = v_set1(NORMAL_K), sum = v_sub(k, minus_w), t = v_div(one, sum);
    vreal lost_of_sum = v_add(minus_w, v_sub(sum, k));  // exactly sum - (w + NORMAL_K)
    vreal t_lost = v_mul(t, v_fma(t, lost_of_sum, v_fma(v_sub(zero, t), sum, one)));
    vreal q = v_fma(v_set1(-2 * NORMAL_K), t_lost, v_fma(v_set1(-2 * NORMAL_K), t, one));
    vreal tail = v_mul(v_mul(e, v_add(t, t_lost)), POLY(q, normal_poly));
    normal n = {v_select(v_lt(zero, z), v_sub(one, tail), tail), v_mul(e, v_set1(ONE_OVER_SQRT_2_PI))};
    return n;
}

// ---- tanh ----

// (1 - t) / (1 + t), t = exp(-2 |x|) = 2^n exp(r). Numerator and denominator are rounded once each, as
// (1 -+ 2^n) -+ 2^n (exp(r) - 1). Near zero n = 0, so the numerator is -(exp(r) - 1) without cancellation.
SIMD vreal v_tanh(vreal x) {
    vint sign = vi_and(v_bits(x), sign_bit());
    vreal one = v_set1(1), minus_size_of_x = v_max(v_set1(-TANH_ONE), minus_size(x));
    exp_parts e = exp_split(v_add(minus_size_of_x, minus_size_of_x), EXPONENT_BIAS);
    vreal power = power_of_field(e.field), m = exp_minus_1_small(e);
    vreal numerator = v_fma(v_sub(v_zero(), m), power, v_sub(one, power));
    vreal denominator = v_fma(m, power, v_add(one, power));
    return v_from_bits(vi_or(v_bits(v_div(numerator, denominator)), sign));
}

// ---- log ----

// e ln 2 + log(1 + f) for -1/4 <= f <= 1/2, summed from the smallest terms up.
SIMD vreal log_join(vreal e, vreal f) {
    vreal rest = v_fma(POLY(f, log_poly), v_mul(f, f), v_mul(e, v_set1(LN2_LOW)));
    return v_fma(e, v_set1(LN2_HIGH), v_add(f, rest));
}

// x = 2^e m, 3/4 <= m < 3/2. Adding ONE_BITS - THREE_QUARTERS_BITS to the bits of x makes its exponent field e + bias.
SIMD vreal v_log(vreal x) {
    vreal zero = v_zero(), infinity = v_set1((real)INFINITY);
    vmask subnormal = v_lt(x, v_set1(MIN_NORMAL));
    vreal scaled = v_select(subnormal, v_mul(x, v_set1(TWO_POW_MANTISSA)), x);
    vint bits = vi_add(v_bits(scaled), vi_set1(ONE_BITS - THREE_QUARTERS_BITS));
    // Integer to real: k < 2^MANTISSA_BITS as the low bits of the real number 2^MANTISSA_BITS + k.
    vreal field = v_from_bits(vi_or(vi_shr(bits, MANTISSA_BITS), v_bits(v_set1(TWO_POW_MANTISSA))));
    real offset = TWO_POW_MANTISSA + EXPONENT_BIAS;
    vreal e = v_sub(field, v_select(subnormal, v_set1(offset + MANTISSA_BITS), v_set1(offset)));
    vreal m = v_from_bits(vi_add(vi_and(bits, vi_set1(MANTISSA_MASK)), vi_set1(THREE_QUARTERS_BITS)));
    vreal result = v_select(v_lt(x, infinity), log_join(e, v_sub(m, v_set1(1))), infinity);
    vreal special = v_select(v_eq(x, zero), v_sub(zero, infinity), v_set1((real)NAN));
    return v_select(v_lt(zero, x), result, special);
}

// log(1 + x) for 0 <= x <= 1. Rounding 1 + x would lose low bits of x, so f is taken from x: f = x with e = 0, or
// f = (x - 1) / 2, which is exact, with e = 1.
SIMD vreal v_log1p_unit(vreal x) {
    vreal half = v_set1((real)0.5);
    vmask low = v_lt(x, half);
    vreal f = v_select(low, x, v_fma(x, half, v_set1((real)-0.5)));
    return log_join(v_select(low, v_zero(), v_set1(1)), f);
}
