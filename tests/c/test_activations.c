// Activations and softmax, forward and backward, for every kernel table this machine supports: against their formulas
// in long double, and bit for bit against the first table.
#include "check.h"
#include "every.h"
#include "reals.h"

#define MOST_COLS 140
#define MOST_ROWS 18  // more than the 16 lanes of the widest vector
#define MOST (MOST_COLS * MOST_ROWS)

// Largest errors allowed, in ulp of the largest term of the formula: slightly more than test_accuracy finds in millions
// of samples. 0: exact. For gelu_tanh they apply to z > 0; for z < 0 they grow with u, see forward_of. Activations that
// are not in this list are only compared between the tables, and in Python with reference.py.
static const struct {
    int has_formula;
    double forward, derivative;
} known[MLP_ACTIVATIONS] = {
    [MLP_IDENTITY] = {1, 0, 0},       [MLP_RELU] = {1, 0, 0},
    [MLP_LEAKY_RELU] = {1, 0.51, 0},  [MLP_ELU] = {1, 2.5, 0.51},
    [MLP_SELU] = {1, 3.5, 2},         [MLP_HARD_SIGMOID] = {1, 1.5, 0.5},
    [MLP_SIGMOID] = {1, 1.75, 1.75},  [MLP_TANH] = {1, 2, 0.51},
    [MLP_EXP] = {1, 1, 0},            [MLP_SIGN] = {1, 0, 0},
    [MLP_SOFTMAX] = {1, 0, 0},        [MLP_PRELU] = {1, 0.51, 0},
    [MLP_GELU] = {1, 4.5, 4},         [MLP_GELU_TANH] = {1, 3, 3},
    [MLP_SILU] = {1, 3, 3.5},         [MLP_MISH] = {1, 4.5, 5.5},
    [MLP_SOFTPLUS] = {1, 2, 2},       [MLP_SOFTSIGN] = {1, 1.75, 4},
    [MLP_HARD_SWISH] = {1, 3, 1.5},
};

static const double special[] = {NAN,   INFINITY, -INFINITY, 0.0, -0.0, 100, -100, 1000, -1000, -1e4, 1e30, -1e30,
                                 1e300, -1e300, 1e-30,   -1e-40,    -90, 17,   -17, 3,    -3,   -745,  -13.5, -37.6,
                                 0.75, -0.75};
#define SPECIALS ((int64_t)(sizeof special / sizeof *special))

static guarded in_buffer, out_buffer, scratch_buffer, slope_buffer;
static void *other;  // the same output, computed in another way

static size_t bytes_of(const mlp_kernels *k, int64_t n) { return (size_t)n * k->real_size; }

static void *place(const guarded *buffer, const mlp_kernels *k, const double *numbers, int64_t n, guarded_side side) {
    void *array = guarded_place(buffer, bytes_of(k, n), side);
    for (int64_t i = 0; i < n; i++) put(k, array, i, numbers[i]);
    return array;
}

static int is_near(double got, double wanted, double tolerance) {
    return (wanted != wanted && got != got) || got == wanted || fabs(got - wanted) <= tolerance;
}

static guarded_side side_of(int64_t n) { return n % 4 ? AT_END : AT_BEGIN; }

// ---- Formulas, element by element ----

// size is the largest term, whose ulp is the unit of the error. growth is the error that rounding of the argument adds.
typedef struct {
    long double value, size, growth;
} exactly;

static exactly plainly(long double value) { return (exactly){value, fabsl(value), 1}; }

static long double logistic(long double z) { return z < 0 ? expl(z) / (1 + expl(z)) : 1 / (1 + expl(-z)); }

#define SELU_SCALE 1.0507009873554804934193349852946L
#define SELU_ALPHA 1.6732632423543772848170429916717L

// gelu_tanh is z sigmoid(u).
static long double gelu_tanh_u(long double z) {
    return 1.5957691216057307117597842397375L * (z + 0.044715L * z * z * z);
}

// t = tanh(log(1 + e^z)), and 1 - t.
static long double mish_gate(long double z) {
    long double n = expl(z) * (expl(z) + 2);
    return n / (n + 2);
}
static long double mish_rest(long double z) {
    long double n = expl(z) * (expl(z) + 2);
    return 2 / (n + 2);
}

static int is_gated(mlp_activation g) {
    return g == MLP_GELU || g == MLP_GELU_TANH || g == MLP_SILU || g == MLP_MISH;
}

// Sigmoid of a rounded u < 0 is off by |u| times the error of u.
static exactly forward_of(mlp_activation g, long double z, long double alpha) {
    if (is_gated(g) && fabsl(z) > 1000) return plainly(z > 0 ? z : 0);
    switch (g) {
    case MLP_RELU: return plainly(z < 0 ? 0 : z);  // NaN stays
    case MLP_LEAKY_RELU:
    case MLP_PRELU: return plainly(z > 0 ? z : alpha * z);
    case MLP_ELU: return plainly(z > 0 ? z : alpha * expm1l(z));
    case MLP_SELU: return plainly(SELU_SCALE * (z > 0 ? z : SELU_ALPHA * expm1l(z)));
    case MLP_HARD_SIGMOID: return plainly(z <= -3 ? 0 : z >= 3 ? 1 : (z + 3) / 6);
    case MLP_SIGMOID: return plainly(logistic(z));
    case MLP_TANH: return plainly(tanhl(z));
    case MLP_EXP: return plainly(expl(z));
    case MLP_SIGN: return plainly(z > 0 ? 1 : z < 0 ? -1 : z);
    case MLP_GELU: return plainly(z * normal_cdf(z));
    case MLP_GELU_TANH: {
        exactly e = plainly(z * logistic(gelu_tanh_u(z)));
        if (z < 0) e.growth = 1 - gelu_tanh_u(z);
        return e;
    }
    case MLP_SILU: return plainly(z * logistic(z));
    case MLP_MISH: return plainly(z * mish_gate(z));
    case MLP_SOFTPLUS: return plainly((z > 0 ? z : 0) + log1pl(expl(-fabsl(z))));
    case MLP_SOFTSIGN: return plainly(isinf(z) ? copysignl(1, z) : z / (1 + fabsl(z)));
    case MLP_HARD_SWISH: return plainly(z <= -3 ? 0 : z >= 3 ? z : z * (z + 3) / 6);
    default: return plainly(z);
    }
}

static exactly two_terms(long double a, long double b) {
    return (exactly){a + b, fmaxl(fabsl(a), fabsl(b)), 1};
}

// at is z if MLP_IN_Z, else a.
static exactly derivative_of(mlp_activation g, long double at, long double alpha) {
    long double z = at, a = at;
    if (is_gated(g) && fabsl(z) > 1000) return plainly(z > 0);
    switch (g) {
    case MLP_IDENTITY: return plainly(1);
    case MLP_SIGN: return plainly(isnan(a) ? a : 0);
    case MLP_RELU: return plainly(isnan(a) ? a : a > 0);  // 0 at 0
    case MLP_LEAKY_RELU:
    case MLP_PRELU: return plainly(isnan(at) ? at : at > 0 ? 1 : alpha);
    case MLP_ELU: return plainly(a > 0 ? 1 : a + alpha);
    case MLP_SELU: return a > 0 ? plainly(SELU_SCALE) : two_terms(a, SELU_SCALE * SELU_ALPHA);
    case MLP_HARD_SIGMOID: return plainly(isnan(a) ? a : a > 0 && a < 1 ? 1 / 6.0L : 0);
    case MLP_SIGMOID: return plainly(a * (1 - a));
    case MLP_TANH: return plainly((1 - a) * (1 + a));
    case MLP_EXP: return plainly(a);
    case MLP_GELU: return two_terms(normal_cdf(z), z * normal_pdf(z));
    case MLP_GELU_TANH: {
        long double u = gelu_tanh_u(z), du = 1.5957691216057307117597842397375L * (1 + 3 * 0.044715L * z * z);
        exactly e = two_terms(logistic(u), z * logistic(u) * logistic(-u) * du);
        if (z < 0) e.growth = 1 - u;
        return e;
    }
    case MLP_SILU: return two_terms(logistic(z), z * logistic(z) * logistic(-z));
    case MLP_MISH: return two_terms(mish_gate(z), z * (1 + mish_gate(z)) * mish_rest(z) * logistic(z));
    case MLP_SOFTPLUS: return plainly(logistic(z));
    case MLP_SOFTSIGN: {  // 1 / (1 + |z|)^2, and 2^-120 at infinity
        long double below = 1 + fminl(fabsl(z), 0x1p60L);
        return plainly(isnan(z) ? z : 1 / (below * below));
    }
    case MLP_HARD_SWISH: {
        if (!(fabsl(z) < 3)) return plainly(isnan(z) ? z : z > 0);
        return two_terms(z / 3, 0.5L);
    }
    default: return plainly(1);
    }
}

// ---- Errors ----

static long double ulp(const mlp_kernels *k, long double size) {
    int exponent, digits = k->dtype == MLP_FLOAT32 ? 24 : 53, least = k->dtype == MLP_FLOAT32 ? -149 : -1074;
    if (size == 0) return ldexpl(1, least);
    frexpl(size, &exponent);  // size < 2^exponent
    return ldexpl(1, exponent - digits > least ? exponent - digits : least);
}

// NaN must be NaN, and what is beyond the dtype's numbers infinite; then the error in ulp. A gate, or density, that is
// subnormal has lost its last places before it was multiplied by z.
static double error_of(const mlp_kernels *k, mlp_activation g, double argument, double got, exactly wanted) {
    if (!known[g].has_formula) return isnan(argument) && !isnan(got) ? INFINITY : 0;
    double limit = rounded(k, (double)wanted.value);
    if (limit != limit || got != got) return limit != limit && got != got ? 0 : INFINITY;
    if (got == limit && (double)wanted.value == wanted.value) return 0;
    if (isinf(limit) || isinf(got)) return got == limit ? 0 : INFINITY;
    long double unit = ulp(k, wanted.size) * wanted.growth, lost = ulp(k, 0) * (1 + fabsl(argument));
    if (is_gated(g) && lost > unit) unit = lost;
    return (double)(fabsl(got - wanted.value) / unit);
}

// ---- Inputs ----

typedef enum { NUMBER, PER_COLUMN, ONE_FOR_ALL, WAYS } alpha_way;
static const char *const way_name[] = {"a number", "a slope for each column", "one slope"};

// One call over (rows, n).
typedef struct {
    const mlp_kernels *k, *first;
    mlp_activation g;
    alpha_way way;
    int64_t rows, n;
    guarded_side side;
    double alpha[MOST_COLS];  // of each column
    mlp_unit unit;
} problem;

static double draw_alpha(const problem *p) {
    if (random_below(8) == 0) return (double)random_below(3);
    return rounded(p->k, mlp_activation_rows[p->g].least_alpha < 0 ? 4 * random_unit() - 2 : 2 * random_unit());
}

static problem make_problem(const mlp_kernels *k, const mlp_kernels *first, mlp_activation g, alpha_way way,
                            int64_t rows, int64_t n) {
    problem p = {.k = k, .first = first, .g = g, .way = way, .rows = rows, .n = n, .side = side_of(n + rows)};
    double alpha = draw_alpha(&p);
    for (int64_t j = 0; j < n; j++) p.alpha[j] = way == PER_COLUMN ? draw_alpha(&p) : alpha;
    p.unit = (mlp_unit){.kind = g, .alpha = way == NUMBER ? alpha : NAN, .shared = way == ONE_FOR_ALL};
    if (way == PER_COLUMN) p.unit.slopes = place(&slope_buffer, k, p.alpha, n, p.side);
    if (way == ONE_FOR_ALL) p.unit.slopes = place(&slope_buffer, k, &alpha, 1, p.side);
    return p;
}

static void describe(const problem *p, const char *what) {
    doing("%s %s %s %s, %d rows of %d, alpha %s", p->k->isa, dtype_name(p->k), what, mlp_activation_rows[p->g].name,
          (int)p->rows, (int)p->n, way_name[p->way]);
}

static double draw_argument(const mlp_kernels *k) {
    if (random_below(4) == 0) return rounded(k, special[random_below(SPECIALS)]);
    if (random_below(2)) return rounded(k, 16 * random_unit() - 8);
    return rounded(k, ldexp(random_unit() - 0.5, (int)random_below(20) - 10));
}

// ---- Forward ----

static void check_forward(const problem *p) {
    const mlp_kernels *k = p->k;
    int64_t count = p->rows * p->n;
    double numbers[MOST] = {0};
    describe(p, "forward");
    for (int64_t i = 0; i < count; i++) numbers[i] = draw_argument(k);
    void *z = place(&in_buffer, k, numbers, count, p->side);
    void *a = guarded_place(&out_buffer, bytes_of(k, count), p->side);
    k->activation_forward(a, z, p->unit, p->rows, p->n);
    int good = 1;
    for (int64_t i = 0; i < count; i++) {
        exactly wanted = forward_of(p->g, numbers[i], p->alpha[i % p->n]);
        good &= error_of(k, p->g, numbers[i], get(k, a, i), wanted) <= known[p->g].forward;
        good &= same(get(k, z, i), numbers[i]);
    }
    CHECK(good);
    CHECK(guarded_intact(&out_buffer, bytes_of(k, count), p->side));
    p->first->activation_forward(other, z, p->unit, p->rows, p->n);
    CHECK(same_array(k, a, other, count));
    k->activation_forward(z, z, p->unit, p->rows, p->n);
    CHECK(same_array(k, a, z, count));
    CHECK(guarded_intact(&in_buffer, bytes_of(k, count), p->side));
}

// ---- Backward ----

// What is kept of arguments: themselves, or g of them.
static void *place_kept(const problem *p, double *kept) {
    int64_t count = p->rows * p->n;
    for (int64_t i = 0; i < count; i++) kept[i] = draw_argument(p->k);
    void *at = place(&in_buffer, p->k, kept, count, p->side);
    if (!mlp_has(p->g, MLP_IN_Z)) p->k->activation_forward(at, at, p->unit, p->rows, p->n);
    for (int64_t i = 0; i < count; i++) kept[i] = get(p->k, at, i);
    return at;
}

// The derivative itself: the result for a delta of 1.
static void check_derivative(const problem *p, const void *at, const double *kept) {
    const mlp_kernels *k = p->k;
    int good = 1;
    for (int64_t i = 0; i < p->rows * p->n; i++) put(k, other, i, 1);
    k->activation_backward(other, at, p->unit, p->rows, p->n);
    for (int64_t i = 0; i < p->rows * p->n; i++) {
        exactly wanted = derivative_of(p->g, kept[i], p->alpha[i % p->n]);
        good &= error_of(k, p->g, kept[i], get(k, other, i), wanted) <= known[p->g].derivative;
    }
    CHECK(good);
}

static void check_backward(const problem *p) {
    const mlp_kernels *k = p->k;
    int64_t count = p->rows * p->n;
    double kept[MOST] = {0}, deltas[MOST] = {0};
    describe(p, "backward");
    const void *at = place_kept(p, kept);
    check_derivative(p, at, kept);
    for (int64_t i = 0; i < count; i++) deltas[i] = random_real(k);
    void *delta = place(&out_buffer, k, deltas, count, p->side);
    k->activation_backward(delta, at, p->unit, p->rows, p->n);
    int good = 1;
    for (int64_t i = 0; i < count; i++) {
        good &= same(get(k, delta, i), rounded(k, deltas[i] * get(k, other, i))) && same(get(k, at, i), kept[i]);
    }
    CHECK(good);
    CHECK(guarded_intact(&out_buffer, bytes_of(k, count), p->side));
    CHECK(guarded_intact(&in_buffer, bytes_of(k, count), p->side));
    for (int64_t i = 0; i < count; i++) put(k, other, i, deltas[i]);
    p->first->activation_backward(other, at, p->unit, p->rows, p->n);
    CHECK(same_array(k, delta, other, count));
}

static void test_elements(const mlp_kernels *k, const mlp_kernels *first) {
    for (int i = 0; i < KNOWN_ACTIVATIONS; i++) {
        mlp_activation g = nth_activation(i);
        for (int way = 0; way < (mlp_has(g, MLP_LEARNS_ALPHA) ? WAYS : 1); way++) {
            for (int64_t n = 0; n <= MOST_COLS; n++) {
                problem p = make_problem(k, first, g, (alpha_way)way, n % 4, n);
                check_forward(&p);
                check_backward(&p);
                if (way != NUMBER) CHECK(guarded_intact(&slope_buffer, bytes_of(k, way == PER_COLUMN ? n : 1), p.side));
            }
        }
    }
}

// ---- Accuracy ----

// One row of n arguments: the largest errors of g and of its derivative.
static void measure(const mlp_kernels *k, mlp_activation g, const double *z, int64_t n, double *largest,
                    double *worst) {
    problem p = make_problem(k, k, g, NUMBER, 1, 1);
    double alpha = p.alpha[0];
    for (int64_t i = 0; i < n; i++) put(k, in_buffer.begin, i, z[i]);
    k->activation_forward(out_buffer.begin, in_buffer.begin, p.unit, 1, n);
    for (int64_t i = 0; i < n; i++) {
        double error = error_of(k, g, z[i], get(k, out_buffer.begin, i), forward_of(g, z[i], alpha));
        if (error > largest[0]) largest[0] = error, worst[0] = z[i];
    }
    const void *at = mlp_has(g, MLP_IN_Z) ? in_buffer.begin : out_buffer.begin;
    for (int64_t i = 0; i < n; i++) put(k, other, i, 1);
    k->activation_backward(other, at, p.unit, 1, n);
    for (int64_t i = 0; i < n; i++) {
        double kept = get(k, at, i), error = error_of(k, g, kept, get(k, other, i), derivative_of(g, kept, alpha));
        if (error > largest[1]) largest[1] = error, worst[1] = z[i];
    }
}

static double draw_widely(const mlp_kernels *k) {
    if (random_below(2)) return rounded(k, 40 * random_unit() - 20);
    return rounded(k, ldexp(2 * random_unit() - 1, (int)random_below(40) - 30));
}

static void test_accuracy(const mlp_kernels *k, int quick) {
    for (int which = 0; which < KNOWN_ACTIVATIONS; which++) {
        mlp_activation g = nth_activation(which);
        double z[MOST], largest[2] = {0}, worst[2] = {0};
        for (int block = 0; block < (quick ? 4 : 100); block++) {
            for (int64_t i = 0; i < MOST; i++) z[i] = draw_widely(k);
            measure(k, g, z, MOST, largest, worst);
        }
        doing("%s %s accuracy of %s", k->isa, dtype_name(k), mlp_activation_rows[g].name);
        if (!known[g].has_formula) continue;
        printf("%s: %.2f ulp at %a, derivative %.2f ulp at %a\n", check_doing, largest[0], worst[0], largest[1],
               worst[1]);
        CHECK(largest[0] <= known[g].forward && largest[1] <= known[g].derivative);
    }
}

// ---- The gradient of slopes ----

// dalpha_j is a chain of fused multiply-adds down its column; columns outside [j0, j1) are not changed.
static void check_slope_gradient(const mlp_kernels *k, int64_t rows, int64_t n, int64_t j0, int64_t j1) {
    guarded_side side = side_of(n + rows);
    double z[MOST] = {0}, d[MOST] = {0}, before[MOST_COLS] = {0};
    doing("%s %s slope_gradient of %d rows of %d, [%d, %d)", k->isa, dtype_name(k), (int)rows, (int)n, (int)j0,
          (int)j1);
    for (int64_t i = 0; i < rows * n; i++) {
        z[i] = random_below(16) ? random_real(k) : rounded(k, special[random_below(SPECIALS)]);
        d[i] = random_real(k);
    }
    for (int64_t j = 0; j < n; j++) before[j] = random_real(k);
    const void *at = place(&in_buffer, k, z, rows * n, side), *delta = place(&scratch_buffer, k, d, rows * n, side);
    void *out = place(&out_buffer, k, before, n, side);
    k->slope_gradient(out, delta, at, rows, n, j0, j1);
    int good = 1;
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int64_t i = j; i < rows * n; i += n) sum = fused(k, d[i], z[i] > 0 ? 0 : z[i], sum);
        good &= same(get(k, out, j), j >= j0 && j < j1 ? sum : before[j]);
    }
    CHECK(good);
    CHECK(guarded_intact(&out_buffer, bytes_of(k, n), side));
}

// The reference: the sum in double, in order, rounded once.
static void check_sum_of_slopes(const mlp_kernels *k, int64_t n) {
    guarded_side side = side_of(n);
    double each[MOST_COLS] = {0}, sum = 0;
    doing("%s %s sum_slopes of %d", k->isa, dtype_name(k), (int)n);
    for (int64_t j = 0; j < n; j++) {
        each[j] = rounded(k, ldexp(random_unit() - 0.5, (int)random_below(50) - 25));
        sum += each[j];
    }
    void *dalpha = place(&out_buffer, k, each, n, side);
    k->sum_slopes(dalpha, n);
    CHECK(same(get(k, dalpha, 0), rounded(k, sum)));
    CHECK(guarded_intact(&out_buffer, bytes_of(k, n), side));
}

static void test_slopes(const mlp_kernels *k) {
    for (int64_t n = 1; n <= MOST_COLS; n++) {
        for (int64_t rows = 0; rows <= MOST_ROWS; rows += rows < 3 ? 1 : 5) {
            int64_t j0 = random_below(n + 1);
            check_slope_gradient(k, rows, n, 0, n);
            check_slope_gradient(k, rows, n, j0, j0 + random_below(n - j0 + 1));
        }
        check_sum_of_slopes(k, n);
    }
}

// ---- Softmax ----

typedef enum { ORDINARY, WIDE, HUGE_LOGITS, EQUAL, MINUS_INFINITY, LOGITS } logits;

static double logit(logits kind, int64_t j) {
    switch (kind) {
    case WIDE: return 200 * random_unit() - 100;
    case HUGE_LOGITS: return random_below(2) ? 1e4 : -1e4;
    case EQUAL: return 3;
    case MINUS_INFINITY: return j == 0 || random_below(2) ? random_unit() : -INFINITY;
    default: return 6 * random_unit() - 3;
    }
}

static double largest(const double *z, int64_t n) {
    double most = z[0];
    for (int64_t j = 1; j < n; j++) most = z[j] > most ? z[j] : most;
    return most;
}

// Checks one row of softmax: each element within the rounding of its z - max, and their sum.
static int is_softmax(const mlp_kernels *k, const void *a, int64_t at, const double *z, int64_t n) {
    double most = largest(z, n), total = 0, got = 0;
    for (int64_t j = 0; j < n; j++) total += exp(z[j] - most);
    for (int64_t j = 0; j < n; j++) {
        double wanted = exp(z[j] - most) / total, distance = wanted > 0 ? most - z[j] : 0;
        double tolerance = (distance + 16) * epsilon(k) * wanted + tiniest_normal(k);
        if (!is_near(get(k, a, at + j), wanted, tolerance)) return 0;
        got += get(k, a, at + j);
    }
    return fabs(got - 1) <= 8 * epsilon(k);
}

static void *scratch_for(const mlp_kernels *k, int64_t n) {
    return guarded_place(&scratch_buffer, k->scratch_bytes(1, n), AT_END);
}

static void check_softmax(const mlp_kernels *k, const mlp_kernels *first, logits kind, int64_t rows, int64_t n) {
    guarded_side side = side_of(n + rows);
    double numbers[MOST] = {0};
    doing("%s %s softmax of %d rows of %d, logits %d", k->isa, dtype_name(k), (int)rows, (int)n, (int)kind);
    for (int64_t i = 0; i < rows * n; i++) numbers[i] = rounded(k, logit(kind, i % n));
    size_t bytes = bytes_of(k, rows * n);
    void *z = place(&in_buffer, k, numbers, rows * n, side), *a = guarded_place(&out_buffer, bytes, side);
    k->softmax_forward(a, z, rows, n, scratch_for(k, n));
    for (int64_t i = 0; i < rows && n > 0; i++) CHECK(is_softmax(k, a, i * n, numbers + i * n, n));
    CHECK(guarded_intact(&out_buffer, bytes, side));
    first->softmax_forward(other, z, rows, n, scratch_for(first, n));
    CHECK(same_array(k, a, other, rows * n));
    k->softmax_forward(z, z, rows, n, scratch_for(k, n));
    CHECK(same_array(k, a, z, rows * n));
    CHECK(guarded_intact(&in_buffer, bytes, side));
}

// NaN or +infinity makes all of its row NaN, and does not affect other rows.
static void check_spoiled_row(const mlp_kernels *k, int64_t n, int64_t where, double bad) {
    double numbers[MOST] = {0};
    doing("%s %s softmax of rows of %d, %g at %d", k->isa, dtype_name(k), (int)n, bad, (int)where);
    for (int64_t i = 0; i < 3 * n; i++) numbers[i] = rounded(k, logit(ORDINARY, i));
    numbers[n + where] = bad;
    void *a = place(&out_buffer, k, numbers, 3 * n, AT_END);
    k->softmax_forward(a, a, 3, n, scratch_for(k, n));
    CHECK(is_softmax(k, a, 0, numbers, n) && is_softmax(k, a, 2 * n, numbers + 2 * n, n));
    for (int64_t j = 0; j < n; j++) CHECK(isnan(get(k, a, n + j)));
}

// Reference: delta_j = sum over i of d_i dp_i / dz_j, with dp_i / dz_j = p_i ([i = j] - p_j).
static double through_jacobian(const double *d, const double *p, int64_t j, int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += d[i] * p[i] * ((i == j) - p[j]);
    return total;
}

static void check_softmax_backward(const mlp_kernels *k, const mlp_kernels *first, int64_t rows, int64_t n) {
    guarded_side side = side_of(n + rows);
    double p[MOST] = {0}, d[MOST] = {0};
    doing("%s %s softmax backward of %d rows of %d", k->isa, dtype_name(k), (int)rows, (int)n);
    for (int64_t i = 0; i < rows * n; i++) put(k, other, i, logit(ORDINARY, i));
    k->softmax_forward(other, other, rows, n, scratch_for(k, n));
    for (int64_t i = 0; i < rows * n; i++) {
        p[i] = get(k, other, i);
        d[i] = random_real(k);
        put(k, other, i, d[i]);
    }
    void *a = place(&in_buffer, k, p, rows * n, side), *delta = place(&out_buffer, k, d, rows * n, side);
    k->softmax_backward(delta, a, rows, n, scratch_for(k, n));
    int good = 1;
    for (int64_t i = 0; i < rows * n; i++) {
        int64_t row = i - i % n;
        double wanted = through_jacobian(d + row, p + row, i % n, n);
        good &= is_near(get(k, delta, i), wanted, (16 + (double)n) * epsilon(k) * p[i]) && same(get(k, a, i), p[i]);
    }
    CHECK(good);
    CHECK(guarded_intact(&out_buffer, bytes_of(k, rows * n), side));
    first->softmax_backward(other, a, rows, n, scratch_for(first, n));
    CHECK(same_array(k, delta, other, rows * n));
}

static void test_softmax(const mlp_kernels *k, const mlp_kernels *first) {
    for (int64_t n = 0; n <= 70; n++) {
        for (int64_t rows = 0; rows <= MOST_ROWS; rows += rows < 3 ? 1 : 5) {
            for (int kind = 0; kind < LOGITS; kind++) check_softmax(k, first, (logits)kind, rows, n);
            check_softmax_backward(k, first, rows, n);
        }
        for (int64_t where = 0; where < n; where++) {
            check_spoiled_row(k, n, where, where % 2 ? NAN : INFINITY);
        }
    }
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 900);
    in_buffer = guarded_create(MOST * sizeof(double));
    out_buffer = guarded_create(MOST * sizeof(double));
    scratch_buffer = guarded_create(1 << 20);
    slope_buffer = guarded_create(MOST_COLS * sizeof(double));
    other = malloc(MOST * sizeof(double));
    if (!other) return 3;
    const mlp_kernels *k;
    for (int i = 0; (k = every_table(i)) != NULL; i++) {
        test_elements(k, every_table(i % 2));
        test_softmax(k, every_table(i % 2));
        test_slopes(k);
        if (i < 2) test_accuracy(k, quick);
    }
    free(other);
    guarded_destroy(&in_buffer);
    guarded_destroy(&out_buffer);
    guarded_destroy(&scratch_buffer);
    guarded_destroy(&slope_buffer);
    return check_end("test_activations");
}
