// $description
// Written by mlpfast $version. $languages.
//
// Where fused multiply-adds are fast (-mfma, AArch64, ...) results have the bits of mlpfast's `predict`; elsewhere too,
// but slowly, with -D${NAME}_SAME_BITS. Without, sums are of plain products, whose roundings differ: with u = $unit,
// z_l = a_{l-1} W_l + b_l is off by at most
//     e_l = d_{l-1} |W_l| + 2 (n_{l-1} + 1) u (|a_{l-1}| |W_l| + |b_l|),    d_0 = 0, d_l = max |g_l'| e_l + 16 u |a_l|
// to first order in u. Numbers below $smallest are 0 in mlpfast, and in this file on x86-64 and ARM.
//
// With -D${NAME}_SELF_TEST the file is a program that compares with the results that mlpfast had, and returns 0 if they
// are the same (without fused multiply-adds: as near as the bound).
//
// -D${NAME}_WEIGHTS="static const" may be given other storage, such as a section of flash.

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif
#ifdef __FAST_MATH__
#error "-ffast-math reorders what must be computed as written: compile this file without it"
#endif
#if defined(__clang__) && defined(__cplusplus)
#pragma clang diagnostic ignored "-Wc++17-extensions"  // hexadecimal constants
#endif

#include "$h_file"

#include <float.h>
#include <math.h>
#include <string.h>

#if FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "each operation must be rounded to its type: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif

#ifndef ${NAME}_WEIGHTS
#define ${NAME}_WEIGHTS $storage
#endif

#if REAL_BITS == 32
#if defined(FP_FAST_FMAF) || defined(__FMA__) || (defined(__ARM_FEATURE_FMA) && __ARM_FP & 4) || \
    (defined(__riscv_flen) && __riscv_flen >= 32)
#define FAST_FMA 1
#endif
#else
#if defined(FP_FAST_FMA) || defined(__FMA__) || (defined(__ARM_FEATURE_FMA) && __ARM_FP & 8) || \
    (defined(__riscv_flen) && __riscv_flen >= 64)
#define FAST_FMA 1
#endif
#endif
#ifndef FAST_FMA
#define FAST_FMA 0
#endif
#ifdef ${NAME}_SAME_BITS
#define SAME_BITS 1
#else
#define SAME_BITS FAST_FMA
#endif

#if defined(__GNUC__)
#define SIMD static inline __attribute__((always_inline))
#else
#define SIMD static inline
#endif
// GCC keeps sums in registers if their loops are unrolled; of plain products and sums it then makes no vectors.
#if FAST_FMA && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8 && !defined(__OPTIMIZE_SIZE__)
#define UNROLL _Pragma("GCC unroll 64")
#else
#define UNROLL
#endif

// ---- Arithmetic, as in mlpfast's core ----

${functions}// ---- The floating-point mode of mlpfast: to nearest, and subnormal numbers are 0 ----

#if SAME_BITS && defined(__GNUC__) && defined(__x86_64__)
typedef unsigned fp_mode;
#define READ_MODE(mode) __asm__ volatile("stmxcsr %0" : "=m"(mode) : : "memory")
#define WRITE_MODE(mode) __asm__ volatile("ldmxcsr %0" : : "m"(mode) : "memory")
#define CORE_MODE 0x9fc0u
#elif SAME_BITS && defined(__GNUC__) && defined(__aarch64__)
typedef uint64_t fp_mode;
#define READ_MODE(mode) __asm__ volatile("mrs %0, fpcr" : "=r"(mode) : : "memory")
#define WRITE_MODE(mode) __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory")
#define CORE_MODE 0x1000000u
#elif SAME_BITS && defined(__GNUC__) && defined(__ARM_FP)
typedef unsigned fp_mode;
#define READ_MODE(mode) __asm__ volatile("vmrs %0, fpscr" : "=r"(mode) : : "memory")
#define WRITE_MODE(mode) __asm__ volatile("vmsr fpscr, %0" : : "r"(mode) : "memory")
#define CORE_MODE 0x1000000u
#else
typedef unsigned fp_mode;
#define READ_MODE(mode) ((mode) = 0)
#define WRITE_MODE(mode) ((void)(mode))
#define CORE_MODE 0u
#endif

SIMD fp_mode enter_core_mode(void) {
    fp_mode before, core = CORE_MODE;
    READ_MODE(before);
    WRITE_MODE(core);
    return before;
}

// ---- The network ----

${parameters}static void network(const $input *x, $real *y) {
$body}

void ${name}_predict(const $input *x, $real *y) {
    fp_mode before = enter_core_mode();
    network(x, y);
    WRITE_MODE(before);
}

void ${name}_predict_batch(const $input *x, $real *y, size_t n) {
    fp_mode before = enter_core_mode();
    for (; n > 0; n--, x += ${NAME}_N_IN, y += ${NAME}_N_OUT) network(x, y);
    WRITE_MODE(before);
}

#ifdef ${NAME}_SELF_TEST

#include <stdio.h>

#define ROWS $test_rows
${test_arrays}
static int is_right(real y, real wanted, real bound) {
    if (wanted != wanted) return y != y;
    if (SAME_BITS) return memcmp(&y, &wanted, sizeof y) == 0;
    return y == wanted || (y - wanted <= bound && wanted - y <= bound);
}

static int wrong_in(const real *y, const char *what) {
    int wrong = 0;
    for (int i = 0; i < ROWS * ${NAME}_N_OUT; i++) {
        if (is_right(y[i], wanted_y[i], bounds[i])) continue;
        if (wrong++ < 10) {
            printf("%s: row %d, output %d must be %.17g, got %.17g\n", what, i / ${NAME}_N_OUT, i % ${NAME}_N_OUT,
                   (double)wanted_y[i], (double)y[i]);
        }
    }
    return wrong;
}

int main(void) {
    static real y[ROWS * ${NAME}_N_OUT];
    for (int i = 0; i < ROWS; i++) ${name}_predict(test_x + i * ${NAME}_N_IN, y + i * ${NAME}_N_OUT);
    int wrong = wrong_in(y, "${name}_predict");
    ${name}_predict_batch(test_x, y, ROWS);
    wrong += wrong_in(y, "${name}_predict_batch");
    if (!wrong) printf("$name: %s\n", SAME_BITS ? "the bits of mlpfast" : "within the bound of mlpfast");
    return wrong ? 1 : 0;
}

#endif
