// Training: the walk of one epoch. Read this file first.
//
// For each minibatch:  gather X -> forward 1..L -> loss and delta_L -> delta of the layers below, L-1..1 -> update L..1.
// Up to the first update a step can be given up, and then nothing has changed.
//
// A team of threads enters once for the epoch. Each phase splits its output among the members (never the sum inside a
// product), and ends in a barrier where another member's part is read next. No phase allocates.
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "network.h"
#include "rng.h"
#include "team.h"

struct mlp_trainer {
    mlp_network *net;
    mlp_loss loss;
    int64_t batch_size;
    int lowest_trainable;  // no residual is needed below this layer

    // The workspace: room for that many rows and threads.
    int64_t rows;
    int threads;
    void *block;
    double *row_loss, *row_correct;  // (rows)
    size_t scratch_bytes;            // for each thread
    char *scratch;

    mlp_optimizer optimizer;         // whose state it is
    void *state[MLP_MOST_STATES];    // each laid out as the network's parameters; NULL until they are needed
    int64_t steps;                   // since the state began
    void *gradient;                  // of the parameters, laid out as they are; NULL until clip_norm needs it
    void *squares_block;
    int64_t minibatches;             // ever trained on: dropout and noise differ from one to the next
    void **buffers;  // the one allocation behind the next six
    void **a;          // a[0] (rows, n_in) is the minibatch, a[l + 1] (rows, n_out) the output of layer l
    void **u;          // u[l] is a[l + 1] before dropout, where layer l has it; else NULL
    void **z;          // z[l] (rows, n_out of layer l) where the derivative is written in it, else NULL
    void **delta;      // delta[l] (rows, n_out of layer l)
    void **slope;      // slope[l] (n_out of layer l), the gradient of a prelu's slopes, or NULL
    double **squares;  // squares[l] (n_in of layer l, plus 2): of the gradient's rows of W, of b and of the slopes
};

// What the members of a team share during an epoch. rank 0 alone writes the result.
typedef struct {
    mlp_trainer *trainer;
    const mlp_data *data;
    const int64_t *order;
    const mlp_settings *settings;
    const double *rates, *momenta;  // of each minibatch, or NULL
    int64_t batch_size;
    mlp_result *result;
    mlp_poll poll;
    void *context;
    double flops_per_row, flops_since_poll;
    int steps_since_poll;
    double weight_sum;     // of the minibatch
    int64_t steps_before, minibatches_before;  // this epoch
    atomic_int stop;    // an mlp_status; written before a barrier, read after it
} epoch;

// One minibatch, as a member sees it.
typedef struct {
    epoch *epoch;
    mlp_trainer *trainer;
    const mlp_network *net;
    const mlp_kernels *kernels;
    mlp_member *me;
    const int64_t *index;  // of its examples, or NULL
    int64_t first, rows, number;  // number: of the minibatch in the epoch
    int own_rows;          // since the last barrier this member has worked on its own rows alone
} step;

// ---- How a phase is split ----

// Wide outputs are split by columns, the same way in forward and update, so that each core keeps its own columns of W in
// its cache; narrow ones are split by rows.
static int64_t line_or(const step *s, int64_t cols) {
    int64_t line = 64 / (int64_t)s->kernels->real_size;
    return cols > line ? cols : line;
}

static int by_rows(const step *s, int64_t cols) { return cols < s->me->size * line_or(s, s->kernels->tile_cols); }

// My block of a (rows, cols) output. Columns come in whole vectors and cache lines: no two members write to a line of W.
static mlp_block my_block(const step *s, int64_t rows, int64_t row_unit, int64_t cols) {
    mlp_block mine = {0, rows, 0, cols};
    if (by_rows(s, cols)) mlp_team_share(s->me, rows, row_unit, &mine.i0, &mine.i1);
    else mlp_team_share(s->me, cols, line_or(s, s->kernels->tile_cols / 2), &mine.j0, &mine.j1);
    return mine;
}

// Rows of W that an update splits off at the least: fewer have too few chains of sums to hide the latency of an
// addition, and take as long. A multiple of tile_rows would leave a layer of 32 rows 28 to one member and 4 to the other.
#define UPDATE_ROWS 4

static mlp_block my_rows(const step *s, int64_t cols) {
    mlp_block mine = {0, 0, 0, cols};
    mlp_team_share(s->me, s->rows, 1, &mine.i0, &mine.i1);
    return mine;
}

// Called before a phase: waits for the others unless the phase goes by rows, like all since the last barrier, and so
// reads what this member itself has written.
static void await_others(step *s, int goes_by_rows) {
    if (!(s->own_rows && goes_by_rows)) mlp_team_barrier(s->me);
    s->own_rows = goes_by_rows;
}

static void *my_scratch(const step *s) {
    return s->trainer->scratch + (size_t)s->me->rank * s->trainer->scratch_bytes;
}

static void *at(const step *s, void *matrix, int64_t row, int64_t cols) {
    return (char *)matrix + (size_t)row * (size_t)cols * s->kernels->real_size;
}

// ---- The phases of a step, in their order ----

// Of several reasons the first of the enum counts, whichever member comes first.
static void raise_stop(epoch *e, mlp_status why) {
    int before = atomic_load(&e->stop);
    while ((before == MLP_OK || (int)why < before) && !atomic_compare_exchange_weak(&e->stop, &before, (int)why)) {
    }
}

// Asking reads a clock. A team always can afford that, beside its barriers; alone, small steps ask only now and then.
#define POLL_FLOPS 1e6
#define POLL_STEPS 64

static void poll_now_and_then(const step *s) {
    epoch *e = s->epoch;
    if (!e->poll) return;
    e->flops_since_poll += e->flops_per_row * (double)s->rows;
    if (s->me->size == 1 && e->flops_since_poll < POLL_FLOPS && ++e->steps_since_poll < POLL_STEPS) return;
    e->flops_since_poll = e->steps_since_poll = 0;
    if (e->poll(e->context)) raise_stop(e, MLP_INTERRUPTED);
}

static int stopped(const step *s) { return atomic_load_explicit(&s->epoch->stop, memory_order_relaxed) != MLP_OK; }

#define LONG_STEP_FLOPS 1e9  // some ten milliseconds: worth asking in every phase

// Whether a phase before the first update may be left out, because the step will be given up. Members may see this at
// different times; they all go on through the barriers, and agree in one_step.
static int given_up(const step *s) {
    epoch *e = s->epoch;
    int is_long = e->flops_per_row * (double)s->rows > LONG_STEP_FLOPS;
    if (s->me->rank == 0 && is_long && e->poll && e->poll(e->context)) raise_stop(e, MLP_INTERRUPTED);
    // Not for the other reasons: the loss that is reported must not depend on who was first.
    return atomic_load_explicit(&e->stop, memory_order_relaxed) == MLP_INTERRUPTED;
}

static double sum_of_weights(const step *s) {
    const mlp_data *data = s->epoch->data;
    if (!data->weights) return (double)s->rows;
    double sum = 0;
    for (int64_t i = 0; i < s->rows; i++) {
        sum += mlp_number(data->weights, s->net->dtype, s->index ? s->index[i] : s->first + i);
    }
    return sum;
}

static mlp_draw draw_for(const step *s, uint32_t stream) {
    return (mlp_draw){s->epoch->settings->seed, s->epoch->minibatches_before + s->number, stream, 0};
}

// The same numbers forward and backward. Layer l's output has stream l + 1, the input 0.
static void drop(const step *s, int l, void *out, const void *in, mlp_block block) {
    mlp_draw from = draw_for(s, MLP_STREAM_DROPOUT + (uint32_t)l + 1);
    s->kernels->dropout(out, in, s->net->layers[l].spec.n_out, block, s->net->layers[l].spec.dropout, &from);
}

// In training; evaluation and prediction know nothing of it.
static void disturb_input(const step *s, int64_t i0, int64_t i1) {
    const mlp_settings *settings = s->epoch->settings;
    int64_t n = s->net->layers[0].spec.n_in;
    void *x = s->trainer->a[0];
    mlp_draw noise = draw_for(s, MLP_STREAM_NOISE), drop = draw_for(s, MLP_STREAM_DROPOUT);
    if (settings->input_noise != 0) s->kernels->add_noise(x, n, i0, i1, settings->input_noise, &noise);
    if (settings->input_dropout != 0) {
        s->kernels->dropout(x, x, n, (mlp_block){i0, i1, 0, n}, settings->input_dropout, &drop);
    }
}

static void gather(step *s) {
    const mlp_data *data = s->epoch->data;
    int64_t n_in = s->net->layers[0].spec.n_in, i0, i1;
    await_others(s, 1);
    if (s->me->rank == 0) {
        poll_now_and_then(s);
        s->epoch->weight_sum = sum_of_weights(s);
    }
    mlp_team_share(s->me, s->rows, 1, &i0, &i1);
    const void *X = s->index ? data->X : mlp_row(data->X, data->x_type, s->first + i0, n_in);
    int finite = s->kernels->gather(at(s, s->trainer->a[0], i0, n_in), X, data->x_type, data->x_scale,
                                    s->index ? s->index + i0 : NULL, i1 - i0, n_in);
    if (!finite && s->epoch->settings->check_finite) raise_stop(s->epoch, MLP_INPUT_NOT_FINITE);
    disturb_input(s, i0, i1);
}

// The activation of layer l in this step: none for the last, if the loss contains it.
static mlp_unit unit_of(const step *s, int l) {
    return l == s->net->n_layers - 1 ? mlp_output_unit(s->net, s->trainer->loss) : mlp_unit_of(&s->net->layers[l]);
}

// What the derivative of layer l's activation is written in.
static void *kept(const step *s, int l) {
    if (mlp_keeps_z(s->net->layers[l].spec.activation)) return s->trainer->z[l];
    return s->trainer->u[l] ? s->trainer->u[l] : s->trainer->a[l + 1];
}

static const mlp_unit no_unit = {.kind = MLP_IDENTITY};

// A function of the caller's is called by rank 0 for the whole minibatch, so that what it does cannot depend on the team.
static void call_own(step *s, int (*call)(step *s, int l), int l) {
    await_others(s, 0);
    if (s->me->rank == 0 && !stopped(s) && call(s, l)) raise_stop(s->epoch, MLP_INTERRUPTED);
}

static void *output_of(const step *s, int l) {
    return s->trainer->u[l] ? s->trainer->u[l] : s->trainer->a[l + 1];
}

static int own_forward(step *s, int l) {
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    return spec->own.forward(spec->own.self, s->epoch->context, output_of(s, l), s->trainer->z[l], s->rows, spec->n_out);
}

static int is_finite(const step *s, const void *reals, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(mlp_number(reals, s->net->dtype, i))) return 0;
    }
    return 1;
}

// The loss may be finite where a derivative of the caller's is not.
static void check_own_delta(const step *s, int l) {
    int64_t count = s->rows * s->net->layers[l].spec.n_out;
    if (s->epoch->settings->check_finite && !is_finite(s, s->trainer->delta[l], count)) {
        raise_stop(s->epoch, MLP_DERIVATIVE_NOT_FINITE);
    }
}

static int own_backward(step *s, int l) {
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    int failed = spec->own.backward(spec->own.self, s->epoch->context, s->trainer->delta[l], s->trainer->z[l], s->rows,
                                    spec->n_out);
    if (!failed) check_own_delta(s, l);
    return failed;
}

static void forward(step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_unit g = unit_of(s, l);
    int is_own = g.kind == MLP_OWN_ACTIVATION;

    mlp_block mine = my_block(s, s->rows, 1, n_out);
    void *out = output_of(s, l), *z = mlp_keeps_z(g.kind) ? s->trainer->z[l] : NULL;
    await_others(s, by_rows(s, n_out));
    if (!given_up(s)) {
        s->kernels->dense_forward(is_own ? z : out, is_own ? NULL : z, s->trainer->a[l], layer->W, layer->stride, layer->b,
                                  is_own ? no_unit : g, n_in, n_out, mine, my_scratch(s));
    }
    if (is_own) {
        call_own(s, own_forward, l);
        await_others(s, 0);
    }
    if (g.kind == MLP_SOFTMAX) {
        await_others(s, 1);
        mine = my_rows(s, n_out);
        void *rows = at(s, out, mine.i0, n_out);
        s->kernels->softmax_forward(rows, rows, mine.i1 - mine.i0, n_out, my_scratch(s));
    }
    if (s->trainer->u[l]) drop(s, l, s->trainer->a[l + 1], out, mine);
}

// delta[l] holds d loss / d a of layer l and becomes d loss / d z, where the kernel before could not do it on the way: at
// the output, with whole rows (softmax), by a function of the caller's, or because the slopes' gradient needs d loss / d a.
static void through_unit(step *s, int l) {
    mlp_trainer *t = s->trainer;
    int64_t n = s->net->layers[l].spec.n_out, i0, i1, j0, j1;
    mlp_unit g = unit_of(s, l);
    if (g.kind == MLP_OWN_ACTIVATION) {
        call_own(s, own_backward, l);
        return;
    }
    if (g.slopes) {
        await_others(s, 0);
        mlp_team_share(s->me, n, line_or(s, 1), &j0, &j1);
        s->kernels->slope_gradient(t->slope[l], t->delta[l], t->z[l], s->rows, n, j0, j1);
    }
    await_others(s, 1);
    if (g.slopes && g.one_slope && s->me->rank == 0) s->kernels->sum_slopes(t->slope[l], n);
    mlp_team_share(s->me, s->rows, 1, &i0, &i1);
    void *delta = at(s, t->delta[l], i0, n), *from = at(s, kept(s, l), i0, n);
    if (g.kind == MLP_SOFTMAX) s->kernels->softmax_backward(delta, from, i1 - i0, n, my_scratch(s));
    else s->kernels->activation_backward(delta, from, g, i1 - i0, n);
}

static int own_loss(step *s, int last) {
    mlp_trainer *t = s->trainer;
    const mlp_own_loss *own = &t->loss.own;
    int failed = own->rows(own->self, s->epoch->context, t->delta[last], t->row_loss, t->a[last + 1], s->epoch->data,
                           s->index, s->first, s->rows, s->net->layers[last].spec.n_out);
    int finite = 1;
    for (int64_t i = 0; i < s->rows; i++) {
        t->row_correct[i] = 0;
        finite &= isfinite(t->row_loss[i]) != 0;
    }
    if (!failed && !finite && s->epoch->settings->check_finite) raise_stop(s->epoch, MLP_LOSS_NOT_FINITE);
    if (!failed && finite) check_own_delta(s, last);
    return failed;
}

static void loss_and_residual(step *s) {
    mlp_trainer *t = s->trainer;
    int last = s->net->n_layers - 1;
    const mlp_layer_spec *layer = &s->net->layers[last].spec;
    int64_t n = layer->n_out, i0, i1;
    if (t->loss.kind == MLP_OWN_LOSS) {
        call_own(s, own_loss, last);
        if (!t->loss.own.of_z && layer->activation != MLP_IDENTITY) through_unit(s, last);
        return;
    }
    await_others(s, 1);
    mlp_team_share(s->me, s->rows, 1, &i0, &i1);
    int finite = s->kernels->loss(at(s, t->delta[last], i0, n), t->row_loss + i0, t->row_correct + i0,
                                  at(s, t->a[last + 1], i0, n), t->loss, layer->activation, s->epoch->data,
                                  s->index ? s->index + i0 : NULL, s->first + i0, i1 - i0, n, my_scratch(s));
    if (!finite && s->epoch->settings->check_finite) raise_stop(s->epoch, MLP_LOSS_NOT_FINITE);
    if (unit_of(s, last).kind != MLP_IDENTITY) through_unit(s, last);
}

// rank 0 adds the rows up, in their order.
static void account(const step *s, int whole) {
    if (s->me->rank != 0) return;
    mlp_result *result = s->epoch->result;
    double loss = 0, correct = 0;
    for (int64_t i = 0; i < s->rows; i++) {
        loss += s->trainer->row_loss[i];
        correct += s->trainer->row_correct[i];
    }
    if (!whole) {
        result->bad_loss = loss / s->epoch->weight_sum;
        return;
    }
    result->loss_sum += loss;
    result->correct += correct;
    result->weight_sum += s->epoch->weight_sum;
    result->rows += s->rows;
    result->minibatches++;
}

// delta[l - 1] from delta[l], with W_l as it was in the forward pass.
static void residual_below(step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_unit g = unit_of(s, l - 1);
    int later = g.kind == MLP_SOFTMAX || g.kind == MLP_PRELU || g.kind == MLP_OWN_ACTIVATION;

    mlp_block mine = my_block(s, s->rows, 1, n_in);
    void *below = s->trainer->delta[l - 1];
    await_others(s, by_rows(s, n_in));
    if (!given_up(s)) {
        s->kernels->delta_below(below, s->trainer->delta[l], layer->W, layer->stride, kept(s, l - 1), later ? no_unit : g,
                                n_in, n_out, mine, my_scratch(s));
    }
    if (s->trainer->u[l - 1]) drop(s, l - 1, below, below, mine);
    if (later) through_unit(s, l - 1);
}

// A parameter with its state: as far into each block of states as the parameter into the parameters.
static mlp_parameter with_state(const mlp_trainer *t, void *values, const void *mask) {
    mlp_parameter p = {.values = values, .mask = mask};
    for (int i = 0; i < MLP_MOST_STATES; i++) p.state[i] = mlp_trainer_state(t, i, values);
    return p;
}

#define AHEAD_BYTES 32768  // a smaller minibatch is in the first-level cache before it can matter

// My part of the next minibatch, to be fetched during so many tiles: its rows lie anywhere in memory.
static mlp_ahead rows_ahead(const step *s, int64_t tiles) {
    const mlp_data *data = s->epoch->data;
    int64_t n_in = s->net->layers[0].spec.n_in, first = s->first + s->rows, rows = data->n - first, i0, i1;
    if (rows > s->epoch->batch_size) rows = s->epoch->batch_size;
    mlp_team_share(s->me, rows, 1, &i0, &i1);
    mlp_ahead ahead = {.row_bytes = n_in * (int64_t)mlp_size_of(data->x_type), .row = i0, .rows = i1};
    if (s->epoch->order) ahead.X = data->X, ahead.index = s->epoch->order + first;
    else ahead.X = mlp_row(data->X, data->x_type, first, n_in);
    if (rows * ahead.row_bytes < AHEAD_BYTES) ahead.rows = 0;
    ahead.lines = (int)((i1 - i0) * (ahead.row_bytes / 64 + 1) / (tiles > 0 ? tiles : 1)) + 1;
    return ahead;
}

static int64_t tiles_of(const step *s, mlp_block block) {
    int64_t rows = s->kernels->tile_rows, cols = s->kernels->tile_cols;
    return ((block.i1 - block.i0 + rows - 1) / rows) * ((block.j1 - block.j0 + cols - 1) / cols);
}

static mlp_update update_rule(const step *s, int l) {
    const mlp_settings *settings = s->epoch->settings;
    // The one place of the 1/B: gradients are means over the minibatch. If all weights are zero, the loss
    // has no gradient; momentum and penalties still act.
    double scale = s->epoch->weight_sum > 0 ? 1 / s->epoch->weight_sum : 0;
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    double lr = s->epoch->rates ? s->epoch->rates[s->number] : settings->lr;
    double momentum = settings->optimizer == MLP_ADAM ? settings->beta1 : settings->momentum;
    if (s->epoch->momenta) momentum = s->epoch->momenta[s->number];
    return (mlp_update){scale, settings, lr, momentum, settings->weight_decay, settings->l1 + spec->l1,
                        settings->l2 + spec->l2, s->epoch->steps_before + s->number + 1};
}

// Biases and slopes go with the columns, or, where W is split by rows, to the last member: rank 0 is busy with the loss.
static int has_vectors(const step *s, int l) {
    return !by_rows(s, s->net->layers[l].spec.n_out) || s->me->rank == s->me->size - 1;
}

static int64_t end_of_slopes(const mlp_layer *layer, mlp_block mine) {
    return layer->spec.one_slope && mine.j1 > 1 ? 1 : mine.j1;
}

static void update(const step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    const mlp_trainer *t = s->trainer;
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_update rule = update_rule(s, l);
    mlp_block mine = my_block(s, n_in, UPDATE_ROWS, n_out);
    mlp_ahead ahead = {0};
    if (l == 0) ahead = rows_ahead(s, tiles_of(s, mine));
    s->kernels->update_weights(with_state(t, layer->W, layer->mask), layer->stride, t->a[l], t->delta[l], s->rows, n_in, n_out,
                               mine, &rule, &ahead, my_scratch(s));
    if (!has_vectors(s, l)) return;
    if (layer->b) {
        s->kernels->update_bias(with_state(t, layer->b, NULL), t->delta[l], s->rows, n_out, mine.j0, mine.j1, &rule);
    }
    if (layer->slopes) {  // their gradient is there: one row of it
        s->kernels->update_bias(with_state(t, layer->slopes, NULL), t->slope[l], 1, n_out, mine.j0,
                                end_of_slopes(layer, mine), &rule);
    }
}

// The same in two passes, where the length of the whole gradient decides: it is stored, measured, and then used.

static void *gradient_of(const mlp_trainer *t, const void *parameter) {
    return (char *)t->gradient + ((const char *)parameter - (const char *)t->net->parameters);
}

static void store_gradient(const step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    const mlp_trainer *t = s->trainer;
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_update rule = update_rule(s, l);
    rule.settings = NULL;
    mlp_block mine = my_block(s, n_in, UPDATE_ROWS, n_out);
    mlp_parameter W = {.values = layer->W, .mask = layer->mask};
    s->kernels->weight_gradient(gradient_of(t, layer->W), layer->stride, W, layer->stride, t->a[l], t->delta[l], s->rows,
                                n_in, n_out, mine, &rule, my_scratch(s));
    if (!has_vectors(s, l)) return;
    if (layer->b) {
        s->kernels->bias_gradient(gradient_of(t, layer->b), t->delta[l], s->rows, n_out, mine.j0, mine.j1, &rule);
    }
    if (layer->slopes) {
        s->kernels->bias_gradient(gradient_of(t, layer->slopes), t->slope[l], 1, n_out, mine.j0,
                                  end_of_slopes(layer, mine), &rule);
    }
}

static void measure_gradient(const step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    const mlp_trainer *t = s->trainer;
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out, i0, i1;
    double *squares = t->squares[l];
    mlp_team_share(s->me, n_in, 1, &i0, &i1);
    s->kernels->sum_squares(squares, gradient_of(t, layer->W), layer->stride, i0, i1, n_out);
    if (s->me->rank > 0) return;
    squares[n_in] = squares[n_in + 1] = 0;
    if (layer->b) s->kernels->sum_squares(squares + n_in, gradient_of(t, layer->b), n_out, 0, 1, n_out);
    int64_t slopes = layer->spec.one_slope ? 1 : n_out;
    if (layer->slopes) s->kernels->sum_squares(squares + n_in + 1, gradient_of(t, layer->slopes), n_out, 0, 1, slopes);
}

// What the gradient is multiplied by; every member comes to the same.
static double shortening(const step *s) {
    double sum = 0, most = s->epoch->settings->clip_norm;
    for (int l = 0; l < s->net->n_layers; l++) {
        const double *squares = s->trainer->squares[l];
        for (int64_t i = 0; s->net->layers[l].spec.trainable && i < s->net->layers[l].spec.n_in + 2; i++) sum += squares[i];
    }
    double norm = sqrt(sum);
    return norm > most ? most / norm : 1;
}

static void use_gradient(const step *s, int l, double factor) {
    const mlp_layer *layer = &s->net->layers[l];
    const mlp_trainer *t = s->trainer;
    mlp_update rule = update_rule(s, l);
    rule.scale = factor;
    rule.l1 = rule.l2 = 0;  // they are in it
    mlp_block mine = my_block(s, layer->spec.n_in, UPDATE_ROWS, layer->spec.n_out);
    s->kernels->apply_gradient(with_state(t, layer->W, layer->mask), gradient_of(t, layer->W), layer->stride, mine, &rule);
    if (!has_vectors(s, l)) return;
    rule.weight_decay = 0;
    mlp_block vector = {0, 1, mine.j0, mine.j1};
    if (layer->b) s->kernels->apply_gradient(with_state(t, layer->b, NULL), gradient_of(t, layer->b), 0, vector, &rule);
    vector.j1 = end_of_slopes(layer, mine);
    if (layer->slopes && vector.j0 < vector.j1) {  // one slope for all is the first member's
        s->kernels->apply_gradient(with_state(t, layer->slopes, NULL), gradient_of(t, layer->slopes), 0, vector, &rule);
    }
}

static void clipped_updates(step *s, int lowest) {
    int last = s->net->n_layers - 1;
    for (int l = last; l >= lowest; l--) store_gradient(s, l);
    await_others(s, 0);
    for (int l = last; l >= lowest; l--) measure_gradient(s, l);
    await_others(s, 0);
    double factor = shortening(s);
    for (int l = last; l >= lowest; l--) {
        if (s->net->layers[l].spec.trainable) use_gradient(s, l, factor);
    }
}

// Srebro, Rennie and Jaakkola (2005): no unit's weights become longer than max_norm.
static void limit_weights(step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_out = layer->spec.n_out;
    mlp_block mine = my_block(s, layer->spec.n_in, 1, n_out);
    if (by_rows(s, n_out)) {
        await_others(s, 0);
        mlp_team_share(s->me, n_out, line_or(s, 1), &mine.j0, &mine.j1);
    }
    s->kernels->limit_columns(layer->W, layer->stride, layer->spec.n_in, mine.j0, mine.j1, s->epoch->settings->max_norm);
}

// ---- The walk ----

// Returns whether the minibatch was trained on; if not, nothing has changed.
static int one_step(step *s) {
    int last = s->net->n_layers - 1, lowest = s->trainer->lowest_trainable;
    gather(s);
    for (int l = 0; l <= last; l++) forward(s, l);
    loss_and_residual(s);
    for (int l = last; l > lowest; l--) residual_below(s, l);

    // The one place where all members must agree. stop was last written before the barrier they cross here, and can be
    // written again only behind the next one.
    await_others(s, 0);
    int whole = !stopped(s);
    account(s, whole);
    if (!whole) return 0;
    if (s->epoch->settings->clip_norm > 0) {
        clipped_updates(s, lowest);
    } else {
        for (int l = last; l >= lowest; l--) {
            if (s->net->layers[l].spec.trainable) update(s, l);
        }
    }
    for (int l = last; s->epoch->settings->max_norm > 0 && l >= lowest; l--) {
        if (s->net->layers[l].spec.trainable) limit_weights(s, l);
    }
    return 1;
}

static void run_epoch(void *context, mlp_member *me) {
    epoch *e = context;
    const mlp_network *net = e->trainer->net;
    step s = {.epoch = e, .trainer = e->trainer, .net = net, .kernels = net->kernels, .me = me};
    int whole = 1;
    for (s.first = 0; whole && s.first < e->data->n; s.first += s.rows) {
        s.rows = e->data->n - s.first < e->batch_size ? e->data->n - s.first : e->batch_size;
        s.index = e->order ? e->order + s.first : NULL;
        whole = one_step(&s);
        s.number++;
    }
}

// ---- Before an epoch ----

// Lays the workspace out for rows and threads; with block NULL it only measures.
static size_t lay_out(mlp_trainer *t, char *block, int64_t rows, int threads) {
    const mlp_network *net = t->net;
    size_t real_size = net->kernels->real_size, used = 0, offset;
    offset = mlp_reserve(&used, rows, net->layers[0].spec.n_in, real_size);
    if (block) t->a[0] = block + offset;
    for (int l = 0; l < net->n_layers; l++) {
        offset = mlp_reserve(&used, rows, net->layers[l].spec.n_out, real_size);
        if (block) t->a[l + 1] = block + offset;
        offset = mlp_reserve(&used, rows, net->layers[l].spec.n_out, real_size);
        if (block) t->delta[l] = block + offset;
        int drops = net->layers[l].spec.dropout > 0 && l < net->n_layers - 1;
        offset = mlp_reserve(&used, drops ? rows : 0, net->layers[l].spec.n_out, real_size);
        if (block && drops) t->u[l] = block + offset;
        int keeps_z = mlp_keeps_z(net->layers[l].spec.activation);
        offset = mlp_reserve(&used, keeps_z ? rows : 0, net->layers[l].spec.n_out, real_size);
        if (block && keeps_z) t->z[l] = block + offset;
        offset = mlp_reserve(&used, net->layers[l].slopes != NULL, net->layers[l].spec.n_out, real_size);
        if (block && net->layers[l].slopes) t->slope[l] = block + offset;
    }
    offset = mlp_reserve(&used, rows, 1, sizeof(double));
    if (block) t->row_loss = (double *)(void *)(block + offset);
    offset = mlp_reserve(&used, rows, 1, sizeof(double));
    if (block) t->row_correct = (double *)(void *)(block + offset);

    size_t scratch = 0;
    mlp_reserve(&scratch, 1, 1, net->kernels->scratch_bytes(net->widest > rows ? net->widest : rows, net->widest));
    offset = mlp_reserve(&used, threads, 1, scratch);
    if (block) t->scratch = block + offset;
    t->scratch_bytes = scratch;
    return used;
}

static mlp_status ensure_workspace(mlp_trainer *t, int64_t rows, int threads) {
    if (rows <= t->rows && threads <= t->threads) return MLP_OK;
    if (rows < t->rows) rows = t->rows;
    if (threads < t->threads) threads = t->threads;
    size_t bytes = lay_out(t, NULL, rows, threads);
    if (bytes == SIZE_MAX) return MLP_TOO_LARGE;
    char *block = mlp_aligned_block(bytes);
    if (!block) return MLP_NO_MEMORY;
    void *old = t->block;  // freed last: whatever a child forked meanwhile finds, it can use
    lay_out(t, block, rows, threads);
    t->block = block;
    t->rows = rows;
    t->threads = threads;
    free(old);
    return MLP_OK;
}

static int states_of(const mlp_settings *settings) {
    return settings->optimizer == MLP_SGD ? settings->momentum != 0 : settings->optimizer == MLP_ADAM ? 2 : 1;
}

mlp_status mlp_trainer_prepare(mlp_trainer *t, const mlp_settings *settings) {
    if ((unsigned)settings->optimizer >= MLP_OPTIMIZERS) return MLP_BAD_ARGUMENT;
    int needed = states_of(settings);
    void *fresh[MLP_MOST_STATES] = {0};
    int other = settings->optimizer != t->optimizer;
    for (int i = 0; i < needed; i++) {
        if (t->state[i] && !other) continue;
        fresh[i] = mlp_aligned_block(t->net->bytes);
        if (fresh[i]) {
            mlp_poison_padding(t->net, fresh[i]);
            continue;
        }
        while (i-- > 0) free(fresh[i]);
        return MLP_NO_MEMORY;
    }
    for (int i = 0; i < MLP_MOST_STATES; i++) {
        void *old = t->state[i];
        if (other) t->state[i] = NULL, free(old);  // in this order: a child that is forked in between must not find it
        if (fresh[i]) t->state[i] = fresh[i];
    }
    if (other) t->steps = 0;
    t->optimizer = settings->optimizer;
    return MLP_OK;
}

static size_t bytes_of_squares(const mlp_network *net) {
    size_t bytes = 0;
    for (int l = 0; l < net->n_layers; l++) bytes += (size_t)(net->layers[l].spec.n_in + 2) * sizeof(double);
    return bytes;
}

static mlp_status ensure_gradient(mlp_trainer *t, const mlp_settings *settings) {
    if (!(settings->clip_norm > 0) || t->gradient) return MLP_OK;
    void *gradient = mlp_aligned_block(t->net->bytes);
    double *squares = mlp_aligned_block(bytes_of_squares(t->net));
    if (!gradient || !squares) {
        free(gradient);
        free(squares);
        return MLP_NO_MEMORY;
    }
    t->gradient = gradient;
    t->squares_block = squares;
    for (int l = 0; l < t->net->n_layers; squares += t->net->layers[l++].spec.n_in + 2) t->squares[l] = squares;
    return MLP_OK;
}

#ifdef MLP_POISON
static void poison_workspace(mlp_trainer *t) {
    mlp_poison(t->block, lay_out(t, NULL, t->rows, t->threads));
    if (t->gradient) mlp_poison(t->gradient, t->net->bytes);
    if (t->gradient) mlp_poison(t->squares_block, bytes_of_squares(t->net));
}
#else
#define poison_workspace(t) ((void)0)
#endif

static mlp_status check_settings(const mlp_settings *s) {
    if (!(s->input_dropout >= 0 && s->input_dropout < 1 && s->input_noise >= 0)) return MLP_BAD_ARGUMENT;
    if (!(s->clip_value >= 0 && s->clip_norm >= 0 && s->max_norm >= 0)) return MLP_BAD_ARGUMENT;
    return (unsigned)s->optimizer < MLP_OPTIMIZERS ? MLP_OK : MLP_BAD_ARGUMENT;
}

static mlp_status check_order(const int64_t *order, int64_t n) {
    for (int64_t i = 0; order && i < n; i++) {
        if (order[i] < 0 || order[i] >= n) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}

static double flops_per_row(const mlp_trainer *t) {
    double flops = 0;
    for (int l = 0; l < t->net->n_layers; l++) {
        const mlp_layer_spec *layer = &t->net->layers[l].spec;
        int products = 1 + layer->trainable + (l > t->lowest_trainable);
        flops += 2.0 * (double)layer->n_in * (double)layer->n_out * products;
    }
    return flops;
}

static mlp_status train(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order,
                        int64_t batch_size, const mlp_settings *settings, const double *rates, const double *momenta,
                        int threads, mlp_poll poll, void *context) {
    *result = (mlp_result){0};
    mlp_status status = mlp_check_data(data);
    if (!status) status = mlp_check_loss(t->net, data, t->loss);
    if (!status) status = check_settings(settings);
    if (!status && momenta && !states_of(settings)) status = MLP_BAD_ARGUMENT;  // no velocity to act on
    if (!status) status = check_order(order, data->n);
    if (status || data->n == 0) return status;

    int64_t rows = batch_size < data->n ? batch_size : data->n;
    epoch e = {
        .trainer = t, .data = data, .order = order, .settings = settings, .rates = rates, .momenta = momenta,
        .batch_size = rows, .result = result, .poll = poll, .context = context, .flops_per_row = flops_per_row(t),
        .steps_before = t->steps, .minibatches_before = t->minibatches,
    };
    atomic_init(&e.stop, MLP_OK);
    int phases = 2 * t->net->n_layers + 2;
    threads = mlp_team_size(threads, e.flops_per_row * (double)rows / phases);
    status = ensure_workspace(t, rows, threads);
    if (!status) status = ensure_gradient(t, settings);
    if (!status) status = mlp_trainer_prepare(t, settings);
    if (status) return status;
    poison_workspace(t);

    int ended = mlp_team_run(threads, run_epoch, &e);
    t->steps += result->minibatches;
    t->minibatches += result->minibatches;
    return ended ? (mlp_status)atomic_load(&e.stop) : MLP_FORKED;
}

// ---- The public functions ----

mlp_status mlp_trainer_create(mlp_trainer **out, mlp_network *net, mlp_loss loss, int64_t batch_size) {
    if (batch_size < 1 || (unsigned)loss.kind >= MLP_LOSSES) return MLP_BAD_ARGUMENT;
    mlp_trainer *t = calloc(1, sizeof *t);
    size_t n_layers = (size_t)net->n_layers;
    void **buffers = calloc(6 * n_layers + 1, sizeof *buffers);
    if (!t || !buffers) {
        free(t);
        free(buffers);
        return MLP_NO_MEMORY;
    }
    *t = (mlp_trainer){.net = net, .loss = loss, .batch_size = batch_size, .buffers = buffers};
    t->a = buffers;
    t->u = t->a + n_layers + 1;
    t->z = t->u + n_layers;
    t->delta = t->z + n_layers;
    t->slope = t->delta + n_layers;
    t->squares = (double **)(t->slope + n_layers);
    while (t->lowest_trainable < net->n_layers && !net->layers[t->lowest_trainable].spec.trainable) {
        t->lowest_trainable++;
    }
    *out = t;
    return MLP_OK;
}

void mlp_trainer_destroy(mlp_trainer *t) {
    if (!t) return;
    free(t->block);
    for (int i = 0; i < MLP_MOST_STATES; i++) free(t->state[i]);
    free(t->gradient);
    free(t->squares_block);
    free(t->buffers);
    free(t);
}

int mlp_trainer_states(const mlp_trainer *t) {
    int n = 0;
    while (n < MLP_MOST_STATES && t->state[n]) n++;
    return n;
}

void *mlp_trainer_state(const mlp_trainer *t, int i, const void *parameter) {
    if (!t->state[i] || !parameter) return NULL;
    return (char *)t->state[i] + ((const char *)parameter - (const char *)t->net->parameters);
}

mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *t) { return t->optimizer; }
int64_t mlp_trainer_steps(const mlp_trainer *t) { return t->steps; }
void mlp_trainer_set_steps(mlp_trainer *t, int64_t steps) { t->steps = steps; }
int64_t mlp_trainer_minibatches(const mlp_trainer *t) { return t->minibatches; }
void mlp_trainer_set_minibatches(mlp_trainer *t, int64_t minibatches) { t->minibatches = minibatches; }

mlp_status mlp_train_epoch(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order,
                           const mlp_settings *settings, const double *rates, const double *momenta, int threads,
                           mlp_poll poll, void *context) {
    return train(t, result, data, order, t->batch_size, settings, rates, momenta, threads, poll, context);
}

mlp_status mlp_train_step(mlp_trainer *t, mlp_result *result, const mlp_data *data, const mlp_settings *settings, int threads,
                          mlp_poll poll, void *context) {
    return train(t, result, data, NULL, data->n > 0 ? data->n : 1, settings, NULL, NULL, threads, poll, context);
}
