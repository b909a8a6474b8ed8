// The kernels for plain C, float64.
#include "../build.h"

#define ISA generic
#define REAL_BITS 64

// Four rows of two scalars: fma() is a call where the compiler may not assume the instruction.
#define MR 4
#define NR_VECS 2

#if defined(MLP_HAS_GENERIC) && !defined(MLP_NO_FLOAT64)
#include "../simd/generic.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_built;
#endif
