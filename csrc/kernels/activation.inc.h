// Activations g and their derivatives, on (rows, cols) with a row stride. Template parameters: a simd/*.h.
//
// A derivative is a function of a = g(z) where a determines it, so that z need not be stored; for activations with the
// trait MLP_IN_Z it is a function of z. Formulas and sources are in mlpfast/activations.py. Arguments are bounded where
// infinity times zero would give NaN; NaN is preserved.

typedef struct {
    vreal z, a, alpha;  // name_value may use z and alpha; name_derivative a or z (see above), and alpha
} point;
typedef vreal point_function(point p);

SIMD vreal identity_value(point p) { return p.z; }
SIMD vreal identity_derivative(point p) {
    (void)p;
    return v_set1(1);
}

// ---- Rectifiers ----

SIMD vreal relu_value(point p) { return v_max(v_zero(), p.z); }  // v_max returns its second operand for NaN
// y, but NaN where x is NaN.
SIMD vreal unless_nan(vreal x, vreal y) { return v_select(v_eq(x, x), y, x); }
// below where x <= 0, above elsewhere, NaN for NaN.
SIMD vreal either(vreal x, vreal below, vreal above) {
    return unless_nan(x, v_select(v_lt(v_zero(), x), above, below));
}
SIMD vreal relu_derivative(point p) { return v_select(v_lt(v_zero(), p.a), v_set1(1), v_sub(p.a, p.a)); }

SIMD vreal leaky_relu_value(point p) { return v_select(v_lt(v_zero(), p.z), p.z, v_mul(p.alpha, p.z)); }
// alpha >= 0: a has the sign of z
SIMD vreal leaky_relu_derivative(point p) { return either(p.a, p.alpha, v_set1(1)); }
SIMD vreal prelu_value(point p) { return leaky_relu_value(p); }
SIMD vreal prelu_derivative(point p) { return either(p.z, p.alpha, v_set1(1)); }

SIMD vreal elu_value(point p) {
    vreal below = v_mul(p.alpha, expm1_down(v_min(v_zero(), p.z)));
    return v_select(v_lt(v_zero(), p.z), p.z, below);
}
SIMD vreal elu_derivative(point p) { return v_select(v_lt(v_zero(), p.a), v_set1(1), v_add(p.a, p.alpha)); }

#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_ALPHA ((real)1.6732632423543772848170429916717)
SIMD vreal selu_value(point p) {
    p.alpha = v_set1(SELU_ALPHA);
    return v_mul(v_set1(SELU_SCALE), elu_value(p));
}
SIMD vreal selu_derivative(point p) {
    vreal scale = v_set1(SELU_SCALE);
    return v_select(v_lt(v_zero(), p.a), scale, v_add(p.a, v_set1(SELU_SCALE * SELU_ALPHA)));
}

// ---- z times a gate ----

#define GATE_CLOSED ((real)1000)  // for |z| above, every gate here is exactly 0 or 1

SIMD vreal bounded(vreal x, real limit) { return v_max(v_set1(-limit), v_min(v_set1(limit), x)); }
SIMD vreal below_only(vreal z) { return v_max(v_set1(-GATE_CLOSED), z); }

// z Phi(z), and Phi(z) + z phi(z): distribution and density of the standard normal.
SIMD vreal gelu_value(point p) { return v_mul(below_only(p.z), normal_of(p.z).cdf); }
SIMD vreal gelu_derivative(point p) {
    normal n = normal_of(p.z);
    return v_fma(bounded(p.z, GATE_CLOSED), n.pdf, n.cdf);
}

// z sigmoid(u), u = 2 sqrt(2/pi) (z + 0.044715 z^3); 1/2 (1 + tanh(u/2)) is sigmoid(u).
#define GELU_TANH_1 ((real)1.5957691216057307117597842397375)
#define GELU_TANH_3 ((real)0.071354816272600247)
SIMD vreal gelu_tanh_u(vreal z) {
    return v_mul(z, v_fma(v_mul(z, z), v_set1(GELU_TANH_3), v_set1(GELU_TANH_1)));
}
// s + z s (1 - s) u'
SIMD vreal gate_slope(vreal z, vreal u, vreal du) {
    sigmoid_parts g = sigmoid_split(u);
    return v_fma(v_mul(z, v_mul(g.s, g.rest)), du, g.s);
}
SIMD vreal gelu_tanh_value(point p) {
    return v_mul(below_only(p.z), v_sigmoid(gelu_tanh_u(bounded(p.z, GATE_CLOSED))));
}
SIMD vreal gelu_tanh_derivative(point p) {
    vreal z = bounded(p.z, GATE_CLOSED);
    return gate_slope(z, gelu_tanh_u(z), v_fma(v_mul(z, z), v_set1(3 * GELU_TANH_3), v_set1(GELU_TANH_1)));
}

SIMD vreal silu_value(point p) { return v_mul(below_only(p.z), v_sigmoid(p.z)); }
SIMD vreal silu_derivative(point p) { return gate_slope(bounded(p.z, GATE_CLOSED), p.z, v_set1(1)); }

// t = tanh(log(1 + e^z)) = n / (n + 2), n = e^z (e^z + 2), and t' = 4 e^z (1 + e^z) / (n + 2)^2. For z > 0 numerators
// and denominators are divided by powers of e^z, so that only e = e^-|z| <= 1 is computed.
typedef struct {
    vreal t, slope;
} mish_gate;
SIMD mish_gate mish_gate_of(vreal z) {
    vreal one = v_set1(1), two = v_set1(2), e = exp_down(minus_size(z));
    vreal low = v_mul(e, v_add(e, two)), high = v_fma(two, e, one);
    vmask positive = v_lt(v_zero(), z);
    vreal below = v_select(positive, v_fma(v_mul(two, e), e, high), v_add(low, two));
    vreal above = v_mul(v_fma(e, e, e), v_select(positive, e, one));
    mish_gate g = {v_div(v_select(positive, high, low), below), v_div(v_mul(v_set1(4), above), v_mul(below, below))};
    return g;
}
SIMD vreal mish_value(point p) { return v_mul(below_only(p.z), mish_gate_of(p.z).t); }
SIMD vreal mish_derivative(point p) {
    mish_gate g = mish_gate_of(p.z);
    return v_fma(bounded(p.z, GATE_CLOSED), g.slope, g.t);
}

// (z + 3) / 6 limited to [0, 1]. At z = -3 and z = 3 the derivative is that of the constant parts.
SIMD vreal hard_gate(vreal z) {
    vreal line = v_mul(v_add(z, v_set1(3)), v_set1((real)1 / 6));  // exact at z = -3 and 3
    return v_max(v_zero(), v_min(v_set1(1), line));
}
SIMD vreal hard_sigmoid_value(point p) { return hard_gate(p.z); }
SIMD vreal hard_sigmoid_derivative(point p) {
    vreal six = v_set1((real)1 / 6);
    return either(p.a, v_zero(), v_select(v_lt(p.a, v_set1(1)), six, v_zero()));
}
SIMD vreal hard_swish_value(point p) { return v_mul(below_only(p.z), hard_gate(p.z)); }
SIMD vreal hard_swish_derivative(point p) {
    vreal line = v_fma(p.z, v_set1((real)1 / 3), v_set1((real)0.5));
    vreal up_to_3 = v_select(v_lt(p.z, v_set1(3)), line, v_set1(1));
    return unless_nan(p.z, v_select(v_lt(v_set1(-3), p.z), up_to_3, v_zero()));
}

// ---- Other activations ----

SIMD vreal sigmoid_value(point p) { return v_sigmoid(p.z); }
SIMD vreal sigmoid_derivative(point p) { return v_mul(p.a, v_sub(v_set1(1), p.a)); }
SIMD vreal tanh_value(point p) { return v_tanh(p.z); }
// 1 - a^2, rounded once
SIMD vreal tanh_derivative(point p) { return v_fma(v_sub(v_zero(), p.a), p.a, v_set1(1)); }
SIMD vreal exp_value(point p) { return v_exp(p.z); }
SIMD vreal exp_derivative(point p) { return p.a; }
SIMD vreal sign_value(point p) { return unless_nan(p.z, v_sign(p.z)); }
SIMD vreal sign_derivative(point p) { return v_sub(p.a, p.a); }

// log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)
SIMD vreal softplus_value(point p) {
    return v_add(v_max(v_zero(), p.z), v_log1p_unit(exp_down(minus_size(p.z))));
}
SIMD vreal softplus_derivative(point p) { return v_sigmoid(p.z); }

// z / (1 + |z|), 1 / (1 + |z|)^2
#define SOFTSIGN_ONE ((real)0x1p60)
SIMD vreal softsign_below(vreal z) { return v_sub(v_set1(1), minus_size(z)); }
SIMD vreal softsign_value(point p) {
    vreal z = bounded(p.z, SOFTSIGN_ONE);
    return v_div(z, softsign_below(z));
}
SIMD vreal softsign_derivative(point p) {
    vreal below = softsign_below(bounded(p.z, SOFTSIGN_ONE));
    return v_div(v_set1(1), v_mul(below, below));
}

// Softmax needs whole rows (softmax_forward) and a custom activation is called from step.c; here both are the identity.
#define softmax_value identity_value
#define softmax_derivative identity_derivative
#define custom_value identity_value
#define custom_derivative identity_derivative

// ---- Over rows ----

// alpha of the columns from j on: `each` for all of them, unless every column has its own slope.
SIMD vreal alpha_at(const real *slopes, vreal each, int64_t j, int lanes) {
    return slopes ? v_load_part(slopes + j, lanes) : each;
}
SIMD vreal alpha_of_all(mlp_unit g) { return v_set1(g.shared ? *(const real *)g.slopes : (real)g.alpha); }

// slopes is a compile-time NULL for activations without learned slopes.
SIMD void map_rows(real *out, int64_t out_ld, const real *z, int64_t z_ld, int64_t rows, int64_t cols, vreal alpha,
                   const real *slopes, point_function *g) {
    for (; rows > 0; rows--, out += out_ld, z += z_ld) {
        int64_t j = 0;
        for (; j + VL <= cols; j += VL) {
            v_store(out + j, g((point){.z = v_load(z + j), .alpha = alpha_at(slopes, alpha, j, VL)}));
        }
        int rest = (int)(cols - j);
        if (rest) {
            point p = {.z = v_load_part(z + j, rest), .alpha = alpha_at(slopes, alpha, j, rest)};
            v_store_part(out + j, rest, g(p));
        }
    }
}

// out (rows, cols) = g(z).
static SIMD_TARGET void activate(real *out, int64_t out_ld, const real *z, int64_t z_ld, mlp_unit g, int64_t rows,
                                 int64_t cols) {
    const real *slopes = g.shared ? NULL : g.slopes;
    vreal alpha = alpha_of_all(g);
    switch (g.kind) {
#define CASE(number, NAME, name, traits, ...) \
    case number: \
        map_rows(out, out_ld, z, z_ld, rows, cols, alpha, (traits) & MLP_LEARNS_ALPHA ? slopes : NULL, name##_value); \
        break;
        MLP_ACTIVATION_ROWS(CASE)
#undef CASE
    default: break;
    }
}

SIMD void slope_rows(real *out, int64_t out_ld, const real *delta, int64_t delta_ld, const real *kept, int64_t kept_ld,
                     int64_t rows, int64_t cols, vreal alpha, const real *slopes, point_function *slope) {
    for (; rows > 0; rows--, out += out_ld, delta += delta_ld, kept += kept_ld) {
        int64_t j = 0;
        for (; j + VL <= cols; j += VL) {
            vreal at = v_load(kept + j);
            point p = {.z = at, .a = at, .alpha = alpha_at(slopes, alpha, j, VL)};
            v_store(out + j, v_mul(v_load(delta + j), slope(p)));
        }
        int rest = (int)(cols - j);
        if (rest) {
            vreal at = v_load_part(kept + j, rest);
            point p = {.z = at, .a = at, .alpha = alpha_at(slopes, alpha, j, rest)};
            v_store_part(out + j, rest, v_mul(v_load_part(delta + j, rest), slope(p)));
        }
    }
}

// out (rows, cols) = delta * g'(z), computed from kept: z with MLP_IN_Z, else a = g(z).
static SIMD_TARGET void times_derivative(real *out, int64_t out_ld, const real *delta, int64_t delta_ld,
                                           const real *kept, int64_t kept_ld, mlp_unit g, int64_t rows, int64_t cols) {
    const real *slopes = g.shared ? NULL : g.slopes;
    vreal alpha = alpha_of_all(g);
    switch (g.kind) {
#define CASE(number, NAME, name, traits, ...) \
    case number: \
        slope_rows(out, out_ld, delta, delta_ld, kept, kept_ld, rows, cols, alpha, \
                   (traits) & MLP_LEARNS_ALPHA ? slopes : NULL, name##_derivative); \
        break;
        MLP_ACTIVATION_ROWS(CASE)
#undef CASE
    default: break;
    }
}

static SIMD_TARGET void activation_forward(void *a, const void *z, mlp_unit g, int64_t rows, int64_t n) {
    activate(a, n, z, n, g, rows, n);
}

static SIMD_TARGET void activation_backward(void *delta, const void *kept, mlp_unit g, int64_t rows, int64_t n) {
    times_derivative(delta, n, delta, n, kept, n, g, rows, n);
}

// dalpha[0] = the sum of all, in increasing order.
static SIMD_TARGET void sum_slopes(void *dalpha, int64_t n) {
    real *each = dalpha;
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)each[j];
    each[0] = (real)sum;
}

SIMD vreal slopes_of_block(const real *d, const real *z, int64_t rows, int64_t n, int lanes) {
    vreal sum = v_zero();
    for (; rows > 0; rows--, d += n, z += n) {
        sum = v_fma(v_load_part(d, lanes), v_min(v_zero(), v_load_part(z, lanes)), sum);
    }
    return sum;
}

// dalpha_j = sum over rows of d_ij min(z_ij, 0), for d = d loss / d a, in KC blocks, each in increasing row order.
static SIMD_TARGET void slope_gradient(void *dalpha, const void *d, const void *z, int64_t B, int64_t n, int64_t j0,
                                       int64_t j1) {
    for (int64_t j = j0; j < j1; j += VL) {
        int lanes = j1 - j < VL ? (int)(j1 - j) : VL;
        vreal sum = v_zero();
        for (int64_t i = 0; i < B; i += mlp_block_length(B)) {
            int64_t rows = mlp_terms_of_block(B, i), at = i * n + j;
            vreal more = slopes_of_block((const real *)d + at, (const real *)z + at, rows, n, lanes);
            sum = i == 0 ? more : v_add(sum, more);
        }
        v_store_part((real *)dalpha + j, lanes, sum);
    }
}

// ---- Softmax: a_j = exp(z_j - max z) / sum ----

// Over columns of VL rows, one row per lane, in place.
SIMD void softmax_columns(real *columns, int64_t n) {
    vreal total = column_exps(columns, n, column_max(columns, n));
    for (int64_t j = 0; j < n * VL; j += VL) v_store(columns + j, v_div(v_load(columns + j), total));
}

// With p = softmax(z): dp_i / dz_j = p_i ([i = j] - p_j), so delta_j = p_j (d_j - sum_i d_i p_i).
SIMD void softmax_columns_backward(real *d, const real *p, int64_t n) {
    vreal dot = column_dot(d, p, n);
    for (int64_t j = 0; j < n * VL; j += VL) v_store(d + j, v_mul(v_load(p + j), v_sub(v_load(d + j), dot)));
}

static SIMD_TARGET void softmax_forward(void *out, const void *in, int64_t rows, int64_t n, void *scratch) {
    real *a = out, *columns = scratch;
    const real *z = in;
    for (; rows > 0 && n > 0; rows -= VL, a += VL * n, z += VL * n) {
        int count = lanes_at(0, rows);
        load_next_columns(columns, z, n, count);
        softmax_columns(columns, n);
        store_columns(a, columns, n, count);
    }
}

static SIMD_TARGET void softmax_backward(void *inout, const void *in, int64_t rows, int64_t n, void *scratch) {
    real *delta = inout, *d = scratch, *p = d + n * VL;
    const real *a = in;
    for (; rows > 0 && n > 0; rows -= VL, delta += VL * n, a += VL * n) {
        int count = lanes_at(0, rows);
        load_next_columns(d, delta, n, count);
        load_next_columns(p, a, n, count);
        softmax_columns_backward(d, p, n);
        store_columns(delta, d, n, count);
    }
}

// ---- Parts of the outputs with an activation of their own, as columns of VL rows ----

static SIMD_TARGET void activate_columns(real *columns, int64_t n, mlp_activation kind, double alpha) {
    if (kind == MLP_SOFTMAX) softmax_columns(columns, n);
    else activation_forward(columns, columns, (mlp_unit){.kind = kind, .alpha = alpha}, 1, n * VL);
}

// d = d loss / d a becomes d loss / d z; kept as in activation_backward, for softmax a.
static SIMD_TARGET void columns_backward(real *d, const real *kept, int64_t n, mlp_activation kind, double alpha) {
    if (kind == MLP_SOFTMAX) softmax_columns_backward(d, kept, n);
    else activation_backward(d, kept, (mlp_unit){.kind = kind, .alpha = alpha}, 1, n * VL);
}

static SIMD_TARGET void activate_blocks(void *inout, const mlp_output_block *blocks, int64_t n_blocks, int64_t rows,
                                        int64_t n, void *scratch) {
    real *a = inout, *columns = scratch;
    for (; rows > 0; rows -= VL, a += VL * n) {
        int count = lanes_at(0, rows);
        load_next_columns(columns, a, n, count);
        for (int64_t i = 0; i < n_blocks; i++) {
            const mlp_output_block *b = &blocks[i];
            activate_columns(columns + b->first * VL, b->count, b->activation, b->alpha);
        }
        store_columns(a, columns, n, count);
    }
}
