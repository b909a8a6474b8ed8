// The loss of a network: its arithmetic is in kernels/loss.inc.h, its traits are in vocabulary.h.
#ifndef MLP_LOSS_H
#define MLP_LOSS_H

#include "network.h"

// The activation between the output that the loss takes and a_L: identity if the loss contains the activation.
mlp_unit mlp_output_unit(const mlp_network *net, mlp_loss loss);

// MLP_BAD_ARGUMENT unless the loss has valid parameters and goes with the network's output, and labels or targets with
// both.
mlp_status mlp_check_loss(const mlp_network *net, const mlp_data *data, mlp_loss loss);

#endif
