// The kernels for AVX2 with FMA, float64.
#include "../build.h"

#define ISA avx2
#define REAL_BITS 64

// 12 accumulators, 2 vectors of b and 1 of a: 15 of 16 registers.
#define MR 6
#define NR_VECS 2

#if defined(MLP_HAS_AVX2) && !defined(MLP_NO_FLOAT64)
#include "../simd/avx2.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_built;
#endif
