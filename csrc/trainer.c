// The trainer's memory: workspaces, the optimizer's state, the gradient.
#include "build.h"
#if !defined(MLP_NO_TRAINING)
#include "trainer.h"

#include <stdlib.h>
#include <string.h>

#include "sized.h"

// ---- Workspaces ----

// The next part of the block. With block NULL it only adds to `used` and returns NULL.
static void *next_part(char *block, size_t *used, int64_t count, int64_t each, size_t size) {
    size_t offset = mlp_reserve(used, count, each, size);
    return block ? block + offset : NULL;
}

static mlp_workspace lay_out_pointers(int n_layers, char *block, size_t *used) {
    mlp_workspace w = {0};
    void ***arrays[] = {&w.a, &w.u, &w.z, &w.delta, &w.slope};
    for (int i = 0; i < 5; i++) *arrays[i] = next_part(block, used, n_layers, 1, sizeof(void *));
    return w;
}

static void lay_out_numbers(const mlp_trainer *t, mlp_workspace *w, char *block, size_t *used,
                            const mlp_capacity *capacity) {
    size_t size = t->net->kernels->real_size;
    int64_t rows = capacity->rows;
    for (int i = 0; i < MLP_ROW_ARRAYS; i++) {
        int64_t bytes = capacity->gathered.bytes[i];
        w->gathered.array[i] = bytes ? next_part(block, used, rows, bytes, 1) : NULL;
    }
    for (int l = 0; l < t->net->n_layers; l++) {
        const mlp_layer *layer = &t->net->layers[l];
        int64_t n = layer->spec.n_out;
        void *a = next_part(block, used, rows, n, size), *delta = next_part(block, used, rows, n, size);
        void *u = NULL, *z = NULL, *slope = NULL;
        if (layer->drops) u = next_part(block, used, rows, n, size);
        if (mlp_has(layer->spec.activation, MLP_IN_Z)) z = next_part(block, used, rows, n, size);
        if (layer->slopes) slope = next_part(block, used, capacity->slopes, n, size);
        if (block) w->a[l] = a, w->delta[l] = delta, w->u[l] = u, w->z[l] = z, w->slope[l] = slope;
    }
    w->row_loss = next_part(block, used, rows, 1, sizeof(double));
    w->row_correct = next_part(block, used, rows, 1, sizeof(double));
    size_t joined = mlp_loss_has(t->loss.kind, MLP_JOINS) ? mlp_joined_bytes(rows) : 0;
    w->joined = next_part(block, used, 1, 1, joined);
}

// Lays out the block for a capacity and returns its size; with block NULL it only measures. *pointers: the bytes that
// precede the numeric arrays.
static size_t lay_out(mlp_trainer *t, char *block, mlp_capacity capacity, size_t *pointers) {
    const mlp_network *net = t->net;
    size_t used = 0, scratch = 0;
    mlp_workspace *workspaces = next_part(block, &used, capacity.workspaces, 1, sizeof *workspaces), measured;
    for (int i = 0; i < capacity.workspaces; i++) {
        mlp_workspace w = lay_out_pointers(net->n_layers, block, &used);
        if (block) workspaces[i] = w;
    }
    mlp_sums *sums = next_part(block, &used, capacity.sums ? capacity.workspaces : 0, 1, sizeof *sums);
    *pointers = used;
    for (int i = 0; i < capacity.workspaces; i++) {
        lay_out_numbers(t, block ? &workspaces[i] : &measured, block, &used, &capacity);
    }
    mlp_chunk_sums *chunk_sums = next_part(block, &used, capacity.chunks, 1, sizeof *chunk_sums);
    char *of_sums = next_part(block, &used, capacity.sums * capacity.workspaces, 1, net->bytes);
    int64_t most = net->widest > capacity.rows ? net->widest : capacity.rows;
    mlp_reserve(&scratch, 1, 1, net->kernels->scratch_bytes(most, net->widest));
    char *of_threads = next_part(block, &used, capacity.threads, 1, scratch);
    if (!block) return used;
    t->workspaces = workspaces, t->chunk_sums = chunk_sums, t->sums = sums, t->memory_of_sums = of_sums;
    t->scratch = of_threads, t->scratch_bytes = scratch;
    return used;
}

static int suffices(const mlp_capacity *have, const mlp_capacity *need) {
    for (int i = 0; i < MLP_ROW_ARRAYS; i++) {
        if (have->gathered.bytes[i] < need->gathered.bytes[i]) return 0;
    }
    return have->rows >= need->rows && have->workspaces >= need->workspaces && have->threads >= need->threads &&
           have->chunks >= need->chunks && have->slopes >= need->slopes && have->sums >= need->sums;
}

static mlp_status ensure_workspaces(mlp_trainer *t, mlp_capacity capacity) {
    if (suffices(&t->capacity, &capacity)) return MLP_OK;
    size_t pointers, bytes = lay_out(t, NULL, capacity, &pointers);
    if (bytes == SIZE_MAX) return MLP_TOO_LARGE;
    int grows = bytes > t->bytes;
    char *old = t->block, *block = grows ? mlp_aligned_block(bytes) : old;
    if (!block) return MLP_NO_MEMORY;
    // Another thread may fork at any point: the child then sees a capacity that the memory suffices for, since it is
    // set to 0 first, and the old block is freed last.
    t->capacity = (mlp_capacity){0};
    lay_out(t, block, capacity, &pointers);
    t->block = block;
    if (grows) t->bytes = bytes;
    t->capacity = capacity;
    if (grows) mlp_free_block(old);
    return MLP_OK;
}

// ---- The optimizer's state ----

int mlp_states_of(const mlp_settings *settings) {
    const mlp_optimizer_row *row = &mlp_optimizer_rows[settings->optimizer];
    return row->traits & MLP_BARE && settings->momentum == 0 ? 0 : row->states;
}

mlp_status mlp_trainer_prepare(mlp_trainer *t, const mlp_settings *settings) {
    mlp_settings own;
    settings = mlp_as_known(settings, &own, sizeof own);
    if (!settings || !mlp_is_optimizer(settings->optimizer)) return MLP_BAD_ARGUMENT;
    int needed = mlp_states_of(settings);
    void *fresh[MLP_MOST_STATES] = {0};
    int other = settings->optimizer != t->optimizer;
    for (int i = 0; i < needed; i++) {
        if (t->state[i] && !other) continue;
        fresh[i] = mlp_aligned_block(t->net->bytes);
        if (fresh[i]) {
            mlp_poison_padding(t->net, fresh[i]);
            continue;
        }
        while (i-- > 0) mlp_free_block(fresh[i]);
        return MLP_NO_MEMORY;
    }
    for (int i = 0; i < MLP_MOST_STATES; i++) {
        void *old = t->state[i];
        if (other) t->state[i] = NULL, mlp_free_block(old);  // in this order, since another thread may fork in between
        if (fresh[i]) t->state[i] = fresh[i];
    }
    if (other) memset(t->updates, 0, (size_t)t->net->n_layers * sizeof *t->updates);
    t->optimizer = settings->optimizer;
    return MLP_OK;
}

// ---- The gradient ----

static size_t bytes_of_squares(const mlp_network *net) {
    size_t bytes = 0;
    for (int l = 0; l < net->n_layers; l++) bytes += (size_t)(net->layers[l].spec.n_in + 2) * sizeof(double);
    return bytes;
}

static mlp_status ensure_gradient(mlp_trainer *t) {
    if (!t->gradient) t->gradient = mlp_aligned_block(t->net->bytes);
    return t->gradient ? MLP_OK : MLP_NO_MEMORY;
}

static mlp_status ensure_squares(mlp_trainer *t) {
    if (!t->squares) t->squares = mlp_aligned_block(bytes_of_squares(t->net));
    return t->squares ? MLP_OK : MLP_NO_MEMORY;
}

// ---- Memory for a call ----

#ifdef MLP_POISON
static void poison_workspaces(mlp_trainer *t) {
    size_t pointers, bytes = lay_out(t, NULL, t->capacity, &pointers);
    if (t->block) mlp_poison((char *)t->block + pointers, bytes - pointers);
    if (t->gradient) mlp_poison(t->gradient, t->net->bytes);
    if (t->squares) mlp_poison(t->squares, bytes_of_squares(t->net));
}
#else
#define poison_workspaces(t) ((void)0)
#endif

mlp_status mlp_trainer_ensure(mlp_trainer *t, mlp_capacity capacity) {
    mlp_status status = ensure_workspaces(t, capacity);
    if (!status && capacity.has_gradient) status = ensure_gradient(t);
    if (!status && capacity.has_squares) status = ensure_squares(t);
    if (!status) poison_workspaces(t);
    return status;
}

// ---- The trainer ----

mlp_status mlp_trainer_create(mlp_trainer **out, mlp_network *net, const mlp_loss *loss, int64_t batch_size) {
    mlp_loss own;
    loss = mlp_as_known(loss, &own, sizeof own);
    if (!loss || batch_size < 1 || !mlp_is_loss(loss->kind)) return MLP_BAD_ARGUMENT;
    mlp_trainer *t = calloc(1, sizeof *t + (size_t)net->n_layers * sizeof *t->updates);
    if (!t) return MLP_NO_MEMORY;
    *t = (mlp_trainer){.net = net, .loss = *loss, .batch_size = batch_size};
    *out = t;
    return MLP_OK;
}

void mlp_trainer_destroy(mlp_trainer *t) {
    if (!t) return;
    mlp_free_block(t->block);
    for (int i = 0; i < MLP_MOST_STATES; i++) mlp_free_block(t->state[i]);
    mlp_free_block(t->gradient);
    mlp_free_block(t->squares);
    free(t);
}

int mlp_trainer_states(const mlp_trainer *t) {
    int n = 0;
    while (n < MLP_MOST_STATES && t->state[n]) n++;
    return n;
}

void *mlp_trainer_state(const mlp_trainer *t, int i, const void *parameter) {
    if (i < 0 || i >= MLP_MOST_STATES || !t->state[i] || !parameter) return NULL;
    return mlp_in_block(t->net, t->state[i], parameter);
}

mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *t) { return t->optimizer; }
int64_t mlp_trainer_updates(const mlp_trainer *t, int layer) {
    return layer >= 0 && layer < t->net->n_layers ? t->updates[layer] : 0;
}
void mlp_trainer_set_updates(mlp_trainer *t, int layer, int64_t updates) {
    if (layer >= 0 && layer < t->net->n_layers) t->updates[layer] = updates;
}
int64_t mlp_trainer_steps(const mlp_trainer *t) { return t->steps; }
void mlp_trainer_set_steps(mlp_trainer *t, int64_t steps) { t->steps = steps; }
#endif
