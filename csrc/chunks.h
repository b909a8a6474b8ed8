// The chunks of a minibatch, and the binary tree by which their gradients are added.
//
// Chunk c is rows [c chunk_rows, (c + 1) chunk_rows) of the minibatch; the last one may have fewer. The gradients of
// the chunks are the leaves of the tree: on each level nodes 0 and 1 are added, 2 and 3, and so on; an odd last node
// moves up unchanged. Seven chunks: ((0 + 1) + (2 + 3)) + ((4 + 5) + 6). So the sum of 2^k chunks that begin at a
// multiple of 2^k has the same bits whichever other chunks there are and wherever it is computed: in a thread, in a
// separate call of mlp_gradient, on another machine.
#ifndef MLP_CHUNKS_H
#define MLP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#define MLP_CHUNK_ROWS 1024  // default: the float32 activations of a layer of 128 units then take 512 KB

static inline int64_t mlp_chunks_in(int64_t rows, int64_t chunk_rows) {
    return rows / chunk_rows + (rows % chunk_rows != 0);
}

static inline int64_t mlp_rows_of_chunk(int64_t rows, int64_t chunk_rows, int64_t chunk) {
    int64_t left = rows - chunk * chunk_rows;
    return left < chunk_rows ? left : chunk_rows;
}

#define MLP_MOST_SUMS 128

// Partial sums over chunks [first[0], end), left to right: sum[i] covers the chunks from first[i] to the next sum's
// first, and is a node of the tree that cannot yet be added to its sibling.
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

// Whether the last two sums are siblings in the tree over `chunks` chunks. Then the caller adds the last one to the one
// before it, and removes the last one (mlp_pop_sum).
static inline int mlp_last_sums_join(const mlp_sums *s, int64_t chunks) {
    if (s->n < 2) return 0;
    int64_t left = s->first[s->n - 2], right = s->first[s->n - 1], width = right - left;
    return left % (2 * width) == 0 && (s->end - right == width || s->end == chunks);
}

static inline void mlp_pop_sum(mlp_sums *s) { s->n--; }

// The largest number of sums at once, including the one being computed; from_0: the chunks start at 0, else anywhere.
static inline int mlp_most_sums(int64_t chunks, int from_0) {
    int levels = 0;
    while (levels < 62 && (INT64_C(1) << levels) < chunks) levels++;
    return (from_0 ? levels : 2 * levels) + 1;
}

#endif
