// Whether a loss goes with a network and with y, and what it makes of the output's activation.
#include "build.h"
#include "loss.h"

#include "minibatch.h"

mlp_unit mlp_output_unit(const mlp_network *net, mlp_loss loss) {
    const mlp_layer *last = &net->layers[net->n_layers - 1];
    return mlp_loss_has(loss.kind, MLP_OF_Z) ? (mlp_unit){.kind = MLP_IDENTITY} : last->unit;
}

int64_t mlp_y_columns(mlp_loss loss, int64_t n) {
    int64_t most = 0;
    switch (loss.kind) {
    case MLP_GAUSSIAN_NLL: return n % 2 ? 0 : n / 2;
    case MLP_COX_PH: return n == 1 ? 2 : 0;
    case MLP_PER_OUTPUT:
        for (int64_t i = 0; i < loss.n_blocks; i++) {
            int64_t end = loss.blocks[i].y_first + mlp_y_columns_of_block(&loss.blocks[i]);
            most = end > most ? end : most;
        }
        return most;
    default: return n;
    }
}

int64_t mlp_y_columns_of_block(const mlp_loss_block *b) {
    return b->kind == MLP_CROSS_ENTROPY ? 1 : mlp_y_columns((mlp_loss){.kind = b->kind}, b->of.count);
}

static int numbers_fit(mlp_loss_kind kind, double parameter, double label_smoothing) {
    const mlp_loss_row *row = &mlp_loss_rows[kind];
    if (row->above < row->below && !(parameter > row->above && parameter < row->below)) return 0;
    if (label_smoothing == 0) return 1;
    return row->traits & MLP_SMOOTHS && label_smoothing > 0 && label_smoothing <= 1;
}

static int block_fits(const mlp_loss_block *b, int64_t n) {
    if (!mlp_is_loss(b->kind) || b->kind == MLP_CUSTOM_LOSS || b->kind == MLP_PER_OUTPUT) return 0;
    if (mlp_loss_has(b->kind, MLP_JOINS) || !numbers_fit(b->kind, b->parameter, b->label_smoothing)) return 0;
    if (!mlp_outputs_fit(&b->of, n) || !mlp_goes_with(b->kind, b->of.activation)) return 0;
    return b->factor > 0 && b->y_first >= 0 && b->y_first <= n && mlp_y_columns_of_block(b) > 0;
}

// Each output is in one block: delta is written there, and nowhere twice.
static int loss_blocks_fit(mlp_loss loss, int64_t n) {
    int64_t end = 0;
    if (!loss.blocks) return 0;
    for (int64_t i = 0; i < loss.n_blocks; i++) {
        if (!block_fits(&loss.blocks[i], n) || loss.blocks[i].of.first != end) return 0;
        end += loss.blocks[i].of.count;
    }
    return end == n && mlp_y_columns(loss, n) <= n;
}

static int parameters_fit(mlp_loss loss, int64_t n) {
    if (loss.kind == MLP_CUSTOM_LOSS && !loss.custom.rows) return 0;
    if (loss.kind == MLP_PER_OUTPUT && !loss_blocks_fit(loss, n)) return 0;
    return numbers_fit(loss.kind, loss.parameter, loss.label_smoothing);
}

// Whether the columns of y with class numbers hold such where they count.
static int classes_fit(const mlp_network *net, const mlp_data *data, mlp_loss loss, int64_t cols) {
    for (int64_t b = 0; b < loss.n_blocks; b++) {
        if (loss.blocks[b].kind != MLP_CROSS_ENTROPY) continue;
        for (int64_t i = 0; i < data->n; i++) {
            int64_t at = i * cols + loss.blocks[b].y_first;
            if (data->entry_weights && mlp_number(data->entry_weights, net->dtype, at) == 0) continue;
            double y = mlp_number(data->targets, net->dtype, at);
            if (!(y >= 0 && y < (double)loss.blocks[b].of.count) || y != (double)(int64_t)y) return 0;
        }
    }
    return 1;
}

static int targets_fit(const mlp_network *net, const mlp_data *data, mlp_loss loss, int64_t n_out) {
    int64_t cols = mlp_y_columns(loss, n_out);
    if (cols != mlp_target_columns(net, data)) return 0;  // which is at least 1
    if (data->entry_weights && !(data->weights && mlp_loss_has(loss.kind, MLP_BY_ENTRY))) return 0;
    return loss.kind != MLP_PER_OUTPUT || classes_fit(net, data, loss, cols);
}

mlp_status mlp_check_loss(const mlp_network *net, const mlp_data *data, mlp_loss loss) {
    const mlp_layer_spec *last = &net->layers[net->n_layers - 1].spec;
    if (!mlp_is_loss(loss.kind) || !parameters_fit(loss, last->n_out)) return MLP_BAD_ARGUMENT;
    if (!mlp_goes_with(loss.kind, last->activation)) return MLP_BAD_ARGUMENT;
    if (last->n_blocks && loss.kind != MLP_PER_OUTPUT) return MLP_BAD_ARGUMENT;
    // Slopes learn from d loss / d a.
    int skips_a = loss.kind == MLP_PER_OUTPUT || (loss.kind == MLP_CUSTOM_LOSS && loss.custom.of_z);
    if (skips_a && mlp_has(last->activation, MLP_LEARNS_ALPHA)) return MLP_BAD_ARGUMENT;
    if (data->n == 0 || loss.kind == MLP_CUSTOM_LOSS) return MLP_OK;
    if (!data->labels == !data->targets) return MLP_BAD_ARGUMENT;  // exactly one of the two
    if (!data->labels) return targets_fit(net, data, loss, last->n_out) ? MLP_OK : MLP_BAD_ARGUMENT;
    if (data->entry_weights || mlp_loss_has(loss.kind, MLP_OWN_Y)) return MLP_BAD_ARGUMENT;
    if (!mlp_loss_has(loss.kind, MLP_BY_CLASS)) return MLP_BAD_ARGUMENT;
    if (mlp_has(last->activation, MLP_STOPS)) return MLP_BAD_ARGUMENT;  // of signs none is the largest
    for (int64_t i = 0; i < data->n; i++) {
        if (data->labels[i] < 0 || data->labels[i] >= last->n_out) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}
