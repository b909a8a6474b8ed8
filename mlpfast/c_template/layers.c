// The functions that a network as one C file calls, besides those of csrc/: _c_functions.py takes from both what a file
// needs. Template parameter: REAL_BITS. FAST_FMA, SAME_BITS, SIMD and UNROLL are defined in model.c.

// a * b + c, rounded once.
#if REAL_BITS == 32
SIMD vreal v_fma(vreal a, vreal b, vreal c) {
#if FAST_FMA
    return fmaf(a, b, c);
#else
    // The product is exact in double. The sum is rounded to odd, so that rounding it again to float is right: Boldo and
    // Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).
    double product = (double)a * (double)b, sum = product + (double)c, other = sum - product;
    double lost = (product - (sum - other)) + ((double)c - other);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((lost < 0 || lost > 0) && (bits & 1) == 0) bits += (lost > 0) == (sum > 0) ? (uint64_t)1 : ~(uint64_t)0;
    memcpy(&sum, &bits, sizeof sum);
    return (float)sum;
#endif
}
#else
SIMD vreal v_fma(vreal a, vreal b, vreal c) { return fma(a, b, c); }
#endif

// A term of a sum, and what comes before it.
SIMD real multiply_add(real a, real b, real c) { return SAME_BITS ? v_fma(a, b, c) : a * b + c; }

// Columns at once, whose sums stay in registers.
#define COLS (128 / sizeof(real))
#define MOST_COLS (COLS + COLS / 2)

// sum[j] += x[0] W[0][j] + x[1] W[1][j] + ..., one term after the other; W (k, n_out).
SIMD void add_products(real *sum, const real *x, const real *W, size_t k, size_t n_out, const size_t cols) {
    for (size_t p = 0; p < k; p++) {
        const real *row = W + p * n_out, factor = x[p];
        UNROLL
        for (size_t j = 0; j < cols; j++) sum[j] = multiply_add(factor, row[j], sum[j]);
    }
}

// Columns of z = x W + b. The sum over inputs is cut into blocks of `length`, which are added in their order.
SIMD void columns_of_layer(real *z, const real *x, const real *W, const real *b, size_t n_in, size_t length,
                           size_t n_out, const size_t cols) {
    real sum[MOST_COLS];
    UNROLL
    for (size_t j = 0; j < cols; j++) sum[j] = b ? b[j] : 0;
    add_products(sum, x, W, length, n_out, cols);
    for (size_t first = length; first < n_in; first += length) {
        real more[MOST_COLS] = {0};
        add_products(more, x + first, W + first * n_out, n_in - first < length ? n_in - first : length, n_out, cols);
        UNROLL
        for (size_t j = 0; j < cols; j++) sum[j] += more[j];
    }
    UNROLL
    for (size_t j = 0; j < cols; j++) z[j] = sum[j];
}

// z = x W + b, W (n_in, n_out); b may be NULL. Where this is inlined, all sizes are constants.
SIMD void layer(real *z, const real *x, const real *W, const real *b, size_t n_in, size_t length, size_t n_out) {
    const size_t blocks = n_out > MOST_COLS ? (n_out - MOST_COLS + COLS - 1) / COLS : 0, first = blocks * COLS;
    for (size_t j = 0; j < first; j += COLS) {
        columns_of_layer(z + j, x, W + j, b ? b + j : NULL, n_in, length, n_out, COLS);
    }
    columns_of_layer(z + first, x, W + first, b ? b + first : NULL, n_in, length, n_out, n_out - first);
}

// a = g(a), in place.
SIMD void activate(real *a, size_t n, real alpha, point_function *g) {
    for (size_t j = 0; j < n; j++) {
        point p = {a[j], a[j], alpha};
        a[j] = g(p);
    }
}

// The same with a slope for each unit.
SIMD void activate_each(real *a, size_t n, const real *slopes, point_function *g) {
    for (size_t j = 0; j < n; j++) {
        point p = {a[j], a[j], slopes[j]};
        a[j] = g(p);
    }
}

// What the first layer takes. The arithmetic of a transform is in double for every type.
SIMD void scale_bytes(real *to, const uint8_t *x, size_t n, real scale) {
    for (size_t j = 0; j < n; j++) to[j] = (real)x[j] * scale;
}

SIMD void transform(real *to, const real *x, size_t n, const double *mean, const double *scale) {
    for (size_t j = 0; j < n; j++) to[j] = (real)(((double)x[j] - mean[j]) / scale[j]);
}

SIMD void transform_bytes(real *to, const uint8_t *x, size_t n, double x_scale, const double *mean,
                          const double *scale) {
    for (size_t j = 0; j < n; j++) to[j] = (real)(((double)x[j] * x_scale - mean[j]) / scale[j]);
}
