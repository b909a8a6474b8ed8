// A trainer's memory: workspaces for minibatches, gradients, and the optimizer's state.
#ifndef MLP_TRAINER_H
#define MLP_TRAINER_H

#include "chunks.h"
#include "step.h"

typedef struct {
    double loss, correct, exact;  // summed over the rows of a chunk
} mlp_chunk_sums;

// What the trainer's memory must be large enough for.
typedef struct {
    int64_t rows;          // per workspace
    mlp_row_bytes gathered;
    int workspaces, threads;
    int64_t chunks;        // per minibatch
    int64_t slopes;        // chunks per workspace, each of which has its gradient of the slopes
    int64_t sums;          // partial sums of gradients per workspace, see mlp_sums
    int has_gradient, has_squares;
} mlp_capacity;

struct mlp_trainer {
    mlp_network *net;
    mlp_loss loss;
    int64_t batch_size;

    mlp_capacity capacity;
    size_t bytes;  // size of block, which holds the following arrays
    void *block;
    mlp_workspace *workspaces;
    mlp_chunk_sums *chunk_sums;
    mlp_sums *sums;        // per workspace
    char *memory_of_sums;  // capacity.sums blocks per workspace, each laid out like the parameters
    size_t scratch_bytes;  // per thread
    char *scratch;

    mlp_optimizer optimizer;       // the optimizer that the state belongs to
    void *state[MLP_MOST_STATES];  // each laid out like the parameters; NULL until needed
    void *gradient;       // laid out like the parameters; NULL until needed
    double *squares;      // sums of squares of the gradient, n_in + 2 per layer (rows of W, b, slopes); NULL until used
    int64_t steps;        // minibatches trained on so far: part of the rng key of dropout and noise
    int64_t updates[];    // (n_layers) t of the optimizer: steps of each layer since its state was created
};

int mlp_states_of(const mlp_settings *settings);  // state arrays that the optimizer needs per parameter
// Makes the trainer's memory large enough for `capacity`, without changing parameters or state.
mlp_status mlp_trainer_ensure(mlp_trainer *trainer, mlp_capacity capacity);

#endif
