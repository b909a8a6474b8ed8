// Minibatches: where their rows come from. Only minibatch.c uses the order and indices of the data; later phases
// address rows by their number in the minibatch.
#ifndef MLP_MINIBATCH_H
#define MLP_MINIBATCH_H

#include "network.h"

// MLP_BAD_ARGUMENT or MLP_TOO_LARGE unless rows can be gathered from data.
mlp_status mlp_check_data(const mlp_network *net, const mlp_data *data);

// The columns of data's targets.
int64_t mlp_target_columns(const mlp_network *net, const mlp_data *data);

// The examples of a pass over data.
typedef struct {
    const mlp_network *net;
    const mlp_data *data;
    const int64_t *order;  // (n), or NULL for 0..n-1
    int64_t n;
    int changes_x;         // noise or dropout will be applied to the rows of X, so they must be copied
} mlp_examples;

// The arrays that are gathered; MLP_ROWS_X_INDEX is x_rows of mlp_data.
enum { MLP_ROWS_X, MLP_ROWS_X_INDEX, MLP_ROWS_LABELS, MLP_ROWS_TARGETS, MLP_ROWS_Y, MLP_ROWS_WEIGHTS,
       MLP_ROWS_ENTRY_WEIGHTS, MLP_ROW_ARRAYS };

typedef struct {
    int64_t bytes[MLP_ROW_ARRAYS];  // bytes per row; 0 if rows are read in place
} mlp_row_bytes;

typedef struct {
    void *array[MLP_ROW_ARRAYS];
} mlp_row_buffers;

mlp_row_bytes mlp_bytes_of_rows(const mlp_examples *from);

// Examples [first, first + rows): pointers into the data, or to the buffers that mlp_gather fills.
typedef struct {
    int64_t first, rows;
    const void *x;  // (rows, n_in)
    mlp_truth truth;
    const mlp_row_buffers *buffers;
} mlp_minibatch;

void mlp_minibatch_at(mlp_minibatch *m, const mlp_examples *from, int64_t first, int64_t rows,
                      const mlp_row_buffers *buffers);

// Gathers rows [i0, i1) of the minibatch. Returns 0 if a value of X is NaN or infinite, else 1; rows of X that are read
// in place are checked only if `checks`.
int mlp_gather(const mlp_examples *from, const mlp_minibatch *to, int64_t i0, int64_t i1, int checks);

// The same truth from row i0 of the minibatch on, without y, which is only used for whole minibatches.
mlp_truth mlp_truth_from(const mlp_network *net, const mlp_truth *truth, int64_t i0);

// The sum of the weights of examples [first, first + rows), in order.
double mlp_sum_of_weights(const mlp_examples *from, int64_t first, int64_t rows);

// What to prefetch of X during a product of `tiles` tiles, for rows [i0, i1) of the minibatch that begins at `first`.
mlp_prefetch mlp_prefetch_of(const mlp_examples *from, int64_t first, int64_t i0, int64_t i1, int64_t tiles);

#endif
