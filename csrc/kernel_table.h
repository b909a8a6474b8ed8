// The seam between the walk (step.c, update.c) and the arithmetic (kernels/*.inc.h): one table of functions for each
// instruction set and dtype. `real` below is the table's own type, float or double; every matrix is
// C-contiguous, but for W, its state and its mask, whose rows are `stride` numbers apart.
//
// A kernel works on a block of its output: rows i in [i0, i1), columns j in [j0, j1). Blocks that do not overlap may
// run at once on different threads, and how the output is cut into blocks never changes a bit of it.
#ifndef MLP_KERNEL_TABLE_H
#define MLP_KERNEL_TABLE_H

#include "mlpfast.h"

typedef struct {
    int64_t i0, i1, j0, j1;
} mlp_block;

// A product sums over k terms in blocks of at most MLP_KC, all but the last of one length, and the blocks are added in
// their order; so do sums over rows. A panel of b (gemm.inc.h) for a block takes 128 KB.
#define MLP_KC 1024
static inline int64_t mlp_blocks_in(int64_t k) { return k > MLP_KC ? k / MLP_KC + (k % MLP_KC != 0) : 1; }
static inline int64_t mlp_block_length(int64_t k) {
    int64_t blocks = mlp_blocks_in(k);
    return k / blocks + (k % blocks != 0);
}
// Terms of the block that begins at `first`.
static inline int64_t mlp_terms_of_block(int64_t k, int64_t first) {
    int64_t length = mlp_block_length(k);
    return k - first < length ? k - first : length;
}

// An activation with its parameter.
typedef struct {
    mlp_activation kind;
    double alpha;
    const void *slopes;  // learned ones, instead of alpha: one for each column, or one for all; or NULL
    int shared;       // only with slopes
} mlp_unit;

typedef struct {
    double scale;           // 1/B, or 1 / sum of the sample weights: the one place where it is applied
    const mlp_settings *settings;      // but for the numbers that follow
    double lr, momentum, weight_decay, l1, l2;  // of this step and parameter; momentum is the setting moved
    int64_t t;              // of the optimizer: this step included
} mlp_update;

// A parameter with what the optimizer keeps of it, all of the same layout.
typedef struct {
    void *values;
    void *state[MLP_MOST_STATES];  // NULL where the optimizer has none
    const void *mask;              // numbers that the gradient is multiplied by, or NULL
} mlp_parameter;

// What the random numbers of one minibatch and one use depend on.
typedef struct {
    uint64_t seed;
    int64_t step;
    uint32_t stream;    // MLP_STREAM_* of rng.h, plus the layer
    int64_t first_row;  // of the matrix that the rows are part of
} mlp_rng_key;

// A permutation of 0 .. n-1 as kernels/order.inc.h computes it, for n above MLP_FEW_ROWS.
#define MLP_FEW_ROWS 1024
#define MLP_ORDER_ROUNDS 4  // of each half
typedef struct {
    int64_t n;
    int left_bits;         // 5 .. 32, so that 2^left_bits and right_count are as near to each other as they can be
    uint32_t right_count;  // the least with n <= 2^left_bits right_count; at most 2^31
    uint32_t left_key[MLP_ORDER_ROUNDS][2], right_key[MLP_ORDER_ROUNDS][2];  // the second of each is odd
} mlp_permutation;

// Rows of X of the next minibatch to prefetch while a product is computed: `lines` cache lines per tile. `row` and
// `byte` count what has been prefetched.
typedef struct {
    const char *X;
    const int64_t *index;  // row i stands at index[i], or at i if NULL
    const int64_t *place;  // and that row at place[index[i]], unless it is NULL
    int64_t row_bytes, row, rows, byte;
    int lines;
} mlp_prefetch;

typedef struct {
    const char *isa;
    mlp_dtype dtype;
    size_t real_size;
    int64_t mr, nr;   // products are cheapest in blocks of whole tiles

    // The products below take scratch memory of the calling thread: this many bytes, where no dimension of the product
    // (rows, n_in, n_out, B) is above `most`; it also suffices for softmax and losses of rows of at most `widest`
    // numbers. It never shrinks as its arguments grow. On a cache line products are fastest.
    size_t (*scratch_bytes)(int64_t most, int64_t widest);

    // out (rows, n) = rows of X (.., n), numbers of x_type times scale if uint8; row i is X[index[i]], or X[i] if index
    // is NULL. Returns 0 if a value is NaN or infinite, else 1. out may be NULL, if that is all one wants to know.
    int (*gather)(void *out, const void *X, mlp_dtype x_type, double scale, const int64_t *index, int64_t rows,
                  int64_t n);

    // Block of z (B, n_out) = x (B, n_in) W (n_in, n_out) + b, unless z is NULL, and of a = g(z); b may be NULL;
    // softmax is applied by softmax_forward once all columns are there, so here it counts as identity.
    void (*dense_forward)(void *a, void *z, const void *x, const void *W, int64_t stride, const void *b, mlp_unit g,
                          int64_t n_in, int64_t n_out, mlp_block block, void *scratch);

    // Block of delta_below (B, n_in) = (delta (B, n_out) W^T) * g'(z_below); again without softmax. kept (B, n_in) is
    // z_below if g is MLP_IN_Z, else a_below = g(z_below).
    void (*delta_below)(void *delta_below, const void *delta, const void *W, int64_t stride, const void *kept, mlp_unit g,
                        int64_t n_in, int64_t n_out, mlp_block block, void *scratch);

    // Block of W (n_in, n_out): dW = scale x^T delta + l2 W + l1 sign(W) is formed tile by tile and W updated from it.
    // prefetch may be NULL.
    void (*update_weights)(mlp_parameter W, int64_t stride, const void *x, const void *delta, int64_t B, int64_t n_in,
                           int64_t n_out, mlp_block block, const mlp_update *update, mlp_prefetch *prefetch,
                           void *scratch);
    // Elements [j0, j1) of b (n_out): db = scale * sum of delta's rows. l1, l2 and weight decay do not touch biases.
    void (*update_bias)(mlp_parameter b, const void *delta, int64_t B, int64_t n_out, int64_t j0, int64_t j1,
                        const mlp_update *update);

    // The same gradients, stored instead of used; dW's rows are dW_stride apart. Of W the values and the mask count.
    void (*weight_gradient)(void *dW, int64_t dW_stride, mlp_parameter W, int64_t stride, const void *x, const void *delta,
                            int64_t B, int64_t n_in, int64_t n_out, mlp_block block, const mlp_update *update,
                            void *scratch);
    void (*bias_gradient)(void *db, const void *delta, int64_t B, int64_t n_out, int64_t j0, int64_t j1,
                          const mlp_update *update);

    // Block of a parameter (.., cols), and of its gradient g with the same stride, one step from scale * g + penalties.
    void (*apply_gradient)(mlp_parameter p, const void *g, int64_t stride, mlp_block block, const mlp_update *update);
    // Block of the sum of the rows' gradients of a parameter, with the same stride, becomes the gradient: times scale,
    // plus penalties, times the mask.
    void (*scale_gradient)(void *g, mlp_parameter p, int64_t stride, mlp_block block, const mlp_update *update);
    // Elements [i0, i1) of sum += those of more.
    void (*add)(void *sum, const void *more, int64_t i0, int64_t i1);
    // squares[i] = sum of the squares of factor times row i of g (.., cols), rows [i0, i1).
    void (*sum_squares)(double *squares, const void *g, int64_t stride, int64_t i0, int64_t i1, int64_t cols, double factor);
    // Columns [j0, j1) of W (n_in, ..): those longer than most, in the 2-norm, are shortened to it.
    void (*limit_columns)(void *W, int64_t stride, int64_t n_in, int64_t j0, int64_t j1, double most);

    // a (rows, n) = g(z), element by element; not softmax. a may be z.
    void (*activation_forward)(void *a, const void *z, mlp_unit g, int64_t rows, int64_t n);
    // delta (rows, n) *= g'(z), from what is kept, as in delta_below; not softmax.
    void (*activation_backward)(void *delta, const void *kept, mlp_unit g, int64_t rows, int64_t n);
    // Elements [j0, j1) of dalpha (n) = sum over rows of d * min(z, 0), for d (B, n) = d loss / d a of a prelu.
    void (*slope_gradient)(void *dalpha, const void *d, const void *z, int64_t B, int64_t n, int64_t j0, int64_t j1);
    void (*sum_slopes)(void *dalpha, int64_t n);  // dalpha[0] = their sum: the gradient of one slope for all units
    // Row by row: a (rows, n) = softmax(z); a may be z.   delta = a * (delta - sum_j delta_j a_j), the Jacobian
    // product. scratch: scratch_bytes(1, n).
    void (*softmax_forward)(void *a, const void *z, int64_t rows, int64_t n, void *scratch);
    void (*softmax_backward)(void *delta, const void *a, int64_t rows, int64_t n, void *scratch);

    // Loss and its derivative in one pass over `rows` rows. out (rows, n) holds z_L for the losses that contain
    // the output's activation (MLP_OF_Z; delta becomes d loss / d z_L) and a_L for the others (delta becomes d loss / d
    // a_L);
    // output is that activation. delta may be out, or NULL if only the loss is wanted. truth has the rows' targets, and
    // the weights that multiply both loss and delta. row_loss (rows) and row_correct (rows) are outputs; of
    // row_correct, the share of a row's labels that are right (see mlp_result), the weight is no factor. Returns 0 if a
    // loss is not finite. scratch: scratch_bytes(1, n).
    int (*loss)(void *delta, double *row_loss, double *row_correct, const void *out, mlp_loss loss,
                mlp_activation output, const mlp_truth *truth, int64_t rows, int64_t n, void *scratch);

    // Block of out (.., n) = in, each number zero with probability p, else divided by 1 - p; out may be in. Rows [i0,
    // i1) of x (.., n) += deviation times standard normal numbers. Each number depends on `key`, its row and its column
    // alone.
    void (*dropout)(void *out, const void *in, int64_t n, mlp_block block, double p, const mlp_rng_key *key);
    void (*add_noise)(void *x, int64_t n, int64_t i0, int64_t i1, double deviation, const mlp_rng_key *key);

    // rows (count) = what the permutation has at its positions [first, first + count).
    void (*order)(int64_t *rows, int64_t first, int64_t count, const mlp_permutation *permutation);

    // Element by element, out (n) = f(x): log for normal initial weights (rng.c), all of them for the tests.
    void (*exp)(void *out, const void *x, int64_t n);
    void (*log)(void *out, const void *x, int64_t n);
    void (*tanh)(void *out, const void *x, int64_t n);
    void (*sigmoid)(void *out, const void *x, int64_t n);
    void (*log1p_unit)(void *out, const void *x, int64_t n);  // log(1 + x), 0 <= x <= 1
    void (*expm1_down)(void *out, const void *x, int64_t n);  // exp(x) - 1, x <= 0
    void (*normal_cdf)(void *out, const void *x, int64_t n);  // of the standard normal distribution
    void (*normal_pdf)(void *out, const void *x, int64_t n);

    // Fused multiply-adds alone, for the peak rate of a core; returns the floating-point operations done.
    double (*multiply_adds)(int64_t steps);
} mlp_kernels;

// The table of the chosen instruction set.
const mlp_kernels *mlp_kernels_for(mlp_dtype dtype);
// The table of the i-th instruction set this machine can run (as mlp_isa_available), NULL past the last.
const mlp_kernels *mlp_kernels_available(int i, mlp_dtype dtype);

#endif
