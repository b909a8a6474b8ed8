// Predictions as one translation unit, for programs that compile it themselves:
//
//     cc -O2 -c mlpfast_all.c -o mlpfast.o
//
// It makes, loads and saves networks of float32, and predicts, with the kernels of one instruction set: NEON on
// AArch64, elsewhere AVX2 or, with -DMLP_NO_AVX2, plain C, which is ten times faster with -mfma. Where the processor
// has no AVX2, mlp_network_load returns MLP_NOT_BUILT. Threads come with -fopenmp, or with -pthread -DMLP_PTHREADS. A
// kernel file can be compiled once in a unit, so the whole library, with several instruction sets, float64 and
// training, takes several (CMakeLists.txt).
#define _GNU_SOURCE
#define MLP_NO_TRAINING
#define MLP_NO_FLOAT64
#define MLP_NO_AVX512
#define MLP_NO_GENERIC_FMA
#if defined(__aarch64__) || (defined(__x86_64__) && !defined(MLP_NO_AVX2))
#define MLP_NO_GENERIC
#endif
#include "build.h"

#include "crew.c"
#include "dispatch.c"
#undef QUOTE
#undef TEXT
#include "helpers.c"
#include "load.c"
#include "loss.c"
#include "minibatch.c"
#include "network.c"
#include "os/linux.c"
#include "os/macos.c"
#include "os/posix.c"
#include "os/wasi.c"
#include "predict.c"
#include "processors.c"
#include "safetensors.c"
#include "save.c"
#include "self_check.c"
#include "slot.c"
#include "system.c"
#include "vocabulary.c"
// Names that two files have.
#define least least_of_two
#include "crew_size.c"
#undef least
#define gather gather_phase
#include "step.c"
#undef gather
#define available available_threads
#define newest newest_region
#include "threads.c"
#undef available
#undef newest
#if defined(MLP_HAS_NEON)
#include "isa/neon_f32.c"
#elif defined(MLP_HAS_AVX2)
#include "isa/avx2_f32.c"
#else
#include "isa/generic_f32.c"
#endif
// Last: a header of Windows defines words such as `far`.
#undef FAR
#include "os/windows.c"
