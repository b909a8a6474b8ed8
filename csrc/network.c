// Networks: layers, and their parameters in one aligned block. Sizes are checked before memory is allocated.
#include "build.h"

#include "network.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fpmode.h"
#include "os/os.h"
#include "sized.h"

#define MOST_UNITS INT32_MAX

// calloc gives what the system has just made without writing zeros once more. Where its memory begins stands before the
// block. bytes is at most PTRDIFF_MAX, so none of the sums overflows.
void *mlp_aligned_block(size_t bytes) {
    // A large block takes huge pages where the system has them: its first use takes a third of the time.
    size_t unit = bytes >= 2 * MLP_HUGE_PAGE ? MLP_HUGE_PAGE : MLP_LINE, whole = (bytes + unit - 1) / unit * unit;
    char *begin = calloc(1, sizeof begin + unit + whole);
    if (!begin) return NULL;
    char *block = begin + sizeof begin;
    block += -(uintptr_t)block % unit;
    memcpy(block - sizeof begin, &begin, sizeof begin);
    if (unit == MLP_HUGE_PAGE) mlp_take_huge_pages(block, whole);
    return block;
}

void mlp_free_block(void *block) {
    char *begin = NULL;
    if (block) memcpy(&begin, (char *)block - sizeof begin, sizeof begin);
    free(begin);
}

#ifdef MLP_POISON
void mlp_poison(void *memory, size_t bytes) { memset(memory, 0xFF, bytes); }

// The elements from number n to the end of the cache line.
static void poison_rest(const mlp_network *net, void *array, int64_t n) {
    size_t bytes = (size_t)n * net->kernels->real_size;
    if (array) mlp_poison((char *)array + bytes, (MLP_LINE - bytes % MLP_LINE) % MLP_LINE);
}

static void poison_rows(const mlp_network *net, const mlp_layer *layer, void *rows) {
    size_t size = net->kernels->real_size, used = (size_t)layer->spec.n_out * size;
    size_t stride = (size_t)layer->stride * size;
    for (int64_t i = 0; i < layer->spec.n_in; i++) mlp_poison((char *)rows + (size_t)i * stride + used, stride - used);
    poison_rest(net, rows, layer->spec.n_in * layer->stride);
}

void mlp_poison_padding(const mlp_network *net, void *block) {
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer *layer = &net->layers[l];
        void *const arrays[] = {layer->W, layer->b, layer->slopes};
        const int64_t slopes = layer->spec.shared ? 1 : layer->spec.n_out;
        for (int i = 0; i < 3; i++) {
            if (!arrays[i]) continue;
            void *array = mlp_in_block(net, block, arrays[i]);
            if (i == 0) poison_rows(net, layer, array);
            else poison_rest(net, array, i == 1 ? layer->spec.n_out : slopes);
        }
    }
}
#else
#define poison_rows(net, layer, rows) ((void)0)
#endif

// Elements from one row of W to the next. Rows of at least a cache line are padded to whole lines, so that vector loads
// do not cross lines and threads with neighbouring columns do not share one. One line is added if the stride would be a
// multiple of 512 bytes: a thread's columns of all rows would then map to the same few cache sets.
static int64_t row_stride(int64_t n_out, size_t real_size) {
    int64_t line = (int64_t)(MLP_LINE / real_size), lines = (n_out + line - 1) / line;
    return n_out <= line ? n_out : (lines + (lines % 8 == 0)) * line;
}

int mlp_outputs_fit(const mlp_output_block *b, int64_t n) {
    if (b->count < 1 || b->first < 0 || b->first > n - b->count) return 0;
    if (!mlp_is_activation(b->activation) || b->activation == MLP_CUSTOM_ACTIVATION) return 0;
    return !mlp_has(b->activation, MLP_LEARNS_ALPHA) && b->alpha >= mlp_activation_rows[b->activation].least_alpha;
}

static int activations_fit(const mlp_layer_spec *s) {
    if (s->n_blocks < 0 || s->n_blocks > s->n_out || !s->blocks || s->activation != MLP_IDENTITY) return 0;
    for (int64_t i = 0; i < s->n_blocks; i++) {
        if (!mlp_outputs_fit(&s->blocks[i], s->n_out)) return 0;
    }
    return 1;
}

static int has_dropout(const mlp_layer_spec *layer) { return layer->dropout > 0 || layer->may_drop; }

static mlp_status check_layers(const mlp_network *net) {
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer_spec *s = &net->layers[l].spec;
        if (s->n_in < 1 || s->n_out < 1 || s->n_in > MOST_UNITS || s->n_out > MOST_UNITS) return MLP_BAD_ARGUMENT;
        if (!mlp_is_activation(s->activation)) return MLP_BAD_ARGUMENT;
        if (!(s->alpha >= mlp_activation_rows[s->activation].least_alpha)) return MLP_BAD_ARGUMENT;
        int is_custom = s->activation == MLP_CUSTOM_ACTIVATION;
        if (is_custom && !(s->custom.forward && s->custom.backward)) return MLP_BAD_ARGUMENT;
        if (!(s->dropout >= 0 && s->dropout < 1 && s->l1 >= 0 && s->l2 >= 0)) return MLP_BAD_ARGUMENT;
        if (l == net->n_layers - 1 && has_dropout(s)) return MLP_BAD_ARGUMENT;
        if (l > 0 && s->n_in != net->layers[l - 1].spec.n_out) return MLP_BAD_ARGUMENT;
        if (s->n_blocks && (l < net->n_layers - 1 || !activations_fit(s))) return MLP_BAD_ARGUMENT;
    }
    return MLP_OK;
}

// Copies the blocks of the last layer, unless they are the network's own.
static mlp_status copy_blocks(mlp_network *net) {
    mlp_layer_spec *spec = &net->layers[net->n_layers - 1].spec;
    if (!spec->n_blocks || net->blocks) return MLP_OK;
    net->blocks = malloc((size_t)spec->n_blocks * sizeof *spec->blocks);
    if (!net->blocks) return MLP_NO_MEMORY;
    memcpy(net->blocks, spec->blocks, (size_t)spec->n_blocks * sizeof *spec->blocks);
    spec->blocks = net->blocks;
    return MLP_OK;
}

static int64_t slopes_of(const mlp_layer_spec *layer) {
    return !mlp_has(layer->activation, MLP_LEARNS_ALPHA) ? 0 : layer->shared ? 1 : layer->n_out;
}

// Allocates the masks of the layers that have one, filled with ones.
static mlp_status make_masks(mlp_network *net) {
    size_t bytes = 0, used = 0;
    for (int l = 0; l < net->n_layers; l++) {
        if (net->layers[l].spec.has_mask) {
            mlp_reserve(&bytes, net->layers[l].spec.n_in, net->layers[l].stride, net->kernels->real_size);
        }
    }
    if (!bytes) return MLP_OK;
    net->masks = mlp_aligned_block(bytes);
    if (!net->masks) return MLP_NO_MEMORY;
    for (int l = 0; l < net->n_layers; l++) {
        mlp_layer *layer = &net->layers[l];
        if (!layer->spec.has_mask) continue;
        layer->mask = (char *)net->masks + mlp_reserve(&used, layer->spec.n_in, layer->stride, net->kernels->real_size);
        for (int64_t i = 0; i < layer->spec.n_in * layer->stride; i++) mlp_set_number(layer->mask, net->dtype, i, 1);
        poison_rows(net, layer, layer->mask);
    }
    return MLP_OK;
}

static void set_slopes(mlp_layer *layer, mlp_dtype dtype, int64_t n) {
    mlp_fpmode before = mlp_fpmode_enter_core();
    for (int64_t j = 0; j < n; j++) mlp_set_number(layer->slopes, dtype, j, layer->spec.alpha);
    mlp_fpmode_leave(before);
}

mlp_status mlp_network_begin(mlp_network **out, mlp_dtype dtype, int n_layers) {
    if (dtype != MLP_FLOAT32 && dtype != MLP_FLOAT64) return MLP_BAD_ARGUMENT;
    if (n_layers < 1 || n_layers > MLP_MOST_LAYERS) return MLP_BAD_ARGUMENT;
    const mlp_kernels *kernels = mlp_kernels_for(dtype);
    if (!kernels) return MLP_NOT_BUILT;
    mlp_network *net = calloc(1, sizeof *net + (size_t)n_layers * sizeof *net->layers);
    if (!net) return MLP_NO_MEMORY;
    *net = (mlp_network){.kernels = kernels, .dtype = dtype, .n_layers = n_layers};
    for (int l = 0; l < n_layers; l++) net->layers[l].lr_factor = net->layers[l].bias_lr_factor = 1;
    *out = net;
    return MLP_OK;
}

static void place_parameters(mlp_network *net) {
    size_t used = 0, size = net->kernels->real_size;
    for (int l = 0; l < net->n_layers; l++) {
        mlp_layer *layer = &net->layers[l];
        const mlp_layer_spec *spec = &layer->spec;
        layer->W = (char *)net->parameters + mlp_reserve(&used, spec->n_in, layer->stride, size);
        if (spec->has_bias) layer->b = (char *)net->parameters + mlp_reserve(&used, spec->n_out, 1, size);
        int64_t slopes = slopes_of(spec);
        if (slopes) layer->slopes = (char *)net->parameters + mlp_reserve(&used, slopes, 1, size);
        layer->unit = (mlp_unit){spec->activation, spec->alpha, layer->slopes, layer->slopes && spec->shared};
        set_slopes(layer, net->dtype, slopes);
    }
}

mlp_status mlp_network_finish(mlp_network *net) {
    mlp_status status = check_layers(net);
    if (status) return status;
    size_t size = net->kernels->real_size;
    for (int l = 0; l < net->n_layers; l++) {
        mlp_layer *layer = &net->layers[l];
        layer->drops = has_dropout(&layer->spec);
        layer->stride = row_stride(layer->spec.n_out, size);
        mlp_reserve(&net->bytes, layer->spec.n_in, layer->stride, size);
        mlp_reserve(&net->bytes, layer->spec.n_out, layer->spec.has_bias != 0, size);
        mlp_reserve(&net->bytes, slopes_of(&layer->spec), 1, size);
        if (layer->spec.n_out > net->widest_out) net->widest_out = layer->spec.n_out;
        int by_rows = layer->spec.activation == MLP_SOFTMAX || layer->spec.n_blocks;
        if (by_rows && layer->spec.n_out > net->widest_softmax) net->widest_softmax = layer->spec.n_out;
    }
    net->widest = mlp_network_n_in(net) > net->widest_out ? mlp_network_n_in(net) : net->widest_out;
    if (net->bytes == SIZE_MAX) return MLP_TOO_LARGE;
    net->parameters = mlp_aligned_block(net->bytes);
    if (!net->parameters) return MLP_NO_MEMORY;
    place_parameters(net);
    mlp_poison_padding(net, net->parameters);
    status = make_masks(net);
    return status ? status : copy_blocks(net);
}

mlp_status mlp_network_create(mlp_network **out, mlp_dtype dtype, const mlp_layer_spec *layers, int n_layers) {
    mlp_network *net = NULL;
    mlp_status status = mlp_network_begin(&net, dtype, n_layers);
    if (status) return status;
    size_t size = layers->size;
    for (int l = 0; !status && l < n_layers; l++) {
        const mlp_layer_spec *given = (const void *)((const char *)layers + (size_t)l * size);
        mlp_layer_spec own;
        const mlp_layer_spec *known = given->size == size ? mlp_as_known(given, &own, sizeof own) : NULL;
        if (known) net->layers[l].spec = *known;
        else status = MLP_BAD_ARGUMENT;
    }
    if (!status) status = mlp_network_finish(net);
    if (status) mlp_network_destroy(net);
    else *out = net;
    return status;
}

void mlp_network_destroy(mlp_network *net) {
    if (!net) return;
    mlp_free_block(net->parameters);
    mlp_free_block(net->masks);
    free(net->input_mean);
    free(net->blocks);
    free(net);
}

mlp_status mlp_network_take_transform(mlp_network *net, double *mean_and_scale) {
    int64_t n = mlp_network_n_in(net);
    const double *mean = mean_and_scale, *scale = mean + n;
    for (int64_t j = 0; j < n; j++) {
        if (!(fabs(mean[j]) <= DBL_MAX && scale[j] >= DBL_MIN && scale[j] <= DBL_MAX)) return MLP_BAD_ARGUMENT;
    }
    free(net->input_mean);
    net->input_mean = mean_and_scale, net->input_scale = mean_and_scale + n;
    return MLP_OK;
}

mlp_status mlp_network_transform_inputs(mlp_network *net, const double *mean, const double *scale) {
    size_t n = (size_t)mlp_network_n_in(net);
    double *block = malloc(2 * n * sizeof *block);  // n is at most 2^31
    if (!block) return MLP_NO_MEMORY;
    memcpy(block, mean, n * sizeof *mean);
    memcpy(block + n, scale, n * sizeof *scale);
    mlp_status status = mlp_network_take_transform(net, block);
    if (status) free(block);
    return status;
}

mlp_dtype mlp_network_dtype(const mlp_network *net) { return net->dtype; }
int mlp_network_n_layers(const mlp_network *net) { return net->n_layers; }
int64_t mlp_network_n_in(const mlp_network *net) { return net->layers[0].spec.n_in; }
int64_t mlp_network_n_out(const mlp_network *net) { return net->layers[net->n_layers - 1].spec.n_out; }

static int has_layer(const mlp_network *net, int layer) { return layer >= 0 && layer < net->n_layers; }

mlp_status mlp_network_layer(const mlp_network *net, int layer, mlp_layer_spec *out) {
    if (!has_layer(net, layer)) return MLP_BAD_ARGUMENT;
    return mlp_give(out, &net->layers[layer].spec, sizeof *out) ? MLP_OK : MLP_BAD_ARGUMENT;
}

void *mlp_network_weights(const mlp_network *net, int layer) {
    return has_layer(net, layer) ? net->layers[layer].W : NULL;
}
void *mlp_network_mask(const mlp_network *net, int layer) {
    return has_layer(net, layer) ? net->layers[layer].mask : NULL;
}
void *mlp_network_bias(const mlp_network *net, int layer) {
    return has_layer(net, layer) ? net->layers[layer].b : NULL;
}
int64_t mlp_network_stride(const mlp_network *net, int layer) {
    return has_layer(net, layer) ? net->layers[layer].stride : 0;
}
void *mlp_network_slopes(const mlp_network *net, int layer) {
    return has_layer(net, layer) ? net->layers[layer].slopes : NULL;
}
size_t mlp_network_bytes(const mlp_network *net) { return net->bytes; }

void mlp_network_set_trainable(mlp_network *net, int layer, int trainable) {
    if (has_layer(net, layer)) net->layers[layer].spec.trainable = trainable != 0;
}

mlp_status mlp_network_set_dropout(mlp_network *net, int layer, double dropout) {
    if (!has_layer(net, layer) || !(dropout >= 0 && dropout < 1)) return MLP_BAD_ARGUMENT;
    if (dropout > 0 && !net->layers[layer].drops) return MLP_BAD_ARGUMENT;
    net->layers[layer].spec.dropout = dropout;
    return MLP_OK;
}

mlp_status mlp_network_set_l2(mlp_network *net, int layer, double l2) {
    if (!has_layer(net, layer) || !(l2 >= 0)) return MLP_BAD_ARGUMENT;
    net->layers[layer].spec.l2 = l2;
    return MLP_OK;
}

mlp_status mlp_network_set_lr_factors(mlp_network *net, int layer, double of_layer, double of_bias) {
    if (!has_layer(net, layer) || !(of_layer >= 0 && of_bias >= 0)) return MLP_BAD_ARGUMENT;
    net->layers[layer].lr_factor = of_layer, net->layers[layer].bias_lr_factor = of_bias;
    return MLP_OK;
}

void *mlp_network_in_block(const mlp_network *net, void *block, const void *parameter) {
    return mlp_in_block(net, block, parameter);
}

int mlp_all_finite(const void *reals, mlp_dtype type, int64_t n) {
    int bad = 0;  // no branch in the loop, so that it vectorizes
    if (type == MLP_FLOAT32) {
        for (int64_t i = 0; i < n; i++) bad |= !(fabsf(((const float *)reals)[i]) <= FLT_MAX);
    } else {
        for (int64_t i = 0; i < n; i++) bad |= !(fabs(((const double *)reals)[i]) <= DBL_MAX);
    }
    return !bad;
}

int mlp_layer_is_finite(const mlp_network *net, const mlp_layer *layer, const void *block) {
    int64_t slopes = slopes_of(&layer->spec);
    int finite = 1;
    if (layer->b) finite &= mlp_all_finite(mlp_at(net, block, layer->b), net->dtype, layer->spec.n_out);
    if (slopes) finite &= mlp_all_finite(mlp_at(net, block, layer->slopes), net->dtype, slopes);
    const void *W = mlp_at(net, block, layer->W);
    for (int64_t i = 0; i < layer->spec.n_in; i++) {
        finite &= mlp_all_finite(mlp_row(W, net->dtype, i, layer->stride), net->dtype, layer->spec.n_out);
    }
    return finite;
}

int mlp_network_first_not_finite(const mlp_network *net) {
    for (int l = 0; l < net->n_layers; l++) {
        if (!mlp_layer_is_finite(net, &net->layers[l], net->parameters)) return l;
    }
    return -1;
}
