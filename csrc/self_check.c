// Whether this library computes what it should: functions, predictions and some steps of a small network, compared with
// constants. Where a compiler contracts products and sums, or reorders sums, some of them have other bits.
#include "build.h"
#include "self_check.h"

#include <stdlib.h>

#include "fpmode.h"
#include "network.h"

// float32, then float64. tests/c/self_check_numbers.c prints them; the golden hashes must hold where it runs.
static const double expected[2][MLP_CHECKED] = {
#include "self_check.inc.h"
};

#define N_IN 5
#define N_HIDDEN 9
#define N_OUT 3
#define ROWS 4
#define FUNCTIONS 6
#define ARGUMENTS 8

// Multiples of 1/32 from -20/32 to 20/32, in no simple order: exact in both dtypes.
static double number(int64_t i) { return (double)(i * 29 % 41 - 20) / 32; }

static void set(void *reals, mlp_dtype dtype, int64_t n, double factor, double plus) {
    for (int64_t i = 0; i < n; i++) mlp_set_number(reals, dtype, i, number(i) * factor + plus);
}

static double *get(double *numbers, const void *reals, mlp_dtype dtype, int64_t n) {
    for (int64_t i = 0; i < n; i++) *numbers++ = mlp_number(reals, dtype, i);
    return numbers;
}

static double *functions(double *numbers, mlp_dtype dtype) {
    const mlp_kernels *k = mlp_kernels_for(dtype);
    void (*const all[FUNCTIONS])(void *, const void *, int64_t) = {k->exp, k->tanh, k->sigmoid, k->normal_cdf,
                                                                  k->normal_pdf, k->log};
    double x[ARGUMENTS], y[ARGUMENTS];
    mlp_fpmode before = mlp_fpmode_enter_core();
    for (int f = 0; f < FUNCTIONS; f++) {
        set(x, dtype, ARGUMENTS, 8, all[f] == k->log ? 6 : 0.03125);
        all[f](y, x, ARGUMENTS);
        numbers = get(numbers, y, dtype, ARGUMENTS);
    }
    mlp_fpmode_leave(before);
    return numbers;
}

// The weights, biases and so on, one after the other.
static double *parameters(double *numbers, const mlp_network *net, mlp_dtype dtype) {
    for (int l = 0; l < 2; l++) {
        const mlp_layer *layer = &net->layers[l];
        for (int64_t i = 0; i < layer->spec.n_in; i++) {
            numbers = get(numbers, mlp_row(layer->W, dtype, i, layer->stride), dtype, layer->spec.n_out);
        }
        numbers = get(numbers, layer->b, dtype, layer->spec.n_out);
    }
    return numbers;
}

static mlp_status make_network(mlp_network **net, mlp_dtype dtype) {
    mlp_layer_spec layers[2] = {mlp_layer_spec_init(), mlp_layer_spec_init()};
    layers[0].n_in = N_IN, layers[0].n_out = layers[1].n_in = N_HIDDEN, layers[1].n_out = N_OUT;
    layers[0].activation = MLP_GELU, layers[1].activation = MLP_SOFTMAX;
    layers[0].has_bias = layers[1].has_bias = layers[0].trainable = layers[1].trainable = 1;
    layers[0].dropout = 0.25;
    mlp_status status = mlp_network_create(net, dtype, layers, 2);
    for (int l = 0; !status && l < 2; l++) {
        const mlp_layer *layer = &(*net)->layers[l];
        for (int64_t i = 0; i < layer->spec.n_in; i++) {
            void *row = (char *)layer->W + (size_t)(i * layer->stride) * mlp_size_of(dtype);
            set(row, dtype, layer->spec.n_out, 1, 0.125 * (double)i);
        }
        set(layer->b, dtype, layer->spec.n_out, 0.5, 0);
    }
    return status;
}

static mlp_status predict(double *numbers, const mlp_network *net, mlp_data *data) {
    double out[ROWS * N_OUT];
    void *workspace = malloc(mlp_predict_workspace(net, ROWS, 1));
    if (!workspace) return MLP_NO_MEMORY;
    mlp_status status = mlp_predict(net, out, data, workspace, 1, NULL, NULL);
    get(numbers, out, net->dtype, ROWS * N_OUT);
    free(workspace);
    return status;
}

#if !defined(MLP_NO_TRAINING)
static mlp_status train(mlp_network *net, mlp_data *data) {
    mlp_trainer *trainer = NULL;
    mlp_loss loss = mlp_loss_init();
    mlp_settings settings = mlp_settings_init();
    mlp_result result = mlp_result_init();
    static const int32_t labels[ROWS] = {0, 2, 1, 2};
    data->labels = labels, loss.kind = MLP_CROSS_ENTROPY;
    settings.optimizer = MLP_ADAM, settings.lr = 0.01, settings.beta1 = 0.9, settings.beta2 = 0.999;
    settings.epsilon = 1e-8, settings.l2 = 1e-3, settings.seed = 1;
    mlp_status status = mlp_trainer_create(&trainer, net, &loss, ROWS);
    for (int step = 0; !status && step < 5; step++) {
        status = mlp_train_step(trainer, &result, data, &settings, 1, NULL, NULL);
    }
    mlp_trainer_destroy(trainer);
    return status;
}
#endif

mlp_status mlp_checked_numbers(double *numbers, mlp_dtype dtype) {
    double X[ROWS * N_IN];
    mlp_network *net = NULL;
    mlp_data data = mlp_data_init();
    set(X, dtype, ROWS * N_IN, 4, 0), data.X = X, data.x_type = dtype, data.n = ROWS;
    if (!mlp_kernels_for(dtype)) return MLP_NOT_BUILT;
    numbers = functions(numbers, dtype);
    mlp_status status = make_network(&net, dtype);
    if (!status) status = predict(numbers, net, &data), numbers += ROWS * N_OUT;
#if !defined(MLP_NO_TRAINING)
    if (!status) status = train(net, &data);
#endif
    if (!status) parameters(numbers, net, dtype);
    mlp_network_destroy(net);
    return status;
}

mlp_status mlp_self_check(void) {
    double numbers[MLP_CHECKED];
#if defined(MLP_NO_TRAINING)
    const int n = MLP_CHECKED_FORWARD;
#else
    const int n = MLP_CHECKED;
#endif
    for (int type = 0; type < 2; type++) {
        mlp_status status = mlp_checked_numbers(numbers, type ? MLP_FLOAT64 : MLP_FLOAT32);
        if (status == MLP_NOT_BUILT) continue;
        if (status) return status;
        for (int i = 0; i < n; i++) {
            if (!(numbers[i] == expected[type][i])) return MLP_BAD_BUILD;
        }
    }
    return MLP_OK;
}
