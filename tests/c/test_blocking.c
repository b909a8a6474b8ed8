// Products too large for one block: several KC blocks, row strides that alias in the cache, operands larger than the
// cache. Blocking must not change a bit: elements chosen at random are compared with their definition.
#include "check.h"
#include "reals.h"
#include "sizes.h"

#define MOST 2700  // for any dimension: k = 2700 is split into three KC blocks

typedef enum { FORWARD, BELOW, GRADIENT, UPDATE, KINDS } product;

enum { LEFT, RIGHT, INIT, OUT, Z, SCRATCH, BUFFERS };
static guarded buffers[BUFFERS];
static void *array[BUFFERS];

typedef struct {
    const mlp_kernels *k;
    product kind;
    int64_t m, n, depth;  // out (m, n) = left (m, depth) right (depth, n)
    int64_t stride;       // row stride of the matrix that is W, larger than its width
    mlp_block block;
} problem;

static void place(const problem *p, int which, int64_t count) {
    array[which] = guarded_place(&buffers[which], (size_t)count * p->k->real_size, AT_END);
    if (which == SCRATCH) return;
    for (int64_t i = 0; i < count; i++) put(p->k, array[which], i, random_real(p->k));
}

// In the layout of that kernel: the left factor of the gradient is x^T, the right factor of delta_below W^T.
static double left(const problem *p, int64_t i, int64_t d) {
    return get(p->k, array[LEFT], p->kind >= GRADIENT ? d * p->m + i : i * p->depth + d);
}
static double right(const problem *p, int64_t d, int64_t j) {
    int64_t ld = p->kind <= BELOW ? p->stride : p->n;
    return get(p->k, array[RIGHT], p->kind == BELOW ? j * ld + d : d * ld + j);
}

static double element(const problem *p, int64_t i, int64_t j) {
    int64_t length = mlp_block_length(p->depth);
    double total = 0, run = p->kind == FORWARD ? get(p->k, array[INIT], j) : 0;
    for (int64_t d = 0; d < p->depth; d++) {
        if (d % length == 0 && d > 0) total = d == length ? run : rounded(p->k, total + run), run = 0;
        run = fused(p->k, left(p, i, d), right(p, d, j), run);
    }
    return p->depth > length ? rounded(p->k, total + run) : run;
}

static void call(const problem *p) {
    const mlp_kernels *k = p->k;
    mlp_settings plain = {SETTINGS, .lr = 1};
    mlp_update rule = {.scale = 1, .settings = &plain, .lr = 1}, gradient = {.scale = 1};
    mlp_parameter W = {.values = array[OUT]};
    mlp_unit none = {.kind = MLP_IDENTITY};
    switch (p->kind) {
    case FORWARD:
        k->dense_forward(array[OUT], array[Z], array[LEFT], array[RIGHT], p->stride, array[INIT], none, p->depth, p->n,
                         p->block, array[SCRATCH]);
        break;
    case BELOW:
        k->delta_below(array[OUT], array[LEFT], array[RIGHT], p->stride, array[OUT], none, p->n, p->depth, p->block,
                       array[SCRATCH]);
        break;
    case GRADIENT:
        k->weight_gradient(array[OUT], p->n, W, p->n, array[LEFT], array[RIGHT], p->depth, p->m, p->n, p->block,
                           &gradient, array[SCRATCH]);
        break;
    default:
        k->update_weights(W, p->stride, array[LEFT], array[RIGHT], p->depth, p->m, p->n, p->block, &rule, NULL,
                          array[SCRATCH]);
    }
}

static void check_problem(problem p, int samples) {
    static const char *const name[] = {"dense_forward", "delta_below", "weight_gradient", "update_weights"};
    doing("%s %s %s: m %d n %d depth %d", p.k->isa, dtype_name(p.k), name[p.kind], (int)p.m, (int)p.n, (int)p.depth);
    int64_t most = p.m > p.n ? p.m : p.n;
    place(&p, LEFT, p.m * p.depth);
    p.stride = (p.kind == BELOW ? p.depth : p.n) + 5;
    int64_t ld = p.kind == UPDATE ? p.stride : p.n;
    place(&p, RIGHT, p.kind == FORWARD ? p.depth * p.stride : p.kind == BELOW ? p.n * p.stride : p.depth * p.n);
    place(&p, INIT, p.n);
    place(&p, OUT, p.m * ld);
    place(&p, Z, p.m * ld);
    place(&p, SCRATCH, (int64_t)(p.k->scratch_bytes(most > p.depth ? most : p.depth, 1) / p.k->real_size));
    if (p.kind == UPDATE) memset(array[OUT], 0, (size_t)(p.m * ld) * p.k->real_size);
    double outside = get(p.k, array[OUT], 0);  // an element outside the block
    call(&p);
    for (int s = 0; s < samples; s++) {
        int64_t i = p.block.i0 + random_below(p.block.i1 - p.block.i0);
        int64_t j = p.block.j0 + random_below(p.block.j1 - p.block.j0);
        double sum = element(&p, i, j);
        CHECK(same(get(p.k, array[OUT], i * ld + j), p.kind == UPDATE ? 0 - sum : sum));
        if (p.kind == FORWARD) CHECK(same(get(p.k, array[Z], i * ld + j), sum));
    }
    CHECK(same(get(p.k, array[OUT], 0), outside));
}

static void test_table(const mlp_kernels *k, int quick) {
    // Row strides of 4096 bytes (1024 floats, 512 doubles); two and three KC blocks, equal and unequal; few rows with
    // wide tiles; a single row.
    static const int64_t sizes[][3] = {{131, 1024, 1024}, {67, 517, 2048}, {5, 700, 2699},
                                       {90, 512, 1501},   {1024, 70, 513}, {2, 700, 2699}};
    for (int kind = 0; kind < KINDS; kind++) {
        for (int s = 0; s < 6; s++) {
            problem p = {.k = k, .kind = (product)kind, .m = sizes[s][0], .n = sizes[s][1], .depth = sizes[s][2]};
            p.block = (mlp_block){1, p.m, 3, p.n};
            check_problem(p, quick ? 100 : 1000);
        }
    }
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 600);
    const mlp_kernels *k;
    for (int which = 0; which < BUFFERS; which++) buffers[which] = guarded_create((size_t)MOST * 1030 * sizeof(double));
    for (int i = 0; (k = every_table(i)) != NULL; i++) test_table(k, quick);
    for (int which = 0; which < BUFFERS; which++) guarded_destroy(&buffers[which]);
    return check_end("test_blocking");
}
