// Every activation, loss and optimizer of csrc/vocabulary.h, for the tests: a row that is added there is tested by
// itself.
#ifndef MLP_TEST_EVERY_H
#define MLP_TEST_EVERY_H

#include "kernel_table.h"
#include "sizes.h"

// The i-th activation other than custom, cyclically.
static inline mlp_activation nth_activation(int i) {
    mlp_activation all[MLP_ACTIVATIONS];
    int n = 0;
    for (int g = 0; g < MLP_ACTIVATIONS; g++) {
        if (mlp_is_activation((mlp_activation)g) && g != MLP_CUSTOM_ACTIVATION) all[n++] = (mlp_activation)g;
    }
    return all[i % n];
}

#define KNOWN_ACTIVATIONS (MLP_ACTIVATIONS - 1)  // without custom: the number of calls of nth_activation to see all

// Every loss other than custom whose y has a column for each output, those with MLP_SMOOTHS also with label smoothing;
// returns their number.
#define MOST_LOSSES (2 * MLP_LOSSES)
static inline int list_losses(mlp_loss *losses) {
    int n = 0;
    for (int kind = 0; kind < MLP_LOSSES; kind++) {
        const mlp_loss_row *row = &mlp_loss_rows[kind];
        if (!mlp_is_loss((mlp_loss_kind)kind) || kind == MLP_CUSTOM_LOSS) continue;
        if (row->traits & MLP_OWN_Y) continue;  // with tests of their own
        mlp_loss loss = {LOSS, .kind = (mlp_loss_kind)kind};
        int bounded = row->below < HUGE_VAL;
        if (row->above < row->below) {
            loss.parameter = bounded ? 0.2 * row->above + 0.8 * row->below : row->above + 0.5;
        }
        losses[n++] = loss;
        loss.label_smoothing = 0.1;
        if (row->traits & MLP_SMOOTHS) losses[n++] = loss;
    }
    return n;
}

// The i-th output activation, cyclically, that fits the loss and has a nonzero derivative.
static inline mlp_activation nth_output(mlp_loss_kind loss, int i) {
    mlp_activation all[MLP_ACTIVATIONS];
    int n = 0;
    for (int j = 0; j < KNOWN_ACTIVATIONS; j++) {
        mlp_activation g = nth_activation(j);
        int learns = mlp_loss_has(loss, MLP_OF_Z) || !mlp_has(g, MLP_STOPS);
        if (mlp_goes_with(loss, g) && learns) all[n++] = g;
    }
    return all[i % n];
}

#endif
