// Prediction and evaluation: the forward pass only, without allocation, in a workspace provided by the caller.
//
// Rows are independent, so each part takes chunks of rows through all layers, and the result does not depend on how the
// rows are split, nor on who takes which chunk.
#include "build.h"
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "sized.h"
#include "step.h"

// Offsets of a thread's buffers: the pointer arrays of its mlp_workspace, the kernels' scratch, gathered inputs, and
// two buffers that the layers write alternately.
typedef struct {
    size_t pointers, scratch, input, layer[2], bytes;
} thread_buffers;

typedef struct {
    mlp_pass pass;
    mlp_examples examples;
    void *out;              // (n, n_out); NULL: the loss instead
    int64_t sample;
    int64_t begin, end;     // rows of the current slice
    double *row_loss, *row_correct;  // of the slice
    char *buffers;          // for all threads, at.bytes each
    thread_buffers at;
    int64_t chunk;          // rows per chunk
    atomic_size_t next;     // the first chunk of the slice that nobody has taken: a helper that comes late takes fewer
} job;

#define CACHE_LINE 64

static int64_t rows_of_thread(int64_t n, int threads) {
    return threads == 1 ? n : n / threads + (n % threads != 0);
}

// Rows that a thread's buffers hold. With at most eight tiles per chunk the activations stay in the L2 cache and each
// packed panel of W is reused as often.
static int64_t buffer_rows(const mlp_network *net, int64_t n, int threads) {
    int64_t most = 8 * net->kernels->mr, each = rows_of_thread(n, threads);
    return each < most ? each : most;
}

// Chunks of one size, a multiple of the threads in number; at most buffer_rows, which never falls as n grows.
static int64_t chunk_rows(const mlp_network *net, int64_t n, int threads) {
    int64_t most = buffer_rows(net, n, threads), each = rows_of_thread(n, threads);
    if (each == most) return each;
    int64_t chunks = each / most + (each % most != 0);
    return each / chunks + (each % chunks != 0);
}

static thread_buffers buffers_of(const mlp_network *net, int64_t chunk) {
    const mlp_kernels *k = net->kernels;
    int64_t most = net->widest > chunk ? net->widest : chunk;
    size_t bytes = 0, pointers = mlp_reserve(&bytes, 3 * net->n_layers, 1, sizeof(void *));
    size_t of_kernels = k->forward_scratch_bytes(chunk, most, net->widest_softmax, mlp_network_n_out(net));
    size_t scratch = mlp_reserve(&bytes, 1, 1, of_kernels);
    size_t input = mlp_reserve(&bytes, chunk, net->layers[0].spec.n_in, k->real_size);
    size_t even = mlp_reserve(&bytes, chunk, net->widest_out, k->real_size);
    size_t odd = mlp_reserve(&bytes, chunk, net->widest_out, k->real_size);
    return (thread_buffers){pointers, scratch, input, {even, odd}, bytes};
}

#define FEWEST_ROWS 4

// The largest number of threads used for n rows, which the workspace is sized for. Threads split rows, and rows on the
// same thread share one pass over W, so each thread gets about FEWEST_ROWS or more.
static int most_threads(const mlp_network *net, int64_t n, int threads, double *flops) {
    *flops = 0;
    for (int l = 0; l < net->n_layers; l++) {
        *flops += 2.0 * (double)n * (double)net->layers[l].spec.n_in * (double)net->layers[l].spec.n_out;
    }
    int64_t most = n / FEWEST_ROWS + 1;
    if (most == 1) return 1;  // without a look at the processors, which the first time reads files
    int bound = mlp_crew_bound(threads, *flops);
    return bound < most ? bound : (int)most;
}

#define SLICE_CHUNKS 256  // per thread: enough work to amortise a phase

// Rows evaluated before their losses are summed: memory for the losses of a slice does not grow with n.
static int64_t slice_rows(int64_t n, int threads, int64_t chunk) {
    int64_t most = SLICE_CHUNKS * chunk * threads;
    return n < most ? n : most;
}

// Layout of the workspace: the losses of a slice, then the buffers of each thread.
static size_t lay_out(const thread_buffers *each, int64_t n, int threads, int64_t chunk, size_t *buffers) {
    size_t used = 0;
    mlp_reserve(&used, slice_rows(n, threads, chunk), 2, sizeof(double));
    *buffers = mlp_reserve(&used, threads, 1, each->bytes);
    return used;
}

size_t mlp_predict_workspace(const mlp_network *net, int64_t n, int threads) {
    if (n < 0) return 0;
    double flops;
    int most = most_threads(net, n, threads, &flops);
    int64_t longest = buffer_rows(net, n, most);
    thread_buffers each = buffers_of(net, longest);
    size_t buffers, used = lay_out(&each, n, most, longest, &buffers);
    mlp_reserve(&used, 1, 1, CACHE_LINE);  // to align memory from malloc to a cache line
    return used == SIZE_MAX ? 0 : used;
}

// A thread's workspace: the layers write alternately into two buffers; dropout and custom activations work in place.
static mlp_workspace workspace_of(const job *j, char *buffer) {
    const thread_buffers *at = &j->at;
    const mlp_network *net = j->pass.net;
    void **pointers = (void **)(void *)(buffer + at->pointers);
    mlp_workspace space = {.a = pointers, .u = pointers + net->n_layers, .z = pointers + 2 * net->n_layers};
    space.gathered.array[MLP_ROWS_X] = buffer + at->input;
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer_spec *spec = &net->layers[l].spec;
        void *a = buffer + at->layer[l % 2];
        space.a[l] = a;
        space.u[l] = spec->dropout > 0 ? a : NULL;
        space.z[l] = spec->activation == MLP_CUSTOM_ACTIVATION ? a : NULL;
    }
    return space;
}

static void run_chunk(job *j, mlp_step *s, mlp_workspace *space, int64_t first, int64_t rows) {
    int last = s->net->n_layers - 1;
    mlp_minibatch_at(&s->batch, &j->examples, first, rows, &space->gathered);
    s->first_row = first;
    if (j->out) {
        int64_t n_out = s->net->layers[last].spec.n_out;
        space->a[last] = (char *)j->out + (size_t)first * (size_t)n_out * s->kernels->real_size;
        if (space->z[last]) space->z[last] = space->a[last];
    }
    mlp_step_gather(s);
    mlp_step_forward(s);
    if (j->out) return;
#if !defined(MLP_NO_TRAINING)
    space->row_loss = j->row_loss + first - j->begin, space->row_correct = j->row_correct + first - j->begin;
    mlp_step_loss(s);
#endif
}

static void run(void *context, mlp_part part) {
    job *j = context;
    mlp_pass *pass = &j->pass;
    char *buffer = j->buffers + (size_t)part.number * j->at.bytes;
    mlp_workspace space = workspace_of(j, buffer);
    mlp_step s;
    memset(&s, 0, offsetof(mlp_step, batch));
    s.pass = pass, s.net = pass->net, s.kernels = pass->net->kernels, s.space = &space, s.examples = &j->examples;
    s.number = j->sample, s.parts = 1, s.polls = part.number == 0, s.scratch = buffer + j->at.scratch;
    for (;;) {
        int64_t first = j->begin + (int64_t)atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed) * j->chunk;
        if (first >= j->end) return;
        if (s.polls && first > 0 && pass->poll && pass->poll(pass->context)) mlp_stop(pass, MLP_INTERRUPTED);
        if (mlp_stopped(pass)) return;
        run_chunk(j, &s, &space, first, j->end - first < j->chunk ? j->end - first : j->chunk);
    }
}

// Sums in the order of the rows, independent of slices, chunks and threads.
static void add_up(mlp_result *result, const job *j) {
    const void *weights = j->examples.data->weights;
    for (int64_t i = 0; i < j->end - j->begin; i++) {
        double weight = weights ? mlp_number(weights, j->pass.net->dtype, j->begin + i) : 1;
        result->loss_sum += j->row_loss[i];
        result->correct += weight * j->row_correct[i];
        result->exact += j->row_correct[i] == 1 ? weight : 0;
        result->weight_sum += weight;
    }
    result->rows += j->end - j->begin;
}

// Helpers never run functions of the caller's: these may need the GIL, which a thread that forks holds while it waits
// for the helpers to leave.
static int has_custom(const mlp_network *net) {
    for (int l = 0; l < net->n_layers; l++) {
        if (net->layers[l].spec.activation == MLP_CUSTOM_ACTIVATION) return 1;
    }
    return 0;
}

// result: the sums of an evaluation, or NULL for predictions.
static mlp_status run_all(job *j, mlp_result *result, char *workspace, int threads) {
    const mlp_network *net = j->pass.net;
    int64_t n = j->examples.n;
    double flops;
    int most = most_threads(net, n, threads, &flops), parts = most == 1 ? 1 : mlp_crew_size(threads, flops);
    size_t buffers;
    int64_t longest = buffer_rows(net, n, most);
    j->chunk = chunk_rows(net, n, most);
    j->at = buffers_of(net, longest);
    size_t bytes = lay_out(&j->at, n, most, longest, &buffers);
    if (bytes == SIZE_MAX) return MLP_TOO_LARGE;
    workspace += (CACHE_LINE - (uintptr_t)workspace % CACHE_LINE) % CACHE_LINE;
    mlp_poison(workspace, bytes);
    int64_t most_rows = slice_rows(n, most, longest), slice = result ? most_rows : n;
    j->row_loss = (double *)(void *)workspace;
    j->row_correct = j->row_loss + most_rows;
    j->buffers = workspace + buffers;
    atomic_init(&j->pass.stop, MLP_OK);
    mlp_call call;
    mlp_call_begin(&call, has_custom(net) ? 1 : parts < most ? parts : most, flops);
    for (j->begin = 0; j->begin < n && !mlp_stopped(&j->pass); j->begin = j->end) {
        j->end = n - j->begin < slice ? n : j->begin + slice;
        atomic_store_explicit(&j->next, 0, memory_order_relaxed);
        mlp_call_run(&call, run, j);
        if (result && !mlp_stopped(&j->pass)) add_up(result, j);
    }
    mlp_call_end(&call);
    return (mlp_status)atomic_load(&j->pass.stop);
}

mlp_status mlp_predict(const mlp_network *net, void *out, const mlp_data *data, void *workspace, int threads,
                       mlp_poll poll, void *context) {
    mlp_data own;
    data = mlp_as_known(data, &own, sizeof own);
    mlp_status status = mlp_check_data(net, data);
    if (status || data->n == 0) return status;
    job j = {.pass = {.net = net, .poll = poll, .context = context}, .out = out,
             .examples = {.net = net, .data = data, .n = data->n}};
    return run_all(&j, NULL, workspace, threads);
}

#if !defined(MLP_NO_TRAINING)
mlp_status mlp_predict_sample(const mlp_network *net, void *out, const mlp_data *data, double input_dropout,
                              uint64_t seed, int64_t sample, void *workspace, int threads, mlp_poll poll,
                              void *context) {
    mlp_data own;
    data = mlp_as_known(data, &own, sizeof own);
    mlp_status status = mlp_check_data(net, data);
    if (!(input_dropout >= 0 && input_dropout < 1)) status = MLP_BAD_ARGUMENT;
    if (status || data->n == 0) return status;
    job j = {.pass = {.net = net, .poll = poll, .context = context, .drops = 1, .seed = seed,
                      .input_dropout = input_dropout},
             .examples = {.net = net, .data = data, .n = data->n, .changes_x = input_dropout > 0},
             .out = out, .sample = sample};
    return run_all(&j, NULL, workspace, threads);
}

// sums: what is added to.
static mlp_status evaluate(const mlp_network *net, mlp_result *sums, const mlp_data *data, const mlp_loss *loss,
                           void *workspace, int threads, mlp_poll poll, void *context) {
    mlp_data own_data;
    mlp_loss own_loss;
    data = mlp_as_known(data, &own_data, sizeof own_data), loss = mlp_as_known(loss, &own_loss, sizeof own_loss);
    if (!loss) return MLP_BAD_ARGUMENT;
    mlp_status status = mlp_check_data(net, data);
    int joins = loss->kind == MLP_CUSTOM_LOSS || (mlp_is_loss(loss->kind) && mlp_loss_has(loss->kind, MLP_JOINS));
    if (!status) status = joins ? MLP_BAD_ARGUMENT : mlp_check_loss(net, data, *loss);
    if (status || data->n == 0) return status;
    job j = {.pass = {.net = net, .loss = loss, .poll = poll, .context = context},
             .examples = {.net = net, .data = data, .n = data->n}};
    return run_all(&j, sums, workspace, threads);
}

mlp_status mlp_evaluate_part(const mlp_network *net, mlp_result *result, const mlp_data *data, const mlp_loss *loss,
                             void *workspace, int threads, mlp_poll poll, void *context) {
    mlp_result own, sums;
    const mlp_result *before = mlp_as_known(result, &own, sizeof own);
    if (!before) return MLP_BAD_ARGUMENT;
    sums = *before;
    mlp_status status = evaluate(net, &sums, data, loss, workspace, threads, poll, context);
    mlp_give(result, &sums, sizeof sums);
    return status;
}

mlp_status mlp_evaluate(const mlp_network *net, mlp_result *result, const mlp_data *data, const mlp_loss *loss,
                        void *workspace, int threads, mlp_poll poll, void *context) {
    mlp_result sums = {0};
    if (!mlp_give(result, &sums, sizeof sums)) return MLP_BAD_ARGUMENT;
    mlp_status status = evaluate(net, &sums, data, loss, workspace, threads, poll, context);
    if (!status) mlp_give(result, &sums, sizeof sums);
    return status;
}
#endif
