// Whether a loss goes with a network and with y, and what it makes of the output's activation.
#include "loss.h"

mlp_unit mlp_output_unit(const mlp_network *net, mlp_loss loss) {
    const mlp_layer *last = &net->layers[net->n_layers - 1];
    return mlp_loss_has(loss.kind, MLP_OF_Z) ? (mlp_unit){.kind = MLP_IDENTITY} : mlp_unit_of(last);
}

static int parameters_fit(mlp_loss loss) {
    const mlp_loss_row *row = &mlp_loss_rows[loss.kind];
    if (loss.kind == MLP_CUSTOM_LOSS && !loss.custom.rows) return 0;
    if (row->above < row->below && !(loss.parameter > row->above && loss.parameter < row->below)) return 0;
    if (loss.label_smoothing == 0) return 1;
    return row->traits & MLP_SMOOTHS && loss.label_smoothing > 0 && loss.label_smoothing <= 1;
}

mlp_status mlp_check_loss(const mlp_network *net, const mlp_data *data, mlp_loss loss) {
    const mlp_layer_spec *last = &net->layers[net->n_layers - 1].spec;
    if (!mlp_is_loss(loss.kind) || !parameters_fit(loss)) return MLP_BAD_ARGUMENT;
    if (!mlp_goes_with(loss.kind, last->activation)) return MLP_BAD_ARGUMENT;
    // Slopes learn from d loss / d a.
    int skips_a = loss.kind == MLP_CUSTOM_LOSS && loss.custom.of_z;
    if (skips_a && mlp_has(last->activation, MLP_LEARNS_ALPHA)) return MLP_BAD_ARGUMENT;
    if (data->n == 0 || loss.kind == MLP_CUSTOM_LOSS) return MLP_OK;
    if (!data->labels == !data->targets) return MLP_BAD_ARGUMENT;  // exactly one of the two
    if (!data->labels) return MLP_OK;
    if (!mlp_loss_has(loss.kind, MLP_BY_CLASS)) return MLP_BAD_ARGUMENT;
    if (mlp_has(last->activation, MLP_STOPS)) return MLP_BAD_ARGUMENT;  // of signs none is the largest
    for (int64_t i = 0; i < data->n; i++) {
        if (data->labels[i] < 0 || data->labels[i] >= last->n_out) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}
