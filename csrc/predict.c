// Serving and evaluation: the forward pass alone, without allocation, in a workspace of the caller.
//
// Rows are independent, so each thread takes chunks of rows through all layers: no barriers, and the same bits however
// the rows are cut.
#include <stdatomic.h>

#include "fpmode.h"
#include "network.h"
#include "rng.h"
#include "team.h"

// The buffers of a thread, as offsets: the kernels' scratch, converted inputs, and two that the layers write in turn.
typedef struct {
    size_t scratch, input, layer[2], bytes;
} thread_buffers;

typedef struct {
    const mlp_network *net;
    const mlp_data *data;
    int evaluates;          // loss instead of out
    mlp_loss loss;
    void *out;              // (n, n_out)
    int drops;              // with dropout, drawn from
    mlp_draw draw;
    double input_dropout;
    int64_t begin, end;     // the rows it is about
    double *row_loss, *row_correct;  // of these rows
    char *buffers;          // of all threads
    thread_buffers at;      // in a thread's own
    int64_t chunk;          // rows taken at once
    mlp_poll poll;
    void *context;
    atomic_int stop;
} job;

#define CACHE_LINE 64

// A chunk of eight tiles keeps its activations in the second-level cache and amortises each panel of W.
static int64_t chunk_rows(const mlp_network *net, int64_t n, int threads) {
    int64_t most = 8 * net->kernels->tile_rows, each = n / threads + (n % threads != 0);
    return each < 1 ? 1 : each < most ? each : most;
}

static thread_buffers buffers_of(const mlp_network *net, int64_t chunk) {
    const mlp_kernels *k = net->kernels;
    thread_buffers b = {0};
    b.scratch = mlp_reserve(&b.bytes, 1, 1, k->scratch_bytes(net->widest > chunk ? net->widest : chunk, net->widest_out));
    b.input = mlp_reserve(&b.bytes, chunk, net->layers[0].spec.n_in, k->real_size);
    for (int i = 0; i < 2; i++) b.layer[i] = mlp_reserve(&b.bytes, chunk, net->widest_out, k->real_size);
    return b;
}

#define FEWEST_ROWS 4

// The most threads n rows are spread over; what the workspace has room for. Each row is one thread's: more threads than
// rows have nothing to do, and a few rows share one reading of W.
static int most_threads(const mlp_network *net, int64_t n, int threads, double *flops) {
    *flops = 0;
    for (int l = 0; l < net->n_layers; l++) {
        *flops += 2.0 * (double)n * (double)net->layers[l].spec.n_in * (double)net->layers[l].spec.n_out;
    }
    int64_t most = n / FEWEST_ROWS + 1;
    int bound = mlp_team_bound(threads, *flops);
    return bound < most ? bound : (int)most;
}

#define SLICE_CHUNKS 256  // of each thread: enough for a team to be worth its start

// Rows that are evaluated together before their losses are added up, so that memory does not grow with n.
static int64_t slice_rows(int64_t n, int threads, int64_t chunk) {
    int64_t most = SLICE_CHUNKS * chunk * threads;
    return n < most ? n : most;
}

// The losses of a slice stand first, then the buffers.
static size_t lay_out(const mlp_network *net, int64_t n, int threads, int64_t chunk, size_t *buffers) {
    size_t used = 0;
    mlp_reserve(&used, slice_rows(n, threads, chunk), 2, sizeof(double));
    *buffers = mlp_reserve(&used, threads, 1, buffers_of(net, chunk).bytes);
    return used;
}

size_t mlp_predict_workspace(const mlp_network *net, int64_t n, int threads) {
    if (n < 0) return 0;
    double flops;
    int most = most_threads(net, n, threads, &flops);
    size_t buffers, used = lay_out(net, n, most, chunk_rows(net, n, most), &buffers);
    mlp_reserve(&used, 1, 1, CACHE_LINE);  // malloc aligns to less
    return used == SIZE_MAX ? 0 : used;
}

// Layer l's output, or with l = -1 the input, loses some of its numbers.
static void drop(const job *j, int l, void *out, const void *in, int64_t first, int64_t rows) {
    double p = l < 0 ? j->input_dropout : j->net->layers[l].spec.dropout;
    int64_t n = l < 0 ? j->net->layers[0].spec.n_in : j->net->layers[l].spec.n_out;
    mlp_draw draw = j->draw;
    draw.stream = MLP_STREAM_DROPOUT + (uint32_t)(l + 1);
    draw.first_row = first;
    j->net->kernels->dropout(out, in, n, (mlp_block){0, rows, 0, n}, p, &draw);
}

// The chunk's input, in place where it has the network's type.
static const void *input(const job *j, int64_t first, int64_t rows, void *converted) {
    int64_t n_in = j->net->layers[0].spec.n_in;
    const void *X = mlp_row(j->data->X, j->data->x_type, first, n_in);
    if (j->data->x_type != j->net->dtype) {
        j->net->kernels->gather(converted, X, j->data->x_type, j->data->x_scale, NULL, rows, n_in);
        X = converted;
    }
    if (!(j->drops && j->input_dropout > 0)) return X;
    drop(j, -1, converted, X, first, rows);
    return converted;
}

// Returns nonzero if a function of the caller's has failed.
static int run_chunk(const job *j, int64_t first, int64_t rows, char *buffer) {
    const thread_buffers *at = &j->at;
    const mlp_network *net = j->net;
    const mlp_kernels *k = net->kernels;
    int last = net->n_layers - 1;
    int64_t n_out = net->layers[last].spec.n_out;

    const void *x = input(j, first, rows, buffer + at->input);
    for (int l = 0; l <= last; l++) {
        const mlp_layer *layer = &net->layers[l];
        mlp_unit g = l == last && j->evaluates ? mlp_output_unit(net, j->loss) : mlp_unit_of(layer);
        void *a = buffer + at->layer[l % 2];
        if (l == last && !j->evaluates) a = (char *)j->out + (size_t)first * (size_t)n_out * k->real_size;
        mlp_block all = {0, rows, 0, layer->spec.n_out};
        int is_own = g.kind == MLP_OWN_ACTIVATION;
        if (is_own) g = (mlp_unit){.kind = MLP_IDENTITY};
        k->dense_forward(a, NULL, x, layer->W, layer->stride, layer->b, g, layer->spec.n_in, layer->spec.n_out, all,
                         buffer + at->scratch);
        if (g.kind == MLP_SOFTMAX) k->softmax_forward(a, a, rows, layer->spec.n_out, buffer + at->scratch);
        const mlp_own_activation *own = &layer->spec.own;
        if (is_own && own->forward(own->self, j->context, a, a, rows, layer->spec.n_out)) return 1;
        if (j->drops && l < last && layer->spec.dropout > 0) drop(j, l, a, a, first, rows);
        x = a;
    }
    if (j->evaluates) {
        k->loss(NULL, j->row_loss + first - j->begin, j->row_correct + first - j->begin, x, j->loss,
                net->layers[last].spec.activation, j->data, NULL, first, rows, n_out, buffer + at->scratch);
    }
    return 0;
}

static void run(void *context, mlp_member *me) {
    job *j = context;
    char *buffer = j->buffers + (size_t)me->rank * j->at.bytes;
    int64_t stride = j->chunk * me->size;
    for (int64_t first = j->begin + me->rank * j->chunk; first < j->end; first += stride) {
        if (me->rank == 0 && first > 0 && j->poll && j->poll(j->context)) atomic_store(&j->stop, MLP_INTERRUPTED);
        if (atomic_load_explicit(&j->stop, memory_order_relaxed)) return;
        int64_t rows = j->end - first < j->chunk ? j->end - first : j->chunk;
        if (run_chunk(j, first, rows, buffer)) atomic_store(&j->stop, MLP_INTERRUPTED);
    }
}

// In the order of the rows, however they are cut.
static void add_up(mlp_result *result, const job *j) {
    mlp_fpmode before = mlp_fpmode_enter_core();
    for (int64_t i = 0; i < j->end - j->begin; i++) {
        double weight = j->data->weights ? mlp_number(j->data->weights, j->net->dtype, j->begin + i) : 1;
        result->loss_sum += j->row_loss[i];
        result->correct += weight * j->row_correct[i];
        result->exact += j->row_correct[i] == 1 ? weight : 0;
        result->weight_sum += weight;
    }
    result->rows = j->end;
    mlp_fpmode_leave(before);
}

// result: of what is evaluated, else NULL.
static mlp_status run_all(job *j, mlp_result *result, char *workspace, int threads) {
    int64_t n = j->data->n;
    double flops;
    int most = most_threads(j->net, n, threads, &flops), team = mlp_team_size(threads, flops);
    size_t buffers;
    j->chunk = chunk_rows(j->net, n, most);
    j->at = buffers_of(j->net, j->chunk);
    if (lay_out(j->net, n, most, j->chunk, &buffers) == SIZE_MAX) return MLP_TOO_LARGE;
    workspace += (CACHE_LINE - (uintptr_t)workspace % CACHE_LINE) % CACHE_LINE;
    mlp_poison(workspace, lay_out(j->net, n, most, j->chunk, &buffers));
    int64_t most_rows = slice_rows(n, most, j->chunk), slice = result ? most_rows : n;
    j->row_loss = (double *)(void *)workspace;
    j->row_correct = j->row_loss + most_rows;
    j->buffers = workspace + buffers;
    atomic_init(&j->stop, MLP_OK);
    for (j->begin = 0; j->begin < n; j->begin = j->end) {
        j->end = n - j->begin < slice ? n : j->begin + slice;
        if (!mlp_team_run(team < most ? team : most, run, j)) return MLP_FORKED;
        if (atomic_load(&j->stop)) return (mlp_status)atomic_load(&j->stop);
        if (result) add_up(result, j);
    }
    return MLP_OK;
}

mlp_status mlp_predict(const mlp_network *net, void *out, const mlp_data *data, void *workspace, int threads,
                       mlp_poll poll, void *context) {
    mlp_status status = mlp_check_data(data);
    if (status || data->n == 0) return status;
    job j = {.net = net, .data = data, .out = out, .poll = poll, .context = context};
    return run_all(&j, NULL, workspace, threads);
}

mlp_status mlp_predict_sample(const mlp_network *net, void *out, const mlp_data *data, double input_dropout, uint64_t seed,
                              int64_t sample, void *workspace, int threads, mlp_poll poll, void *context) {
    mlp_status status = mlp_check_data(data);
    if (!(input_dropout >= 0 && input_dropout < 1)) status = MLP_BAD_ARGUMENT;
    if (status || data->n == 0) return status;
    job j = {.net = net, .data = data, .out = out, .poll = poll, .context = context, .drops = 1,
             .draw = {.seed = seed, .step = sample}, .input_dropout = input_dropout};
    return run_all(&j, NULL, workspace, threads);
}

mlp_status mlp_evaluate(const mlp_network *net, mlp_result *result, const mlp_data *data, mlp_loss loss,
                        void *workspace, int threads, mlp_poll poll, void *context) {
    *result = (mlp_result){0};
    mlp_status status = mlp_check_data(data);
    if (!status) status = loss.kind == MLP_OWN_LOSS ? MLP_BAD_ARGUMENT : mlp_check_loss(net, data, loss);
    if (status || data->n == 0) return status;
    job j = {.net = net, .data = data, .evaluates = 1, .loss = loss, .poll = poll, .context = context};
    status = run_all(&j, result, workspace, threads);
    if (status) *result = (mlp_result){0};
    return status;
}
