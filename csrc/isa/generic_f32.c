// The kernels for plain C, float32.
#define ISA generic
#define REAL_BITS 32

// Four rows of two scalars: fma() is a call where the compiler may not assume the instruction.
#define MR 4
#define NR_VECS 2

#include "../simd/generic.h"
#include "../kernels/table.inc.h"
