// The kernels for AArch64 NEON, float32.
#include "../build.h"

#define ISA neon
#define REAL_BITS 32

// 24 accumulators, 2 vectors of b and 1 of a: 27 of 32 registers.
#define MR 12
#define NR_VECS 2

#if defined(MLP_HAS_NEON)
#include "../simd/neon.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_built;
#endif
