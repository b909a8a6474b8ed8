// The kernels for AVX-512, float32.
#include "../build.h"

#define ISA avx512
#define REAL_BITS 32

// 28 accumulators, 2 vectors of b and 1 of a: 31 of 32 registers.
#define MR 14
#define NR_VECS 2

#if defined(MLP_HAS_AVX512)
#include "../simd/avx512.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_built;
#endif
