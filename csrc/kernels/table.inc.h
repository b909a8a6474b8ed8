// The table of all kernels for one instruction set and one dtype.
//
// Template parameters: ISA (avx512, ...), ISA_NAME (as users know it, if it is not ISA), REAL_BITS (32 or 64), MR,
// NR_VECS, and the operations of simd/ISA.h.
#if !defined(ISA) || !defined(MR) || !defined(NR_VECS) || (REAL_BITS != 32 && REAL_BITS != 64)
#error "define ISA, REAL_BITS, MR and NR_VECS, and include a simd header first"
#endif

#include "../kernel_table.h"
#include "../rng.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#if defined(MLP_NO_TRAINING)  // much is then not in the table below, nor in the library
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

#include "math.inc.h"
#include "columns.inc.h"
#include "activation.inc.h"
#include "optimizer.inc.h"
#include "gemm.inc.h"
#include "gather.inc.h"
#include "random.inc.h"
#include "order.inc.h"
#include "loss.inc.h"
#include "peak.inc.h"

// log is used for normal initial weights (rng.c), the others only by the tests.
#define MAP(name, function) \
    static SIMD_TARGET void name(void *out, const void *x, int64_t n) { \
        for (int64_t i = 0; i < n; i += VL) { \
            int lanes = lanes_at(i, n); \
            v_store_part((real *)out + i, lanes, function(v_load_part((const real *)x + i, lanes))); \
        } \
    }
SIMD vreal normal_cdf(vreal z) { return normal_of(z).cdf; }
SIMD vreal normal_pdf(vreal z) { return normal_of(z).pdf; }
MAP(map_exp, v_exp)
MAP(map_log, v_log)
MAP(map_tanh, v_tanh)
MAP(map_sigmoid, v_sigmoid)
MAP(map_log1p, v_log1p_unit)
MAP(map_expm1, expm1_down)
MAP(map_normal_cdf, normal_cdf)
MAP(map_normal_pdf, normal_pdf)

#ifndef ISA_NAME
#define ISA_NAME ISA
#endif
#define PASTE(isa, bits) mlp_kernels_##isa##_f##bits
#define TABLE(isa, bits) PASTE(isa, bits)
#define QUOTE(isa) #isa
#define NAME(isa) QUOTE(isa)

extern const mlp_kernels TABLE(ISA, REAL_BITS);
const mlp_kernels TABLE(ISA, REAL_BITS) = {
    .isa = NAME(ISA_NAME),
    .dtype = REAL_BITS == 32 ? MLP_FLOAT32 : MLP_FLOAT64,
    .real_size = sizeof(real),
    .mr = MR,
    .nr = NR,
    .scratch_bytes = scratch_bytes,
    .forward_scratch_bytes = forward_scratch_bytes,
    .gather = gather,
    .transform = transform,
    .dense_forward = dense_forward,
#if !defined(MLP_NO_TRAINING)
    .delta_below = delta_below,
    .update_weights = update_weights,
    .update_bias = update_bias,
    .weight_gradient = weight_gradient,
    .bias_gradient = bias_gradient,
    .apply_gradient = apply_gradient,
    .scale_gradient = scale_gradient,
    .add = add,
    .sum_squares = sum_squares,
    .limit_columns = limit_columns,
#endif
    .activation_forward = activation_forward,
#if !defined(MLP_NO_TRAINING)
    .activation_backward = activation_backward,
    .slope_gradient = slope_gradient,
    .sum_slopes = sum_slopes,
#endif
    .softmax_forward = softmax_forward,
    .activate_blocks = activate_blocks,
#if !defined(MLP_NO_TRAINING)
    .softmax_backward = softmax_backward,
    .skip_entries = skip_entries,
    .loss = loss_and_delta,
    .dropout = dropout,
    .add_noise = add_noise,
    .order = order,
#endif
    .exp = map_exp,
    .log = map_log,
    .tanh = map_tanh,
    .sigmoid = map_sigmoid,
#if !defined(MLP_NO_TRAINING)
    .log1p_unit = map_log1p,
    .expm1_down = map_expm1,
#endif
    .normal_cdf = map_normal_cdf,
    .normal_pdf = map_normal_pdf,
#if !defined(MLP_NO_TRAINING)
    .multiply_adds = multiply_adds,
#endif
};
