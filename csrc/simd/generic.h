// The vector operations of the kernels in plain C: one lane, and the definition of what each name means.
//
// simd/avx2.h, simd/avx512.h and simd/neon.h do the same for VL lanes at once, with the same bits in each lane.
// Template parameters: REAL_BITS, 32 or 64; SIMD_TARGET, if the processor has more than every one of its kind.
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef SIMD_TARGET
#define SIMD_TARGET
#endif
#define SIMD static inline __attribute__((always_inline))
#define SIMD_REGISTERS 16

#define VL 1
typedef int vmask;

#if REAL_BITS == 32
typedef float real;
typedef uint32_t vint;
#else
typedef double real;
typedef uint64_t vint;
#endif
typedef real vreal;

SIMD vreal v_zero(void) { return 0; }
SIMD vreal v_set1(real x) { return x; }
SIMD vreal v_load(const real *p) { return *p; }
SIMD void v_store(real *p, vreal v) { *p = v; }
// The _part operations access only the first n lanes, 1 <= n <= VL; a load sets the others to zero.
SIMD vreal v_load_part(const real *p, int n) {
    (void)n;
    return *p;
}
SIMD void v_store_part(real *p, int n, vreal v) {
    (void)n;
    *p = v;
}

SIMD vreal v_add(vreal a, vreal b) { return a + b; }
SIMD vreal v_sub(vreal a, vreal b) { return a - b; }
SIMD vreal v_mul(vreal a, vreal b) { return a * b; }
SIMD vreal v_div(vreal a, vreal b) { return a / b; }
#if REAL_BITS == 32
SIMD vreal v_sqrt(vreal a) { return sqrtf(a); }
#else
SIMD vreal v_sqrt(vreal a) { return sqrt(a); }
#endif
// a * b + c, rounded once.
#if REAL_BITS == 32
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return fmaf(a, b, c); }
#else
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return fma(a, b, c); }
#endif
// As on x86: the result is the second operand if either is NaN, or if both are zeros.
SIMD vreal v_max(vreal a, vreal b) { return a > b ? a : b; }
SIMD vreal v_min(vreal a, vreal b) { return a < b ? a : b; }

SIMD vmask v_lt(vreal a, vreal b) { return a < b; }
SIMD vmask v_eq(vreal a, vreal b) { return a == b; }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return m ? a : b; }  // lane by lane: m ? a : b

// Interleave a_0 b_0 a_1 b_1 ..: v_zip_low the first halves of a and b, v_zip_high the second halves. Unused for VL =
// 1.
SIMD vreal v_zip_low(vreal a, vreal b) {
    (void)b;
    return a;
}
SIMD vreal v_zip_high(vreal a, vreal b) {
    (void)a;
    return b;
}

// Integer lanes of the same width, unsigned and modulo 2^REAL_BITS.
SIMD vint v_bits(vreal v) {
    vint bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
SIMD vreal v_from_bits(vint v) {
    vreal x;
    memcpy(&x, &v, sizeof x);
    return x;
}
SIMD vint vi_set1(vint x) { return x; }
SIMD vint vi_add(vint a, vint b) { return a + b; }
SIMD vint vi_sub(vint a, vint b) { return a - b; }
SIMD vint vi_and(vint a, vint b) { return a & b; }
SIMD vint vi_or(vint a, vint b) { return a | b; }
#define vi_shl(v, n) ((vint)((v) << (n)))  // n is a constant
#define vi_shr(v, n) ((vint)((v) >> (n)))

// VL numbers of another type, each rounded to real.
SIMD vreal v_from_float(const float *p) { return (real)*p; }
SIMD vreal v_from_double(const double *p) { return (real)*p; }
SIMD vreal v_from_uint8(const uint8_t *p) { return (real)*p; }
