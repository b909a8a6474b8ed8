// mlpfast: training and serving multilayer perceptrons on the CPU. The public C API, in the order data flows.
//
// Notation, here and in every file of the core:
//   B  rows of a minibatch        n  examples of a data set        L  layers, numbered 0..L-1 in C
//   X  (n, n_in) inputs           W_l (n_in, n_out), b_l (n_out)   z_l = a_{l-1} W_l + b_l   a_l = g_l(z_l)
//   delta_l = d loss / d z_l, (B, n_out): the residual, one row per example, without the 1/B
// Matrices are dense, C-contiguous and of the network's dtype unless a comment says otherwise; rows of weights are
// mlp_network_stride apart.
//
// Every function that can fail returns an mlp_status; nothing here prints, exits or aborts.
#ifndef MLPFAST_H
#define MLPFAST_H

#include <stddef.h>
#include <stdint.h>

#include "vocabulary.h"

typedef enum {
    MLP_OK = 0,
    MLP_NO_MEMORY,       // an allocation failed; nothing has changed
    MLP_BAD_ARGUMENT,    // a size, count or enum is out of range; nothing has changed
    MLP_TOO_LARGE,       // a product of sizes does not fit; nothing has changed
    MLP_INTERRUPTED,     // mlp_poll or a custom function asked to stop; parameters as after the last whole minibatch
    MLP_INPUT_NOT_FINITE,  // a row of X has NaN or infinity; parameters as before its minibatch
    MLP_LOSS_NOT_FINITE,   // the loss of a minibatch is NaN or infinite; parameters as before that minibatch
    MLP_DERIVATIVE_NOT_FINITE,  // the derivative of a loss or of a custom activation, or a gradient given to
                                // mlp_apply, has NaN or infinity; parameters as before that minibatch
} mlp_status;

typedef enum { MLP_FLOAT32, MLP_FLOAT64, MLP_UINT8 } mlp_dtype;  // MLP_UINT8: only for X

// A custom activation, elementwise; z, a and delta are (rows, n). A nonzero return value stops the running call, as
// with mlp_poll, without any effect of its minibatch. `call` is the context of that call. Training calls it for whole
// minibatches, mlp_predict and mlp_evaluate for some rows at a time, all from the calling thread alone.
typedef struct {
    // a = g(z); a may be z.
    int (*forward)(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n);
    // delta *= g'(z).
    int (*backward)(void *self, void *call, void *delta, const void *z, int64_t rows, int64_t n);
    void *self;
} mlp_custom_activation;

// What a loss reads besides the outputs, for the rows of a minibatch in order. Fields as in mlp_data.
typedef struct {
    const int32_t *labels;  // (rows), or NULL
    const void *targets;    // (rows, target_cols), or NULL
    const void *y;          // (rows, y_bytes of mlp_data), or NULL
    const void *weights;    // (rows), or NULL for all 1
    const void *entry_weights;  // (rows, target_cols), or NULL
    int64_t target_cols;    // 0: n_out
    int one_hot;
} mlp_truth;

// A custom loss: row_loss (rows) = the weighted losses of the rows of a = a_L (rows, n), and, unless delta is NULL,
// delta (rows, n) = d loss / d a_L, or d loss / d z_L with of_z. Data for it need no labels or targets. Called for
// whole minibatches, only in training; self, call and the return value as in mlp_custom_activation.
typedef struct {
    int (*rows)(void *self, void *call, void *delta, double *row_loss, const void *a, const mlp_truth *truth,
                int64_t rows, int64_t n);
    int of_z;
    void *self;
} mlp_custom_loss;

// Some of the last layer's outputs, [first, first + count), and their activation, with its alpha if it has one. The
// activation is neither learned nor custom.
typedef struct {
    int64_t first, count;
    mlp_activation activation;
    double alpha;
} mlp_output_block;

// A loss of some outputs, times `factor`; `of` has the activation between z_L and yhat. Its targets are the columns
// from y_first on: as many as the kind needs of so many outputs, and for CROSS_ENTROPY one, of class numbers. Blocks
// may share columns of y. Not for CUSTOM_LOSS, COX_PH and PER_OUTPUT.
typedef struct {
    mlp_output_block of;
    int64_t y_first;
    double factor;
    mlp_loss_kind kind;
    double parameter, label_smoothing;  // as in mlp_loss
} mlp_loss_block;

typedef struct {
    mlp_loss_kind kind;
    double parameter;        // d of HUBER, q of QUANTILE
    double label_smoothing;  // e of CROSS_ENTROPY, y becomes (1 - e) y + e / n_out, and BINARY_CROSS_ENTROPY, e / 2
    mlp_custom_loss custom;  // of CUSTOM_LOSS
    // (n_blocks) of PER_OUTPUT, each output in one of them, in the order of the outputs. Not copied: they must stay.
    const mlp_loss_block *blocks;
    int64_t n_blocks;
} mlp_loss;

// ---- The machine ----

// Selects the kernels: name is "generic", "avx2", "avx512", "neon", or NULL for the fastest that this CPU supports.
// MLP_BAD_ARGUMENT if the name is unknown, or this CPU or build does not support it. Call it once, before all others.
mlp_status mlp_select_isa(const char *name);
const char *mlp_isa(void);                // the name of the kernels in use
const char *mlp_isa_available(int i);     // the i-th name that this machine supports, best first; NULL past the last
const char *mlp_compiler(void);           // the compiler that built this library, e.g. "gcc 12.2.0"
const char *mlp_threading(void);           // where helper threads come from: "openmp", "pthreads" or "none"
int mlp_processors(void);                 // processors this process may use, by its affinity mask and CPU quota
int mlp_max_threads(void);                // the same, limited by OMP_NUM_THREADS

// For tests. With a nonzero argument, calls may use more threads than there are processors, also for little work, and
// their work is cut into that many parts, even if fewer threads come. By default it is not, since such threads only
// wait for each other.
void mlp_allow_oversubscription(int allowed);

// The peak rate in floating-point operations per second: fused multiply-adds on `threads` threads together, the best of
// many short rounds in about that many seconds. The benchmarks give speeds as fractions of it. 0 for a bad argument.
double mlp_peak_flops(mlp_dtype dtype, int threads, double seconds);

// ---- A network ----

typedef struct {
    int64_t n_in, n_out;           // 1 .. 2^31 - 1; n_in equals n_out of the layer below
    mlp_activation activation;
    double alpha;                  // parameter of the activation, if it has one; the initial value if it is learned
    int shared;                    // MLP_PRELU: one slope for all units
    int has_bias;
    int trainable;                 // 0: training does not change its parameters; see mlp_network_set_trainable
    double dropout;                // in training each output is zero with this probability; 0 <= dropout < 1, and 0 in
                                   // the last layer
    double l1, l2;                 // penalties of W, in addition to those of mlp_settings
    int has_mask;                  // W has a mask, see mlp_network_mask
    mlp_custom_activation custom;  // of MLP_CUSTOM_ACTIVATION
    int may_drop;                  // with dropout 0: it may be set to another value later
    // Of the last layer, with MLP_IDENTITY: the activations of parts of the outputs, copied; or NULL. Predictions have
    // them; of the losses only PER_OUTPUT goes with them.
    const mlp_output_block *blocks;
    int64_t n_blocks;
} mlp_layer_spec;

typedef struct mlp_network mlp_network;

// Weights and biases are initialised to zero, slopes to alpha, masks to ones. *out is set only on MLP_OK.
mlp_status mlp_network_create(mlp_network **out, mlp_dtype dtype, const mlp_layer_spec *layers, int n_layers);
void mlp_network_destroy(mlp_network *net);  // NULL is allowed
// From now on each x of column j of X is (x - mean[j]) / scale[j], computed in double as it is read, and uint8 after
// its multiplication by x_scale. mean and scale (n_in of the first layer) are copied; scale > 0, not subnormal. Not
// during other calls.
mlp_status mlp_network_transform_inputs(mlp_network *net, const double *mean, const double *scale);
void *mlp_network_weights(const mlp_network *net, int layer);   // (n_in, n_out), may be written between calls
int64_t mlp_network_stride(const mlp_network *net, int layer);  // elements from row to row of the weights, >= n_out
// (n_in, n_out) with the stride of the weights, or NULL without a mask. Where it is 0, training keeps W and its
// gradient at 0; elsewhere it is 1. May be written between calls.
void *mlp_network_mask(const mlp_network *net, int layer);
void *mlp_network_bias(const mlp_network *net, int layer);      // (n_out), NULL without a bias
void *mlp_network_slopes(const mlp_network *net, int layer);    // of MLP_PRELU (n_out), or (1) if shared; else NULL
// These may be called between calls. The dropout of a layer may be set if it had one when the network was made, or
// may_drop. Factors of the learning rate, each >= 0 and 1 at first: that of a layer, and of_bias times that for its b.
void mlp_network_set_trainable(mlp_network *net, int layer, int trainable);
mlp_status mlp_network_set_dropout(mlp_network *net, int layer, double dropout);
mlp_status mlp_network_set_l2(mlp_network *net, int layer, double l2);
mlp_status mlp_network_set_lr_factors(mlp_network *net, int layer, double of_layer, double of_bias);
// The lowest layer with a parameter that is NaN or infinite, or -1.
int mlp_network_first_not_finite(const mlp_network *net);
// Size of all parameters, which are one block that starts at the weights of layer 0.
size_t mlp_network_bytes(const mlp_network *net);
// Where the values of a parameter are in a block laid out like the parameters, such as a gradient. parameter: a pointer
// returned by mlp_network_weights, _bias or _slopes.
void *mlp_network_in_block(const mlp_network *net, void *block, const void *parameter);

// ---- Prediction: safe from many threads at once, each with its own workspace ----

typedef struct {
    const void *X;       // (n, n_in), or (n_x, n_in) if x_rows is not NULL
    mlp_dtype x_type;    // MLP_UINT8 rows are multiplied by x_scale as they are read
    double x_scale;
    const int32_t *labels;   // (n) class numbers in 0 .. n_out-1, or NULL
    const void *targets;     // (n, target_cols) of the network's dtype, or NULL
    int one_hot;             // each row of targets has a single 1: the class is that of the largest output
    const void *weights;     // (n) sample weights of the network's dtype, or NULL for all 1
    int64_t n;
    double mean_weight;      // the gradient of a minibatch of B rows is divided by B mean_weight; 0: by its sum of
                             // weights
    int64_t target_cols;     // 0: n_out
    // (n, target_cols) of the network's dtype, or NULL: the weight of each entry of targets, for losses with
    // MLP_BY_ENTRY. It multiplies the entry's part of the loss and its derivative, in place of `weights`, which must be
    // there and hold the mean of each row. Where it is 0, the target may be anything.
    const void *entry_weights;
    const void *y;           // (n) rows of y_bytes bytes each, passed to a custom loss; or NULL
    int64_t y_bytes;
    const int64_t *x_rows;   // (n) the row of X, in 0 .. n_x-1, of each example; or NULL for 0..n-1
    int64_t n_x;
} mlp_data;

// Called by the calling thread every few minibatches or rows; nonzero means stop. It should return quickly.
typedef int (*mlp_poll)(void *context);

// Bytes of workspace for n rows on `threads` threads; 0 if the size overflows. Call mlp_predict and the others with the
// same n and threads; memory from malloc is aligned well enough.
size_t mlp_predict_workspace(const mlp_network *net, int64_t n, int threads);

// out (n, n_out of the last layer) = a_L. Of data it uses X, x_type, x_scale, x_rows, n_x and n. threads <= 0: chosen
// by the amount of work, at most -threads if negative. With MLP_INTERRUPTED out is partly written.
mlp_status mlp_predict(const mlp_network *net, void *out, const mlp_data *data, void *workspace, int threads,
                       mlp_poll poll, void *context);

// The same with dropout, as in training; seed and sample determine the random numbers. input_dropout is the probability
// for X.
mlp_status mlp_predict_sample(const mlp_network *net, void *out, const mlp_data *data, double input_dropout,
                              uint64_t seed, int64_t sample, void *workspace, int threads, mlp_poll poll,
                              void *context);

typedef struct {
    double loss_sum;     // sum over examples of weight * loss
    double weight_sum;   // sum of the weights; n without weights
    // correct: sum over examples of weight * the fraction of its labels that are right. exact: sum of the weights of
    // the examples whose labels are all right. With CROSS_ENTROPY, class numbers or one_hot, an example has one label,
    // its class, which is right if its output is the largest. Otherwise each output has a label, which is right if the
    // logit is on its side of 0. If an output is NaN, no label of its example is right. Both are 0 for losses without
    // classes.
    double correct, exact;
    int64_t rows;        // examples processed
    int64_t minibatches; // minibatches completed
    double bad_loss;     // with MLP_LOSS_NOT_FINITE: the mean loss of the minibatch that was not finite
    // Of training, over minibatches of B rows: the sum of B times the mean loss, and, with sum_l2, of B times the
    // penalty (l2/2) sum W^2, with W before its step.
    double row_loss_sum, row_l2_sum;
} mlp_result;

// The loss over all of data. Not for MLP_CUSTOM_LOSS and losses with MLP_JOINS, which depend on several rows together.
// threads and workspace as in mlp_predict.
mlp_status mlp_evaluate(const mlp_network *net, mlp_result *result, const mlp_data *data, mlp_loss loss,
                        void *workspace, int threads, mlp_poll poll, void *context);

// The same for some of the rows: adds to result, which is zeros before the first of them. Calls for one part after the
// other have the bits of one call. With an error result is partly added to.
mlp_status mlp_evaluate_part(const mlp_network *net, mlp_result *result, const mlp_data *data, mlp_loss loss,
                             void *workspace, int threads, mlp_poll poll, void *context);

// ---- Training ----

typedef struct {
    mlp_optimizer optimizer;
    double lr;
    double momentum;
    int nesterov;
    double beta1, beta2, epsilon;
    int epsilon_hat;      // of ADAM: sqrt(v) + epsilon, and not sqrt(v / (1 - beta2^t)) + epsilon
    double shrink, grow, least_step, most_step;  // of RPROP, whose lr is the first step
    double weight_decay;  // decoupled: each step subtracts lr weight_decay W
    double clip_value;    // clips each element of the gradient to [-clip_value, clip_value]; 0: off
    double clip_norm;     // clips the 2-norm of the whole gradient; 0: off
    double max_norm;      // after a step, limits the 2-norm of the weights into each unit; 0: off
    double l1, l2;        // penalties of all W
    double input_dropout, input_noise;  // probability; standard deviation of normal noise that is added to X
    // A minibatch is processed in chunks of that many rows, whose gradients are added by a binary tree (chunks.h): the
    // result depends on it in the last bits. 0: 1024.
    int64_t chunk_rows;
    uint64_t seed;        // of dropout and noise
    int check_finite;     // stop if input or loss of a minibatch is not finite, before it changes the parameters
    int sum_l2;           // mlp_result.row_l2_sum is wanted, which costs reading W once more
} mlp_settings;

// The version of the order of rows and sums, and of all arithmetic and random numbers of the training: what goes on
// from a saved state has the bits of an uninterrupted run if this number is the same. Raise it with every change of
// tests/golden.txt, and of bits that the golden networks do not see.
#define MLP_ORDER_VERSION 1

typedef struct mlp_trainer mlp_trainer;  // workspaces and optimizer state for training one network

mlp_status mlp_trainer_create(mlp_trainer **out, mlp_network *net, mlp_loss loss, int64_t batch_size);
void mlp_trainer_destroy(mlp_trainer *trainer);

// The optimizer's state is created, as zeros, when a step first needs it, and again when the optimizer changes.
mlp_status mlp_trainer_prepare(mlp_trainer *trainer, const mlp_settings *settings);  // creates it now
int mlp_trainer_states(const mlp_trainer *trainer);  // number of state arrays per parameter
mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *trainer);  // the optimizer that they belong to
// State array i of a parameter, laid out like it. parameter: a pointer returned by mlp_network_weights, _bias or
// _slopes.
void *mlp_trainer_state(const mlp_trainer *trainer, int i, const void *parameter);
// t of the optimizer for a layer: the steps that have trained it since the state was created.
int64_t mlp_trainer_updates(const mlp_trainer *trainer, int layer);
void mlp_trainer_set_updates(mlp_trainer *trainer, int layer, int64_t updates);
int64_t mlp_trainer_steps(const mlp_trainer *trainer);  // minibatches trained on: part of the rng key of dropout, noise
void mlp_trainer_set_steps(mlp_trainer *trainer, int64_t steps);

// rows (count) = a permutation of 0..n-1 at positions [first, first + count); 0 <= first, first + count <= n. It is
// determined by seed, epoch (below 2^56) and n. Positions are computed independently, so parts can be requested in any
// order, most cheaply hundreds at a time; for n up to 1,024 each call computes the whole permutation.
void mlp_order(int64_t *rows, int64_t first, int64_t count, int64_t n, uint64_t seed, uint64_t epoch);

// One epoch over minibatches of data. order: (n_order) indices of examples, n_order <= n; or NULL for 0..n-1, and then
// n_order is ignored. The last minibatch may be smaller. Changes the network's parameters and the trainer's state.
// rates: the learning rate of each minibatch, or NULL for settings->lr. momenta: the momentum or beta1 of each
// minibatch, whichever the optimizer has, or NULL; MLP_SGD needs settings->momentum != 0 for it, and other optimizers
// ignore it.
mlp_status mlp_train_epoch(mlp_trainer *trainer, mlp_result *result, const mlp_data *data, const int64_t *order,
                           int64_t n_order, const mlp_settings *settings, const double *rates, const double *momenta,
                           int threads, mlp_poll poll, void *context);

typedef struct {
    int64_t first, count;            // minibatches [first, first + count) of the epoch, or as many of them as there are
    int64_t batch_size;              // 0: that of the trainer
    const double *rates, *momenta;   // of each of these minibatches, as for mlp_train_epoch; or NULL
    // Rows of dropout probabilities, (count, n_layers + 1): of X, then of the outputs of each layer; and of l2, (count,
    // n_layers), in place of the sum of those of settings and layer. Or NULL for those of settings and layers.
    const double *dropout, *l2;
    int goes_on;  // the epoch has begun in calls with other data, and result is of the epoch so far although first is 0
} mlp_epoch_part;

// Some minibatches of an epoch. Calls for one part after the other have the bits of one call; settings and layers may
// change in between. result is of the epoch so far: with first > 0 or goes_on it must hold what the call before has
// returned. data may be other data in each call, which has some of the epoch's minibatches: first counts from their
// first one.
mlp_status mlp_train_epoch_part(mlp_trainer *trainer, mlp_result *result, const mlp_data *data, const int64_t *order,
                                int64_t n_order, const mlp_epoch_part *part, const mlp_settings *settings, int threads,
                                mlp_poll poll, void *context);

// One step with all rows of data as its minibatch; their number is independent of batch_size.
mlp_status mlp_train_step(mlp_trainer *trainer, mlp_result *result, const mlp_data *data, const mlp_settings *settings,
                          int threads, mlp_poll poll, void *context);

// ---- Gradients, and steps from them. mlp_gradient and then mlp_apply give the same bits as mlp_train_step ----

typedef struct {
    double scale;       // factor of the sum over the rows; 0: 1 / (B mean_weight), see mlp_data
    int64_t first_row;  // number of the first row in a minibatch split over several calls: for dropout and noise
    int undisturbed;    // without dropout and noise
    int unpenalised;    // without l1 and l2, including those of layers
    int frozen_too;     // also for layers that are not trained, whose gradient is 0 otherwise
} mlp_gradient_options;

// gradient = d J / d parameters of all rows of data as one minibatch: scaled, with penalties, 0 where a mask is 0. It
// has mlp_network_bytes bytes, aligned to the real type (fastest on a cache line). Nothing else changes, so the next
// call uses the same random numbers for dropout and noise. options may be NULL for zeros. Of settings it uses l1, l2,
// chunk_rows, input_dropout, input_noise, seed and check_finite. With MLP_*_NOT_FINITE gradient is partly written.
mlp_status mlp_gradient(mlp_trainer *trainer, void *gradient, mlp_result *result, const mlp_data *data,
                        const mlp_gradient_options *options, const mlp_settings *settings, int threads, mlp_poll poll,
                        void *context);

// One step from a gradient, which counts as a minibatch. Clipping is applied, but gradient itself is not changed. l1
// and l2 of settings are ignored, since the gradient contains the penalties. With check_finite, returns
// MLP_DERIVATIVE_NOT_FINITE without changing anything if the gradient has NaN or infinity.
mlp_status mlp_apply(mlp_trainer *trainer, const void *gradient, const mlp_settings *settings, int threads);

// ---- Random numbers for initial weights: out (count) = numbers [first, first + count) of (seed, stream) ----

// Uniform in [0, 1), multiples of 2^-53; and standard normal.
void mlp_random_uniform(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);
void mlp_random_normal(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);

#endif
