// From delta of a minibatch to updated parameters, in one of two ways with the same bits: fused, where each tile of the
// gradient goes from registers into the update; or stored, where the gradients of the chunks are added and then
// applied.
#include "build.h"
#if !defined(MLP_NO_TRAINING)
#include "update.h"

#include <math.h>

// Rows of W are split among threads in units of this many: fewer rows have too few chains to hide the latency of fused
// multiply-adds, and take as long. A unit of mr would split a layer of 32 rows into 28 and 4.
#define UPDATE_ROWS 4

// The only place where 1/B is computed: gradients are means over the minibatch. With mean_weight, the mean weight over
// the epoch, the mean of the gradients of all minibatches (weighted by their rows) is the gradient of the weighted loss
// of all rows. If all weights are zero, the gradient of the loss is 0; momentum and penalties still act.
double mlp_gradient_scale(const mlp_data *data, double weight_sum, int64_t rows) {
    if (data->mean_weight > 0) return 1 / ((double)rows * data->mean_weight);
    return weight_sum > 0 ? 1 / weight_sum : 0;
}

// Without settings, so that the kernels compute the gradient only.
static mlp_update gradient_rule(const mlp_network *net, int l, const mlp_move *move) {
    const mlp_layer_spec *layer = &net->layers[l].spec;
    mlp_update rule = {.scale = move->scale};
    if (move->unpenalised) return rule;
    rule.l1 = move->settings->l1 + layer->l1;
    rule.l2 = move->l2 ? move->l2[l] : move->settings->l2 + layer->l2;
    return rule;
}

// For W and slopes of layer l. Each layer has a t of its own: the steps that have trained it.
static mlp_update rule_for(const mlp_trainer *t, int l, const mlp_move *move) {
    mlp_update rule = gradient_rule(t->net, l, move);
    rule.settings = move->settings, rule.weight_decay = move->settings->weight_decay;
    rule.lr = move->lr * t->net->layers[l].lr_factor, rule.momentum = move->momentum, rule.t = t->updates[l] + move->t;
    return rule;
}

static int has_gradient(const mlp_step *s, int l) { return s->net->layers[l].spec.trainable || s->pass->frozen_too; }

static mlp_parameter with_state(const mlp_trainer *t, void *values, const void *mask) {
    mlp_parameter p = {.values = values, .mask = mask};
    for (int i = 0; i < MLP_MOST_STATES; i++) p.state[i] = mlp_trainer_state(t, i, values);
    return p;
}

// For b of a layer, from the rule of its W.
static mlp_update rule_for_bias(const mlp_layer *layer, mlp_update rule) {
    rule.lr *= layer->bias_lr_factor;
    return rule;
}

// What the parts of a phase here share.
typedef struct {
    const mlp_step *step;
    const mlp_trainer *trainer;
    const mlp_move *move;
    void *out;             // gradient or sum that is written
    const void *gradient;  // that is read
    int64_t chunk;         // of the rows of step
    int64_t next;          // rows of the next minibatch
    double factor;
    double *squares;
    const mlp_sums *sums;
    int64_t chunks;        // of the minibatch
} update_job;

// W is split like the outputs of its layer, so that each core finds what it has updated in its cache; by columns if it
// has too few rows for that.
static int by_rows(const mlp_step *s, int l, int parts) {
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    int64_t unit = mlp_column_unit(s->kernels);
    if (parts == 1 || !mlp_by_rows(s->kernels, parts, s->batch.rows, spec->n_out)) return 0;
    return mlp_longest_share(parts, spec->n_in, UPDATE_ROWS) <= mlp_longest_share(parts, spec->n_out, unit);
}

static mlp_block block_of(const mlp_step *s, int l, mlp_part part) {
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    return mlp_block_of(s->kernels, part, by_rows(s, l, part.of), spec->n_in, UPDATE_ROWS, spec->n_out);
}

// Whether this part has biases and slopes: those of its columns, or, if W is split by rows, all in the last part.
static int has_vectors(const mlp_step *s, int l, mlp_part part) {
    return !by_rows(s, l, part.of) || part.number == part.of - 1;
}

static int64_t end_of_slopes(const mlp_layer *layer, mlp_block mine) {
    return layer->spec.shared && mine.j1 > 1 ? 1 : mine.j1;
}

// ---- Fused ----

#define PREFETCH_BYTES 32768  // smaller minibatches are not worth prefetching

// A part of the next minibatch, to be prefetched during `tiles` tiles, since shuffled rows are scattered in memory.
static mlp_prefetch prefetch_of(const mlp_step *s, int64_t rows, int64_t tiles, mlp_part part) {
    int64_t i0, i1;
    mlp_share(part, rows, 1, &i0, &i1);
    mlp_prefetch prefetch = mlp_prefetch_of(s->examples, s->batch.first + s->batch.rows, i0, i1, tiles);
    if (rows * prefetch.row_bytes < PREFETCH_BYTES) prefetch.rows = 0;
    return prefetch;
}

static int64_t tiles_of(const mlp_step *s, mlp_block block) {
    int64_t rows = s->kernels->mr, cols = s->kernels->nr;
    return ((block.i1 - block.i0 + rows - 1) / rows) * ((block.j1 - block.j0 + cols - 1) / cols);
}

static void update(const update_job *job, int l, mlp_part part) {
    const mlp_step *s = job->step;
    const mlp_trainer *t = job->trainer;
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_update rule = rule_for(t, l, job->move);
    mlp_block mine = block_of(s, l, part);
    mlp_prefetch prefetch = {0};
    if (l == 0) prefetch = prefetch_of(s, job->next, tiles_of(s, mine), part);
    const void *delta = s->space->delta[l];
    s->kernels->update_weights(with_state(t, layer->W, layer->mask), layer->stride, mlp_input_of(s, l), delta,
                               s->batch.rows, n_in, n_out, mine, &rule, &prefetch, mlp_scratch(s, part));
    if (!has_vectors(s, l, part)) return;
    if (layer->b) {
        const mlp_update of_b = rule_for_bias(layer, rule);
        s->kernels->update_bias(with_state(t, layer->b, NULL), delta, s->batch.rows, n_out, mine.j0, mine.j1, &of_b);
    }
    if (layer->slopes) {  // the backward pass has summed their gradient into one row
        s->kernels->update_bias(with_state(t, layer->slopes, NULL), s->space->slope[l], 1, n_out, mine.j0,
                                end_of_slopes(layer, mine), &rule);
    }
}

// ---- Stored ----

static const void *rows_at(const mlp_step *s, const void *matrix, int64_t row, int64_t cols) {
    return mlp_row(matrix, s->net->dtype, row, cols);
}

// The gradient of layer l over rows [first, first + rows) of s, which are chunk number `chunk`.
static void store(const update_job *job, int l, const mlp_update *rule, int64_t first, int64_t rows, mlp_part part) {
    const mlp_step *s = job->step;
    void *block = job->out;
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_block mine = block_of(s, l, part);
    mlp_parameter W = {.values = layer->W, .mask = layer->mask};
    const void *x = rows_at(s, mlp_input_of(s, l), first, n_in), *delta = rows_at(s, s->space->delta[l], first, n_out);
    s->kernels->weight_gradient(mlp_in_block(s->net, block, layer->W), layer->stride, W, layer->stride, x, delta, rows,
                                n_in, n_out, mine, rule, mlp_scratch(s, part));
    if (!has_vectors(s, l, part)) return;
    if (layer->b) {
        s->kernels->bias_gradient(mlp_in_block(s->net, block, layer->b), delta, rows, n_out, mine.j0, mine.j1, rule);
    }
    if (layer->slopes) {
        const void *slope = rows_at(s, s->space->slope[l], job->chunk, n_out);
        s->kernels->bias_gradient(mlp_in_block(s->net, block, layer->slopes), slope, 1, n_out, mine.j0,
                                  end_of_slopes(layer, mine), rule);
    }
}

static void store_gradient(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    for (int l = s->net->n_layers - 1; l >= s->pass->lowest; l--) {
        mlp_update rule = gradient_rule(s->net, l, job->move);
        if (has_gradient(s, l)) store(job, l, &rule, 0, s->batch.rows, part);
    }
}

void mlp_store_gradient(mlp_step *s, void *gradient, const mlp_move *move) {
    mlp_step_run(s, store_gradient, &(update_job){.step = s, .out = gradient, .move = move});
}

static void store_chunk(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    const mlp_update rule = {.scale = 1};
    int64_t length = s->pass->chunk_rows, rows = mlp_rows_of_chunk(s->batch.rows, length, job->chunk);
    for (int l = s->net->n_layers - 1; l >= s->pass->lowest; l--) {
        if (has_gradient(s, l)) store(job, l, &rule, job->chunk * length, rows, part);
    }
}

void mlp_store_chunk(mlp_step *s, void *sum, int64_t chunk) {
    mlp_step_run(s, store_chunk, &(update_job){.step = s, .out = sum, .chunk = chunk});
}

static void join_sums(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    mlp_sums sums = *job->sums;
    const char *parameters = s->net->parameters, *lowest = parameters + s->net->bytes;  // if all are frozen
    if (s->pass->lowest < s->net->n_layers) lowest = s->net->layers[s->pass->lowest].W;
    int64_t size = (int64_t)s->kernels->real_size, before = (lowest - parameters) / size, i0, i1;
    int64_t numbers = (int64_t)s->net->bytes / size - before;
    mlp_share(part, numbers, mlp_line_or(s->kernels, 1), &i0, &i1);
    for (; mlp_last_sums_join(&sums, job->chunks); mlp_pop_sum(&sums)) {
        s->kernels->add(sums.sum[sums.n - 2], sums.sum[sums.n - 1], before + i0, before + i1);
    }
}

void mlp_join_sums(mlp_step *s, mlp_sums *sums, int64_t chunks) {
    if (!mlp_last_sums_join(sums, chunks)) return;
    mlp_step_run(s, join_sums, &(update_job){.step = s, .sums = sums, .chunks = chunks});
    while (mlp_last_sums_join(sums, chunks)) mlp_pop_sum(sums);
}

static void finish_gradient(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    void *gradient = job->out;
    for (int l = s->net->n_layers - 1; l >= s->pass->lowest; l--) {
        const mlp_layer *layer = &s->net->layers[l];
        if (!has_gradient(s, l)) continue;
        mlp_update rule = gradient_rule(s->net, l, job->move);
        mlp_parameter W = {.values = layer->W, .mask = layer->mask}, b = {.values = layer->b};
        mlp_parameter slopes = {.values = layer->slopes};
        mlp_block mine = block_of(s, l, part), vector = {0, has_vectors(s, l, part), mine.j0, mine.j1};
        s->kernels->scale_gradient(mlp_in_block(s->net, gradient, W.values), W, layer->stride, mine, &rule);
        rule.l1 = rule.l2 = 0;
        if (layer->b) s->kernels->scale_gradient(mlp_in_block(s->net, gradient, b.values), b, 0, vector, &rule);
        vector.j1 = end_of_slopes(layer, mine);
        if (layer->slopes) {
            s->kernels->scale_gradient(mlp_in_block(s->net, gradient, slopes.values), slopes, 0, vector, &rule);
        }
    }
}

void mlp_finish_gradient(mlp_step *s, void *gradient, const mlp_move *move) {
    mlp_step_run(s, finish_gradient, &(update_job){.step = s, .out = gradient, .move = move});
}

// ---- Clipping by norm ----

// Sums of squares per layer: one for each row of W, one for b, one for the slopes.
static int64_t squares_in(const mlp_layer *layer) { return layer->spec.n_in + 2; }

// Sums of squares of layer l's gradient times `factor`, a power of two.
static void measure_layer(const mlp_step *s, int l, double *squares, const void *gradient, double factor,
                          mlp_part part) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out, slopes = layer->spec.shared ? 1 : n_out, i0, i1;
    mlp_share(part, n_in, 1, &i0, &i1);
    s->kernels->sum_squares(squares, mlp_at(s->net, gradient, layer->W), layer->stride, i0, i1, n_out, factor);
    if (part.number > 0) return;
    squares[n_in] = squares[n_in + 1] = 0;
    if (layer->b) {
        s->kernels->sum_squares(squares + n_in, mlp_at(s->net, gradient, layer->b), n_out, 0, 1, n_out, factor);
    }
    if (layer->slopes) {
        const void *of_slopes = mlp_at(s->net, gradient, layer->slopes);
        s->kernels->sum_squares(squares + n_in + 1, of_slopes, n_out, 0, 1, slopes, factor);
    }
}

static double sum_of_squares(const mlp_step *s, const double *squares) {
    double sum = 0;
    for (int l = s->pass->lowest; l < s->net->n_layers; l++) {
        const mlp_layer *layer = &s->net->layers[l];
        for (int64_t i = 0; layer->spec.trainable && i < squares_in(layer); i++) sum += squares[i];
        squares += squares_in(layer);
    }
    return sum;
}

static void measure(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    double *of_layer = job->squares;
    for (int l = s->pass->lowest; l < s->net->n_layers; l++) {
        const mlp_layer *layer = &s->net->layers[l];
        if (layer->spec.trainable) measure_layer(s, l, of_layer, job->gradient, job->factor, part);
        of_layer += squares_in(layer);
    }
}

// The 2-norm of the gradient times `factor`.
static double norm_of(mlp_step *s, double *squares, const void *gradient, double factor) {
    mlp_step_run(s, measure, &(update_job){.step = s, .squares = squares, .gradient = gradient, .factor = factor});
    return sqrt(sum_of_squares(s, squares));
}

// The factor that clips the gradient to norm `most`. If the squares overflow, the norm is
// infinite and the factor would be 0, so it is measured again after scaling by `small`: then the sum of 2^33 squares of
// the largest finite number does not overflow.
static double clip_factor(mlp_step *s, double *squares, const void *gradient, double most) {
    const double small = 0x1p-530;
    double norm = norm_of(s, squares, gradient, 1);
    if (!isinf(norm)) return norm > most ? most / norm : 1;
    return most / norm_of(s, squares, gradient, small) * small;
}

// ---- The penalty ----

double mlp_l2_penalty(mlp_step *s, const mlp_trainer *t, const mlp_move *move) {
    double *squares = t->squares, penalty = 0;
    mlp_step_run(s, measure, &(update_job){.step = s, .squares = squares, .gradient = s->net->parameters, .factor = 1});
    for (int l = s->pass->lowest; l < s->net->n_layers; l++) {
        const mlp_layer *layer = &s->net->layers[l];
        double sum = 0;
        for (int64_t i = 0; layer->spec.trainable && i < layer->spec.n_in; i++) sum += squares[i];
        penalty += gradient_rule(s->net, l, move).l2 / 2 * sum;
        squares += squares_in(layer);
    }
    return penalty;
}

// ---- Applying ----

static void apply(const update_job *job, int l, mlp_part part) {
    const mlp_step *s = job->step;
    const mlp_trainer *t = job->trainer;
    const mlp_layer *layer = &s->net->layers[l];
    const void *gradient = job->gradient;
    mlp_update rule = rule_for(t, l, job->move);
    mlp_block mine = block_of(s, l, part), vector = {0, has_vectors(s, l, part), mine.j0, mine.j1};
    rule.scale = job->factor;  // the gradient contains move->scale
    rule.l1 = rule.l2 = 0;     // and the penalties
    s->kernels->apply_gradient(with_state(t, layer->W, layer->mask), mlp_at(s->net, gradient, layer->W), layer->stride,
                               mine, &rule);
    rule.weight_decay = 0;
    if (layer->b) {
        const mlp_update of_b = rule_for_bias(layer, rule);
        s->kernels->apply_gradient(with_state(t, layer->b, NULL), mlp_at(s->net, gradient, layer->b), 0, vector, &of_b);
    }
    vector.j1 = end_of_slopes(layer, mine);
    if (layer->slopes && vector.j0 < vector.j1) {  // a shared slope belongs to the first part's columns
        const void *slopes = mlp_at(s->net, gradient, layer->slopes);
        s->kernels->apply_gradient(with_state(t, layer->slopes, NULL), slopes, 0, vector, &rule);
    }
}

// Srebro, Rennie and Jaakkola (2005): no unit's weights become longer than max_norm.
static void limit_all(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    for (int l = s->net->n_layers - 1; l >= s->pass->lowest; l--) {
        const mlp_layer *layer = &s->net->layers[l];
        int64_t j0, j1;
        mlp_share(part, layer->spec.n_out, mlp_line_or(s->kernels, 1), &j0, &j1);
        if (!layer->spec.trainable) continue;
        s->kernels->limit_columns(layer->W, layer->stride, layer->spec.n_in, j0, j1, job->move->settings->max_norm);
    }
}

static void update_all(void *context, mlp_part part) {
    const update_job *job = context;
    const mlp_step *s = job->step;
    for (int l = s->net->n_layers - 1; l >= s->pass->lowest; l--) {
        if (!s->net->layers[l].spec.trainable) continue;
        if (job->gradient) apply(job, l, part);
        else update(job, l, part);
    }
}

static void run_update(mlp_step *s, update_job *job) {
    mlp_step_run(s, update_all, job);
    if (job->move->settings->max_norm > 0) mlp_step_run(s, limit_all, job);
}

void mlp_update_parameters(mlp_step *s, mlp_trainer *t, const mlp_move *move, int64_t next) {
    run_update(s, &(update_job){.step = s, .trainer = t, .move = move, .next = next});
}

void mlp_apply_gradient(mlp_step *s, mlp_trainer *t, const void *gradient, const mlp_move *move) {
    double factor = 1, most = move->settings->clip_norm;
    if (most > 0) factor = clip_factor(s, t->squares, gradient, most);
    run_update(s, &(update_job){.step = s, .trainer = t, .move = move, .gradient = gradient, .factor = factor});
}
#endif
