// Training: an epoch, minibatch by minibatch. Read this file first.
//
// For each minibatch:  gather -> forward 1..L -> loss and delta_L -> delta of the layers below, L-1..1 (step.c)
//                      -> update L..1 (update.c).
// Before the update a step can be discarded without having changed anything.
//
// The calling thread goes through the epoch; helpers compute parts of its phases (crew.h). A minibatch of more than one
// chunk (chunks.h) is processed chunk by chunk: for a small network each part takes whole chunks, for a large one each
// phase of each chunk is cut into parts. No phase allocates.
#include "build.h"
#if !defined(MLP_NO_TRAINING)
#include <string.h>

#include "sized.h"
#include "update.h"

typedef struct {
    mlp_pass pass;
    mlp_examples examples;  // of the epoch up to the last minibatch of the call
    mlp_trainer *trainer;
    const mlp_settings *settings;
    const mlp_epoch_part *part;
    int64_t batch_size, first_row;  // of the first minibatch
    void *gradient;       // output of mlp_gradient, which takes no step; or NULL
    mlp_gradient_options options;
    int alone;            // each part takes whole chunks
    int whole;            // forward and backward run once for the minibatch, not per chunk
    mlp_result *result;
    double flops_since_poll;
    int steps_since_poll;
    double weight_sum;    // of the minibatch
    double l2_penalty;    // before its step, if the settings ask for it
    int64_t steps_before;  // this call
} mlp_epoch;

typedef struct {
    mlp_epoch *epoch;
    mlp_trainer *trainer;
    int64_t first, rows;  // its examples
    int64_t number;       // its number in the call
    int64_t chunks;
    mlp_step step;        // the minibatch, or the current chunk
} minibatch;

// ---- Polling ----

// mlp_poll may read a clock: it is called once per POLL_FLOPS or POLL_STEPS.
#define POLL_FLOPS 1e6
#define POLL_STEPS 64

static void poll_now_and_then(mlp_epoch *e, const mlp_step *s) {
    mlp_pass *pass = &e->pass;
    if (!pass->poll) return;
    e->flops_since_poll += pass->flops_per_row * (double)s->batch.rows;
    if (e->flops_since_poll < POLL_FLOPS && ++e->steps_since_poll < POLL_STEPS) return;
    e->flops_since_poll = e->steps_since_poll = 0;
    if (pass->poll(pass->context)) mlp_stop(pass, MLP_INTERRUPTED);
}

// ---- Forward and backward ----

// Gather, forward, loss and backward for rows [first_row, first_row + rows) of the minibatch.
static void forward_and_backward(minibatch *m, int64_t first_row, int64_t rows) {
    mlp_step *s = &m->step;
    mlp_minibatch_at(&s->batch, &m->epoch->examples, m->first + first_row, rows, &s->space->gathered);
    s->first_row = m->epoch->options.first_row + first_row;
    if (s->polls) poll_now_and_then(m->epoch, s);
    mlp_step_gather(s);
    mlp_step_forward(s);
    mlp_step_backward(s);
}

static mlp_chunk_sums sums_of_rows(const mlp_step *s, int64_t first, int64_t rows) {
    const void *weights = s->batch.truth.weights;
    mlp_chunk_sums sums = {0};
    for (int64_t i = first; i < first + rows; i++) {
        double weight = weights ? mlp_number(weights, s->net->dtype, i) : 1, right = s->space->row_correct[i];
        sums.loss += s->space->row_loss[i];
        sums.correct += weight * right;
        sums.exact += right == 1 ? weight : 0;
    }
    return sums;
}

// Memory for partial sum i of this member's workspace. The first one of workspace 0 is the gradient itself, where the
// total of all chunks ends up.
static void *place_of_sum(const minibatch *m, int64_t i) {
    const mlp_trainer *t = m->trainer;
    int64_t workspace = m->step.space - t->workspaces;
    if (workspace == 0 && i == 0) return m->epoch->gradient ? m->epoch->gradient : t->gradient;
    return t->memory_of_sums + (size_t)(workspace * t->capacity.sums + i) * t->net->bytes;
}

// Adds the gradient of `chunk`, whose delta is computed, to the tree of sums. in_step: the chunk's number within the
// rows of the step.
static void add_chunk(minibatch *m, mlp_sums *sums, int64_t chunk, int64_t in_step) {
    mlp_step *s = &m->step;
    void *sum = place_of_sum(m, sums->n);
    mlp_push_sum(sums, chunk, chunk + 1, sum);
    if (!mlp_stopped(s->pass)) mlp_store_chunk(s, sum, in_step);
    mlp_join_sums(s, sums, m->chunks);
}

// Each phase of each chunk is cut into parts.
static void each_chunk(minibatch *m) {
    mlp_step *s = &m->step;
    int64_t length = s->pass->chunk_rows;
    mlp_sums sums = {.n = 0};
    if (m->epoch->whole) forward_and_backward(m, 0, m->rows);
    for (int64_t chunk = 0; chunk < m->chunks; chunk++) {
        int64_t rows = mlp_rows_of_chunk(m->rows, length, chunk), in_step = m->epoch->whole ? chunk : 0;
        if (!m->epoch->whole) forward_and_backward(m, chunk * length, rows);
        mlp_step_settle(s);
        if (mlp_interrupted(s->pass)) return;
        m->trainer->chunk_sums[chunk] = sums_of_rows(s, in_step * length, rows);
        add_chunk(m, &sums, chunk, in_step);
    }
}

// A part takes its chunks through all layers and adds their gradients, with its data in the caches of one core; only
// for networks small enough that the sums of gradients fit there (goes_alone).
static void chunks_of_part(void *context, mlp_part part) {
    const minibatch *shared = context;
    mlp_trainer *t = shared->trainer;
    mlp_sums *sums = &t->sums[part.number];
    minibatch own = *shared;
    mlp_step *s = &own.step;
    int64_t length = s->pass->chunk_rows, begin, end;
    mlp_share(part, own.chunks, 1, &begin, &end);
    s->scratch = mlp_scratch(s, part), s->space = &t->workspaces[part.number];
    s->call = NULL, s->parts = 1, s->polls = part.number == 0;
    sums->n = 0;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        int64_t rows = mlp_rows_of_chunk(own.rows, length, chunk);
        if (mlp_step_interrupted(s, (mlp_part){0, 1})) break;
        forward_and_backward(&own, chunk * length, rows);
        t->chunk_sums[chunk] = sums_of_rows(s, 0, rows);
        add_chunk(&own, sums, chunk, 0);
    }
}

// The partial sums that remain are added by all parts together.
static void chunks_by_part(minibatch *m) {
    mlp_step *s = &m->step;
    mlp_sums all = {.n = 0};
    mlp_step_run(s, chunks_of_part, m);
    if (mlp_stopped(s->pass)) return;
    for (int part = 0; part < s->parts; part++) {
        const mlp_sums *of = &m->trainer->sums[part];
        for (int i = 0; i < of->n; i++) {
            mlp_push_sum(&all, of->first[i], i + 1 < of->n ? of->first[i + 1] : of->end, of->sum[i]);
            mlp_join_sums(s, &all, m->chunks);
        }
    }
}

// ---- A minibatch ----

// Adds the sums of the chunks, in order. done: the minibatch was processed; otherwise only bad_loss is set, for
// MLP_LOSS_NOT_FINITE.
static void account(const minibatch *m, int done) {
    mlp_epoch *e = m->epoch;
    mlp_result *result = e->result;
    mlp_chunk_sums all = {0};
    for (int64_t chunk = 0; chunk < m->chunks; chunk++) {
        const mlp_chunk_sums *sums = &m->trainer->chunk_sums[chunk];
        all.loss += sums->loss;
        all.correct += sums->correct;
        all.exact += sums->exact;
    }
    if (!done) {
        result->bad_loss = e->weight_sum > 0 ? all.loss / e->weight_sum : all.loss;
        return;
    }
    result->loss_sum += all.loss;
    result->row_loss_sum += (double)m->rows * (e->weight_sum > 0 ? all.loss / e->weight_sum : 0);
    result->row_l2_sum += (double)m->rows * e->l2_penalty;
    result->correct += all.correct;
    result->exact += all.exact;
    result->weight_sum += e->weight_sum;
    result->rows += m->rows;
    result->minibatches++;
}

static mlp_move move_of(const minibatch *m) {
    const mlp_epoch *e = m->epoch;
    mlp_move move = mlp_move_of(e->settings, m->number + 1);
    move.unpenalised = e->options.unpenalised;
    move.scale = e->options.scale;
    if (move.scale == 0) move.scale = mlp_gradient_scale(e->examples.data, e->weight_sum, m->rows);
    if (e->part->rates) move.lr = e->part->rates[m->number];
    if (e->part->momenta) move.momentum = e->part->momenta[m->number];
    if (e->part->l2) move.l2 = e->part->l2 + m->number * e->trainer->net->n_layers;
    return move;
}

// Whether each tile of the gradient is used for the update at once, without storing the gradient.
static int is_fused(const minibatch *m) {
    return m->chunks == 1 && !m->epoch->gradient && m->epoch->settings->clip_norm == 0;
}

static double penalty_before(minibatch *m) {
    const mlp_move move = move_of(m);
    return mlp_l2_penalty(&m->step, m->trainer, &move);
}

static void use_delta(minibatch *m) {
    mlp_epoch *e = m->epoch;
    mlp_step *s = &m->step;
    mlp_move move = move_of(m);
    if (is_fused(m)) {
        int64_t left = e->examples.n - m->first - m->rows;
        mlp_update_parameters(s, m->trainer, &move, left < e->batch_size ? left : e->batch_size);
        return;
    }
    void *gradient = e->gradient ? e->gradient : m->trainer->gradient;
    if (m->chunks == 1) mlp_store_gradient(s, gradient, &move);
    else mlp_finish_gradient(s, gradient, &move);
    if (e->gradient) return;
    mlp_apply_gradient(s, m->trainer, gradient, &move);
}

// Returns whether the minibatch was processed; if not, no parameter has changed.
static int one_minibatch(minibatch *m) {
    mlp_epoch *e = m->epoch;
    mlp_step *s = &m->step;
    m->chunks = mlp_chunks_in(m->rows, s->pass->chunk_rows);
    s->number = e->steps_before + m->number;
    if (e->part->dropout) s->dropout = e->part->dropout + m->number * (e->trainer->net->n_layers + 1);
    e->weight_sum = mlp_sum_of_weights(&e->examples, m->first, m->rows);
    if (e->settings->sum_l2 && !e->gradient) e->l2_penalty = penalty_before(m);
    if (m->chunks == 1) forward_and_backward(m, 0, m->rows);
    else if (e->alone) chunks_by_part(m);
    else each_chunk(m);

    mlp_step_settle(s);
    int done = !mlp_stopped(s->pass);
    if (m->chunks == 1) m->trainer->chunk_sums[0] = sums_of_rows(s, 0, m->rows);
    account(m, done);
    if (done) use_delta(m);
    return done;
}

static void run_epoch(mlp_epoch *e, int threads) {
    mlp_trainer *t = e->trainer;
    const mlp_network *net = t->net;
    mlp_call call;
    minibatch m = {.epoch = e, .trainer = t};
    m.step = (mlp_step){.pass = &e->pass, .net = net, .kernels = net->kernels, .space = t->workspaces,
                        .examples = &e->examples, .call = &call, .polls = 1, .scratch = t->scratch,
                        .scratch_bytes = t->scratch_bytes};
    int done = 1;
    mlp_call_begin(&call, threads, e->pass.flops_per_row * (double)(e->examples.n - e->first_row));
    for (m.first = e->first_row; done && m.first < e->examples.n; m.first += m.rows, m.number++) {
        int64_t left = e->examples.n - m.first;
        m.rows = left < e->batch_size ? left : e->batch_size;
        if (m.number > 0) mlp_call_refresh(&call);
        m.step.parts = call.parts;
        done = one_minibatch(&m);
    }
    mlp_call_end(&call);
}

// ---- Before an epoch ----

static mlp_status check_settings(const mlp_settings *s) {
    if (!s) return MLP_BAD_ARGUMENT;  // a struct of no known size
    if (!(s->input_dropout >= 0 && s->input_dropout < 1 && s->input_noise >= 0)) return MLP_BAD_ARGUMENT;
    if (!(s->clip_value >= 0 && s->clip_norm >= 0 && s->max_norm >= 0 && s->chunk_rows >= 0)) return MLP_BAD_ARGUMENT;
    return mlp_is_optimizer(s->optimizer) ? MLP_OK : MLP_BAD_ARGUMENT;
}

// A schedule of momenta needs velocities, and each momentum positive in the network's dtype: with 0 a step would leave
// the velocities unchanged.
static mlp_status check_momenta(const mlp_trainer *t, const double *momenta, const mlp_settings *settings, int64_t n) {
    if (!mlp_states_of(settings)) return MLP_BAD_ARGUMENT;
    for (int64_t i = 0; i < n; i++) {
        double momentum = t->net->dtype == MLP_FLOAT32 ? (double)(float)momenta[i] : momenta[i];
        if (!(momentum > 0)) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}

// What a part brings for each of its `n` minibatches, beside the rates.
static mlp_status check_part(const mlp_trainer *t, const mlp_epoch_part *part, const mlp_settings *settings,
                             int64_t n) {
    int64_t layers = t->net->n_layers;
    for (int64_t i = 0; part->l2 && i < n * layers; i++) {
        if (!(part->l2[i] >= 0)) return MLP_BAD_ARGUMENT;
    }
    for (int64_t i = 0; part->dropout && i < n * (layers + 1); i++) {
        int64_t l = i % (layers + 1) - 1;
        if (!(part->dropout[i] >= 0 && part->dropout[i] < 1)) return MLP_BAD_ARGUMENT;
        if (part->dropout[i] > 0 && l >= 0 && !t->net->layers[l].drops) return MLP_BAD_ARGUMENT;
    }
    return part->momenta ? check_momenta(t, part->momenta, settings, n) : MLP_OK;
}

// Positions [first, end) of an order.
static mlp_status check_order(const int64_t *order, int64_t first, int64_t end, int64_t n) {
    for (int64_t i = first; i < end; i++) {
        if (order[i] < 0 || order[i] >= n) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}

// Of all frozen layers: their number.
static int lowest_trainable(const mlp_network *net) {
    int l = 0;
    while (l < net->n_layers && !net->layers[l].spec.trainable) l++;
    return l;
}

static double flops_per_row(const mlp_network *net, int lowest) {
    double flops = 0;
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer_spec *layer = &net->layers[l].spec;
        int products = 1 + layer->trainable + (l > lowest);
        flops += 2.0 * (double)layer->n_in * (double)layer->n_out * products;
    }
    return flops;
}

// Custom functions, and losses of rows together, take whole minibatches.
static int needs_all_rows(const mlp_trainer *t) {
    for (int l = 0; l < t->net->n_layers; l++) {
        if (t->net->layers[l].spec.activation == MLP_CUSTOM_ACTIVATION) return 1;
    }
    return t->loss.kind == MLP_CUSTOM_LOSS || mlp_loss_has(t->loss.kind, MLP_JOINS);
}

#define SUMS_BYTES (4 << 20)  // partial sums of all parts, which should stay in the caches
#define CHUNKS_EACH 2         // with fewer chunks per part, some helpers would be idle too long

static int goes_alone(const mlp_epoch *e, int64_t chunks, int threads) {
    double bytes = (double)(mlp_most_sums(chunks, 0) * threads) * (double)e->trainer->net->bytes;
    return !e->whole && chunks >= CHUNKS_EACH * threads && bytes <= SUMS_BYTES;
}

// Sets how minibatches are processed (whole, alone); returns the capacity for it.
static mlp_capacity plan(mlp_epoch *e, int threads) {
    int64_t rows = e->batch_size, chunks = mlp_chunks_in(rows, e->pass.chunk_rows);
    e->whole = needs_all_rows(e->trainer);
    e->alone = goes_alone(e, chunks, threads);
    mlp_capacity capacity = {.rows = rows, .workspaces = 1, .threads = threads, .chunks = chunks, .slopes = 1,
                     .gathered = mlp_bytes_of_rows(&e->examples)};
    if (e->whole) capacity.slopes = chunks;
    else if (chunks > 1) capacity.rows = e->pass.chunk_rows;
    if (e->alone) capacity.workspaces = threads;
    if (chunks > 1) capacity.sums = mlp_most_sums(chunks, !e->alone);
    capacity.has_squares = !e->gradient && (e->settings->clip_norm > 0 || e->settings->sum_l2);
    capacity.has_gradient = !e->gradient && (chunks > 1 || e->settings->clip_norm > 0);
    return capacity;
}

// Runs e over its examples, after setting the fields of e that follow from the others.
static mlp_status run(mlp_epoch *e, int threads) {
    mlp_trainer *t = e->trainer;
    mlp_pass *pass = &e->pass;
    const mlp_settings *settings = e->settings;
    pass->net = t->net, pass->loss = &t->loss;
    pass->lowest = pass->frozen_too ? 0 : lowest_trainable(t->net);
    pass->chunk_rows = settings->chunk_rows ? settings->chunk_rows : MLP_CHUNK_ROWS;
    pass->input_dropout = settings->input_dropout, pass->input_noise = settings->input_noise;
    pass->seed = settings->seed, pass->check_finite = settings->check_finite;
    pass->flops_per_row = flops_per_row(t->net, pass->lowest);
    atomic_init(&pass->stop, MLP_OK);
    if (e->batch_size > e->examples.n) e->batch_size = e->examples.n;
    int changes_x = pass->input_dropout > 0 || pass->input_noise > 0 || e->part->dropout;
    e->examples.changes_x = pass->drops && changes_x;
    e->steps_before = t->steps;
    int phases = 2 * t->net->n_layers + 2;
    threads = mlp_crew_size(threads, pass->flops_per_row * (double)e->batch_size / phases);
    mlp_status status = mlp_trainer_ensure(t, plan(e, threads));
    if (!status && !e->gradient) status = mlp_trainer_prepare(t, settings);
    if (status) return status;
    run_epoch(e, threads);
    return (mlp_status)atomic_load(&pass->stop);
}

// Counts `done` more minibatches of the present layers' training.
static void count(mlp_trainer *t, int64_t done) {
    for (int l = 0; l < t->net->n_layers; l++) t->updates[l] += t->net->layers[l].spec.trainable ? done : 0;
    t->steps += done;
}

// ---- The public functions ----

// result: of the epoch so far.
static mlp_status epoch_part(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order,
                             int64_t n_order, const mlp_epoch_part *part, const mlp_settings *settings, int threads,
                             mlp_poll poll, void *context) {
    mlp_status status = mlp_check_data(t->net, data);
    if (!status) status = mlp_check_loss(t->net, data, t->loss);
    if (!status) status = check_settings(settings);
    if (!status && order && (n_order < 0 || n_order > data->n)) status = MLP_BAD_ARGUMENT;
    if (!status && !(part->batch_size >= 0 && part->first >= 0 && part->count >= 0)) status = MLP_BAD_ARGUMENT;
    if (status) return status;

    int64_t n = order ? n_order : data->n, size = part->batch_size ? part->batch_size : t->batch_size;
    int64_t left = n / size + (n % size != 0) - part->first, minibatches = left < part->count ? left : part->count;
    if (minibatches <= 0) return MLP_OK;
    int64_t first = part->first * size, end = minibatches == left ? n : first + minibatches * size;
    if (order) status = check_order(order, first, end, data->n);
    if (!status) status = check_part(t, part, settings, minibatches);
    if (status) return status;

    mlp_epoch e = {.trainer = t, .settings = settings, .part = part, .batch_size = size, .first_row = first,
                   .result = result, .examples = {.net = t->net, .data = data, .order = order, .n = end},
                   .pass = {.drops = 1, .poll = poll, .context = context}};
    int64_t before = result->minibatches;
    status = run(&e, threads);
    count(t, result->minibatches - before);
    return status;
}

mlp_status mlp_train_epoch_part(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order,
                                int64_t n_order, const mlp_epoch_part *part, const mlp_settings *settings, int threads,
                                mlp_poll poll, void *context) {
    mlp_data own_data;
    mlp_epoch_part own_part;
    mlp_settings own_settings;
    mlp_result none = {0}, own, sums;
    const mlp_result *before = mlp_as_known(result, &own, sizeof own);
    data = mlp_as_known(data, &own_data, sizeof own_data), part = mlp_as_known(part, &own_part, sizeof own_part);
    settings = mlp_as_known(settings, &own_settings, sizeof own_settings);
    if (!before || !part) return MLP_BAD_ARGUMENT;
    sums = part->first == 0 && !part->goes_on ? none : *before;
    mlp_status status = epoch_part(t, &sums, data, order, n_order, part, settings, threads, poll, context);
    mlp_give(result, &sums, sizeof sums);
    return status;
}

mlp_status mlp_train_epoch(mlp_trainer *t, mlp_result *result, const mlp_data *data, const int64_t *order,
                           int64_t n_order, const mlp_settings *settings, const double *rates, const double *momenta,
                           int threads, mlp_poll poll, void *context) {
    const mlp_epoch_part whole = {.size = sizeof whole, .count = INT64_MAX, .rates = rates, .momenta = momenta};
    return mlp_train_epoch_part(t, result, data, order, n_order, &whole, settings, threads, poll, context);
}

mlp_status mlp_train_step(mlp_trainer *t, mlp_result *result, const mlp_data *data, const mlp_settings *settings,
                          int threads, mlp_poll poll, void *context) {
    mlp_data own;
    data = mlp_as_known(data, &own, sizeof own);
    if (!data) return MLP_BAD_ARGUMENT;
    const mlp_epoch_part all = {.size = sizeof all, .batch_size = data->n > 0 ? data->n : 1, .count = 1};
    return mlp_train_epoch_part(t, result, data, NULL, 0, &all, settings, threads, poll, context);
}

// Zeros for layers that are not trained.
static void clear_frozen(const mlp_network *net, void *gradient) {
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer *layer = &net->layers[l];
        const char *begin = layer->W, *end = (const char *)net->parameters + net->bytes;
        if (l + 1 < net->n_layers) end = net->layers[l + 1].W;
        if (!layer->spec.trainable) memset(mlp_in_block(net, gradient, begin), 0, (size_t)(end - begin));
    }
}

mlp_status mlp_gradient(mlp_trainer *t, void *gradient, mlp_result *result, const mlp_data *data,
                        const mlp_gradient_options *options, const mlp_settings *settings, int threads, mlp_poll poll,
                        void *context) {
    const mlp_gradient_options usual = {.size = sizeof usual};
    mlp_gradient_options own_options;
    mlp_data own_data;
    mlp_settings own_settings;
    mlp_result sums = {0};
    options = mlp_as_known(options ? options : &usual, &own_options, sizeof own_options);
    data = mlp_as_known(data, &own_data, sizeof own_data);
    settings = mlp_as_known(settings, &own_settings, sizeof own_settings);
    if (!options || !mlp_give(result, &sums, sizeof sums)) return MLP_BAD_ARGUMENT;
    mlp_status status = mlp_check_data(t->net, data);
    if (!status) status = mlp_check_loss(t->net, data, t->loss);
    if (!status) status = check_settings(settings);
    if (!status && !(options->scale >= 0 && options->first_row >= 0 && data->n > 0)) status = MLP_BAD_ARGUMENT;
    if (status) return status;

    const mlp_epoch_part all = {0};
    mlp_epoch e = {.trainer = t, .settings = settings, .part = &all, .batch_size = data->n, .result = &sums,
                   .gradient = gradient, .options = *options,
                   .examples = {.net = t->net, .data = data, .n = data->n},
                   .pass = {.frozen_too = options->frozen_too, .drops = !options->undisturbed, .poll = poll,
                            .context = context}};
    status = run(&e, threads);
    mlp_give(result, &sums, sizeof sums);
    if (!status && !options->frozen_too) clear_frozen(t->net, gradient);
    return status;
}

// ---- A step from a gradient ----

static int is_finite(const mlp_network *net, const void *gradient) {
    int finite = 1;
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer *layer = &net->layers[l];
        if (layer->spec.trainable) finite &= mlp_layer_is_finite(net, layer, gradient);
    }
    return finite;
}

#define FLOPS_OF_A_STEP 20  // per parameter: its memory traffic takes as long as that many operations

mlp_status mlp_apply(mlp_trainer *t, const void *gradient, const mlp_settings *settings, int threads) {
    mlp_settings own;
    settings = mlp_as_known(settings, &own, sizeof own);
    mlp_status status = check_settings(settings);
    if (!status && settings->check_finite && !is_finite(t->net, gradient)) status = MLP_DERIVATIVE_NOT_FINITE;
    if (!status) status = mlp_trainer_ensure(t, (mlp_capacity){.has_squares = settings->clip_norm > 0});
    if (!status) status = mlp_trainer_prepare(t, settings);
    if (status) return status;
    mlp_pass pass = {.net = t->net, .lowest = lowest_trainable(t->net)};
    atomic_init(&pass.stop, MLP_OK);
    double numbers = (double)t->net->bytes / (double)t->net->kernels->real_size;
    mlp_move move = mlp_move_of(settings, 1);
    mlp_call call;
    mlp_call_begin(&call, mlp_crew_size(threads, FLOPS_OF_A_STEP * numbers), FLOPS_OF_A_STEP * numbers);
    mlp_step s = {.pass = &pass, .net = t->net, .kernels = t->net->kernels, .call = &call, .parts = call.parts};
    mlp_apply_gradient(&s, t, gradient, &move);
    mlp_call_end(&call);
    count(t, 1);
    return MLP_OK;
}
#endif
