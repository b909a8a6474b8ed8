// Activations g and their derivatives, on (rows, cols) with a row stride. Template parameters: a simd/*.h.
//
// The derivative is written in a = g(z), so that z need not be kept.

typedef vreal map_function(vreal z);
typedef vreal derivative_function(vreal delta, vreal a);  // delta * g'(z)

SIMD vreal map_identity(vreal z) { return z; }
SIMD vreal map_relu(vreal z) { return v_max(v_zero(), z); }  // the second operand wins for NaN
SIMD vreal map_sigmoid(vreal z) { return v_sigmoid(z); }
SIMD vreal map_tanh(vreal z) { return v_tanh(z); }

// relu: 0 at 0.   sigmoid: a (1 - a).   tanh: 1 - a^2, rounded once.
SIMD vreal back_identity(vreal delta, vreal a) {
    (void)a;
    return delta;
}
SIMD vreal back_relu(vreal delta, vreal a) {
    return v_select(v_lt(v_zero(), a), delta, v_sub(a, a));  // a - a: 0, or NaN for NaN
}
SIMD vreal back_sigmoid(vreal delta, vreal a) { return v_mul(delta, v_mul(a, v_sub(v_set1(1), a))); }
SIMD vreal back_tanh(vreal delta, vreal a) { return v_mul(delta, v_fma(v_sub(v_zero(), a), a, v_set1(1))); }

SIMD void map_rows(real *out, int64_t out_ld, const real *z, int64_t z_ld, int64_t rows, int64_t cols,
                   map_function *g) {
    for (; rows > 0; rows--, out += out_ld, z += z_ld) {
        int64_t j = 0;
        for (; j + VL <= cols; j += VL) v_store(out + j, g(v_load(z + j)));
        int rest = (int)(cols - j);
        if (rest) v_store_part(out + j, rest, g(v_load_part(z + j, rest)));
    }
}

// out (rows, cols) = g(z). Softmax counts as identity: it needs whole rows, see softmax_forward.
static SIMD_TARGET void activate(real *out, int64_t out_ld, const real *z, int64_t z_ld, mlp_activation g,
                                 int64_t rows, int64_t cols) {
    switch (g) {
    case MLP_RELU: map_rows(out, out_ld, z, z_ld, rows, cols, map_relu); break;
    case MLP_SIGMOID: map_rows(out, out_ld, z, z_ld, rows, cols, map_sigmoid); break;
    case MLP_TANH: map_rows(out, out_ld, z, z_ld, rows, cols, map_tanh); break;
    default: map_rows(out, out_ld, z, z_ld, rows, cols, map_identity);
    }
}

SIMD void derivative_rows(real *out, int64_t out_ld, const real *delta, int64_t delta_ld, const real *a, int64_t a_ld,
                          int64_t rows, int64_t cols, derivative_function *back) {
    for (; rows > 0; rows--, out += out_ld, delta += delta_ld, a += a_ld) {
        int64_t j = 0;
        for (; j + VL <= cols; j += VL) v_store(out + j, back(v_load(delta + j), v_load(a + j)));
        int rest = (int)(cols - j);
        if (rest) v_store_part(out + j, rest, back(v_load_part(delta + j, rest), v_load_part(a + j, rest)));
    }
}

// out (rows, cols) = delta * g'(z), a = g(z). Softmax counts as identity, see softmax_backward.
static SIMD_TARGET void through_derivative(real *out, int64_t out_ld, const real *delta, int64_t delta_ld,
                                           const real *a, int64_t a_ld, mlp_activation g, int64_t rows,
                                           int64_t cols) {
    switch (g) {
    case MLP_RELU: derivative_rows(out, out_ld, delta, delta_ld, a, a_ld, rows, cols, back_relu); break;
    case MLP_SIGMOID: derivative_rows(out, out_ld, delta, delta_ld, a, a_ld, rows, cols, back_sigmoid); break;
    case MLP_TANH: derivative_rows(out, out_ld, delta, delta_ld, a, a_ld, rows, cols, back_tanh); break;
    default: derivative_rows(out, out_ld, delta, delta_ld, a, a_ld, rows, cols, back_identity);
    }
}

static SIMD_TARGET void activation_forward(void *a, const void *z, mlp_activation g, int64_t n) {
    activate(a, n, z, n, g, 1, n);
}

static SIMD_TARGET void activation_backward(void *delta, const void *a, mlp_activation g, int64_t n) {
    through_derivative(delta, n, delta, n, a, n, g, 1, n);
}

// ---- Along a row: VL examples at once, each in a lane of its own ----
//
// What goes along a row (a largest number, a sum) goes down the columns here: column j is one vector that holds number j
// of VL rows. A sum is formed in runs of SUM_RUN columns, each one chain of additions in increasing j, and then the runs
// are added in their order: the same everywhere, whatever VL is, and exact enough for a million columns.
#define SUM_RUN 256

// How many of the VL numbers from j on exist in a row of n.
SIMD int lanes_at(int64_t j, int64_t n) { return n - j < VL ? (int)(n - j) : VL; }

// VL rows of VL numbers, transposed: log2(VL) rounds of a perfect shuffle.
SIMD void transpose(vreal *row) {
    UNROLL for (int half = VL / 2; half > 0; half /= 2) {
        vreal next[VL];
        UNROLL for (int r = 0; r < VL / 2; r++) {
            next[2 * r] = v_zip_low(row[r], row[r + VL / 2]);
            next[2 * r + 1] = v_zip_high(row[r], row[r + VL / 2]);
        }
        UNROLL for (int r = 0; r < VL; r++) row[r] = next[r];
    }
}

// columns (n, VL) from count <= VL rows of n numbers, each at a place of its own; the lanes without a row are zero.
SIMD void load_columns(real *columns, const real *const *row, int64_t n, int count) {
    for (int64_t j = 0; j < n; j += VL) {
        int lanes = lanes_at(j, n);
        vreal square[VL];
        UNROLL for (int i = 0; i < VL; i++) square[i] = i < count ? v_load_part(row[i] + j, lanes) : v_zero();
        transpose(square);
        for (int i = 0; i < lanes; i++) v_store(columns + (j + i) * VL, square[i]);
    }
}

// The same from rows that follow each other.
SIMD void load_next_columns(real *columns, const real *rows, int64_t n, int count) {
    const real *row[VL] = {0};
    for (int i = 0; i < count; i++) row[i] = rows + i * n;
    load_columns(columns, row, n, count);
}

SIMD void store_columns(real *rows, const real *columns, int64_t n, int count) {
    for (int64_t j = 0; j < n; j += VL) {
        int lanes = lanes_at(j, n);
        vreal square[VL];
        UNROLL for (int i = 0; i < VL; i++) square[i] = i < lanes ? v_load(columns + (j + i) * VL) : v_zero();
        transpose(square);
        UNROLL for (int i = 0; i < VL; i++) {
            if (i < count) v_store_part(rows + i * n + j, lanes, square[i]);
        }
    }
}

SIMD vreal column_max(const real *columns, int64_t n) {
    vreal most = v_load(columns);
    for (int64_t j = 1; j < n; j++) most = v_max(most, v_load(columns + j * VL));
    return most;
}

SIMD int64_t run_end(int64_t run, int64_t n) { return n - run < SUM_RUN ? n : run + SUM_RUN; }

// columns become e^(z - most); returns their sum.
SIMD vreal column_exps(real *columns, int64_t n, vreal most) {
    vreal sum = v_zero();
    for (int64_t run = 0; run < n; run += SUM_RUN) {
        vreal part = v_zero();
        for (int64_t j = run; j < run_end(run, n); j++) {
            vreal e = v_exp(v_sub(v_load(columns + j * VL), most));
            v_store(columns + j * VL, e);
            part = v_add(part, e);
        }
        sum = v_add(sum, part);
    }
    return sum;
}

SIMD vreal column_dot(const real *x, const real *y, int64_t n) {
    vreal sum = v_zero();
    for (int64_t run = 0; run < n; run += SUM_RUN) {
        vreal part = v_zero();
        for (int64_t j = run; j < run_end(run, n); j++) part = v_fma(v_load(x + j * VL), v_load(y + j * VL), part);
        sum = v_add(sum, part);
    }
    return sum;
}

// ---- Softmax: a_j = exp(z_j - max z) / sum ----

static SIMD_TARGET void softmax_forward(void *out, const void *in, int64_t rows, int64_t n, void *scratch) {
    real *a = out, *columns = scratch;
    const real *z = in;
    for (; rows > 0 && n > 0; rows -= VL, a += VL * n, z += VL * n) {
        int count = lanes_at(0, rows);
        load_next_columns(columns, z, n, count);
        vreal total = column_exps(columns, n, column_max(columns, n));
        for (int64_t j = 0; j < n; j++) v_store(columns + j * VL, v_div(v_load(columns + j * VL), total));
        store_columns(a, columns, n, count);
    }
}

// With p = softmax(z): dp_i / dz_j = p_i ([i = j] - p_j), so delta_j = p_j (d_j - sum_i d_i p_i).
static SIMD_TARGET void softmax_backward(void *inout, const void *in, int64_t rows, int64_t n, void *scratch) {
    real *delta = inout, *d = scratch, *p = d + n * VL;
    const real *a = in;
    for (; rows > 0 && n > 0; rows -= VL, delta += VL * n, a += VL * n) {
        int count = lanes_at(0, rows);
        load_next_columns(d, delta, n, count);
        load_next_columns(p, a, n, count);
        vreal dot = column_dot(d, p, n);
        for (int64_t j = 0; j < n * VL; j += VL) v_store(d + j, v_mul(v_load(p + j), v_sub(v_load(d + j), dot)));
        store_columns(delta, d, n, count);
    }
}
