// The tables of activations, losses and optimizers, from the rows in vocabulary.h.
#include "build.h"
#include "traits.h"

#define ACTIVATION(number, NAME, id, bits, ...) [number] = {.name = #id, .traits = bits, __VA_ARGS__},
const mlp_activation_row mlp_activation_rows[MLP_ACTIVATIONS] = {MLP_ACTIVATION_ROWS(ACTIVATION)};
_Static_assert(MLP_ACTIVATIONS <= 64, "each is a bit of mlp_loss_row.outputs");

#define LOSS(number, NAME, id, form, range, bits, ...) \
    [number] = {.name = #id, .y = range, .traits = bits, __VA_ARGS__},
const mlp_loss_row mlp_loss_rows[MLP_LOSSES] = {MLP_LOSS_ROWS(LOSS)};

#define OPTIMIZER(number, NAME, name, states, moved, traits) [number] = {#name, states, moved, traits},
const mlp_optimizer_row mlp_optimizer_rows[MLP_OPTIMIZERS] = {MLP_OPTIMIZER_ROWS(OPTIMIZER)};

#define STATES_FIT(number, NAME, name, states, ...) _Static_assert(states <= MLP_MOST_STATES, "raise MLP_MOST_STATES");
MLP_OPTIMIZER_ROWS(STATES_FIT)
