// The kernels for plain C, float32.
#include "../build.h"

#define ISA generic
#define REAL_BITS 32

// Four rows of two scalars. A small tile, since fma() is a function call unless the target has the instruction.
#define MR 4
#define NR_VECS 2

#if defined(MLP_HAS_GENERIC)
#include "../simd/generic.h"
#include "../kernels/table.inc.h"
#else
typedef int mlp_not_built;
#endif
