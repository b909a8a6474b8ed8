// The interface between the phases of a step (step.c, update.c) and the arithmetic (kernels/*.inc.h): one table of
// functions per instruction set and dtype. `real` below is the type of the table, float or double. Matrices are
// C-contiguous, except W, its state and its mask, whose rows are `stride` elements apart.
//
// A kernel computes a block of its output: rows i in [i0, i1), columns j in [j0, j1). Disjoint blocks may be computed
// concurrently, and the result does not depend on how the output is split into blocks.
#ifndef MLP_KERNEL_TABLE_H
#define MLP_KERNEL_TABLE_H

#include "mlpfast.h"
#include "traits.h"

typedef struct {
    int64_t i0, i1, j0, j1;
} mlp_block;

// Products sum their k terms in KC blocks of at most MLP_KC terms, equally long except the last, which are added in
// order; sums over rows do the same. A packed panel of b (gemm.inc.h) for a block takes 128 KB.
#define MLP_KC 1024
static inline int64_t mlp_blocks_in(int64_t k) { return k > MLP_KC ? k / MLP_KC + (k % MLP_KC != 0) : 1; }
static inline int64_t mlp_block_length(int64_t k) {
    if (k <= MLP_KC) return k;  // divisions are a considerable part of a product of one row
    int64_t blocks = mlp_blocks_in(k);
    return k / blocks + (k % blocks != 0);
}
// The number of terms of the block that begins at `first`.
static inline int64_t mlp_terms_of_block(int64_t k, int64_t first) {
    int64_t length = mlp_block_length(k);
    return k - first < length ? k - first : length;
}

// An activation with its parameter.
typedef struct {
    mlp_activation kind;
    double alpha;
    const void *slopes;  // learned, used instead of alpha: (n), or (1) if shared; or NULL
    int shared;          // only with slopes: one slope for all columns
} mlp_unit;

typedef struct {
    double scale;                  // 1/B, or 1 / sum of the sample weights; applied to the gradient and nowhere else
    const mlp_settings *settings;  // NULL: only the gradient is computed; the following fields override settings
    double lr, momentum, weight_decay, l1, l2;  // for this step and parameter; momentum: see mlp_momentum_of
    int64_t t;                     // steps of the optimizer, including this one
} mlp_update;

// A parameter and its optimizer state, all of the same layout.
typedef struct {
    void *values;
    void *state[MLP_MOST_STATES];  // NULL where the optimizer has none
    const void *mask;              // 0 where gradient and parameter are to be 0; or NULL
} mlp_parameter;

// Random numbers of dropout and noise depend on this key, and on the row and column.
typedef struct {
    uint64_t seed;
    int64_t step;
    uint32_t stream;    // MLP_STREAM_* of rng.h, plus the layer
    int64_t first_row;  // row of the minibatch that row 0 of the kernel's matrix is
} mlp_rng_key;

// A permutation of 0 .. n-1 as kernels/order.inc.h computes it, for n above MLP_FEW_ROWS.
#define MLP_FEW_ROWS 1024
#define MLP_ORDER_ROUNDS 4  // per half
typedef struct {
    int64_t n;
    int left_bits;         // 5 .. 32, chosen to make 2^left_bits and right_count about equal
    uint32_t right_count;  // smallest number with n <= 2^left_bits right_count; at most 2^31
    uint32_t left_key[MLP_ORDER_ROUNDS][2], right_key[MLP_ORDER_ROUNDS][2];  // the second of each is odd
} mlp_permutation;

// Rows of X of the next minibatch to prefetch while a product is computed: `lines` cache lines per tile. `row` and
// `byte` count what has been prefetched.
typedef struct {
    const char *X;
    const int64_t *index;  // row i of the minibatch is X[index[i]], or X[i] if NULL
    const int64_t *place;  // if not NULL, it is X[place[index[i]]] instead
    int64_t row_bytes, row, rows, byte;
    int lines;
} mlp_prefetch;

typedef struct {
    const char *isa;
    mlp_dtype dtype;
    size_t real_size;
    int64_t mr, nr;   // tile size; products are cheapest in blocks of whole tiles

    // Bytes of scratch memory per thread for the products below, if no dimension of the product (rows, n_in, n_out, B)
    // is above `most`; also suffices for softmax and losses of rows of at most `widest` elements. Monotonic in both
    // arguments. Products are fastest if the memory begins on a cache line.
    size_t (*scratch_bytes)(int64_t most, int64_t widest);
    // The same for the forward products of `rows` rows alone, with softmax of rows of at most `softmax` elements, and
    // for a loss of `outputs` outputs.
    size_t (*forward_scratch_bytes)(int64_t rows, int64_t most, int64_t softmax, int64_t outputs);

    // out (rows, n) = rows of X (.., n) converted from x_type, uint8 multiplied by scale; row i is X[index[i]], or X[i]
    // if index is NULL. Returns 0 if a value is NaN or infinite, else 1. With out NULL it only checks.
    int (*gather)(void *out, const void *X, mlp_dtype x_type, double scale, const int64_t *index, int64_t rows,
                  int64_t n);
    // The same with (x - mean[j]) / scale[j] for each x of column j, in double, then rounded; uint8 is multiplied by
    // x_scale before. mean, scale: (n).
    int (*transform)(void *out, const void *X, mlp_dtype x_type, double x_scale, const double *mean,
                     const double *scale, const int64_t *index, int64_t rows, int64_t n);

    // Block of z (B, n_out) = x (B, n_in) W (n_in, n_out) + b, unless z is NULL, and of a = g(z). b may be NULL.
    // Softmax is treated as identity; softmax_forward applies it once all columns are computed.
    void (*dense_forward)(void *a, void *z, const void *x, const void *W, int64_t stride, const void *b, mlp_unit g,
                          int64_t n_in, int64_t n_out, mlp_block block, void *scratch);

    // Block of delta_below (B, n_in) = (delta (B, n_out) W^T) * g'(z_below); softmax is again treated as identity. kept
    // (B, n_in) is z_below if g is MLP_IN_Z, else a_below = g(z_below).
    void (*delta_below)(void *delta_below, const void *delta, const void *W, int64_t stride, const void *kept,
                        mlp_unit g, int64_t n_in, int64_t n_out, mlp_block block, void *scratch);

    // Updates a block of W (n_in, n_out) from dW = scale x^T delta + l2 W + l1 sign(W), tile by tile without storing
    // dW. prefetch may be NULL.
    void (*update_weights)(mlp_parameter W, int64_t stride, const void *x, const void *delta, int64_t B, int64_t n_in,
                           int64_t n_out, mlp_block block, const mlp_update *update, mlp_prefetch *prefetch,
                           void *scratch);
    // Updates elements [j0, j1) of b (n_out) from db = scale * sum of delta's rows, without l1, l2 and weight decay.
    void (*update_bias)(mlp_parameter b, const void *delta, int64_t B, int64_t n_out, int64_t j0, int64_t j1,
                        const mlp_update *update);

    // The same gradients, stored; dW's rows are dW_stride apart. Of W only values and mask are read.
    void (*weight_gradient)(void *dW, int64_t dW_stride, mlp_parameter W, int64_t stride, const void *x,
                            const void *delta, int64_t B, int64_t n_in, int64_t n_out, mlp_block block,
                            const mlp_update *update, void *scratch);
    void (*bias_gradient)(void *db, const void *delta, int64_t B, int64_t n_out, int64_t j0, int64_t j1,
                          const mlp_update *update);

    // One step for a block of a parameter (.., cols) from scale * g + penalties, g with the same stride.
    void (*apply_gradient)(mlp_parameter p, const void *g, int64_t stride, mlp_block block, const mlp_update *update);
    // Block of g, the sum of the rows' gradients of p with the same stride, becomes the gradient: times scale, plus
    // penalties, times the mask.
    void (*scale_gradient)(void *g, mlp_parameter p, int64_t stride, mlp_block block, const mlp_update *update);
    // Elements [i0, i1) of sum += those of more.
    void (*add)(void *sum, const void *more, int64_t i0, int64_t i1);
    // squares[i] = sum over j of (factor * g[i][j])^2, for rows [i0, i1) of g (.., cols).
    void (*sum_squares)(double *squares, const void *g, int64_t stride, int64_t i0, int64_t i1, int64_t cols,
                        double factor);
    // Columns [j0, j1) of W (n_in, ..) with a 2-norm above `most` are scaled to that norm.
    void (*limit_columns)(void *W, int64_t stride, int64_t n_in, int64_t j0, int64_t j1, double most);

    // a (rows, n) = g(z), elementwise; not for softmax. a may be z.
    void (*activation_forward)(void *a, const void *z, mlp_unit g, int64_t rows, int64_t n);
    // delta (rows, n) *= g'(z), with kept as in delta_below; not for softmax.
    void (*activation_backward)(void *delta, const void *kept, mlp_unit g, int64_t rows, int64_t n);
    // Elements [j0, j1) of dalpha (n) = sum over rows of d * min(z, 0), for d (B, n) = d loss / d a of a prelu.
    void (*slope_gradient)(void *dalpha, const void *d, const void *z, int64_t B, int64_t n, int64_t j0, int64_t j1);
    void (*sum_slopes)(void *dalpha, int64_t n);  // dalpha[0] = sum of dalpha: the gradient of a shared slope
    // Row by row: a (rows, n) = softmax(z); a may be z. Backward, the product with the Jacobian:
    // delta = a * (delta - sum_j delta_j a_j). scratch: scratch_bytes(1, n).
    void (*softmax_forward)(void *a, const void *z, int64_t rows, int64_t n, void *scratch);
    void (*softmax_backward)(void *delta, const void *a, int64_t rows, int64_t n, void *scratch);
    // The activations of blocks of columns, in place on a (rows, n). scratch: scratch_bytes(1, n).
    void (*activate_blocks)(void *a, const mlp_output_block *blocks, int64_t n_blocks, int64_t rows, int64_t n,
                            void *scratch);

    // x (count) becomes 0 where weight (count), of entries of y, is 0.
    void (*skip_entries)(void *x, const void *weight, int64_t count);
    // Loss and its derivative in one pass over `rows` rows. With MLP_OF_Z, out (rows, n) is z_L and delta becomes
    // d loss / d z_L; otherwise they are a_L and d loss / d a_L. `output` is the activation of the output layer. delta
    // may be out, or NULL if only the loss is needed. truth holds the rows' targets and the weights that multiply loss
    // and delta. Outputs: row_loss (rows), weighted, and row_correct (rows), the unweighted fraction of a row's labels
    // that are right (see mlp_result). Returns 0 if a loss is not finite. scratch: scratch_bytes(1, n). target_cols is
    // at most n. Not for losses with MLP_JOINS.
    int (*loss)(void *delta, double *row_loss, double *row_correct, const void *out, mlp_loss loss,
                mlp_activation output, const mlp_truth *truth, int64_t rows, int64_t n, void *scratch);

    // dropout: block of out (.., n) = in, each element zero with probability p, else divided by 1 - p; out may be in.
    // add_noise: rows [i0, i1) of x (.., n) += deviation times standard normal numbers. Each random number depends only
    // on key, row and column.
    void (*dropout)(void *out, const void *in, int64_t n, mlp_block block, double p, const mlp_rng_key *key);
    void (*add_noise)(void *x, int64_t n, int64_t i0, int64_t i1, double deviation, const mlp_rng_key *key);

    // rows (count) = the permutation at positions [first, first + count).
    void (*order)(int64_t *rows, int64_t first, int64_t count, const mlp_permutation *permutation);

    // Elementwise out (n) = f(x): log is used for normal initial weights (rng.c), the others only by the tests.
    void (*exp)(void *out, const void *x, int64_t n);
    void (*log)(void *out, const void *x, int64_t n);
    void (*tanh)(void *out, const void *x, int64_t n);
    void (*sigmoid)(void *out, const void *x, int64_t n);
    void (*log1p_unit)(void *out, const void *x, int64_t n);  // log(1 + x), 0 <= x <= 1
    void (*expm1_down)(void *out, const void *x, int64_t n);  // exp(x) - 1, x <= 0
    void (*normal_cdf)(void *out, const void *x, int64_t n);  // of the standard normal distribution
    void (*normal_pdf)(void *out, const void *x, int64_t n);

    // Measures the peak rate of a core by fused multiply-adds; returns the number of floating-point operations.
    double (*multiply_adds)(int64_t steps);
} mlp_kernels;

// The peak rate in floating-point operations per second: fused multiply-adds on `threads` threads together, the best of
// many short rounds in about that many seconds. The benchmarks give speeds as fractions of it. 0 for a bad argument.
double mlp_peak_flops(mlp_dtype dtype, int threads, double seconds);

// The table of the chosen instruction set, or NULL if this build has none for this machine or dtype.
const mlp_kernels *mlp_kernels_for(mlp_dtype dtype);
// The table of the i-th instruction set this machine can run (as mlp_isa_available), NULL past the last.
const mlp_kernels *mlp_kernels_available(int i, mlp_dtype dtype);

#endif
