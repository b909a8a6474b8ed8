// Activations and softmax, forward and backward, of every table this machine can run: against their formulas in double,
// and bit for bit against the first table.
#include "check.h"
#include "reals.h"

#define MOST_COLS 140
#define MOST_ROWS 18  // the widest vector holds 16 rows at once
#define MOST (MOST_COLS * MOST_ROWS)

static const char *const activation_name[] = {"identity", "relu", "sigmoid", "tanh", "softmax"};
static const double special[] = {NAN,  INFINITY, -INFINITY, 0.0,   -0.0,    100, -100, 1000,
                                 -1e4, 1e30,     -1e30,     1e-30, -1e-40,  -90, 17,   -17};
#define SPECIALS ((int64_t)(sizeof special / sizeof *special))

static guarded in_buffer, out_buffer, scratch_buffer;
static void *other;  // the same output, come by in another way

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

// ---- Element by element ----

static double forward_of(mlp_activation g, double z) {
    switch (g) {
    case MLP_RELU: return z < 0 ? 0 : z;  // NaN stays
    case MLP_SIGMOID: return 1 / (1 + exp(-z));
    case MLP_TANH: return tanh(z);
    default: return z;
    }
}

static double derivative_of(mlp_activation g, double a) {
    switch (g) {
    case MLP_RELU: return a > 0;  // 0 at 0
    case MLP_SIGMOID: return a * (1 - a);
    case MLP_TANH: return (1 - a) * (1 + a);
    default: return 1;
    }
}

static void check_forward(const mlp_kernels *k, const mlp_kernels *first, mlp_activation g, int64_t n) {
    guarded_side side = side_of(n);
    double numbers[MOST] = {0};
    doing("%s %s forward %s, n %d", k->isa, dtype_name(k), activation_name[g], (int)n);
    for (int64_t i = 0; i < n; i++) {
        numbers[i] = rounded(k, random_below(3) ? 16 * random_unit() - 8 : special[random_below(SPECIALS)]);
    }
    void *z = place(&in_buffer, k, numbers, n, side), *a = guarded_place(&out_buffer, bytes_of(k, n), side);
    k->activation_forward(a, z, g, n);
    int good = 1;
    for (int64_t i = 0; i < n; i++) {
        double wanted = forward_of(g, numbers[i]);
        double tolerance = g <= MLP_RELU ? 0 : 4 * epsilon(k) * fabs(wanted) + tiniest_normal(k);
        good &= is_near(get(k, a, i), wanted, tolerance) && same(get(k, z, i), numbers[i]);
    }
    CHECK(good);
    CHECK(guarded_intact(&out_buffer, bytes_of(k, n), side));
    first->activation_forward(other, z, g, n);
    CHECK(same_array(k, a, other, n));
    k->activation_forward(z, z, g, n);
    CHECK(same_array(k, a, z, n));
    CHECK(guarded_intact(&in_buffer, bytes_of(k, n), side));
}

// Values that g can take, its ends among them.
static double activated(mlp_activation g) {
    double range = 1 - 2.0 * (double)random_below(2);
    if (random_below(8) == 0) range *= (double)random_below(2);
    else range *= random_unit();
    return g == MLP_RELU || g == MLP_SIGMOID ? fabs(range) : range;
}

static void check_backward(const mlp_kernels *k, const mlp_kernels *first, mlp_activation g, int64_t n) {
    guarded_side side = side_of(n);
    double outputs[MOST] = {0}, deltas[MOST] = {0};
    doing("%s %s backward %s, n %d", k->isa, dtype_name(k), activation_name[g], (int)n);
    for (int64_t i = 0; i < n; i++) {
        outputs[i] = rounded(k, activated(g));
        deltas[i] = random_real(k);
        put(k, other, i, deltas[i]);
    }
    void *a = place(&in_buffer, k, outputs, n, side), *delta = place(&out_buffer, k, deltas, n, side);
    k->activation_backward(delta, a, g, n);
    int good = 1;
    for (int64_t i = 0; i < n; i++) {
        double wanted = deltas[i] * derivative_of(g, outputs[i]);
        double tolerance = g <= MLP_RELU ? 0 : 4 * epsilon(k) * fabs(deltas[i]);
        good &= is_near(get(k, delta, i), wanted, tolerance) && same(get(k, a, i), outputs[i]);
    }
    CHECK(good);
    CHECK(guarded_intact(&out_buffer, bytes_of(k, n), side));
    first->activation_backward(other, a, g, n);
    CHECK(same_array(k, delta, other, n));
}

static void test_elements(const mlp_kernels *k, const mlp_kernels *first) {
    for (int g = MLP_IDENTITY; g < MLP_SOFTMAX; g++) {
        for (int64_t n = 0; n <= MOST_COLS; n++) {
            check_forward(k, first, (mlp_activation)g, n);
            check_backward(k, first, (mlp_activation)g, n);
        }
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

// One row of softmax: what it should be, each element within the rounding of its own z - max, and their sum.
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

// A NaN or +infinity spoils the whole of its own row and no other.
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

// delta_j should be the sum over i of d_i dp_i / dz_j, dp_i / dz_j = p_i ([i = j] - p_j).
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
    check_begin(argc, argv, 600);  // quick as it is
    in_buffer = guarded_create(MOST * sizeof(double));
    out_buffer = guarded_create(MOST * sizeof(double));
    scratch_buffer = guarded_create(1 << 20);
    other = malloc(MOST * sizeof(double));
    if (!other) return 3;
    const mlp_kernels *k;
    for (int i = 0; (k = every_table(i)) != NULL; i++) {
        test_elements(k, every_table(i % 2));
        test_softmax(k, every_table(i % 2));
    }
    free(other);
    guarded_destroy(&in_buffer);
    guarded_destroy(&out_buffer);
    guarded_destroy(&scratch_buffer);
    return check_end("test_activations");
}
