// A trainer's memory: workspaces for minibatches, gradients, and the optimizer's state.
#ifndef MLP_TRAINER_H
#define MLP_TRAINER_H

#include "chunks.h"
#include "step.h"

typedef struct {
    double loss, correct, exact;  // over the rows of a chunk
} mlp_chunk_sums;

// What the memory must suffice for.
typedef struct {
    int64_t rows;          // in each workspace
    mlp_row_bytes gathered;
    int workspaces, threads;
    int64_t chunks;        // of a minibatch
    int64_t slopes;        // chunks in a workspace: each has a gradient of the slopes of its own
    int64_t sums;          // of gradients, in each workspace
    int has_gradient, has_squares;
} mlp_capacity;

struct mlp_trainer {
    mlp_network *net;
    mlp_loss loss;
    int64_t batch_size;
    int lowest_trainable;

    mlp_capacity capacity;
    size_t bytes;  // of block, which all of these are in
    void *block;
    mlp_workspace *workspaces;
    mlp_chunk_sums *chunk_sums;
    mlp_sums *sums;     // of each workspace: which there are
    char *memory_of_sums;  // each laid out as the parameters
    size_t scratch_bytes;  // for each thread
    char *scratch;

    mlp_optimizer optimizer;       // whose state it is
    void *state[MLP_MOST_STATES];  // each laid out as the network's parameters; NULL until they are needed
    int64_t updates;               // t of the optimizer: since its state began
    void *gradient;       // of the parameters, laid out as they are; NULL until it is needed
    double *squares;      // of the gradient: for each layer n_in + 2, of the rows of W, of b and of the slopes; or NULL
    int64_t steps;        // minibatches ever trained on: dropout and noise differ from one to the next
};

int mlp_states_of(const mlp_settings *settings);  // numbers the optimizer keeps for each parameter
mlp_status mlp_trainer_ensure(mlp_trainer *trainer, mlp_capacity capacity);

#endif
