// What becomes of the gradient of a minibatch, in one of three ways that come to the same bits: each tile of it goes from
// its sums straight into the update; where the length of the whole decides, it is stored, measured and then used; and
// where members have worked on runs of their own, their parts are added up and then used.
#include <math.h>

#include "train.h"

// Rows of W that an update splits off at the least: fewer have too few chains of sums to hide the latency of an
// addition, and take as long. A multiple of tile_rows would leave a layer of 32 rows 28 to one member and 4 to the other.
#define UPDATE_ROWS 4

// The one place of the 1/B: gradients are means over the minibatch. With the mean weight of all rows of an epoch instead of
// the minibatch's own, the mean of its gradients, minibatches counted by their rows, is the gradient of the weighted loss
// of all. If all weights are zero, the loss has no gradient; momentum and penalties still act.
static double gradient_scale(const mlp_data *data, double weight_sum, int64_t rows) {
    if (data->mean_weight > 0) return 1 / ((double)rows * data->mean_weight);
    return weight_sum > 0 ? 1 / weight_sum : 0;
}

static mlp_update update_rule(const mlp_step *s, int l) {
    const mlp_settings *settings = s->epoch->settings;
    double scale = gradient_scale(s->epoch->data, s->epoch->weight_sum, s->rows);
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    double lr = s->epoch->rates ? s->epoch->rates[s->number] : settings->lr;
    int moves_beta1 = mlp_optimizer_rows[settings->optimizer].moved == MLP_MOVES_BETA1;
    double momentum = moves_beta1 ? settings->beta1 : settings->momentum;
    if (s->epoch->momenta) momentum = s->epoch->momenta[s->number];
    return (mlp_update){scale, settings, lr, momentum, settings->weight_decay, settings->l1 + spec->l1,
                        settings->l2 + spec->l2, s->epoch->steps_before + s->number + 1};
}

static mlp_parameter with_state(const mlp_trainer *t, void *values, const void *mask) {
    mlp_parameter p = {.values = values, .mask = mask};
    for (int i = 0; i < MLP_MOST_STATES; i++) p.state[i] = mlp_trainer_state(t, i, values);
    return p;
}

// Biases and slopes go with the columns, or, where W is split by rows, to the last member: rank 0 is busy with the loss.
static int has_vectors(const mlp_step *s, int l) {
    return !mlp_by_rows(s, s->net->layers[l].spec.n_out) || s->sharing->rank == s->sharing->size - 1;
}

static int64_t end_of_slopes(const mlp_layer *layer, mlp_block mine) {
    return layer->spec.one_slope && mine.j1 > 1 ? 1 : mine.j1;
}

// ---- Straight from the tiles ----

#define AHEAD_BYTES 32768  // a smaller minibatch is in the first-level cache before it can matter

// My part of the next minibatch, to be fetched during so many tiles: its rows lie anywhere in memory.
static mlp_ahead rows_ahead(const mlp_step *s, int64_t tiles) {
    const mlp_data *data = s->epoch->data;
    int64_t n_in = s->net->layers[0].spec.n_in, first = s->first + s->rows, rows = s->epoch->n - first, i0, i1;
    if (rows > s->epoch->batch_size) rows = s->epoch->batch_size;
    mlp_team_share(s->sharing, rows, 1, &i0, &i1);
    mlp_ahead ahead = {.row_bytes = n_in * (int64_t)mlp_size_of(data->x_type), .row = i0, .rows = i1};
    if (s->epoch->order) ahead.X = data->X, ahead.index = s->epoch->order + first;
    else ahead.X = mlp_row(data->X, data->x_type, first, n_in);
    if (rows * ahead.row_bytes < AHEAD_BYTES) ahead.rows = 0;
    ahead.lines = (int)((i1 - i0) * (ahead.row_bytes / 64 + 1) / (tiles > 0 ? tiles : 1)) + 1;
    return ahead;
}

static int64_t tiles_of(const mlp_step *s, mlp_block block) {
    int64_t rows = s->kernels->tile_rows, cols = s->kernels->tile_cols;
    return ((block.i1 - block.i0 + rows - 1) / rows) * ((block.j1 - block.j0 + cols - 1) / cols);
}

static void update(const mlp_step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    const mlp_trainer *t = s->trainer;
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_update rule = update_rule(s, l);
    mlp_block mine = mlp_my_block(s, n_in, UPDATE_ROWS, n_out);
    mlp_ahead ahead = {0};
    if (l == 0) ahead = rows_ahead(s, tiles_of(s, mine));
    s->kernels->update_weights(with_state(t, layer->W, layer->mask), layer->stride, s->space->a[l], s->space->delta[l],
                               s->rows, n_in, n_out, mine, &rule, &ahead, mlp_my_scratch(s));
    if (!has_vectors(s, l)) return;
    if (layer->b) {
        s->kernels->update_bias(with_state(t, layer->b, NULL), s->space->delta[l], s->rows, n_out, mine.j0, mine.j1, &rule);
    }
    if (layer->slopes) {  // their gradient is there: one row of it
        s->kernels->update_bias(with_state(t, layer->slopes, NULL), s->space->slope[l], 1, n_out, mine.j0,
                                end_of_slopes(layer, mine), &rule);
    }
}

// ---- Stored, and then used ----

static void store_gradient(const mlp_step *s, int l, void *block, const mlp_update *rule) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_block mine = mlp_my_block(s, n_in, UPDATE_ROWS, n_out);
    mlp_parameter W = {.values = layer->W, .mask = layer->mask};
    s->kernels->weight_gradient(mlp_in_block(s->net, block, layer->W), layer->stride, W, layer->stride, s->space->a[l],
                                s->space->delta[l], s->rows, n_in, n_out, mine, rule, mlp_my_scratch(s));
    if (!has_vectors(s, l)) return;
    if (layer->b) {
        void *b = mlp_in_block(s->net, block, layer->b);
        s->kernels->bias_gradient(b, s->space->delta[l], s->rows, n_out, mine.j0, mine.j1, rule);
    }
    if (layer->slopes) {
        s->kernels->bias_gradient(mlp_in_block(s->net, block, layer->slopes), s->space->slope[l], 1, n_out, mine.j0,
                                  end_of_slopes(layer, mine), rule);
    }
}

// A step from t->gradient, as far as it is not the gradient yet: times rule's scale, plus its penalties.
static void use_gradient(const mlp_step *s, int l, mlp_update rule) {
    const mlp_layer *layer = &s->net->layers[l];
    const mlp_trainer *t = s->trainer;
    void *W = mlp_in_block(s->net, t->gradient, layer->W);
    mlp_block mine = mlp_my_block(s, layer->spec.n_in, UPDATE_ROWS, layer->spec.n_out);
    s->kernels->apply_gradient(with_state(t, layer->W, layer->mask), W, layer->stride, mine, &rule);
    if (!has_vectors(s, l)) return;
    rule.weight_decay = rule.l1 = rule.l2 = 0;
    mlp_block vector = {0, 1, mine.j0, mine.j1};
    if (layer->b) {
        void *b = mlp_in_block(s->net, t->gradient, layer->b);
        s->kernels->apply_gradient(with_state(t, layer->b, NULL), b, 0, vector, &rule);
    }
    vector.j1 = end_of_slopes(layer, mine);
    if (layer->slopes && vector.j0 < vector.j1) {  // one slope for all is the first member's
        void *slopes = mlp_in_block(s->net, t->gradient, layer->slopes);
        s->kernels->apply_gradient(with_state(t, layer->slopes, NULL), slopes, 0, vector, &rule);
    }
}

// ---- Clipped by its length ----

// One number for each row of W, then one for b and one for the slopes; those of the next layer follow.
static int64_t squares_in(const mlp_layer *layer) { return layer->spec.n_in + 2; }

// Of the gradient times `factor`, a power of two.
static void measure_gradient(const mlp_step *s, int l, double *squares, double factor) {
    const mlp_layer *layer = &s->net->layers[l];
    void *gradient = s->trainer->gradient;
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out, slopes = layer->spec.one_slope ? 1 : n_out, i0, i1;
    mlp_team_share(s->sharing, n_in, 1, &i0, &i1);
    s->kernels->sum_squares(squares, mlp_in_block(s->net, gradient, layer->W), layer->stride, i0, i1, n_out, factor);
    if (!mlp_leads(s)) return;
    squares[n_in] = squares[n_in + 1] = 0;
    if (layer->b) {
        s->kernels->sum_squares(squares + n_in, mlp_in_block(s->net, gradient, layer->b), n_out, 0, 1, n_out, factor);
    }
    if (layer->slopes) {
        const void *of_slopes = mlp_in_block(s->net, gradient, layer->slopes);
        s->kernels->sum_squares(squares + n_in + 1, of_slopes, n_out, 0, 1, slopes, factor);
    }
}

static double sum_of_squares(const mlp_step *s) {
    double sum = 0;
    const double *squares = s->trainer->squares;
    for (int l = s->trainer->lowest_trainable; l < s->net->n_layers; l++) {
        const mlp_layer *layer = &s->net->layers[l];
        for (int64_t i = 0; layer->spec.trainable && i < squares_in(layer); i++) sum += squares[i];
        squares += squares_in(layer);
    }
    return sum;
}

// The 2-norm of the gradient times `factor`.
static double norm_of_gradient(mlp_step *s, double factor) {
    double *squares = s->trainer->squares;
    for (int l = s->trainer->lowest_trainable; l < s->net->n_layers; l++) {
        measure_gradient(s, l, squares, factor);
        squares += squares_in(&s->net->layers[l]);
    }
    mlp_await_others(s, 0);
    return sqrt(sum_of_squares(s));
}

// What the gradient is multiplied by; every member comes to the same. Squares above 2^1024 would make it 0: such a
// gradient is measured again, made so small that the squares of 2^33 of the largest numbers can be added up.
static double shortening(mlp_step *s) {
    const double small = 0x1p-530;
    double most = s->epoch->settings->clip_norm, norm = norm_of_gradient(s, 1);
    if (!isinf(norm)) return norm > most ? most / norm : 1;
    mlp_await_others(s, 0);
    return most / norm_of_gradient(s, small) * small;
}

static void clipped_updates(mlp_step *s) {
    int last = s->net->n_layers - 1, lowest = s->trainer->lowest_trainable;
    for (int l = last; l >= lowest; l--) {
        mlp_update rule = update_rule(s, l);
        rule.settings = NULL;
        store_gradient(s, l, s->trainer->gradient, &rule);
    }
    mlp_await_others(s, 0);
    double factor = shortening(s);
    for (int l = last; l >= lowest; l--) {
        mlp_update rule = update_rule(s, l);
        rule.scale = factor, rule.l1 = rule.l2 = 0;  // the other scale and the penalties are in it
        if (s->net->layers[l].spec.trainable) use_gradient(s, l, rule);
    }
}

// ---- Added up from the runs ----

static void *part_of_gradient(const mlp_step *s, int64_t run) {
    return (char *)s->trainer->parts + (size_t)run * s->net->bytes;
}

void mlp_store_part(const mlp_step *s, int64_t run) {
    const mlp_update sum = {.scale = 1};
    for (int l = s->net->n_layers - 1; l >= s->trainer->lowest_trainable; l--) {
        store_gradient(s, l, part_of_gradient(s, run), &sum);
    }
}

// Block of a parameter (.., cols), whose rows are `stride` numbers apart.
static void add_parts(const mlp_step *s, const void *parameter, int64_t stride, mlp_block block) {
    int64_t numbers = (int64_t)(s->net->bytes / s->kernels->real_size);
    void *sum = mlp_in_block(s->net, s->trainer->gradient, parameter);
    const void *parts = mlp_in_block(s->net, s->trainer->parts, parameter);
    for (int64_t i = block.i0; i < block.i1; i++) {
        s->kernels->add_parts(sum, parts, numbers, mlp_runs_in(s->rows), i * stride + block.j0, i * stride + block.j1);
    }
}

// A member adds up just what it is going to use.
static void update_from_parts(const mlp_step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    mlp_block mine = mlp_my_block(s, layer->spec.n_in, UPDATE_ROWS, layer->spec.n_out);
    add_parts(s, layer->W, layer->stride, mine);
    mlp_block vector = {0, has_vectors(s, l), mine.j0, mine.j1};
    if (layer->b) add_parts(s, layer->b, 0, vector);
    vector.j1 = end_of_slopes(layer, mine);
    if (layer->slopes) add_parts(s, layer->slopes, 0, vector);
    use_gradient(s, l, update_rule(s, l));
}

// ---- All of it ----

// Srebro, Rennie and Jaakkola (2005): no unit's weights become longer than max_norm.
static void limit_weights(mlp_step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_out = layer->spec.n_out;
    mlp_block mine = mlp_my_block(s, layer->spec.n_in, 1, n_out);
    if (mlp_by_rows(s, n_out)) {
        mlp_await_others(s, 0);
        mlp_team_share(s->sharing, n_out, mlp_line_or(s, 1), &mine.j0, &mine.j1);
    }
    s->kernels->limit_columns(layer->W, layer->stride, layer->spec.n_in, mine.j0, mine.j1, s->epoch->settings->max_norm);
}

void mlp_update_parameters(mlp_step *s) {
    int last = s->net->n_layers - 1, lowest = s->trainer->lowest_trainable;
    if (s->epoch->settings->clip_norm > 0) clipped_updates(s);
    for (int l = last; s->epoch->settings->clip_norm == 0 && l >= lowest; l--) {
        if (!s->net->layers[l].spec.trainable) continue;
        if (s->epoch->by_runs) update_from_parts(s, l);
        else update(s, l);
    }
    for (int l = last; s->epoch->settings->max_norm > 0 && l >= lowest; l--) {
        if (s->net->layers[l].spec.trainable) limit_weights(s, l);
    }
}
