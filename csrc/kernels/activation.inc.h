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

// ---- Sums along a row ----
//
// A row sum has the same bits in every instruction set because its order is fixed here: element j is added to partial
// sum j mod SUM_LANES, in increasing j; then the partial sums are added in halves, lane i to lane i + 8, then + 4, ...

#define SUM_LANES 16
#define SUM_VECS (SUM_LANES / VL)

typedef struct {
    vreal part[SUM_VECS];
} row_sum;

SIMD row_sum sum_zero(void) {
    row_sum s;
    for (int v = 0; v < SUM_VECS; v++) s.part[v] = v_zero();
    return s;
}

SIMD real sum_total(const row_sum *s) {
    real lane[SUM_LANES];
    for (int v = 0; v < SUM_VECS; v++) v_store(lane + v * VL, s->part[v]);
    for (int half = SUM_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    }
    return lane[0];
}

// The largest of z (n), n >= 1. Where z holds NaN the result may be any of its values; what follows is NaN either way.
SIMD real row_max(const real *z, int64_t n) {
    vreal most = v_set1(z[0]);
    int64_t j = 0;
    for (; j + VL <= n; j += VL) most = v_max(most, v_load(z + j));
    int rest = (int)(n - j);
    if (rest) most = v_max(most, v_keep_first(v_load_part(z + j, rest), rest, most));
    real lane[VL];
    v_store(lane, most);
    for (int i = 1; i < VL; i++) lane[0] = lane[0] > lane[i] ? lane[0] : lane[i];
    return lane[0];
}

// How many of the VL numbers from j on exist in a row of n.
SIMD int lanes_at(int64_t j, int64_t n) { return n - j < VL ? (int)(n - j) : VL; }

// ---- Softmax: a_j = exp(z_j - max z) / sum ----

static SIMD_TARGET void softmax_forward(void *out, const void *in, int64_t rows, int64_t n) {
    real *a = out;
    const real *z = in;
    for (; rows > 0 && n > 0; rows--, a += n, z += n) {
        vreal most = v_set1(row_max(z, n));
        row_sum s = sum_zero();
        for (int64_t j = 0; j < n; j += SUM_LANES) {
            for (int v = 0; v < SUM_VECS && j + v * VL < n; v++) {
                int lanes = lanes_at(j + v * VL, n);
                vreal e = v_exp(v_sub(v_load_part(z + j + v * VL, lanes), most));
                v_store_part(a + j + v * VL, lanes, e);
                s.part[v] = v_add(s.part[v], v_keep_first(e, lanes, v_zero()));
            }
        }
        vreal total = v_set1(sum_total(&s));
        for (int64_t j = 0; j < n; j += VL) {
            int lanes = lanes_at(j, n);
            v_store_part(a + j, lanes, v_div(v_load_part(a + j, lanes), total));
        }
    }
}

// With p = softmax(z): dp_i / dz_j = p_i ([i = j] - p_j), so delta_j = p_j (d_j - sum_i d_i p_i).
static SIMD_TARGET void softmax_backward(void *inout, const void *in, int64_t rows, int64_t n) {
    real *delta = inout;
    const real *a = in;
    for (; rows > 0; rows--, delta += n, a += n) {
        row_sum s = sum_zero();
        for (int64_t j = 0; j < n; j += SUM_LANES) {
            for (int v = 0; v < SUM_VECS && j + v * VL < n; v++) {
                int lanes = lanes_at(j + v * VL, n);
                vreal d = v_load_part(delta + j + v * VL, lanes), p = v_load_part(a + j + v * VL, lanes);
                s.part[v] = v_fma(d, p, s.part[v]);
            }
        }
        vreal dot = v_set1(sum_total(&s));
        for (int64_t j = 0; j < n; j += VL) {
            int lanes = lanes_at(j, n);
            vreal d = v_load_part(delta + j, lanes), p = v_load_part(a + j, lanes);
            v_store_part(delta + j, lanes, v_mul(p, v_sub(d, dot)));
        }
    }
}
