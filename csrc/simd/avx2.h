// The vector operations of the kernels, for AVX2 with FMA.
//
// Every simd/*.h offers the same names with the same meaning, bit for bit; generic.h says what each means.
// Template parameter: REAL_BITS, 32 or 64.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMD_TARGET __attribute__((target("avx2,fma")))
#define SIMD static inline __attribute__((always_inline)) SIMD_TARGET
#define SIMD_REGISTERS 16

// The VL lanes from index VL - n on are a mask of the first n lanes.
#if REAL_BITS == 32

typedef float real;
typedef __m256 vreal;
typedef __m256i vint;
typedef __m256 vmask;
#define VL 8

static const int32_t avx2_window[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

SIMD vreal v_zero(void) { return _mm256_setzero_ps(); }
SIMD vreal v_set1(real x) { return _mm256_set1_ps(x); }
SIMD vreal v_load(const real *p) { return _mm256_loadu_ps(p); }
SIMD void v_store(real *p, vreal v) { _mm256_storeu_ps(p, v); }
SIMD __m256i avx2_first(int n) { return _mm256_loadu_si256((const __m256i *)(avx2_window + VL - n)); }
SIMD vreal v_load_part(const real *p, int n) { return _mm256_maskload_ps(p, avx2_first(n)); }
SIMD void v_store_part(real *p, int n, vreal v) { _mm256_maskstore_ps(p, avx2_first(n), v); }

SIMD vreal v_add(vreal a, vreal b) { return _mm256_add_ps(a, b); }
SIMD vreal v_sub(vreal a, vreal b) { return _mm256_sub_ps(a, b); }
SIMD vreal v_mul(vreal a, vreal b) { return _mm256_mul_ps(a, b); }
SIMD vreal v_div(vreal a, vreal b) { return _mm256_div_ps(a, b); }
SIMD vreal v_sqrt(vreal a) { return _mm256_sqrt_ps(a); }
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return _mm256_fmadd_ps(a, b, c); }
SIMD vreal v_max(vreal a, vreal b) { return _mm256_max_ps(a, b); }
SIMD vreal v_min(vreal a, vreal b) { return _mm256_min_ps(a, b); }

SIMD vmask v_lt(vreal a, vreal b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
SIMD vmask v_eq(vreal a, vreal b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return _mm256_blendv_ps(b, a, m); }

SIMD vreal v_zip_low(vreal a, vreal b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
SIMD vreal v_zip_high(vreal a, vreal b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}

SIMD vint v_bits(vreal v) { return _mm256_castps_si256(v); }
SIMD vreal v_from_bits(vint v) { return _mm256_castsi256_ps(v); }
SIMD vint vi_set1(uint32_t x) { return _mm256_set1_epi32((int)x); }
SIMD vint vi_add(vint a, vint b) { return _mm256_add_epi32(a, b); }
SIMD vint vi_sub(vint a, vint b) { return _mm256_sub_epi32(a, b); }
SIMD vint vi_and(vint a, vint b) { return _mm256_and_si256(a, b); }
SIMD vint vi_or(vint a, vint b) { return _mm256_or_si256(a, b); }
#define vi_shl(v, n) _mm256_slli_epi32(v, n)
#define vi_shr(v, n) _mm256_srli_epi32(v, n)

SIMD vreal v_from_float(const float *p) { return _mm256_loadu_ps(p); }
SIMD vreal v_from_double(const double *p) {
    return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(p + 4)), _mm256_cvtpd_ps(_mm256_loadu_pd(p)));
}
SIMD vreal v_from_uint8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

#else

typedef double real;
typedef __m256d vreal;
typedef __m256i vint;
typedef __m256d vmask;
#define VL 4

static const int64_t avx2_window[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

SIMD vreal v_zero(void) { return _mm256_setzero_pd(); }
SIMD vreal v_set1(real x) { return _mm256_set1_pd(x); }
SIMD vreal v_load(const real *p) { return _mm256_loadu_pd(p); }
SIMD void v_store(real *p, vreal v) { _mm256_storeu_pd(p, v); }
SIMD __m256i avx2_first(int n) { return _mm256_loadu_si256((const __m256i *)(avx2_window + VL - n)); }
SIMD vreal v_load_part(const real *p, int n) { return _mm256_maskload_pd(p, avx2_first(n)); }
SIMD void v_store_part(real *p, int n, vreal v) { _mm256_maskstore_pd(p, avx2_first(n), v); }

SIMD vreal v_add(vreal a, vreal b) { return _mm256_add_pd(a, b); }
SIMD vreal v_sub(vreal a, vreal b) { return _mm256_sub_pd(a, b); }
SIMD vreal v_mul(vreal a, vreal b) { return _mm256_mul_pd(a, b); }
SIMD vreal v_div(vreal a, vreal b) { return _mm256_div_pd(a, b); }
SIMD vreal v_sqrt(vreal a) { return _mm256_sqrt_pd(a); }
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return _mm256_fmadd_pd(a, b, c); }
SIMD vreal v_max(vreal a, vreal b) { return _mm256_max_pd(a, b); }
SIMD vreal v_min(vreal a, vreal b) { return _mm256_min_pd(a, b); }

SIMD vmask v_lt(vreal a, vreal b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
SIMD vmask v_eq(vreal a, vreal b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return _mm256_blendv_pd(b, a, m); }

SIMD vreal v_zip_low(vreal a, vreal b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20);
}
SIMD vreal v_zip_high(vreal a, vreal b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31);
}

SIMD vint v_bits(vreal v) { return _mm256_castpd_si256(v); }
SIMD vreal v_from_bits(vint v) { return _mm256_castsi256_pd(v); }
SIMD vint vi_set1(uint64_t x) { return _mm256_set1_epi64x((long long)x); }
SIMD vint vi_add(vint a, vint b) { return _mm256_add_epi64(a, b); }
SIMD vint vi_sub(vint a, vint b) { return _mm256_sub_epi64(a, b); }
SIMD vint vi_and(vint a, vint b) { return _mm256_and_si256(a, b); }
SIMD vint vi_or(vint a, vint b) { return _mm256_or_si256(a, b); }
#define vi_shl(v, n) _mm256_slli_epi64(v, n)
#define vi_shr(v, n) _mm256_srli_epi64(v, n)

SIMD vreal v_from_float(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
SIMD vreal v_from_double(const double *p) { return _mm256_loadu_pd(p); }
SIMD vreal v_from_uint8(const uint8_t *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
}

#endif
