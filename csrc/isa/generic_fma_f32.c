// The kernels for plain C on x86-64 with fused multiply-adds, float32: those of generic_f32.c, where each fma() is an
// instruction instead of a call.
#include "../build.h"

#define ISA generic_fma
#define ISA_NAME generic
#define REAL_BITS 32

#define MR 4
#define NR_VECS 2

#if defined(MLP_HAS_GENERIC_FMA)
#define SIMD_TARGET __attribute__((target("fma")))
#include "../simd/generic.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_built;
#endif
