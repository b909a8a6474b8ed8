// A minibatch, or a chunk of one, on its way through the layers: forward, loss, and delta downwards.
// Training, prediction (forward alone) and mlp_gradient go this way.
#ifndef MLP_STEP_H
#define MLP_STEP_H

#include <stdatomic.h>

#include "loss.h"
#include "minibatch.h"
#include "team.h"

// Memory for the rows of a step.
typedef struct {
    void **a;      // a[l] (rows, n_out) the output of layer l
    void **u;      // u[l] is a[l] before dropout, where layer l has it; else NULL
    void **z;      // z[l] (rows, n_out) where the derivative is written in it, else NULL
    void **delta;  // delta[l] (rows, n_out of layer l); delta is NULL where it is not wanted
    void **slope;  // slope[l] (chunks of the rows, n_out of layer l), the gradient of a prelu's slopes, or NULL
    double *row_loss, *row_correct;  // (rows), as mlp_kernels.loss has them
    mlp_row_buffers gathered;
} mlp_workspace;

// What a call of the core wants of its steps.
typedef struct {
    const mlp_network *net;
    const mlp_loss *loss;  // NULL: the outputs alone
    int lowest;            // no delta is needed below this layer
    int frozen_too;        // the gradient of layers that are not trained is wanted too
    int64_t chunk_rows;
    int drops;             // dropout, and in training noise; without, what follows counts for nothing
    double input_dropout, input_noise;
    uint64_t seed;
    int check_finite;
    double flops_per_row;
    mlp_poll poll;
    void *context;         // of poll, and of functions of the caller's
    atomic_int stop;       // an mlp_status: the step is given up
} mlp_pass;

// The rows of a step as a member of a team sees them.
typedef struct {
    mlp_pass *pass;
    const mlp_network *net;
    const mlp_kernels *kernels;
    const mlp_workspace *space;
    const mlp_examples *examples;
    mlp_minibatch batch;
    int64_t first_row;    // where they begin in the minibatch
    int64_t number;       // of the minibatch, for the numbers of dropout and noise
    mlp_member *sharing;  // I among those who work on these rows: the team, or I alone
    int leads;            // rank 0 of the team
    int by_rows;         // since the last barrier this member has worked on its own rows alone
    void *scratch;        // this thread's, see mlp_kernels.scratch_bytes
} mlp_step;

// A phase of a step is a function of (step, layer, part): part `number` of `of` equal ones. Parts may be worked on at
// once, by anyone; the scratch memory is the worker's.
typedef struct {
    int number, of;
    void *scratch;
} mlp_part;

static inline mlp_part mlp_my_part(const mlp_step *s) {
    return (mlp_part){s->sharing->rank, s->sharing->size, s->scratch};
}

// Wide outputs are split by columns, the same way in forward and update, so that each core keeps its own columns of W
// in its cache; narrow ones are split by rows.
static inline int64_t mlp_line_or(const mlp_kernels *k, int64_t cols) {
    int64_t line = 64 / (int64_t)k->real_size;
    return cols > line ? cols : line;
}

static inline int mlp_by_rows(const mlp_kernels *k, int parts, int64_t cols) {
    return cols < parts * mlp_line_or(k, k->nr);
}

// A part's block of a (rows, cols) output. Columns come in whole vectors and cache lines: no two parts write to a line
// of W.
static inline mlp_block mlp_block_of(const mlp_kernels *k, mlp_part part, int64_t rows, int64_t row_unit,
                                     int64_t cols) {
    mlp_block block = {0, rows, 0, cols};
    if (part.of == 1) return block;
    if (mlp_by_rows(k, part.of, cols)) mlp_share(part.number, part.of, rows, row_unit, &block.i0, &block.i1);
    else mlp_share(part.number, part.of, cols, mlp_line_or(k, k->nr / 2), &block.j0, &block.j1);
    return block;
}

// Called before a phase: waits for the others unless the phase goes by rows, like all since the last barrier, and so
// reads what this member itself has written.
static inline void mlp_await_others(mlp_step *s, int goes_by_rows) {
    if (!(s->by_rows && goes_by_rows)) mlp_team_barrier(s->sharing);
    s->by_rows = goes_by_rows;
}

static inline int mlp_stopped(const mlp_pass *pass) {
    return atomic_load_explicit(&pass->stop, memory_order_relaxed) != MLP_OK;
}

// By a signal, or a function of the caller's that has failed: not for what a loss is.
static inline int mlp_interrupted(const mlp_pass *pass) {
    return atomic_load_explicit(&pass->stop, memory_order_relaxed) == MLP_INTERRUPTED;
}

// Of several reasons the first of the enum counts, whichever member comes first.
void mlp_stop(mlp_pass *pass, mlp_status why);

// Whether a phase may be left out, because the step will be given up. Members may see this at different times; they all
// go on through the barriers, and agree once delta is there.
int mlp_given_up(const mlp_step *s);

const void *mlp_input_of(const mlp_step *s, int l);  // (rows, n_in): of layer 0 the rows of X, else the outputs below

// The minibatch comes to its place, and is disturbed by noise and dropout.
void mlp_step_gather(mlp_step *s);
// a[l] of all layers; of the last one z, if the loss contains its activation.
void mlp_step_forward(mlp_step *s);
// row_loss and row_correct, and of the last layer delta, unless the space has none; not of a loss of the caller's.
void mlp_step_loss(mlp_step *s);
// All of this of any loss, and delta of the layers down to pass->lowest; nothing has changed yet.
void mlp_step_backward(mlp_step *s);

#endif
