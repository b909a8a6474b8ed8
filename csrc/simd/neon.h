// The vector operations of the kernels, for AArch64 NEON.
//
// Every simd/*.h offers the same names with the same meaning, bit for bit; generic.h says what each means.
// Template parameter: REAL_BITS, 32 or 64.
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define SIMD_TARGET
#define SIMD static inline __attribute__((always_inline))
#define SIMD_REGISTERS 32

#if REAL_BITS == 32

typedef float real;
typedef float32x4_t vreal;
typedef uint32x4_t vint;
typedef uint32x4_t vmask;
#define VL 4

SIMD vreal v_zero(void) { return vdupq_n_f32(0); }
SIMD vreal v_set1(real x) { return vdupq_n_f32(x); }
SIMD vreal v_load(const real *p) { return vld1q_f32(p); }
SIMD void v_store(real *p, vreal v) { vst1q_f32(p, v); }

SIMD vreal v_add(vreal a, vreal b) { return vaddq_f32(a, b); }
SIMD vreal v_sub(vreal a, vreal b) { return vsubq_f32(a, b); }
SIMD vreal v_mul(vreal a, vreal b) { return vmulq_f32(a, b); }
SIMD vreal v_div(vreal a, vreal b) { return vdivq_f32(a, b); }
SIMD vreal v_sqrt(vreal a) { return vsqrtq_f32(a); }
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return vfmaq_f32(c, a, b); }

SIMD vmask v_lt(vreal a, vreal b) { return vcltq_f32(a, b); }
SIMD vmask v_eq(vreal a, vreal b) { return vceqq_f32(a, b); }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return vbslq_f32(m, a, b); }

SIMD vreal v_zip_low(vreal a, vreal b) { return vzip1q_f32(a, b); }
SIMD vreal v_zip_high(vreal a, vreal b) { return vzip2q_f32(a, b); }

SIMD vint v_bits(vreal v) { return vreinterpretq_u32_f32(v); }
SIMD vreal v_from_bits(vint v) { return vreinterpretq_f32_u32(v); }
SIMD vint vi_set1(uint32_t x) { return vdupq_n_u32(x); }
SIMD vint vi_add(vint a, vint b) { return vaddq_u32(a, b); }
SIMD vint vi_sub(vint a, vint b) { return vsubq_u32(a, b); }
SIMD vint vi_and(vint a, vint b) { return vandq_u32(a, b); }
SIMD vint vi_or(vint a, vint b) { return vorrq_u32(a, b); }
#define vi_shl(v, n) vshlq_n_u32(v, n)
#define vi_shr(v, n) vshrq_n_u32(v, n)

SIMD vreal v_from_float(const float *p) { return vld1q_f32(p); }
SIMD vreal v_from_double(const double *p) {
    return vcombine_f32(vcvt_f32_f64(vld1q_f64(p)), vcvt_f32_f64(vld1q_f64(p + 2)));
}

#else

typedef double real;
typedef float64x2_t vreal;
typedef uint64x2_t vint;
typedef uint64x2_t vmask;
#define VL 2

SIMD vreal v_zero(void) { return vdupq_n_f64(0); }
SIMD vreal v_set1(real x) { return vdupq_n_f64(x); }
SIMD vreal v_load(const real *p) { return vld1q_f64(p); }
SIMD void v_store(real *p, vreal v) { vst1q_f64(p, v); }

SIMD vreal v_add(vreal a, vreal b) { return vaddq_f64(a, b); }
SIMD vreal v_sub(vreal a, vreal b) { return vsubq_f64(a, b); }
SIMD vreal v_mul(vreal a, vreal b) { return vmulq_f64(a, b); }
SIMD vreal v_div(vreal a, vreal b) { return vdivq_f64(a, b); }
SIMD vreal v_sqrt(vreal a) { return vsqrtq_f64(a); }
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return vfmaq_f64(c, a, b); }

SIMD vmask v_lt(vreal a, vreal b) { return vcltq_f64(a, b); }
SIMD vmask v_eq(vreal a, vreal b) { return vceqq_f64(a, b); }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return vbslq_f64(m, a, b); }

SIMD vreal v_zip_low(vreal a, vreal b) { return vzip1q_f64(a, b); }
SIMD vreal v_zip_high(vreal a, vreal b) { return vzip2q_f64(a, b); }

SIMD vint v_bits(vreal v) { return vreinterpretq_u64_f64(v); }
SIMD vreal v_from_bits(vint v) { return vreinterpretq_f64_u64(v); }
SIMD vint vi_set1(uint64_t x) { return vdupq_n_u64(x); }
SIMD vint vi_add(vint a, vint b) { return vaddq_u64(a, b); }
SIMD vint vi_sub(vint a, vint b) { return vsubq_u64(a, b); }
SIMD vint vi_and(vint a, vint b) { return vandq_u64(a, b); }
SIMD vint vi_or(vint a, vint b) { return vorrq_u64(a, b); }
#define vi_shl(v, n) vshlq_n_u64(v, n)
#define vi_shr(v, n) vshrq_n_u64(v, n)

SIMD vreal v_from_float(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
SIMD vreal v_from_double(const double *p) { return vld1q_f64(p); }

#endif

// NEON has no masked loads and stores: partial vectors are copied through a small array.
SIMD vreal v_load_part(const real *p, int n) {
    real lane[VL] = {0};
    memcpy(lane, p, (size_t)n * sizeof *lane);
    return v_load(lane);
}
SIMD void v_store_part(real *p, int n, vreal v) {
    real lane[VL];
    v_store(lane, v);
    memcpy(p, lane, (size_t)n * sizeof *lane);
}
// vmaxq and vminq differ from x86 for NaN and signed zeros, so compare and select instead.
SIMD vreal v_max(vreal a, vreal b) { return v_select(v_lt(b, a), a, b); }
SIMD vreal v_min(vreal a, vreal b) { return v_select(v_lt(a, b), a, b); }
SIMD vreal v_from_uint8(const uint8_t *p) {
    real lane[VL];
    for (int i = 0; i < VL; i++) lane[i] = (real)p[i];
    return v_load(lane);
}
