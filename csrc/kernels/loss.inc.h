// Losses: value and derivative of each row in one pass. Template parameters: a simd/*.h; see kernel_table.h for shapes.
//
// For the two cross entropies the row holds z_L and the derivative is the residual itself, delta_L = yhat - y:
//   softmax:  loss = log sum_k e^{z_k} - sum_j y_j z_j  (sum_j y_j = 1), so  d loss / d z_j = e^{z_j} / sum_k e^{z_k} - y_j
//   sigmoid:  loss = log(1 + e^z) - y z,                                 so  d loss / d z   = 1 / (1 + e^{-z}) - y
// For the squared errors it holds a_L and the derivative is with respect to a_L.

typedef struct {
    const real *out;      // (n): z_L or a_L
    real *delta;          // (n), may be out, or NULL
    const real *target;   // (n), or NULL where label counts
    int64_t label, n;
    vreal weight;         // multiplies delta
} loss_row;

SIMD vreal target_lanes(const loss_row *row, int64_t j, int lanes) {
    if (row->target) return v_load_part(row->target + j, lanes);
    real one_hot[VL] = {0};
    if (row->label >= j && row->label < j + lanes) one_hot[row->label - j] = 1;
    return v_load(one_hot);
}

SIMD void store_delta(const loss_row *row, int64_t j, int lanes, vreal delta) {
    if (row->delta) v_store_part(row->delta + j, lanes, v_mul(row->weight, delta));
}

SIMD real log_of(real x) {
    real lane[VL];
    v_store(lane, v_log(v_set1(x)));
    return lane[0];
}

// The first position of the row's largest number, as numpy.argmax has it.
SIMD int64_t first_max(const real *row, real most, int64_t n) {
    int64_t j = 0;
    while (j < n && row[j] != most) j++;
    return j;
}

SIMD int class_is_right(const loss_row *row, real most) {
    int64_t label = row->target ? first_max(row->target, row_max(row->target, row->n), row->n) : row->label;
    return first_max(row->out, most, row->n) == label;
}

// loss = log(s) sum_j y_j - sum_j y_j (z_j - m),  m = max z,  s = sum_j e^{z_j - m}.
SIMD real softmax_cross_entropy(const loss_row *row, int *right) {
    real most = row_max(row->out, row->n);
    *right = class_is_right(row, most);
    row_sum exps = sum_zero(), mass = sum_zero(), dot = sum_zero();
    real shifted_at_label = row->target ? 0 : row->out[row->label] - most;
    for (int64_t j = 0; j < row->n; j += SUM_LANES) {
        for (int v = 0; v < SUM_VECS && j + v * VL < row->n; v++) {
            int64_t at = j + v * VL;
            int lanes = lanes_at(at, row->n);
            vreal shifted = v_sub(v_load_part(row->out + at, lanes), v_set1(most));
            vreal e = v_exp(shifted);
            if (row->target) {
                vreal y = v_load_part(row->target + at, lanes);
                mass.part[v] = v_add(mass.part[v], y);
                dot.part[v] = v_fma(y, shifted, dot.part[v]);
            }
            if (row->delta) v_store_part(row->delta + at, lanes, e);
            exps.part[v] = v_add(exps.part[v], v_keep_first(e, lanes, v_zero()));
        }
    }
    real total = sum_total(&exps), log_total = log_of(total);
    for (int64_t j = 0; row->delta && j < row->n; j += VL) {
        int lanes = lanes_at(j, row->n);
        vreal p = v_div(v_load_part(row->delta + j, lanes), v_set1(total));
        store_delta(row, j, lanes, v_sub(p, target_lanes(row, j, lanes)));
    }
    if (!row->target) return log_total - shifted_at_label;
    return log_total * sum_total(&mass) - sum_total(&dot);
}

// loss = max(z, 0) - y z + log(1 + e^{-|z|}), which neither overflows nor cancels.
SIMD vreal sigmoid_cross_entropy(const loss_row *row, int64_t j, int lanes, int *right) {
    vreal z = v_load_part(row->out + j, lanes), y = target_lanes(row, j, lanes), zero = v_zero();
    vreal size = v_max(z, v_sub(zero, z)), tail = v_log1p_unit(v_exp(v_sub(zero, size)));
    vreal predicted = v_select(v_lt(zero, z), v_set1(1), zero);
    vreal wanted = v_select(v_lt(v_set1((real)0.5), y), v_set1(1), zero);
    vreal wrong = v_keep_first(v_sub(predicted, wanted), lanes, zero);
    if (v_any(v_lt(wrong, zero)) || v_any(v_lt(zero, wrong))) *right = 0;
    store_delta(row, j, lanes, v_sub(v_sigmoid(z), y));
    return v_add(v_sub(v_max(z, zero), v_mul(z, y)), tail);
}

// factor / 2 * (yhat - y)^2, derivative factor * (yhat - y).
SIMD vreal squared_error(const loss_row *row, int64_t j, int lanes, real factor) {
    vreal r = v_sub(v_load_part(row->out + j, lanes), target_lanes(row, j, lanes));
    store_delta(row, j, lanes, v_mul(v_set1(factor), r));
    return v_mul(v_set1(factor / 2), v_mul(r, r));
}

SIMD real sum_of_terms(const loss_row *row, mlp_loss loss, int *right) {
    row_sum terms = sum_zero();
    *right = loss == MLP_BINARY_CROSS_ENTROPY;
    for (int64_t j = 0; j < row->n; j += SUM_LANES) {
        for (int v = 0; v < SUM_VECS && j + v * VL < row->n; v++) {
            int64_t at = j + v * VL;
            int lanes = lanes_at(at, row->n);
            vreal term = loss == MLP_BINARY_CROSS_ENTROPY ? sigmoid_cross_entropy(row, at, lanes, right)
                                                          : squared_error(row, at, lanes, loss == MLP_SQUARED_ERROR ? 2 : 1);
            terms.part[v] = v_add(terms.part[v], v_keep_first(term, lanes, v_zero()));
        }
    }
    return sum_total(&terms);
}

static SIMD_TARGET int loss_and_delta(void *delta, double *row_loss, double *row_correct, const void *out, mlp_loss loss,
                                      const mlp_data *data, const int64_t *index, int64_t first, int64_t rows,
                                      int64_t n) {
    int finite = 1;
    for (int64_t i = 0; i < rows && n > 0; i++) {
        int64_t r = index ? index[i] : first + i;
        real weight = data->weights ? ((const real *)data->weights)[r] : 1;
        loss_row row = {
            .out = (const real *)out + i * n, .delta = delta ? (real *)delta + i * n : NULL,
            .target = data->targets ? (const real *)data->targets + r * n : NULL,
            .label = data->labels ? data->labels[r] : -1, .n = n, .weight = v_set1(weight),
        };
        int right;
        real value = loss == MLP_CROSS_ENTROPY ? softmax_cross_entropy(&row, &right) : sum_of_terms(&row, loss, &right);
        row_loss[i] = (double)weight * (double)value;
        row_correct[i] = right ? (double)weight : 0;
        if (!(row_loss[i] - row_loss[i] == 0)) finite = 0;  // NaN for NaN and infinities
    }
    return finite;
}
