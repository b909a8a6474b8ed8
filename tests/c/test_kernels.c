// The products of a layer, updates and gather, for every kernel table this machine supports.
//
// Every product is out (m, n) = init (n) + left (m, depth) right (depth, n), followed by an elementwise epilogue. The
// reference is the definition: each element is one chain of fused multiply-adds in increasing depth. Small integers are
// never rounded, so their reference is the plain sum. In both cases all bits must be equal.
#include "check.h"
#include "every.h"
#include "reals.h"

#define MOST_ROWS 64
#define MOST_COLS 136
#define MOST_DEPTH 700

typedef enum { FORWARD, BELOW, UPDATE, GRADIENT, PRODUCTS } product;
static const char *const product_name[] = {"dense_forward", "delta_below", "update_weights", "weight_gradient"};

typedef struct {
    double scale, l1, l2;
    int masked;
    mlp_settings settings;
} rule;
#define STEPS 3  // done before this one and with it

typedef struct {
    const mlp_kernels *k;
    product kind;
    int integers;
    int has_init;      // a bias, for FORWARD
    mlp_activation g;  // for FORWARD and BELOW; alpha is a constant, slopes per column, or a shared slope
    enum { NUMBER, PER_COLUMN, ONE_FOR_ALL, WAYS } alpha;
    int with_z;        // FORWARD stores z too
    rule rule;         // for UPDATE and GRADIENT
    guarded_side side;
    int64_t m, n, depth;
} problem;

// The data of the current problems; smaller problems use the upper left corners.
static double left[MOST_ROWS][MOST_DEPTH], right[MOST_DEPTH][MOST_COLS], init[MOST_COLS];
static double old_W[MOST_ROWS][MOST_COLS], old_V[MOST_ROWS][MOST_COLS], old_U[MOST_ROWS][MOST_COLS];  // U >= 0
static double mask[MOST_ROWS][MOST_COLS], kept[MOST_ROWS][MOST_COLS], slopes[MOST_COLS];
static double sum[MOST_ROWS][MOST_COLS];  // the reference for the current depth
static void *expected, *expected_V, *expected_U, *expected_z;  // (m, n) of the table's dtype: output, states and z

// The arguments of a kernel, in its layout and dtype, next to unreadable pages.
enum { LEFT, RIGHT, INIT, OUT, STATE, STATE2, MASK, OTHER, Z, SLOPES, SCRATCH, BUFFERS };
static guarded buffers[BUFFERS];
static void *array[BUFFERS];
static size_t array_bytes[BUFFERS];

static void *place(const problem *p, int which, int64_t count) {
    array_bytes[which] = (size_t)count * p->k->real_size;
    return array[which] = guarded_place(&buffers[which], array_bytes[which], p->side);
}

static void describe(const problem *p, const char *what) {
    doing("%s %s %s: m %d n %d depth %d, %s, g %d, alpha %d, z %d, bias %d, "
          "optimizer %d momentum %g nesterov %d clip %g mask %d l1 %g l2 %g, %s",
          p->k->isa, dtype_name(p->k), what, (int)p->m, (int)p->n, (int)p->depth, p->integers ? "integers" : "reals",
          (int)p->g, (int)p->alpha, p->with_z, p->has_init, (int)p->rule.settings.optimizer, p->rule.settings.momentum,
          p->rule.settings.nesterov, p->rule.settings.clip_value, p->rule.masked, p->rule.l1, p->rule.l2,
          p->side == AT_END ? "page behind" : "page in front");
}

// ---- Numbers ----

static double draw(const problem *p) { return p->integers ? random_integer() : random_real(p->k); }

static void draw_numbers(const problem *p) {
    for (int i = 0; i < MOST_ROWS; i++) {
        for (int j = 0; j < MOST_DEPTH; j++) left[i][j] = draw(p);
        for (int j = 0; j < MOST_COLS; j++) {
            old_W[i][j] = random_below(8) ? draw(p) : 0;  // zeros for sign(0) and relu'(0)
            old_V[i][j] = draw(p);
            old_U[i][j] = fabs(draw(p));
            mask[i][j] = (double)random_below(2);
            kept[i][j] = random_below(8) ? draw(p) : 0;
        }
    }
    for (int i = 0; i < MOST_DEPTH; i++) {
        for (int j = 0; j < MOST_COLS; j++) right[i][j] = draw(p);
    }
    for (int j = 0; j < MOST_COLS; j++) init[j] = draw(p), slopes[j] = draw(p);
}

static void start_sums(const problem *p) {
    for (int i = 0; i < MOST_ROWS; i++) {
        for (int j = 0; j < MOST_COLS; j++) sum[i][j] = p->has_init ? init[j] : 0;
    }
}

// From the sums of depth d to those of depth d + 1.
static void extend_sums(const problem *p, int64_t d) {
    for (int i = 0; i < MOST_ROWS; i++) {
        for (int j = 0; j < MOST_COLS; j++) {
            sum[i][j] = p->integers ? sum[i][j] + left[i][d] * right[d][j]
                                    : fused(p->k, left[i][d], right[d][j], sum[i][j]);
        }
    }
}

// The optimizers that step_of knows; test_training.c tests all of them.
static const mlp_optimizer with_formula[4] = {MLP_SGD, MLP_ADAM, MLP_RMSPROP, MLP_ADAGRAD};

// Optimizers in turn; for integers SGD only, which keeps them exact.
static rule rule_number(int number, int integers) {
    rule r = {.scale = 0.5, .l1 = 0.25, .l2 = 0.125, .settings = {SETTINGS, .lr = 0.25, .momentum = 0.5,
                                                                  .clip_value = 2}};
    if (!integers) {
        r = (rule){.scale = 1.0 / 7, .l1 = 0.003, .l2 = 0.02,
                   .settings = {SETTINGS, .lr = 0.1, .momentum = 0.9, .clip_value = 0.05, .beta1 = 0.9, .beta2 = 0.99,
                                .epsilon = 1e-3, .weight_decay = 0.5, .shrink = 0.5, .grow = 1.2,
                                .least_step = 1e-3, .most_step = 2}};
        r.settings.optimizer = with_formula[number / 16 % 4];
    }
    r.settings.nesterov = number & 1;
    if (!(number & 2)) r.settings.momentum = 0;
    if (!(number & 4)) r.l1 = 0;
    if (!(number & 8)) r.l2 = 0;
    if (number % 5) r.settings.clip_value = 0;
    r.masked = number % 3 == 1;
    return r;
}

static mlp_update update_of(const rule *r) {
    const mlp_settings *s = &r->settings;
    double momentum = mlp_optimizer_rows[s->optimizer].moved == MLP_MOVES_BETA1 ? s->beta1 : s->momentum;
    return (mlp_update){r->scale, s, s->lr, momentum, s->weight_decay, r->l1, r->l2, STEPS};
}

static int states_of(const rule *r) {
    if (r->settings.optimizer == MLP_SGD) return r->settings.momentum != 0;
    return r->settings.optimizer == MLP_ADAM ? 2 : 1;
}

// The first state is the mean of g under SGD and Adam, and of g^2 under the others.
static int is_signed(const rule *r) { return r->settings.optimizer == MLP_SGD || r->settings.optimizer == MLP_ADAM; }

// ---- References ----

static double gradient_of(const mlp_kernels *k, double total, double W, const rule *r) {
    double g = rounded(k, total * rounded(k, r->scale)), sign = W > 0 ? 1 : W < 0 ? -1 : 0;
    if (r->l2 != 0) g = rounded(k, g + rounded(k, rounded(k, r->l2) * W));
    if (r->l1 != 0) g = rounded(k, g + rounded(k, r->l1) * sign);
    return g;
}

typedef struct {
    double W, state[2];
} moved;

// share is volatile, since GCC 12 at -O2 otherwise omits the rounding of beta.
static double decayed(const mlp_kernels *k, double beta, double old, double fresh) {
    volatile double share = rounded(k, beta);
    return rounded(k, rounded(k, share * old) + rounded(k, rounded(k, 1 - beta) * fresh));
}

static void step_of_adam(const mlp_kernels *k, moved *p, double g, const mlp_settings *s, int decays) {
    double power1 = s->beta1 * (s->beta1 * s->beta1), power2 = s->beta2 * (s->beta2 * s->beta2);  // STEPS is 3
    double kept_share = rounded(k, 1 - s->lr * (decays ? s->weight_decay : 0));
    p->state[0] = decayed(k, s->beta1, p->state[0], g);
    p->state[1] = decayed(k, s->beta2, p->state[1], rounded(k, g * g));
    double size = rounded(k, rounded(k, sqrt(p->state[1])) * rounded(k, 1 / sqrt(1 - power2)));
    size = rounded(k, size + rounded(k, s->epsilon));
    double step = rounded(k, rounded(k, rounded(k, s->lr / (1 - power1)) * p->state[0]) / size);
    p->W = rounded(k, rounded(k, kept_share * p->W) - step);
}

static void step_of(const mlp_kernels *k, moved *p, double g, const rule *r, int decays) {
    const mlp_settings *s = &r->settings;
    double momentum = rounded(k, s->momentum), step = g, clip = rounded(k, s->clip_value), *v = p->state;
    if (s->clip_value != 0) step = g = g > clip ? clip : g < -clip ? -clip : g;
    if (s->optimizer == MLP_ADAM) {
        step_of_adam(k, p, g, s, decays);
        return;
    }
    if (s->optimizer == MLP_SGD) {
        if (momentum != 0) {
            *v = rounded(k, rounded(k, momentum * *v) + g);
            step = s->nesterov ? rounded(k, g + rounded(k, momentum * *v)) : *v;
        }
        p->W = rounded(k, p->W - rounded(k, rounded(k, s->lr) * step));
        return;
    }
    double square = rounded(k, g * g);
    *v = s->optimizer == MLP_ADAGRAD ? rounded(k, *v + square) : decayed(k, s->beta2, *v, square);
    double size = rounded(k, rounded(k, sqrt(*v)) + rounded(k, s->epsilon));
    p->W = rounded(k, p->W - rounded(k, rounded(k, rounded(k, s->lr) * g) / size));
}

static void expect_update(const problem *p, int64_t i, int64_t j) {
    const rule *r = &p->rule;
    double g = gradient_of(p->k, sum[i][j], old_W[i][j], r);
    moved at = {old_W[i][j], {is_signed(r) ? old_V[i][j] : old_U[i][j], old_U[i][j]}};
    int unconnected = r->masked && mask[i][j] == 0;
    if (unconnected) g = 0;
    if (p->kind == UPDATE) {
        rule unclipped = *r;
        double clip = rounded(p->k, r->settings.clip_value);
        if (clip != 0) g = g > clip ? clip : g < -clip ? -clip : g;
        unclipped.settings.clip_value = 0;
        step_of(p->k, &at, g, &unclipped, 1);
        if (unconnected) at.W = 0;
    }
    put(p->k, expected, i * p->n + j, p->kind == GRADIENT ? g : at.W);
    put(p->k, expected_V, i * p->n + j, at.state[0]);
    put(p->k, expected_U, i * p->n + j, at.state[1]);
}

static mlp_unit unit_of(const problem *p) {
    mlp_unit g = {.kind = p->g, .alpha = 0.25, .slopes = array[SLOPES], .shared = p->alpha == ONE_FOR_ALL};
    return g;
}

// g and g' come from the kernel table, which test_activations.c tests: the fused epilogues must give the same bits.
static void expect(const problem *p) {
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            if (p->kind == UPDATE || p->kind == GRADIENT) expect_update(p, i, j);
            else put(p->k, expected, i * p->n + j, sum[i][j]);
        }
    }
    memcpy(expected_z, expected, (size_t)(p->m * p->n) * p->k->real_size);
    if (p->g == MLP_SOFTMAX) return;
    if (p->kind == FORWARD) p->k->activation_forward(expected, expected, unit_of(p), p->m, p->n);
    if (p->kind == BELOW) p->k->activation_backward(expected, array[OTHER], unit_of(p), p->m, p->n);
}

// ---- Calls ----

// matrix (rows, cols) of the table's dtype = the upper left corner of numbers, or of its transpose.
static void fill(const problem *p, void *matrix, const double *numbers, int64_t stride, int transposed, int64_t rows,
                 int64_t cols) {
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            put(p->k, matrix, i * cols + j, transposed ? numbers[j * stride + i] : numbers[i * stride + j]);
        }
    }
}

static void lay_out(const problem *p) {
    int64_t m = p->m, n = p->n, depth = p->depth;
    int of_gradient = p->kind == UPDATE || p->kind == GRADIENT;  // left is x (depth, m), to be transposed
    if (of_gradient) fill(p, place(p, LEFT, m * depth), left[0], MOST_DEPTH, 1, depth, m);
    else fill(p, place(p, LEFT, m * depth), left[0], MOST_DEPTH, 0, m, depth);
    if (p->kind == BELOW) fill(p, place(p, RIGHT, depth * n), right[0], MOST_COLS, 1, n, depth);
    else fill(p, place(p, RIGHT, depth * n), right[0], MOST_COLS, 0, depth, n);

    array[INIT] = array[STATE] = array[STATE2] = array[MASK] = array[Z] = array[SLOPES] = NULL;
    if (p->has_init) fill(p, place(p, INIT, n), init, 0, 0, 1, n);
    memset(place(p, OUT, m * n), CANARY, (size_t)(m * n) * p->k->real_size);
    if (p->kind == UPDATE) fill(p, array[OUT], old_W[0], MOST_COLS, 0, m, n);
    int states = p->kind == UPDATE ? states_of(&p->rule) : 0;
    if (states > 0) fill(p, place(p, STATE, m * n), is_signed(&p->rule) ? old_V[0] : old_U[0], MOST_COLS, 0, m, n);
    if (states > 1) fill(p, place(p, STATE2, m * n), old_U[0], MOST_COLS, 0, m, n);
    if (of_gradient && p->rule.masked) fill(p, place(p, MASK, m * n), mask[0], MOST_COLS, 0, m, n);
    fill(p, place(p, OTHER, m * n), p->kind == BELOW ? kept[0] : old_W[0], MOST_COLS, 0, m, n);
    if (p->with_z) memset(place(p, Z, m * n), CANARY, (size_t)(m * n) * p->k->real_size);
    int64_t n_slopes = p->alpha == PER_COLUMN ? n : 1;
    if (p->alpha != NUMBER) fill(p, place(p, SLOPES, n_slopes), slopes, 0, 0, 1, n_slopes);
    int64_t most = m > n ? m : n;
    size_t scratch = p->k->scratch_bytes(most > depth ? most : depth, 1);
    place(p, SCRATCH, (int64_t)(scratch / p->k->real_size));
}

static void call(const problem *p, mlp_block block) {
    const mlp_kernels *k = p->k;
    void **a = array;
    mlp_update update = update_of(&p->rule), gradient = update;
    gradient.settings = NULL;
    mlp_parameter W = {.values = p->kind == UPDATE ? a[OUT] : a[OTHER], .state = {a[STATE], a[STATE2]},
                       .mask = a[MASK]};
    switch (p->kind) {
    case FORWARD:
        k->dense_forward(a[OUT], a[Z], a[LEFT], a[RIGHT], p->n, a[INIT], unit_of(p), p->depth, p->n, block, a[SCRATCH]);
        break;
    case BELOW:
        k->delta_below(a[OUT], a[LEFT], a[RIGHT], p->depth, a[OTHER], unit_of(p), p->n, p->depth, block, a[SCRATCH]);
        break;
    case UPDATE:
        k->update_weights(W, p->n, a[LEFT], a[RIGHT], p->depth, p->m, p->n, block, &update, NULL, a[SCRATCH]);
        break;
    default:
        k->weight_gradient(a[OUT], p->n, W, p->n, a[LEFT], a[RIGHT], p->depth, p->m, p->n, block, &gradient,
                           a[SCRATCH]);
    }
}

static void check_canaries(const problem *p) {
    for (int which = 0; which < BUFFERS; which++) {
        if (array[which]) CHECK(guarded_intact(&buffers[which], array_bytes[which], p->side));
    }
}

static int equal_bytes(const void *a, const void *b, int64_t count, const mlp_kernels *k) {
    return memcmp(a, b, (size_t)count * k->real_size) == 0;
}

static void check_whole(const problem *p) {
    describe(p, product_name[p->kind]);
    lay_out(p);
    expect(p);
    call(p, (mlp_block){0, p->m, 0, p->n});
    CHECK(equal_bytes(array[OUT], expected, p->m * p->n, p->k));
    if (array[STATE]) CHECK(equal_bytes(array[STATE], expected_V, p->m * p->n, p->k));
    if (array[STATE2]) CHECK(equal_bytes(array[STATE2], expected_U, p->m * p->n, p->k));
    if (array[Z]) CHECK(equal_bytes(array[Z], expected_z, p->m * p->n, p->k));
    check_canaries(p);
}

// ---- All sizes from 0 to two tiles plus one ----

static int is_chosen(int64_t m, int64_t n, int64_t depth, int quick) {
    return !quick || (m + 3 * n + 5 * depth) % 13 == 0;
}

// The other options are varied by a counter, so that every size class is tested with all of them.
static void vary(problem *p, unsigned count) {
    static const mlp_activation exact[] = {MLP_IDENTITY, MLP_RELU, MLP_SOFTMAX, MLP_PRELU, MLP_SIGN};
    p->rule = rule_number((int)(count % 64), p->integers);
    p->g = p->integers ? exact[count % 5] : nth_activation((int)(count % KNOWN_ACTIVATIONS));
    p->alpha = count / 3 % WAYS;
    p->with_z = p->kind == FORWARD && count / 5 % 2;
    p->side = count % 7 < 5 ? AT_END : AT_BEGIN;
}

static void sweep(problem p, int quick) {
    int64_t rows = 2 * p.k->mr + 1, cols = 2 * p.k->nr + 1;
    unsigned count = 0;
    draw_numbers(&p);
    start_sums(&p);
    for (p.depth = 0; p.depth <= rows; p.depth++) {
        for (p.m = 0; p.m <= rows; p.m++) {
            for (p.n = 0; p.n <= cols; p.n++) {
                if (!is_chosen(p.m, p.n, p.depth, quick)) continue;
                vary(&p, count++);
                check_whole(&p);
            }
        }
        extend_sums(&p, p.depth);
    }
}

static void test_all_sizes(const mlp_kernels *k, int quick) {
    for (int kind = 0; kind < PRODUCTS; kind++) {
        for (int integers = 0; integers < 2; integers++) {
            problem p = {.k = k, .kind = (product)kind, .integers = integers};
            sweep(p, quick);
            p.has_init = 1;
            if (p.kind == FORWARD) sweep(p, quick);
        }
    }
}

// A chain so long that a wrong split into KC blocks would change bits.
static void test_long_sums(const mlp_kernels *k) {
    for (int kind = 0; kind < PRODUCTS; kind++) {
        problem p = {.k = k, .kind = (product)kind, .has_init = kind == FORWARD, .rule = rule_number(15, 0)};
        p.m = k->mr + 1, p.n = k->nr + 3, p.depth = MOST_DEPTH;
        draw_numbers(&p);
        start_sums(&p);
        for (int64_t d = 0; d < p.depth; d++) extend_sums(&p, d);
        check_whole(&p);
    }
}

// ---- Blocks: inside, the same bits as for the whole output; outside, nothing changed ----

static int inside(mlp_block b, int64_t i, int64_t j) { return i >= b.i0 && i < b.i1 && j >= b.j0 && j < b.j1; }

// Whether array holds, element by element, `in` inside the block and `out` outside.
static int holds_block(const problem *p, const void *matrix, const void *in, const void *out, mlp_block block) {
    size_t size = p->k->real_size;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            size_t at = (size_t)(i * p->n + j) * size;
            const char *wanted = inside(block, i, j) ? in : out;
            if (memcmp((const char *)matrix + at, wanted + at, size) != 0) return 0;
        }
    }
    return 1;
}

static mlp_block random_block(const problem *p) {
    int64_t i0 = random_below(p->m + 1), i1 = i0 + random_below(p->m - i0 + 1);
    int64_t j0 = random_below(p->n + 1), j1 = j0 + random_below(p->n - j0 + 1);
    return (mlp_block){i0, i1, j0, j1};
}

static void check_block(const problem *p, mlp_block block) {
    static char before[MOST_ROWS * MOST_COLS * sizeof(double)], before_V[sizeof before], before_U[sizeof before],
        before_z[sizeof before];
    size_t bytes = (size_t)(p->m * p->n) * p->k->real_size;
    char what[80];
    snprintf(what, sizeof what, "%s [%d, %d) x [%d, %d)", product_name[p->kind], (int)block.i0, (int)block.i1,
             (int)block.j0, (int)block.j1);
    describe(p, what);
    lay_out(p);
    memcpy(before, array[OUT], bytes);
    if (array[STATE]) memcpy(before_V, array[STATE], bytes);
    if (array[STATE2]) memcpy(before_U, array[STATE2], bytes);
    if (array[Z]) memcpy(before_z, array[Z], bytes);
    expect(p);
    call(p, block);
    CHECK(holds_block(p, array[OUT], expected, before, block));
    if (array[STATE]) CHECK(holds_block(p, array[STATE], expected_V, before_V, block));
    if (array[STATE2]) CHECK(holds_block(p, array[STATE2], expected_U, before_U, block));
    if (array[Z]) CHECK(holds_block(p, array[Z], expected_z, before_z, block));
    check_canaries(p);
}

static void test_blocks(const mlp_kernels *k, int quick) {
    for (int kind = 0; kind < PRODUCTS; kind++) {
        problem p = {.k = k, .kind = (product)kind, .has_init = kind == FORWARD, .depth = 5};
        p.m = 2 * k->mr + 1, p.n = 2 * k->nr + 1;
        draw_numbers(&p);
        start_sums(&p);
        for (int64_t d = 0; d < p.depth; d++) extend_sums(&p, d);
        for (unsigned count = 0; count < (quick ? 200 : 4000); count++) {
            vary(&p, count);
            check_block(&p, random_block(&p));
        }
    }
}

// Empty blocks, with unreadable arrays.
static void test_empty_blocks(const mlp_kernels *k) {
    static const mlp_block empty[] = {{2, 2, 0, 7}, {0, 5, 3, 3}, {0, 0, 0, 0}, {5, 5, 7, 7}};
    for (int kind = 0; kind < PRODUCTS; kind++) {
        problem p = {.k = k, .kind = (product)kind, .rule = rule_number(15, 0), .m = 5, .n = 7, .depth = 3};
        describe(&p, "empty block");
        for (int which = 0; which < BUFFERS; which++) place(&p, which, 0);
        for (int b = 0; b < 4; b++) call(&p, empty[b]);
        CHECK(1);
    }
}

// ---- Biases ----

#define SUM_CHAINS 4
static double chain[SUM_CHAINS][MOST_COLS];  // row i is added to chain i mod SUM_CHAINS

static double column_sum(const mlp_kernels *k, int64_t j) {
    double sum = chain[0][j];
    for (int c = 1; c < SUM_CHAINS; c++) sum = rounded(k, sum + chain[c][j]);
    return sum;
}

static void check_bias(const problem *p, int64_t j0, int64_t j1) {
    char what[80];
    snprintf(what, sizeof what, "biases [%d, %d)", (int)j0, (int)j1);
    describe(p, what);
    lay_out(p);  // RIGHT is delta (depth, n); OUT and the states get the first row of their matrices
    rule without_penalty = p->rule;
    without_penalty.l1 = without_penalty.l2 = 0;
    mlp_update update = update_of(&p->rule);
    mlp_parameter bias = {.values = array[OUT], .state = {array[STATE], array[STATE2]}};
    p->k->update_bias(bias, array[RIGHT], p->depth, p->n, j0, j1, &update);
    p->k->bias_gradient(array[OTHER], array[RIGHT], p->depth, p->n, j0, j1, &update);
    int good = 1;
    for (int64_t j = 0; j < p->n; j++) {
        moved b = {old_W[0][j], {is_signed(&p->rule) ? old_V[0][j] : old_U[0][j], old_U[0][j]}};
        double gradient = old_W[0][j];
        if (j >= j0 && j < j1) {
            gradient = gradient_of(p->k, column_sum(p->k, j), 0, &without_penalty);
            step_of(p->k, &b, gradient, &p->rule, 0);
        }
        good &= same(get(p->k, array[OUT], j), b.W) && same(get(p->k, array[OTHER], j), gradient);
        if (array[STATE]) good &= same(get(p->k, array[STATE], j), b.state[0]);
        if (array[STATE2]) good &= same(get(p->k, array[STATE2], j), b.state[1]);
    }
    CHECK(good);
    check_canaries(p);
}

static void test_biases(const mlp_kernels *k, int integers) {
    problem p = {.k = k, .kind = UPDATE, .integers = integers, .m = 1};
    unsigned count = 0;
    draw_numbers(&p);
    memset(chain, 0, sizeof chain);
    for (p.depth = 0; p.depth <= 2 * k->mr + 1; p.depth++) {
        for (p.n = 0; p.n <= 2 * k->nr + 1; p.n++) {
            vary(&p, count++);
            int64_t j0 = random_below(p.n + 1);
            check_bias(&p, 0, p.n);
            check_bias(&p, j0, j0 + random_below(p.n - j0 + 1));
        }
        double *sum = chain[p.depth % SUM_CHAINS];
        for (int j = 0; j < MOST_COLS; j++) sum[j] = rounded(k, sum[j] + right[p.depth][j]);
    }
}

// More rows than a block of a sum has. Small integers: their sum has the same bits in any order.
static void test_long_biases(const mlp_kernels *k) {
    enum { ROWS = 2 * MLP_KC + 77, COLS = 19 };
    const mlp_update update = {.scale = 0.25};
    void *delta = malloc(ROWS * COLS * sizeof(double)), *gradient = malloc(COLS * sizeof(double));
    if (!delta || !gradient) exit(3);
    for (int64_t rows = MLP_KC - 1; rows <= ROWS; rows += rows < MLP_KC + 2 ? 1 : 359) {
        double sum[COLS] = {0};
        doing("%s %s: biases over %d rows", k->isa, dtype_name(k), (int)rows);
        for (int64_t i = 0; i < rows * COLS; i++) {
            double x = (double)random_below(9) - 4;
            put(k, delta, i, x);
            sum[i % COLS] += x;
        }
        k->bias_gradient(gradient, delta, rows, COLS, 0, COLS, &update);
        for (int64_t j = 0; j < COLS; j++) CHECK(get(k, gradient, j) == 0.25 * sum[j]);
    }
    free(delta);
    free(gradient);
}

// ---- Single settings of optimizers ----

// One step of W on a gradient that is a sum of one row.
static double step_from(const mlp_kernels *k, double W, double gradient, const mlp_settings *settings, double lr) {
    mlp_update update = {.settings = settings, .scale = 1, .lr = lr, .t = 1};
    void *number[4];
    for (int i = 0; i < 4; i++) {
        number[i] = calloc(1, sizeof(double));
        if (!number[i]) exit(3);
    }
    put(k, number[0], 0, W), put(k, number[1], 0, gradient);
    mlp_parameter b = {.values = number[0], .state = {number[2], number[3]}};
    k->update_bias(b, number[1], 1, 1, 0, 1, &update);
    W = get(k, number[0], 0);
    for (int i = 0; i < 4; i++) free(number[i]);
    return W;
}

static void test_settings(const mlp_kernels *k) {
    mlp_settings rmsprop = {SETTINGS, .optimizer = MLP_RMSPROP, .beta2 = 0.75};
    mlp_settings rprop = {SETTINGS, .optimizer = MLP_RPROP,
                          .shrink = 0.5, .grow = 1.2, .least_step = 1e-6, .most_step = 50};
    double most = k->dtype == MLP_FLOAT32 ? (double)FLT_MAX : DBL_MAX;
    doing("%s %s: squares that would overflow", k->isa, dtype_name(k));
    for (int i = 0; i < 2; i++) {  // lr g / sqrt(0.25 g^2), whatever limit is above all squares that fit
        rmsprop.clip_value = i ? most : 0;
        CHECK(step_from(k, 1, most, &rmsprop, 0.25) == 0.5);
    }
    doing("%s %s: rprop with the rate 0", k->isa, dtype_name(k));
    CHECK(step_from(k, 1, 3, &rprop, 0.25) == 0.75 && step_from(k, 1, 3, &rprop, 0) == 1);
}

// ---- Stored gradients ----

// The gradient of a layer without a bias ends with the last row of W: nothing beyond it may be read.
static void test_scaled_gradients(const mlp_kernels *k) {
    problem p = {.k = k, .kind = GRADIENT, .integers = 1, .m = 3};
    mlp_update update = {.scale = 0.5};
    draw_numbers(&p);
    for (p.n = 1; p.n <= 2 * k->nr + 1; p.n++) {
        describe(&p, "scale_gradient");
        for (int which = 0; which < BUFFERS; which++) place(&p, which, which == OUT || which == OTHER ? p.m * p.n : 0);
        for (int64_t i = 0; i < p.m * p.n; i++) put(k, array[OUT], i, left[0][i]), put(k, array[OTHER], i, 1);
        mlp_parameter W = {.values = array[OTHER]};
        k->scale_gradient(array[OUT], W, p.n, (mlp_block){0, p.m, 0, p.n}, &update);
        int good = 1;
        for (int64_t i = 0; i < p.m * p.n; i++) good &= get(k, array[OUT], i) == 0.5 * left[0][i];
        CHECK(good);
        check_canaries(&p);
    }
}

// ---- Gather ----

#define SOURCE_ROWS 9

static const size_t type_size[] = {[MLP_FLOAT32] = 4, [MLP_FLOAT64] = 8, [MLP_UINT8] = 1};

static void put_as(void *X, mlp_dtype type, int64_t at, double x) {
    if (type == MLP_FLOAT32) ((float *)X)[at] = (float)x;
    else if (type == MLP_FLOAT64) ((double *)X)[at] = x;
    else ((uint8_t *)X)[at] = (uint8_t)x;
}

static double get_as(const void *X, mlp_dtype type, int64_t at) {
    if (type == MLP_FLOAT32) return (double)((const float *)X)[at];
    return type == MLP_FLOAT64 ? ((const double *)X)[at] : ((const uint8_t *)X)[at];
}

// index repeats some rows and omits others, including the last; omitted rows hold NaN, which must not be reported.
static const int64_t source_row[5] = {6, 0, 3, 3, 1};

typedef struct {
    const mlp_kernels *k;
    mlp_dtype type;
    double scale;
    int indexed;
    int64_t rows, n;
    guarded_side side;
} gathering;

static void *make_source(const gathering *t) {
    int64_t rows = t->indexed ? SOURCE_ROWS : t->rows;
    void *X = guarded_place(&buffers[LEFT], (size_t)(rows * t->n) * type_size[t->type], t->side);
    for (int64_t i = 0; i < rows * t->n; i++) {
        double x = t->type == MLP_UINT8 ? (double)random_below(256) : 20 * random_unit() - 10;
        int64_t row = i / t->n;
        if (t->indexed && t->type != MLP_UINT8 && (row == 2 || row == SOURCE_ROWS - 1)) x = NAN;
        put_as(X, t->type, i, x);
    }
    return X;
}

static const int64_t *make_index(const gathering *t) {
    if (!t->indexed) return NULL;
    size_t bytes = (size_t)t->rows * sizeof *source_row;
    return memcpy(guarded_place(&buffers[RIGHT], bytes, t->side), source_row, bytes);
}

static int gathered(const gathering *t, const void *out, const void *X) {
    for (int64_t i = 0; i < t->rows; i++) {
        for (int64_t j = 0; j < t->n; j++) {
            double x = get_as(X, t->type, (t->indexed ? source_row[i] : i) * t->n + j);
            double wanted = rounded(t->k, x);
            if (t->type == MLP_UINT8) wanted = rounded(t->k, wanted * rounded(t->k, t->scale));
            if (!same(get(t->k, out, i * t->n + j), wanted)) return 0;
        }
    }
    return 1;
}

// Every position in turn holds NaN or infinity.
static void check_not_finite(const gathering *t, void *out, void *X, const int64_t *index) {
    static const double bad[] = {NAN, INFINITY, -INFINITY, -NAN};
    for (int64_t i = 0; i < t->rows; i++) {
        for (int64_t j = 0; j < t->n; j++) {
            int64_t at = (index ? index[i] : i) * t->n + j;
            double kept = get_as(X, t->type, at);
            put_as(X, t->type, at, bad[(i + j) % 4]);
            CHECK(t->k->gather(out, X, t->type, t->scale, index, t->rows, t->n) == 0);
            CHECK(t->k->gather(NULL, X, t->type, t->scale, index, t->rows, t->n) == 0);
            put_as(X, t->type, at, kept);
        }
    }
}

// The definition of `transform`, in double, and the same bits from every table.
static void check_transform(const gathering *t, void *out, const void *X, const int64_t *index, size_t bytes) {
    double mean[MOST_COLS], deviation[MOST_COLS];
    for (int64_t j = 0; j < t->n; j++) mean[j] = 20 * random_unit() - 10, deviation[j] = 0.01 + 3 * random_unit();
    CHECK(t->k->transform(out, X, t->type, t->scale, mean, deviation, index, t->rows, t->n) == 1);
    for (int64_t i = 0; i < t->rows; i++) {
        for (int64_t j = 0; j < t->n; j++) {
            double x = get_as(X, t->type, (index ? index[i] : i) * t->n + j);
            if (t->type == MLP_UINT8) x *= t->scale;
            CHECK(same(get(t->k, out, i * t->n + j), rounded(t->k, (x - mean[j]) / deviation[j])));
        }
    }
    if (t->rows > 0 && t->n > 0) {
        mean[t->n - 1] = INFINITY;
        CHECK(t->k->transform(out, X, t->type, t->scale, mean, deviation, index, t->rows, t->n) == 0);
    }
    CHECK(guarded_intact(&buffers[OUT], bytes, t->side));
}

static void check_gather(const gathering *t) {
    doing("%s %s gather: type %d, %d rows of %d, %s, %s", t->k->isa, dtype_name(t->k), (int)t->type, (int)t->rows,
          (int)t->n, t->indexed ? "index" : "no index", t->side == AT_END ? "page behind" : "page in front");
    void *X = make_source(t);
    const int64_t *index = make_index(t);
    size_t bytes = (size_t)(t->rows * t->n) * t->k->real_size;
    void *out = guarded_place(&buffers[OUT], bytes, t->side);
    CHECK(t->k->gather(out, X, t->type, t->scale, index, t->rows, t->n) == 1);
    CHECK(t->k->gather(NULL, X, t->type, t->scale, index, t->rows, t->n) == 1);
    CHECK(gathered(t, out, X));
    check_transform(t, out, X, index, bytes);
    if (t->type != MLP_UINT8) check_not_finite(t, out, X, index);
    CHECK(guarded_intact(&buffers[OUT], bytes, t->side));
}

static void test_gather(const mlp_kernels *k) {
    gathering t = {.k = k, .scale = 1.0 / 255};
    for (int type = MLP_FLOAT32; type <= MLP_UINT8; type++) {
        t.type = (mlp_dtype)type;
        for (t.indexed = 0; t.indexed < 2; t.indexed++) {
            for (t.n = 0; t.n <= 2 * k->nr + 1; t.n++) {
                for (t.rows = 0; t.rows <= 5; t.rows++) {
                    t.side = (t.n + t.rows) % 3 ? AT_END : AT_BEGIN;
                    check_gather(&t);
                }
            }
        }
    }
}

// The largest and smallest numbers count as finite; a double that overflows float counts as infinite when converted.
static void test_gather_extremes(const mlp_kernels *k) {
    const double large[] = {FLT_MAX, -FLT_MAX, 1e300, -1e300}, small[] = {0x1p-149, -0x1p-149, 0.0, -0.0, 0x1p-1074};
    void *out = guarded_place(&buffers[OUT], k->real_size, AT_END);
    doing("%s %s gather: extremes", k->isa, dtype_name(k));
    for (int i = 0; i < 4; i++) {
        int fits = i < 2 || k->dtype == MLP_FLOAT64;
        CHECK(k->gather(out, &large[i], MLP_FLOAT64, 1, NULL, 1, 1) == fits);
        CHECK(same(get(k, out, 0), rounded(k, large[i])));
    }
    for (int i = 0; i < 5; i++) {
        CHECK(k->gather(out, &small[i], MLP_FLOAT64, 1, NULL, 1, 1) == 1);
        CHECK(same(get(k, out, 0), rounded(k, small[i])));
    }
}

static void test_table(const mlp_kernels *k, int quick) {
    doing("%s %s: a tile of %d x %d", k->isa, dtype_name(k), (int)k->mr, (int)k->nr);
    if (!CHECK(2 * k->mr + 1 < MOST_ROWS && 2 * k->nr + 1 < MOST_COLS)) return;
    test_all_sizes(k, quick);
    test_long_sums(k);
    test_blocks(k, quick);
    test_empty_blocks(k);
    test_biases(k, 0);
    test_biases(k, 1);
    test_long_biases(k);
    test_settings(k);
    test_scaled_gradients(k);
    test_gather(k);
    test_gather_extremes(k);
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 1800);
    const mlp_kernels *k;
    for (int which = 0; which < BUFFERS; which++) {
        buffers[which] = guarded_create(which == SCRATCH ? 4u << 20 : (size_t)MOST_DEPTH * MOST_COLS * sizeof(double));
    }
    expected = malloc(MOST_ROWS * MOST_COLS * sizeof(double));
    expected_V = malloc(MOST_ROWS * MOST_COLS * sizeof(double));
    expected_U = malloc(MOST_ROWS * MOST_COLS * sizeof(double));
    expected_z = malloc(MOST_ROWS * MOST_COLS * sizeof(double));
    if (!expected || !expected_V || !expected_U || !expected_z) return 3;
    for (int i = 0; (k = every_table(i)) != NULL; i++) test_table(k, quick);
    free(expected);
    free(expected_V);
    free(expected_U);
    free(expected_z);
    for (int which = 0; which < BUFFERS; which++) guarded_destroy(&buffers[which]);
    return check_end("test_kernels");
}
