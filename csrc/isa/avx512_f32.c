// The kernels for AVX-512, float32.
#define ISA avx512
#define REAL_BITS 32

// 28 accumulators, 2 vectors of b and 1 of a: 31 of 32 registers.
#define MR 14
#define NR_VECS 2

#if defined(__x86_64__)
#include "../simd/avx512.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_on_this_machine;
#endif
