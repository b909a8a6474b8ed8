// The loss of a network: its arithmetic is in kernels/loss.inc.h, its traits are in vocabulary.h.
#ifndef MLP_LOSS_H
#define MLP_LOSS_H

#include "network.h"

// The activation between the output that the loss takes and a_L: identity if the loss contains the activation.
mlp_unit mlp_output_unit(const mlp_network *net, mlp_loss loss);

// MLP_BAD_ARGUMENT unless the loss has valid parameters and goes with the network's output, and labels or targets with
// both.
mlp_status mlp_check_loss(const mlp_network *net, const mlp_data *data, mlp_loss loss);

// The number of columns of y that a loss of n outputs needs; 0 if there is none for that n. Blocks are taken to be
// valid.
int64_t mlp_y_columns(mlp_loss loss, int64_t n);
int64_t mlp_y_columns_of_block(const mlp_loss_block *block);

// The losses with MLP_JOINS, of all rows together: row_loss (rows), weighted, and unless it is NULL delta (rows, n_out)
// = d sum of losses / d z_L, from out = z_L. Returns 0 if a loss is not finite. Rows of weight 0 do not enter, whatever
// their z_L. memory: mlp_joined_bytes, aligned like malloc's.
size_t mlp_joined_bytes(int64_t rows);
int mlp_joined_loss(void *delta, double *row_loss, const void *out, mlp_dtype dtype, const mlp_truth *truth,
                    int64_t rows, void *memory);

#endif
