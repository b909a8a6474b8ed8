// The chunks of a minibatch, and the tree by which their gradients are added. This is the one place that says so.
//
// Chunk c is rows [c chunk_rows, (c + 1) chunk_rows) of the minibatch; the last one may have fewer. The gradients of
// the chunks are the leaves of a binary tree: on each level numbers 0 and 1 are added, 2 and 3, and so on, and an odd
// last one moves up as it is. Seven chunks: ((0 + 1) + (2 + 3)) + ((4 + 5) + 6). So the sum of 2^k chunks that begin at
// a multiple of 2^k is the same whatever stands around them and whoever forms it: a thread, a call of mlp_gradient,
// another machine.
#ifndef MLP_CHUNKS_H
#define MLP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#define MLP_CHUNK_ROWS 1024  // unless the settings say otherwise: the activations of a layer of 128 units take 512 KB

static inline int64_t mlp_chunks_in(int64_t rows, int64_t chunk_rows) {
    return rows / chunk_rows + (rows % chunk_rows != 0);
}

static inline int64_t mlp_rows_of_chunk(int64_t rows, int64_t chunk_rows, int64_t chunk) {
    int64_t left = rows - chunk * chunk_rows;
    return left < chunk_rows ? left : chunk_rows;
}

// The sums that stand for chunks [first[0], end), from the left on, each of a whole node of the tree as far as it goes.
#define MLP_MOST_SUMS 128

typedef struct {
    int n;
    int64_t first[MLP_MOST_SUMS], end;
    void *sum[MLP_MOST_SUMS];
} mlp_sums;

static inline void mlp_push_sum(mlp_sums *s, int64_t first, int64_t end, void *sum) {
    s->first[s->n] = first, s->sum[s->n] = sum;
    s->n++;
    s->end = end;
}

// Whether the last two are the halves of a node of the tree over `chunks` chunks: then the last one is to be added to
// the one before it, which takes its place (mlp_pop_sum).
static inline int mlp_last_sums_join(const mlp_sums *s, int64_t chunks) {
    if (s->n < 2) return 0;
    int64_t left = s->first[s->n - 2], right = s->first[s->n - 1], width = right - left;
    return left % (2 * width) == 0 && (s->end - right == width || s->end == chunks);
}

static inline void mlp_pop_sum(mlp_sums *s) { s->n--; }

// How many sums there can be at once, the one that is being formed included, of chunks that begin with 0, or anywhere.
static inline int mlp_most_sums(int64_t chunks, int from_0) {
    int levels = 0;
    while (levels < 62 && (INT64_C(1) << levels) < chunks) levels++;
    return (from_0 ? levels : 2 * levels) + 1;
}

#endif
