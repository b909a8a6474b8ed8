// The vector operations of the kernels, for AVX-512 (F, DQ, VL).
//
// Every simd/*.h offers the same names with the same meaning, bit for bit; generic.h says what each means.
// Template parameter: REAL_BITS, 32 or 64.
#include <immintrin.h>
#include <stdint.h>

#define SIMD_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma")))
#define SIMD static inline __attribute__((always_inline)) SIMD_TARGET
#define SIMD_REGISTERS 32

#if REAL_BITS == 32

typedef float real;
typedef __m512 vreal;
typedef __m512i vint;
typedef __mmask16 vmask;
#define VL 16

SIMD vreal v_zero(void) { return _mm512_setzero_ps(); }
SIMD vreal v_set1(real x) { return _mm512_set1_ps(x); }
SIMD vreal v_load(const real *p) { return _mm512_loadu_ps(p); }
SIMD void v_store(real *p, vreal v) { _mm512_storeu_ps(p, v); }
SIMD __mmask16 avx512_first(int n) { return (__mmask16)((1u << n) - 1u); }
SIMD vreal v_load_part(const real *p, int n) { return _mm512_maskz_loadu_ps(avx512_first(n), p); }
SIMD void v_store_part(real *p, int n, vreal v) { _mm512_mask_storeu_ps(p, avx512_first(n), v); }

SIMD vreal v_add(vreal a, vreal b) { return _mm512_add_ps(a, b); }
SIMD vreal v_sub(vreal a, vreal b) { return _mm512_sub_ps(a, b); }
SIMD vreal v_mul(vreal a, vreal b) { return _mm512_mul_ps(a, b); }
SIMD vreal v_div(vreal a, vreal b) { return _mm512_div_ps(a, b); }
SIMD vreal v_sqrt(vreal a) { return _mm512_sqrt_ps(a); }
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return _mm512_fmadd_ps(a, b, c); }
SIMD vreal v_max(vreal a, vreal b) { return _mm512_max_ps(a, b); }
SIMD vreal v_min(vreal a, vreal b) { return _mm512_min_ps(a, b); }

SIMD vmask v_lt(vreal a, vreal b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
SIMD vmask v_eq(vreal a, vreal b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return _mm512_mask_blend_ps(m, b, a); }

SIMD vreal v_zip_low(vreal a, vreal b) {
    __m512i from = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutex2var_ps(a, from, b);
}
SIMD vreal v_zip_high(vreal a, vreal b) {
    __m512i from = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    return _mm512_permutex2var_ps(a, from, b);
}

SIMD vint v_bits(vreal v) { return _mm512_castps_si512(v); }
SIMD vreal v_from_bits(vint v) { return _mm512_castsi512_ps(v); }
SIMD vint vi_set1(uint32_t x) { return _mm512_set1_epi32((int)x); }
SIMD vint vi_add(vint a, vint b) { return _mm512_add_epi32(a, b); }
SIMD vint vi_sub(vint a, vint b) { return _mm512_sub_epi32(a, b); }
SIMD vint vi_and(vint a, vint b) { return _mm512_and_si512(a, b); }
SIMD vint vi_or(vint a, vint b) { return _mm512_or_si512(a, b); }
#define vi_shl(v, n) _mm512_slli_epi32(v, n)
#define vi_shr(v, n) _mm512_srli_epi32(v, n)

SIMD vreal v_from_float(const float *p) { return _mm512_loadu_ps(p); }
SIMD vreal v_from_double(const double *p) {
    __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(p)), high = _mm512_cvtpd_ps(_mm512_loadu_pd(p + 8));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
SIMD vreal v_from_uint8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

#else

typedef double real;
typedef __m512d vreal;
typedef __m512i vint;
typedef __mmask8 vmask;
#define VL 8

SIMD vreal v_zero(void) { return _mm512_setzero_pd(); }
SIMD vreal v_set1(real x) { return _mm512_set1_pd(x); }
SIMD vreal v_load(const real *p) { return _mm512_loadu_pd(p); }
SIMD void v_store(real *p, vreal v) { _mm512_storeu_pd(p, v); }
SIMD __mmask8 avx512_first(int n) { return (__mmask8)((1u << n) - 1u); }
SIMD vreal v_load_part(const real *p, int n) { return _mm512_maskz_loadu_pd(avx512_first(n), p); }
SIMD void v_store_part(real *p, int n, vreal v) { _mm512_mask_storeu_pd(p, avx512_first(n), v); }

SIMD vreal v_add(vreal a, vreal b) { return _mm512_add_pd(a, b); }
SIMD vreal v_sub(vreal a, vreal b) { return _mm512_sub_pd(a, b); }
SIMD vreal v_mul(vreal a, vreal b) { return _mm512_mul_pd(a, b); }
SIMD vreal v_div(vreal a, vreal b) { return _mm512_div_pd(a, b); }
SIMD vreal v_sqrt(vreal a) { return _mm512_sqrt_pd(a); }
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return _mm512_fmadd_pd(a, b, c); }
SIMD vreal v_max(vreal a, vreal b) { return _mm512_max_pd(a, b); }
SIMD vreal v_min(vreal a, vreal b) { return _mm512_min_pd(a, b); }

SIMD vmask v_lt(vreal a, vreal b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
SIMD vmask v_eq(vreal a, vreal b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
SIMD vreal v_select(vmask m, vreal a, vreal b) { return _mm512_mask_blend_pd(m, b, a); }

SIMD vreal v_zip_low(vreal a, vreal b) {
    return _mm512_permutex2var_pd(a, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), b);
}
SIMD vreal v_zip_high(vreal a, vreal b) {
    return _mm512_permutex2var_pd(a, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), b);
}

SIMD vint v_bits(vreal v) { return _mm512_castpd_si512(v); }
SIMD vreal v_from_bits(vint v) { return _mm512_castsi512_pd(v); }
SIMD vint vi_set1(uint64_t x) { return _mm512_set1_epi64((long long)x); }
SIMD vint vi_add(vint a, vint b) { return _mm512_add_epi64(a, b); }
SIMD vint vi_sub(vint a, vint b) { return _mm512_sub_epi64(a, b); }
SIMD vint vi_and(vint a, vint b) { return _mm512_and_si512(a, b); }
SIMD vint vi_or(vint a, vint b) { return _mm512_or_si512(a, b); }
#define vi_shl(v, n) _mm512_slli_epi64(v, n)
#define vi_shr(v, n) _mm512_srli_epi64(v, n)

SIMD vreal v_from_float(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
SIMD vreal v_from_double(const double *p) { return _mm512_loadu_pd(p); }
SIMD vreal v_from_uint8(const uint8_t *p) {
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

#endif
