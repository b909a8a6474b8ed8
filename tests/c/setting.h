// Networks and training data for the tests, built from a `setting`.
#ifndef MLP_TEST_SETTING_H
#define MLP_TEST_SETTING_H

#include "check.h"
#include "crew.h"
#include "every.h"
#include "reals.h"

#define MOST_LAYERS 4

typedef struct {
    const char *name;
    int n_layers;
    int64_t width[MOST_LAYERS + 1];
    mlp_activation g[MOST_LAYERS];
    double alpha[MOST_LAYERS];
    int without_bias, frozen, shared, masked;  // bit l is for layer l
    mlp_loss loss;
    int by_label, weighted, pixels;  // pixels: X is uint8
    int by_entry;  // weights of the entries of y, some of them 0: what stands there is NaN
    int64_t n, batch;
    mlp_settings settings;
} setting;

typedef struct {
    mlp_data data;
    void *X, *targets, *weights, *entries;
    int32_t *labels;
} dataset;

static inline void *allocate(size_t bytes) {
    void *memory = calloc(bytes + 1, 1);
    if (!memory) exit(3);
    return memory;
}

static inline int64_t outputs_of(const setting *s) { return s->width[s->n_layers]; }

// ---- Data ----

static inline void *make_inputs(const setting *s, const mlp_kernels *k) {
    int64_t count = s->n * s->width[0];
    void *X = allocate((size_t)count * k->real_size);
    for (int64_t i = 0; i < count; i++) {
        if (s->pixels) ((uint8_t *)X)[i] = (uint8_t)random_below(256);
        else put(k, X, i, random_real(k));
    }
    return X;
}

// Targets: -1 and +1 for losses that need signs, otherwise probabilities, which all other losses accept.
static inline void *make_targets(const setting *s, const mlp_kernels *k) {
    int64_t n = outputs_of(s);
    void *targets = allocate((size_t)(s->n * n) * k->real_size);
    for (int64_t i = 0; i < s->n; i++) {
        double y[1000], total = 0;
        int signs = mlp_loss_rows[s->loss.kind].y == MLP_Y_SIGNS;
        for (int64_t j = 0; j < n; j++) total += y[j] = random_unit();
        for (int64_t j = 0; j < n; j++) put(k, targets, i * n + j, signs ? (y[j] < 0.5 ? -1 : 1) : y[j] / total);
    }
    return targets;
}

// Entry weights, and as the weight of a row their mean.
static inline void make_entries(const setting *s, const mlp_kernels *k, dataset *d) {
    int64_t n = outputs_of(s);
    d->entries = allocate((size_t)(s->n * n) * k->real_size), d->weights = allocate((size_t)s->n * k->real_size);
    for (int64_t i = 0; i < s->n; i++) {
        double total = 0;
        for (int64_t j = 0; j < n; j++) {
            double weight = random_below(3) ? rounded(k, 0.5 + random_unit()) : 0;
            put(k, d->entries, i * n + j, weight);
            if (weight == 0) put(k, d->targets, i * n + j, NAN);
            total += weight;
        }
        put(k, d->weights, i, total / (double)n);
    }
}

static inline dataset make_data(const setting *s, mlp_dtype dtype) {
    const mlp_kernels *k = mlp_kernels_for(dtype);
    dataset d = {0};
    random_state = 77;  // the same data for the same setting
    d.X = make_inputs(s, k);
    if (s->by_label) {
        d.labels = allocate((size_t)s->n * sizeof *d.labels);
        for (int64_t i = 0; i < s->n; i++) d.labels[i] = (int32_t)random_below(outputs_of(s));
    } else {
        d.targets = make_targets(s, k);
    }
    if (s->weighted) {
        d.weights = allocate((size_t)s->n * k->real_size);
        for (int64_t i = 0; i < s->n; i++) put(k, d.weights, i, 2 * random_unit());
    }
    if (s->by_entry) make_entries(s, k, &d);
    d.data = (mlp_data){DATA, .X = d.X, .x_type = s->pixels ? MLP_UINT8 : dtype, .x_scale = 1.0 / 255,
                        .labels = d.labels, .targets = d.targets, .weights = d.weights, .entry_weights = d.entries,
                        .n = s->n};
    return d;
}

static inline void destroy_data(dataset *d) {
    free(d->X);
    free(d->targets);
    free(d->weights);
    free(d->entries);
    free(d->labels);
}

// ---- Networks ----

static inline int64_t slopes_of(const setting *s, int l) {
    return !mlp_has(s->g[l], MLP_LEARNS_ALPHA) ? 0 : s->shared >> l & 1 ? 1 : s->width[l + 1];
}

// He initialisation for weights; biases and slopes are all different.
static inline void draw_parameters(const setting *s, mlp_network *net, const mlp_kernels *k) {
    static double z[1 << 18];
    for (int l = 0; l < s->n_layers; l++) {
        int64_t n_in = s->width[l], n_out = s->width[l + 1];
        mlp_random_normal(z, 0, n_in * n_out, 11, (uint64_t)l);
        for (int64_t i = 0; i < n_in * n_out; i++) {
            int64_t at = i / n_out * mlp_network_stride(net, l) + i % n_out;
            put(k, mlp_network_weights(net, l), at, z[i] * sqrt(2 / (double)n_in));
        }
        mlp_random_normal(z, 0, n_out, 12, (uint64_t)l);
        for (int64_t j = 0; mlp_network_bias(net, l) && j < n_out; j++) put(k, mlp_network_bias(net, l), j, z[j] / 4);
        for (int64_t j = 0; j < slopes_of(s, l); j++) put(k, mlp_network_slopes(net, l), j, s->alpha[l] + z[j] / 4);
    }
}

// relu as custom functions; they stop the call when the counter in `call`, if any, has run out. self is the kernels.
typedef struct {
    int calls, allowed;
} patience;

static inline int runs_out(void *context) {
    patience *p = context;
    return p && p->calls++ >= p->allowed;
}

static const mlp_unit relu = {.kind = MLP_RELU};

static inline int custom_relu(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n) {
    ((const mlp_kernels *)self)->activation_forward(a, z, relu, rows, n);
    return runs_out(call);
}

static inline int custom_relu_backward(void *self, void *call, void *delta, const void *z, int64_t rows, int64_t n) {
    ((const mlp_kernels *)self)->activation_backward(delta, z, relu, rows, n);
    return runs_out(call);
}

static inline int custom_half_squares(void *self, void *call, void *delta, double *row_loss, const void *a,
                                   const mlp_truth *truth, int64_t rows, int64_t n) {
    const mlp_kernels *k = self;
    mlp_loss loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR};
    void *scratch = allocate(k->scratch_bytes(1, n)), *correct = allocate((size_t)rows * sizeof(double));
    k->loss(delta, row_loss, correct, a, loss, MLP_IDENTITY, truth, rows, n, scratch);
    free(scratch);
    free(correct);
    return runs_out(call);
}

static inline mlp_layer_spec layer_spec(const setting *s, int l, mlp_dtype dtype) {
    return (mlp_layer_spec){LAYER, .n_in = s->width[l], .n_out = s->width[l + 1], .activation = s->g[l],
                            .alpha = s->alpha[l],
                            .shared = s->shared >> l & 1, .has_bias = !(s->without_bias >> l & 1),
                            .trainable = !(s->frozen >> l & 1), .has_mask = s->masked >> l & 1,
                            .custom = {custom_relu, custom_relu_backward, (void *)mlp_kernels_for(dtype)}};
}

static inline mlp_network *make_network(const setting *s, mlp_dtype dtype) {
    mlp_layer_spec layers[MOST_LAYERS];
    for (int l = 0; l < s->n_layers; l++) layers[l] = layer_spec(s, l, dtype);
    mlp_network *net = NULL;
    if (!CHECK(mlp_network_create(&net, dtype, layers, s->n_layers) == MLP_OK)) exit(3);
    draw_parameters(s, net, mlp_kernels_for(dtype));
    return net;
}

static inline mlp_trainer *make_trainer(const setting *s, mlp_network *net) {
    mlp_trainer *trainer = NULL;
    if (!CHECK(mlp_trainer_create(&trainer, net, &s->loss, s->batch) == MLP_OK)) exit(3);
    return trainer;
}

// All parameters, and with a trainer all states, layer by layer, as doubles in new memory.
typedef struct {
    double *values;
    int64_t n;
} snapshot;

static inline void append(snapshot *to, const mlp_kernels *k, const void *array, int64_t n) {
    for (int64_t i = 0; array && i < n; i++) to->values[to->n++] = get(k, array, i);
}

static inline void append_rows(snapshot *to, const mlp_kernels *k, const void *rows, int64_t stride, int64_t n_in,
                               int64_t n_out) {
    for (int64_t i = 0; i < n_in; i++) append(to, k, (const char *)rows + (size_t)(i * stride) * k->real_size, n_out);
}

static inline snapshot take_snapshot(const setting *s, const mlp_network *net, mlp_trainer *trainer, mlp_dtype dtype) {
    const mlp_kernels *k = mlp_kernels_for(dtype);
    int64_t most = 0;
    for (int l = 0; l < s->n_layers; l++) most += (1 + MLP_MOST_STATES) * (s->width[l] + 2) * s->width[l + 1];
    snapshot taken = {allocate((size_t)most * sizeof(double)), 0};
    for (int l = 0; l < s->n_layers; l++) {
        int64_t n_in = s->width[l], n_out = s->width[l + 1], stride = mlp_network_stride(net, l);
        append_rows(&taken, k, mlp_network_weights(net, l), stride, n_in, n_out);
        append(&taken, k, mlp_network_bias(net, l), n_out);
        append(&taken, k, mlp_network_slopes(net, l), slopes_of(s, l));
        if (!trainer) continue;
        for (int i = 0; i < mlp_trainer_states(trainer); i++) {
            append_rows(&taken, k, mlp_trainer_state(trainer, i, mlp_network_weights(net, l)), stride, n_in, n_out);
            append(&taken, k, mlp_trainer_state(trainer, i, mlp_network_bias(net, l)), n_out);
            append(&taken, k, mlp_trainer_state(trainer, i, mlp_network_slopes(net, l)), slopes_of(s, l));
        }
    }
    return taken;
}

static inline int same_snapshot(const snapshot *a, const snapshot *b) {
    if (a->n != b->n) return 0;
    for (int64_t i = 0; i < a->n; i++) {
        if (!same(a->values[i], b->values[i])) return 0;
    }
    return 1;
}

// Parameters, and states of trainer unless it is NULL, are as they were in `before`, which is freed.
static inline void check_nothing_changed(const setting *s, const mlp_network *net, mlp_trainer *trainer,
                                         mlp_dtype dtype, snapshot before) {
    snapshot after = take_snapshot(s, net, trainer, dtype);
    CHECK(same_snapshot(&before, &after));
    free(before.values);
    free(after.values);
}

static inline int snapshot_is_finite(const snapshot *a) {
    for (int64_t i = 0; i < a->n; i++) {
        if (!isfinite(a->values[i])) return 0;
    }
    return 1;
}

#endif
