// From delta of a minibatch to its gradient, and from the gradient to the parameters.
#ifndef MLP_UPDATE_H
#define MLP_UPDATE_H

#include "trainer.h"

// What makes a step of a gradient.
typedef struct {
    const mlp_settings *settings;
    double scale;         // of the sum over the rows: the one place of the 1/B
    double lr, momentum;  // of this step, which a schedule may set; the momentum of Adam is beta1
    int64_t t;            // of the optimizer: this step included
    int unpenalised;      // l1 and l2 count for nothing
} mlp_move;

// With the rate and the momentum of the settings, from a gradient that needs no scale.
static inline mlp_move mlp_move_of(const mlp_settings *settings, int64_t t) {
    mlp_move move = {.settings = settings, .scale = 1, .lr = settings->lr, .momentum = settings->momentum, .t = t};
    if (mlp_optimizer_rows[settings->optimizer].moved == MLP_MOVES_BETA1) move.momentum = settings->beta1;
    return move;
}

double mlp_gradient_scale(const mlp_data *data, double weight_sum, int64_t rows);

// All of these are called by each member, who does its part; they wait for each other inside where they must, but need
// not have done so after.

// The parameters of all layers that are trained, one step further, straight from delta of s. next: rows of the
// minibatch after it.
void mlp_update_parameters(mlp_step *s, mlp_trainer *t, const mlp_move *move, int64_t next);
// The gradient of s, one chunk, in one pass.
void mlp_store_gradient(const mlp_step *s, void *gradient, const mlp_move *move);
// What chunk `chunk` of the rows of s adds to the gradient of the sum of the losses.
void mlp_store_chunk(const mlp_step *s, void *sum, int64_t chunk);
// Joins the last of the sums with those before them, as far as the tree over `chunks` chunks goes by now.
void mlp_join_sums(const mlp_step *s, mlp_sums *sums, int64_t chunks);
// The gradient, from the sum of all chunks.
void mlp_finish_gradient(const mlp_step *s, void *gradient, const mlp_move *move);
// The parameters of all layers that are trained, one step further from a gradient, shortened to clip_norm.
void mlp_apply_gradient(mlp_step *s, mlp_trainer *t, const void *gradient, const mlp_move *move);

#endif
