// Gathers the rows of a minibatch from X by index, converts them to real, and transforms them. Template parameters: a
// simd/*.h.
//
// x * 0 is 0 for finite x and NaN otherwise, so its running sum is 0 only if all values were finite.

SIMD vreal convert(const void *X, mlp_dtype type, int64_t at, vreal scale) {
    if (type == MLP_FLOAT32) return v_from_float((const float *)X + at);
    if (type == MLP_FLOAT64) return v_from_double((const double *)X + at);
    return v_mul(v_from_uint8((const uint8_t *)X + at), scale);
}

SIMD real convert_one(const void *X, mlp_dtype type, int64_t at, real scale) {
    if (type == MLP_FLOAT32) return (real)((const float *)X)[at];
    if (type == MLP_FLOAT64) return (real)((const double *)X)[at];
    return (real)((const uint8_t *)X)[at] * scale;
}

#define REAL_TYPE (REAL_BITS == 32 ? MLP_FLOAT32 : MLP_FLOAT64)

// type and stores are compile-time constants at every call site.
SIMD int gather_rows(real *out, const int stores, const void *X, const mlp_dtype type, real scale, const int64_t *index,
                     int64_t rows, int64_t n) {
    vreal zero = v_zero(), poison = zero;
    real rest_poison = 0;
    if (!index) n *= rows, rows = 1;  // contiguous rows are one long row
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = (index ? index[i] : i) * n, to = i * n, j = 0;
        for (; j + VL <= n; j += VL) {
            vreal x = convert(X, type, at + j, v_set1(scale));
            poison = v_fma(x, zero, poison);
            if (stores) v_store(out + to + j, x);
        }
        for (; j < n; j++) {
            real x = convert_one(X, type, at + j, scale);
            rest_poison += x * 0;
            if (stores) out[to + j] = x;
        }
    }
    real lane[VL];
    v_store(lane, poison);
    for (int i = 0; i < VL; i++) rest_poison += lane[i];
    return rest_poison == 0;
}

static SIMD_TARGET int gather(void *out, const void *X, mlp_dtype type, double scale, const int64_t *index,
                              int64_t rows, int64_t n) {
    if (!out && type == REAL_TYPE) return gather_rows(NULL, 0, X, REAL_TYPE, 1, index, rows, n);
    if (!out) return gather_rows(NULL, 0, X, type, (real)scale, index, rows, n);
    if (type == MLP_FLOAT32) return gather_rows(out, 1, X, MLP_FLOAT32, 1, index, rows, n);
    if (type == MLP_FLOAT64) return gather_rows(out, 1, X, MLP_FLOAT64, 1, index, rows, n);
    return gather_rows(out, 1, X, MLP_UINT8, (real)scale, index, rows, n);
}

// The arithmetic is in double for every type: mean and the numbers may be large where their difference is small. Plain
// C, which compilers vectorize; each operation is exact to the last bit on any machine.
SIMD int transform_rows(real *out, const void *X, const mlp_dtype type, double x_scale, const double *mean,
                        const double *scale, const int64_t *index, int64_t rows, int64_t n) {
    int finite = 1;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t at = (index ? index[i] : i) * n;
        real *to = out + i * n;
        for (int64_t j = 0; j < n; j++) {
            double x = type == MLP_FLOAT32   ? (double)((const float *)X)[at + j]
                       : type == MLP_FLOAT64 ? ((const double *)X)[at + j]
                                             : (double)((const uint8_t *)X)[at + j] * x_scale;
            to[j] = (real)((x - mean[j]) / scale[j]);
        }
        finite &= gather_rows(NULL, 0, to, REAL_TYPE, 1, NULL, 1, n);
    }
    return finite;
}

static SIMD_TARGET int transform(void *out, const void *X, mlp_dtype type, double x_scale, const double *mean,
                                 const double *scale, const int64_t *index, int64_t rows, int64_t n) {
    if (type == MLP_FLOAT32) return transform_rows(out, X, MLP_FLOAT32, 1, mean, scale, index, rows, n);
    if (type == MLP_FLOAT64) return transform_rows(out, X, MLP_FLOAT64, 1, mean, scale, index, rows, n);
    return transform_rows(out, X, MLP_UINT8, x_scale, mean, scale, index, rows, n);
}
