// The traits of activations, losses and optimizers, from the rows of vocabulary.h: for the core and its binding.
#ifndef MLP_TRAITS_H
#define MLP_TRAITS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "vocabulary.h"

typedef struct {
    const char *name;  // NULL if no row has this number
    unsigned traits;
    double least_alpha;
} mlp_activation_row;
extern const mlp_activation_row mlp_activation_rows[MLP_ACTIVATIONS];

static inline int mlp_has(mlp_activation g, unsigned traits) { return (mlp_activation_rows[g].traits & traits) != 0; }

// The values that y may have.
typedef enum {
    MLP_Y_NUMBERS,        // any
    MLP_Y_NOT_NEGATIVE,
    MLP_Y_DISTRIBUTIONS,  // rows of probabilities that sum to 1
    MLP_Y_PROBABILITIES,  // from 0 to 1
    MLP_Y_SIGNS,          // -1 and +1
} mlp_y;

#define MLP_OUTPUT(NAME) (UINT64_C(1) << MLP_##NAME)  // in the set of output activations of a loss

typedef struct {
    const char *name;
    mlp_y y;
    unsigned traits;
    uint64_t outputs;     // the output activations that it can be used with; 0: any
    uint64_t natural;     // the g with delta_L = g(z_L) - y, whose g' is the Hessian (for NaturalGradient); 0: none
    double above, below;  // its parameter is in (above, below); equal if it has none
} mlp_loss_row;
extern const mlp_loss_row mlp_loss_rows[MLP_LOSSES];

static inline int mlp_loss_has(mlp_loss_kind loss, unsigned traits) {
    return (mlp_loss_rows[loss].traits & traits) != 0;
}
static inline int mlp_goes_with(mlp_loss_kind loss, mlp_activation output) {
    uint64_t outputs = mlp_loss_rows[loss].outputs;
    return outputs == 0 || (outputs >> output & 1);
}

// The setting besides lr that a schedule may change.
typedef enum { MLP_MOVES_NOTHING, MLP_MOVES_MOMENTUM, MLP_MOVES_BETA1 } mlp_moved;

typedef struct {
    const char *name;
    int states;
    mlp_moved moved;
    unsigned traits;
} mlp_optimizer_row;
extern const mlp_optimizer_row mlp_optimizer_rows[MLP_OPTIMIZERS];

// Whether a row has this number.
static inline int mlp_is_activation(mlp_activation g) {
    return (unsigned)g < MLP_ACTIVATIONS && mlp_activation_rows[g].name != NULL;
}
static inline int mlp_is_loss(mlp_loss_kind loss) {
    return (unsigned)loss < MLP_LOSSES && mlp_loss_rows[loss].name != NULL;
}
static inline int mlp_is_optimizer(mlp_optimizer o) {
    return (unsigned)o < MLP_OPTIMIZERS && mlp_optimizer_rows[o].name != NULL;
}

#endif
