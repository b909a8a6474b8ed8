/* What a C99 and a C++11 program does with mlpfast.h: it is compiled as both, under the strictest warnings. */
#include <mlpfast.h>
#include <stdio.h>
#include <stdlib.h>

static int failed(const char *what) {
    fprintf(stderr, "use: %s\n", what);
    return 1;
}

static int predict_one(const mlp_network *net) {
    float x[2] = {1, 2}, y[1] = {0};
    mlp_data data = mlp_data_init();
    void *workspace = malloc(mlp_predict_workspace(net, 1, 1));
    mlp_status status;
    data.X = x, data.x_type = MLP_FLOAT32, data.n = 1;
    status = workspace ? mlp_predict(net, y, &data, workspace, 1, NULL, NULL) : MLP_NO_MEMORY;
    free(workspace);
    return status == MLP_OK && y[0] > 1.99f && y[0] < 2.01f;
}

int main(void) {
    mlp_network *net = NULL;
    mlp_layer_spec layer = mlp_layer_spec_init(), same = mlp_layer_spec_init();
    int fine;
    if (mlp_version() != MLP_VERSION) return failed("mlp_version");
    layer.n_in = 2, layer.n_out = 1, layer.activation = MLP_IDENTITY, layer.has_bias = 1;
    if (mlp_network_create(&net, MLP_FLOAT32, &layer, 1) != MLP_OK) return failed("mlp_network_create");
    ((float *)mlp_network_weights(net, 0))[0] = 2;
    fine = mlp_network_layer(net, 0, &same) == MLP_OK && same.n_in == 2 && same.has_bias == 1 && predict_one(net);
    mlp_network_destroy(net);
    return fine ? 0 : failed("mlp_predict");
}
