// The gradient from a finished tile of sums, and the parameter update from the gradient. Template parameters: a
// simd/*.h.
//
//   g = scale * sum + l2 W + l1 sign(W)          sign(0) = 0: the subgradient 0 at 0
//
// and then the optimizer's rule. Products and sums are rounded separately (no fused multiply-adds), so the same
// formulas in NumPy give the same bits.

#include <float.h>

typedef struct {
    real scale, l1, l2, clip;  // l1, l2, clip: 0 for none
    mlp_optimizer optimizer;
    int nesterov;
    real lr, momentum, beta1, rest1, beta2, rest2, epsilon;  // rest = 1 - beta
    real kept;                 // 1 - lr weight_decay
    real shrink, grow, least_step, most_step;  // of rprop
    real step, correction;     // with MLP_CORRECTS: lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
} update_rule;

// x^n by squaring: the same bits on every platform, which pow does not guarantee.
SIMD double whole_power(double x, int64_t n) {
    double power = 1;
    for (; n > 0; n >>= 1, x *= x) {
        if (n & 1) power *= x;
    }
    return power;
}

// Optimizers that square the gradient (MLP_SQUARES) clip it to MOST_SQUARED: with an infinite square in its state a
// weight would never move again. 2^63, or 2^511 in float64, is the largest power of two whose square, rounding of the
// running mean included, stays below MOST, the largest finite number.
#define MOST_SQUARED (REAL_BITS == 32 ? (real)0x1p63f : (real)0x1p511)
#define MOST (REAL_BITS == 32 ? (real)FLT_MAX : (real)DBL_MAX)

SIMD update_rule rule_of(const mlp_update *u) {
    const mlp_settings *s = u->settings;
    update_rule rule = {.scale = (real)u->scale, .l1 = (real)u->l1, .l2 = (real)u->l2};
    if (!s) return rule;  // only the gradient is computed
    unsigned traits = mlp_optimizer_rows[s->optimizer].traits;
    rule.clip = (real)s->clip_value, rule.optimizer = s->optimizer;
    if (traits & MLP_SQUARES && (rule.clip == 0 || rule.clip > MOST_SQUARED)) rule.clip = MOST_SQUARED;
    rule.lr = (real)u->lr, rule.momentum = (real)u->momentum, rule.nesterov = s->nesterov;
    rule.beta1 = (real)u->momentum, rule.rest1 = (real)(1 - u->momentum);
    rule.beta2 = (real)s->beta2, rule.rest2 = (real)(1 - s->beta2), rule.epsilon = (real)s->epsilon;
    rule.kept = (real)(1 - u->lr * u->weight_decay);
    rule.shrink = (real)s->shrink, rule.grow = (real)s->grow;
    rule.least_step = (real)s->least_step, rule.most_step = (real)s->most_step;
    if (traits & MLP_CORRECTS) {
        // If a schedule changes beta1, the exact correction is 1 minus the product of all beta1 so far. Like PyTorch,
        // this uses the t-th power of the current beta1; both tend to 1.
        rule.step = (real)(u->lr / (1 - whole_power(u->momentum, u->t)));
        double correction = 1 / sqrt(1 - whole_power(s->beta2, u->t));
        rule.correction = (real)correction;
        if (s->epsilon_hat) rule.epsilon = (real)(s->epsilon * correction);
    }
    return rule;
}

SIMD vreal gradient_of(vreal sum, vreal W, const update_rule *rule) {
    vreal g = v_mul(sum, v_set1(rule->scale));
    if (rule->l2 != 0) g = v_add(g, v_mul(v_set1(rule->l2), W));
    if (rule->l1 != 0) g = v_add(g, v_signed(v_set1(rule->l1), W));
    return g;
}

// ---- The optimizers ----

typedef struct {
    vreal W, state[MLP_MOST_STATES];
} moved;
typedef moved optimizer_function(moved p, vreal g, const update_rule *rule);

//   W = W - lr * g                               without momentum
//   V = momentum * V + g;  W = W - lr * V        momentum:  Polyak (1964), in the form of Sutskever et al. (2013)
//   ...                    W = W - lr * (g + momentum * V)                 nesterov, the same source
SIMD moved sgd_step(moved p, vreal g, const update_rule *rule) {
    if (rule->momentum != 0) {
        vreal V = p.state[0] = v_add(v_mul(v_set1(rule->momentum), p.state[0]), g);
        g = rule->nesterov ? v_add(g, v_mul(v_set1(rule->momentum), V)) : V;
    }
    p.W = v_sub(p.W, v_mul(v_set1(rule->lr), g));
    return p;
}

//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2         Kingma and Ba (2015), algorithm 1
//   W = W - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)
// epsilon_hat: the end of their section 2, W = W - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
// weight_decay: first W = W - lr weight_decay W                         Loshchilov and Hutter (2019), AdamW
SIMD moved adam_step(moved p, vreal g, const update_rule *rule) {
    vreal m = p.state[0] = v_add(v_mul(v_set1(rule->beta1), p.state[0]), v_mul(v_set1(rule->rest1), g));
    vreal v = p.state[1] = v_add(v_mul(v_set1(rule->beta2), p.state[1]), v_mul(v_set1(rule->rest2), v_mul(g, g)));
    vreal size = v_add(v_mul(v_sqrt(v), v_set1(rule->correction)), v_set1(rule->epsilon));
    p.W = v_sub(v_mul(v_set1(rule->kept), p.W), v_div(v_mul(v_set1(rule->step), m), size));
    return p;
}

//   v = beta2 v + (1 - beta2) g^2,  W = W - lr g / (sqrt(v) + epsilon)  Tieleman and Hinton (2012)
SIMD moved rmsprop_step(moved p, vreal g, const update_rule *rule) {
    vreal v = p.state[0] = v_add(v_mul(v_set1(rule->beta2), p.state[0]), v_mul(v_set1(rule->rest2), v_mul(g, g)));
    p.W = v_sub(p.W, v_div(v_mul(v_set1(rule->lr), g), v_add(v_sqrt(v), v_set1(rule->epsilon))));
    return p;
}

//   v = v + g^2,  W = W - lr g / (sqrt(v) + epsilon)                    Duchi, Hazan and Singer (2011)
SIMD moved adagrad_step(moved p, vreal g, const update_rule *rule) {
    // The sum is limited for the reason given at MOST_SQUARED; NaN is preserved.
    vreal v = p.state[0] = v_min(v_set1(MOST), v_add(p.state[0], v_mul(g, g)));
    p.W = v_sub(p.W, v_div(v_mul(v_set1(rule->lr), g), v_add(v_sqrt(v), v_set1(rule->epsilon))));
    return p;
}

// iRprop-, Igel and Huesken (2003): each weight has a step D of its own, and of the gradient only the sign counts.
//   D = grow D if g has the sign of the last g, shrink D and g = 0 if it has the other one; W = W - sign(g) D
// The state is the last g, and D, which is 0 before the first step and then starts from lr. With an lr of 0, from a
// factor of the layer, nothing changes; other factors count in the first D alone.
SIMD moved rprop_step(moved p, vreal g, const update_rule *rule) {
    if (rule->lr == 0) return p;
    vreal zero = v_zero(), turn = v_mul(v_sign(g), v_sign(p.state[0]));
    vreal D = v_select(v_eq(p.state[1], zero), v_set1(rule->lr), p.state[1]);
    vreal grown = v_mul(v_set1(rule->grow), D), shrunk = v_mul(v_set1(rule->shrink), D);
    D = v_select(v_lt(zero, turn), grown, v_select(v_lt(turn, zero), shrunk, D));
    D = v_min(v_set1(rule->most_step), v_max(v_set1(rule->least_step), D));
    g = v_select(v_lt(turn, zero), zero, g);
    p.W = v_sub(p.W, v_mul(v_sign(g), D));
    p.state[0] = g, p.state[1] = D;
    return p;
}

// ---- Over rows ----

// Pointers to one position in a parameter, its state and its mask.
typedef struct {
    real *W, *state[MLP_MOST_STATES];
    const real *mask;
} parameter_row;

SIMD parameter_row row_of(const mlp_parameter *p, int64_t at) {
    parameter_row row = {.W = (real *)p->values + at, .mask = p->mask ? (const real *)p->mask + at : NULL};
    for (int i = 0; i < MLP_MOST_STATES; i++) row.state[i] = p->state[i] ? (real *)p->state[i] + at : NULL;
    return row;
}

// x where the mask is not 0, else +0. A multiplication could give -0 or +0, depending on how x was summed.
SIMD vreal masked(vreal x, vreal mask) { return v_select(v_eq(mask, v_zero()), v_zero(), x); }

// Updates `lanes` elements from column j on; part: lanes < VL. states is a compile-time constant at every call site.
SIMD void update_lanes(const parameter_row *row, int64_t j, vreal sum, const update_rule *rule, const int part,
                       int lanes, const int states, optimizer_function *step) {
    moved p = {.W = part ? v_load_part(row->W + j, lanes) : v_load(row->W + j)};
    UNROLL for (int i = 0; i < states; i++) {
        p.state[i] = part ? v_load_part(row->state[i] + j, lanes) : v_load(row->state[i] + j);
    }
    vreal g = gradient_of(sum, p.W, rule), clip = v_set1(rule->clip);
    if (rule->clip != 0) g = v_max(v_sub(v_zero(), clip), v_min(clip, g));
    vreal mask = row->mask ? v_load_part(row->mask + j, lanes) : v_zero();
    if (row->mask) g = masked(g, mask);
    p = step(p, g, rule);
    if (row->mask) p.W = masked(p.W, mask);  // the caller may have written nonzero weights there
    if (part) v_store_part(row->W + j, lanes, p.W);
    else v_store(row->W + j, p.W);
    UNROLL for (int i = 0; i < states; i++) {
        if (part) v_store_part(row->state[i] + j, lanes, p.state[i]);
        else v_store(row->state[i] + j, p.state[i]);
    }
}

SIMD void update_rows_by(const mlp_parameter *to, int64_t at, int64_t ld, const real *tile, int64_t tile_ld,
                         const update_rule *rule_in, int rows, int64_t cols, const int states,
                         optimizer_function *step) {
    const update_rule rule = *rule_in;
    for (int r = 0; r < rows; r++, tile += tile_ld, at += ld) {
        parameter_row row = row_of(to, at);
        int64_t j = 0;
        for (; j + VL <= cols; j += VL) update_lanes(&row, j, v_load(tile + j), &rule, 0, VL, states, step);
        int rest = (int)(cols - j);
        if (rest > 0) update_lanes(&row, j, v_load_part(tile + j, rest), &rule, 1, rest, states, step);
    }
}

// Updates a (rows, cols) part of a parameter, from element `at` on with row stride ld, from the sums in tile (rows,
// cols) with row stride tile_ld.
static SIMD_TARGET void update_rows(const mlp_parameter *to, int64_t at, int64_t ld, const real *tile, int64_t tile_ld,
                                    const update_rule *rule, int rows, int64_t cols) {
    switch (rule->optimizer) {
#define CASE(number, NAME, name, states, moved, traits) \
    case number: \
        if ((traits) & MLP_BARE && rule->momentum == 0) { \
            update_rows_by(to, at, ld, tile, tile_ld, rule, rows, cols, 0, name##_step); \
        } else { \
            update_rows_by(to, at, ld, tile, tile_ld, rule, rows, cols, states, name##_step); \
        } \
        break;
        MLP_OPTIMIZER_ROWS(CASE)
#undef CASE
    default: break;
    }
}

static SIMD_TARGET void gradient_rows(real *dW, int64_t dW_ld, const mlp_parameter *W, int64_t at, int64_t W_ld,
                                      const real *tile, int64_t tile_ld, const update_rule *rule, int rows,
                                      int64_t cols) {
    for (int r = 0; r < rows; r++, tile += tile_ld) {
        parameter_row row = row_of(W, at + r * W_ld);
        for (int64_t j = 0; j < cols; j += VL) {
            int lanes = lanes_at(j, cols);
            vreal g = gradient_of(v_load_part(tile + j, lanes), v_load_part(row.W + j, lanes), rule);
            if (row.mask) g = masked(g, v_load_part(row.mask + j, lanes));
            v_store_part(dW + r * dW_ld + j, lanes, g);
        }
    }
}

// ---- Stored gradients ----

static SIMD_TARGET void apply_gradient(mlp_parameter p, const void *g, int64_t stride, mlp_block block,
                                       const mlp_update *update) {
    update_rule rule = rule_of(update);
    for (int64_t i = block.i0; i < block.i1; i++) {
        int64_t at = i * stride + block.j0;
        update_rows(&p, at, stride, (const real *)g + at, stride, &rule, 1, block.j1 - block.j0);
    }
}

static SIMD_TARGET void scale_gradient(void *g, mlp_parameter p, int64_t stride, mlp_block block,
                                        const mlp_update *update) {
    update_rule rule = rule_of(update);
    for (int64_t i = block.i0; i < block.i1; i++) {
        int64_t at = i * stride + block.j0;
        real *row = (real *)g + at;
        gradient_rows(row, 0, &p, at, 0, row, 0, &rule, 1, block.j1 - block.j0);
    }
}

static SIMD_TARGET void add(void *sum, const void *more, int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; i += VL) {
        int lanes = lanes_at(i, i1);
        real *to = (real *)sum + i;
        v_store_part(to, lanes, v_add(v_load_part(to, lanes), v_load_part((const real *)more + i, lanes)));
    }
}

// One sum per row, in increasing j, so that threads can take rows without changing the result.
static SIMD_TARGET void sum_squares(double *squares, const void *g, int64_t stride, int64_t i0, int64_t i1,
                                    int64_t cols, double factor) {
    for (int64_t i = i0; i < i1; i++) {
        const real *row = (const real *)g + i * stride;
        double sum = 0;
        for (int64_t j = 0; j < cols; j++) {
            double x = (double)row[j] * factor;
            sum += x * x;
        }
        squares[i] = sum;
    }
}

SIMD vreal column_squares(const real *column, int64_t stride, int64_t n_in, int lanes, vreal factor) {
    vreal sum = v_zero();
    for (int64_t i = 0; i < n_in; i++) {
        vreal w = v_mul(v_load_part(column + i * stride, lanes), factor);
        sum = v_fma(w, w, sum);
    }
    return sum;
}

SIMD int has_infinity(vreal v) {
    real lane[VL];
    int found = 0;
    v_store(lane, v);
    for (int i = 0; i < VL; i++) found |= lane[i] == (real)INFINITY;
    return found;
}

// If the squares overflow, the norm is infinite and the factor would be 0. Such columns are measured again after
// scaling by SMALL, so that the sum of 2^31 squares of the largest finite number does not overflow.
#define SMALL (REAL_BITS == 32 ? (real)0x1p-96f : (real)0x1p-530)

static SIMD_TARGET void limit_columns(void *W, int64_t stride, int64_t n_in, int64_t j0, int64_t j1, double most) {
    vreal one = v_set1(1), limit = v_set1((real)most);
    for (int64_t j = j0; j < j1; j += VL) {
        int lanes = lanes_at(j, j1);
        real *column = (real *)W + j;
        vreal norm = v_sqrt(column_squares(column, stride, n_in, lanes, one));
        vreal factor = v_select(v_lt(limit, norm), v_div(limit, norm), one);
        if (has_infinity(norm)) {
            vreal small = v_set1(SMALL), shrunk = v_sqrt(column_squares(column, stride, n_in, lanes, small));
            factor = v_select(v_eq(norm, v_set1((real)INFINITY)), v_mul(v_div(limit, shrunk), small), factor);
        }
        for (int64_t i = 0; i < n_in; i++) {
            v_store_part(column + i * stride, lanes, v_mul(v_load_part(column + i * stride, lanes), factor));
        }
    }
}

// ---- Bias gradients: the sum over delta's rows, in KC blocks ----

// Row i of a block is added to chain i mod SUM_CHAINS, in increasing i; then the chains are added in order. A single
// chain would be bound by the latency of addition and take as long as the whole product of a narrow layer.
#define SUM_CHAINS 4

SIMD vreal sum_of_block(const real *delta, int64_t rows, int64_t n_out, int lanes) {
    vreal sum[SUM_CHAINS];
    UNROLL for (int c = 0; c < SUM_CHAINS; c++) sum[c] = v_zero();
    int64_t i = 0, whole = rows - rows % SUM_CHAINS;
    for (; i < whole; i += SUM_CHAINS) {
        UNROLL for (int c = 0; c < SUM_CHAINS; c++) sum[c] = v_add(sum[c], v_load_part(delta + (i + c) * n_out, lanes));
    }
    UNROLL for (int c = 0; c < SUM_CHAINS; c++) {
        if (i + c < rows) sum[c] = v_add(sum[c], v_load_part(delta + (i + c) * n_out, lanes));
    }
    for (int c = 1; c < SUM_CHAINS; c++) sum[0] = v_add(sum[0], sum[c]);
    return sum[0];
}

SIMD vreal column_sum(const real *delta, int64_t B, int64_t n_out, int lanes) {
    int64_t length = mlp_block_length(B);
    vreal sum = sum_of_block(delta, length, n_out, lanes);
    for (int64_t i = length; i < B; i += length) {
        sum = v_add(sum, sum_of_block(delta + i * n_out, mlp_terms_of_block(B, i), n_out, lanes));
    }
    return sum;
}

static SIMD_TARGET void update_bias(mlp_parameter b, const void *delta, int64_t B, int64_t n_out, int64_t j0,
                                    int64_t j1, const mlp_update *update) {
    mlp_update unpenalised = *update;
    unpenalised.weight_decay = unpenalised.l1 = unpenalised.l2 = 0;
    update_rule rule = rule_of(&unpenalised);
    for (int64_t j = j0; j < j1; j += VL) {
        int lanes = lanes_at(j, j1);
        real sum[VL];
        v_store(sum, column_sum((const real *)delta + j, B, n_out, lanes));
        update_rows(&b, j, 0, sum, 0, &rule, 1, lanes);
    }
}

static SIMD_TARGET void bias_gradient(void *db, const void *delta, int64_t B, int64_t n_out, int64_t j0, int64_t j1,
                                      const mlp_update *update) {
    for (int64_t j = j0; j < j1; j += VL) {
        int lanes = lanes_at(j, j1);
        vreal sum = column_sum((const real *)delta + j, B, n_out, lanes);
        v_store_part((real *)db + j, lanes, v_mul(sum, v_set1((real)update->scale)));
    }
}
