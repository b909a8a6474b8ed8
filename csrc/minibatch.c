// A minibatch: the rows of X, the labels or targets, and the weights of some examples.
//
// Contiguous rows of the network's dtype are read in place, unless inputs are transformed. All others are gathered,
// once.
#include "build.h"
#include "minibatch.h"

#include <string.h>

mlp_status mlp_check_data(const mlp_network *net, const mlp_data *data) {
    if (!data) return MLP_BAD_ARGUMENT;  // a struct of no known size
    if (data->n < 0 || data->y_bytes < 0 || data->target_cols < 0 || (data->n > 0 && !data->X)) return MLP_BAD_ARGUMENT;
    if (!(data->mean_weight >= 0)) return MLP_BAD_ARGUMENT;
    if ((unsigned)data->x_type > MLP_UINT8) return MLP_BAD_ARGUMENT;
    size_t bytes = 0;
    mlp_reserve(&bytes, data->n, net->widest, sizeof(double));
    mlp_reserve(&bytes, data->n, data->y_bytes, 1);
    mlp_reserve(&bytes, data->n, data->target_cols, sizeof(double));
    if (bytes == SIZE_MAX) return MLP_TOO_LARGE;
    for (int64_t i = 0; data->x_rows && i < data->n; i++) {
        if (data->x_rows[i] < 0 || data->x_rows[i] >= data->n_x) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}

int64_t mlp_target_columns(const mlp_network *net, const mlp_data *data) {
    return data->target_cols ? data->target_cols : net->layers[net->n_layers - 1].spec.n_out;
}

static int copies_x(const mlp_examples *from) {
    return from->order || from->data->x_rows || from->changes_x || from->data->x_type != from->net->dtype ||
           from->net->input_mean;
}

mlp_row_bytes mlp_bytes_of_rows(const mlp_examples *from) {
    const mlp_data *data = from->data;
    int64_t real = (int64_t)mlp_size_of(from->net->dtype), cols = mlp_target_columns(from->net, data);
    mlp_row_bytes of = {{0}};
    if (copies_x(from)) of.bytes[MLP_ROWS_X] = from->net->layers[0].spec.n_in * real;
    if (!from->order) return of;
    if (data->x_rows) of.bytes[MLP_ROWS_X_INDEX] = sizeof *data->x_rows;
    if (data->labels) of.bytes[MLP_ROWS_LABELS] = sizeof *data->labels;
    if (data->targets) of.bytes[MLP_ROWS_TARGETS] = cols * real;
    if (data->y) of.bytes[MLP_ROWS_Y] = data->y_bytes;
    if (data->weights) of.bytes[MLP_ROWS_WEIGHTS] = real;
    if (data->entry_weights) of.bytes[MLP_ROWS_ENTRY_WEIGHTS] = cols * real;
    return of;
}

// The arrays of mlp_data, indexed like mlp_row_buffers.
typedef struct {
    const void *array[MLP_ROW_ARRAYS];
} sources;

static sources sources_of(const mlp_data *data) {
    return (sources){{data->X, data->x_rows, data->labels, data->targets, data->y, data->weights,
                      data->entry_weights}};
}

mlp_truth mlp_truth_from(const mlp_network *net, const mlp_truth *truth, int64_t i0) {
    int64_t cols = truth->target_cols;
    mlp_truth from = {.one_hot = truth->one_hot, .target_cols = cols};
    if (truth->labels) from.labels = truth->labels + i0;
    if (truth->targets) from.targets = mlp_row(truth->targets, net->dtype, i0, cols);
    if (truth->weights) from.weights = mlp_row(truth->weights, net->dtype, i0, 1);
    if (truth->entry_weights) from.entry_weights = mlp_row(truth->entry_weights, net->dtype, i0, cols);
    return from;
}

void mlp_minibatch_at(mlp_minibatch *m, const mlp_examples *from, int64_t first, int64_t rows,
                      const mlp_row_buffers *buffers) {
    const mlp_data *data = from->data;
    void *const *array = buffers->array;
    int64_t cols = mlp_target_columns(from->net, data);
    m->first = first, m->rows = rows, m->buffers = buffers;
    m->x = array[MLP_ROWS_X];
    if (!copies_x(from)) m->x = mlp_row(data->X, data->x_type, first, from->net->layers[0].spec.n_in);
    if (from->order) {
        m->truth = (mlp_truth){.labels = array[MLP_ROWS_LABELS], .targets = array[MLP_ROWS_TARGETS],
                               .y = array[MLP_ROWS_Y], .weights = array[MLP_ROWS_WEIGHTS], .one_hot = data->one_hot,
                               .entry_weights = array[MLP_ROWS_ENTRY_WEIGHTS], .target_cols = cols};
    } else {
        const mlp_truth all = {.labels = data->labels, .targets = data->targets, .weights = data->weights,
                               .one_hot = data->one_hot, .entry_weights = data->entry_weights, .target_cols = cols};
        m->truth = mlp_truth_from(from->net, &all, first);
        if (data->y) m->truth.y = (const char *)data->y + (size_t)first * (size_t)data->y_bytes;
    }
}

// Rows [i0, i1) of `to`: row i is row index[i] of `from`. Rows of 4 and 8 bytes, the usual case, avoid calls of memcpy.
static void copy_rows(char *to, const char *from, size_t bytes, const int64_t *index, int64_t i0, int64_t i1) {
    if (bytes == 4) {
        for (int64_t i = i0; i < i1; i++) memcpy(to + i * 4, from + index[i] * 4, 4);
    } else if (bytes == 8) {
        for (int64_t i = i0; i < i1; i++) memcpy(to + i * 8, from + index[i] * 8, 8);
    } else {
        for (int64_t i = i0; i < i1; i++) memcpy(to + (size_t)i * bytes, from + (size_t)index[i] * bytes, bytes);
    }
}

int mlp_gather(const mlp_examples *from, const mlp_minibatch *to, int64_t i0, int64_t i1, int checks) {
    const mlp_data *data = from->data;
    int64_t n_in = from->net->layers[0].spec.n_in;
    const int64_t *index = from->order ? from->order + to->first : NULL;
    if (!copies_x(from) && !checks) return 1;
    const mlp_row_bytes of = mlp_bytes_of_rows(from);
    const sources source = sources_of(data);
    for (int k = MLP_ROWS_X_INDEX; index && k < MLP_ROW_ARRAYS; k++) {
        if (of.bytes[k]) copy_rows(to->buffers->array[k], source.array[k], (size_t)of.bytes[k], index, i0, i1);
    }
    char *x = of.bytes[MLP_ROWS_X] ? (char *)to->buffers->array[MLP_ROWS_X] + i0 * of.bytes[MLP_ROWS_X] : NULL;
    if (data->x_rows) index = from->order ? to->buffers->array[MLP_ROWS_X_INDEX] : data->x_rows + to->first;
    const void *X = index ? data->X : mlp_row(data->X, data->x_type, to->first + i0, n_in);
    const mlp_network *net = from->net;
    if (index) index += i0;
    if (!net->input_mean) return net->kernels->gather(x, X, data->x_type, data->x_scale, index, i1 - i0, n_in);
    return net->kernels->transform(x, X, data->x_type, data->x_scale, net->input_mean, net->input_scale, index, i1 - i0,
                                   n_in);
}

double mlp_sum_of_weights(const mlp_examples *from, int64_t first, int64_t rows) {
    const void *weights = from->data->weights;
    if (!weights) return (double)rows;
    double sum = 0;
    for (int64_t i = first; i < first + rows; i++) {
        sum += mlp_number(weights, from->net->dtype, from->order ? from->order[i] : i);
    }
    return sum;
}

mlp_prefetch mlp_prefetch_of(const mlp_examples *from, int64_t first, int64_t i0, int64_t i1, int64_t tiles) {
    const mlp_data *data = from->data;
    int64_t n_in = from->net->layers[0].spec.n_in;
    mlp_prefetch prefetch = {.row_bytes = n_in * (int64_t)mlp_size_of(data->x_type), .row = i0, .rows = i1};
    prefetch.X = data->X;
    if (from->order) prefetch.index = from->order + first, prefetch.place = data->x_rows;
    else if (data->x_rows) prefetch.index = data->x_rows + first;
    else prefetch.X = mlp_row(data->X, data->x_type, first, n_in);
    prefetch.lines = (int)((i1 - i0) * (prefetch.row_bytes / 64 + 1) / (tiles > 0 ? tiles : 1)) + 1;
    return prefetch;
}
