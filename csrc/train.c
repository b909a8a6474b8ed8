// Training: the walk of one epoch. Read this file first.
//
// For each minibatch:  gather X -> forward 1..L -> loss and delta_L -> delta of the layers below, L-1..1 -> update L..1.
// Up to the first update a step can be given up, and then nothing has changed.
//
// A team of threads enters once for the epoch. Each phase splits its output among the members (never the sum inside a
// product), and ends in a barrier where another member's part is read next. Of many rows through a small network each
// member takes whole runs instead, all by itself. No phase allocates.
#include "train.h"

#include <math.h>

#include "rng.h"

static mlp_block my_rows(const mlp_step *s, int64_t cols) {
    mlp_block mine = {0, 0, 0, cols};
    mlp_team_share(s->sharing, s->rows, 1, &mine.i0, &mine.i1);
    return mine;
}

static void *at(const mlp_step *s, void *matrix, int64_t row, int64_t cols) {
    return (char *)matrix + (size_t)row * (size_t)cols * s->kernels->real_size;
}

// ---- The phases of a step, in their order ----

// Of several reasons the first of the enum counts, whichever member comes first.
static void raise_stop(mlp_epoch *e, mlp_status why) {
    int before = atomic_load(&e->stop);
    while ((before == MLP_OK || (int)why < before) && !atomic_compare_exchange_weak(&e->stop, &before, (int)why)) {
    }
}

// Asking reads a clock. A team always can afford that, beside its barriers; alone, small steps ask only now and then.
#define POLL_FLOPS 1e6
#define POLL_STEPS 64

static void poll_now_and_then(const mlp_step *s) {
    mlp_epoch *e = s->epoch;
    if (!e->poll) return;
    e->flops_since_poll += e->flops_per_row * (double)s->rows;
    if (s->me->size == 1 && e->flops_since_poll < POLL_FLOPS && ++e->steps_since_poll < POLL_STEPS) return;
    e->flops_since_poll = e->steps_since_poll = 0;
    if (e->poll(e->context)) raise_stop(e, MLP_INTERRUPTED);
}

static int stopped(const mlp_step *s) { return atomic_load_explicit(&s->epoch->stop, memory_order_relaxed) != MLP_OK; }

#define LONG_STEP_FLOPS 1e9  // some ten milliseconds: worth asking in every phase

// Whether a phase before the first update may be left out, because the step will be given up. Members may see this at
// different times; they all go on through the barriers, and agree in one_step.
static int given_up(const mlp_step *s) {
    mlp_epoch *e = s->epoch;
    int is_long = e->flops_per_row * (double)s->rows > LONG_STEP_FLOPS;
    if (mlp_leads(s) && is_long && e->poll && e->poll(e->context)) raise_stop(e, MLP_INTERRUPTED);
    // Not for the other reasons: the loss that is reported must not depend on who was first.
    return atomic_load_explicit(&e->stop, memory_order_relaxed) == MLP_INTERRUPTED;
}

static double weight_of(const mlp_step *s, int64_t row) {
    const void *weights = s->epoch->data->weights;
    return weights ? mlp_number(weights, s->net->dtype, s->index ? s->index[row] : s->first + row) : 1;
}

static double sum_of_weights(const mlp_step *s) {
    if (!s->epoch->data->weights) return (double)s->rows;
    double sum = 0;
    for (int64_t i = 0; i < s->rows; i++) sum += weight_of(s, i);
    return sum;
}

static mlp_draw draw_for(const mlp_step *s, uint32_t stream) {
    return (mlp_draw){s->epoch->settings->seed, s->epoch->minibatches_before + s->number, stream, s->first_row};
}

// The same numbers forward and backward. Layer l's output has stream l + 1, the input 0.
static void drop(const mlp_step *s, int l, void *out, const void *in, mlp_block block) {
    mlp_draw from = draw_for(s, MLP_STREAM_DROPOUT + (uint32_t)l + 1);
    s->kernels->dropout(out, in, s->net->layers[l].spec.n_out, block, s->net->layers[l].spec.dropout, &from);
}

// In training; evaluation and prediction know nothing of it.
static void disturb_input(const mlp_step *s, int64_t i0, int64_t i1) {
    const mlp_settings *settings = s->epoch->settings;
    int64_t n = s->net->layers[0].spec.n_in;
    void *x = s->space->a[0];
    mlp_draw noise = draw_for(s, MLP_STREAM_NOISE), drop = draw_for(s, MLP_STREAM_DROPOUT);
    if (settings->input_noise != 0) s->kernels->add_noise(x, n, i0, i1, settings->input_noise, &noise);
    if (settings->input_dropout != 0) {
        s->kernels->dropout(x, x, n, (mlp_block){i0, i1, 0, n}, settings->input_dropout, &drop);
    }
}

static void gather(mlp_step *s) {
    const mlp_data *data = s->epoch->data;
    int64_t n_in = s->net->layers[0].spec.n_in, i0, i1;
    if (mlp_leads(s)) poll_now_and_then(s);
    mlp_team_share(s->sharing, s->rows, 1, &i0, &i1);
    const void *X = s->index ? data->X : mlp_row(data->X, data->x_type, s->first + i0, n_in);
    int finite = s->kernels->gather(at(s, s->space->a[0], i0, n_in), X, data->x_type, data->x_scale,
                                    s->index ? s->index + i0 : NULL, i1 - i0, n_in);
    if (!finite && s->epoch->settings->check_finite) raise_stop(s->epoch, MLP_INPUT_NOT_FINITE);
    disturb_input(s, i0, i1);
}

// The activation of layer l in this step: none for the last, if the loss contains it.
static mlp_unit unit_of(const mlp_step *s, int l) {
    return l == s->net->n_layers - 1 ? mlp_output_unit(s->net, s->trainer->loss) : mlp_unit_of(&s->net->layers[l]);
}

// What the derivative of layer l's activation is written in.
static void *kept(const mlp_step *s, int l) {
    if (mlp_has(s->net->layers[l].spec.activation, MLP_IN_Z)) return s->space->z[l];
    return s->space->u[l] ? s->space->u[l] : s->space->a[l + 1];
}

static const mlp_unit no_unit = {.kind = MLP_IDENTITY};

// A function of the caller's is called by rank 0 for the whole minibatch, so that what it does cannot depend on the team.
static void call_own(mlp_step *s, int (*call)(mlp_step *s, int l), int l) {
    mlp_await_others(s, 0);
    if (mlp_leads(s) && !stopped(s) && call(s, l)) raise_stop(s->epoch, MLP_INTERRUPTED);
}

static void *output_of(const mlp_step *s, int l) {
    return s->space->u[l] ? s->space->u[l] : s->space->a[l + 1];
}

static int own_forward(mlp_step *s, int l) {
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    return spec->own.forward(spec->own.self, s->epoch->context, output_of(s, l), s->space->z[l], s->rows, spec->n_out);
}

// The loss may be finite where a derivative of the caller's is not.
static void check_own_delta(const mlp_step *s, int l) {
    int64_t count = s->rows * s->net->layers[l].spec.n_out;
    if (s->epoch->settings->check_finite && !mlp_all_finite(s->space->delta[l], s->net->dtype, count)) {
        raise_stop(s->epoch, MLP_DERIVATIVE_NOT_FINITE);
    }
}

static int own_backward(mlp_step *s, int l) {
    const mlp_layer_spec *spec = &s->net->layers[l].spec;
    int failed = spec->own.backward(spec->own.self, s->epoch->context, s->space->delta[l], s->space->z[l], s->rows,
                                    spec->n_out);
    if (!failed) check_own_delta(s, l);
    return failed;
}

static void forward(mlp_step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_unit g = unit_of(s, l);
    int is_own = g.kind == MLP_OWN_ACTIVATION;

    mlp_block mine = mlp_my_block(s, s->rows, 1, n_out);
    void *out = output_of(s, l), *z = mlp_has(g.kind, MLP_IN_Z) ? s->space->z[l] : NULL;
    mlp_await_others(s, mlp_by_rows(s, n_out));
    if (!given_up(s)) {
        s->kernels->dense_forward(is_own ? z : out, is_own ? NULL : z, s->space->a[l], layer->W, layer->stride, layer->b,
                                  is_own ? no_unit : g, n_in, n_out, mine, mlp_my_scratch(s));
    }
    if (is_own) {
        call_own(s, own_forward, l);
        mlp_await_others(s, 0);
    }
    if (g.kind == MLP_SOFTMAX) {
        mlp_await_others(s, 1);
        mine = my_rows(s, n_out);
        void *rows = at(s, out, mine.i0, n_out);
        s->kernels->softmax_forward(rows, rows, mine.i1 - mine.i0, n_out, mlp_my_scratch(s));
    }
    if (s->space->u[l]) drop(s, l, s->space->a[l + 1], out, mine);
}

// delta[l] holds d loss / d a of layer l and becomes d loss / d z, where the kernel before could not do it on the way: at
// the output, with whole rows (softmax), by a function of the caller's, or because the slopes' gradient needs d loss / d a.
static void through_unit(mlp_step *s, int l) {
    int64_t n = s->net->layers[l].spec.n_out, i0, i1, j0, j1;
    mlp_unit g = unit_of(s, l);
    if (g.kind == MLP_OWN_ACTIVATION) {
        call_own(s, own_backward, l);
        return;
    }
    if (g.slopes) {
        mlp_await_others(s, 0);
        mlp_team_share(s->sharing, n, mlp_line_or(s, 1), &j0, &j1);
        s->kernels->slope_gradient(s->space->slope[l], s->space->delta[l], s->space->z[l], s->rows, n, j0, j1);
    }
    mlp_await_others(s, 1);
    if (g.slopes && g.one_slope && s->sharing->rank == 0) s->kernels->sum_slopes(s->space->slope[l], n);
    mlp_team_share(s->sharing, s->rows, 1, &i0, &i1);
    void *delta = at(s, s->space->delta[l], i0, n), *from = at(s, kept(s, l), i0, n);
    if (g.kind == MLP_SOFTMAX) s->kernels->softmax_backward(delta, from, i1 - i0, n, mlp_my_scratch(s));
    else s->kernels->activation_backward(delta, from, g, i1 - i0, n);
}

static int own_loss(mlp_step *s, int last) {
    const mlp_own_loss *own = &s->trainer->loss.own;
    int failed = own->rows(own->self, s->epoch->context, s->space->delta[last], s->space->row_loss, s->space->a[last + 1],
                           s->epoch->data, s->index, s->first, s->rows, s->net->layers[last].spec.n_out);
    int finite = 1;
    for (int64_t i = 0; i < s->rows; i++) {
        s->space->row_correct[i] = 0;
        finite &= isfinite(s->space->row_loss[i]) != 0;
    }
    if (!failed && !finite && s->epoch->settings->check_finite) raise_stop(s->epoch, MLP_LOSS_NOT_FINITE);
    if (!failed && finite) check_own_delta(s, last);
    return failed;
}

static void loss_and_residual(mlp_step *s) {
    mlp_trainer *t = s->trainer;
    int last = s->net->n_layers - 1;
    const mlp_layer_spec *layer = &s->net->layers[last].spec;
    int64_t n = layer->n_out, i0, i1;
    if (t->loss.kind == MLP_OWN_LOSS) {
        call_own(s, own_loss, last);
        if (!t->loss.own.of_z && layer->activation != MLP_IDENTITY) through_unit(s, last);
        return;
    }
    mlp_await_others(s, 1);
    mlp_team_share(s->sharing, s->rows, 1, &i0, &i1);
    int finite = s->kernels->loss(at(s, s->space->delta[last], i0, n), s->space->row_loss + i0, s->space->row_correct + i0,
                                  at(s, s->space->a[last + 1], i0, n), t->loss, layer->activation, s->epoch->data,
                                  s->index ? s->index + i0 : NULL, s->first + i0, i1 - i0, n, mlp_my_scratch(s));
    if (!finite && s->epoch->settings->check_finite) raise_stop(s->epoch, MLP_LOSS_NOT_FINITE);
    if (unit_of(s, last).kind != MLP_IDENTITY) through_unit(s, last);
}

// delta[l - 1] from delta[l], with W_l as it was in the forward pass.
static void residual_below(mlp_step *s, int l) {
    const mlp_layer *layer = &s->net->layers[l];
    int64_t n_in = layer->spec.n_in, n_out = layer->spec.n_out;
    mlp_unit g = unit_of(s, l - 1);
    int later = mlp_has(g.kind, MLP_APART);

    mlp_block mine = mlp_my_block(s, s->rows, 1, n_in);
    void *below = s->space->delta[l - 1];
    mlp_await_others(s, mlp_by_rows(s, n_in));
    if (!given_up(s)) {
        s->kernels->delta_below(below, s->space->delta[l], layer->W, layer->stride, kept(s, l - 1), later ? no_unit : g,
                                n_in, n_out, mine, mlp_my_scratch(s));
    }
    if (s->space->u[l - 1]) drop(s, l - 1, below, below, mine);
    if (later) through_unit(s, l - 1);
}

// ---- The walk ----

// Up to the residuals of all layers that are trained; nothing has changed yet.
static void up_and_down(mlp_step *s) {
    int last = s->net->n_layers - 1;
    gather(s);
    for (int l = 0; l <= last; l++) forward(s, l);
    loss_and_residual(s);
    for (int l = last; l > s->trainer->lowest_trainable; l--) residual_below(s, l);
}

static mlp_run_sums sums_of_rows(const mlp_step *s, int64_t first, int64_t rows) {
    mlp_run_sums sums = {0};
    for (int64_t i = first; i < first + rows; i++) {
        double weight = weight_of(s, i), right = s->space->row_correct[i];
        sums.loss += s->space->row_loss[i];
        sums.correct += weight * right;
        sums.exact += right == 1 ? weight : 0;
    }
    return sums;
}

static mlp_step run_of(const mlp_step *s, int64_t run) {
    mlp_step part = *s;
    part.space = &s->trainer->workspaces[s->me->rank];
    part.first_row = run * mlp_run_length(s->rows);
    part.first += part.first_row;
    if (part.index) part.index += part.first_row;
    part.rows = mlp_terms_of_run(s->rows, part.first_row);
    return part;
}

// Each member takes whole runs of the minibatch through all layers, and keeps what they add to the gradient: it waits for
// nobody, and finds what it has written in its own caches. For that a run's gradient must be small, so the network too.
static void each_run(mlp_step *s) {
    mlp_member alone = {.team = s->me->team, .rank = 0, .size = 1};
    int64_t begin, end;
    mlp_team_share(s->me, mlp_runs_in(s->rows), 1, &begin, &end);
    for (int64_t run = begin; run < end && !given_up(s); run++) {
        mlp_step part = run_of(s, run);
        part.sharing = &alone;
        up_and_down(&part);
        s->trainer->run_sums[run] = sums_of_rows(&part, 0, part.rows);
        if (!stopped(s)) mlp_store_part(&part, run);
    }
}

// rank 0 adds the rows of each run up, in their order, and then the runs. (Of a step that was given up the sums mean
// nothing, and nobody looks at them.)
static void account(const mlp_step *s, int whole) {
    if (!mlp_leads(s)) return;
    mlp_result *result = s->epoch->result;
    mlp_run_sums all = {0};
    for (int64_t run = 0; run < mlp_runs_in(s->rows); run++) {
        int64_t first = run * mlp_run_length(s->rows);
        mlp_run_sums sums = s->epoch->by_runs ? s->trainer->run_sums[run]
                                              : sums_of_rows(s, first, mlp_terms_of_run(s->rows, first));
        all.loss += sums.loss;
        all.correct += sums.correct;
        all.exact += sums.exact;
    }
    if (!whole) {
        result->bad_loss = s->epoch->weight_sum > 0 ? all.loss / s->epoch->weight_sum : all.loss;
        return;
    }
    result->loss_sum += all.loss;
    result->correct += all.correct;
    result->exact += all.exact;
    result->weight_sum += s->epoch->weight_sum;
    result->rows += s->rows;
    result->minibatches++;
}

// Returns whether the minibatch was trained on; if not, nothing has changed.
static int one_step(mlp_step *s) {
    mlp_await_others(s, 1);
    if (mlp_leads(s)) s->epoch->weight_sum = sum_of_weights(s);
    if (s->epoch->by_runs) each_run(s);
    else up_and_down(s);

    // The one place where all members must agree. stop was last written before the barrier they cross here, and can be
    // written again only behind the next one.
    mlp_await_others(s, 0);
    int whole = !stopped(s);
    account(s, whole);
    if (whole) mlp_update_parameters(s);
    return whole;
}

static void run_epoch(void *context, mlp_member *me) {
    mlp_epoch *e = context;
    const mlp_network *net = e->trainer->net;
    mlp_step s = {.epoch = e, .trainer = e->trainer, .net = net, .kernels = net->kernels, .me = me, .sharing = me,
                  .space = e->trainer->workspaces};
    int whole = 1;
    for (s.first = 0; whole && s.first < e->n; s.first += s.rows) {
        s.rows = e->n - s.first < e->batch_size ? e->n - s.first : e->batch_size;
        s.index = e->order ? e->order + s.first : NULL;
        whole = one_step(&s);
        s.number++;
    }
}

// ---- Before an epoch ----

static mlp_status check_settings(const mlp_settings *s) {
    if (!(s->input_dropout >= 0 && s->input_dropout < 1 && s->input_noise >= 0)) return MLP_BAD_ARGUMENT;
    if (!(s->clip_value >= 0 && s->clip_norm >= 0 && s->max_norm >= 0)) return MLP_BAD_ARGUMENT;
    return mlp_is_optimizer(s->optimizer) ? MLP_OK : MLP_BAD_ARGUMENT;
}

// Velocities are there, and no step leaves them out, as one with a momentum of 0 would.
static mlp_status check_momenta(const mlp_trainer *t, const double *momenta, const mlp_settings *settings, int64_t n) {
    if (!mlp_states_of(settings)) return MLP_BAD_ARGUMENT;
    for (int64_t i = 0; i < n; i++) {
        double momentum = t->net->dtype == MLP_FLOAT32 ? (double)(float)momenta[i] : momenta[i];
        if (!(momentum > 0)) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}

static mlp_status check_order(const int64_t *order, int64_t n_order, int64_t n) {
    if (n_order < 0 || n_order > n) return MLP_BAD_ARGUMENT;
    for (int64_t i = 0; i < n_order; i++) {
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

#define PARTS_BYTES (4 << 20)  // they should stay in the caches until they are added up
#define RUNS_EACH 2            // fewer for each member would leave some idle for long

static int goes_by_runs(const mlp_trainer *t, const mlp_settings *settings, int64_t rows, int threads) {
    int64_t runs = mlp_runs_in(rows);
    if (runs < RUNS_EACH * threads) return 0;
    if ((double)runs * (double)t->net->bytes > PARTS_BYTES || settings->clip_norm > 0) return 0;
    for (int l = 0; l < t->net->n_layers; l++) {
        const mlp_layer *layer = &t->net->layers[l];
        if (layer->spec.activation == MLP_OWN_ACTIVATION) return 0;    // these are called for whole minibatches
        if (layer->slopes && layer->spec.one_slope) return 0;  // whose units are added up after the rows
    }
    return t->loss.kind != MLP_OWN_LOSS;
}

static mlp_status train(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order, int64_t n_order,
                        int64_t batch_size, const mlp_settings *settings, const double *rates, const double *momenta,
                        int threads, mlp_poll poll, void *context) {
    *result = (mlp_result){0};
    mlp_status status = mlp_check_data(data);
    if (!status) status = mlp_check_loss(t->net, data, t->loss);
    if (!status) status = check_settings(settings);
    if (!status && order) status = check_order(order, n_order, data->n);
    int64_t n = order ? n_order : data->n;
    if (!status && momenta) status = check_momenta(t, momenta, settings, n / batch_size + (n % batch_size != 0));
    if (status || n == 0) return status;

    int64_t rows = batch_size < n ? batch_size : n;
    mlp_epoch e = {
        .trainer = t, .data = data, .order = order, .n = n, .settings = settings, .rates = rates, .momenta = momenta,
        .batch_size = rows, .result = result, .poll = poll, .context = context, .flops_per_row = flops_per_row(t),
        .steps_before = t->steps, .minibatches_before = t->minibatches,
    };
    atomic_init(&e.stop, MLP_OK);
    int phases = 2 * t->net->n_layers + 2;
    threads = mlp_team_size(threads, e.flops_per_row * (double)rows / phases);
    e.by_runs = goes_by_runs(t, settings, rows, threads);
    int64_t runs = mlp_runs_in(rows);
    mlp_room room = {.rows = rows, .workspaces = 1, .threads = threads, .runs = runs};
    if (e.by_runs) room = (mlp_room){.rows = MLP_RUN, .workspaces = threads, .threads = threads, .runs = runs, .parts = runs};
    status = mlp_trainer_make_room(t, room, settings);
    if (status) return status;

    int ended = mlp_team_run(threads, run_epoch, &e);
    t->steps += result->minibatches;
    t->minibatches += result->minibatches;
    return ended ? (mlp_status)atomic_load(&e.stop) : MLP_FORKED;
}

// ---- The public functions ----

mlp_status mlp_train_epoch(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order, int64_t n_order,
                           const mlp_settings *settings, const double *rates, const double *momenta, int threads,
                           mlp_poll poll, void *context) {
    return train(t, result, data, order, n_order, t->batch_size, settings, rates, momenta, threads, poll, context);
}

mlp_status mlp_train_step(mlp_trainer *t, mlp_result *result, const mlp_data *data, const mlp_settings *settings, int threads,
                          mlp_poll poll, void *context) {
    return train(t, result, data, NULL, 0, data->n > 0 ? data->n : 1, settings, NULL, NULL, threads, poll, context);
}
