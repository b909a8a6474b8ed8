// Every loss of every kernel table this machine supports: value, derivative and correctness of each row against
// formulas in double, and bit for bit against the first table.
#include "check.h"
#include "every.h"
#include "loss.h"
#include "reals.h"

#define MOST_ROWS 18  // more than the 16 lanes of the widest vector
#define MOST_COLS 70

typedef enum { ORDINARY, TIES, EXTREME, NUMBERS } numbers;

// One call of the kernel, for `rows` rows of n outputs.
typedef struct {
    const mlp_kernels *k;
    mlp_loss loss;
    mlp_activation output;
    int by_label, weighted, one_hot;
    int by_entry;     // weights of the entries of y: only the tables are compared
    int has_formula;  // in this file; otherwise only the tables are compared, and Python compares with reference.py
    numbers kind;
    int64_t rows, n;
    guarded_side side;
} problem;

enum { OUT, DELTA, LABELS, TARGETS, WEIGHTS, ENTRIES, ROW_LOSS, ROW_CORRECT, SCRATCH, BUFFERS };
static guarded buffers[BUFFERS];
static void *array[BUFFERS];
static size_t array_bytes[BUFFERS];

// The same arguments as doubles.
static double out[MOST_ROWS][MOST_COLS], target[MOST_ROWS][MOST_COLS], weight[MOST_ROWS];
static int32_t label[MOST_ROWS];

static void describe(const problem *p, const char *what) {
    doing("%s %s %s of %s (%g, smoothing %g, output %d): %d rows of %d, numbers %d, %s%s%s", p->k->isa,
          dtype_name(p->k), what, mlp_loss_rows[p->loss.kind].name, p->loss.parameter, p->loss.label_smoothing,
          (int)p->output, (int)p->rows, (int)p->n, (int)p->kind, p->by_label ? "labels" : "targets",
          p->by_entry ? ", weights of entries" : p->weighted ? ", weights" : "",
          p->one_hot ? ", one-hot" : "");
}

// ---- Numbers ----

static mlp_y y_of(mlp_loss_kind kind) { return mlp_loss_rows[kind].y; }
static int has_two_classes(mlp_loss_kind kind) { return y_of(kind) == MLP_Y_SIGNS; }
static int has_sides(mlp_loss_kind kind) { return mlp_loss_has(kind, MLP_COUNTS) && y_of(kind) != MLP_Y_DISTRIBUTIONS; }

// Extreme numbers whose loss is finite: others would overflow in a square or in e^z.
static double draw_extreme(const problem *p) {
    static const double all[] = {1e4, -1e4, 1e30, -1e30, 0, 88, -104, 1e-30};
    static const double to_exp[] = {80, -1e4, -1e30, 0, -104, 1e-30};
    if (p->loss.kind == MLP_HALF_SQUARED_ERROR || p->loss.kind == MLP_SQUARED_ERROR) return all[random_below(2)];
    if (p->loss.kind == MLP_POISSON && p->output != MLP_SOFTPLUS) return to_exp[random_below(6)];
    return all[random_below(8)];
}

static double draw_output(const problem *p) {
    if (p->kind == TIES) return (double)random_below(3) - 1;
    return rounded(p->k, p->kind == EXTREME ? draw_extreme(p) : 8 * random_unit() - 4);
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
    if (has_two_classes(p->loss.kind)) return random_below(2) ? 1 : -1;
    if (y_of(p->loss.kind) == MLP_Y_NOT_NEGATIVE) return (double)random_below(10);
    if (y_of(p->loss.kind) != MLP_Y_PROBABILITIES) return draw_output(p);
    if (p->kind == TIES) return 0.5 * (double)random_below(3);
    return random_below(2) ? (double)random_below(2) : rounded(p->k, random_unit());
}

// Of the parts of test_parts the first is of classes.
static int64_t columns_of(const problem *p) { return p->loss.kind == MLP_PER_OUTPUT ? p->n - 2 : p->n; }

static void draw_numbers(const problem *p) {
    for (int64_t i = 0; i < p->rows; i++) {
        for (int64_t j = 0; j < p->n; j++) out[i][j] = draw_output(p);
    }
    for (int64_t r = 0; r < MOST_ROWS; r++) {
        weight[r] = p->weighted ? rounded(p->k, 3 * random_unit()) : 1;
        label[r] = (int32_t)random_below(p->n);
        if (y_of(p->loss.kind) == MLP_Y_DISTRIBUTIONS) draw_distribution(p, target[r]);
        else for (int64_t j = 0; j < p->n; j++) target[r][j] = draw_target(p);
        if (p->loss.kind == MLP_PER_OUTPUT) target[r][0] = (double)random_below(2);
        double other = p->one_hot && has_two_classes(p->loss.kind) ? -1 : 0;
        for (int64_t j = 0; (p->by_label || p->one_hot) && j < p->n; j++) target[r][j] = j == label[r] ? 1 : other;
    }
}

// ---- References: each gives the loss of a row, its tolerance in units of epsilon, and the derivative ----

typedef struct {
    double loss, size, right;  // right: a share of the labels
    double delta[MOST_COLS], delta_size[MOST_COLS];  // beside 1 + |delta|
} wanted_row;

static int64_t first_largest(const double *x, int64_t n) {
    int64_t best = 0;
    for (int64_t j = 1; j < n; j++) best = x[j] > x[best] ? j : best;
    return best;
}

static void cross_entropy(wanted_row *w, const double *z, const double *y, int64_t n, double smoothing) {
    double most = z[first_largest(z, n)], total = 0;
    for (int64_t j = 0; j < n; j++) total += exp(z[j] - most);
    w->size = 1 + log((double)n);
    for (int64_t j = 0; j < n; j++) {
        double smoothed = (1 - smoothing) * y[j] + smoothing / (double)n;
        w->loss += smoothed * (log(total) + (most - z[j]));
        w->size += smoothed * (most - z[j]);
        w->delta[j] = exp(z[j] - most) / total - smoothed;
    }
    w->right = first_largest(z, n) == first_largest(y, n);
}

static void binary_cross_entropy(wanted_row *w, const double *z, const double *y, int64_t n, double smoothing) {
    for (int64_t j = 0; j < n; j++) {
        double smoothed = (1 - smoothing) * y[j] + smoothing / 2;
        w->loss += (z[j] > 0 ? z[j] : 0) - smoothed * z[j] + log1p(exp(-fabs(z[j])));
        w->size += fabs(z[j]) + 1;
        w->delta[j] = 1 / (1 + exp(-z[j])) - smoothed;
        w->right += (z[j] > 0) == (y[j] > 0.5);
    }
    w->right /= (double)n;
}

static double log_cosh(double r) {
    double half = sinh(r / 2), size = fabs(r);
    return size < 1 ? log1p(2 * half * half) : size + log1p(exp(-2 * size)) - log(2);
}

// The losses of a residual, which is rounded before it is compared with 0 or d.
static double of_residual(mlp_loss_kind kind, double r, double parameter, double *derivative) {
    double size = fabs(r), sign = r > 0 ? 1 : r < 0 ? -1 : 0, d = parameter, q = parameter;
    switch (kind) {
    case MLP_HALF_SQUARED_ERROR: *derivative = r; return r * r / 2;
    case MLP_SQUARED_ERROR: *derivative = 2 * r; return r * r;
    case MLP_ABSOLUTE_ERROR: *derivative = sign; return size;
    case MLP_HUBER: *derivative = size <= d ? r : d * sign; return size <= d ? r * r / 2 : d * (size - d / 2);
    case MLP_QUANTILE: *derivative = r > 0 ? 1 - q : r < 0 ? -q : 0; return r > 0 ? (1 - q) * r : -q * r;
    default: *derivative = tanh(r); return log_cosh(r);
    }
}

static void error(wanted_row *w, const problem *p, const double *a, const double *y) {
    double parameter = rounded(p->k, p->loss.parameter);
    for (int64_t j = 0; j < p->n; j++) {
        w->loss += of_residual(p->loss.kind, rounded(p->k, a[j] - y[j]), parameter, &w->delta[j]);
    }
    w->size = w->loss;
}

static void poisson(wanted_row *w, const double *z, const double *y, int64_t n, mlp_activation output) {
    for (int64_t j = 0; j < n; j++) {
        double rate = exp(z[j]), log_rate = z[j], slope = rate, ratio = 1;  // of rate; of rate to itself
        if (output == MLP_SOFTPLUS) {
            rate = (z[j] > 0 ? z[j] : 0) + log1p(exp(-fabs(z[j])));
            slope = z[j] < 0 ? exp(z[j]) / (1 + exp(z[j])) : 1 / (1 + exp(-z[j]));
            if (z[j] > -100) log_rate = log(rate), ratio = slope / rate;
        }
        w->loss += rate - y[j] * log_rate;
        w->size += rate + y[j] * (fabs(log_rate) + 1);
        w->delta[j] = slope - y[j] * ratio;
        w->delta_size[j] = y[j];
    }
}

// max(0, edge - y z): on the boundary the derivative is -y for the perceptron, 0 for the hinge.
static void margin(wanted_row *w, const problem *p, const double *z, const double *y) {
    double edge = p->loss.kind == MLP_HINGE;
    for (int64_t j = 0; j < p->n; j++) {
        double over = rounded(p->k, edge - y[j] * z[j]);
        int counts = p->loss.kind == MLP_HINGE ? over > 0 : over >= 0;
        w->loss += over > 0 ? over : 0;
        w->delta[j] = counts ? -y[j] : 0;
        w->right += (z[j] > 0) == (y[j] > 0);
    }
    w->right /= (double)p->n;
    w->size = w->loss;
}

static void hinge_of_labels(wanted_row *w, const problem *p, const double *z, int64_t wanted) {
    int64_t rival = -1;
    for (int64_t j = 0; j < p->n; j++) {
        if (j != wanted && (rival < 0 || z[j] > z[rival])) rival = j;
    }
    w->right = first_largest(z, p->n) == wanted;
    double over = rival < 0 ? 0 : rounded(p->k, 1 + rounded(p->k, z[rival] - z[wanted]));
    if (over <= 0) return;
    w->loss = over, w->size = 1 + fabs(over);
    w->delta[rival] = 1, w->delta[wanted] = -1;
}

static wanted_row reference(const problem *p, int64_t i) {
    wanted_row w = {0};
    const double *y = target[i];
    switch (p->loss.kind) {
    case MLP_CROSS_ENTROPY: cross_entropy(&w, out[i], y, p->n, p->loss.label_smoothing); break;
    case MLP_BINARY_CROSS_ENTROPY: binary_cross_entropy(&w, out[i], y, p->n, p->loss.label_smoothing); break;
    case MLP_POISSON: poisson(&w, out[i], y, p->n, p->output); break;
    case MLP_PERCEPTRON: margin(&w, p, out[i], y); break;
    case MLP_HINGE:
        if (p->by_label) hinge_of_labels(&w, p, out[i], label[i]);
        else margin(&w, p, out[i], y);
        break;
    default: error(&w, p, out[i], y);
    }
    int by_class = p->one_hot && mlp_loss_has(p->loss.kind, MLP_COUNTS);
    if (by_class) w.right = first_largest(out[i], p->n) == first_largest(y, p->n);
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
    array[LABELS] = array[TARGETS] = array[WEIGHTS] = NULL;
    if (p->by_label) memcpy(place(p, LABELS, p->rows, sizeof *label), label, (size_t)p->rows * sizeof *label);
    else fill(p, TARGETS, target[0], p->rows, columns_of(p), MOST_COLS);
    array[ENTRIES] = NULL;
    if (p->by_entry) {
        int64_t count = p->rows * columns_of(p);
        void *entries = place(p, ENTRIES, count, p->k->real_size);
        for (int64_t i = 0; i < count; i++) {
            double w = rounded(p->k, random_below(4) ? random_unit() : 0);
            put(p->k, entries, i, w);
            if (w == 0) put(p->k, array[TARGETS], i, NAN);
        }
    }
    if (p->weighted) fill(p, WEIGHTS, weight, p->rows, 1, 1);
    place(p, ROW_LOSS, p->rows, sizeof(double));
    place(p, ROW_CORRECT, p->rows, sizeof(double));
}

static int call(const problem *p, const mlp_kernels *k, void *delta, double *row_loss, double *row_correct) {
    mlp_truth truth = {.labels = array[LABELS], .targets = array[TARGETS], .weights = array[WEIGHTS],
                       .one_hot = p->one_hot, .entry_weights = array[ENTRIES], .target_cols = columns_of(p)};
    void *scratch = guarded_place(&buffers[SCRATCH], k->scratch_bytes(1, p->n), AT_END);
    return k->loss(delta, row_loss, row_correct, array[OUT], p->loss, p->output, &truth, p->rows, p->n, scratch);
}

static int call_here(const problem *p, void *delta) {
    return call(p, p->k, delta, array[ROW_LOSS], array[ROW_CORRECT]);
}

static int is_near(double got, double wanted, double tolerance) { return fabs(got - wanted) <= tolerance; }

static int row_is_good(const problem *p, int64_t i) {
    if (!p->has_formula || p->by_entry) return isfinite(((double *)array[ROW_LOSS])[i]) != 0;
    wanted_row w = reference(p, i);
    double factor = weight[i], unit = (16 + (double)p->n) * epsilon(p->k);
    double underflow = (double)p->n * tiniest_normal(p->k);  // of squares
    if (!is_near(((double *)array[ROW_LOSS])[i], factor * w.loss, unit * factor * w.size + underflow)) return 0;
    if (!same(((double *)array[ROW_CORRECT])[i], w.right)) return 0;
    for (int64_t j = 0; j < p->n; j++) {
        double tolerance = unit * factor * (1 + fabs(w.delta[j]) + w.delta_size[j]);
        if (!is_near(get(p->k, array[DELTA], i * p->n + j), factor * w.delta[j], tolerance)) return 0;
    }
    return 1;
}

// Compares the results of another call with those in the arrays.
static int same_rows(const problem *p, const double *row_loss, const double *row_correct) {
    for (int64_t i = 0; i < p->rows; i++) {
        if (!same(row_loss[i], ((double *)array[ROW_LOSS])[i])) return 0;
        if (!same(row_correct[i], ((double *)array[ROW_CORRECT])[i])) return 0;
    }
    return 1;
}

static void check_other_ways(const problem *p, const mlp_kernels *first) {
    static double other[MOST_ROWS * MOST_COLS];  // memory for either dtype
    double row_loss[MOST_ROWS], row_correct[MOST_ROWS];
    size_t bytes = array_bytes[DELTA];
    void *delta = malloc(sizeof other);
    if (!delta) exit(3);
    CHECK(call(p, first, delta, row_loss, row_correct) == 1);
    CHECK(same_rows(p, row_loss, row_correct) && same_array(p->k, delta, array[DELTA], p->rows * p->n));
    memcpy(other, array[OUT], bytes);
    CHECK(call(p, p->k, NULL, row_loss, row_correct) == 1);
    CHECK(same_rows(p, row_loss, row_correct) && memcmp(other, array[OUT], bytes) == 0);
    CHECK(call(p, p->k, array[OUT], row_loss, row_correct) == 1);  // in place; last, since it overwrites the outputs
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
            if (p.kind == EXTREME && !p.has_formula) continue;
            for (p.rows = 0; p.rows <= MOST_ROWS; p.rows += p.rows < 3 ? 1 : 5) {
                p.side = (p.n + p.rows) % 4 ? AT_END : AT_BEGIN;
                check_loss(&p, first);
            }
        }
    }
}

// ---- NaN and infinities ----

// Whether output j of row i must make the loss of that row not finite. An infinite output on the right side has loss 0.
static int must_tell(const problem *p, int64_t i, int64_t j, double bad) {
    if (isnan(bad) || !has_two_classes(p->loss.kind)) return 1;
    if (!p->by_label) return bad * target[i][j] < 0;
    return (label[i] == j) == (bad < 0);
}

// NaN in any output is reported, never counts as right, and does not affect other rows; an infinite loss is reported
// too.
static void check_bad(problem p, int64_t i, int64_t j, double bad) {
    double row_loss[MOST_ROWS], row_correct[MOST_ROWS];
    int tells = must_tell(&p, i, j, bad);
    describe(&p, tells ? "what is not finite" : "an infinite output without loss");
    lay_out(&p);
    CHECK(call_here(&p, array[DELTA]) == 1);
    put(p.k, array[OUT], i * p.n + j, bad);
    CHECK(call(&p, p.k, array[DELTA], row_loss, row_correct) == !tells);
    CHECK(call(&p, p.k, NULL, row_loss, row_correct) == !tells);
    CHECK(isfinite(row_loss[i]) == !tells);
    CHECK(!isnan(bad) || same(row_correct[i], 0));
    for (int64_t r = 0; r < p.rows; r++) {
        if (r == i) continue;
        CHECK(same(row_loss[r], ((double *)array[ROW_LOSS])[r]) &&
              same(row_correct[r], ((double *)array[ROW_CORRECT])[r]));
    }
    if (tells) return;
    double kept = out[i][j];
    out[i][j] = bad;
    CHECK(call_here(&p, array[DELTA]) == 1 && row_is_good(&p, i));
    out[i][j] = kept;
}

static void test_not_finite(problem p) {
    p.rows = 3;
    for (p.n = 1; p.n <= 35; p.n++) {
        draw_numbers(&p);
        for (int64_t i = 0; i < p.rows; i++) {
            for (int64_t j = 0; j < p.n; j++) {
                check_bad(p, i, j, (i + j) % 2 || !p.has_formula ? NAN : INFINITY);
                if (p.has_formula && has_two_classes(p.loss.kind)) check_bad(p, i, j, -INFINITY);
            }
        }
    }
}

// Finite outputs whose loss overflows; NaN as a weight and as a target.
static void test_overflow(problem p) {
    p.rows = 1, p.n = 3, p.weighted = 1, p.by_label = 0;
    draw_numbers(&p);
    describe(&p, "overflow");
    lay_out(&p);
    double most = p.k->dtype == MLP_FLOAT32 ? (double)FLT_MAX : DBL_MAX;
    for (int64_t j = 0; j < p.n; j++) {
        put(p.k, array[OUT], j, j % 2 ? most : -most);
        if (has_two_classes(p.loss.kind)) put(p.k, array[TARGETS], j, j % 2 ? -1 : 1);
    }
    int overflows = p.has_formula && p.loss.kind != MLP_CROSS_ENTROPY && p.loss.kind != MLP_BINARY_CROSS_ENTROPY &&
                    p.output != MLP_SOFTPLUS;
    if (overflows) CHECK(call_here(&p, array[DELTA]) == 0);
    lay_out(&p);
    put(p.k, array[TARGETS], 1, NAN);
    CHECK(call_here(&p, array[DELTA]) == 0);
    lay_out(&p);
    put(p.k, array[WEIGHTS], 0, NAN);
    CHECK(call_here(&p, array[DELTA]) == 0);
}

static const struct {
    mlp_loss loss;
    mlp_activation output;
} with_formula[] = {
    {{.kind = MLP_CROSS_ENTROPY}, MLP_SOFTMAX},
    {{.kind = MLP_CROSS_ENTROPY, .label_smoothing = 0.1}, MLP_SOFTMAX},
    {{.kind = MLP_CROSS_ENTROPY, .label_smoothing = 1}, MLP_IDENTITY},
    {{.kind = MLP_BINARY_CROSS_ENTROPY}, MLP_SIGMOID},
    {{.kind = MLP_BINARY_CROSS_ENTROPY, .label_smoothing = 0.2}, MLP_IDENTITY},
    {{.kind = MLP_HALF_SQUARED_ERROR}, MLP_IDENTITY},
    {{.kind = MLP_SQUARED_ERROR}, MLP_TANH},
    {{.kind = MLP_ABSOLUTE_ERROR}, MLP_IDENTITY},
    {{.kind = MLP_HUBER, .parameter = 1}, MLP_IDENTITY},
    {{.kind = MLP_HUBER, .parameter = 0.7}, MLP_RELU},
    {{.kind = MLP_QUANTILE, .parameter = 0.1}, MLP_IDENTITY},
    {{.kind = MLP_QUANTILE, .parameter = 0.75}, MLP_IDENTITY},
    {{.kind = MLP_LOG_COSH}, MLP_IDENTITY},
    {{.kind = MLP_POISSON}, MLP_EXP},
    {{.kind = MLP_POISSON}, MLP_IDENTITY},
    {{.kind = MLP_POISSON}, MLP_SOFTPLUS},
    {{.kind = MLP_PERCEPTRON}, MLP_SIGN},
    {{.kind = MLP_HINGE}, MLP_IDENTITY},
};
#define WITH_FORMULA ((int)(sizeof with_formula / sizeof *with_formula))

static void test_loss(problem p, const mlp_kernels *first, int quick) {
    int takes_labels = mlp_loss_has(p.loss.kind, MLP_BY_CLASS) && !mlp_has(p.output, MLP_STOPS);
    for (int options = 0; options < 16; options++) {
        p.by_label = options & 1, p.weighted = options >> 1 & 1;
        p.one_hot = options >> 2 & 1, p.by_entry = options >> 3;
        if (p.by_entry && (p.by_label || !p.weighted || !mlp_loss_has(p.loss.kind, MLP_BY_ENTRY))) continue;
        if (p.by_label && !takes_labels) continue;
        int no_classes = p.loss.kind == MLP_HALF_SQUARED_ERROR;  // one of those that count nothing as right
        if (p.one_hot && (p.by_label || !(has_sides(p.loss.kind) || no_classes))) continue;
        test_sizes(p, first, quick || p.by_entry);
        if (p.by_entry) continue;
        test_not_finite(p);
        test_overflow(p);
    }
}

// Parts of the outputs: two classes, numbers with an activation, and a mean with its log variance.
static void test_parts(const mlp_kernels *k, const mlp_kernels *first, int quick) {
    for (int64_t n = 5; n <= MOST_COLS; n += quick ? 7 : 1) {
        const mlp_loss_block parts[] = {
            {.of = {.first = n - 2, .count = 2, .activation = MLP_IDENTITY}, .y_first = n - 3, .factor = 0.3,
             .kind = MLP_GAUSSIAN_NLL},
            {.of = {.first = 0, .count = 2, .activation = MLP_SOFTMAX}, .y_first = 0, .factor = 1,
             .kind = MLP_CROSS_ENTROPY, .label_smoothing = 0.1},
            {.of = {.first = 2, .count = n - 4, .activation = n % 2 ? MLP_GELU : MLP_SOFTMAX}, .y_first = 1,
             .factor = 2, .kind = MLP_HUBER, .parameter = 0.3},
        };
        problem p = {.k = k, .loss = {LOSS, .kind = MLP_PER_OUTPUT, .blocks = parts, .n_blocks = 3}, .n = n};
        for (int options = 0; options < 3; options++) {
            p.weighted = options > 0, p.by_entry = options > 1;
            for (p.rows = 1; p.rows <= MOST_ROWS; p.rows += 4) {
                p.side = (n + p.rows) % 2 ? AT_END : AT_BEGIN;
                check_loss(&p, first);
            }
        }
    }
}

// ---- The proportional hazards of a minibatch ----

#define MOST_PATIENTS 40

typedef struct {
    int64_t n;
    int is_weighted;
    double eta[MOST_PATIENTS], time[MOST_PATIENTS], event[MOST_PATIENTS], weight[MOST_PATIENTS];
    double loss[MOST_PATIENTS], slope[MOST_PATIENTS];  // wanted
} cohort;

// Few times, so that there are ties, also of events.
static void draw_cohort(cohort *c, const mlp_kernels *k, int64_t n, int is_weighted, double spread) {
    *c = (cohort){.n = n, .is_weighted = is_weighted};
    for (int64_t i = 0; i < n; i++) {
        c->eta[i] = rounded(k, spread * (random_unit() - 0.5)), c->time[i] = (double)random_below(1 + n / 3);
        c->event[i] = (double)random_below(2);
        c->weight[i] = !is_weighted ? 1 : random_below(4) ? rounded(k, 0.2 + random_unit()) : 0;
    }
}

// The sum of w e^eta of those at risk at time t, or of the events at t; times e^-m.
static double hazards(const cohort *c, double t, int of_events, double m) {
    double sum = 0;
    for (int64_t i = 0; i < c->n; i++) {
        int counts = of_events ? c->event[i] > 0 && c->time[i] == t : c->time[i] >= t;
        if (counts && c->weight[i] > 0) sum += c->weight[i] * exp(c->eta[i] - m);
    }
    return sum;
}

// Efron's partial likelihood, event by event, as it is written in textbooks.
static void expect_hazards(cohort *c) {
    double m = -INFINITY;
    for (int64_t i = 0; i < c->n; i++) m = c->weight[i] > 0 ? fmax(m, c->eta[i]) : m;
    for (int64_t i = 0; i < c->n; i++) {
        if (c->weight[i] == 0 || c->event[i] == 0) continue;
        double t = c->time[i], count = 0, total = 0, all = hazards(c, t, 0, m), tied = hazards(c, t, 1, m);
        for (int64_t j = 0; j < c->n; j++) {
            if (c->event[j] > 0 && c->time[j] == t && c->weight[j] > 0) count++, total += c->weight[j];
        }
        c->loss[i] -= c->weight[i] * c->eta[i];
        c->slope[i] -= c->weight[i];
        for (double l = 0; l < count; l++) {  // each of the tied events has an equal part of each of their terms
            double rest = all - l / count * tied, mean = total / count / count;
            c->loss[i] += mean * (log(rest) + m);
            for (int64_t j = 0; j < c->n; j++) {
                double left = c->event[j] > 0 && c->time[j] == t ? 1 - l / count : 1;
                if (c->time[j] < t || c->weight[j] == 0) continue;
                c->slope[j] += mean * left * c->weight[j] * exp(c->eta[j] - m) / rest;
            }
        }
    }
}

static double hazard_loss[MOST_PATIENTS], hazard_slope[MOST_PATIENTS];

// Returns what mlp_joined_loss does; losses and derivatives are in the two arrays above.
static int call_hazards(const cohort *c, const mlp_kernels *k) {
    size_t bytes = mlp_joined_bytes(c->n), size = k->real_size;
    void *eta = guarded_place(&buffers[OUT], (size_t)c->n * size, AT_END);
    void *slope = guarded_place(&buffers[DELTA], (size_t)c->n * size, AT_END);
    void *y = guarded_place(&buffers[TARGETS], (size_t)c->n * 2 * size, AT_END);
    void *weights = guarded_place(&buffers[WEIGHTS], (size_t)c->n * size, AT_END);
    void *memory = guarded_place(&buffers[SCRATCH], bytes, AT_END);
    for (int64_t i = 0; i < c->n; i++) {
        put(k, eta, i, c->eta[i]), put(k, weights, i, c->weight[i]);
        put(k, y, 2 * i, c->time[i]), put(k, y, 2 * i + 1, c->event[i]);
    }
    mlp_truth truth = {.targets = y, .weights = c->is_weighted ? weights : NULL, .target_cols = 2};
    double alone[MOST_PATIENTS];  // without the derivative
    int finite = mlp_joined_loss(NULL, alone, eta, k->dtype, &truth, c->n, memory);
    CHECK(mlp_joined_loss(slope, hazard_loss, eta, k->dtype, &truth, c->n, memory) == finite);
    for (int64_t i = 0; i < c->n; i++) CHECK(same(alone[i], hazard_loss[i]));
    for (int64_t i = 0; i < c->n; i++) hazard_slope[i] = get(k, slope, i);
    CHECK(guarded_intact(&buffers[SCRATCH], bytes, AT_END));
    return finite;
}

static void test_hazards(const mlp_kernels *k) {
    static cohort c;
    for (int64_t n = 1; n <= MOST_PATIENTS; n++) {
        for (int options = 0; options < 4; options++) {
            doing("%s hazards of %d rows, options %d", dtype_name(k), (int)n, options);
            draw_cohort(&c, k, n, options & 1, options & 2 ? 600 : 4);
            expect_hazards(&c);
            CHECK(call_hazards(&c, k) == 1);
            for (int64_t i = 0; i < n; i++) {
                CHECK(is_near(hazard_loss[i], c.loss[i], 1e-9 * (1 + fabs(c.loss[i]) + fabs(c.eta[i]))));
                CHECK(is_near(hazard_slope[i], c.slope[i], 1e-9 + 4 * epsilon(k) * (1 + fabs(c.slope[i]))));
            }
        }
    }
}

// A log hazard that is not finite leaves no loss of the minibatch known, unless its row has no weight.
static void test_hazards_not_finite(const mlp_kernels *k) {
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    static cohort c;
    for (int b = 0; b < 3; b++) {
        doing("%s hazards with %g", dtype_name(k), bad[b]);
        draw_cohort(&c, k, 20, 1, 4);
        c.weight[3] = 0, c.eta[3] = bad[b];
        CHECK(call_hazards(&c, k) == 1 && hazard_loss[3] == 0 && hazard_slope[3] == 0);
        c.weight[5] = 1, c.eta[5] = bad[b];
        CHECK(call_hazards(&c, k) == 0);
        for (int64_t i = 0; i < c.n; i++) {
            CHECK(c.weight[i] > 0 ? isnan(hazard_loss[i]) && isnan(hazard_slope[i]) : hazard_loss[i] == 0);
        }
    }
    doing("%s hazards whose loss overflows", dtype_name(k));
    draw_cohort(&c, k, 20, 1, 4);
    for (int64_t i = 0; i < c.n; i++) c.event[i] = c.weight[i] = 1;
    c.eta[7] = k->dtype == MLP_FLOAT32 ? -(double)FLT_MAX : -DBL_MAX, c.weight[7] = 4;
    CHECK(call_hazards(&c, k) == (k->dtype == MLP_FLOAT32));  // computed in double
}

static void test_table(const mlp_kernels *k, const mlp_kernels *first, int quick) {
    int seen[MLP_LOSSES] = {0};
    for (int t = 0; t < WITH_FORMULA; t++) {
        problem p = {.k = k, .loss = with_formula[t].loss, .output = with_formula[t].output, .has_formula = 1};
        seen[p.loss.kind] = 1;
        test_loss(p, first, quick);
    }
    test_parts(k, first, quick);
    mlp_loss losses[MOST_LOSSES];
    int n = list_losses(losses);
    for (int i = 0; i < n; i++) {
        if (seen[losses[i].kind]) continue;
        test_loss((problem){.k = k, .loss = losses[i], .output = nth_output(losses[i].kind, 0)}, first, quick);
    }
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 1200);
    for (int which = 0; which < BUFFERS; which++) {
        buffers[which] = guarded_create(1 << 18);
    }
    const mlp_kernels *k;
    for (int i = 0; (k = every_table(i)) != NULL; i++) test_table(k, every_table(i % 2), quick);
    for (int d = 0; d < 2; d++) {
        test_hazards(every_table(d));
        test_hazards_not_finite(every_table(d));
    }
    for (int which = 0; which < BUFFERS; which++) guarded_destroy(&buffers[which]);
    return check_end("test_losses");
}
