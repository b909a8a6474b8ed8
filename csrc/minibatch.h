// Where the rows of a minibatch come from: minibatch.c alone knows. What is behind it has row i at place i.
#ifndef MLP_MINIBATCH_H
#define MLP_MINIBATCH_H

#include "network.h"

// MLP_BAD_ARGUMENT or MLP_TOO_LARGE unless rows can be gathered from data.
mlp_status mlp_check_data(const mlp_network *net, const mlp_data *data);

// The examples of an epoch, a step or a prediction.
typedef struct {
    const mlp_network *net;
    const mlp_data *data;
    const int64_t *order;  // (n), or NULL for 0..n-1
    int64_t n;
    int changes_x;         // what gets the rows of X will write to them
} mlp_examples;

// Buffers for gathered rows, and for their places in X; an array that needs none is NULL.
enum { MLP_ROWS_X, MLP_ROWS_PLACES, MLP_ROWS_LABELS, MLP_ROWS_TARGETS, MLP_ROWS_Y, MLP_ROWS_WEIGHTS, MLP_ROW_ARRAYS };

typedef struct {
    int64_t bytes[MLP_ROW_ARRAYS];  // of a row of each; 0 where rows are read in place
} mlp_row_bytes;

typedef struct {
    void *array[MLP_ROW_ARRAYS];
} mlp_row_buffers;

mlp_row_bytes mlp_bytes_of_rows(const mlp_examples *from);

// Examples [first, first + rows): the data's own memory, or the buffers once mlp_gather has brought them there.
typedef struct {
    int64_t first, rows;
    const void *x;  // (rows, n_in)
    mlp_truth truth;
    const mlp_row_buffers *buffers;
} mlp_minibatch;

void mlp_minibatch_at(mlp_minibatch *m, const mlp_examples *from, int64_t first, int64_t rows,
                      const mlp_row_buffers *buffers);

// Brings rows [i0, i1) of the minibatch to their place. Returns 0 if a number of X is NaN or infinite, else 1; where
// the rows of X are read in place, they are looked at only if `checks`.
int mlp_gather(const mlp_examples *from, const mlp_minibatch *to, int64_t i0, int64_t i1, int checks);

// What is there from row i0 of the minibatch on. (y is for whole minibatches: not that.)
mlp_truth mlp_truth_from(const mlp_network *net, const mlp_truth *truth, int64_t i0);

// The sum of the weights of examples [first, first + rows), one after the other.
double mlp_sum_of_weights(const mlp_examples *from, int64_t first, int64_t rows);

// What to fetch of X, during a product of so many tiles, for rows [i0, i1) of a minibatch that begins at `first`.
mlp_prefetch mlp_prefetch_of(const mlp_examples *from, int64_t first, int64_t i0, int64_t i1, int64_t tiles);

#endif
