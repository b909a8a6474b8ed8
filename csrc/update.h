// The gradient from delta of a minibatch, and the update of the parameters from the gradient.
#ifndef MLP_UPDATE_H
#define MLP_UPDATE_H

#include "trainer.h"

// How a gradient becomes a step.
typedef struct {
    const mlp_settings *settings;
    double scale;         // of the sum over the rows: 1/B, see mlp_gradient_scale
    double lr, momentum;  // for this step; what a schedule may change beside the rate: of Adam beta1
    int64_t t;            // steps of the optimizer in this call, including this one
    int unpenalised;      // without l1 and l2
    const double *l2;     // (n_layers) in place of those of settings and layers; or NULL
} mlp_move;

// With the rate and the momentum of the settings, from a gradient that needs no scale.
static inline mlp_move mlp_move_of(const mlp_settings *settings, int64_t t) {
    mlp_move move = {.settings = settings, .scale = 1, .lr = settings->lr, .momentum = settings->momentum, .t = t};
    if (mlp_optimizer_rows[settings->optimizer].moved == MLP_MOVES_BETA1) move.momentum = settings->beta1;
    return move;
}

// (l2/2) sum W^2 over the trainable layers, for a trainer with squares.
double mlp_l2_penalty(mlp_step *s, const mlp_trainer *t, const mlp_move *move);

double mlp_gradient_scale(const mlp_data *data, double weight_sum, int64_t rows);

// One step of the parameters of all trainable layers from delta of s, fused with the gradient. next: number of rows of
// the next minibatch, for prefetching.
void mlp_update_parameters(mlp_step *s, mlp_trainer *t, const mlp_move *move, int64_t next);
// The gradient of s, which is a single chunk.
void mlp_store_gradient(mlp_step *s, void *gradient, const mlp_move *move);
// sum = the gradient of the sum of the losses over chunk `chunk` of the rows of s.
void mlp_store_chunk(mlp_step *s, void *sum, int64_t chunk);
// Adds the last sums to their siblings in the tree over `chunks` chunks, as long as both are complete.
void mlp_join_sums(mlp_step *s, mlp_sums *sums, int64_t chunks);
// Turns the sum over all chunks into the gradient: scale, penalties, masks.
void mlp_finish_gradient(mlp_step *s, void *gradient, const mlp_move *move);
// One step of the parameters of all trainable layers from a gradient, clipped to clip_norm.
void mlp_apply_gradient(mlp_step *s, mlp_trainer *t, const void *gradient, const mlp_move *move);

#endif
