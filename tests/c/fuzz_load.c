// For libFuzzer: mlp_network_load of any bytes. What loads is saved, and loads again as the same bytes; a row goes
// through.
#include <stdlib.h>
#include <string.h>

#include "mlpfast.h"

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes + 1);
    if (!memory) abort();
    return memory;
}

static void predict(const mlp_network *net) {
    int64_t n_in = mlp_network_n_in(net), n_out = mlp_network_n_out(net);
    void *x = allocate((size_t)n_in), *y = allocate((size_t)n_out * sizeof(double));
    void *workspace = allocate(mlp_predict_workspace(net, 1, 1));
    mlp_data data = mlp_data_init();
    memset(x, 1, (size_t)n_in);
    data.X = x, data.x_type = MLP_UINT8, data.x_scale = 1, data.n = 1;
    if (mlp_predict(net, y, &data, workspace, 1, NULL, NULL)) abort();
    free(x);
    free(y);
    free(workspace);
}

static unsigned char *saved(const mlp_network *net, size_t *n, const mlp_file *file) {
    if (mlp_network_save(net, NULL, 0, n, file) != MLP_BUFFER_TOO_SMALL) abort();
    unsigned char *bytes = allocate(*n);
    if (mlp_network_save(net, bytes, *n, n, file)) abort();
    return bytes;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n) {
    mlp_network *net = NULL, *second = NULL;
    mlp_file file = mlp_file_init();
    mlp_status status = mlp_network_load(&net, bytes, n, &file);
    if ((status == MLP_BAD_FILE || status == MLP_NEEDS_PYTHON) != (file.problem != NULL) || file.at > n) abort();
    if (status) return 0;
    size_t n_first, n_second;
    unsigned char *first = saved(net, &n_first, &file);
    if (mlp_network_load(&second, first, n_first, &file)) abort();
    unsigned char *again = saved(second, &n_second, &file);
    if (n_first != n_second || memcmp(first, again, n_first)) abort();
    if (mlp_network_bytes(net) < 1 << 16) predict(net);
    mlp_network_destroy(net);
    mlp_network_destroy(second);
    free(first);
    free(again);
    return 0;
}
