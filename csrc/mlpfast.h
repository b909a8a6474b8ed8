// mlpfast: training and serving multilayer perceptrons on the CPU. The public C API, in the order data flows.
//
// Notation, here and in every file of the core:
//   B  rows of a minibatch        n  examples of a data set        L  layers, numbered 0..L-1 in C
//   X  (n, n_in) inputs           W_l (n_in, n_out), b_l (n_out)   z_l = a_{l-1} W_l + b_l   a_l = g_l(z_l)
//   delta_l = d loss / d z_l, (B, n_out): the residual, one row per example, without the 1/B
// All matrices are dense, C-contiguous and of the network's dtype unless a comment says otherwise; the rows of weights
// are mlp_network_stride apart.
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
    MLP_INTERRUPTED,     // mlp_poll asked to stop; parameters are those after the last whole minibatch
    MLP_INPUT_NOT_FINITE,  // a row of X holds NaN or infinity; parameters as before its minibatch
    MLP_LOSS_NOT_FINITE,   // the loss of a minibatch is NaN or infinite; parameters as before that minibatch
    MLP_DERIVATIVE_NOT_FINITE,  // what a function of the caller's gave is; parameters as before that minibatch
    MLP_FORKED,          // mlp_poll or a function of the caller's forked, and this is the child: the threads of the call
                         // are the parent's. Parameters, optimizer state and outputs are partly written
} mlp_status;

typedef enum { MLP_FLOAT32, MLP_FLOAT64, MLP_UINT8 } mlp_dtype;  // MLP_UINT8 for inputs alone

// An activation of the caller's own, element by element; z, a and delta are (rows, n). Nonzero ends the call that
// needed it, as mlp_poll does, and nothing of its minibatch has happened. `call` is that call's context. Training calls
// it for whole minibatches, from the calling thread; mlp_predict and mlp_evaluate for some rows, from several threads
// at once.
typedef struct {
    int (*forward)(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n);       // a = g(z); a may be z
    int (*backward)(void *self, void *call, void *delta, const void *z, int64_t rows, int64_t n);  // delta *= g'(z)
    void *self;
} mlp_custom_activation;

// What a loss reads beside the outputs, for the rows of a minibatch, one after the other: as in mlp_data.
typedef struct {
    const int32_t *labels;  // (rows), or NULL
    const void *targets;    // (rows, n_out), or NULL
    const void *y;          // (rows, y_bytes of mlp_data), or NULL
    const void *weights;    // (rows), or NULL for all 1
    int one_hot;
} mlp_truth;

// A loss of the caller's own: the weighted losses of rows (rows) from a = a_L (rows, n), and delta (rows, n) unless
// that is NULL: d loss / d a_L, or, with of_z, d loss / d z_L. Its data need no labels or targets. Called for whole
// minibatches, in training alone, and answered like mlp_custom_activation.
typedef struct {
    int (*rows)(void *self, void *call, void *delta, double *row_loss, const void *a, const mlp_truth *truth, int64_t rows,
                int64_t n);
    int of_z;
    void *self;
} mlp_custom_loss;

typedef struct {
    mlp_loss_kind kind;
    double parameter;        // d of HUBER, q of QUANTILE
    double label_smoothing;  // e of the cross entropies: y becomes (1 - e) y + e / K, for the binary one (1 - e) y + e / 2
    mlp_custom_loss custom;        // of CUSTOM_LOSS
} mlp_loss;

// ---- The machine ----

// Chooses the kernels: name is "generic", "avx2", "avx512", "neon", or NULL for the fastest this CPU has.
// MLP_BAD_ARGUMENT if there is no such name or this CPU or build cannot run it. Call it before anything else, once.
mlp_status mlp_select_isa(const char *name);
const char *mlp_isa(void);                // the one in use
const char *mlp_isa_available(int i);     // the i-th this machine can run, best first; NULL past the last
const char *mlp_compiler(void);           // the compiler that built this library, e.g. "gcc 12.2.0"
int mlp_has_openmp(void);
int mlp_processors(void);                 // that this process may use: affinity and CPU quota considered
int mlp_max_threads(void);                // what OpenMP would use of them: OMP_NUM_THREADS considered

// More threads than processors are never used, since they only wait for each other; with a nonzero argument they are,
// for tests.
void mlp_allow_oversubscription(int allowed);

// The most floating-point operations a second that `threads` threads reach together with fused multiply-adds alone, the
// best of many short rounds in about that many seconds. Every speed here is a fraction of it. 0 for a bad argument.
double mlp_peak_flops(mlp_dtype dtype, int threads, double seconds);

// ---- A network ----

typedef struct {
    int64_t n_in, n_out;        // 1 .. 2^31 - 1; n_in equals the n_out of the layer below
    mlp_activation activation;
    double alpha;               // its parameter, if it has one; where it is learned, its start
    int shared;              // MLP_PRELU: one slope for all units
    int has_bias;
    int trainable;              // 0: its parameters stay as they are
    double dropout;             // in training each output is zero with this probability; 0 <= dropout < 1
    double l1, l2;              // penalties of W, in addition to those of mlp_settings
    int has_mask;               // the gradient of W, and W after a step, are multiplied by mlp_network_mask
    mlp_custom_activation custom;     // of MLP_CUSTOM_ACTIVATION
} mlp_layer_spec;

typedef struct mlp_network mlp_network;

// Parameters are zero. *out is set on MLP_OK alone.
mlp_status mlp_network_create(mlp_network **out, mlp_dtype dtype, const mlp_layer_spec *layers, int n_layers);
void mlp_network_destroy(mlp_network *net);  // NULL is allowed
void *mlp_network_weights(const mlp_network *net, int layer);  // (n_in, n_out), may be written between calls
int64_t mlp_network_stride(const mlp_network *net, int layer); // numbers from a row of the weights to the next, >= n_out
// (n_in, n_out) with the stride of the weights, NULL without a mask: ones, until zeros are written where W is to be
// zero.
void *mlp_network_mask(const mlp_network *net, int layer);
void *mlp_network_bias(const mlp_network *net, int layer);     // (n_out), NULL without a bias
void *mlp_network_slopes(const mlp_network *net, int layer);   // (n_out), or one, of MLP_PRELU; else NULL
int mlp_network_first_not_finite(const mlp_network *net);  // the lowest layer with a parameter that is NaN or infinite, or -1
size_t mlp_network_bytes(const mlp_network *net);  // of all parameters, which stand in one block from the first weights on
// In memory laid out as that block, a gradient: the place that is a parameter's, a pointer that mlp_network_weights,
// _bias or _slopes returned.
void *mlp_network_in_block(const mlp_network *net, void *block, const void *parameter);

// ---- Serving: safe from many threads at once, each with its own workspace ----

typedef struct {
    const void *X;       // (n, n_in), or (n_x, n_in) with x_rows
    mlp_dtype x_type;    // MLP_UINT8 rows are multiplied by x_scale as they are read
    double x_scale;
    const int32_t *labels;   // (n) class numbers in 0 .. n_out-1, or NULL
    const void *targets;     // (n, n_out) of the network's dtype, or NULL
    int one_hot;             // each row of targets has a single 1: the class is that of the largest output
    const void *weights;     // (n) sample weights of the network's dtype, or NULL for all 1
    int64_t n;
    double mean_weight;      // the gradient of a minibatch of B rows is divided by B mean_weight; 0: by its sum of weights
    const void *y;           // (n) rows of y_bytes bytes each that a loss of the caller's gets, or NULL
    int64_t y_bytes;
    const int64_t *x_rows;   // (n) the row of X that each example has, of n_x; or NULL: 0..n-1
    int64_t n_x;
} mlp_data;

// Asked by the calling thread every few minibatches or rows; nonzero means stop. It should return at once.
typedef int (*mlp_poll)(void *context);

// Bytes of workspace for n rows on that many threads; 0 if they do not fit in size_t. The calls that use it take the
// same n and threads; the memory is aligned as malloc does it.
size_t mlp_predict_workspace(const mlp_network *net, int64_t n, int threads);

// out (n, n_out of the last layer) = a_L. Reads data->X alone. threads <= 0: chosen from the work, at most -threads
// if negative. MLP_INTERRUPTED leaves out partly written.
mlp_status mlp_predict(const mlp_network *net, void *out, const mlp_data *data, void *workspace, int threads,
                       mlp_poll poll, void *context);

// The same with dropout, as in training: sample number `sample` of a_L. input_dropout is the probability for X.
mlp_status mlp_predict_sample(const mlp_network *net, void *out, const mlp_data *data, double input_dropout, uint64_t seed,
                              int64_t sample, void *workspace, int threads, mlp_poll poll, void *context);

typedef struct {
    double loss_sum;     // sum over examples of weight * loss
    double weight_sum;   // sum of the weights; n without weights
    // Sums over examples of weight * the share of its labels that are right, and of the weights of those with all of
    // them right. A class, of cross entropies, with labels or with one_hot rows, is one label, right where the largest
    // output is its own; else each output has one, a side of 0 as a logit. No label is right in a row with a NaN among
    // the outputs. Both are 0 for losses without classes.
    double correct, exact;
    int64_t rows;        // examples seen
    int64_t minibatches; // whole minibatches done
    double bad_loss;     // with MLP_LOSS_NOT_FINITE: the mean loss of the minibatch that stopped the epoch
} mlp_result;

// The loss over all of data, without changing anything; not MLP_CUSTOM_LOSS, which may join rows. Threads and workspace
// as in mlp_predict.
mlp_status mlp_evaluate(const mlp_network *net, mlp_result *result, const mlp_data *data, mlp_loss loss,
                        void *workspace, int threads, mlp_poll poll, void *context);

// ---- Training ----

typedef struct {
    mlp_optimizer optimizer;
    double lr;
    double momentum;
    int nesterov;
    double beta1, beta2, epsilon;
    double weight_decay;  // decoupled: W shrinks by lr weight_decay W a step
    double clip_value;    // each number of a gradient is cut to at most that size; 0: not
    double clip_norm;     // the whole gradient is shortened to at most that length; 0: not
    double max_norm;      // after a step the weights into each unit are shortened to at most that length; 0: not
    double l1, l2;
    double input_dropout, input_noise;  // probability; standard deviation of normal noise that is added to X
    // A minibatch goes through the layers in chunks of that many rows, and their gradients are added by a binary tree
    // (chunks.h): the result depends on it in the last bits. 0: 1024.
    int64_t chunk_rows;
    uint64_t seed;        // of dropout and noise
    int check_finite;     // stop before a minibatch whose input or loss is not finite changes the parameters
} mlp_settings;

typedef struct mlp_trainer mlp_trainer;  // activations, delta and the optimizer's state of one network in training

mlp_status mlp_trainer_create(mlp_trainer **out, mlp_network *net, mlp_loss loss, int64_t batch_size);
void mlp_trainer_destroy(mlp_trainer *trainer);

// The optimizer's state. It begins with zeros when a step first needs it, and anew when another optimizer takes over.
mlp_status mlp_trainer_prepare(mlp_trainer *trainer, const mlp_settings *settings);  // makes it now
int mlp_trainer_states(const mlp_trainer *trainer);  // how many arrays each parameter has
mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *trainer);  // whose they are
// State number i of a parameter, a pointer that mlp_network_weights, _bias or _slopes returned: of the same layout.
void *mlp_trainer_state(const mlp_trainer *trainer, int i, const void *parameter);
int64_t mlp_trainer_updates(const mlp_trainer *trainer);  // t of the optimizer: since its state began
void mlp_trainer_set_updates(mlp_trainer *trainer, int64_t updates);
int64_t mlp_trainer_steps(const mlp_trainer *trainer);  // minibatches ever trained on: dropout and noise go by it
void mlp_trainer_set_steps(mlp_trainer *trainer, int64_t steps);

// A permutation of 0..n-1, fixed by seed, epoch (below 2^56) and n: rows (count) = what it has at its positions
// [first, first + count), 0 <= first, first + count <= n. No table of all rows is made, so that parts may be asked for
// in any order; they are cheapest in hundreds. Of up to 1,024 rows all are drawn at each call.
void mlp_order(int64_t *rows, int64_t first, int64_t count, int64_t n, uint64_t seed, uint64_t epoch);

// One epoch over the minibatches of data in the given order: (n_order) indices, at most n, or NULL for 0..n-1, and then
// n_order does not count. The last minibatch may be smaller. Changes the network's parameters and the trainer's state.
// rates: the learning rate of each minibatch, or NULL for settings->lr. momenta: the same of the setting that the
// optimizer lets move (MLP_SGD only where settings->momentum is not 0, so that there are velocities); others ignore
// them.
mlp_status mlp_train_epoch(mlp_trainer *trainer, mlp_result *result, const mlp_data *data, const int64_t *order,
                           int64_t n_order, const mlp_settings *settings, const double *rates, const double *momenta, int threads,
                           mlp_poll poll, void *context);

// One step with all rows of data as its minibatch, which may be larger or smaller than batch_size.
mlp_status mlp_train_step(mlp_trainer *trainer, mlp_result *result, const mlp_data *data, const mlp_settings *settings,
                          int threads, mlp_poll poll, void *context);

// ---- A gradient, and a step from one. mlp_train_step is the one and then the other, with the same bits ----

typedef struct {
    double scale;       // what the sum over the rows is multiplied by; 0: 1 / (B mean_weight), as mlp_data has it
    int64_t first_row;  // where these rows begin in a minibatch that several calls share: dropout and noise go by it
    int undisturbed;    // without dropout and noise
    int unpenalised;    // without l1 and l2, those of the layers too
    int frozen_too;     // also of layers that are not trained; they have zeros otherwise
} mlp_gradient_options;

// gradient (mlp_network_bytes, on a multiple of the real type's size; fastest on a cache line) = d J / d parameters of
// all rows of data as one minibatch: times the scale, with the penalties, 0 where a mask is. Nothing else changes: the
// next call has the same numbers for dropout and noise. options may be NULL for zeros. Of the settings l1, l2,
// chunk_rows, input_dropout, input_noise, seed and check_finite count. MLP_*_NOT_FINITE leave gradient partly written.
mlp_status mlp_gradient(mlp_trainer *trainer, void *gradient, mlp_result *result, const mlp_data *data,
                        const mlp_gradient_options *options, const mlp_settings *settings, int threads, mlp_poll poll,
                        void *context);

// One step from a gradient, which is clipped on the way and does not change: it counts as a minibatch. l1 and l2 do not
// count, since they are in it. MLP_DERIVATIVE_NOT_FINITE, with check_finite, if it holds NaN or infinity; nothing has
// changed then.
mlp_status mlp_apply(mlp_trainer *trainer, const void *gradient, const mlp_settings *settings, int threads);

// ---- Random numbers for initial weights: out (count) = numbers [first, first + count) of seed and stream ----

// In [0, 1), multiples of 2^-53; and of mean 0 and variance 1.
void mlp_random_uniform(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);
void mlp_random_normal(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);

#endif
