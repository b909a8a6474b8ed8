// The structure of a network; network.c creates it.
#ifndef MLP_NETWORK_H
#define MLP_NETWORK_H

#include "kernel_table.h"

typedef struct {
    mlp_layer_spec spec;
    void *W;         // (n_in, n_out), rows `stride` elements apart
    void *mask;      // laid out like W, or NULL
    int64_t stride;
    void *b;         // (n_out) or NULL
    int drops;       // it has memory for dropout in training
    double lr_factor, bias_lr_factor;  // of the learning rate, and for b another one on top of it
    unsigned char init, bias_init;     // how Python drew the first weights, for files: initializers in file.c
    void *slopes;    // learned slopes of a prelu: (n_out), or (1) if shared; NULL for other activations
    mlp_unit unit;   // its activation as kernels take it, which is copied faster than made
} mlp_layer;

struct mlp_network {
    const mlp_kernels *kernels;
    mlp_dtype dtype;
    int n_layers;
    int64_t widest, widest_out;  // the largest n_in or n_out, the largest n_out
    int64_t widest_softmax;      // the largest n_out of a layer that may have one, or 0
    void *masks;         // one block, or NULL
    mlp_output_block *blocks;  // those of the last layer, to which its spec points; or NULL
    void *parameters;    // one block with all W, b and slopes, each starting on a cache line
    size_t bytes;
    double *input_mean, *input_scale;  // (n_in) each, one block that begins with the first, or NULL
    mlp_layer layers[];
};

static inline size_t mlp_size_of(mlp_dtype type) {
    return type == MLP_FLOAT32 ? sizeof(float) : type == MLP_FLOAT64 ? sizeof(double) : 1;
}

// Row `row` of a matrix with `cols` columns.
static inline const void *mlp_row(const void *matrix, mlp_dtype type, int64_t row, int64_t cols) {
    return (const char *)matrix + (size_t)row * (size_t)cols * mlp_size_of(type);
}
static inline void mlp_set_number(void *reals, mlp_dtype type, int64_t i, double x) {
    if (type == MLP_FLOAT32) ((float *)reals)[i] = (float)x;
    else ((double *)reals)[i] = x;
}
int mlp_all_finite(const void *reals, mlp_dtype type, int64_t n);
// Whether all values of a layer are finite, in a block laid out like the parameters.
int mlp_layer_is_finite(const mlp_network *net, const mlp_layer *layer, const void *block);
static inline double mlp_number(const void *reals, mlp_dtype type, int64_t i) {
    return type == MLP_FLOAT32 ? (double)((const float *)reals)[i] : ((const double *)reals)[i];
}

#define MLP_LINE ((size_t)64)  // bytes in a cache line, and in the widest vector

// Lays out parts of one block of memory, one after the other: adds count * each * size bytes to `used`, rounded up to
// whole cache lines, and returns the part's offset. After an overflow, used stays SIZE_MAX.
static inline size_t mlp_reserve(size_t *used, int64_t count, int64_t each, size_t size) {
    size_t offset = *used, numbers, bytes;
    if (__builtin_mul_overflow((size_t)count, (size_t)each, &numbers) ||
        __builtin_mul_overflow(numbers, size, &bytes) || bytes > PTRDIFF_MAX - MLP_LINE ||
        offset > PTRDIFF_MAX - MLP_LINE - bytes) {
        *used = SIZE_MAX;
        return 0;
    }
    *used = offset + (bytes + MLP_LINE - 1) / MLP_LINE * MLP_LINE;
    return offset;
}

// Where the values of a parameter are in a block laid out like the parameters.
static inline void *mlp_in_block(const mlp_network *net, void *block, const void *parameter) {
    return (char *)block + ((const char *)parameter - (const char *)net->parameters);
}

static inline const void *mlp_at(const mlp_network *net, const void *block, const void *parameter) {
    return (const char *)block + ((const char *)parameter - (const char *)net->parameters);
}

#define MLP_MOST_LAYERS 10000

// mlp_network_create in two halves: *out has n_layers layers, whose specs are set before the second, which checks them
// and makes the rest. After an error of the second: mlp_network_destroy.
mlp_status mlp_network_begin(mlp_network **out, mlp_dtype dtype, int n_layers);
mlp_status mlp_network_finish(mlp_network *net);

// mlp_network_transform_inputs by a block from malloc, mean and scale one after the other, which MLP_OK makes the
// network's.
mlp_status mlp_network_take_transform(mlp_network *net, double *mean_and_scale);

void *mlp_aligned_block(size_t bytes);  // zeros, aligned to a cache line; NULL if out of memory
void mlp_free_block(void *block);       // one of those, or NULL

// With -DMLP_POISON, for tests: fills memory, and the padding of a block laid out like the parameters, with NaN, to
// detect reads of uninitialised values. Otherwise these do nothing.
#ifdef MLP_POISON
void mlp_poison(void *memory, size_t bytes);
void mlp_poison_padding(const mlp_network *net, void *block);
#else
#define mlp_poison(memory, bytes) ((void)0)
#define mlp_poison_padding(net, block) ((void)0)
#endif

// Whether the block lies within n outputs, and its activation may be one of a block.
int mlp_outputs_fit(const mlp_output_block *block, int64_t n);

#endif
