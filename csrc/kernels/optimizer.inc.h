// From a finished tile of sums to the gradient, and from the gradient to the parameters. Template parameters: a
// simd/*.h.
//
//   g = scale * sum + l2 W + l1 sign(W)          sign(0) = 0: the subgradient 0 at 0
//   W = W - lr * g                               without momentum
//   V = momentum * V + g;  W = W - lr * V        momentum:  Polyak (1964), in the form of Sutskever et al. (2013)
//   ...                    W = W - lr * (g + momentum * V)                 nesterov, the same source
//
// Products and sums are rounded one by one, not fused, so that the same lines in NumPy give the same bits.

typedef struct {
    vreal scale, lr, momentum, l1, l2;
    int nesterov, has_l1, has_l2;
} update_rule;

SIMD update_rule rule_of(const mlp_update *u) {
    return (update_rule){
        .scale = v_set1((real)u->scale), .lr = v_set1((real)u->lr), .momentum = v_set1((real)u->momentum),
        .l1 = v_set1((real)u->l1), .l2 = v_set1((real)u->l2),
        .nesterov = u->nesterov, .has_l1 = u->l1 != 0, .has_l2 = u->l2 != 0,
    };
}

SIMD vreal gradient_of(vreal sum, vreal W, const update_rule *rule) {
    vreal g = v_mul(sum, rule->scale);
    if (rule->has_l2) g = v_add(g, v_mul(rule->l2, W));
    if (rule->has_l1) g = v_add(g, v_mul(rule->l1, v_sign(W)));
    return g;
}

// One vector of W, or its first `lanes` numbers; V is NULL without momentum.
SIMD void update_lanes(real *W, real *V, vreal sum, const update_rule *rule, const int part, int lanes) {
    vreal w = part ? v_load_part(W, lanes) : v_load(W);
    vreal g = gradient_of(sum, w, rule);
    if (V) {
        vreal v = v_add(v_mul(rule->momentum, part ? v_load_part(V, lanes) : v_load(V)), g);
        if (part) v_store_part(V, lanes, v);
        else v_store(V, v);
        g = rule->nesterov ? v_add(g, v_mul(rule->momentum, v)) : v;
    }
    w = v_sub(w, v_mul(rule->lr, g));
    if (part) v_store_part(W, lanes, w);
    else v_store(W, w);
}

// W, V (rows, cols), row stride ld, from the sums in tile (rows, cols), row stride tile_ld.
static SIMD_TARGET void update_rows(real *W, real *V, int64_t ld, const real *tile, int64_t tile_ld,
                                    const update_rule *rule_in, int rows, int cols) {
    const update_rule rule = *rule_in;
    for (int r = 0; r < rows; r++, tile += tile_ld) {
        real *w = W + r * ld, *v = V ? V + r * ld : NULL;
        int j = 0;
        for (; j + VL <= cols; j += VL) update_lanes(w + j, v ? v + j : NULL, v_load(tile + j), &rule, 0, VL);
        if (j < cols) update_lanes(w + j, v ? v + j : NULL, v_load(tile + j), &rule, 1, cols - j);
    }
}

static SIMD_TARGET void gradient_rows(real *dW, int64_t dW_ld, const real *W, int64_t W_ld, const real *tile,
                                      int64_t tile_ld, const update_rule *rule, int rows, int cols) {
    for (int r = 0; r < rows; r++, tile += tile_ld) {
        for (int j = 0; j < cols; j += VL) {
            int lanes = lanes_at(j, cols);
            vreal w = v_load_part(W + r * W_ld + j, lanes);
            v_store_part(dW + r * dW_ld + j, lanes, gradient_of(v_load(tile + j), w, rule));
        }
    }
}

// ---- Biases: the sum of delta's rows, in increasing row order ----

SIMD vreal column_sum(const real *delta, int64_t B, int64_t n_out, int lanes) {
    vreal sum = v_zero();
    for (int64_t i = 0; i < B; i++) sum = v_add(sum, v_load_part(delta + i * n_out, lanes));
    return sum;
}

static SIMD_TARGET void update_bias(void *b, void *v, const void *delta, int64_t B, int64_t n_out, int64_t j0,
                                    int64_t j1, const mlp_update *update) {
    mlp_update unpenalised = *update;
    unpenalised.l1 = unpenalised.l2 = 0;
    update_rule rule = rule_of(&unpenalised);
    for (int64_t j = j0; j < j1; j += VL) {
        int lanes = lanes_at(j, j1);
        vreal sum = column_sum((const real *)delta + j, B, n_out, lanes);
        update_lanes((real *)b + j, v ? (real *)v + j : NULL, sum, &rule, 1, lanes);
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
