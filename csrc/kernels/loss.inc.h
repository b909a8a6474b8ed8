// Losses: value and derivative of each row in one pass. Template parameters: a simd/*.h; see kernel_table.h for shapes.
//
// For the two cross entropies the row holds z_L and the derivative is the residual itself, delta_L = yhat - y:
//   softmax:  loss = log sum_k e^{z_k} - sum_j y_j z_j  (sum_j y_j = 1), so  d loss / d z_j = e^{z_j} / sum_k e^{z_k} - y_j
//   sigmoid:  loss = log(1 + e^z) - y z,                                 so  d loss / d z   = 1 / (1 + e^{-z}) - y
// For the squared errors it holds a_L and the derivative is with respect to a_L.

//
// VL examples are worked on at once, each in a lane of its own; see activation.inc.h.

#include <string.h>

typedef struct {
    int count;            // of examples, at most VL
    int64_t n;
    real *z, *y;          // (n, VL): columns of z_L or a_L, which become those of delta; and of the targets
    const int32_t *label; // of each example, or NULL where y counts
    vreal weight;         // multiplies delta
} examples;

typedef struct {
    real loss[VL];
    int right[VL];
} outcome;

#if REAL_BITS == 32
typedef uint32_t lane_bits;
#else
typedef uint64_t lane_bits;
#endif

// In each lane the first position of the largest number, as numpy.argmax has it.
SIMD void first_max(int64_t *at, const real *columns, int64_t n) {
    vreal most = v_load(columns), where = v_from_bits(vi_set1(0));
    for (int64_t j = 1; j < n; j++) {
        vreal x = v_load(columns + j * VL);
        vmask larger = v_lt(most, x);
        most = v_select(larger, x, most);
        where = v_select(larger, v_from_bits(vi_set1((lane_bits)j)), where);
    }
    lane_bits lane[VL];
    memcpy(lane, &where, sizeof lane);
    for (int i = 0; i < VL; i++) at[i] = (int64_t)lane[i];
}

// What the targets add to the loss: their sum, and sum_j y_j (z_j - most); and their classes.
SIMD void weigh_targets(const examples *e, vreal most, vreal *mass, vreal *dot, int64_t *wanted) {
    *mass = *dot = v_zero();
    first_max(wanted, e->y, e->n);
    for (int64_t run = 0; run < e->n; run += SUM_RUN) {
        vreal part = v_zero(), part_dot = v_zero();
        for (int64_t j = run * VL; j < run_end(run, e->n) * VL; j += VL) {
            vreal y = v_load(e->y + j);
            part = v_add(part, y);
            part_dot = v_fma(y, v_sub(v_load(e->z + j), most), part_dot);
        }
        *mass = v_add(*mass, part);
        *dot = v_add(*dot, part_dot);
    }
}

SIMD void weigh_labels(const examples *e, vreal most, vreal *mass, vreal *dot, int64_t *wanted) {
    real at_label[VL] = {0};
    for (int i = 0; i < e->count; i++) {
        wanted[i] = e->label[i];
        at_label[i] = e->z[wanted[i] * VL + i];
    }
    *mass = v_set1(1);
    *dot = v_sub(v_load(at_label), most);
}

// loss = log(s) sum_j y_j - sum_j y_j (z_j - m),  m = max z,  s = sum_j e^{z_j - m}.
SIMD void softmax_cross_entropy(const examples *e, int wants_delta, outcome *to) {
    int64_t predicted[VL], wanted[VL] = {0};
    vreal most = column_max(e->z, e->n), mass, dot;
    first_max(predicted, e->z, e->n);
    if (e->label) weigh_labels(e, most, &mass, &dot, wanted);
    else weigh_targets(e, most, &mass, &dot, wanted);
    vreal total = column_exps(e->z, e->n, most);
    v_store(to->loss, v_sub(v_mul(v_log(total), mass), dot));
    for (int i = 0; i < e->count; i++) to->right[i] = predicted[i] == wanted[i];
    if (!wants_delta) return;
    for (int64_t j = 0; j < e->n * VL; j += VL) {
        vreal p = v_div(v_load(e->z + j), total);
        v_store(e->z + j, e->label ? p : v_sub(p, v_load(e->y + j)));
    }
    for (int i = 0; e->label && i < e->count; i++) e->z[wanted[i] * VL + i] -= 1;
}

// loss = max(z, 0) - y z + log(1 + e^{-|z|}), which neither overflows nor cancels.
SIMD vreal sigmoid_cross_entropy(vreal z, vreal y, vreal *delta, vreal *wrong) {
    vreal zero = v_zero(), one = v_set1(1);
    vreal size = v_max(z, v_sub(zero, z)), tail = v_log1p_unit(v_exp(v_sub(zero, size)));
    vreal predicted = v_select(v_lt(zero, z), one, zero), wanted = v_select(v_lt(v_set1((real)0.5), y), one, zero);
    *wrong = v_select(v_eq(predicted, wanted), *wrong, one);
    *delta = v_sub(v_sigmoid(z), y);
    return v_add(v_sub(v_max(z, zero), v_mul(z, y)), tail);
}

// factor / 2 * (yhat - y)^2, derivative factor * (yhat - y).
SIMD vreal squared_error(vreal yhat, vreal y, vreal *delta, real factor) {
    vreal r = v_sub(yhat, y);
    *delta = v_mul(v_set1(factor), r);
    return v_mul(v_set1(factor / 2), v_mul(r, r));
}

// Losses that are a sum of one term for each output.
SIMD void sum_of_terms(const examples *e, mlp_loss loss, outcome *to) {
    vreal sum = v_zero(), wrong = v_zero(), delta;
    real factor = loss == MLP_SQUARED_ERROR ? 2 : 1;
    for (int64_t run = 0; run < e->n; run += SUM_RUN) {
        vreal part = v_zero();
        for (int64_t j = run * VL; j < run_end(run, e->n) * VL; j += VL) {
            vreal out = v_load(e->z + j), y = v_load(e->y + j);
            vreal term = loss == MLP_BINARY_CROSS_ENTROPY ? sigmoid_cross_entropy(out, y, &delta, &wrong)
                                                          : squared_error(out, y, &delta, factor);
            part = v_add(part, term);
            v_store(e->z + j, delta);
        }
        sum = v_add(sum, part);
    }
    v_store(to->loss, sum);
    real lane[VL];
    v_store(lane, wrong);
    for (int i = 0; i < VL; i++) to->right[i] = loss == MLP_BINARY_CROSS_ENTROPY && lane[i] == 0;
}

// Examples `row` of data: their labels or their targets' columns, and their weights.
SIMD void load_truth(examples *e, const mlp_data *data, const int64_t *row, int32_t *label, real *weight) {
    const real *target[VL] = {0};
    for (int i = 0; i < e->count; i++) {
        weight[i] = data->weights ? ((const real *)data->weights)[row[i]] : 1;
        if (data->labels) label[i] = data->labels[row[i]];
        else target[i] = (const real *)data->targets + row[i] * e->n;
    }
    e->weight = v_load(weight);
    e->label = data->labels ? label : NULL;
    if (data->targets) load_columns(e->y, target, e->n, e->count);
}

static SIMD_TARGET int loss_and_delta(void *delta, double *row_loss, double *row_correct, const void *out, mlp_loss loss,
                                      const mlp_data *data, const int64_t *index, int64_t first, int64_t rows,
                                      int64_t n, void *scratch) {
    int finite = 1;
    for (int64_t i0 = 0; i0 < rows && n > 0; i0 += VL) {
        examples e = {.count = lanes_at(i0, rows), .n = n, .z = scratch};
        e.y = e.z + n * VL;
        int64_t row[VL];
        int32_t label[VL];
        real weight[VL] = {0};
        for (int i = 0; i < e.count; i++) row[i] = index ? index[i0 + i] : first + i0 + i;
        load_truth(&e, data, row, label, weight);
        load_next_columns(e.z, (const real *)out + i0 * n, n, e.count);
        outcome o = {0};
        if (loss == MLP_CROSS_ENTROPY) softmax_cross_entropy(&e, delta != NULL, &o);
        else sum_of_terms(&e, loss, &o);
        for (int64_t j = 0; data->weights && j < n * VL; j += VL) v_store(e.z + j, v_mul(e.weight, v_load(e.z + j)));
        if (delta) store_columns((real *)delta + i0 * n, e.z, n, e.count);
        for (int i = 0; i < e.count; i++) {
            double value = (double)weight[i] * (double)o.loss[i];
            row_loss[i0 + i] = value;
            row_correct[i0 + i] = o.right[i] ? (double)weight[i] : 0;
            if (!(value - value == 0)) finite = 0;  // NaN for NaN and infinities
        }
    }
    return finite;
}
