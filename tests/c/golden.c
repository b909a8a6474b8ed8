// Trains the networks of tests/test_golden.py, from the same numbers, and writes what is hashed: for each network a
// file with its parameters and predictions.
//   golden                            prints the instruction sets of this machine
//   golden ISA THREADS FOLDER         writes FOLDER/NAME-DTYPE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"
#include "mlpfast.h"
#include "sizes.h"

#define ROWS 301
#define BATCH 50
#define EPOCHS 3
#define SEED 2026
#define MOST_LAYERS 4

typedef struct {
    const char *name;
    int n_layers;
    int64_t width[MOST_LAYERS + 1];
    mlp_activation hidden, output;
    mlp_loss_kind loss;
    double dropout;
    int weighted;
    mlp_settings settings;
} golden;

static const golden all[] = {
    {.name = "relu-sgd-dropout", .n_layers = 2, .width = {37, 61, 13}, .hidden = MLP_RELU, .output = MLP_SOFTMAX,
     .loss = MLP_CROSS_ENTROPY, .dropout = 0.25, .settings = {SETTINGS, .lr = 0.1, .input_dropout = 0.1}},
    {.name = "tanh-adam", .n_layers = 3, .width = {29, 67, 33, 5}, .hidden = MLP_TANH, .output = MLP_IDENTITY,
     .loss = MLP_HALF_SQUARED_ERROR,
     .settings = {SETTINGS, .optimizer = MLP_ADAM, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}},
    {.name = "gelu-rmsprop-l1-noise", .n_layers = 3, .width = {37, 70, 41, 7}, .hidden = MLP_GELU,
     .output = MLP_SIGMOID, .loss = MLP_BINARY_CROSS_ENTROPY,
     .settings = {SETTINGS, .optimizer = MLP_RMSPROP, .lr = 0.01, .beta2 = 0.99, .epsilon = 1e-8, .l1 = 1e-4,
                  .input_noise = 0.1}},
    {.name = "sigmoid-nesterov", .n_layers = 2, .width = {21, 131, 11}, .hidden = MLP_SIGMOID, .output = MLP_SOFTMAX,
     .loss = MLP_CROSS_ENTROPY, .weighted = 1, .settings = {SETTINGS, .lr = 0.5, .momentum = 0.9, .nesterov = 1,
                                                            .l2 = 1e-3}},
};

static void fail(const char *what) {
    fprintf(stderr, "golden: %s\n", what);
    exit(1);
}

static void *allocate(int64_t count, size_t size) {
    void *memory = calloc((size_t)count, size);
    if (!memory) fail("no memory");
    return memory;
}

static void put(void *to, mlp_dtype dtype, int64_t i, double x) {
    if (dtype == MLP_FLOAT32) ((float *)to)[i] = (float)x;
    else ((double *)to)[i] = x;
}

enum { STREAM_X, STREAM_LABELS, STREAM_TARGETS, STREAM_WEIGHTS };

// count numbers of the dtype: normal, or uniform plus `plus`.
static void *draw(int64_t count, uint64_t stream, int normal, double plus, mlp_dtype dtype) {
    double *numbers = allocate(count, sizeof *numbers);
    if (normal) mlp_random_normal(numbers, 0, count, SEED, stream);
    else mlp_random_uniform(numbers, 0, count, SEED, stream);
    void *reals = allocate(count, sizeof(double));
    for (int64_t i = 0; i < count; i++) put(reals, dtype, i, numbers[i] + plus);
    free(numbers);
    return reals;
}

static double mean_of_rows(const void *reals, mlp_dtype dtype) {
    double sum = 0;
    for (int i = 0; i < ROWS; i++) {
        sum += dtype == MLP_FLOAT32 ? (double)((const float *)reals)[i] : ((const double *)reals)[i];
    }
    return sum / ROWS;
}

static int32_t *draw_labels(int64_t classes) {
    double u[ROWS];
    int32_t *labels = allocate(ROWS, sizeof *labels);
    mlp_random_uniform(u, 0, ROWS, SEED, STREAM_LABELS);
    for (int i = 0; i < ROWS; i++) labels[i] = (int32_t)(u[i] * (double)classes);
    return labels;
}

static mlp_data draw_data(const golden *g, mlp_dtype dtype) {
    int64_t n_out = g->width[g->n_layers];
    mlp_data data = {DATA, .X = draw(ROWS * g->width[0], STREAM_X, 1, 0, dtype), .x_type = dtype, .n = ROWS};
    if (g->loss == MLP_CROSS_ENTROPY) data.labels = draw_labels(n_out);
    else data.targets = draw(ROWS * n_out, STREAM_TARGETS, g->loss == MLP_HALF_SQUARED_ERROR, 0, dtype);
    if (!g->weighted) return data;
    data.weights = draw(ROWS, STREAM_WEIGHTS, 0, 0.5, dtype);
    data.mean_weight = mean_of_rows(data.weights, dtype);
    return data;
}

// He's weights for relu and gelu, Xavier's for the others; the biases are zero.
static mlp_network *make_network(const golden *g, mlp_dtype dtype) {
    mlp_layer_spec layers[MOST_LAYERS];
    for (int l = 0; l < g->n_layers; l++) {
        int last = l == g->n_layers - 1;
        layers[l] = (mlp_layer_spec){LAYER, .n_in = g->width[l], .n_out = g->width[l + 1], .has_bias = 1,
                                     .trainable = 1,
                                     .activation = last ? g->output : g->hidden, .dropout = last ? 0 : g->dropout};
    }
    mlp_network *net = NULL;
    if (mlp_network_create(&net, dtype, layers, g->n_layers)) fail("mlp_network_create");
    for (int l = 0; l < g->n_layers; l++) {
        int64_t n_in = layers[l].n_in, n_out = layers[l].n_out, stride = mlp_network_stride(net, l);
        int he = layers[l].activation == MLP_RELU || layers[l].activation == MLP_GELU;
        double *z = allocate(n_in * n_out, sizeof *z), deviation = sqrt(2 / (double)(he ? n_in : n_in + n_out));
        mlp_random_normal(z, 0, n_in * n_out, SEED, (uint64_t)l);
        for (int64_t i = 0; i < n_in * n_out; i++) {
            put(mlp_network_weights(net, l), dtype, i / n_out * stride + i % n_out, z[i] * deviation);
        }
        free(z);
    }
    return net;
}

static void train(const golden *g, mlp_network *net, const mlp_data *data, int threads) {
    mlp_trainer *trainer = NULL;
    mlp_settings settings = g->settings;
    settings.seed = SEED, settings.check_finite = 1;
    if (mlp_trainer_create(&trainer, net, &(mlp_loss){LOSS, .kind = g->loss}, BATCH)) fail("mlp_trainer_create");
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int64_t order[ROWS];
        mlp_result result = mlp_result_init();
        mlp_order(order, 0, ROWS, ROWS, SEED, epoch);
        if (mlp_train_epoch(trainer, &result, data, order, ROWS, &settings, NULL, NULL, threads, NULL, NULL)) {
            fail("mlp_train_epoch");
        }
    }
    mlp_trainer_destroy(trainer);
}

static void write_result(const golden *g, const mlp_network *net, const mlp_data *data, int threads, mlp_dtype dtype,
                         const char *folder) {
    char path[4096];
    size_t size = dtype == MLP_FLOAT32 ? sizeof(float) : sizeof(double);
    snprintf(path, sizeof path, "%s/%s-%s", folder, g->name, dtype == MLP_FLOAT32 ? "float32" : "float64");
    FILE *file = fopen(path, "wb");
    if (!file) fail(path);
    for (int l = 0; l < g->n_layers; l++) {
        size_t row = (size_t)mlp_network_stride(net, l) * size;
        for (int64_t i = 0; i < g->width[l]; i++) {
            fwrite((char *)mlp_network_weights(net, l) + (size_t)i * row, size, (size_t)g->width[l + 1], file);
        }
        fwrite(mlp_network_bias(net, l), size, (size_t)g->width[l + 1], file);
    }
    int64_t count = ROWS * g->width[g->n_layers];
    void *out = allocate(count, size), *workspace = malloc(mlp_predict_workspace(net, ROWS, threads));
    if (!workspace || mlp_predict(net, out, data, workspace, threads, NULL, NULL)) fail("mlp_predict");
    fwrite(out, size, (size_t)count, file);
    free(out);
    free(workspace);
    if (fclose(file)) fail(path);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        for (int i = 0; mlp_isa_available(i); i++) puts(mlp_isa_available(i));
        return argc != 1;
    }
    if (mlp_select_isa(argv[1])) fail(argv[1]);
    mlp_allow_oversubscription(1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int type = 0; type < 2; type++) {
            mlp_dtype dtype = type ? MLP_FLOAT64 : MLP_FLOAT32;
            mlp_data data = draw_data(&all[i], dtype);
            mlp_network *net = make_network(&all[i], dtype);
            train(&all[i], net, &data, atoi(argv[2]));
            write_result(&all[i], net, &data, atoi(argv[2]), dtype, argv[3]);
            mlp_network_destroy(net);
            free((void *)data.X);
            free((void *)data.labels);
            free((void *)data.targets);
            free((void *)data.weights);
        }
    }
    return 0;
}
