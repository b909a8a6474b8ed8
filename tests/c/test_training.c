// Training: it learns, the result has the same bits for any threads and instruction set, and after an interruption
// parameters are those after a whole minibatch.
#include "setting.h"

static const int team_sizes[] = {1, 2, 3, 7};
#define TEAMS (strcmp(mlp_threading(), "none") ? 4 : 1)  // a build without threads computes everything on one

#define PLAIN {SETTINGS, .lr = 0.05, .check_finite = 1}
#define ALL_TERMS {SETTINGS, .lr = 0.02, .momentum = 0.9, .nesterov = 1, .l1 = 1e-4, .l2 = 1e-3, .check_finite = 1}

static const setting trained[] = {
    {.name = "37-61-13", .n_layers = 2, .width = {37, 61, 13}, .g = {MLP_RELU, MLP_SOFTMAX},
     .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .by_label = 1, .weighted = 1, .n = 173, .batch = 50,
     .settings = ALL_TERMS},
    {.name = "100-128-64-10", .n_layers = 3, .width = {100, 128, 64, 10}, .g = {MLP_TANH, MLP_RELU, MLP_IDENTITY},
     .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = 150, .batch = 64, .settings = PLAIN},
    {.name = "5-3", .n_layers = 1, .width = {5, 3}, .g = {MLP_SIGMOID}, .loss = {LOSS,
                                                                                 .kind = MLP_BINARY_CROSS_ENTROPY},
     .n = 33, .batch = 8, .settings = {SETTINGS, .lr = 0.1, .momentum = 0.5}},
    {.name = "9-20-160, wide output", .n_layers = 2, .width = {9, 20, 160}, .g = {MLP_RELU, MLP_IDENTITY},
     .loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR}, .n = 70, .batch = 30, .settings = PLAIN},
    {.name = "8-20-6, softmax within", .n_layers = 2, .width = {8, 20, 6}, .g = {MLP_SOFTMAX, MLP_SIGMOID},
     .loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR}, .weighted = 1, .n = 64, .batch = 16, .settings = ALL_TERMS},
    {.name = "64-300-10, pixels", .n_layers = 2, .width = {64, 300, 10}, .g = {MLP_SIGMOID, MLP_SOFTMAX},
     .loss = {LOSS, .kind = MLP_SQUARED_ERROR}, .pixels = 1, .n = 130, .batch = 1000, .settings = ALL_TERMS},
    {.name = "20-70-40-30-3, frozen and without bias", .n_layers = 4, .width = {20, 70, 40, 30, 3}, .frozen = 5,
     .g = {MLP_RELU, MLP_TANH, MLP_SOFTMAX, MLP_SOFTMAX}, .without_bias = 6, .by_label = 1,
     .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = 97, .batch = 32, .settings = ALL_TERMS},
    {.name = "20-70-160-9-4, slopes", .n_layers = 4, .width = {20, 70, 160, 9, 4}, .without_bias = 2, .weighted = 1,
     .g = {MLP_PRELU, MLP_PRELU, MLP_PRELU, MLP_PRELU}, .alpha = {0.25, 0.1, -0.5, 1},
     .loss = {LOSS, .kind = MLP_HUBER, .parameter = 0.3}, .n = 97, .batch = 32, .settings = ALL_TERMS},
    {.name = "20-70-160-9-4, one slope each", .n_layers = 4, .width = {20, 70, 160, 9, 4}, .shared = 15,
     .g = {MLP_PRELU, MLP_PRELU, MLP_PRELU, MLP_PRELU}, .alpha = {0.25, 0.1, -0.5, 1},
     .loss = {LOSS, .kind = MLP_LOG_COSH}, .n = 97, .batch = 32, .settings = ALL_TERMS},
    {.name = "20-70-160-9-4, one slope each, shortened", .n_layers = 4, .width = {20, 70, 160, 9, 4}, .shared = 15,
     .g = {MLP_PRELU, MLP_PRELU, MLP_PRELU, MLP_PRELU}, .alpha = {0.25, 0.1, -0.5, 1}, .loss = {LOSS,
                                                                                                .kind = MLP_LOG_COSH},
     .n = 97, .batch = 32, .settings = {SETTINGS, .lr = 0.02, .clip_norm = 0.05, .check_finite = 1}},
    {.name = "20-160-40-5, frozen slopes", .n_layers = 3, .width = {20, 160, 40, 5},
     .g = {MLP_PRELU, MLP_PRELU, MLP_PRELU}, .alpha = {0.25, 0.1, 0.2}, .shared = 4, .frozen = 2,
     .loss = {LOSS, .kind = MLP_QUANTILE, .parameter = 0.3}, .n = 97, .batch = 32, .settings = PLAIN},
    // With one or two threads, members take whole chunks; with more, they share each phase.
    {.name = "9-18-3, chunks", .n_layers = 2, .width = {9, 18, 3}, .g = {MLP_TANH, MLP_SOFTMAX}, .by_label = 1,
     .weighted = 1, .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = 5000, .batch = 4100,
     .settings = {SETTINGS, .lr = 0.1, .momentum = 0.9, .l2 = 1e-3, .input_dropout = 0.2, .input_noise = 0.1,
                  .max_norm = 1}},
    {.name = "9-20-7-2, runs, frozen and masked", .n_layers = 3, .width = {9, 20, 7, 2}, .frozen = 2, .masked = 5,
     .g = {MLP_PRELU, MLP_SOFTMAX, MLP_PRELU}, .alpha = {0.25, 0, 0.1}, .without_bias = 4,
     .loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR}, .n = 4097, .batch = 5000, .settings = ALL_TERMS},
};
#define TRAINED ((int)(sizeof trained / sizeof *trained))

// The rest of what a step may have, for the same bits alone.
static const setting others[] = {
    {.name = "9-20-6, entry weights", .n_layers = 2, .width = {9, 20, 6}, .g = {MLP_SOFTMAX, MLP_SIGMOID},
     .by_entry = 1, .loss = {LOSS, .kind = MLP_SQUARED_ERROR}, .n = 64, .batch = 20, .settings = ALL_TERMS},
    {.name = "9-20-6, entry weights and softmax", .n_layers = 2, .width = {9, 20, 6}, .g = {MLP_PRELU, MLP_SOFTMAX},
     .alpha = {0.25}, .by_entry = 1, .loss = {LOSS, .kind = MLP_HUBER, .parameter = 0.3}, .n = 64, .batch = 20,
     .settings = ALL_TERMS},
    {.name = "9-20-160, entry weights and slopes", .n_layers = 2, .width = {9, 20, 160}, .g = {MLP_PRELU, MLP_PRELU},
     .alpha = {0.25, 0.1}, .shared = 1, .by_entry = 1, .loss = {LOSS, .kind = MLP_LOG_COSH}, .n = 64, .batch = 20,
     .settings = ALL_TERMS},
    {.name = "5-3-1, chunks longer than a block of a sum", .n_layers = 2, .width = {5, 3, 1},
     .g = {MLP_TANH, MLP_PRELU}, .alpha = {0, 0.5}, .shared = 2, .loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR},
     .n = 2500, .batch = 2300, .settings = {SETTINGS, .lr = 0.1, .chunk_rows = 2100, .check_finite = 1}},
};
#define OTHERS ((int)(sizeof others / sizeof *others))

// ---- Same bits ----

typedef struct {
    snapshot parameters;  // with velocities
    mlp_result result;    // of the last epoch
} outcome;

// An epoch, by calls for `each` minibatches, in turn of all data and of what is left of it; 0: by one call. What is
// beyond a part's minibatches may be wrong.
static void train_epoch(const setting *s, mlp_trainer *trainer, mlp_result *result, const mlp_data *data,
                        int64_t *order, int threads, int each) {
    if (!each) {
        CHECK(mlp_train_epoch(trainer, result, data, order, s->n, &s->settings, NULL, NULL, threads, NULL, NULL) ==
              MLP_OK);
        return;
    }
    for (mlp_epoch_part part = {PART, .count = each}; part.first * s->batch < s->n; part.first += each) {
        int64_t next = (part.first + each) * s->batch, kept = next < s->n ? order[next] : 0;
        if (next < s->n) order[next] = -1;
        mlp_epoch_part own = part;
        int64_t done = 0;
        if (part.first / each % 2) done = part.first * s->batch, own.first = 0, own.goes_on = 1;
        CHECK(mlp_train_epoch_part(trainer, result, data, order + done, s->n - done, &own, &s->settings, threads, NULL,
                                   NULL) == MLP_OK);
        if (next < s->n) order[next] = kept;
    }
}

static outcome train(const setting *s, mlp_dtype dtype, int threads, uint64_t epochs, int each) {
    dataset d = make_data(s, dtype);
    mlp_network *net = make_network(s, dtype);
    mlp_trainer *trainer = make_trainer(s, net);
    int64_t *order = allocate((size_t)s->n * sizeof *order);
    outcome o = {.result = mlp_result_init()};
    for (uint64_t e = 0; e < epochs; e++) {
        mlp_order(order, 0, s->n, s->n, 5, e);
        train_epoch(s, trainer, &o.result, &d.data, order, threads, each);
    }
    o.parameters = take_snapshot(s, net, trainer, dtype);
    free(order);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
    return o;
}

static int same_result(const mlp_result *a, const mlp_result *b) {
    return same(a->loss_sum, b->loss_sum) && same(a->weight_sum, b->weight_sum) && same(a->correct, b->correct) &&
           a->rows == b->rows && a->minibatches == b->minibatches;
}

static void check_same_bits(const setting *s, mlp_dtype dtype) {
    const char *isa;
    outcome first = train(s, dtype, 1, 3, 0);
    doing("training %s, %s", s->name, dtype == MLP_FLOAT32 ? "float32" : "float64");
    CHECK(snapshot_is_finite(&first.parameters) && first.result.rows == s->n);
    CHECK(first.result.minibatches == (s->n + s->batch - 1) / s->batch);
    for (int i = 0; (isa = mlp_isa_available(i)) != NULL; i++) {
        mlp_select_isa(isa);
        for (int t = 0; t < TEAMS; t++) {
            doing("training %s, %s %s, %d threads", s->name, isa, dtype == MLP_FLOAT32 ? "float32" : "float64",
                  team_sizes[t]);
            outcome o = train(s, dtype, team_sizes[t], 3, t);
            CHECK(same_snapshot(&o.parameters, &first.parameters));
            CHECK(same_result(&o.result, &first.result));
            free(o.parameters.values);
        }
    }
    mlp_select_isa(NULL);
    free(first.parameters.values);
}

// ---- mlp_train_step equals mlp_gradient and mlp_apply ----

#define STEPS 3

static const mlp_settings optimizers[] = {
    {SETTINGS, .optimizer = MLP_SGD}, {SETTINGS, .optimizer = MLP_SGD, .momentum = 0.9},
    {SETTINGS, .optimizer = MLP_ADAM, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.1},
    {SETTINGS, .optimizer = MLP_RMSPROP, .beta2 = 0.9, .epsilon = 1e-8}, {SETTINGS, .optimizer = MLP_ADAGRAD,
                                                                          .epsilon = 1e-8},
    {SETTINGS, .optimizer = MLP_RPROP, .shrink = 0.5, .grow = 1.2, .least_step = 1e-6, .most_step = 50},
};
#define OPTIMIZERS ((int)(sizeof optimizers / sizeof *optimizers))

// The settings of s, with another optimizer and the kinds of clipping that the bits of `limits` select.
static mlp_settings with_optimizer(const setting *s, int which, int limits) {
    mlp_settings settings = optimizers[which];
    settings.lr = 0.01, settings.l1 = 1e-4, settings.l2 = 1e-3, settings.seed = 8, settings.check_finite = 1;
    settings.input_dropout = 0.1, settings.input_noise = 0.1;
    settings.chunk_rows = s->settings.chunk_rows;
    if (limits & 1) settings.clip_norm = 0.05;
    if (limits & 2) settings.clip_value = 0.01, settings.max_norm = 0.9;
    return settings;
}

// Whether so many steps are counted, for the optimizer those of layers that are trained.
static int has_counted(const setting *s, const mlp_trainer *trainer, int steps) {
    int ok = mlp_trainer_steps(trainer) == steps;
    for (int l = 0; l < s->n_layers; l++) ok &= mlp_trainer_updates(trainer, l) == (s->frozen >> l & 1 ? 0 : steps);
    return ok;
}

static snapshot trained_by_steps(const setting *s, const dataset *d, const mlp_settings *settings, mlp_dtype dtype,
                                 int threads, int in_two) {
    mlp_network *net = make_network(s, dtype);
    mlp_trainer *trainer = make_trainer(s, net);
    void *gradient = allocate(mlp_network_bytes(net));
    mlp_result whole = mlp_result_init(), r = whole;
    for (int i = 0; i < STEPS; i++) {
        if (!in_two) {
            CHECK(mlp_train_step(trainer, &whole, &d->data, settings, threads, NULL, NULL) == MLP_OK);
            continue;
        }
        snapshot before = take_snapshot(s, net, trainer, dtype);
        CHECK(mlp_gradient(trainer, gradient, &r, &d->data, NULL, settings, threads, NULL, NULL) == MLP_OK);
        CHECK(r.rows == s->n && r.minibatches == 1 && isfinite(r.loss_sum));
        snapshot after = take_snapshot(s, net, trainer, dtype);
        CHECK(same_snapshot(&before, &after) && has_counted(s, trainer, i));
        CHECK(mlp_apply(trainer, gradient, settings, threads) == MLP_OK);
        free(before.values);
        free(after.values);
    }
    CHECK(has_counted(s, trainer, STEPS));
    snapshot taken = take_snapshot(s, net, trainer, dtype);
    free(gradient);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    return taken;
}

static void check_in_two(const setting *s, mlp_dtype dtype, int which, int limits) {
    mlp_settings settings = with_optimizer(s, which, limits);
    dataset d = make_data(s, dtype);
    snapshot wanted = trained_by_steps(s, &d, &settings, dtype, 1, 0);
    for (int threads = 1; threads <= (TEAMS > 1 ? 3 : 1); threads++) {
        doing("gradient and apply: %s, %s, optimizer %d, limits %d, %d threads", s->name,
              dtype == MLP_FLOAT32 ? "float32" : "float64", which, limits, threads);
        snapshot got = trained_by_steps(s, &d, &settings, dtype, threads, 1);
        CHECK(snapshot_is_finite(&got) && same_snapshot(&got, &wanted));
        free(got.values);
    }
    free(wanted.values);
    destroy_data(&d);
}

// Refused calls change nothing.
static void test_refused_gradients(void) {
    const setting *s = &trained[0];
    mlp_settings settings = with_optimizer(s, 2, 1), odd = settings;
    dataset d = make_data(s, MLP_FLOAT32);
    mlp_network *net = make_network(s, MLP_FLOAT32);
    mlp_trainer *trainer = make_trainer(s, net);
    size_t bytes = mlp_network_bytes(net);
    float *gradient = allocate(bytes);
    snapshot before = take_snapshot(s, net, NULL, MLP_FLOAT32);
    mlp_result r = mlp_result_init();
    doing("gradients that are refused");
    gradient[0] = NAN;
    CHECK(mlp_apply(trainer, gradient, &settings, 2) == MLP_DERIVATIVE_NOT_FINITE);
    gradient[0] = 0;
    odd.clip_norm = -1;
    CHECK(mlp_apply(trainer, gradient, &odd, 2) == MLP_BAD_ARGUMENT);
    odd.clip_norm = 0, odd.optimizer = MLP_OPTIMIZERS;
    CHECK(mlp_apply(trainer, gradient, &odd, 2) == MLP_BAD_ARGUMENT);
    CHECK(mlp_trainer_prepare(trainer, &odd) == MLP_BAD_ARGUMENT && mlp_trainer_states(trainer) == 0);
    odd = settings, odd.chunk_rows = -1;
    mlp_gradient_options negative = {OPTIONS, .first_row = -1}, no_scale = {OPTIONS, .scale = NAN};
    CHECK(mlp_gradient(trainer, gradient, &r, &d.data, NULL, &odd, 2, NULL, NULL) == MLP_BAD_ARGUMENT);
    CHECK(mlp_gradient(trainer, gradient, &r, &d.data, &negative, &settings, 2, NULL, NULL) == MLP_BAD_ARGUMENT);
    CHECK(mlp_gradient(trainer, gradient, &r, &d.data, &no_scale, &settings, 2, NULL, NULL) == MLP_BAD_ARGUMENT);
    put(mlp_kernels_for(MLP_FLOAT32), d.X, 3 * s->width[0], INFINITY);
    CHECK(mlp_gradient(trainer, gradient, &r, &d.data, NULL, &settings, 2, NULL, NULL) == MLP_INPUT_NOT_FINITE);
    d.data.n = 0;
    CHECK(mlp_gradient(trainer, gradient, &r, &d.data, NULL, &settings, 2, NULL, NULL) == MLP_BAD_ARGUMENT);
    snapshot after = take_snapshot(s, net, NULL, MLP_FLOAT32);
    CHECK(same_snapshot(&before, &after) && has_counted(s, trainer, 0));
    free(before.values);
    free(after.values);
    free(gradient);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
}

// ---- Rows of X by index ----

// X in reverse order with unused NaN rows in between, and the matching x_rows: training, evaluation and prediction must
// give the same results as with X.
static void check_x_rows(const setting *s, mlp_dtype dtype, int threads, int ordered) {
    const mlp_kernels *k = mlp_kernels_for(dtype);
    dataset d = make_data(s, dtype);
    size_t row = (size_t)s->width[0] * (s->pixels ? 1 : k->real_size);
    char *scattered = allocate(2 * (size_t)s->n * row);
    int64_t *x_rows = allocate((size_t)s->n * sizeof *x_rows), *order = allocate((size_t)s->n * sizeof *order);
    memset(scattered, 0xFF, 2 * (size_t)s->n * row);  // NaN
    for (int64_t i = 0; i < s->n; i++) {
        x_rows[i] = 2 * (s->n - 1 - i);
        memcpy(scattered + (size_t)x_rows[i] * row, (char *)d.X + (size_t)i * row, row);
    }
    mlp_order(order, 0, s->n, s->n, 3, 0);
    mlp_data other = d.data;
    other.X = scattered, other.x_rows = x_rows, other.n_x = 2 * s->n;
    const mlp_data *both[] = {&d.data, &other};
    snapshot found[2];
    mlp_result result[2] = {mlp_result_init(), mlp_result_init()}, evaluated[2] = {result[0], result[0]};
    void *workspace = NULL, *out[2];
    doing("rows of X by index: %s, %d threads%s", s->name, threads, ordered ? ", in an order" : "");
    for (int i = 0; i < 2; i++) {
        mlp_network *net = make_network(s, dtype);
        mlp_trainer *trainer = make_trainer(s, net);
        CHECK(mlp_train_epoch(trainer, &result[i], both[i], ordered ? order : NULL, s->n, &s->settings, NULL, NULL,
                              threads, NULL, NULL) == MLP_OK);
        if (!workspace) workspace = allocate(mlp_predict_workspace(net, s->n, threads));
        CHECK(mlp_evaluate(net, &evaluated[i], both[i], &s->loss, workspace, threads, NULL, NULL) == MLP_OK);
        out[i] = allocate((size_t)(s->n * outputs_of(s)) * k->real_size);
        CHECK(mlp_predict(net, out[i], both[i], workspace, threads, NULL, NULL) == MLP_OK);
        found[i] = take_snapshot(s, net, trainer, dtype);
        mlp_trainer_destroy(trainer);
        mlp_network_destroy(net);
    }
    CHECK(same_snapshot(&found[0], &found[1]) && same_result(&result[0], &result[1]));
    CHECK(same_result(&evaluated[0], &evaluated[1]) && same_array(k, out[0], out[1], s->n * outputs_of(s)));
    for (int i = 0; i < 2; i++) free(found[i].values), free(out[i]);
    free(workspace), free(scattered), free(x_rows), free(order);
    destroy_data(&d);
}

static void test_x_rows(void) {
    for (int i = 0; i < TRAINED; i++) {
        for (int t = 0; t < 4; t++) check_x_rows(&trained[i], i % 2 ? MLP_FLOAT64 : MLP_FLOAT32, 1 + t % 2, t / 2);
    }
}

// quick: for each setting some pairs of an optimizer and limits, so that each pair has its turn.
static void test_gradient_and_apply(int quick) {
    for (int i = 0; i < TRAINED; i++) {
        setting s = trained[i], custom = trained[i], in_chunks = trained[i];
        custom.g[0] = MLP_CUSTOM_ACTIVATION, custom.loss = (mlp_loss){LOSS, .kind = MLP_CUSTOM_LOSS};
        in_chunks.settings.chunk_rows = 7;
        for (int j = 0; j < OPTIMIZERS * 4; j++) {
            mlp_dtype dtype = (i + j) % 2 ? MLP_FLOAT32 : MLP_FLOAT64;
            if (quick && (i + j) % 5) continue;
            if (s.n < 1000 || quick || j % 4 == j / 4 % 4) check_in_two(&s, dtype, j / 4, j % 4);
            if (s.n < 1000) check_in_two(&in_chunks, dtype, j / 4, j % 4);
            custom.loss.custom = (mlp_custom_loss){custom_half_squares, 0, (void *)mlp_kernels_for(dtype)};
            custom.settings.chunk_rows = s.n < 1000 ? 7 : 0;
            if (!s.by_label && (s.n < 1000 || quick || j % 4 == 0)) check_in_two(&custom, dtype, j / 4, j % 4);
        }
    }
}

// ---- A rate and a momentum for each minibatch ----

#define MINIBATCHES 4

static const double rates[MINIBATCHES] = {0.01, 0.05, 0.02, 0.03}, momenta[MINIBATCHES] = {0.95, 0.9, 0.5, 0.8};

// An epoch as single steps, each with its own settings.
static void step_by_hand(const setting *s, mlp_trainer *trainer, mlp_result *result, const dataset *d,
                         mlp_dtype dtype) {
    size_t bytes_of_row = (size_t)s->width[0] * mlp_kernels_for(dtype)->real_size;
    for (int i = 0; i < MINIBATCHES; i++) {
        mlp_settings settings = s->settings;
        mlp_data part = d->data;
        part.n = s->batch;
        part.X = (const char *)d->X + (size_t)(i * s->batch) * bytes_of_row;
        part.labels = d->labels + i * s->batch;
        settings.lr = rates[i], settings.momentum = settings.beta1 = momenta[i];
        CHECK(mlp_train_step(trainer, result, &part, &settings, 1, NULL, NULL) == MLP_OK);
    }
}

static outcome train_as_scheduled(const setting *s, mlp_dtype dtype, int threads, int by_hand) {
    dataset d = make_data(s, dtype);
    mlp_network *net = make_network(s, dtype);
    mlp_trainer *trainer = make_trainer(s, net);
    outcome o = {.result = mlp_result_init()};
    for (int e = 0; e < 2; e++) {
        if (by_hand) {
            step_by_hand(s, trainer, &o.result, &d, dtype);
            continue;
        }
        CHECK(mlp_train_epoch(trainer, &o.result, &d.data, NULL, 0, &s->settings, rates, momenta, threads, NULL,
                              NULL) == MLP_OK);
    }
    o.parameters = take_snapshot(s, net, trainer, dtype);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
    return o;
}

static void check_momenta(const setting *s, mlp_dtype dtype) {
    const char *isa;
    outcome first = train_as_scheduled(s, dtype, 1, 1);
    CHECK(snapshot_is_finite(&first.parameters));
    for (int i = 0; (isa = mlp_isa_available(i)) != NULL; i++) {
        mlp_select_isa(isa);
        for (int t = 0; t < TEAMS; t++) {
            doing("momenta of optimizer %d, clip_norm %g, %s %s, %d threads", (int)s->settings.optimizer,
                  s->settings.clip_norm, isa, dtype == MLP_FLOAT32 ? "float32" : "float64", team_sizes[t]);
            outcome o = train_as_scheduled(s, dtype, team_sizes[t], 0);
            CHECK(same_snapshot(&o.parameters, &first.parameters));
            free(o.parameters.values);
        }
    }
    mlp_select_isa(NULL);
    free(first.parameters.values);
}

static void test_momenta(void) {
    static const mlp_settings settings[] = {
        {.momentum = 0.9},
        {.momentum = 0.9, .nesterov = 1, .clip_norm = 0.1},
        {.optimizer = MLP_RMSPROP, .beta2 = 0.9, .epsilon = 1e-8},
        {.optimizer = MLP_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1},
    };
    setting s = {.n_layers = 2, .width = {20, 160, 5}, .g = {MLP_TANH, MLP_SOFTMAX}, .by_label = 1,
                 .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = MINIBATCHES * 24, .batch = 24};
    for (int i = 0; i < (int)(sizeof settings / sizeof *settings); i++) {
        s.settings = settings[i], s.settings.size = sizeof s.settings;
        check_momenta(&s, MLP_FLOAT32);
        check_momenta(&s, MLP_FLOAT64);
    }
}

// SGD without velocities refuses a schedule of momenta, and must not access velocities.
static void test_momenta_without_velocities(void) {
    setting s = {.n_layers = 1, .width = {3, 2}, .g = {MLP_SOFTMAX}, .by_label = 1,
                 .loss = {LOSS, .kind = MLP_CROSS_ENTROPY},
                 .n = MINIBATCHES, .batch = 1, .settings = {SETTINGS, .lr = 0.1}};
    dataset d = make_data(&s, MLP_FLOAT32);
    mlp_network *net = make_network(&s, MLP_FLOAT32);
    mlp_trainer *trainer = make_trainer(&s, net);
    mlp_result r = mlp_result_init();
    doing("momenta without velocities");
    snapshot before = take_snapshot(&s, net, trainer, MLP_FLOAT32);
    CHECK(mlp_train_epoch(trainer, &r, &d.data, NULL, 0, &s.settings, NULL, momenta, 1, NULL, NULL) ==
          MLP_BAD_ARGUMENT);
    check_nothing_changed(&s, net, trainer, MLP_FLOAT32, before);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
}

// ---- Dropout and l2 of each minibatch ----

// A network that may have dropout, with other rows for each minibatch.
static const mlp_layer_spec dropping[] = {
    {LAYER, .n_in = 20, .n_out = 33, .activation = MLP_RELU, .has_bias = 1, .trainable = 1, .may_drop = 1},
    {LAYER, .n_in = 33, .n_out = 17, .activation = MLP_CUSTOM_ACTIVATION, .has_bias = 1, .trainable = 1,
     .dropout = 0.5},
    {LAYER, .n_in = 17, .n_out = 9, .activation = MLP_TANH, .has_bias = 1, .trainable = 1, .l2 = 0.3},
    {LAYER, .n_in = 9, .n_out = 5, .activation = MLP_SOFTMAX, .has_bias = 1, .trainable = 1}};
#define DROPPING 4

static const double dropout_rows[MINIBATCHES][DROPPING + 1] = {
    {0.1, 0.2, 0.3, 0, 0}, {0, 0, 0, 0, 0}, {0.4, 0, 0.6, 0, 0}, {0, 0.5, 0, 0, 0}};
static const double l2_rows[MINIBATCHES][DROPPING] = {
    {0.01, 0.02, 0, 0.03}, {0, 0, 0, 0}, {0.1, 0, 0.2, 0}, {0, 0, 0, 0.05}};

static const setting dropping_data = {.n_layers = 4, .width = {20, 33, 17, 9, 5}, .by_label = 1,
                                      .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = MINIBATCHES * 24, .batch = 24,
                                      .settings = {SETTINGS, .lr = 0.05, .momentum = 0.9, .seed = 5,
                                                   .check_finite = 1}};

static mlp_network *make_dropping(void) {
    mlp_layer_spec layers[DROPPING];
    mlp_network *net = NULL;
    memcpy(layers, dropping, sizeof layers);
    layers[1].custom = layer_spec(&dropping_data, 1, MLP_FLOAT32).custom;
    if (!CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, DROPPING) == MLP_OK)) exit(3);
    draw_parameters(&dropping_data, net, mlp_kernels_for(MLP_FLOAT32));
    return net;
}

// The rows as settings of the network and of single steps.
static void step_with_rows(mlp_network *net, mlp_trainer *trainer, const dataset *d) {
    const setting *s = &dropping_data;
    for (int i = 0; i < MINIBATCHES; i++) {
        mlp_settings settings = s->settings;
        mlp_data part = d->data;
        mlp_result r = mlp_result_init();
        part.n = s->batch, part.labels = d->labels + i * s->batch;
        part.X = (const float *)d->X + i * s->batch * s->width[0];
        settings.input_dropout = dropout_rows[i][0];
        for (int l = 0; l < DROPPING; l++) {
            CHECK(mlp_network_set_dropout(net, l, dropout_rows[i][l + 1]) == MLP_OK);
            CHECK(mlp_network_set_l2(net, l, l2_rows[i][l]) == MLP_OK);
        }
        CHECK(mlp_train_step(trainer, &r, &part, &settings, 1, NULL, NULL) == MLP_OK);
    }
}

static void test_dropout_and_l2_of_minibatches(void) {
    const setting *s = &dropping_data;
    dataset d = make_data(s, MLP_FLOAT32);
    mlp_network *by_hand = make_dropping();
    mlp_trainer *trainer = make_trainer(s, by_hand);
    step_with_rows(by_hand, trainer, &d);
    snapshot wanted = take_snapshot(s, by_hand, trainer, MLP_FLOAT32);
    mlp_trainer_destroy(trainer);
    for (int t = 0; t < TEAMS; t++) {
        doing("dropout and l2 of each minibatch, %d threads", team_sizes[t]);
        mlp_network *net = make_dropping();
        mlp_result r = mlp_result_init();
        trainer = make_trainer(s, net);
        mlp_epoch_part part = {PART, .count = 1};
        for (; part.first < MINIBATCHES; part.first++) {
            part.dropout = dropout_rows[part.first], part.l2 = l2_rows[part.first];
            if (part.first == 1) part.count = 3;
            CHECK(mlp_train_epoch_part(trainer, &r, &d.data, NULL, 0, &part, &s->settings, team_sizes[t], NULL, NULL) ==
                  MLP_OK);
            if (part.first == 1) break;
        }
        snapshot got = take_snapshot(s, net, trainer, MLP_FLOAT32);
        CHECK(same_snapshot(&got, &wanted) && r.minibatches == MINIBATCHES);
        free(got.values);
        mlp_trainer_destroy(trainer);
        mlp_network_destroy(net);
    }
    free(wanted.values);
    mlp_network_destroy(by_hand);
    destroy_data(&d);
}

// Each number of a part, and of the rows that it brings, in turn is one that is refused.
static void test_refused_parts(void) {
    const setting *s = &dropping_data;
    dataset d = make_data(s, MLP_FLOAT32);
    mlp_network *net = make_dropping();
    mlp_trainer *trainer = make_trainer(s, net);
    snapshot before = take_snapshot(s, net, trainer, MLP_FLOAT32);
    double dropout[MINIBATCHES * (DROPPING + 1)] = {0}, l2[MINIBATCHES * DROPPING] = {0}, momentum[MINIBATCHES];
    static const struct {
        int place;
        double value;
    } bad[] = {{0, -0.1}, {5, 1}, {11, NAN}, {3, 0.1}, {19, 0.1}};  // the last two: layers without memory for it
    mlp_result r = mlp_result_init();
    mlp_epoch_part part = {PART, .count = MINIBATCHES, .dropout = dropout};
#define REFUSED \
    CHECK(mlp_train_epoch_part(trainer, &r, &d.data, NULL, 0, &part, &s->settings, 2, NULL, NULL) == MLP_BAD_ARGUMENT)
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        doing("dropout %g at place %d of a part", bad[i].value, bad[i].place);
        dropout[bad[i].place] = bad[i].value;
        REFUSED;
        dropout[bad[i].place] = 0;
    }
    part.dropout = NULL, part.l2 = l2;
    for (int i = 0; i < 2; i++) {
        doing("an odd l2 of a part, %d", i);
        l2[MINIBATCHES * DROPPING - 1] = i ? NAN : -1;
        REFUSED;
    }
    part.l2 = NULL, part.momenta = momentum;
    static const double odd_momentum[] = {0, -0.5, NAN, 1e-60};  // the last is 0 in float32
    for (int i = 0; i < 4; i++) {
        doing("momentum %g of a part", odd_momentum[i]);
        for (int m = 0; m < MINIBATCHES; m++) momentum[m] = m == 2 ? odd_momentum[i] : 0.9;
        REFUSED;
    }
    const mlp_epoch_part odd[] = {{PART, .count = -1}, {PART, .count = 1, .first = -1},
                                  {PART, .count = 1, .batch_size = -1}};
    for (int i = 0; i < 3; i++) {
        doing("an odd part, %d", i);
        part = odd[i];
        REFUSED;
    }
#undef REFUSED
    check_nothing_changed(s, net, trainer, MLP_FLOAT32, before);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
}

// ---- Calls of all kinds with one trainer, whose memory grows ----

static snapshot trained_by_many_calls(const setting *s, mlp_dtype dtype, int threads) {
    static const struct {
        int chunk_rows, alone;
    } calls[] = {{1000, 1}, {1000, 0}, {9, 0}, {9, 1}, {4, 0}, {1000, 1}, {3, 0}};
    dataset d = make_data(s, dtype);
    mlp_network *net = make_network(s, dtype);
    mlp_trainer *trainer = make_trainer(s, net);
    for (int i = 0; i < (int)(sizeof calls / sizeof *calls); i++) {
        mlp_settings settings = s->settings;
        mlp_result r = mlp_result_init();
        settings.chunk_rows = calls[i].chunk_rows;
        CHECK(mlp_train_step(trainer, &r, &d.data, &settings, calls[i].alone ? 1 : threads, NULL, NULL) == MLP_OK);
    }
    snapshot taken = take_snapshot(s, net, trainer, dtype);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
    return taken;
}

static void test_growing_memory(void) {
    setting s = {.name = "9-20-6", .n_layers = 2, .width = {9, 20, 6}, .g = {MLP_PRELU, MLP_SOFTMAX}, .alpha = {0.25},
                 .by_label = 1, .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = 40, .batch = 40, .settings = ALL_TERMS};
    for (int way = 0; way < 2; way++) {
        s.g[0] = way ? MLP_CUSTOM_ACTIVATION : MLP_PRELU;
        snapshot wanted = trained_by_many_calls(&s, MLP_FLOAT32, 1);
        for (int t = 1; t < TEAMS; t++) {
            doing("a trainer for many kinds of calls, way %d, %d threads", way, team_sizes[t]);
            snapshot got = trained_by_many_calls(&s, MLP_FLOAT32, team_sizes[t]);
            CHECK(same_snapshot(&got, &wanted));
            free(got.values);
        }
        free(wanted.values);
    }
}

// ---- Every activation, and every loss, in layers that are split by columns and by rows ----

static void test_every_unit_and_loss(void) {
    mlp_loss losses[MOST_LOSSES];
    int n = list_losses(losses), most = 2 * n > MLP_ACTIVATIONS ? 2 * n : MLP_ACTIVATIONS;
    for (int i = 0; i < most; i++) {
        mlp_activation g = i == KNOWN_ACTIVATIONS ? MLP_CUSTOM_ACTIVATION : nth_activation(i);
        mlp_loss loss = losses[i % n];
        char name[80];
        setting s = {.name = name, .n_layers = 3, .width = {12, 160, 20, 4}, .g = {g, g, nth_output(loss.kind, i)},
                     .alpha = {0.3, 0.2}, .shared = 2, .loss = loss, .weighted = i % 2, .n = 50,
                     .batch = 20, .settings = {SETTINGS, .lr = 1e-4, .momentum = 0.5, .l2 = 1e-3, .check_finite = 1}};
        s.by_label = i < n && mlp_loss_has(loss.kind, MLP_BY_CLASS) && !mlp_has(s.g[2], MLP_STOPS);
        if (g == MLP_EXP) s.g[1] = MLP_TANH;  // e^e^z is out of range
        snprintf(name, sizeof name, "12-160-20-4, activation %d, output %d, loss %d", (int)g, (int)s.g[2],
                 (int)s.loss.kind);
        check_same_bits(&s, i % 2 ? MLP_FLOAT64 : MLP_FLOAT32);
    }
}

// With l2, clip_value and a mask; also with clip_norm, which stores the gradient.
static void test_every_optimizer(void) {
    for (int i = 0; i < MLP_OPTIMIZERS; i++) {
        if (!mlp_is_optimizer((mlp_optimizer)i)) continue;
        for (int way = 0; way < 4; way++) {
            char name[80];
            setting s = {.name = name, .n_layers = 3, .width = {12, 160, 20, 4},
                         .g = {MLP_TANH, MLP_PRELU, MLP_SOFTMAX}, .loss = {LOSS, .kind = MLP_CROSS_ENTROPY},
                         .by_label = 1,
                         .masked = 2, .n = 50, .batch = 20,
                         .settings = {SETTINGS, .optimizer = (mlp_optimizer)i, .lr = 0.01,
                                      .momentum = way & 1 ? 0.5 : 0,
                                      .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.1, .l2 = 1e-3,
                                      .shrink = 0.5, .grow = 1.2, .least_step = 1e-6, .most_step = 50,
                                      .clip_value = 0.01, .clip_norm = way & 2 ? 0.1 : 0, .check_finite = 1}};
            snprintf(name, sizeof name, "12-160-20-4, %s, way %d", mlp_optimizer_rows[i].name, way);
            check_same_bits(&s, way % 2 ? MLP_FLOAT64 : MLP_FLOAT32);
        }
    }
}

// ---- Custom functions ----

// relu and the half squared error as custom functions give the same results as the built-in ones.
static const setting custom = {
    .name = "20-70-160-9-4, custom activations", .n_layers = 4, .width = {20, 70, 160, 9, 4}, .weighted = 1, .n = 128,
    .g = {MLP_CUSTOM_ACTIVATION, MLP_CUSTOM_ACTIVATION, MLP_TANH, MLP_CUSTOM_ACTIVATION}, .batch = 32,
    .loss = {LOSS},
    .settings = ALL_TERMS,
};

static void test_custom_functions(mlp_dtype dtype) {
    setting with_loss = custom, known = custom;
    for (int l = 0; l < 4; l++) known.g[l] = l == 2 ? MLP_TANH : MLP_RELU;
    known.loss.kind = MLP_HALF_SQUARED_ERROR;
    with_loss.loss = (mlp_loss){LOSS, .kind = MLP_CUSTOM_LOSS,
                                .custom = {custom_half_squares, 0, (void *)mlp_kernels_for(dtype)}};
    check_same_bits(&with_loss, dtype);
    outcome a = train(&with_loss, dtype, 1, 3, 0), b = train(&known, dtype, 1, 3, 0);
    doing("training with custom functions and without");
    CHECK(same_snapshot(&a.parameters, &b.parameters) && same(a.result.loss_sum, b.result.loss_sum));
    free(a.parameters.values);
    free(b.parameters.values);
}

// ---- Layers that are not trained ----

static void check_frozen(const setting *s) {
    doing("frozen layers of %s", s->name);
    dataset d = make_data(s, MLP_FLOAT32);
    mlp_network *net = make_network(s, MLP_FLOAT32), *untrained = make_network(s, MLP_FLOAT32);
    mlp_trainer *trainer = make_trainer(s, net);
    mlp_result r = mlp_result_init();
    CHECK(mlp_train_epoch(trainer, &r, &d.data, NULL, 0, &s->settings, NULL, NULL, 1, NULL, NULL) == MLP_OK);
    for (int l = 0; l < s->n_layers; l++) {
        size_t bytes = (size_t)(s->width[l] * mlp_network_stride(net, l)) * sizeof(float);
        int changed = memcmp(mlp_network_weights(net, l), mlp_network_weights(untrained, l), bytes) != 0;
        CHECK(changed == !(s->frozen >> l & 1));
        for (int64_t j = 0; j < slopes_of(s, l); j++) {
            const float *now = mlp_network_slopes(net, l), *then = mlp_network_slopes(untrained, l);
            CHECK((now[j] != then[j]) == !(s->frozen >> l & 1));
        }
    }
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    mlp_network_destroy(untrained);
    destroy_data(&d);
}

static void test_frozen(void) {
    for (int i = 0; i < TRAINED; i++) check_frozen(&trained[i]);
}

// ---- It learns ----

static int learns_xor(uint64_t seed) {
    static const float X[] = {0, 0, 0, 1, 1, 0, 1, 1}, y[] = {0, 1, 1, 0};
    static const mlp_layer_spec layers[] = {
        {LAYER, .n_in = 2, .n_out = 8, .activation = MLP_TANH, .has_bias = 1, .trainable = 1},
        {LAYER, .n_in = 8, .n_out = 1, .activation = MLP_SIGMOID, .has_bias = 1, .trainable = 1}};
    mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT32, .targets = y, .n = 4};
    mlp_settings settings = {SETTINGS, .lr = 0.3, .momentum = 0.9, .check_finite = 1};
    mlp_network *net = NULL;
    mlp_trainer *trainer = NULL;
    double z[16];
    mlp_result r = mlp_result_init();
    CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, 2) == MLP_OK);
    CHECK(mlp_trainer_create(&trainer, net, &(mlp_loss){LOSS, .kind = MLP_BINARY_CROSS_ENTROPY}, 4) == MLP_OK);
    for (int l = 0; l < 2; l++) {
        mlp_random_normal(z, 0, l ? 8 : 16, seed, (uint64_t)l);
        for (int i = 0; i < (l ? 8 : 16); i++) ((float *)mlp_network_weights(net, l))[i] = (float)z[i];
    }
    for (int e = 0; e < 500; e++) {
        CHECK(mlp_train_epoch(trainer, &r, &data, NULL, 0, &settings, NULL, NULL, 1, NULL, NULL) == MLP_OK);
    }
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    return r.correct == 4 && r.loss_sum < 0.4;
}

static void test_xor(void) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        doing("XOR, seed %d", (int)seed);
        CHECK(learns_xor(seed));
    }
}

// ---- Stopping an epoch ----

// Two minibatches are more work than there is between two polls (1e6 operations).
static const setting stoppable = {
    .name = "64-96-10", .n_layers = 2, .width = {64, 96, 10}, .g = {MLP_RELU, MLP_SOFTMAX},
    .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .by_label = 1, .n = 600, .batch = 60, .settings = ALL_TERMS,
};

typedef struct {
    mlp_status status;
    outcome out;
} stopped;

static stopped train_until_stopped(const setting *s, const mlp_data *data, int threads, mlp_poll poll, void *context) {
    mlp_network *net = make_network(s, MLP_FLOAT32);
    mlp_trainer *trainer = make_trainer(s, net);
    stopped o = {.out.result = mlp_result_init()};
    o.status = mlp_train_epoch(trainer, &o.out.result, data, NULL, 0, &s->settings, NULL, NULL, threads, poll, context);
    o.out.parameters = take_snapshot(s, net, trainer, MLP_FLOAT32);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    return o;
}

// The parameters in o equal those after an epoch over the minibatches that it counted.
static void check_whole_minibatches(const setting *s, const mlp_data *data, const outcome *o) {
    mlp_data part = *data;
    part.n = o->result.minibatches * s->batch;
    stopped whole = train_until_stopped(s, &part, 1, NULL, NULL);
    CHECK(whole.status == MLP_OK && same_result(&whole.out.result, &o->result));
    // Without any minibatch, velocities may exist or not; they are zero.
    if (part.n > 0) CHECK(same_snapshot(&whole.out.parameters, &o->parameters));
    free(whole.out.parameters.values);
}

// polls: at least that many calls of poll.
static void check_interrupt(const setting *s, int repeats, int polls) {
    dataset d = make_data(s, MLP_FLOAT32);
    for (int repeat = 0; repeat < repeats; repeat++) {
        patience p = {0, repeat % polls};
        int threads = team_sizes[repeat % 4];
        doing("training of %s stopped by call %d of poll, %d threads", s->name, p.allowed + 1, threads);
        stopped o = train_until_stopped(s, &d.data, threads, runs_out, &p);
        CHECK(o.status == MLP_INTERRUPTED && p.calls == p.allowed + 1);
        CHECK(o.out.result.minibatches < s->n / s->batch);
        check_whole_minibatches(s, &d.data, &o.out);
        free(o.out.parameters.values);
    }
    destroy_data(&d);
}

// Also between the chunks of a minibatch; in chunks too few for each thread to take some, and in many.
static void test_interrupt(int repeats) {
    setting s = stoppable;
    check_interrupt(&s, repeats, 7);
    s.name = "64-96-10, chunks", s.batch = 200, s.settings.chunk_rows = 90;
    check_interrupt(&s, 20, 5);
    s.name = "64-96-10, many chunks", s.batch = 280, s.settings.chunk_rows = 10;
    check_interrupt(&s, 12, 2);
}

static int stops_at_third(void *calls) { return ++*(int *)calls == 3; }

// A step of more than 1e9 operations polls in each phase.
static void test_interrupt_within_a_step(void) {
    setting s = {.name = "512-512-512", .n_layers = 2, .width = {512, 512, 512}, .g = {MLP_RELU, MLP_IDENTITY},
                 .loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR}, .n = 400, .batch = 400, .settings = PLAIN};
    dataset d = make_data(&s, MLP_FLOAT32);
    for (int t = 0; t < TEAMS; t += 2) {
        int calls = 0;
        doing("a long step stopped by call 3 of poll, %d threads", team_sizes[t]);
        stopped o = train_until_stopped(&s, &d.data, team_sizes[t], stops_at_third, &calls);
        CHECK(o.status == MLP_INTERRUPTED && calls >= 3 && o.out.result.minibatches == 0);
        check_whole_minibatches(&s, &d.data, &o.out);
        free(o.out.parameters.values);
    }
    stopped o = train_until_stopped(&s, &d.data, 1, NULL, NULL);
    CHECK(o.status == MLP_OK && o.out.result.minibatches == 1);
    free(o.out.parameters.values);
    destroy_data(&d);
}

// A custom function stops training at its call number `allowed`.
static void test_custom_functions_stop(void) {
    setting s = custom;
    s.loss = (mlp_loss){LOSS, .kind = MLP_CUSTOM_LOSS,
                        .custom = {custom_half_squares, 0, (void *)mlp_kernels_for(MLP_FLOAT32)}};
    int calls = 7 * 4;  // three forward, three backward and the loss, four minibatches
    dataset d = make_data(&s, MLP_FLOAT32);
    for (int allowed = 0; allowed <= calls; allowed++) {
        patience p = {0, allowed};
        int threads = team_sizes[allowed % 4];
        doing("training, call %d of custom functions fails, %d threads", allowed + 1, threads);
        stopped o = train_until_stopped(&s, &d.data, threads, NULL, &p);
        CHECK(o.status == (allowed < calls ? MLP_INTERRUPTED : MLP_OK) &&
              p.calls == (allowed < calls ? allowed + 1 : calls));
        CHECK(o.out.result.minibatches == allowed / 7);
        check_whole_minibatches(&s, &d.data, &o.out);
        free(o.out.parameters.values);
    }
    destroy_data(&d);
}

static void test_prediction_gives_up(void) {
    dataset d = make_data(&custom, MLP_FLOAT32);
    mlp_network *net = make_network(&custom, MLP_FLOAT32);
    void *workspace = allocate(mlp_predict_workspace(net, custom.n, 3));
    float *out = allocate((size_t)(custom.n * 4) * sizeof *out);
    mlp_result r = mlp_result_init();
    for (int allowed = 0; allowed < 3; allowed++) {
        patience p = {0, allowed};
        doing("prediction, call %d of custom functions fails", allowed + 1);
        CHECK(mlp_predict(net, out, &d.data, workspace, 1, NULL, &p) == MLP_INTERRUPTED && p.calls == allowed + 1);
        p.calls = 0;
        mlp_loss loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR};
        CHECK(mlp_evaluate(net, &r, &d.data, &loss, workspace, 1, NULL, &p) == MLP_INTERRUPTED &&
              p.calls == allowed + 1);
    }
    free(out);
    free(workspace);
    mlp_network_destroy(net);
    destroy_data(&d);
}

// A value of X that is not finite, in the first, a middle, and the last minibatch.
static void test_bad_input(int repeats) {
    setting unchecked = stoppable;
    unchecked.settings.check_finite = 0;
    dataset d = make_data(&stoppable, MLP_FLOAT32);
    for (int repeat = 0; repeat < repeats; repeat++) {
        int threads = team_sizes[repeat % 4];
        int64_t row = random_below(stoppable.n), at = row * 64 + random_below(64);
        float kept = ((float *)d.X)[at];
        doing("training with row %d not finite, %d threads", (int)row, threads);
        ((float *)d.X)[at] = repeat % 2 ? NAN : INFINITY;
        stopped o = train_until_stopped(&stoppable, &d.data, threads, NULL, NULL);
        CHECK(o.status == MLP_INPUT_NOT_FINITE && o.out.result.minibatches == row / stoppable.batch);
        check_whole_minibatches(&stoppable, &d.data, &o.out);
        stopped all = train_until_stopped(&unchecked, &d.data, threads, NULL, NULL);
        CHECK(all.status == MLP_OK && all.out.result.rows == stoppable.n);
        ((float *)d.X)[at] = kept;
        free(o.out.parameters.values);
        free(all.out.parameters.values);
    }
    destroy_data(&d);
}

static void test_bad_loss(int repeats) {
    setting s = stoppable;
    s.loss = (mlp_loss){LOSS, .kind = MLP_HALF_SQUARED_ERROR}, s.by_label = 0;
    dataset d = make_data(&s, MLP_FLOAT32);
    for (int repeat = 0; repeat < repeats; repeat++) {
        int threads = team_sizes[repeat % 4];
        int64_t row = random_below(s.n), at = row * 10 + random_below(10);
        float kept = ((float *)d.targets)[at];
        doing("training with a loss that is not finite at row %d, %d threads", (int)row, threads);
        ((float *)d.targets)[at] = repeat % 2 ? NAN : INFINITY;
        stopped o = train_until_stopped(&s, &d.data, threads, NULL, NULL);
        ((float *)d.targets)[at] = kept;
        CHECK(o.status == MLP_LOSS_NOT_FINITE && o.out.result.minibatches == row / s.batch);
        CHECK(!isfinite(o.out.result.bad_loss));
        check_whole_minibatches(&s, &d.data, &o.out);
        free(o.out.parameters.values);
    }
    destroy_data(&d);
}

// Without any weight there is no mean to report.
static void test_bad_loss_without_weight(void) {
    setting s = stoppable;
    s.loss = (mlp_loss){LOSS, .kind = MLP_HALF_SQUARED_ERROR}, s.by_label = 0, s.weighted = 1;
    dataset d = make_data(&s, MLP_FLOAT32);
    memset(d.weights, 0, (size_t)s.n * sizeof(float));
    doing("training with weights of 0");
    stopped fine = train_until_stopped(&s, &d.data, 2, NULL, NULL);
    CHECK(fine.status == MLP_OK && fine.out.result.loss_sum == 0 && snapshot_is_finite(&fine.out.parameters));
    free(fine.out.parameters.values);
    doing("training with weights of 0 and a loss that is not finite");
    ((float *)d.targets)[s.batch * 10] = NAN;
    stopped o = train_until_stopped(&s, &d.data, 2, NULL, NULL);
    CHECK(o.status == MLP_LOSS_NOT_FINITE && o.out.result.minibatches == 1 && isnan(o.out.result.bad_loss));
    free(o.out.parameters.values);
    destroy_data(&d);
}

// ---- Refused arguments ----

static void check_refused(const setting *s, const mlp_data *data, const int64_t *order) {
    mlp_network *net = make_network(s, MLP_FLOAT32);
    mlp_trainer *trainer = make_trainer(s, net);
    mlp_result r = mlp_result_init();
    snapshot before = take_snapshot(s, net, trainer, MLP_FLOAT32);
    CHECK(mlp_train_epoch(trainer, &r, data, order, data->n, &s->settings, NULL, NULL, 2, NULL,
                          NULL) == MLP_BAD_ARGUMENT);
    CHECK(order || mlp_train_step(trainer, &r, data, &s->settings, 2, NULL, NULL) == MLP_BAD_ARGUMENT);
    check_nothing_changed(s, net, trainer, MLP_FLOAT32, before);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
}

static void test_bad_settings(void) {
    static const mlp_settings odd[] = {{.optimizer = MLP_OPTIMIZERS}, {.input_dropout = 1},  {.input_dropout = -0.1},
                                       {.input_noise = -1},           {.input_noise = NAN}, {.clip_norm = -1},
                                       {.clip_value = NAN},           {.max_norm = -1}};
    dataset d = make_data(&stoppable, MLP_FLOAT32);
    for (int i = 0; i < (int)(sizeof odd / sizeof *odd); i++) {
        setting s = stoppable;
        s.settings = odd[i], s.settings.size = sizeof s.settings;
        doing("settings that are refused, number %d", i);
        check_refused(&s, &d.data, NULL);
    }
    destroy_data(&d);
}

static void test_bad_data(void) {
    const setting *s = &stoppable;
    dataset d = make_data(s, MLP_FLOAT32);
    const float *targets = d.X;
    mlp_data without_answer = d.data, both = d.data, negative = d.data, without_X = d.data, odd_type = d.data;
    without_answer.labels = NULL, both.targets = targets, negative.n = -1, without_X.X = NULL;
    odd_type.x_type = (mlp_dtype)7;
    doing("data that is refused");
    check_refused(s, &without_answer, NULL);
    check_refused(s, &both, NULL);
    check_refused(s, &negative, NULL);
    check_refused(s, &without_X, NULL);
    check_refused(s, &odd_type, NULL);
    const double bad_mean[] = {-1, NAN, -INFINITY};
    for (int i = 0; i < 3; i++) {
        mlp_data odd_mean = d.data;
        odd_mean.mean_weight = bad_mean[i];
        doing("mean weight %g", bad_mean[i]);
        check_refused(s, &odd_mean, NULL);
    }
    const int32_t bad_label[] = {-1, 10, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        doing("label %d", (int)bad_label[i]);
        int32_t kept = d.labels[s->n - 1];
        d.labels[s->n - 1] = bad_label[i];
        check_refused(s, &d.data, NULL);
        d.labels[s->n - 1] = kept;
    }
    destroy_data(&d);
}

static void test_bad_order(void) {
    const setting *s = &stoppable;
    dataset d = make_data(s, MLP_FLOAT32);
    int64_t *order = allocate((size_t)s->n * sizeof *order);
    const int64_t bad_row[] = {-1, s->n, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        doing("row number %lld", (long long)bad_row[i]);
        mlp_order(order, 0, s->n, s->n, 1, 1);
        order[s->n - 1] = bad_row[i];
        check_refused(s, &d.data, order);
    }
    mlp_network *net = make_network(s, MLP_FLOAT32);
    mlp_trainer *trainer = make_trainer(s, net);
    mlp_result r = mlp_result_init();
    const int64_t bad_count[] = {-1, s->n + 1, INT64_MAX};
    for (int i = 0; i < 3; i++) {  // must be refused before a row number is read
        doing("an order of %lld rows", (long long)bad_count[i]);
        CHECK(mlp_train_epoch(trainer, &r, &d.data, order, bad_count[i], &s->settings, NULL, NULL, 2, NULL, NULL) ==
              MLP_BAD_ARGUMENT);
    }
    doing("an order of some rows");
    mlp_order(order, 0, s->n, s->n, 1, 1);
    CHECK(mlp_train_epoch(trainer, &r, &d.data, order, 5, &s->settings, NULL, NULL, 2, NULL, NULL) == MLP_OK);
    CHECK(r.rows == 5);
    CHECK(mlp_train_epoch(trainer, &r, &d.data, order, 0, &s->settings, NULL, NULL, 2, NULL, NULL) == MLP_OK);
    CHECK(r.rows == 0 && r.minibatches == 0);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    free(order);
    destroy_data(&d);
}

static void test_no_rows(void) {
    mlp_data nothing = mlp_data_init();
    doing("training on no rows");
    stopped o = train_until_stopped(&stoppable, &nothing, 2, NULL, NULL);
    CHECK(o.status == MLP_OK && o.out.result.rows == 0 && o.out.result.minibatches == 0);
    free(o.out.parameters.values);
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 900), repeats = quick ? 40 : 400;
    mlp_allow_oversubscription(1);  // teams of the requested size on a small machine too
    for (int i = 0; i < TRAINED; i++) {
        check_same_bits(&trained[i], MLP_FLOAT32);
        check_same_bits(&trained[i], MLP_FLOAT64);
    }
    for (int i = 0; i < OTHERS; i++) check_same_bits(&others[i], i % 2 ? MLP_FLOAT64 : MLP_FLOAT32);
    test_gradient_and_apply(quick);
    test_refused_gradients();
    test_x_rows();
    test_momenta();
    test_momenta_without_velocities();
    test_dropout_and_l2_of_minibatches();
    test_refused_parts();
    test_growing_memory();
    test_every_unit_and_loss();
    test_every_optimizer();
    test_custom_functions(MLP_FLOAT32);
    test_custom_functions(MLP_FLOAT64);
    test_custom_functions_stop();
    test_prediction_gives_up();
    test_frozen();
    test_xor();
    test_interrupt(repeats);
    test_interrupt_within_a_step();
    test_bad_input(repeats);
    test_bad_loss(repeats);
    test_bad_loss_without_weight();
    test_bad_settings();
    test_bad_data();
    test_bad_order();
    test_no_rows();
    return check_end("test_training");
}
