// The tree by which the gradients of chunks are added: however chunks are distributed among members, the sum is that of
// the definition, with at most mlp_most_sums partial sums at once.
#include "check.h"
#include "chunks.h"
#include "reals.h"

#define MOST 130

static double leaf[MOST];

// Node `number` of `level`: the sum of its children, as far as there are chunks.
static double node(int64_t chunks, int level, int64_t number) {
    if (level == 0) return leaf[number];
    double left = node(chunks, level - 1, 2 * number);
    int64_t first_of_right = (2 * number + 1) << (level - 1);
    return first_of_right < chunks ? left + node(chunks, level - 1, 2 * number + 1) : left;
}

static double by_definition(int64_t chunks) {
    int level = 0;
    while ((INT64_C(1) << level) < chunks) level++;
    return node(chunks, level, 0);
}

static void join(mlp_sums *s, int64_t chunks) {
    for (; mlp_last_sums_join(s, chunks); mlp_pop_sum(s)) *(double *)s->sum[s->n - 2] += *(double *)s->sum[s->n - 1];
}

// Adds chunks [begin, end) one after the other, reusing the memory of sums.
static void add_up(mlp_sums *s, double *memory, int64_t begin, int64_t end, int64_t chunks) {
    int most = mlp_most_sums(chunks, begin == 0);
    for (int64_t chunk = begin; chunk < end; chunk++) {
        if (!CHECK(s->n < most)) exit(1);
        memory[s->n] = leaf[chunk];
        mlp_push_sum(s, chunk, chunk + 1, &memory[s->n]);
        join(s, chunks);
    }
}

static double by_members(int64_t chunks, int members) {
    static double memory[MOST][MLP_MOST_SUMS];
    static mlp_sums own[MOST];
    mlp_sums all = {.n = 0};
    for (int m = 0; m < members; m++) {
        own[m].n = 0;
        add_up(&own[m], memory[m], chunks * m / members, chunks * (m + 1) / members, chunks);
    }
    for (int m = 0; m < members; m++) {
        for (int i = 0; i < own[m].n; i++) {
            int64_t end = i + 1 < own[m].n ? own[m].first[i + 1] : own[m].end;
            mlp_push_sum(&all, own[m].first[i], end, own[m].sum[i]);
            join(&all, chunks);
        }
    }
    CHECK(all.n == 1 && all.end == chunks);
    return *(double *)all.sum[0];
}

static void test_rows(void) {
    doing("rows of chunks");
    CHECK(mlp_chunks_in(1, 1024) == 1 && mlp_chunks_in(1024, 1024) == 1 && mlp_chunks_in(1025, 1024) == 2);
    CHECK(mlp_chunks_in(3, INT64_MAX) == 1 && mlp_chunks_in(INT64_MAX, 1) == INT64_MAX);
    CHECK(mlp_rows_of_chunk(1025, 1024, 0) == 1024 && mlp_rows_of_chunk(1025, 1024, 1) == 1);
    CHECK(mlp_rows_of_chunk(3, INT64_MAX, 0) == 3);
    CHECK(mlp_most_sums(1, 1) == 1 && mlp_most_sums(1024, 1) == 11 && mlp_most_sums(INT64_MAX, 0) <= MLP_MOST_SUMS);
}

int main(int argc, char **argv) {
    check_begin(argc, argv, 60);
    for (int i = 0; i < MOST; i++) leaf[i] = random_unit() * (i % 3 ? 1 : 1e-8);
    for (int64_t chunks = 1; chunks <= MOST; chunks++) {
        double wanted = by_definition(chunks);
        for (int members = 1; members <= 9; members++) {
            doing("%d chunks, %d members", (int)chunks, members);
            CHECK(same(by_members(chunks, members), wanted));
        }
    }
    leaf[0] = 1, leaf[1] = 0x1p-53, leaf[2] = 0x1p-53, leaf[3] = -1;
    CHECK(same(by_members(3, 1), 1 + 0x1p-53 + 0x1p-53) && same(by_members(4, 2), (1 + 0x1p-53) + (0x1p-53 - 1)));
    test_rows();
    return check_end("test_chunks");
}
