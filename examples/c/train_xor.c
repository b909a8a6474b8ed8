/* Trains a network on XOR in C, and writes it to a file that Python's mlpfast.load_network reads:
 *
 *     cc train_xor.c $(python -m mlpfast config --cflags --libs) -o train_xor
 *     ./train_xor xor.safetensors
 */
#include <mlpfast.h>
#include <stdio.h>
#include <stdlib.h>

#define HIDDEN 8
#define SEED 1

static const float X[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}}, y[4] = {0, 1, 1, 0};

/* Normal numbers of variance 1 / n_in for the weights of a layer; its rows may be padded. */
static void draw(mlp_network *net, int layer, int64_t n_in, int64_t n_out) {
    float *W = (float *)mlp_network_weights(net, layer);
    int64_t i, j, stride = mlp_network_stride(net, layer);
    double numbers[2 * HIDDEN];
    mlp_random_normal(numbers, 0, n_in * n_out, SEED, (uint64_t)layer);
    for (i = 0; i < n_in; i++) {
        for (j = 0; j < n_out; j++) W[i * stride + j] = (float)(numbers[i * n_out + j] * (n_in == 2 ? 1 : 0.5));
    }
}

static mlp_network *make(void) {
    mlp_network *net = NULL;
    mlp_layer_spec layers[2];
    int l;
    for (l = 0; l < 2; l++) {
        layers[l] = mlp_layer_spec_init();
        layers[l].n_in = l == 0 ? 2 : HIDDEN, layers[l].n_out = l == 0 ? HIDDEN : 1;
        layers[l].activation = l == 0 ? MLP_TANH : MLP_SIGMOID;
        layers[l].has_bias = layers[l].trainable = 1;
    }
    if (mlp_network_create(&net, MLP_FLOAT32, layers, 2) != MLP_OK) return NULL;
    for (l = 0; l < 2; l++) draw(net, l, layers[l].n_in, layers[l].n_out);
    return net;
}

/* 400 steps of Adam, each with all four rows. */
static mlp_status train(mlp_network *net, const mlp_data *data) {
    mlp_trainer *trainer = NULL;
    mlp_loss loss = mlp_loss_init();
    mlp_settings settings = mlp_settings_init();
    mlp_result result = mlp_result_init();
    mlp_status status;
    int step;
    loss.kind = MLP_BINARY_CROSS_ENTROPY;
    settings.optimizer = MLP_ADAM, settings.lr = 0.05, settings.check_finite = 1;
    settings.beta1 = 0.9, settings.beta2 = 0.999, settings.epsilon = 1e-8;
    status = mlp_trainer_create(&trainer, net, &loss, 4);
    for (step = 0; status == MLP_OK && step < 400; step++) {
        status = mlp_train_step(trainer, &result, data, &settings, 1, NULL, NULL);
        if (step % 100 == 99) printf("step %d: loss %.4f\n", step + 1, result.loss_sum / result.weight_sum);
    }
    mlp_trainer_destroy(trainer);
    return status;
}

/* Whether all of the file has been written. */
static int save(const mlp_network *net, const char *path) {
    size_t n = 0;
    void *bytes;
    FILE *file;
    int saved;
    mlp_network_save(net, NULL, 0, &n, NULL); /* asks for the size */
    bytes = malloc(n);
    file = fopen(path, "wb");
    saved = bytes && file && mlp_network_save(net, bytes, n, &n, NULL) == MLP_OK && fwrite(bytes, 1, n, file) == n;
    if (file && fclose(file) != 0) saved = 0;
    free(bytes);
    return saved;
}

int main(int argc, char **argv) {
    float out[4] = {0};
    int i, right = 0;
    mlp_network *net = make();
    mlp_data data = mlp_data_init();
    void *workspace = net ? malloc(mlp_predict_workspace(net, 4, 1)) : NULL;
    data.X = X, data.x_type = MLP_FLOAT32, data.targets = y, data.n = 4;
    if (!workspace || train(net, &data) != MLP_OK) return 1;
    if (mlp_predict(net, out, &data, workspace, 1, NULL, NULL) != MLP_OK) return 1;
    for (i = 0; i < 4; i++) {
        printf("%g xor %g: %.3f\n", (double)X[i][0], (double)X[i][1], (double)out[i]);
        right += (out[i] > 0.5f) == (y[i] > 0.5f);
    }
    if (argc > 1 && !save(net, argv[1])) right = 0;
    free(workspace);
    mlp_network_destroy(net);
    return right == 4 ? 0 : 1;
}
