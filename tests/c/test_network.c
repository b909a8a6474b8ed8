// Networks: arguments that create refuses, prediction and evaluation, and the gradient of a whole network against
// finite differences.
#include "setting.h"
#include "network.h"

static const int team_sizes[] = {1, 2, 3, 7};

// ---- Creation ----

static mlp_status try_layers(mlp_dtype dtype, const mlp_layer_spec *layers, int n_layers) {
    mlp_network *untouched = (mlp_network *)(void *)&check_count, *net = untouched;
    mlp_status status = mlp_network_create(&net, dtype, layers, n_layers);
    CHECK((status == MLP_OK) == (net != untouched));
    if (status == MLP_OK) mlp_network_destroy(net);
    return status;
}

static mlp_status try_layer(int64_t n_in, int64_t n_out, mlp_activation g) {
    mlp_layer_spec layer = {LAYER, .n_in = n_in, .n_out = n_out, .activation = g};
    return try_layers(MLP_FLOAT32, &layer, 1);
}

static mlp_status try_alpha(mlp_activation g, double alpha) {
    mlp_layer_spec layer = {LAYER, .n_in = 3, .n_out = 4, .activation = g, .alpha = alpha};
    return try_layers(MLP_FLOAT64, &layer, 1);
}

static void test_bad_layers(void) {
    const int64_t most = INT32_MAX;
    doing("mlp_network_create");
    mlp_layer_spec mismatch[] = {{LAYER, .n_in = 3, .n_out = 4, .has_bias = 1}, {LAYER, .n_in = 5, .n_out = 2,
                                                                                 .has_bias = 1}};
    mlp_layer_spec good[] = {{LAYER, .n_in = 3, .n_out = 4, .has_bias = 1}, {LAYER, .n_in = 4, .n_out = 2}};
    CHECK(try_layers(MLP_FLOAT32, good, 2) == MLP_OK && try_layers(MLP_FLOAT64, good, 2) == MLP_OK);
    CHECK(try_layers(MLP_FLOAT32, good, 0) == MLP_BAD_ARGUMENT);
    CHECK(try_layers(MLP_FLOAT32, good, -1) == MLP_BAD_ARGUMENT);
    CHECK(try_layers(MLP_FLOAT32, mismatch, 2) == MLP_BAD_ARGUMENT);
    CHECK(try_layers(MLP_UINT8, good, 2) == MLP_BAD_ARGUMENT && try_layers((mlp_dtype)9, good, 2) == MLP_BAD_ARGUMENT);
    CHECK(try_layer(0, 1, MLP_RELU) == MLP_BAD_ARGUMENT && try_layer(1, 0, MLP_RELU) == MLP_BAD_ARGUMENT);
    CHECK(try_layer(-1, 1, MLP_RELU) == MLP_BAD_ARGUMENT && try_layer(1, INT64_MIN, MLP_RELU) == MLP_BAD_ARGUMENT);
    CHECK(try_layer(most + 1, 1, MLP_RELU) == MLP_BAD_ARGUMENT);
    CHECK(try_layer(1, INT64_MAX, MLP_RELU) == MLP_BAD_ARGUMENT);
    CHECK(try_layers(MLP_FLOAT32, good, INT32_MAX) == MLP_BAD_ARGUMENT);
    const mlp_layer_spec bad[] = {{.dropout = -0.1}, {.dropout = 1}, {.dropout = NAN}, {.l1 = -1}, {.l1 = NAN},
                                  {.l2 = -1}, {.l2 = NAN}};
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        mlp_layer_spec layer = bad[i];
        layer.size = sizeof layer, layer.n_in = 3, layer.n_out = 4;
        CHECK(try_layers(MLP_FLOAT32, &layer, 1) == MLP_BAD_ARGUMENT);
    }
    CHECK(try_layer(1, 1, MLP_CUSTOM_ACTIVATION) == MLP_BAD_ARGUMENT);  // without functions
    mlp_layer_spec one_way = {LAYER, .n_in = 3, .n_out = 4, .activation = MLP_CUSTOM_ACTIVATION};
    one_way.custom.forward = custom_relu;
    CHECK(try_layers(MLP_FLOAT32, &one_way, 1) == MLP_BAD_ARGUMENT);
    CHECK(try_layer(1, 1, MLP_ACTIVATIONS) == MLP_BAD_ARGUMENT &&
          try_layer(1, 1, (mlp_activation)-1) == MLP_BAD_ARGUMENT);
    for (int i = 0; i < KNOWN_ACTIVATIONS; i++) {
        mlp_activation g = nth_activation(i);
        double least = mlp_activation_rows[g].least_alpha;
        CHECK(try_layer(1, 1, g) == MLP_OK && try_alpha(g, least > 0.5 ? least : 0.5) == MLP_OK);
        CHECK(try_alpha(g, NAN) == MLP_BAD_ARGUMENT);
        CHECK(try_alpha(g, -0.5) == (least > -0.5 ? MLP_BAD_ARGUMENT : MLP_OK));
    }
}

// A product that overflows size_t, products that do not overflow, but whose sum does, and one that no pointer spans.
static void test_too_large(void) {
    const int64_t most = INT32_MAX;
    doing("mlp_network_create, sizes that do not fit");
    mlp_layer_spec wide[8];
    for (int l = 0; l < 8; l++) wide[l] = (mlp_layer_spec){LAYER, .n_in = most, .n_out = most, .has_bias = 1};
    for (int n = 1; n <= 8; n++) {
        CHECK(try_layers(MLP_FLOAT32, wide, n) == MLP_TOO_LARGE && try_layers(MLP_FLOAT64, wide, n) == MLP_TOO_LARGE);
    }
    for (int l = 0; l < 8; l++) wide[l].n_in = wide[l].n_out = INT64_C(1) << 30;  // 2^62 bytes each, of 2^63 - 1
    CHECK(try_layers(MLP_FLOAT32, wide, 2) == MLP_TOO_LARGE && try_layers(MLP_FLOAT32, wide, 8) == MLP_TOO_LARGE);
    size_t used = 0;
    mlp_reserve(&used, most, 3 << 28, sizeof(double));  // between 2^63 and 2^64 bytes
    CHECK(used == SIZE_MAX);
    mlp_reserve(&used, 1, 1, 1);
    CHECK(used == SIZE_MAX);
}

static void test_new_network(void) {
    mlp_layer_spec layers[] = {{LAYER, .n_in = 3, .n_out = 5, .has_bias = 1, .activation = MLP_RELU, .alpha = 7},
                               {LAYER, .n_in = 5, .n_out = 2, .activation = MLP_PRELU, .alpha = 0.25},
                               {LAYER, .n_in = 2, .n_out = 6, .activation = MLP_PRELU, .alpha = -0.5, .shared = 1}};
    mlp_network *net;
    doing("a new network");
    if (!CHECK(mlp_network_create(&net, MLP_FLOAT64, layers, 3) == MLP_OK)) return;
    CHECK(mlp_network_bias(net, 0) != NULL && mlp_network_bias(net, 1) == NULL);
    for (int i = 0; i < 15; i++) CHECK(((double *)mlp_network_weights(net, 0))[i] == 0);
    CHECK(mlp_network_slopes(net, 0) == NULL);
    const double *each = mlp_network_slopes(net, 1), *one = mlp_network_slopes(net, 2);
    CHECK(each[0] == 0.25 && each[1] == 0.25 && one[0] == -0.5);
    CHECK((const char *)(one + 1) <= (const char *)mlp_network_weights(net, 0) + mlp_network_bytes(net));
    mlp_trainer *trainer = NULL;
    CHECK(mlp_trainer_create(&trainer, net, &(mlp_loss){LOSS, .kind = MLP_SQUARED_ERROR}, 0) == MLP_BAD_ARGUMENT);
    CHECK(mlp_trainer_create(&trainer, net, &(mlp_loss){LOSS, .kind = MLP_LOSSES},
                             4) == MLP_BAD_ARGUMENT && trainer == NULL);
    mlp_network_destroy(net);
    mlp_network_destroy(NULL);
    mlp_trainer_destroy(NULL);
}

static void test_first_not_finite(mlp_dtype dtype) {
    const double bad[] = {NAN, INFINITY, -INFINITY};
    mlp_layer_spec layers[] = {{LAYER, .n_in = 3, .n_out = 21, .has_bias = 1},
                               {LAYER, .n_in = 21, .n_out = 5, .activation = MLP_PRELU, .alpha = 0.5}};
    mlp_network *net = NULL;
    doing("parameters that are not finite");
    CHECK(mlp_network_create(&net, dtype, layers, 2) == MLP_OK);
    const mlp_kernels *k = mlp_kernels_for(dtype);
    put(k, mlp_network_weights(net, 0), 0, dtype == MLP_FLOAT32 ? 3e38 : 1e308);
    CHECK(mlp_network_first_not_finite(net) == -1);
    for (int i = 0; i < 3; i++) {
        const struct { void *values; int64_t at; int layer; } places[] = {
            {mlp_network_weights(net, 0), 2 * mlp_network_stride(net, 0) + 20, 0}, {mlp_network_bias(net, 0), 20, 0},
            {mlp_network_weights(net, 1), 20 * mlp_network_stride(net, 1) + 4, 1}, {mlp_network_slopes(net, 1), 4, 1}};
        for (int p = 0; p < 4; p++) {
            put(k, places[p].values, places[p].at, bad[i]);
            CHECK(mlp_network_first_not_finite(net) == places[p].layer);
            put(k, places[p].values, places[p].at, 0);
        }
    }
    CHECK(mlp_network_first_not_finite(net) == -1);
    mlp_network_destroy(net);
}

static void test_settings_of_layers(void) {
    static const double no_probability[] = {-0.1, 1, NAN}, negative[] = {-1, NAN, -INFINITY};
    mlp_layer_spec layers[] = {{LAYER, .n_in = 3, .n_out = 4}, {LAYER, .n_in = 4, .n_out = 4, .dropout = 0.5},
                               {LAYER, .n_in = 4, .n_out = 4, .may_drop = 1}, {LAYER, .n_in = 4, .n_out = 2}};
    mlp_network *net = NULL;
    doing("settings of layers between calls");
    CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, 4) == MLP_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(mlp_network_set_dropout(net, 1, no_probability[i]) == MLP_BAD_ARGUMENT);
        CHECK(mlp_network_set_l2(net, 1, negative[i]) == MLP_BAD_ARGUMENT);
        CHECK(mlp_network_set_lr_factors(net, 1, negative[i], 1) == MLP_BAD_ARGUMENT);
        CHECK(mlp_network_set_lr_factors(net, 1, 1, negative[i]) == MLP_BAD_ARGUMENT);
    }
    for (int l = 0; l < 4; l++) {
        mlp_status wanted = l == 1 || l == 2 ? MLP_OK : MLP_BAD_ARGUMENT;  // it has no memory for dropout
        CHECK(mlp_network_set_dropout(net, l, 0.25) == wanted);
        CHECK(mlp_network_set_dropout(net, l, 0) == MLP_OK && mlp_network_set_l2(net, l, 0) == MLP_OK);
        CHECK(mlp_network_set_lr_factors(net, l, 0, 2) == MLP_OK);
    }
    mlp_network_destroy(net);
    doing("dropout of the last layer");
    layers[3].dropout = 0.5;
    CHECK(try_layers(MLP_FLOAT32, layers, 4) == MLP_BAD_ARGUMENT);
    layers[3].dropout = 0, layers[3].may_drop = 1;
    CHECK(try_layers(MLP_FLOAT32, layers, 4) == MLP_BAD_ARGUMENT);
}

static void test_isa_names(void) {
    static const char *const unknown[] = {"", "sse2", "AVX2", "avx", "avx2 ", "generic2", "gener"};
    doing("mlp_select_isa");
    mlp_select_isa(NULL);
    const char *best = mlp_isa(), *isa;
    CHECK(strcmp(best, mlp_isa_available(0)) == 0);
    for (int i = 0; i < 7; i++) CHECK(mlp_select_isa(unknown[i]) == MLP_BAD_ARGUMENT && strcmp(mlp_isa(), best) == 0);
    int i = 0;
    for (; (isa = mlp_isa_available(i)) != NULL; i++) {
        CHECK(mlp_select_isa(isa) == MLP_OK && strcmp(mlp_isa(), isa) == 0);
        for (int d = 0; d < 2; d++) {
            mlp_dtype dtype = d ? MLP_FLOAT64 : MLP_FLOAT32;
            CHECK(mlp_kernels_for(dtype) == mlp_kernels_available(i, dtype));
            CHECK(mlp_kernels_for(dtype)->dtype == dtype && strcmp(mlp_kernels_for(dtype)->isa, isa) == 0);
        }
    }
    CHECK(i >= 1 && mlp_isa_available(-1) == NULL && mlp_kernels_available(i, MLP_FLOAT32) == NULL);
    CHECK(mlp_select_isa("generic") == MLP_OK);
    CHECK(mlp_select_isa(NULL) == MLP_OK && strcmp(mlp_isa(), best) == 0);
    CHECK(mlp_compiler()[0] != 0 && mlp_max_threads() >= 1);
}

// ---- Prediction and evaluation ----

static const setting served[] = {
    {.name = "37-61-13", .n_layers = 2, .width = {37, 61, 13}, .g = {MLP_RELU, MLP_SOFTMAX}, .by_label = 1,
     .weighted = 1, .loss = {LOSS, .kind = MLP_CROSS_ENTROPY, .label_smoothing = 0.1}, .n = 261},
    {.name = "5-3", .n_layers = 1, .width = {5, 3}, .g = {MLP_SIGMOID}, .loss = {LOSS,
                                                                                 .kind = MLP_BINARY_CROSS_ENTROPY},
     .n = 40},
    {.name = "20-33-9-4", .n_layers = 3, .width = {20, 33, 9, 4}, .g = {MLP_SOFTMAX, MLP_TANH, MLP_SOFTMAX},
     .loss = {LOSS, .kind = MLP_SQUARED_ERROR}, .without_bias = 2, .n = 130},
    {.name = "64-300-10", .n_layers = 2, .width = {64, 300, 10}, .g = {MLP_TANH, MLP_IDENTITY}, .pixels = 1,
     .loss = {LOSS, .kind = MLP_HALF_SQUARED_ERROR}, .n = 250},
    {.name = "20-70-33-9-4", .n_layers = 4, .width = {20, 70, 33, 9, 4},
     .g = {MLP_PRELU, MLP_GELU, MLP_PRELU, MLP_PRELU}, .alpha = {0.25, 0, -0.5, 0.1}, .shared = 4,
     .loss = {LOSS, .kind = MLP_HUBER, .parameter = 0.5}, .n = 130},
    {.name = "30-40-7", .n_layers = 2, .width = {30, 40, 7}, .g = {MLP_MISH, MLP_IDENTITY}, .by_label = 1,
     .weighted = 1, .loss = {LOSS, .kind = MLP_HINGE}, .n = 101},
    {.name = "30-40-3", .n_layers = 2, .width = {30, 40, 3}, .g = {MLP_ELU, MLP_SOFTPLUS}, .alpha = {1.5},
     .loss = {LOSS, .kind = MLP_POISSON}, .n = 101},
    {.name = "30-40-1", .n_layers = 2, .width = {30, 40, 1}, .g = {MLP_LEAKY_RELU, MLP_SIGN}, .alpha = {0.01},
     .loss = {LOSS, .kind = MLP_PERCEPTRON}, .n = 101},
};
#define SERVED ((int)(sizeof served / sizeof *served))

// The workspace ends at an unreadable page, so that accesses beyond mlp_predict_workspace are detected.
static guarded memory;

static void *workspace_for(const mlp_network *net, int64_t n, int threads) {
    size_t bytes = mlp_predict_workspace(net, n, threads);
    CHECK(bytes > 0);
    return guarded_place(&memory, bytes, AT_END);
}

static void check_predict(const setting *s, const mlp_network *net, const mlp_data *data, const mlp_kernels *k) {
    int64_t n_out = outputs_of(s), n_in = s->width[0];
    size_t bytes = (size_t)(s->n * n_out) * k->real_size, row = (size_t)n_in * (s->pixels ? 1 : k->real_size);
    void *singly = allocate(bytes), *out = allocate(bytes);
    for (int64_t i = 0; i < s->n; i++) {
        mlp_data one = *data;
        one.X = (const char *)data->X + (size_t)i * row;
        one.n = 1;
        void *a = (char *)singly + (size_t)(i * n_out) * k->real_size;
        CHECK(mlp_predict(net, a, &one, workspace_for(net, 1, 1), 1, NULL, NULL) == MLP_OK);
    }
    for (int t = 0; t < 6; t++) {
        int threads = t < 4 ? team_sizes[t] : t == 4 ? 0 : -2;
        doing("predict %s %s %s with %d threads", s->name, k->isa, dtype_name(k), threads);
        memset(out, CANARY, bytes);
        CHECK(mlp_predict(net, out, data, workspace_for(net, s->n, threads), threads, NULL, NULL) == MLP_OK);
        CHECK(same_array(k, singly, out, s->n * n_out));
    }
    free(singly);
    free(out);
}

static void check_evaluate(const setting *s, const mlp_network *net, const mlp_data *data, mlp_result *first) {
    for (int t = 0; t < 4; t++) {
        mlp_result r = mlp_result_init();
        doing("evaluate %s %s with %d threads", s->name, mlp_isa(), team_sizes[t]);
        void *workspace = workspace_for(net, s->n, team_sizes[t]);
        CHECK(mlp_evaluate(net, &r, data, &s->loss, workspace, team_sizes[t], NULL, NULL) == MLP_OK);
        if (first->rows == 0) *first = r;
        CHECK(r.rows == s->n && same(r.loss_sum, first->loss_sum) && same(r.correct, first->correct));
        CHECK(same(r.exact, first->exact) && r.exact <= r.correct && r.correct <= r.weight_sum);
        CHECK(same(r.weight_sum, first->weight_sum) && (s->weighted || r.weight_sum == (double)s->n));
        CHECK(isfinite(r.loss_sum) && r.loss_sum > 0);
    }
}

// Rows [first, first + rows) of the data.
static mlp_data some_rows(const setting *s, const mlp_data *data, mlp_dtype dtype, int64_t first, int64_t rows) {
    mlp_data some = *data;
    size_t real = dtype == MLP_FLOAT32 ? sizeof(float) : sizeof(double);
    size_t of_x = data->x_type == MLP_UINT8 ? 1 : real;
    some.n = rows;
    some.X = (const char *)data->X + (size_t)(first * s->width[0]) * of_x;
    if (data->labels) some.labels = data->labels + first;
    if (data->targets) some.targets = (const char *)data->targets + (size_t)(first * outputs_of(s)) * real;
    if (data->weights) some.weights = (const char *)data->weights + (size_t)first * real;
    return some;
}

// Calls for one part after the other have the sums of one call.
static void check_evaluate_in_parts(const setting *s, const mlp_network *net, const mlp_data *data, mlp_dtype dtype,
                                    const mlp_result *whole) {
    mlp_result r = mlp_result_init();
    int64_t each = s->n / 3 + 1;
    for (int64_t first = 0; first < s->n; first += each) {
        mlp_data some = some_rows(s, data, dtype, first, s->n - first < each ? s->n - first : each);
        CHECK(mlp_evaluate_part(net, &r, &some, &s->loss, workspace_for(net, s->n, 2), 2, NULL, NULL) == MLP_OK);
    }
    CHECK(r.rows == s->n && same(r.loss_sum, whole->loss_sum) && same(r.correct, whole->correct));
    CHECK(same(r.exact, whole->exact) && same(r.weight_sum, whole->weight_sum));
}

static void test_serving(const setting *s, mlp_dtype dtype) {
    mlp_result first = mlp_result_init();
    const char *isa;
    for (int i = 0; (isa = mlp_isa_available(i)) != NULL; i++) {
        mlp_select_isa(isa);
        dataset d = make_data(s, dtype);
        mlp_network *net = make_network(s, dtype);
        snapshot before = take_snapshot(s, net, NULL, dtype);
        check_predict(s, net, &d.data, mlp_kernels_for(dtype));
        check_evaluate(s, net, &d.data, &first);
        check_evaluate_in_parts(s, net, &d.data, dtype, &first);
        check_nothing_changed(s, net, NULL, dtype, before);
        mlp_network_destroy(net);
        destroy_data(&d);
    }
    mlp_select_isa(NULL);
}

// A network that transforms its inputs predicts what it does of transformed inputs; refused numbers change nothing.
static void test_transformed_inputs(mlp_dtype dtype) {
    const setting *s = &served[4];
    const mlp_kernels *k = mlp_kernels_for(dtype);
    int64_t n_in = s->width[0], outputs = s->n * outputs_of(s);
    const double bad_mean[] = {NAN, INFINITY, 0, 0, 0, 0}, bad_scale[] = {1, 1, 0, -1, 0x1p-1030, INFINITY};
    double mean[20], scale[20];
    dataset d = make_data(s, dtype), by_hand = make_data(s, dtype);
    mlp_network *net = make_network(s, dtype);
    void *wanted = allocate((size_t)outputs * k->real_size), *got = allocate((size_t)outputs * k->real_size);
    doing("transformed inputs, %s", dtype_name(k));
    for (int64_t j = 0; j < n_in; j++) mean[j] = random_unit() - 0.5, scale[j] = 0.5 + random_unit();
    for (int64_t i = 0; i < s->n * n_in; i++) {
        put(k, by_hand.X, i, (get(k, d.X, i) - mean[i % n_in]) / scale[i % n_in]);
    }
    CHECK(mlp_predict(net, wanted, &by_hand.data, workspace_for(net, s->n, 2), 2, NULL, NULL) == MLP_OK);
    CHECK(mlp_network_transform_inputs(net, scale, scale) == MLP_OK);  // to be replaced
    CHECK(mlp_network_transform_inputs(net, mean, scale) == MLP_OK);
    for (int i = 0; i < 6; i++) {
        double kept_mean = mean[n_in - 1], kept_scale = scale[n_in - 1];
        mean[n_in - 1] = bad_mean[i], scale[n_in - 1] = bad_scale[i];
        CHECK(mlp_network_transform_inputs(net, mean, scale) == MLP_BAD_ARGUMENT);
        mean[n_in - 1] = kept_mean, scale[n_in - 1] = kept_scale;
    }
    CHECK(mlp_predict(net, got, &d.data, workspace_for(net, s->n, 2), 2, NULL, NULL) == MLP_OK);
    CHECK(same_array(k, wanted, got, outputs));
    free(wanted);
    free(got);
    mlp_network_destroy(net);
    destroy_data(&d);
    destroy_data(&by_hand);
}

// Ones go through two identities, with dropout of X and of the first: what is left is divided by both probabilities.
static void test_samples(void) {
    enum { ROWS = 400, WIDTH = 24 };
    static const mlp_layer_spec layers[] = {{LAYER, .n_in = WIDTH, .n_out = WIDTH, .dropout = 0.25, .trainable = 1},
                                            {LAYER, .n_in = WIDTH, .n_out = WIDTH}};
    static float X[ROWS * WIDTH], out[ROWS * WIDTH], first[ROWS * WIDTH];
    mlp_network *net = NULL;
    mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT32, .n = ROWS};
    doing("samples of predictions with dropout");
    CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, 2) == MLP_OK);
    for (int l = 0; l < 2; l++) {
        float *W = mlp_network_weights(net, l);
        for (int64_t i = 0; i < WIDTH; i++) W[i * mlp_network_stride(net, l) + i] = 1;
    }
    for (int i = 0; i < ROWS * WIDTH; i++) X[i] = 1;
    for (int t = 0; t < 4; t++) {
        void *space = workspace_for(net, ROWS, team_sizes[t]);
        CHECK(mlp_predict_sample(net, out, &data, 0.5, 9, 3, space, team_sizes[t], NULL, NULL) == MLP_OK);
        if (t == 0) memcpy(first, out, sizeof out);
        CHECK(memcmp(first, out, sizeof out) == 0);
    }
    int kept = 0;
    for (int i = 0; i < ROWS * WIDTH; i++) {
        CHECK(out[i] == 0 || fabsf(out[i] - 2 / 0.75f) < 1e-5f);
        kept += out[i] != 0;
    }
    CHECK(abs(kept - ROWS * WIDTH * 3 / 8) < 5 * 48);  // five standard deviations
    CHECK(mlp_predict_sample(net, out, &data, 0.5, 9, 4, workspace_for(net, ROWS, 1), 1, NULL, NULL) == MLP_OK);
    CHECK(memcmp(first, out, sizeof out) != 0);
    CHECK(mlp_network_set_dropout(net, 0, 0) == MLP_OK);
    CHECK(mlp_predict_sample(net, out, &data, 0, 9, 3, workspace_for(net, ROWS, 1), 1, NULL, NULL) == MLP_OK);
    CHECK(memcmp(X, out, sizeof out) == 0);
    mlp_network_destroy(net);
}

static int stop_at_once(void *calls) { return ++*(int *)calls; }

static void test_interrupted_serving(void) {
    setting s = served[0];
    s.n = 3000;
    dataset d = make_data(&s, MLP_FLOAT32);
    mlp_network *net = make_network(&s, MLP_FLOAT32);
    void *out = allocate((size_t)(s.n * outputs_of(&s)) * sizeof(float));
    for (int t = 0; t < 4; t++) {
        int calls = 0, threads = team_sizes[t];
        mlp_result r = mlp_result_init();
        doing("interrupted prediction with %d threads", threads);
        void *workspace = workspace_for(net, s.n, threads);
        CHECK(mlp_predict(net, out, &d.data, workspace, threads, stop_at_once, &calls) == MLP_INTERRUPTED);
        CHECK(calls == 1);
        CHECK(mlp_evaluate(net, &r, &d.data, &s.loss, workspace, threads, stop_at_once, &calls) == MLP_INTERRUPTED);
    }
    free(out);
    mlp_network_destroy(net);
    destroy_data(&d);
}

// Data, and what else these calls are given, are checked before anything is written.
static void test_refused_calls(void) {
    setting s = served[1];
    dataset d = make_data(&s, MLP_FLOAT32);
    mlp_network *net = make_network(&s, MLP_FLOAT32);
    size_t bytes = (size_t)(s.n * outputs_of(&s)) * sizeof(float);
    char *out = allocate(bytes), *before = allocate(bytes);
    memset(out, CANARY, bytes), memset(before, CANARY, bytes);
    void *workspace = workspace_for(net, s.n, 2);
    int64_t rows[64] = {0};
    mlp_data bad[9];
    for (int i = 0; i < 9; i++) bad[i] = d.data;
    bad[0].n = -1, bad[1].X = NULL, bad[2].y_bytes = -1, bad[3].x_type = (mlp_dtype)9, bad[4].mean_weight = -1;
    bad[5].mean_weight = NAN, bad[6].x_rows = bad[7].x_rows = rows, bad[6].n_x = bad[7].n_x = s.n;
    mlp_result r = mlp_result_init();
    for (int i = 0; i < 9; i++) {
        doing("data that are refused, %d", i);
        rows[39] = i == 6 ? -1 : s.n;
        bad[8].n = INT64_MAX;  // the size of its rows overflows
        mlp_status wanted = i == 8 ? MLP_TOO_LARGE : MLP_BAD_ARGUMENT;
        CHECK(mlp_predict(net, out, &bad[i], workspace, 2, NULL, NULL) == wanted);
        CHECK(mlp_predict_sample(net, out, &bad[i], 0.5, 1, 0, workspace, 2, NULL, NULL) == wanted);
        CHECK(mlp_evaluate(net, &r, &bad[i], &s.loss, workspace, 2, NULL, NULL) == wanted);
    }
    doing("other arguments that are refused");
    const double no_probability[] = {-0.1, 1, NAN};
    for (int i = 0; i < 3; i++) {
        CHECK(mlp_predict_sample(net, out, &d.data, no_probability[i], 1, 0, workspace, 2, NULL, NULL) ==
              MLP_BAD_ARGUMENT);
    }
    CHECK(mlp_evaluate(net, &r, &d.data, &(mlp_loss){LOSS, .kind = MLP_LOSSES}, workspace, 2, NULL,
                       NULL) == MLP_BAD_ARGUMENT);
    CHECK(mlp_evaluate(net, &r, &d.data, &(mlp_loss){LOSS, .kind = (mlp_loss_kind)-1}, workspace, 2, NULL, NULL) ==
          MLP_BAD_ARGUMENT);
    doing("no rows");
    mlp_data none = {DATA, .x_type = MLP_FLOAT32};
    CHECK(mlp_predict(net, out, &none, NULL, 2, NULL, NULL) == MLP_OK);
    CHECK(mlp_predict_sample(net, out, &none, 0.5, 1, 0, NULL, 2, NULL, NULL) == MLP_OK);
    CHECK(mlp_evaluate(net, &r, &none, &s.loss, NULL, 2, NULL, NULL) == MLP_OK && r.rows == 0 && r.loss_sum == 0);
    CHECK(memcmp(out, before, bytes) == 0);
    CHECK(mlp_predict_workspace(net, -1, 1) == 0 && mlp_predict_workspace(net, 0, 1) > 0);
    CHECK(mlp_peak_flops(MLP_UINT8, 1, 0) == 0 && mlp_peak_flops(MLP_FLOAT32, 0, 0) == 0);
    CHECK(mlp_peak_flops(MLP_FLOAT64, 1, 0) > 0);
    free(out);
    free(before);
    mlp_network_destroy(net);
    destroy_data(&d);
}

// ---- The gradient of a whole network: a step with lr 1 subtracts it ----

static double objective(const setting *s, const mlp_network *net, const mlp_data *data) {
    mlp_result r = mlp_result_init();
    CHECK(mlp_evaluate(net, &r, data, &s->loss, workspace_for(net, s->n, 1), 1, NULL, NULL) == MLP_OK);
    double penalty = 0;
    for (int l = 0; l < s->n_layers; l++) {
        const double *W = mlp_network_weights(net, l);
        int64_t n_out = s->width[l + 1], stride = mlp_network_stride(net, l);
        for (int64_t i = 0; i < s->width[l] * stride; i++) {
            if (i % stride >= n_out) continue;  // padding
            penalty += s->settings.l2 / 2 * W[i] * W[i] + s->settings.l1 * fabs(W[i]);
        }
    }
    return r.loss_sum / r.weight_sum + penalty;
}

// The first `cols` of every `stride` elements.
static void check_parameters(const setting *s, const mlp_network *net, const mlp_data *data, double *at,
                             const double *stepped, int64_t n, int64_t cols, int64_t stride, double *largest) {
    const double h = 1e-5;
    for (int64_t i = 0; i < n; i++) {
        if (i % stride >= cols) continue;
        double here = at[i];
        at[i] = here + h;
        double above = objective(s, net, data);
        at[i] = here - h;
        double below = objective(s, net, data), difference = (above - below) / (2 * h), gradient = here - stepped[i];
        at[i] = here;
        CHECK(fabs(gradient - difference) < 1e-8 + 1e-6 * fabs(difference));
        *largest = fmax(*largest, fabs(gradient));
    }
}

static void check_gradient(const setting *s) {
    dataset d = make_data(s, MLP_FLOAT64);
    mlp_network *net = make_network(s, MLP_FLOAT64), *stepped = make_network(s, MLP_FLOAT64);
    mlp_trainer *trainer = make_trainer(s, stepped);
    mlp_result r = mlp_result_init(), before = r;
    mlp_evaluate(net, &before, &d.data, &s->loss, workspace_for(net, s->n, 1), 1, NULL, NULL);
    CHECK(mlp_train_step(trainer, &r, &d.data, &s->settings, 1, NULL, NULL) == MLP_OK);
    CHECK(same(r.loss_sum, before.loss_sum) && same(r.correct, before.correct) && same(r.exact, before.exact));
    CHECK(r.rows == s->n);
    double largest = 0;
    for (int l = 0; l < s->n_layers; l++) {
        int64_t n_out = s->width[l + 1], stride = mlp_network_stride(net, l);
        CHECK(stride >= n_out);
        check_parameters(s, net, &d.data, mlp_network_weights(net, l), mlp_network_weights(stepped, l),
                         s->width[l] * stride, n_out, stride, &largest);
        check_parameters(s, net, &d.data, mlp_network_bias(net, l), mlp_network_bias(stepped, l), n_out, n_out, n_out,
                         &largest);
        check_parameters(s, net, &d.data, mlp_network_slopes(net, l), mlp_network_slopes(stepped, l), slopes_of(s, l),
                         n_out, n_out, &largest);
    }
    CHECK(largest > 1e-4);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    mlp_network_destroy(stepped);
    destroy_data(&d);
}

static int rows_of_custom(void *self, void *call, void *delta, double *row_loss, const void *a, const mlp_truth *truth,
                       int64_t rows, int64_t n) {
    (void)self, (void)call, (void)truth;
    for (int64_t i = 0; i < rows; i++) row_loss[i] = ((const double *)a)[i * n];
    for (int64_t i = 0; i < rows * n; i++) ((double *)delta)[i] = i % n == 0;
    return 0;
}

// The data are refused, by evaluation and by training.
static void check_refused_data(const setting *s, const mlp_data *data, mlp_status wanted) {
    mlp_network *net = make_network(s, MLP_FLOAT64);
    mlp_trainer *trainer = make_trainer(s, net);
    mlp_result r = mlp_result_init();
    snapshot before = take_snapshot(s, net, NULL, MLP_FLOAT64);
    CHECK(mlp_evaluate(net, &r, data, &s->loss, workspace_for(net, s->n, 1), 1, NULL, NULL) == wanted);
    CHECK(mlp_train_step(trainer, &r, data, &s->settings, 1, NULL, NULL) == wanted);
    CHECK(mlp_gradient(trainer, NULL, &r, data, NULL, &s->settings, 1, NULL, NULL) == wanted);
    check_nothing_changed(s, net, NULL, MLP_FLOAT64, before);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
}

static void check_refused(const setting *s) {
    dataset d = make_data(s, MLP_FLOAT64);
    check_refused_data(s, &d.data, MLP_BAD_ARGUMENT);
    destroy_data(&d);
}

// A custom loss needs no labels or targets. It may depend on several rows together, so mlp_evaluate refuses it.
static void test_custom_loss(void) {
    setting s = {.name = "3-4", .n_layers = 1, .width = {3, 4}, .n = 7, .batch = 7,
                 .loss = {LOSS, .kind = MLP_CUSTOM_LOSS, .custom = {.rows = rows_of_custom}},
                 .settings = {SETTINGS, .lr = 0.1, .check_finite = 1}};
    doing("a custom loss without labels or targets");
    dataset d = make_data(&s, MLP_FLOAT64);
    d.data.targets = NULL;
    mlp_network *net = make_network(&s, MLP_FLOAT64);
    mlp_trainer *trainer = make_trainer(&s, net);
    mlp_result r = mlp_result_init();
    CHECK(mlp_evaluate(net, &r, &d.data, &s.loss, workspace_for(net, s.n, 1), 1, NULL, NULL) == MLP_BAD_ARGUMENT);
    CHECK(mlp_train_step(trainer, &r, &d.data, &s.settings, 1, NULL, NULL) == MLP_OK && r.rows == 7);
    CHECK(same(r.correct, 0) && same(r.exact, 0));
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    destroy_data(&d);
    doing("a custom loss of z, whose derivative in a the slopes would need");
    s.g[0] = MLP_PRELU, s.loss.custom.of_z = 1;
    check_refused(&s);
}

#define UNITS (KNOWN_ACTIVATIONS + 1)  // the last is a prelu with a shared slope

static void set_unit(setting *s, int layer, int unit) {
    s->g[layer] = unit == KNOWN_ACTIVATIONS ? MLP_PRELU : nth_activation(unit);
    s->alpha[layer] = 0.3;
    s->shared &= ~(1 << layer);
    if (unit == KNOWN_ACTIVATIONS) s->shared |= 1 << layer;
}

// Every hidden activation, with all pairs of output and loss; pairs that do not fit are refused.
static void test_gradients(int quick) {
    setting s = {.name = "3-6-5-4", .n_layers = 3, .width = {3, 6, 5, 4}, .weighted = 1, .n = 7, .batch = 7,
                 .settings = {SETTINGS, .lr = 1, .l1 = 0.01, .l2 = 0.02, .check_finite = 1}};
    mlp_loss losses[MOST_LOSSES];
    int n = list_losses(losses);
    for (int combination = 0; combination < n * UNITS * UNITS; combination++) {
        int hidden = combination / n / UNITS, output = combination / n % UNITS;
        s.loss = losses[combination % n];
        set_unit(&s, 0, hidden);
        set_unit(&s, 1, hidden);
        if (s.g[0] == MLP_SOFTMAX || s.g[0] == MLP_EXP) s.g[1] = MLP_TANH;
        set_unit(&s, 2, output);
        doing("gradient, hidden %d %d, output %d, loss %d", (int)s.g[0], (int)s.g[1], (int)s.g[2], (int)s.loss.kind);
        if (quick && (hidden + 3 * output + combination % n) % 4) continue;
        if (mlp_goes_with(s.loss.kind, s.g[2])) check_gradient(&s);
        else check_refused(&s);
    }
}

static void test_gradients_by_label(void) {
    setting s = {.name = "3-6-4", .n_layers = 2, .width = {3, 6, 4}, .g = {MLP_TANH, MLP_IDENTITY}, .by_label = 1,
                 .n = 7, .batch = 7, .settings = {SETTINGS, .lr = 1, .check_finite = 1}};
    mlp_loss losses[MOST_LOSSES];
    int n = list_losses(losses);
    for (int i = 0; i < n; i++) {
        s.loss = losses[i];
        doing("gradient by label, loss %s", mlp_loss_rows[s.loss.kind].name);
        if (!mlp_goes_with(s.loss.kind, MLP_IDENTITY)) continue;
        if (mlp_loss_has(s.loss.kind, MLP_BY_CLASS)) check_gradient(&s);
        else check_refused(&s);
    }
    s.loss = (mlp_loss){LOSS, .kind = MLP_HINGE}, s.g[1] = MLP_SIGN;
    check_refused(&s);
}

// The entries of y with weight 0 are NaN.
static void test_gradients_by_entry(void) {
    setting s = {.name = "3-6-4", .n_layers = 2, .width = {3, 6, 4}, .g = {MLP_PRELU}, .alpha = {0.2}, .by_entry = 1,
                 .n = 9, .batch = 9, .settings = {SETTINGS, .lr = 1, .l2 = 0.02, .check_finite = 1}};
    mlp_loss losses[MOST_LOSSES];
    int n = list_losses(losses);
    for (int i = 0; i < n * UNITS; i++) {
        s.loss = losses[i % n];
        set_unit(&s, 1, i / n);
        doing("gradient with entry weights, output %d, loss %s", (int)s.g[1], mlp_loss_rows[s.loss.kind].name);
        if (!mlp_goes_with(s.loss.kind, s.g[1])) continue;
        if (mlp_loss_has(s.loss.kind, MLP_BY_ENTRY)) check_gradient(&s);
        else check_refused(&s);
    }
}

// An entry without weight may have an infinite output: 0 times its z, or its derivative, must not make NaN.
static void test_infinite_output_without_weight(mlp_activation g, double z) {
    const mlp_layer_spec layer = {LAYER, .n_in = 1, .n_out = 2, .activation = g, .alpha = 0.2, .has_bias = 1,
                                  .trainable = 1};
    const double X[] = {1}, y[] = {7, 5}, weights[] = {0.5}, entries[] = {1, 0};
    const mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT64, .targets = y, .weights = weights,
                           .entry_weights = entries, .n = 1};
    const mlp_settings settings = {SETTINGS, .check_finite = 1};
    mlp_network *net = NULL;
    mlp_trainer *trainer = NULL;
    mlp_result r = mlp_result_init();
    doing("an infinite output without weight, activation %d", (int)g);
    CHECK(mlp_network_create(&net, MLP_FLOAT64, &layer, 1) == MLP_OK);
    CHECK(mlp_trainer_create(&trainer, net, &(mlp_loss){LOSS, .kind = MLP_HALF_SQUARED_ERROR}, 1) == MLP_OK);
    double *b = mlp_network_bias(net, 0), *gradient = allocate(mlp_network_bytes(net));
    b[0] = 1, b[1] = z;
    CHECK(mlp_gradient(trainer, gradient, &r, &data, NULL, &settings, 1, NULL, NULL) == MLP_OK);
    const void *parameters[] = {mlp_network_weights(net, 0), b, mlp_network_slopes(net, 0)};
    for (int i = 0; i < 3 && parameters[i]; i++) {
        const double *of = mlp_network_in_block(net, gradient, parameters[i]);
        CHECK(isfinite(of[0]) && (i == 2 || of[0] < -1) && of[1] == 0);
    }
    free(gradient);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
}

// ---- Losses and data that do not go together ----

static void test_bad_data_for_a_loss(void) {
    setting s = {.name = "3-3", .n_layers = 1, .width = {3, 3}, .by_entry = 1, .n = 5, .batch = 5,
                 .loss = {LOSS, .kind = MLP_SQUARED_ERROR}, .settings = {SETTINGS, .lr = 1}};
    const int32_t labels[5] = {0};
    dataset d = make_data(&s, MLP_FLOAT64);
    mlp_data bad = d.data;
    const mlp_status refused = MLP_BAD_ARGUMENT;
    doing("fewer columns of y than there are");
    bad.target_cols = -1;
    check_refused_data(&s, &bad, refused);
    doing("another number of columns of y than the loss takes");
    bad.target_cols = 2;
    check_refused_data(&s, &bad, refused);
    doing("columns of y whose size overflows");
    bad.target_cols = INT64_MAX;
    check_refused_data(&s, &bad, MLP_TOO_LARGE);
    doing("entry weights without those of rows");
    bad = d.data, bad.weights = NULL;
    check_refused_data(&s, &bad, refused);
    doing("entry weights and class numbers");
    s.loss.kind = MLP_HINGE;
    bad = d.data, bad.targets = NULL, bad.labels = labels;
    check_refused_data(&s, &bad, refused);
    doing("class numbers for a loss with a y of its own");
    s.loss.kind = MLP_GAUSSIAN_NLL;
    bad.entry_weights = NULL;
    check_refused_data(&s, &bad, refused);
    doing("an odd number of outputs as means and log variances");
    bad = d.data, bad.target_cols = 1;
    check_refused_data(&s, &bad, refused);
    doing("three log hazards");
    s.loss.kind = MLP_COX_PH, bad.target_cols = 2, bad.entry_weights = NULL;
    check_refused_data(&s, &bad, refused);
    destroy_data(&d);
}

// Activations of parts of the outputs, which only PER_OUTPUT goes with.
static void test_loss_beside_output_blocks(void) {
    const mlp_output_block block = {.first = 1, .count = 2, .activation = MLP_ELU, .alpha = 1};
    const mlp_layer_spec layer = {LAYER, .n_in = 3, .n_out = 3, .blocks = &block, .n_blocks = 1, .trainable = 1};
    const double X[3] = {1, 2, 3}, y[3] = {0};
    mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT64, .targets = y, .n = 1};
    mlp_network *net = NULL;
    mlp_result r = mlp_result_init();
    doing("a loss that does not know of parts of the outputs");
    CHECK(mlp_network_create(&net, MLP_FLOAT64, &layer, 1) == MLP_OK);
    CHECK(mlp_evaluate(net, &r, &data, &(mlp_loss){LOSS, .kind = MLP_SQUARED_ERROR}, workspace_for(net, 1, 1), 1, NULL,
                       NULL) == MLP_BAD_ARGUMENT);
    mlp_network_destroy(net);
}

// ---- Parameters of losses ----

static void test_bad_losses(void) {
    static const mlp_loss bad[] = {
        {.kind = MLP_LOSSES - 1, .label_smoothing = 0.1}, {.kind = MLP_HALF_SQUARED_ERROR, .label_smoothing = 0.1},
        {.kind = MLP_HUBER}, {.kind = MLP_HUBER, .parameter = -1}, {.kind = MLP_HUBER, .parameter = NAN},
        {.kind = MLP_HUBER, .parameter = 1, .label_smoothing = 0.1}, {.kind = MLP_QUANTILE},
        {.kind = MLP_QUANTILE, .parameter = 1}, {.kind = MLP_QUANTILE, .parameter = -0.1},
        {.kind = MLP_QUANTILE, .parameter = NAN}, {.kind = MLP_CROSS_ENTROPY, .label_smoothing = -0.1},
        {.kind = MLP_CROSS_ENTROPY, .label_smoothing = 1.1}, {.kind = MLP_CROSS_ENTROPY, .label_smoothing = NAN},
        {.kind = MLP_BINARY_CROSS_ENTROPY, .label_smoothing = NAN}, {.kind = MLP_POISSON, .label_smoothing = 0.1},
        {.kind = MLP_CUSTOM_LOSS},  // without a function
    };
    setting s = {.name = "3-2", .n_layers = 1, .width = {3, 2}, .n = 5, .batch = 5, .settings = {SETTINGS, .lr = 1}};
    s.loss = (mlp_loss){LOSS, .kind = MLP_PER_OUTPUT, .n_blocks = 1};
    check_refused(&s);
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        s.loss = bad[i], s.loss.size = sizeof s.loss;
        doing("loss %d with %g and label smoothing %g", (int)s.loss.kind, s.loss.parameter, s.loss.label_smoothing);
        check_refused(&s);
    }
}

// Parts of 3 outputs: good ones, and each with one thing wrong.
static void test_bad_parts(void) {
    const mlp_loss_block numbers = {.of = {.first = 0, .count = 2}, .factor = 1, .kind = MLP_SQUARED_ERROR};
    mlp_loss_block good[] = {numbers, numbers}, bad[2];
    good[1].of.first = 2, good[1].of.count = 1, good[1].y_first = 2;
    setting s = {.name = "3-3", .n_layers = 1, .width = {3, 3}, .n = 5, .batch = 5, .settings = {SETTINGS, .lr = 1}};
    s.loss = (mlp_loss){LOSS, .kind = MLP_PER_OUTPUT, .blocks = good, .n_blocks = 2};
    check_gradient(&s);
    dataset d = make_data(&s, MLP_FLOAT64);
    s.loss.blocks = bad;
    for (int wrong = 0; wrong < 17; wrong++) {
        doing("parts of the outputs, wrong %d", wrong);
        memcpy(bad, good, sizeof bad);
        mlp_loss_block *b = &bad[1];
        switch (wrong) {
        case 0: b->of.first = 1; break;
        case 1: b->of.count = 2; break;
        case 2: bad[0].of.count = 1; break;
        case 3: b->of.count = 0; break;
        case 4: b->of.first = -1; break;
        case 5: b->of.activation = MLP_PRELU; break;
        case 6: b->of.activation = MLP_CUSTOM_ACTIVATION; break;
        case 7: b->factor = 0; break;
        case 8: b->kind = MLP_CUSTOM_LOSS; break;
        case 9: b->kind = MLP_PER_OUTPUT; break;
        case 10: b->kind = MLP_COX_PH; break;
        case 11: b->kind = MLP_GAUSSIAN_NLL; break;
        case 12: b->y_first = 3; break;
        case 13: b->y_first = -1; break;
        case 14: b->y_first = INT64_MAX; break;  // the other part has two columns
        case 15: b->kind = MLP_LOSSES; break;
        default: b->kind = MLP_HUBER; break;  // without its parameter
        }
        d.data.target_cols = wrong == 14 ? 2 : 3;
        check_refused_data(&s, &d.data, MLP_BAD_ARGUMENT);
    }
    memcpy(bad, good, sizeof bad);
    doing("an output in no part");
    s.loss.n_blocks = 1;
    d.data.target_cols = 2;
    check_refused_data(&s, &d.data, MLP_BAD_ARGUMENT);
    destroy_data(&d);
    s.loss.n_blocks = 2;
    doing("parts of outputs with an activation");
    s.g[0] = MLP_PRELU, s.alpha[0] = 0.25;  // the slopes would not learn
    check_refused(&s);
    s.g[0] = MLP_TANH;
    bad[0].kind = MLP_BINARY_CROSS_ENTROPY, bad[0].of.activation = MLP_TANH;
    check_refused(&s);
}

// Two parts, a number and one of two classes. y: of the second row's class, which may be anything without weight.
static void test_class_of_a_part(double y, double weight, mlp_status wanted) {
    doing("the class %g with the weight %g", y, weight);
    static const mlp_layer_spec layer = {LAYER, .n_in = 1, .n_out = 3, .trainable = 1};
    static const mlp_loss_block parts[] = {
        {.of = {.count = 1}, .factor = 1, .kind = MLP_SQUARED_ERROR},
        {.of = {.first = 1, .count = 2}, .y_first = 1, .factor = 1, .kind = MLP_CROSS_ENTROPY}};
    const mlp_loss loss = {LOSS, .kind = MLP_PER_OUTPUT, .blocks = parts, .n_blocks = 2};
    const double X[] = {1, 2}, targets[] = {-7.5, 1, 9, y}, weights[] = {1, 1}, entries[] = {1, 1, 1, weight};
    mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT64, .targets = targets, .target_cols = 2, .weights = weights,
                     .entry_weights = entries, .n = 2};
    mlp_settings settings = {SETTINGS, .lr = 0.1, .check_finite = 1};
    mlp_network *net = NULL;
    mlp_trainer *trainer = NULL;
    mlp_result r = mlp_result_init();
    CHECK(mlp_network_create(&net, MLP_FLOAT64, &layer, 1) == MLP_OK);
    CHECK(mlp_trainer_create(&trainer, net, &loss, 2) == MLP_OK);
    CHECK(mlp_train_step(trainer, &r, &data, &settings, 1, NULL, NULL) == wanted);
    CHECK(wanted || isfinite(((double *)mlp_network_weights(net, 0))[2]));
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
}

static void test_classes_of_parts(void) {
    static const double bad[] = {2, -1, 0.5, 1e300, INFINITY, NAN};
    test_class_of_a_part(1, 1, MLP_OK);
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        test_class_of_a_part(bad[i], 1, MLP_BAD_ARGUMENT);
        test_class_of_a_part(bad[i], 0, MLP_OK);
    }
}

static void test_bad_output_blocks(void) {
    const mlp_output_block good = {.first = 1, .count = 2, .activation = MLP_ELU, .alpha = 1};
    mlp_output_block bad = good;
    mlp_layer_spec layers[] = {{LAYER, .n_in = 2, .n_out = 3}, {LAYER, .n_in = 3, .n_out = 3, .blocks = &good,
                                                                .n_blocks = 1}};
    doing("activations of parts of the outputs");
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_OK);
    layers[1].activation = MLP_TANH;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    layers[1].activation = MLP_IDENTITY, layers[0].blocks = &good, layers[0].n_blocks = 1;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    layers[0].n_blocks = 0, layers[1].blocks = NULL;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    layers[1].blocks = &bad;
    bad.count = 3;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    bad = good, bad.alpha = -1;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    bad = good, bad.activation = MLP_PRELU;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    bad = good, bad.activation = MLP_ACTIVATIONS;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    bad = good, bad.count = 4;
    CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    const mlp_output_block four[] = {good, good, good, good};
    layers[1].blocks = four;
    for (layers[1].n_blocks = -1; layers[1].n_blocks <= 4; layers[1].n_blocks += 5) {
        CHECK(try_layers(MLP_FLOAT32, layers, 2) == MLP_BAD_ARGUMENT);
    }
}

// ---- The workspace: sized while fewer threads are available than when it is used ----

static void test_workspace_of_another_moment(void) {
    doing("a workspace from when oversubscription was not allowed");
    static const mlp_layer_spec layers[] = {{LAYER, .n_in = 40, .n_out = 100, .activation = MLP_RELU, .has_bias = 1},
                                            {LAYER, .n_in = 100, .n_out = 30, .activation = MLP_SOFTMAX,
                                             .has_bias = 1}};
    static float X[600 * 40], out[600 * 30];
    mlp_network *net = NULL;
    mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT32, .n = 600};
    CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, 2) == MLP_OK);
    for (int threads = -9; threads <= 9; threads++) {
        mlp_allow_oversubscription(0);
        size_t bytes = mlp_predict_workspace(net, data.n, threads);
        mlp_allow_oversubscription(1);
        CHECK(mlp_predict_workspace(net, data.n, threads) == bytes);
        void *space = guarded_place(&memory, bytes, AT_END);
        CHECK(mlp_predict(net, out, &data, space, threads, NULL, NULL) == MLP_OK);
        mlp_allow_oversubscription(0);
        CHECK(mlp_predict(net, out, &data, space, threads, NULL, NULL) == MLP_OK);
        CHECK(guarded_intact(&memory, bytes, AT_END));
    }
    mlp_allow_oversubscription(1);
    mlp_network_destroy(net);
}

static void test_workspace_of_more_rows(void) {
    doing("a workspace of more rows");
    static const mlp_layer_spec layers[] = {{LAYER, .n_in = 5, .n_out = 9, .activation = MLP_RELU},
                                            {LAYER, .n_in = 9, .n_out = 3}};
    static float X[300 * 5], out[300 * 3];
    mlp_network *net = NULL;
    CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, 2) == MLP_OK);
    size_t least = SIZE_MAX;
    for (int n = 300; n > 0; n--) {
        mlp_data data = {DATA, .X = X, .x_type = MLP_FLOAT32, .n = n};
        size_t bytes = mlp_predict_workspace(net, n, 1);
        if (bytes < least) least = bytes;
        CHECK(mlp_predict(net, out, &data, guarded_place(&memory, least, AT_END), 1, NULL, NULL) == MLP_OK);
        CHECK(guarded_intact(&memory, least, AT_END));
    }
    mlp_network_destroy(net);
}

// ---- Structs of other sizes: of programs compiled with an earlier or a later header ----

static mlp_network *grown_network(void) {
    struct {
        mlp_layer_spec known;
        int64_t more;
    } later[2] = {{.known = {.n_in = 2, .n_out = 3, .has_bias = 1}}, {.known = {.n_in = 3, .n_out = 1}}};
    mlp_network *net = NULL;
    later[0].known.size = later[1].known.size = sizeof *later;
    later[1].more = 1;
    CHECK(mlp_network_create(&net, MLP_FLOAT32, &later[0].known, 2) == MLP_BAD_ARGUMENT && !net);
    later[1].more = 0, later[1].known.size = sizeof(mlp_layer_spec);
    CHECK(mlp_network_create(&net, MLP_FLOAT32, &later[0].known, 2) == MLP_BAD_ARGUMENT && !net);
    later[1].known.size = sizeof *later;
    CHECK(mlp_network_create(&net, MLP_FLOAT32, &later[0].known, 2) == MLP_OK);
    return net;
}

static void test_structs_of_other_sizes(void) {
    doing("structs of other sizes");
    mlp_network *net = grown_network();
    float X[4] = {1, 2, 3, 4}, y[2] = {1, 1}, out[2];
    struct {
        mlp_data known;
        char more[8];
    } data = {.known = {.X = X, .targets = y, .n = 2}};
    struct {
        mlp_result known;
        double more;
    } result = {.known = {DATA}, .more = 7};
    mlp_loss loss = {LOSS, .kind = MLP_SQUARED_ERROR};
    void *workspace = allocate(mlp_predict_workspace(net, 2, 1));
    CHECK(mlp_predict(net, out, &data.known, workspace, 1, NULL, NULL) == MLP_BAD_ARGUMENT);  // no size
    data.known.size = sizeof data;
    CHECK(mlp_predict(net, out, &data.known, workspace, 1, NULL, NULL) == MLP_OK);
    data.more[7] = 1;
    CHECK(mlp_predict(net, out, &data.known, workspace, 1, NULL, NULL) == MLP_BAD_ARGUMENT);
    data.more[7] = 0, data.known.n_x = -1, data.known.size = offsetof(mlp_data, n_x);  // what is behind is not there
    CHECK(mlp_predict(net, out, &data.known, workspace, 1, NULL, NULL) == MLP_OK);

    result.known.size = sizeof result;
    CHECK(mlp_evaluate(net, &result.known, &data.known, &loss, workspace, 1, NULL, NULL) == MLP_OK);
    CHECK(result.known.loss_sum == 2 && result.more == 7 && result.known.size == sizeof result);
    result.known = (mlp_result){.size = offsetof(mlp_result, rows), .rows = 5};
    CHECK(mlp_evaluate(net, &result.known, &data.known, &loss, workspace, 1, NULL, NULL) == MLP_OK);
    CHECK(result.known.weight_sum == 2 && result.known.rows == 5);
    result.known.size = 0;
    CHECK(mlp_evaluate(net, &result.known, &data.known, &loss, workspace, 1, NULL, NULL) == MLP_BAD_ARGUMENT);
    loss.size = 0, result.known.size = sizeof result;
    CHECK(mlp_evaluate(net, &result.known, &data.known, &loss, workspace, 1, NULL, NULL) == MLP_BAD_ARGUMENT);

    mlp_trainer *trainer = NULL;
    CHECK(mlp_trainer_create(&trainer, net, &loss, 2) == MLP_BAD_ARGUMENT && !trainer);
    loss.size = sizeof loss;
    CHECK(mlp_trainer_create(&trainer, net, &loss, 2) == MLP_OK);
    mlp_settings settings = {.lr = 1};
    CHECK(mlp_train_step(trainer, &result.known, &data.known, &settings, 1, NULL, NULL) == MLP_BAD_ARGUMENT);
    CHECK(mlp_apply(trainer, NULL, &settings, 1) == MLP_BAD_ARGUMENT);
    settings.size = offsetof(mlp_settings, momentum), settings.momentum = 0.5;
    CHECK(mlp_trainer_prepare(trainer, &settings) == MLP_OK && mlp_trainer_states(trainer) == 0);
    mlp_trainer_destroy(trainer);
    mlp_network_destroy(net);
    free(workspace);
}

static void test_layers_that_are_not_there(void) {
    doing("layers that are not there");
    mlp_network *net = grown_network();
    mlp_layer_spec spec = mlp_layer_spec_init();
    const int wrong[] = {-1, 2, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        int l = wrong[i];
        CHECK(!mlp_network_weights(net, l) && !mlp_network_bias(net, l) && !mlp_network_slopes(net, l));
        CHECK(!mlp_network_mask(net, l) && mlp_network_stride(net, l) == 0);
        mlp_network_set_trainable(net, l, 1);
        CHECK(mlp_network_set_l2(net, l, 1) == MLP_BAD_ARGUMENT && mlp_network_set_dropout(net, l,
                                                                                           0) == MLP_BAD_ARGUMENT);
        CHECK(mlp_network_set_lr_factors(net, l, 1, 1) == MLP_BAD_ARGUMENT);
        CHECK(mlp_network_layer(net, l, &spec) == MLP_BAD_ARGUMENT);
    }
    CHECK(mlp_network_layer(net, 1, &spec) == MLP_OK && spec.n_in == 3 && spec.size == sizeof spec);
    CHECK(mlp_network_n_layers(net) == 2 && mlp_network_n_in(net) == 2 && mlp_network_n_out(net) == 1);
    CHECK(mlp_network_dtype(net) == MLP_FLOAT32);
    mlp_network_destroy(net);
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 900);
    mlp_allow_oversubscription(1);  // teams of the requested size on a small machine too
    memory = guarded_create(1 << 24);
    test_bad_layers();
    test_workspace_of_another_moment();
    test_workspace_of_more_rows();
    test_too_large();
    test_new_network();
    test_first_not_finite(MLP_FLOAT32);
    test_first_not_finite(MLP_FLOAT64);
    test_settings_of_layers();
    test_isa_names();
    for (int i = 0; i < SERVED; i++) {
        test_serving(&served[i], MLP_FLOAT32);
        if (!quick) test_serving(&served[i], MLP_FLOAT64);
    }
    test_transformed_inputs(MLP_FLOAT32);
    test_transformed_inputs(MLP_FLOAT64);
    test_samples();
    test_interrupted_serving();
    test_refused_calls();
    test_gradients(quick);
    test_gradients_by_label();
    test_gradients_by_entry();
    test_infinite_output_without_weight(MLP_EXP, INFINITY);
    test_infinite_output_without_weight(MLP_PRELU, -INFINITY);
    test_bad_data_for_a_loss();
    test_loss_beside_output_blocks();
    test_custom_loss();
    test_bad_losses();
    test_bad_parts();
    test_classes_of_parts();
    test_bad_output_blocks();
    guarded_destroy(&memory);
    test_structs_of_other_sizes();
    test_layers_that_are_not_there();
    return check_end("test_network");
}
