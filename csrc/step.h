// A step: forward, loss and backward pass of a minibatch, or of a chunk of one.
// Used by training, by prediction (only forward) and by mlp_gradient.
#ifndef MLP_STEP_H
#define MLP_STEP_H

#include <stdatomic.h>

#include "loss.h"
#include "minibatch.h"
#include "crew.h"

// Arrays for the rows of a step.
typedef struct {
    void **a;      // a[l] (rows, n_out): the output of layer l
    void **u;      // u[l]: a[l] before dropout, or NULL if layer l never has dropout
    void **z;      // z[l] (rows, n_out): with MLP_IN_Z, else NULL
    void **delta;  // delta[l] (rows, n_out); delta itself is NULL without a backward pass
    void **slope;  // slope[l] (chunks of the rows, n_out): the gradient of learned slopes, or NULL
    double *row_loss, *row_correct;  // (rows), as mlp_kernels.loss has them
    void *joined;  // mlp_joined_bytes, for losses with MLP_JOINS
    mlp_row_buffers gathered;
} mlp_workspace;

// Settings and state that all steps of one call share.
typedef struct {
    const mlp_network *net;
    const mlp_loss *loss;  // NULL: the outputs alone
    int lowest;            // the lowest layer whose delta is needed
    int frozen_too;        // also compute the gradient of layers that are not trained
    int64_t chunk_rows;
    int drops;             // 0: no dropout and noise; the following three are then ignored
    double input_dropout, input_noise;
    uint64_t seed;
    int check_finite;
    double flops_per_row;
    mlp_poll poll;
    void *context;         // passed to poll and to custom functions
    atomic_int stop;       // an mlp_status; not MLP_OK: the call is to be stopped, see mlp_stop
} mlp_pass;

typedef struct mlp_step mlp_step;

// A phase of a step: computes one part of what it does to layer l.
typedef void mlp_phase(const mlp_step *s, int l, mlp_part part);

#define MLP_MOST_JOINED 32

struct mlp_step {
    mlp_pass *pass;
    const mlp_network *net;
    const mlp_kernels *kernels;
    const mlp_workspace *space;
    const mlp_examples *examples;
    int64_t first_row;    // number of the first row in the minibatch
    int64_t number;       // of the minibatch: part of the rng key of dropout and noise
    const double *dropout;  // (n_layers + 1) of X, then of each layer; or NULL for those of pass and layers
    mlp_call *call;       // NULL: phases have a single part
    int parts;            // into which phases are cut
    int polls;            // whether this thread may call mlp_poll
    char *scratch;        // of each part, see mlp_kernels.scratch_bytes
    size_t scratch_bytes;
    int n_joined;         // phases split by rows that are still to be computed, see mlp_step_phase
    // From here on, what a step without parts need not clear, which takes longer than the rest of a small one.
    mlp_minibatch batch;
    struct {
        mlp_phase *phase;
        int layer;
    } joined[MLP_MOST_JOINED];
};

// Memory of whoever computes the part.
static inline void *mlp_scratch(const mlp_step *s, mlp_part part) {
    return s->scratch + (size_t)part.number * s->scratch_bytes;
}

// Computes all parts of a phase. Successive phases that are split by rows are joined: each part goes through all of
// them, since it reads only what it has written itself.
void mlp_step_phase(mlp_step *s, mlp_phase *phase, int l, int by_rows);
// Computes what is joined. Nothing outside of phases may read their output before.
void mlp_step_settle(mlp_step *s);
// The same for work that is not about a layer.
void mlp_step_run(mlp_step *s, mlp_work *work, void *context);

// `cols`, but at least a cache line.
static inline int64_t mlp_line_or(const mlp_kernels *k, int64_t cols) {
    int64_t line = 64 / (int64_t)k->real_size;
    return cols > line ? cols : line;
}

// Columns are split in units of this many: vectors and cache lines, so that no two parts write to the same line of W.
static inline int64_t mlp_column_unit(const mlp_kernels *k) { return mlp_line_or(k, k->nr / 2); }

// The longest part of n, in units of that many, when cut among `parts`, as mlp_share does, as a fraction of n.
static inline double mlp_longest_share(int parts, int64_t n, int64_t unit) {
    int64_t units = n / unit + (n % unit != 0), most = (units / parts + (units % parts != 0)) * unit;
    return most < n ? (double)most / (double)n : 1;
}

// A number that another core has written takes about as long to read as so many fused multiply-adds: at 12 GB/s, and 59
// billion a second of float32, half as many of float64 (Zen 4).
#define MLP_SHARED_READ 20

// Whether a (rows, cols) output of a product is split by rows. Then each part needs no rows of the other inputs, and
// successive products of the same rows need no barrier between them, but it reads all of W, of which the other parts
// have updated theirs; split by columns it is the other way round, and whole cache lines may share the columns
// unevenly. Both costs are divided by the number of terms of a sum.
static inline int mlp_by_rows(const mlp_kernels *k, int parts, int64_t rows, int64_t cols) {
    if (cols < parts * mlp_line_or(k, k->nr)) return 1;
    double sums = (double)rows * (double)cols, elsewhere = MLP_SHARED_READ * (1 - 1.0 / parts);
    double by_rows = sums * mlp_longest_share(parts, rows, 1) + elsewhere * (double)cols;
    double by_cols = sums * mlp_longest_share(parts, cols, mlp_column_unit(k)) + elsewhere * (double)rows;
    return by_rows < by_cols;
}

// A part's block of a (rows, cols) output.
static inline mlp_block mlp_block_of(const mlp_kernels *k, mlp_part part, int by_rows, int64_t rows, int64_t row_unit,
                                     int64_t cols) {
    int64_t i0 = 0, i1 = rows, j0 = 0, j1 = cols;
    if (part.of > 1 && by_rows) mlp_share(part, rows, row_unit, &i0, &i1);
    else if (part.of > 1) mlp_share(part, cols, mlp_column_unit(k), &j0, &j1);
    return (mlp_block){i0, i1, j0, j1};
}

static inline int mlp_stopped(const mlp_pass *pass) {
    return atomic_load_explicit(&pass->stop, memory_order_relaxed) != MLP_OK;
}

// Stopped by mlp_poll or by a custom function that failed, not by a value that is not finite.
static inline int mlp_interrupted(const mlp_pass *pass) {
    return atomic_load_explicit(&pass->stop, memory_order_relaxed) == MLP_INTERRUPTED;
}

// Requests that the call ends with status `why`. Of several reasons the first in the enum wins.
void mlp_stop(mlp_pass *pass, mlp_status why);

// Whether a phase may be skipped because the step will be discarded.
int mlp_step_interrupted(const mlp_step *s, mlp_part part);

const void *mlp_input_of(const mlp_step *s, int l);  // (rows, n_in): rows of X for layer 0, else the outputs below

// Gathers the minibatch and applies noise and dropout to X.
void mlp_step_gather(mlp_step *s);
// Computes a[l] of all layers; a of the last layer is z if the loss contains its activation.
void mlp_step_forward(mlp_step *s);
// Computes row_loss, row_correct, and delta of the last layer if the workspace has one. Not for custom losses.
void mlp_step_loss(mlp_step *s);
// Computes row_loss and row_correct of any loss, and delta of all layers down to pass->lowest.
void mlp_step_backward(mlp_step *s);

#endif
