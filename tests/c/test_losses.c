// Every loss of every table this machine can run: value, derivative and rightness of each row against the formulas in
// double, and bit for bit against the first table.
#include "check.h"
#include "reals.h"

#define DATA_ROWS 24
#define MOST_ROWS 18  // the widest vector holds 16 examples at once
#define MOST_COLS 70

typedef enum { ORDINARY, TIES, EXTREME, NUMBERS } numbers;

// One call of the kernel: rows rows of n outputs.
typedef struct {
    const mlp_kernels *k;
    mlp_loss loss;
    int by_label, weighted, indexed;
    numbers kind;
    int64_t rows, n;
    guarded_side side;
} problem;

enum { OUT, DELTA, LABELS, TARGETS, WEIGHTS, INDEX, ROW_LOSS, ROW_CORRECT, SCRATCH, BUFFERS };
static guarded buffers[BUFFERS];
static void *array[BUFFERS];
static size_t array_bytes[BUFFERS];

// The same numbers as doubles.
static double out[MOST_ROWS][MOST_COLS], target[DATA_ROWS][MOST_COLS], weight[DATA_ROWS];
static int32_t label[DATA_ROWS];

static const int64_t indices[MOST_ROWS] = {7, 0, DATA_ROWS - 1, 3, 3, 9, 8, 1, 20, 19, 18, 3, 2, 5, 6, 11, 13, 22};
#define FIRST (DATA_ROWS - MOST_ROWS)  // without an index; the last row read is the last there is

static int64_t data_row(const problem *p, int64_t i) { return p->indexed ? indices[i] : FIRST + i; }

static void describe(const problem *p, const char *what) {
    static const char *const name[] = {"cross entropy", "binary cross entropy", "half squared error", "squared error"};
    doing("%s %s %s of %s: %d rows of %d, numbers %d, %s%s%s", p->k->isa, dtype_name(p->k), what, name[p->loss],
          (int)p->rows, (int)p->n, (int)p->kind, p->by_label ? "labels" : "targets", p->weighted ? ", weights" : "",
          p->indexed ? ", index" : "");
}

// ---- Numbers ----

static double draw_output(const problem *p) {
    static const double extreme[] = {1e4, -1e4, 1e30, -1e30, 0, 88, -104, 1e-30};
    int squares = p->loss == MLP_HALF_SQUARED_ERROR || p->loss == MLP_SQUARED_ERROR;
    if (p->kind == TIES) return (double)random_below(3) - 1;
    if (p->kind == EXTREME) return rounded(p->k, extreme[random_below(squares ? 2 : 8)]);
    return rounded(p->k, 8 * random_unit() - 4);
}

// For the cross entropy, probabilities: equal ones at a few columns, or any.
static void draw_distribution(const problem *p, double *y) {
    double total = 0;
    for (int64_t j = 0; j < p->n; j++) total += y[j] = random_unit() + 0.01;
    for (int64_t j = 0; j < p->n; j++) y[j] = rounded(p->k, y[j] / total);
    if (p->kind == ORDINARY) return;
    int64_t equal = random_below(p->n < 4 ? p->n : 4) + 1, start = random_below(p->n - equal + 1);
    for (int64_t j = 0; j < p->n; j++) y[j] = j >= start && j < start + equal ? rounded(p->k, 1.0 / (double)equal) : 0;
}

static double draw_target(const problem *p) {
    if (p->loss != MLP_BINARY_CROSS_ENTROPY) return draw_output(p);
    if (p->kind == TIES) return 0.5 * (double)random_below(3);
    return random_below(2) ? (double)random_below(2) : rounded(p->k, random_unit());
}

static void draw_numbers(const problem *p) {
    for (int64_t i = 0; i < p->rows; i++) {
        for (int64_t j = 0; j < p->n; j++) out[i][j] = draw_output(p);
    }
    for (int64_t r = 0; r < DATA_ROWS; r++) {
        weight[r] = p->weighted ? rounded(p->k, 3 * random_unit()) : 1;
        label[r] = (int32_t)random_below(p->n);
        if (p->loss == MLP_CROSS_ENTROPY) draw_distribution(p, target[r]);
        else for (int64_t j = 0; j < p->n; j++) target[r][j] = draw_target(p);
        for (int64_t j = 0; p->by_label && j < p->n; j++) target[r][j] = j == label[r];
    }
}

// ---- References: each gives the loss of a row, its tolerance in units of epsilon, and the derivative ----

typedef struct {
    double loss, size;
    int right;
    double delta[MOST_COLS];
} wanted_row;

static int64_t first_largest(const double *x, int64_t n) {
    int64_t best = 0;
    for (int64_t j = 1; j < n; j++) best = x[j] > x[best] ? j : best;
    return best;
}

static void cross_entropy(wanted_row *w, const double *z, const double *y, int64_t n) {
    double most = z[first_largest(z, n)], total = 0;
    for (int64_t j = 0; j < n; j++) total += exp(z[j] - most);
    w->size = 1 + log((double)n);
    for (int64_t j = 0; j < n; j++) {
        w->loss += y[j] * (log(total) + (most - z[j]));
        w->size += y[j] * (most - z[j]);
        w->delta[j] = exp(z[j] - most) / total - y[j];
    }
    w->right = first_largest(z, n) == first_largest(y, n);
}

static void binary_cross_entropy(wanted_row *w, const double *z, const double *y, int64_t n) {
    w->right = 1;
    for (int64_t j = 0; j < n; j++) {
        w->loss += (z[j] > 0 ? z[j] : 0) - y[j] * z[j] + log1p(exp(-fabs(z[j])));
        w->size += fabs(z[j]) + 1;
        w->delta[j] = 1 / (1 + exp(-z[j])) - y[j];
        w->right &= (z[j] > 0) == (y[j] > 0.5);
    }
}

static void squared_error(wanted_row *w, const double *a, const double *y, int64_t n, double factor) {
    for (int64_t j = 0; j < n; j++) {
        double r = a[j] - y[j];
        w->loss += factor / 2 * r * r;
        w->delta[j] = factor * r;
    }
    w->size = w->loss;
}

static wanted_row reference(const problem *p, int64_t i) {
    wanted_row w = {0};
    const double *y = target[data_row(p, i)];
    switch (p->loss) {
    case MLP_CROSS_ENTROPY: cross_entropy(&w, out[i], y, p->n); break;
    case MLP_BINARY_CROSS_ENTROPY: binary_cross_entropy(&w, out[i], y, p->n); break;
    case MLP_HALF_SQUARED_ERROR: squared_error(&w, out[i], y, p->n, 1); break;
    default: squared_error(&w, out[i], y, p->n, 2);
    }
    return w;
}

// ---- Calls ----

static void *place(const problem *p, int which, int64_t count, size_t size) {
    array_bytes[which] = (size_t)count * size;
    return array[which] = guarded_place(&buffers[which], array_bytes[which], p->side);
}

static void fill(const problem *p, int which, const double *from, int64_t rows, int64_t cols, int64_t stride) {
    void *to = place(p, which, rows * cols, p->k->real_size);
    for (int64_t i = 0; i < rows * cols; i++) put(p->k, to, i, from[i / cols * stride + i % cols]);
}

static void lay_out(const problem *p) {
    fill(p, OUT, out[0], p->rows, p->n, MOST_COLS);
    void *delta = place(p, DELTA, p->rows * p->n, p->k->real_size);
    memset(delta, CANARY, array_bytes[DELTA]);
    array[LABELS] = array[TARGETS] = array[WEIGHTS] = array[INDEX] = NULL;
    if (p->by_label) memcpy(place(p, LABELS, DATA_ROWS, sizeof *label), label, sizeof label);
    else fill(p, TARGETS, target[0], DATA_ROWS, p->n, MOST_COLS);
    if (p->weighted) fill(p, WEIGHTS, weight, DATA_ROWS, 1, 1);
    if (p->indexed) memcpy(place(p, INDEX, p->rows, sizeof *indices), indices, (size_t)p->rows * sizeof *indices);
    place(p, ROW_LOSS, p->rows, sizeof(double));
    place(p, ROW_CORRECT, p->rows, sizeof(double));
}

static int call(const problem *p, const mlp_kernels *k, void *delta, double *row_loss, double *row_correct) {
    mlp_data data = {.labels = array[LABELS], .targets = array[TARGETS], .weights = array[WEIGHTS], .n = DATA_ROWS};
    void *scratch = guarded_place(&buffers[SCRATCH], k->scratch_bytes(1, p->n), AT_END);
    return k->loss(delta, row_loss, row_correct, array[OUT], p->loss, &data, array[INDEX], FIRST, p->rows, p->n,
                   scratch);
}

static int call_here(const problem *p, void *delta) {
    return call(p, p->k, delta, array[ROW_LOSS], array[ROW_CORRECT]);
}

static int is_near(double got, double wanted, double tolerance) { return fabs(got - wanted) <= tolerance; }

static int row_is_good(const problem *p, int64_t i) {
    wanted_row w = reference(p, i);
    double factor = weight[data_row(p, i)], unit = (16 + (double)p->n) * epsilon(p->k);
    if (!is_near(((double *)array[ROW_LOSS])[i], factor * w.loss, unit * factor * w.size)) return 0;
    if (!same(((double *)array[ROW_CORRECT])[i], w.right ? factor : 0)) return 0;
    for (int64_t j = 0; j < p->n; j++) {
        double tolerance = unit * factor * (1 + fabs(w.delta[j]));
        if (!is_near(get(p->k, array[DELTA], i * p->n + j), factor * w.delta[j], tolerance)) return 0;
    }
    return 1;
}

// Another call gave these: they must be those in the arrays.
static int same_rows(const problem *p, const double *row_loss, const double *row_correct) {
    for (int64_t i = 0; i < p->rows; i++) {
        if (!same(row_loss[i], ((double *)array[ROW_LOSS])[i])) return 0;
        if (!same(row_correct[i], ((double *)array[ROW_CORRECT])[i])) return 0;
    }
    return 1;
}

static void check_other_ways(const problem *p, const mlp_kernels *first) {
    static double other[MOST_ROWS * MOST_COLS];  // as memory alone, for either dtype
    double row_loss[MOST_ROWS], row_correct[MOST_ROWS];
    size_t bytes = array_bytes[DELTA];
    void *delta = malloc(sizeof other);
    if (!delta) exit(3);
    CHECK(call(p, first, delta, row_loss, row_correct) == 1);
    CHECK(same_rows(p, row_loss, row_correct) && same_array(p->k, delta, array[DELTA], p->rows * p->n));
    memcpy(other, array[OUT], bytes);
    CHECK(call(p, p->k, NULL, row_loss, row_correct) == 1);
    CHECK(same_rows(p, row_loss, row_correct) && memcmp(other, array[OUT], bytes) == 0);
    CHECK(call(p, p->k, array[OUT], row_loss, row_correct) == 1);  // in place, and last: the outputs are gone
    CHECK(same_rows(p, row_loss, row_correct) && same_array(p->k, array[OUT], array[DELTA], p->rows * p->n));
    free(delta);
}

static void check_loss(const problem *p, const mlp_kernels *first) {
    describe(p, "loss");
    draw_numbers(p);
    lay_out(p);
    CHECK(call_here(p, array[DELTA]) == 1);
    for (int64_t i = 0; i < p->rows; i++) CHECK(row_is_good(p, i));
    for (int64_t i = 0; i < p->rows * p->n; i++) {
        if (!CHECK(same(get(p->k, array[OUT], i), out[i / p->n][i % p->n]))) break;
    }
    if (p->rows > 0) check_other_ways(p, first);
    for (int which = 0; which < BUFFERS; which++) {
        if (array[which]) CHECK(guarded_intact(&buffers[which], array_bytes[which], p->side));
    }
}

static void test_sizes(problem p, const mlp_kernels *first, int quick) {
    for (p.n = 1; p.n <= MOST_COLS; p.n += quick && p.n > 34 ? 7 : 1) {
        for (int kind = 0; kind < NUMBERS; kind++) {
            p.kind = (numbers)kind;
            for (p.rows = 0; p.rows <= MOST_ROWS; p.rows += p.rows < 3 ? 1 : 5) {
                p.side = (p.n + p.rows) % 4 ? AT_END : AT_BEGIN;
                check_loss(&p, first);
            }
        }
    }
}

// ---- What is not finite ----

// A NaN among the outputs, anywhere, is told, and leaves the other rows as they are.
static void check_nan(problem p, int64_t i, int64_t j, double bad) {
    double row_loss[MOST_ROWS], row_correct[MOST_ROWS];
    describe(&p, "what is not finite");
    lay_out(&p);
    CHECK(call_here(&p, array[DELTA]) == 1);
    put(p.k, array[OUT], i * p.n + j, bad);
    CHECK(call(&p, p.k, array[DELTA], row_loss, row_correct) == 0);
    CHECK(call(&p, p.k, NULL, row_loss, row_correct) == 0);
    CHECK(!isfinite(row_loss[i]));
    for (int64_t r = 0; r < p.rows; r++) CHECK(r == i || same(row_loss[r], ((double *)array[ROW_LOSS])[r]));
}

static void test_not_finite(problem p) {
    p.rows = 3;
    for (p.n = 1; p.n <= 35; p.n++) {
        draw_numbers(&p);
        for (int64_t i = 0; i < p.rows; i++) {
            for (int64_t j = 0; j < p.n; j++) check_nan(p, i, j, (i + j) % 2 ? NAN : INFINITY);
        }
    }
}

// Finite outputs whose loss overflows, a weight and a target that are NaN.
static void test_overflow(problem p) {
    p.rows = 1, p.n = 3, p.weighted = 1, p.by_label = 0;
    draw_numbers(&p);
    describe(&p, "overflow");
    lay_out(&p);
    double most = p.k->dtype == MLP_FLOAT32 ? (double)FLT_MAX : DBL_MAX;
    for (int64_t j = 0; j < p.n; j++) put(p.k, array[OUT], j, j % 2 ? most : -most);
    if (p.loss >= MLP_HALF_SQUARED_ERROR) CHECK(call_here(&p, array[DELTA]) == 0);
    lay_out(&p);
    put(p.k, array[TARGETS], data_row(&p, 0) * p.n + 1, NAN);
    CHECK(call_here(&p, array[DELTA]) == 0);
    lay_out(&p);
    put(p.k, array[WEIGHTS], data_row(&p, 0), NAN);
    CHECK(call_here(&p, array[DELTA]) == 0);
}

static void test_table(const mlp_kernels *k, const mlp_kernels *first, int quick) {
    for (int loss = 0; loss < MLP_LOSSES; loss++) {
        for (int options = 0; options < 8; options++) {
            problem p = {.k = k, .loss = (mlp_loss)loss, .by_label = options & 1, .weighted = options >> 1 & 1,
                         .indexed = options >> 2};
            if (p.by_label && loss != MLP_CROSS_ENTROPY) continue;
            test_sizes(p, first, quick);
            test_not_finite(p);
            test_overflow(p);
        }
    }
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 1200);
    for (int which = 0; which < BUFFERS; which++) {
        buffers[which] = guarded_create(1 << 18);
    }
    const mlp_kernels *k;
    for (int i = 0; (k = every_table(i)) != NULL; i++) test_table(k, every_table(i % 2), quick);
    for (int which = 0; which < BUFFERS; which++) guarded_destroy(&buffers[which]);
    return check_end("test_losses");
}
