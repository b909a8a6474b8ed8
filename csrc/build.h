// The first include of every .c file: how the core may be compiled, and what of it is.
#ifndef MLP_BUILD_H
#define MLP_BUILD_H

// ---- Arithmetic: whatever the flags, a product and a sum stay two roundings ----
//
// Fused multiply-adds are written out; a compiler that makes some of its own, as GCC does by default where the target has
// the instruction, changes the bits. GCC ignores the pragma of the C standard. mlp_self_check finds out about the rest.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "mlpfast must be compiled without -ffast-math and -Ofast: results would not be the same everywhere, or be wrong"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#elif !defined(MLP_WITHOUT_CONTRACTION)
#error "mlpfast needs GCC or clang; another compiler must not contract products and sums: then -DMLP_WITHOUT_CONTRACTION"
#endif

// fma() of MinGW's library, without the instruction, rounds twice: zig has one of its own. So plain C is left out there.
#if defined(__MINGW32__) && !defined(__clang__) && !defined(__FMA__)
#define MLP_WRONG_FMA
#endif

// ---- Parts that may be left out: CMakeLists.txt has the options ----
//
// MLP_NO_AVX512, MLP_NO_AVX2, MLP_NO_NEON, MLP_NO_GENERIC    kernels
// MLP_NO_GENERIC_FMA                                         those of plain C for x86-64 processors with the instruction
// MLP_NO_FLOAT64                                             networks of float64
// MLP_NO_TRAINING                                            all but making, loading, saving and mlp_predict
#if defined(__x86_64__) && !defined(MLP_NO_AVX512)
#define MLP_HAS_AVX512
#endif
#if defined(__x86_64__) && !defined(MLP_NO_AVX2)
#define MLP_HAS_AVX2
#endif
#if defined(__aarch64__) && !defined(MLP_NO_NEON)
#define MLP_HAS_NEON
#endif
#if !defined(MLP_NO_GENERIC) && !defined(MLP_WRONG_FMA)
#define MLP_HAS_GENERIC
#endif
#if defined(__x86_64__) && !defined(MLP_NO_GENERIC) && !defined(MLP_NO_GENERIC_FMA)
#define MLP_HAS_GENERIC_FMA
#endif
#if !defined(MLP_HAS_AVX512) && !defined(MLP_HAS_AVX2) && !defined(MLP_HAS_NEON) && !defined(MLP_HAS_GENERIC) && \
    !defined(MLP_HAS_GENERIC_FMA)
#error "no kernels are left for this machine; plain C by GCC for Windows needs -mfma, since MinGW's fma() rounds wrongly"
#endif

#endif
