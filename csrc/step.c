// The phases of a step, in order, and the functions that run them.
//
// Each phase splits its output into parts (never the sum inside a product). No phase allocates.
#include "build.h"
#include "step.h"

#include <math.h>

#include "chunks.h"
#include "rng.h"

static void *at(const mlp_step *s, void *matrix, int64_t row, int64_t cols) {
    return (char *)matrix + (size_t)row * (size_t)cols * s->kernels->real_size;
}

static const mlp_layer_spec *spec_of(const mlp_step *s, int l) { return &s->net->layers[l].spec; }

// ---- Stopping ----

void mlp_stop(mlp_pass *pass, mlp_status why) {
    int before = atomic_load(&pass->stop);
    while ((before == MLP_OK || (int)why < before) && !atomic_compare_exchange_weak(&pass->stop, &before, (int)why)) {
    }
}

#define LONG_STEP_FLOPS 1e9  // some ten milliseconds: long enough to poll in every phase

int mlp_step_interrupted(const mlp_step *s, mlp_part part) {
    mlp_pass *pass = s->pass;
    int is_long = pass->flops_per_row * (double)s->batch.rows > LONG_STEP_FLOPS;
    if (s->polls && part.number == 0 && is_long && pass->poll && pass->poll(pass->context)) {
        mlp_stop(pass, MLP_INTERRUPTED);
    }
    // The other reasons do not skip phases, since the reported loss must not depend on which part met them first.
    return mlp_interrupted(pass);
}

// ---- Running phases ----

static void run_joined(void *context, mlp_part part) {
    const mlp_step *s = context;
    for (int i = 0; i < s->n_joined; i++) s->joined[i].phase(s, s->joined[i].layer, part);
}

void mlp_step_settle(mlp_step *s) {
    if (s->n_joined > 0) mlp_call_run(s->call, run_joined, s);
    s->n_joined = 0;
}

void mlp_step_phase(mlp_step *s, mlp_phase *phase, int l, int by_rows) {
    if (s->parts == 1) {
        phase(s, l, (mlp_part){0, 1});
        return;
    }
    if (!by_rows || s->n_joined == MLP_MOST_JOINED) mlp_step_settle(s);
    s->joined[s->n_joined].phase = phase, s->joined[s->n_joined].layer = l;
    s->n_joined++;
    if (!by_rows) mlp_step_settle(s);
}

void mlp_step_run(mlp_step *s, mlp_work *work, void *context) {
    mlp_step_settle(s);
    if (s->parts == 1) work(context, (mlp_part){0, 1});
    else mlp_call_run(s->call, work, context);
}

// ---- Noise and dropout ----

static double dropout_of(const mlp_step *s, int l) { return s->dropout ? s->dropout[l + 1] : spec_of(s, l)->dropout; }

static mlp_rng_key rng_key_for(const mlp_step *s, uint32_t stream) {
    return (mlp_rng_key){s->pass->seed, s->number, stream, s->first_row};
}

// Forward and backward use the same random numbers. The output of layer l has stream l + 1, the input 0.
static void drop(const mlp_step *s, int l, void *out, const void *in, mlp_block block) {
    mlp_rng_key key = rng_key_for(s, MLP_STREAM_DROPOUT + (uint32_t)l + 1);
    s->kernels->dropout(out, in, spec_of(s, l)->n_out, block, dropout_of(s, l), &key);
}

static void disturb_input(const mlp_step *s, int64_t i0, int64_t i1) {
    const mlp_pass *pass = s->pass;
    int64_t n = spec_of(s, 0)->n_in;
    double p = s->dropout ? s->dropout[0] : pass->input_dropout;
    void *x = s->space->gathered.array[MLP_ROWS_X];
    mlp_rng_key noise = rng_key_for(s, MLP_STREAM_NOISE), drop = rng_key_for(s, MLP_STREAM_DROPOUT);
    if (pass->input_noise != 0) s->kernels->add_noise(x, n, i0, i1, pass->input_noise, &noise);
    if (p != 0) s->kernels->dropout(x, x, n, (mlp_block){i0, i1, 0, n}, p, &drop);
}

// ---- The phases ----

static void gather(const mlp_step *s, int l, mlp_part part) {
    (void)l;
    int64_t i0, i1;
    mlp_share(part, s->batch.rows, 1, &i0, &i1);
    int finite = mlp_gather(s->examples, &s->batch, i0, i1, s->pass->check_finite);
    if (!finite && s->pass->check_finite) mlp_stop(s->pass, MLP_INPUT_NOT_FINITE);
    if (s->pass->drops) disturb_input(s, i0, i1);
}

static int by_rows(const mlp_step *s, int parts, int64_t cols) {
    return parts == 1 || mlp_by_rows(s->kernels, parts, s->batch.rows, cols);
}

// A part's block of a matrix with `cols` columns and the minibatch's rows.
static mlp_block block_of(const mlp_step *s, mlp_part part, int64_t cols) {
    return mlp_block_of(s->kernels, part, by_rows(s, part.of, cols), s->batch.rows, 1, cols);
}

const void *mlp_input_of(const mlp_step *s, int l) { return l == 0 ? s->batch.x : s->space->a[l - 1]; }

// The activation of layer l in this step: none for the last, if the loss contains it.
static mlp_unit unit_of(const mlp_step *s, int l) {
    int is_last = l == s->net->n_layers - 1;
    return is_last && s->pass->loss ? mlp_output_unit(s->net, *s->pass->loss) : s->net->layers[l].unit;
}

static const mlp_unit no_unit = {.kind = MLP_IDENTITY};

static int drops(const mlp_step *s, int l) { return s->pass->drops && s->space->u[l] && dropout_of(s, l) > 0; }

// The output of layer l before dropout.
static void *output_of(const mlp_step *s, int l) { return drops(s, l) ? s->space->u[l] : s->space->a[l]; }

static void forward_product(const mlp_step *s, int l, mlp_unit g, mlp_part part) {
    const mlp_layer *layer = &s->net->layers[l];
    int is_custom = g.kind == MLP_CUSTOM_ACTIVATION;
    void *out = output_of(s, l), *z = mlp_has(g.kind, MLP_IN_Z) ? s->space->z[l] : NULL;
    s->kernels->dense_forward(is_custom ? z : out, is_custom ? NULL : z, mlp_input_of(s, l), layer->W, layer->stride,
                              layer->b, is_custom ? no_unit : g, layer->spec.n_in, layer->spec.n_out,
                              block_of(s, part, layer->spec.n_out),
                              mlp_scratch(s, part));
}

// Dropout on a block of layer l's output.
static void forward_dropout(const mlp_step *s, int l, mlp_block block) {
    if (drops(s, l)) drop(s, l, s->space->a[l], s->space->u[l], block);
}

static void dropout_of_block(const mlp_step *s, int l, mlp_part part) {
    forward_dropout(s, l, block_of(s, part, spec_of(s, l)->n_out));
}

static void forward_block(const mlp_step *s, int l, mlp_part part) {
    mlp_unit g = unit_of(s, l);
    if (!mlp_step_interrupted(s, part)) forward_product(s, l, g, part);
    if (g.kind != MLP_CUSTOM_ACTIVATION && g.kind != MLP_SOFTMAX) dropout_of_block(s, l, part);
}

static void forward_softmax(const mlp_step *s, int l, mlp_part part) {
    int64_t n = spec_of(s, l)->n_out, i0, i1;
    mlp_share(part, s->batch.rows, 1, &i0, &i1);
    void *rows = at(s, output_of(s, l), i0, n);
    s->kernels->softmax_forward(rows, rows, i1 - i0, n, mlp_scratch(s, part));
    forward_dropout(s, l, (mlp_block){i0, i1, 0, n});
}

// The activations of parts of the outputs. Losses that go with them contain them.
static void output_blocks(const mlp_step *s, int last, mlp_part part) {
    const mlp_layer_spec *spec = spec_of(s, last);
    int64_t i0, i1;
    mlp_share(part, s->batch.rows, 1, &i0, &i1);
    s->kernels->activate_blocks(at(s, s->space->a[last], i0, spec->n_out), spec->blocks, spec->n_blocks, i1 - i0,
                                spec->n_out, mlp_scratch(s, part));
}

// ---- Custom functions, and losses of rows together: called by the caller for all rows, so that results cannot depend
// on the number of threads ----

static void call_custom(mlp_step *s, int (*call)(mlp_step *s, int l), int l) {
    mlp_step_settle(s);
    if (!mlp_stopped(s->pass) && call(s, l)) mlp_stop(s->pass, MLP_INTERRUPTED);
}

static int custom_forward(mlp_step *s, int l) {
    const mlp_layer_spec *spec = spec_of(s, l);
    return spec->custom.forward(spec->custom.self, s->pass->context, output_of(s, l), s->space->z[l], s->batch.rows,
                                spec->n_out);
}

#if !defined(MLP_NO_TRAINING)
// Whether the derivative of a loss may overflow where the loss does not: times large weights or factors, or for a
// normal distribution of small variance.
static int overflows_alone(mlp_loss loss, const mlp_truth *truth) {
    return truth->weights || loss.kind == MLP_PER_OUTPUT || loss.kind == MLP_GAUSSIAN_NLL;
}

// finite: whether the losses of some rows are; delta: `count` numbers of those rows, or NULL for no check.
static void check_loss(const mlp_step *s, int finite, const void *delta, int64_t count) {
    if (!s->pass->check_finite) return;
    if (!finite) mlp_stop(s->pass, MLP_LOSS_NOT_FINITE);
    else if (delta && !mlp_all_finite(delta, s->net->dtype, count)) mlp_stop(s->pass, MLP_DERIVATIVE_NOT_FINITE);
}

static void loss_and_delta(const mlp_step *s, int last, mlp_part part) {
    int64_t n = spec_of(s, last)->n_out, i0, i1;
    const mlp_workspace *space = s->space;
    mlp_share(part, s->batch.rows, 1, &i0, &i1);
    mlp_truth truth = mlp_truth_from(s->net, &s->batch.truth, i0);
    void *delta = space->delta ? at(s, space->delta[last], i0, n) : NULL;
    int finite = s->kernels->loss(delta, space->row_loss + i0, space->row_correct + i0, at(s, space->a[last], i0, n),
                                  *s->pass->loss, spec_of(s, last)->activation, &truth, i1 - i0, n,
                                  mlp_scratch(s, part));
    check_loss(s, finite, overflows_alone(*s->pass->loss, &truth) ? delta : NULL, (i1 - i0) * n);
}

static int64_t chunks_of(const mlp_step *s) { return mlp_chunks_in(s->batch.rows, s->pass->chunk_rows); }

// Zeros in rows [i0, i1) of x, delta[l] or z of the last layer, where entries of y have weight 0: the derivative of the
// activation may be infinite there, and 0 times infinity is NaN.
static void skip_entries(const mlp_step *s, int l, void *x, int64_t i0, int64_t i1) {
    const void *weights = s->batch.truth.entry_weights;
    int64_t n = spec_of(s, l)->n_out;
    if (!weights || l < s->net->n_layers - 1 || unit_of(s, l).kind == MLP_SOFTMAX) return;
    s->kernels->skip_entries(at(s, x, i0, n), mlp_row(weights, s->net->dtype, i0, n), (i1 - i0) * n);
}

// The gradient of the slopes for each chunk of the rows.
static void slope_gradient(const mlp_step *s, int l, mlp_part part) {
    int64_t n = spec_of(s, l)->n_out, length = s->pass->chunk_rows, j0, j1;
    mlp_share(part, n, mlp_line_or(s->kernels, 1), &j0, &j1);
    for (int64_t chunk = 0; chunk < chunks_of(s); chunk++) {
        s->kernels->slope_gradient(at(s, s->space->slope[l], chunk, n), at(s, s->space->delta[l], chunk * length, n),
                                   at(s, s->space->z[l], chunk * length, n),
                                   mlp_rows_of_chunk(s->batch.rows, length, chunk), n, j0, j1);
    }
}

// The gradient of slopes is computed from z.
static void skip_slopes(const mlp_step *s, int l, mlp_part part) {
    int64_t i0, i1;
    mlp_share(part, s->batch.rows, 1, &i0, &i1);
    skip_entries(s, l, s->space->z[l], i0, i1);
}

static void sum_slopes(const mlp_step *s, int l) {
    int64_t n = spec_of(s, l)->n_out;
    for (int64_t chunk = 0; chunk < chunks_of(s); chunk++) {
        s->kernels->sum_slopes(at(s, s->space->slope[l], chunk, n), n);
    }
}

// The matrix that the derivative of layer l's activation is computed from: z or a.
static void *kept(const mlp_step *s, int l) {
    return mlp_has(spec_of(s, l)->activation, MLP_IN_Z) ? s->space->z[l] : output_of(s, l);
}

static void activation_backward_rows(const mlp_step *s, int l, mlp_part part) {
    mlp_unit g = unit_of(s, l);
    int64_t n = spec_of(s, l)->n_out, i0, i1;
    mlp_share(part, s->batch.rows, 1, &i0, &i1);
    void *delta = at(s, s->space->delta[l], i0, n), *from = at(s, kept(s, l), i0, n);
    if (g.kind == MLP_SOFTMAX) s->kernels->softmax_backward(delta, from, i1 - i0, n, mlp_scratch(s, part));
    else s->kernels->activation_backward(delta, from, g, i1 - i0, n);
    skip_entries(s, l, s->space->delta[l], i0, i1);
}

// delta[l - 1] from delta[l] and W_l, which has not been updated yet.
static void delta_below(const mlp_step *s, int l, mlp_part part) {
    const mlp_layer *layer = &s->net->layers[l];
    mlp_unit g = unit_of(s, l - 1);
    if (mlp_has(g.kind, MLP_APART)) g = no_unit;
    void *below = s->space->delta[l - 1];
    mlp_block block = block_of(s, part, layer->spec.n_in);
    if (!mlp_step_interrupted(s, part)) {
        s->kernels->delta_below(below, s->space->delta[l], layer->W, layer->stride, kept(s, l - 1), g, layer->spec.n_in,
                                layer->spec.n_out, block, mlp_scratch(s, part));
    }
    if (drops(s, l - 1)) drop(s, l - 1, below, below, block);
}

static int custom_backward(mlp_step *s, int l) {
    const mlp_layer_spec *spec = spec_of(s, l);
    int failed = spec->custom.backward(spec->custom.self, s->pass->context, s->space->delta[l], s->space->z[l],
                                       s->batch.rows, spec->n_out);
    if (!failed) skip_entries(s, l, s->space->delta[l], 0, s->batch.rows);
    if (!failed) check_loss(s, 1, s->space->delta[l], s->batch.rows * spec->n_out);
    return failed;
}

static int custom_loss(mlp_step *s, int last) {
    const mlp_custom_loss *custom = &s->pass->loss->custom;
    int failed = custom->rows(custom->self, s->pass->context, s->space->delta[last], s->space->row_loss,
                              s->space->a[last], &s->batch.truth, s->batch.rows, spec_of(s, last)->n_out);
    int finite = 1;
    for (int64_t i = 0; i < s->batch.rows; i++) {
        s->space->row_correct[i] = 0;
        finite &= isfinite(s->space->row_loss[i]) != 0;
    }
    if (!failed) check_loss(s, finite, s->space->delta[last], s->batch.rows * spec_of(s, last)->n_out);
    return failed;
}

// A loss of all rows together.
static int joined_loss(mlp_step *s, int last) {
    void *delta = s->space->delta[last];
    for (int64_t i = 0; i < s->batch.rows; i++) s->space->row_correct[i] = 0;
    int finite = mlp_joined_loss(delta, s->space->row_loss, s->space->a[last], s->net->dtype, &s->batch.truth,
                                 s->batch.rows, s->space->joined);
    check_loss(s, finite, delta, s->batch.rows);
    return 0;
}
#endif

// ---- Gather, forward, loss, backward ----

void mlp_step_gather(mlp_step *s) { mlp_step_phase(s, gather, 0, 1); }

static void forward(mlp_step *s, int l) {
    mlp_unit g = unit_of(s, l);
    mlp_step_phase(s, forward_block, l, by_rows(s, s->parts, spec_of(s, l)->n_out));
    if (g.kind == MLP_CUSTOM_ACTIVATION) {
        call_custom(s, custom_forward, l);
        if (drops(s, l)) mlp_step_phase(s, dropout_of_block, l, by_rows(s, s->parts, spec_of(s, l)->n_out));
    }
    if (g.kind == MLP_SOFTMAX) mlp_step_phase(s, forward_softmax, l, 1);
    if (spec_of(s, l)->n_blocks && !s->pass->loss) mlp_step_phase(s, output_blocks, l, 1);
}

void mlp_step_forward(mlp_step *s) {
    for (int l = 0; l < s->net->n_layers; l++) forward(s, l);
}

#if !defined(MLP_NO_TRAINING)
void mlp_step_loss(mlp_step *s) { mlp_step_phase(s, loss_and_delta, s->net->n_layers - 1, 1); }

// Turns delta[l] from d loss / d a of layer l into d loss / d z, as a separate pass. Needed at the output layer, for
// softmax (whole rows), for custom activations, and for slopes, whose gradient needs d loss / d a. Elsewhere the
// delta_below kernel does it in its epilogue.
static void activation_backward(mlp_step *s, int l) {
    mlp_unit g = unit_of(s, l);
    if (g.kind == MLP_CUSTOM_ACTIVATION) {
        call_custom(s, custom_backward, l);
        return;
    }
    if (g.slopes && s->batch.truth.entry_weights) mlp_step_phase(s, skip_slopes, l, 1);
    if (g.slopes) mlp_step_phase(s, slope_gradient, l, 0);
    if (g.slopes && g.shared) sum_slopes(s, l);
    mlp_step_phase(s, activation_backward_rows, l, 1);
}

static void delta_of_output(mlp_step *s) {
    const mlp_loss *loss = s->pass->loss;
    int last = s->net->n_layers - 1, is_custom = loss->kind == MLP_CUSTOM_LOSS;
    if (is_custom) call_custom(s, custom_loss, last);
    else if (mlp_loss_has(loss->kind, MLP_JOINS)) call_custom(s, joined_loss, last);
    else mlp_step_loss(s);
    if (unit_of(s, last).kind != MLP_IDENTITY && !(is_custom && loss->custom.of_z)) activation_backward(s, last);
}

void mlp_step_backward(mlp_step *s) {
    delta_of_output(s);
    for (int l = s->net->n_layers - 1; l > s->pass->lowest; l--) {
        mlp_step_phase(s, delta_below, l, by_rows(s, s->parts, spec_of(s, l)->n_in));
        if (mlp_has(unit_of(s, l - 1).kind, MLP_APART)) activation_backward(s, l - 1);
    }
}
#endif
