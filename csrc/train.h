// What the files of training share. train.c is the walk of an epoch, update.c what becomes of the gradient, trainer.c
// the memory behind both.
#ifndef MLP_TRAIN_H
#define MLP_TRAIN_H

#include <stdatomic.h>

#include "network.h"
#include "team.h"

// Room for the rows of a minibatch, or of one of its runs.
typedef struct {
    void **a;      // a[0] (rows, n_in) are the examples, a[l + 1] (rows, n_out) the output of layer l
    void **u;      // u[l] is a[l + 1] before dropout, where layer l has it; else NULL
    void **z;      // z[l] (rows, n_out of layer l) where the derivative is written in it, else NULL
    void **delta;  // delta[l] (rows, n_out of layer l)
    void **slope;  // slope[l] (n_out of layer l), the gradient of a prelu's slopes, or NULL
    double *row_loss, *row_correct;  // (rows), as mlp_kernels.loss has them
} mlp_workspace;

typedef struct {
    double loss, correct, exact;  // over the rows of a run
} mlp_run_sums;

// What there must be room for.
typedef struct {
    int64_t rows;  // in each workspace
    int workspaces, threads;
    int64_t runs, parts;  // of a minibatch; and how many of them have a gradient of their own
} mlp_room;

struct mlp_trainer {
    mlp_network *net;
    mlp_loss loss;
    int64_t batch_size;
    int lowest_trainable;  // no residual is needed below this layer

    mlp_room room;
    size_t bytes;  // of block, which all of these are in
    void *block;
    mlp_workspace *workspaces;
    mlp_run_sums *run_sums;
    void *parts;           // gradients of the runs, each laid out as the parameters, one after the other
    size_t scratch_bytes;  // for each thread
    char *scratch;

    mlp_optimizer optimizer;       // whose state it is
    void *state[MLP_MOST_STATES];  // each laid out as the network's parameters; NULL until they are needed
    int64_t steps;                 // since the state began
    void *gradient;    // of the parameters, laid out as they are; NULL until it is needed
    double *squares;   // of the gradient: for each layer n_in + 2, of the rows of W, of b and of the slopes; or NULL
    int64_t minibatches;  // ever trained on: dropout and noise differ from one to the next
};

// What the members of a team share during an epoch. rank 0 alone writes the result.
typedef struct {
    mlp_trainer *trainer;
    const mlp_data *data;
    const int64_t *order;
    int64_t n;  // rows of the epoch
    const mlp_settings *settings;
    const double *rates, *momenta;  // of each minibatch, or NULL
    int64_t batch_size;
    int by_runs;          // see each_run
    mlp_result *result;
    mlp_poll poll;
    void *context;
    double flops_per_row, flops_since_poll;
    int steps_since_poll;
    double weight_sum;  // of the minibatch
    int64_t steps_before, minibatches_before;  // this epoch
    atomic_int stop;    // an mlp_status; written before a barrier, read after it
} mlp_epoch;

// One minibatch, or a run of it, as a member sees it.
typedef struct {
    mlp_epoch *epoch;
    mlp_trainer *trainer;
    const mlp_network *net;
    const mlp_kernels *kernels;
    mlp_member *me, *sharing;  // me in the team, and among those who work on these rows: the team, or I alone
    const mlp_workspace *space;
    const int64_t *index;  // of its examples, or NULL
    int64_t first, rows, first_row;  // in the data; how many; where they begin in the minibatch
    int64_t number;        // of the minibatch in the epoch
    int own_rows;          // since the last barrier this member has worked on its own rows alone
} mlp_step;

// ---- How a phase is split ----

// Wide outputs are split by columns, the same way in forward and update, so that each core keeps its own columns of W in
// its cache; narrow ones are split by rows.
static inline int64_t mlp_line_or(const mlp_step *s, int64_t cols) {
    int64_t line = 64 / (int64_t)s->kernels->real_size;
    return cols > line ? cols : line;
}

static inline int mlp_by_rows(const mlp_step *s, int64_t cols) {
    return cols < s->sharing->size * mlp_line_or(s, s->kernels->tile_cols);
}

// My block of a (rows, cols) output. Columns come in whole vectors and cache lines: no two members write to a line of W.
static inline mlp_block mlp_my_block(const mlp_step *s, int64_t rows, int64_t row_unit, int64_t cols) {
    mlp_block mine = {0, rows, 0, cols};
    if (mlp_by_rows(s, cols)) mlp_team_share(s->sharing, rows, row_unit, &mine.i0, &mine.i1);
    else mlp_team_share(s->sharing, cols, mlp_line_or(s, s->kernels->tile_cols / 2), &mine.j0, &mine.j1);
    return mine;
}

// Called before a phase: waits for the others unless the phase goes by rows, like all since the last barrier, and so
// reads what this member itself has written.
static inline void mlp_await_others(mlp_step *s, int goes_by_rows) {
    if (!(s->own_rows && goes_by_rows)) mlp_team_barrier(s->sharing);
    s->own_rows = goes_by_rows;
}

static inline void *mlp_my_scratch(const mlp_step *s) {
    return s->trainer->scratch + (size_t)s->me->rank * s->trainer->scratch_bytes;
}

static inline int mlp_leads(const mlp_step *s) { return s->me->rank == 0; }

// ---- update.c ----

// The parameters of all layers that are trained, one step further, from the residuals of the minibatch or, by_runs, from
// the parts of its gradient. Members need not have waited for each other after this.
void mlp_update_parameters(mlp_step *s);
// What the rows of s, one run, add to the gradient of the sum of the losses: part number `run`.
void mlp_store_part(const mlp_step *s, int64_t run);

// ---- trainer.c ----

int mlp_states_of(const mlp_settings *settings);  // numbers the optimizer keeps for each parameter
mlp_status mlp_trainer_make_room(mlp_trainer *trainer, mlp_room room, const mlp_settings *settings);

#endif
