// Losses: value and derivative of each row in one pass. Template parameters: a simd/*.h; see kernel_table.h for shapes.
//
// A loss that contains the output activation (MLP_OF_Z) is given z_L, and its derivative is delta_L:
//   softmax  loss = log sum_k e^{z_k} - sum_j y_j z_j  (sum_j y_j = 1),  d loss / d z_j = e^{z_j} / sum_k e^{z_k} - y_j
//   sigmoid  loss = log(1 + e^z) - y z,                                 d loss / d z = 1 / (1 + e^{-z}) - y
//   exp      loss = e^z - y z,                                          d loss / d z = e^z - y
// The others are given a_L, and their derivative is d loss / d a_L.
//
// VL examples are processed at once, one per lane; see columns.inc.h.

#include <string.h>

typedef struct {
    int count;            // number of examples, at most VL
    int64_t n;            // outputs
    real *z;              // (n, VL): columns of z_L or a_L, overwritten by those of delta
    real *y;              // (n, VL): columns of the targets
    const int32_t *label; // (count) class numbers, or NULL if y holds the targets
    vreal label_code;     // class_code of the labels
    int one_hot;          // as in mlp_data
    const real *each;     // columns of the weights of the entries of y, or NULL for all 1
    vreal weight;         // sample weights, which multiply delta; 1 with `each`
    mlp_loss loss;
    mlp_activation output;
} examples;

typedef struct {
    real loss[VL], wrong[VL];  // wrong: number of wrong labels of an example; NaN if one of its outputs is NaN
    double labels;             // labels per example: 1 (its class) or n (one per output); 0 if y are not classes
    real weighed[VL];          // with weights of entries: the sum of those of the labels, in place of `labels`
} outcome;

#if REAL_BITS == 32
typedef uint32_t lane_bits;
#else
typedef uint64_t lane_bits;
#endif

// Class j < 2^30 as a real number that is neither subnormal nor NaN, so that v_eq distinguishes all classes. (More
// classes would need over 64 GB of scratch for VL rows.)
SIMD vreal class_code(int64_t j) { return v_from_bits(vi_set1(ONE_BITS + (lane_bits)j)); }

// In each lane the class code of the largest value, the first one of equals, like numpy.argmax.
SIMD vreal first_max(const real *columns, int64_t n) {
    vreal most = v_load(columns), where = class_code(0);
    for (int64_t j = 1; j < n; j++) {
        vreal x = v_load(columns + j * VL);
        vmask larger = v_lt(most, x);
        most = v_select(larger, x, most);
        where = v_select(larger, class_code(j), where);
    }
    return where;
}

// column_max ignores NaN; a softmax detects it in its sum. Losses without such a sum use this.
SIMD vreal column_max_or_nan(const real *columns, int64_t n) {
    vreal most = v_load(columns);
    for (int64_t j = 1; j < n; j++) most = unless_nan(most, v_max(most, v_load(columns + j * VL)));
    return most;
}

// One label per example, its class. outputs: NaN in lanes with a NaN among the outputs, which never count as right.
SIMD void compare_classes(outcome *to, vreal predicted, vreal wanted, vreal outputs) {
    to->labels = 1;
    v_store(to->wrong, unless_nan(outputs, v_select(v_eq(predicted, wanted), v_zero(), v_set1(1))));
}

// The sums over targets that cross entropy needs: *mass = sum_j y_j, *dot = sum_j y_j (z_j - most).
SIMD void weigh_targets(const examples *e, vreal most, vreal *mass, vreal *dot) {
    *mass = *dot = v_zero();
    for (int64_t first = 0; first < e->n; first += SUM_BLOCK) {
        vreal part = v_zero(), part_dot = v_zero();
        for (int64_t j = first * VL; j < block_end(first, e->n) * VL; j += VL) {
            vreal y = v_load(e->y + j);
            vreal below = v_sub(v_load(e->z + j), most);  // -infinity if the difference overflows
            part = v_add(part, y);
            part_dot = v_fma(y, v_select(v_eq(y, v_zero()), v_zero(), below), part_dot);
        }
        *mass = v_add(*mass, part);
        *dot = v_add(*dot, part_dot);
    }
}

SIMD void weigh_labels(const examples *e, vreal most, vreal *mass, vreal *dot) {
    vreal at_label = v_zero();
    for (int64_t j = 0; j < e->n; j++) {
        at_label = v_select(v_eq(e->label_code, class_code(j)), v_load(e->z + j * VL), at_label);
    }
    *mass = v_set1(1);
    *dot = v_sub(at_label, most);
}

// loss = log(s) sum_j y_j - sum_j y_j (z_j - m),  m = max z,  s = sum_j e^{z_j - m}.
// Label smoothing, y' = (1 - e) y + e / K (Szegedy et al. 2016), is applied to the two sums, so y' is not stored.
SIMD void cross_entropy_rows(const examples *e, int wants_delta, outcome *to) {
    vreal most = column_max(e->z, e->n), mass, dot;
    real smoothing = (real)e->loss.label_smoothing, each = smoothing / (real)e->n, share = 1 - smoothing;
    vreal predicted = first_max(e->z, e->n), wanted = e->label ? e->label_code : first_max(e->y, e->n);
    if (e->label) weigh_labels(e, most, &mass, &dot);
    else weigh_targets(e, most, &mass, &dot);
    if (smoothing != 0) {
        mass = v_fma(v_set1(share), mass, v_set1(smoothing));
        dot = v_fma(v_set1(share), dot, v_mul(v_set1(each), column_sum_above(e->z, e->n, most)));
    }
    vreal total = column_exps(e->z, e->n, most);
    compare_classes(to, predicted, wanted, total);
    v_store(to->loss, v_sub(v_mul(v_log(total), mass), dot));
    for (int64_t j = 0; wants_delta && j < e->n; j++) {
        real *z = e->z + j * VL;
        vreal p = v_div(v_load(z), total);
        if (smoothing != 0) p = v_sub(p, v_set1(each));
        vreal y = e->label ? v_select(v_eq(e->label_code, class_code(j)), v_set1(1), v_zero()) : v_load(e->y + j * VL);
        v_store(z, v_sub(p, smoothing != 0 ? v_mul(v_set1(share), y) : y));
    }
}

SIMD void classes_of(int64_t *classes, vreal code) {
    lane_bits lane[VL];
    memcpy(lane, &code, sizeof lane);
    for (int i = 0; i < VL; i++) classes[i] = (int64_t)(lane[i] - ONE_BITS);
}

// max(0, 1 + max_{j != y} z_j - z_y), Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based
// vector machines", JMLR 2 (2001). The derivative is 0 where the margin is exactly 1.
SIMD void hinge_rows(const examples *e, int wants_delta, outcome *to) {
    (void)wants_delta;
    int64_t rival[VL];
    real of_label[VL] = {0}, of_rival[VL];
    compare_classes(to, first_max(e->z, e->n), e->label_code, column_max_or_nan(e->z, e->n));
    for (int i = 0; i < e->count; i++) {
        of_label[i] = e->z[e->label[i] * VL + i];
        e->z[e->label[i] * VL + i] = (real)-INFINITY;
    }
    classes_of(rival, first_max(e->z, e->n));
    v_store(of_rival, column_max_or_nan(e->z, e->n));
    for (int64_t j = 0; j < e->n * VL; j += VL) v_store(e->z + j, v_zero());
    for (int i = 0; i < e->count; i++) {
        real over = 1 + (of_rival[i] - of_label[i]);
        to->loss[i] = over <= 0 ? 0 : over;  // NaN is preserved
        if (over <= 0) continue;
        e->z[rival[i] * VL + i] = 1;
        e->z[e->label[i] * VL + i] = -1;
    }
}

// x times the weight of its entry of y; 0 where that is 0, whatever x.
SIMD vreal weighted(vreal x, vreal weight) {
    return v_select(v_eq(weight, v_zero()), v_zero(), v_mul(weight, x));
}

static SIMD_TARGET void skip_entries(void *x, const void *weight, int64_t count) {
    for (int64_t j = 0; j < count; j += VL) {
        int lanes = lanes_at(j, count);
        real *to = (real *)x + j;
        v_store_part(to, lanes, masked(v_load_part(to, lanes), v_load_part((const real *)weight + j, lanes)));
    }
}

// 1/2 sum_j s_j + (m_j - y_j)^2 e^{-s_j}: the negative log likelihood of normal distributions with means m and log
// variances s, without log(2 pi) / 2. The outputs are all m, then all s.
SIMD void gaussian_nll_rows(const examples *e, int wants_delta, outcome *to) {
    (void)wants_delta;
    vreal sum = v_zero(), half = v_set1((real)0.5), one = v_set1(1);
    int64_t k = e->n / 2;
    for (int64_t first = 0; first < k; first += SUM_BLOCK) {
        vreal part = v_zero();
        for (int64_t j = first * VL; j < block_end(first, k) * VL; j += VL) {
            real *at_m = e->z + j, *at_s = e->z + k * VL + j;
            vreal s = v_load(at_s), r = v_sub(v_load(at_m), v_load(e->y + j));
            vreal scale = v_exp(v_mul(v_set1((real)-0.5), s));  // 1 / the standard deviation
            scale = v_select(v_eq(r, v_zero()), unless_nan(s, v_zero()), scale);  // not 0 times infinity
            vreal u = v_mul(r, scale);
            vreal slope_m = v_mul(u, scale), slope_s = v_mul(half, v_sub(one, v_mul(u, u)));
            vreal value = v_mul(half, v_fma(u, u, s)), weight = e->each ? v_load(e->each + j) : one;
            part = v_add(part, e->each ? weighted(value, weight) : value);
            v_store(at_m, e->each ? weighted(slope_m, weight) : slope_m);
            v_store(at_s, e->each ? weighted(slope_s, weight) : slope_s);
        }
        sum = v_add(sum, part);
    }
    v_store(to->loss, sum);
}

// ---- Losses that are a sum of one term per output ----

typedef struct {
    vreal out, y;  // out: z_L or a_L
    vreal parameter, smoothing;
    mlp_activation output;
} pair;
typedef vreal term_function(pair p, vreal *slope);  // the term, and its derivative with respect to out

// max(z, 0) - y z + log(1 + e^{-|z|}), which avoids overflow and cancellation.
SIMD vreal binary_cross_entropy_term(pair p, vreal *slope) {
    vreal y = v_fma(p.smoothing, v_sub(v_set1((real)0.5), p.y), p.y), tail = v_log1p_unit(exp_down(minus_size(p.out)));
    *slope = v_sub(v_sigmoid(p.out), y);
    return v_add(v_sub(v_max(p.out, v_zero()), v_mul(p.out, y)), tail);
}

SIMD vreal squared_error_term(pair p, vreal *slope) {
    vreal r = v_sub(p.out, p.y);
    *slope = v_add(r, r);
    return v_mul(r, r);
}
SIMD vreal half_squared_error_term(pair p, vreal *slope) {
    *slope = v_sub(p.out, p.y);
    return v_mul(v_set1((real)0.5), v_mul(*slope, *slope));
}
SIMD vreal absolute_error_term(pair p, vreal *slope) {
    vreal r = v_sub(p.out, p.y);
    *slope = v_sign(r);  // 0 at 0
    return v_sub(v_zero(), minus_size(r));
}

// 1/2 r^2 for |r| <= d, d (|r| - d/2) beyond: Huber, "Robust estimation of a location parameter" (1964).
SIMD vreal huber_term(pair p, vreal *slope) {
    vreal r = v_sub(p.out, p.y), size = v_sub(v_zero(), minus_size(r)), d = p.parameter, half = v_set1((real)0.5);
    vmask far = v_lt(d, size);
    *slope = v_select(far, v_mul(d, v_sign(r)), r);
    return v_select(far, v_mul(d, v_sub(size, v_mul(half, d))), v_mul(half, v_mul(r, r)));
}

// q (y - yhat) below the target, (1 - q) (yhat - y) above: Koenker and Bassett, "Regression quantiles" (1978).
SIMD vreal quantile_term(pair p, vreal *slope) {
    vreal r = v_sub(p.out, p.y), zero = v_zero();
    vreal above = v_sub(v_set1(1), p.parameter), below = v_sub(zero, p.parameter);
    *slope = v_select(v_lt(zero, r), above, v_select(v_lt(r, zero), below, zero));
    return v_mul(r, v_select(v_lt(zero, r), above, below));
}

// |r| + log(1 + e^{-2|r|}) - log 2; near zero, where this cancels, log(1 + m^2 / (2 (1 + m))) with m = e^{-|r|} - 1.
SIMD vreal log_cosh_term(pair p, vreal *slope) {
    vreal r = v_sub(p.out, p.y), down = minus_size(r), m = expm1_down(down);
    vreal twice_exp = v_fma(v_set1(2), m, v_set1(2));
    vreal near = v_log1p_unit(v_min(v_set1(1), v_div(v_mul(m, m), twice_exp)));
    vreal far = v_sub(v_sub(v_log1p_unit(exp_down(v_add(down, down))), down), v_set1((real)0.69314718055994530942));
    *slope = v_tanh(r);
    return v_select(v_lt(v_set1((real)-0.5), down), near, far);
}

// yhat - y log yhat, the negative log likelihood without the constant log y!. Output exp or identity (log rates):
// e^z - y z. Output softplus: s - y log s, s = log(1 + e^z); below SOFTPLUS_IS_EXP s = e^z up to rounding, so that
// log s = z and s' / s = 1.
#define SOFTPLUS_IS_EXP ((real)-40)
SIMD vreal poisson_term(pair p, vreal *slope) {
    if (p.output != MLP_SOFTPLUS) {
        vreal rate = v_exp(p.out);
        *slope = v_sub(rate, p.y);
        return v_sub(rate, v_mul(p.y, p.out));
    }
    vmask is_exp = v_lt(p.out, v_set1(SOFTPLUS_IS_EXP));
    vreal z = p.out, rate = softplus_value((point){.z = z}), s = v_sigmoid(z);
    vreal log_rate = v_select(is_exp, z, v_log(rate)), ratio = v_select(is_exp, v_set1(1), v_div(s, rate));
    *slope = v_sub(s, v_mul(p.y, ratio));
    return v_sub(rate, v_mul(p.y, log_rate));
}

// max(0, -y z): Rosenblatt's perceptron criterion. At y z = 0 the derivative is -y, so that training can start from
// zero weights.
SIMD vreal perceptron_term(pair p, vreal *slope) {
    vreal minus_margin = v_sub(v_zero(), v_mul(p.y, p.out));
    *slope = v_select(v_lt(minus_margin, v_zero()), v_zero(), v_sub(v_zero(), p.y));
    return v_max(v_zero(), minus_margin);
}

// max(0, 1 - y z): Vapnik's hinge; the derivative is 0 at y z = 1.
SIMD vreal hinge_term(pair p, vreal *slope) {
    vreal over = v_fma(v_sub(v_zero(), p.y), p.out, v_set1(1));
    *slope = v_select(v_lt(v_zero(), over), v_sub(v_zero(), p.y), v_zero());
    return v_max(v_zero(), over);
}

SIMD void sum_terms(const examples *e, outcome *to, term_function *term, real cut) {
    vreal sum = v_zero(), wrong = v_zero(), weights = v_zero();
    vreal zero = v_zero(), one = v_set1(1), boundary = v_set1(cut);
    pair p = {.parameter = v_set1((real)e->loss.parameter), .smoothing = v_set1((real)e->loss.label_smoothing),
              .output = e->output};
    for (int64_t first = 0; first < e->n; first += SUM_BLOCK) {
        vreal part = v_zero();
        for (int64_t j = first * VL; j < block_end(first, e->n) * VL; j += VL) {
            vreal slope;
            p.out = v_load(e->z + j), p.y = v_load(e->y + j);
            vreal value = term(p, &slope), counts = one;
            if (e->each) {
                counts = v_load(e->each + j);
                value = weighted(value, counts), slope = weighted(slope, counts), weights = v_add(weights, counts);
            }
            part = v_add(part, value);
            v_store(e->z + j, slope);
            vreal predicted = v_select(v_lt(zero, p.out), one, zero), wanted = v_select(v_lt(boundary, p.y), one, zero);
            vreal more = unless_nan(p.out, v_select(v_eq(predicted, wanted), zero, one));
            wrong = v_add(wrong, e->each ? weighted(more, counts) : more);
        }
        sum = v_add(sum, part);
    }
    v_store(to->loss, sum);
    v_store(to->wrong, wrong);
    v_store(to->weighed, weights);
    to->labels = cut == cut ? (double)e->n : 0;
}

// The threshold between the two classes of y; NaN if y are not classes.
#define CUT(y, traits) (real)((traits) & MLP_COUNTS ? (y) == MLP_Y_PROBABILITIES ? 0.5 : 0 : NAN)
#define SUM_OF_TERMS(number, name, cut) \
    case number: sum_terms(e, to, name##_term, cut); break;
#define SUM_OF_TERMS_OR_ROWS SUM_OF_TERMS
#define SUM_OF_ROWS(number, name, cut)
#define SUM_OF_BLOCKS(number, name, cut)
#define SUM_OF_JOINED(number, name, cut)
#define SUM_OF_CUSTOM(number, name, cut)

SIMD void sum_of_terms(const examples *e, outcome *to) {
    vreal predicted = v_zero(), outputs = v_zero();
    if (e->one_hot) predicted = first_max(e->z, e->n), outputs = column_max_or_nan(e->z, e->n);
    switch (e->loss.kind) {
#define CASE(number, NAME, name, form, y, traits, ...) SUM_OF_##form(number, name, CUT(y, traits))
        MLP_LOSS_ROWS(CASE)
#undef CASE
    default: break;
    }
    if (e->one_hot && to->labels > 0) compare_classes(to, predicted, first_max(e->y, e->n), outputs);
}

#define WHOLE_TERMS(number, name)
#define WHOLE_ROWS(number, name) \
    case number: name##_rows(e, wants_delta, to); break;
#define WHOLE_TERMS_OR_ROWS(number, name) \
    case number: \
        if (e->label) name##_rows(e, wants_delta, to); \
        else sum_of_terms(e, to); \
        break;
#define WHOLE_BLOCKS(number, name)
#define WHOLE_JOINED(number, name)
#define WHOLE_CUSTOM(number, name)

static SIMD_TARGET void value_and_derivative(const examples *e, int wants_delta, outcome *to) {
    switch (e->loss.kind) {
#define CASE(number, NAME, name, form, ...) WHOLE_##form(number, name)
        MLP_LOSS_ROWS(CASE)
#undef CASE
    default: sum_of_terms(e, to);
    }
}

// The fraction of example i's labels that are predicted right; of labels with weights, that of the weights.
SIMD double share_right(const examples *e, const outcome *o, int i) {
    double wrong = (double)o->wrong[i], labels = e->each && o->labels > 0 ? (double)o->weighed[i] : o->labels;
    return wrong < labels ? (labels - wrong) / labels : 0;
}

// ---- Losses of parts of the outputs ----

// The class numbers of a column of y. What is none of 0 .. n-1, which only an entry of weight 0 may be, becomes 0.
SIMD void labels_of_column(examples *e, int32_t *label) {
    lane_bits code[VL];
    for (int i = 0; i < VL; i++) {
        label[i] = e->y[i] >= 0 && e->y[i] < (real)e->n ? (int32_t)e->y[i] : 0;
        code[i] = ONE_BITS + (lane_bits)label[i];
    }
    e->label = label;
    memcpy(&e->label_code, code, sizeof code);
}

// Adds the loss of one block to sum; its columns of z become those of delta. kept: memory for as many columns.
static SIMD_TARGET vreal add_block(vreal sum, const examples *all, const mlp_loss_block *b, int wants_delta,
                                   real *kept) {
    examples e = *all;
    int64_t n = b->of.count;
    int32_t label[VL];
    mlp_activation g = mlp_loss_has(b->kind, MLP_OF_Z) ? MLP_IDENTITY : b->of.activation;
    e.n = n, e.z += b->of.first * VL, e.y += b->y_first * VL, e.output = b->of.activation, e.one_hot = 0;
    if (e.each) e.each += b->y_first * VL;
    e.loss = (mlp_loss){.kind = b->kind, .parameter = b->parameter, .label_smoothing = b->label_smoothing};
    int by_class = b->kind == MLP_CROSS_ENTROPY;
    if (by_class) labels_of_column(&e, label);
    if (g != MLP_IDENTITY) {
        size_t bytes = (size_t)(n * VL) * sizeof(real);
        if (mlp_has(g, MLP_IN_Z)) memcpy(kept, e.z, bytes);
        activate_columns(e.z, n, g, b->of.alpha);
        if (!mlp_has(g, MLP_IN_Z)) memcpy(kept, e.z, bytes);
    }
    outcome o = {0};
    value_and_derivative(&e, wants_delta, &o);
    if (g != MLP_IDENTITY && wants_delta) {
        columns_backward(e.z, kept, n, g, b->of.alpha);
        if (e.each && g != MLP_SOFTMAX) skip_entries(e.z, e.each, n * VL);
    }
    vreal loss = v_load(o.loss), factor = v_set1((real)b->factor);
    if (by_class && e.each) {  // the other losses have weighed their entries
        vreal weight = v_load(e.each);
        loss = weighted(loss, weight);
        for (int64_t j = 0; j < n * VL; j += VL) v_store(e.z + j, weighted(v_load(e.z + j), weight));
    }
    for (int64_t j = 0; b->factor != 1 && j < n * VL; j += VL) v_store(e.z + j, v_mul(factor, v_load(e.z + j)));
    return v_fma(factor, loss, sum);
}

SIMD void value_of_blocks(const examples *e, int wants_delta, real *kept, outcome *to) {
    vreal sum = v_zero();
    for (int64_t i = 0; i < e->loss.n_blocks; i++) sum = add_block(sum, e, &e->loss.blocks[i], wants_delta, kept);
    v_store(to->loss, sum);
}

// Loads labels or columns of targets, and the weights, of the examples from number i0 on. each: memory for weights
// of entries.
SIMD void load_truth(examples *e, const mlp_truth *truth, int64_t i0, real *weight, real *each) {
    lane_bits code[VL] = {0};
    int64_t cols = truth->target_cols ? truth->target_cols : e->n;
    int of_rows = truth->weights && !truth->entry_weights;
    for (int i = 0; i < e->count; i++) weight[i] = of_rows ? ((const real *)truth->weights)[i0 + i] : 1;
    if (truth->entry_weights) {
        load_next_columns(each, (const real *)truth->entry_weights + i0 * cols, cols, e->count);
        e->each = each;
    }
    e->weight = v_load(weight);
    if (truth->labels) {
        e->label = truth->labels + i0;
        for (int i = 0; i < e->count; i++) code[i] = ONE_BITS + (lane_bits)e->label[i];
    } else {
        load_next_columns(e->y, (const real *)truth->targets + i0 * cols, cols, e->count);
    }
    memcpy(&e->label_code, code, sizeof code);
}

static SIMD_TARGET int loss_and_delta(void *delta, double *row_loss, double *row_correct, const void *out,
                                      mlp_loss loss, mlp_activation output, const mlp_truth *truth, int64_t rows,
                                      int64_t n, void *scratch) {
    int finite = 1;
    for (int64_t i0 = 0; i0 < rows && n > 0; i0 += VL) {
        examples e = {.count = lanes_at(i0, rows), .n = n, .z = scratch, .loss = loss, .output = output,
                      .one_hot = truth->one_hot};
        e.y = e.z + n * VL;
        real weight[VL] = {0};
        load_truth(&e, truth, i0, weight, e.y + n * VL);
        load_next_columns(e.z, (const real *)out + i0 * n, n, e.count);
        outcome o = {0};
        if (loss.kind == MLP_PER_OUTPUT) value_of_blocks(&e, delta != NULL, e.y + 2 * n * VL, &o);
        else value_and_derivative(&e, delta != NULL, &o);
        for (int64_t j = 0; truth->weights && !e.each && j < n * VL; j += VL) {
            v_store(e.z + j, v_mul(e.weight, v_load(e.z + j)));
        }
        if (delta) store_columns((real *)delta + i0 * n, e.z, n, e.count);
        for (int i = 0; i < e.count; i++) {
            double value = (double)weight[i] * (double)o.loss[i];
            row_loss[i0 + i] = value;
            row_correct[i0 + i] = share_right(&e, &o, i);
            if (!(value - value == 0)) finite = 0;  // the difference is NaN if value is NaN or infinite
        }
    }
    return finite;
}
