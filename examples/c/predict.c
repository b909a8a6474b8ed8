/* Loads a network that Python has saved, net.save("net.safetensors"), and predicts for one row:
 *
 *     cc predict.c $(python -m mlpfast config --cflags --libs) -o predict
 *     ./predict net.safetensors 0.5 1 -0.25 ...
 *
 * One number for each input; prints one for each output. Everything is allocated before the prediction.
 */
#include <mlpfast.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
    fprintf(stderr, "predict: %s\n", what);
    return 1;
}

/* All bytes of a file, which the caller frees; NULL if it cannot be read. */
static void *read_all(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    void *bytes = size >= 0 ? malloc((size_t)size + 1) : NULL;
    *n = size > 0 ? (size_t)size : 0;
    if (bytes && (fseek(file, 0, SEEK_SET) != 0 || fread(bytes, 1, *n, file) != *n)) {
        free(bytes);
        bytes = NULL;
    }
    if (file) fclose(file);
    return bytes;
}

static int predict(const mlp_network *net, double input_scale, char **numbers) {
    int64_t n_in = mlp_network_n_in(net), n_out = mlp_network_n_out(net), i;
    double *x = malloc((size_t)n_in * sizeof *x);
    void *y = malloc((size_t)n_out * sizeof(double)), *workspace = malloc(mlp_predict_workspace(net, 1, 1));
    mlp_data data = mlp_data_init();
    mlp_status status = MLP_NO_MEMORY;
    if (x && y && workspace) {
        for (i = 0; i < n_in; i++) x[i] = atof(numbers[i]);
        data.X = x, data.x_type = MLP_FLOAT64, data.x_scale = input_scale, data.n = 1; /* any type: it is converted */
        status = mlp_predict(net, y, &data, workspace, 1, NULL, NULL);
    }
    for (i = 0; status == MLP_OK && i < n_out; i++) {
        printf("%.9g\n", mlp_network_dtype(net) == MLP_FLOAT32 ? (double)((float *)y)[i] : ((double *)y)[i]);
    }
    free(x);
    free(y);
    free(workspace);
    return status == MLP_OK ? 0 : fail("no prediction");
}

int main(int argc, char **argv) {
    size_t n = 0;
    void *bytes = argc > 1 ? read_all(argv[1], &n) : NULL;
    mlp_file file = mlp_file_init();
    mlp_network *net = NULL;
    int result;
    if (!bytes) return fail("needs a file that can be read");
    if (mlp_self_check() != MLP_OK) return fail("this library computes wrong numbers");
    if (mlp_network_load(&net, bytes, n, &file) != MLP_OK) {
        free(bytes);
        return fail(file.problem ? file.problem : "the network cannot be loaded");
    }
    free(bytes);
    result = argc - 2 == mlp_network_n_in(net) ? predict(net, file.input_scale, argv + 2)
                                               : fail("needs one number for each input");
    mlp_network_destroy(net);
    return result;
}
