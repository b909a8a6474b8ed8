// mlpfast: training and serving multilayer perceptrons on the CPU. The C interface, in the order data flows; C99 or
// C++11. docs/embedding.md shows how it is used.
//
// Notation, here and in every file of the core:
//   B  rows of a minibatch        n  examples of a data set        L  layers, numbered 0..L-1 in C
//   X  (n, n_in) inputs           W_l (n_in, n_out), b_l (n_out)   z_l = a_{l-1} W_l + b_l   a_l = g_l(z_l)
//   delta_l = d loss / d z_l, (B, n_out): the residual, one row per example, without the 1/B
// Matrices are dense, C-contiguous and of the network's dtype unless a comment says otherwise; rows of weights are
// mlp_network_stride apart.
//
// Of every function, unless its comment says otherwise:
//   Ownership   What is passed belongs to the caller, and no pointer to it is kept. What _create and _load make belongs
//               to the caller too, until its _destroy.
//   Threads     Functions that take a const mlp_network or mlp_trainer may be called by many threads at once, all
//               others by one at a time, and not while another thread uses the same network. Different networks are
//               independent of each other. A process may fork at any time.
//   Errors      The status says what is wrong; nothing has then changed, and no output has been written. Nothing here
//               prints, exits or aborts. Pointers must be valid, and sizes those of what is there: they cannot be
//               checked.
//   Real time   May take locks, ask the system for memory or read files. Functions marked "real-time safe" never do:
//               they allocate nothing, take no lock and make no system call.
//
// Stability: a program that was compiled with this header runs with every later library of the same MLP_VERSION_MAJOR,
// from 1.0 on; before, of the same MLP_VERSION_MINOR. Numbers of enums keep their meaning. Structs with a `size` grow
// behind it: make them with their _init function, which sets the size and zeros, or set size to sizeof the struct and
// all other fields, at least to 0. A field that a library does not know yet must be 0, or MLP_BAD_ARGUMENT says so.
// Other structs never change.
#ifndef MLPFAST_H
#define MLPFAST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vocabulary.h"

// The one place of the version: pyproject.toml, CMakeLists.txt and Python read these three lines.
#define MLP_VERSION_MAJOR 0
#define MLP_VERSION_MINOR 1
#define MLP_VERSION_PATCH 0
#define MLP_VERSION (MLP_VERSION_MAJOR * 1000000 + MLP_VERSION_MINOR * 1000 + MLP_VERSION_PATCH)

// What a shared library exports, and nothing else: it is compiled with MLP_EXPORTS. On Windows, programs that use it
// define MLP_IMPORTS.
#if defined(MLP_EXPORTS) && defined(_WIN32)
#define MLP_API __declspec(dllexport)
#elif defined(MLP_IMPORTS) && defined(_WIN32)
#define MLP_API __declspec(dllimport)
#elif defined(MLP_EXPORTS)
#define MLP_API __attribute__((visibility("default")))
#else
#define MLP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Makes type_init(): a struct of zeros that knows its size.
#define MLP_INIT(type) \
    static inline type type##_init(void) { \
        type made; \
        memset(&made, 0, sizeof made); \
        made.size = sizeof made; \
        return made; \
    }

typedef enum {
    MLP_OK = 0,
    MLP_NO_MEMORY = 1,        // an allocation failed; nothing has changed
    MLP_BAD_ARGUMENT = 2,     // a size, count or enum is out of range, or a struct has no size; nothing has changed
    MLP_TOO_LARGE = 3,        // a product of sizes does not fit; nothing has changed
    MLP_INTERRUPTED = 4,      // mlp_poll or a custom function asked to stop; parameters as after the last whole
                              // minibatch
    MLP_INPUT_NOT_FINITE = 5,  // a row of X has NaN or infinity; parameters as before its minibatch
    MLP_LOSS_NOT_FINITE = 6,   // the loss of a minibatch is NaN or infinite; parameters as before that minibatch
    MLP_DERIVATIVE_NOT_FINITE = 7,  // the derivative of a loss or of a custom activation, or a gradient given to
                                    // mlp_apply, has NaN or infinity; parameters as before that minibatch
    MLP_BAD_BUILD = 8,        // this library does not compute what it should: mlp_self_check
    MLP_NOT_BUILT = 9,        // this library was built without that dtype
    MLP_BAD_FILE = 10,        // the bytes are no file of a network, or a damaged one: mlp_file.problem
    MLP_NEEDS_PYTHON = 11,    // the file asks for a function of the program's that mlp_file.customs does not have, or
                              // for a schedule
    MLP_BUFFER_TOO_SMALL = 12  // nothing has been written
} mlp_status;

typedef enum { MLP_FLOAT32 = 0, MLP_FLOAT64 = 1, MLP_UINT8 = 2 } mlp_dtype;  // MLP_UINT8: only for X

// ---- Functions of the program's ----

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
// from y_first on: as many as the kind needs for that number of outputs, and for CROSS_ENTROPY one, of class numbers.
// Blocks may share columns of y. Not for CUSTOM_LOSS, COX_PH and PER_OUTPUT.
typedef struct {
    mlp_output_block of;
    int64_t y_first;
    double factor;
    mlp_loss_kind kind;
    double parameter, label_smoothing;  // as in mlp_loss
} mlp_loss_block;

typedef struct {
    size_t size;
    mlp_loss_kind kind;
    double parameter;        // d of HUBER, q of QUANTILE
    double label_smoothing;  // e of CROSS_ENTROPY, y becomes (1 - e) y + e / n_out, and BINARY_CROSS_ENTROPY, e / 2
    mlp_custom_loss custom;  // of CUSTOM_LOSS
    // (n_blocks) of PER_OUTPUT, each output in one of them, in the order of the outputs. Not copied: they must stay.
    const mlp_loss_block *blocks;
    int64_t n_blocks;
} mlp_loss;
MLP_INIT(mlp_loss)

// ---- The machine ----

// MLP_VERSION of the library, which may be later than that of the header. Real-time safe.
MLP_API int mlp_version(void);

// MLP_BAD_BUILD if some hundred numbers, computed with the kernels in use, do not have the bits they should: flags or
// the compiler have then changed the arithmetic of this library. Takes about a millisecond.
MLP_API mlp_status mlp_self_check(void);

// Selects the kernels: name is "generic", "avx2", "avx512", "neon", or NULL for the fastest that this CPU supports.
// MLP_BAD_ARGUMENT if the name is unknown, or this CPU or build does not support it. Networks that exist keep theirs.
// Without a call it is the fastest.
MLP_API mlp_status mlp_select_isa(const char *name);
// Texts that stay: nobody frees them. Real-time safe.
MLP_API const char *mlp_isa(void);             // the name of the kernels in use
MLP_API const char *mlp_isa_available(int i);  // the i-th name this machine supports, best first; NULL past the last
MLP_API const char *mlp_compiler(void);        // the compiler that built this library, e.g. "gcc 12.2.0"
MLP_API const char *mlp_threading(void);       // where helper threads come from: "openmp", "pthreads", "windows" or "none"
// By any thread.
MLP_API int mlp_processors(void);   // processors this process may use, by its affinity mask and CPU quota
MLP_API int mlp_max_threads(void);  // the same, limited by OMP_NUM_THREADS

// ---- A network ----

typedef struct {
    size_t size;
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

MLP_INIT(mlp_layer_spec)

typedef struct mlp_network mlp_network;

// Weights and biases are initialised to zero, slopes to alpha, masks to ones. *out is set only on MLP_OK. layers:
// (n_layers), all of one size. custom.self of a layer must stay while the network is used.
MLP_API mlp_status mlp_network_create(mlp_network **out, mlp_dtype dtype, const mlp_layer_spec *layers, int n_layers);
MLP_API void mlp_network_destroy(mlp_network *net);  // NULL is allowed; not before its trainers
// From now on each x of column j of X is (x - mean[j]) / scale[j], computed in double as it is read, and uint8 after
// its multiplication by x_scale. mean and scale (n_in of the first layer) are copied; scale > 0, not subnormal.
MLP_API mlp_status mlp_network_transform_inputs(mlp_network *net, const double *mean, const double *scale);

// What a network is. Real-time safe.
MLP_API mlp_dtype mlp_network_dtype(const mlp_network *net);
MLP_API int mlp_network_n_layers(const mlp_network *net);
MLP_API int64_t mlp_network_n_in(const mlp_network *net);   // of the first layer
MLP_API int64_t mlp_network_n_out(const mlp_network *net);  // of the last layer
// *out = the present settings of a layer, as far as its size reaches; its blocks belong to the network.
MLP_API mlp_status mlp_network_layer(const mlp_network *net, int layer, mlp_layer_spec *out);

// The parameters of a layer, in memory of the network that stays where it is; NULL if there is no such layer. They may
// be written between calls. Real-time safe.
MLP_API void *mlp_network_weights(const mlp_network *net, int layer);   // (n_in, n_out)
MLP_API int64_t mlp_network_stride(const mlp_network *net, int layer);  // numbers from row to row of them, >= n_out
// (n_in, n_out) with the stride of the weights, or NULL without a mask. Where it is 0, training keeps W and its
// gradient at 0; elsewhere it is 1.
MLP_API void *mlp_network_mask(const mlp_network *net, int layer);
MLP_API void *mlp_network_bias(const mlp_network *net, int layer);    // (n_out), NULL without a bias
MLP_API void *mlp_network_slopes(const mlp_network *net, int layer);  // of MLP_PRELU (n_out), (1) if shared; else NULL

// The dropout of a layer may be set if it had one when the network was made, or may_drop. Factors of the learning rate,
// each >= 0 and 1 at first: that of a layer, and of_bias times that for its b. Real-time safe.
MLP_API void mlp_network_set_trainable(mlp_network *net, int layer, int trainable);
MLP_API mlp_status mlp_network_set_dropout(mlp_network *net, int layer, double dropout);
MLP_API mlp_status mlp_network_set_l2(mlp_network *net, int layer, double l2);
MLP_API mlp_status mlp_network_set_lr_factors(mlp_network *net, int layer, double of_layer, double of_bias);

// Real-time safe.
MLP_API int mlp_network_first_not_finite(const mlp_network *net);  // the lowest layer with NaN or infinity, or -1
// Size of all parameters, which are one block that starts at the weights of layer 0.
MLP_API size_t mlp_network_bytes(const mlp_network *net);
// Where the values of a parameter are in a block laid out like the parameters, such as a gradient. parameter: a pointer
// returned by mlp_network_weights, _bias or _slopes.
MLP_API void *mlp_network_in_block(const mlp_network *net, void *block, const void *parameter);

// ---- Files: those of Python's Network.save and mlpfast.load_network, read from memory and written into it ----

// An activation of the program's, under the name that files have for it.
typedef struct {
    const char *name;
    mlp_custom_activation activation;
} mlp_named_custom;

// What a file has besides the network, and how reading went.
typedef struct {
    size_t size;
    const mlp_named_custom *customs;  // (n_customs), which the file may ask for
    int64_t n_customs;
    // Settings of Python's Network, which calls take as x_scale of mlp_data, and as seed, input_dropout and input_noise
    // of mlp_settings. Written by mlp_network_load, read by mlp_network_save.
    double input_scale, input_dropout, input_noise;
    uint64_t seed;
    // With MLP_BAD_FILE and MLP_NEEDS_PYTHON: what is wrong, a text that stays, and about where, in bytes.
    const char *problem;
    size_t at;
} mlp_file;
MLP_INIT(mlp_file)

// *out = the network of a file of n bytes, which may be that of a Trainer; bytes need no alignment, and are not kept.
// Everything is checked, and nothing allocated besides the network, but for an index of the file's names if there are
// more than 256 of them, which is freed. file: may be NULL. Numbers may be NaN or infinite, which
// mlp_network_first_not_finite finds. *out is set only on MLP_OK. By many threads at once.
MLP_API mlp_status mlp_network_load(mlp_network **out, const void *bytes, size_t n, mlp_file *file);

// Writes the file, the bytes that Python's Network.save writes, and sets *n to its size. capacity: the size of `bytes`;
// with 0, when bytes may be NULL, or if it is too small, MLP_BUFFER_TOO_SMALL and *n. file: NULL for an input_scale of
// 1 and zeros. MLP_BAD_ARGUMENT if an activation of the program's is not among its customs. Real-time safe.
MLP_API mlp_status mlp_network_save(const mlp_network *net, void *bytes, size_t capacity, size_t *n,
                                    const mlp_file *file);

// ---- Prediction: by many threads at once, each with its own workspace ----

typedef struct {
    size_t size;
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
MLP_INIT(mlp_data)

// Called by the calling thread every few minibatches or rows; nonzero means stop. It should return quickly.
typedef int (*mlp_poll)(void *context);

// Bytes of workspace for n rows on `threads` threads; 0 if the size overflows. Call mlp_predict and the others with the
// same n and threads, or with threads = 1 also with fewer rows; memory from malloc is aligned well enough. Real-time
// safe for threads = 1.
MLP_API size_t mlp_predict_workspace(const mlp_network *net, int64_t n, int threads);

// out (n, n_out of the last layer) = a_L. Of data it uses X, x_type, x_scale, x_rows, n_x and n. threads <= 0: chosen
// by the amount of work, at most -threads if negative. With MLP_INTERRUPTED out is partly written. Allocates nothing.
// With threads = 1, or of few rows, which no helper is worth, it is real-time safe if poll and custom activations are.
MLP_API mlp_status mlp_predict(const mlp_network *net, void *out, const mlp_data *data, void *workspace, int threads,
                               mlp_poll poll, void *context);

// The same with dropout, as in training; seed and sample determine the random numbers. input_dropout is the probability
// for X.
MLP_API mlp_status mlp_predict_sample(const mlp_network *net, void *out, const mlp_data *data, double input_dropout,
                                      uint64_t seed, int64_t sample, void *workspace, int threads, mlp_poll poll,
                                      void *context);

typedef struct {
    size_t size;
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
MLP_INIT(mlp_result)

// The loss over all of data. Not for MLP_CUSTOM_LOSS and losses with MLP_JOINS, which depend on several rows together.
// threads and workspace as in mlp_predict.
MLP_API mlp_status mlp_evaluate(const mlp_network *net, mlp_result *result, const mlp_data *data, const mlp_loss *loss,
                                void *workspace, int threads, mlp_poll poll, void *context);

// The same for some of the rows: adds to result, which is zeros before the first of them. Calls for one part after the
// other have the bits of one call. With an error result is partly added to.
MLP_API mlp_status mlp_evaluate_part(const mlp_network *net, mlp_result *result, const mlp_data *data,
                                     const mlp_loss *loss, void *workspace, int threads, mlp_poll poll, void *context);

// ---- Training ----

typedef struct {
    size_t size;
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
MLP_INIT(mlp_settings)

// The version of the order of rows and sums, and of all arithmetic and random numbers of the training: what goes on
// from a saved state has the bits of an uninterrupted run if this number is the same. Raise it with every change of
// tests/golden.txt, and of bits that the golden networks do not see.
#define MLP_ORDER_VERSION 1

typedef struct mlp_trainer mlp_trainer;  // workspaces and optimizer state for training one network

// The trainer keeps net, of which several trainers may exist but one at a time may be at work, and loss->blocks and
// loss->custom.self: they must stay. Training asks for memory when a call needs more than those before it.
MLP_API mlp_status mlp_trainer_create(mlp_trainer **out, mlp_network *net, const mlp_loss *loss,
                                      int64_t batch_size);
MLP_API void mlp_trainer_destroy(mlp_trainer *trainer);

// The optimizer's state is created, as zeros, when a step first needs it, and again when the optimizer changes.
MLP_API mlp_status mlp_trainer_prepare(mlp_trainer *trainer, const mlp_settings *settings);  // creates it now
MLP_API int mlp_trainer_states(const mlp_trainer *trainer);  // number of state arrays per parameter
MLP_API mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *trainer);  // the optimizer that they belong to
// State array i of a parameter, laid out like it, or NULL; it stays until another optimizer is prepared. parameter: a
// pointer returned by mlp_network_weights, _bias or _slopes.
MLP_API void *mlp_trainer_state(const mlp_trainer *trainer, int i, const void *parameter);
// t of the optimizer for a layer: the steps that have trained it since the state was created.
MLP_API int64_t mlp_trainer_updates(const mlp_trainer *trainer, int layer);
MLP_API void mlp_trainer_set_updates(mlp_trainer *trainer, int layer, int64_t updates);
// Minibatches trained on: part of the key of the random numbers of dropout and noise.
MLP_API int64_t mlp_trainer_steps(const mlp_trainer *trainer);
MLP_API void mlp_trainer_set_steps(mlp_trainer *trainer, int64_t steps);

// rows (count) = a permutation of 0..n-1 at positions [first, first + count); 0 <= first, first + count <= n. It is
// determined by seed, epoch (below 2^56) and n. Positions are computed independently, so parts can be requested in any
// order, most cheaply hundreds at a time; for n up to 1,024 each call computes the whole permutation. By any thread;
// real-time safe.
MLP_API void mlp_order(int64_t *rows, int64_t first, int64_t count, int64_t n, uint64_t seed, uint64_t epoch);

// One epoch over minibatches of data. order: (n_order) indices of examples, n_order <= n; or NULL for 0..n-1, and then
// n_order is ignored. The last minibatch may be smaller. Changes the network's parameters and the trainer's state.
// rates: the learning rate of each minibatch, or NULL for settings->lr. momenta: the momentum or beta1 of each
// minibatch, whichever the optimizer has, or NULL; MLP_SGD needs settings->momentum != 0 for it, and other optimizers
// ignore it.
MLP_API mlp_status mlp_train_epoch(mlp_trainer *trainer, mlp_result *result, const mlp_data *data,
                                   const int64_t *order, int64_t n_order, const mlp_settings *settings,
                                   const double *rates, const double *momenta, int threads, mlp_poll poll,
                                   void *context);

typedef struct {
    size_t size;
    int64_t first, count;            // minibatches [first, first + count) of the epoch, or as many of them as there are
    int64_t batch_size;              // 0: that of the trainer
    const double *rates, *momenta;   // of each of these minibatches, as for mlp_train_epoch; or NULL
    // Rows of dropout probabilities, (count, n_layers + 1): of X, then of the outputs of each layer; and of l2, (count,
    // n_layers), in place of the sum of those of settings and layer. Or NULL for those of settings and layers.
    const double *dropout, *l2;
    // Not 0: the epoch has begun in calls with other data, and result is of the epoch so far although first is 0.
    int64_t goes_on;
} mlp_epoch_part;
MLP_INIT(mlp_epoch_part)

// Some minibatches of an epoch. Calls for one part after the other have the bits of one call; settings and layers may
// change in between. result is of the epoch so far: with first > 0 or goes_on it must hold what the call before has
// returned. data may be other data in each call, which has some of the epoch's minibatches: first counts from their
// first one.
MLP_API mlp_status mlp_train_epoch_part(mlp_trainer *trainer, mlp_result *result, const mlp_data *data,
                                        const int64_t *order, int64_t n_order, const mlp_epoch_part *part,
                                        const mlp_settings *settings, int threads, mlp_poll poll, void *context);

// One step with all rows of data as its minibatch; their number is independent of batch_size.
MLP_API mlp_status mlp_train_step(mlp_trainer *trainer, mlp_result *result, const mlp_data *data,
                                  const mlp_settings *settings, int threads, mlp_poll poll, void *context);

// ---- Gradients, and steps from them. mlp_gradient and then mlp_apply give the same bits as mlp_train_step ----

typedef struct {
    size_t size;
    double scale;       // factor of the sum over the rows; 0: 1 / (B mean_weight), see mlp_data
    int64_t first_row;  // number of the first row in a minibatch split over several calls: for dropout and noise
    int undisturbed;    // without dropout and noise
    int unpenalised;    // without l1 and l2, including those of layers
    int frozen_too;     // also for layers that are not trained, whose gradient is 0 otherwise
} mlp_gradient_options;
MLP_INIT(mlp_gradient_options)

// gradient = d J / d parameters of all rows of data as one minibatch: scaled, with penalties, 0 where a mask is 0. It
// has mlp_network_bytes bytes, aligned to the real type (fastest on a cache line). Nothing else changes, so the next
// call uses the same random numbers for dropout and noise. options may be NULL for zeros. Of settings it uses l1, l2,
// chunk_rows, input_dropout, input_noise, seed and check_finite. With MLP_*_NOT_FINITE gradient is partly written.
MLP_API mlp_status mlp_gradient(mlp_trainer *trainer, void *gradient, mlp_result *result, const mlp_data *data,
                                const mlp_gradient_options *options, const mlp_settings *settings, int threads,
                                mlp_poll poll, void *context);

// One step from a gradient, which counts as a minibatch. Clipping is applied, but gradient itself is not changed. l1
// and l2 of settings are ignored, since the gradient contains the penalties. With check_finite, returns
// MLP_DERIVATIVE_NOT_FINITE without changing anything if the gradient has NaN or infinity.
MLP_API mlp_status mlp_apply(mlp_trainer *trainer, const void *gradient, const mlp_settings *settings, int threads);

// ---- Random numbers for initial weights: out (count) = numbers [first, first + count) of (seed, stream) ----

// Uniform in [0, 1), multiples of 2^-53; and standard normal. By any thread; real-time safe.
MLP_API void mlp_random_uniform(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);
MLP_API void mlp_random_normal(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);

#ifdef __cplusplus
}
#endif

#endif
