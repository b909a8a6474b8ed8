// Reductions along rows (maximum, sum, softmax), for VL rows at once, one row per lane. Template parameters: a
// simd/*.h.
//
// Rows are transposed: column j is one vector with element j of VL rows. A sum is formed in blocks of SUM_BLOCK
// columns, each one chain of additions in increasing j, and then the blocks are added in order: the same bits for every
// VL, and accurate enough for a million columns.
#define SUM_BLOCK 256

// How many of the VL elements from j on lie within a row of n.
SIMD int lanes_at(int64_t j, int64_t n) { return VL == 1 || n - j >= VL ? VL : (int)(n - j); }

// ---- Rows to columns, and back ----

// A function that is long, and called once for VL rows: inlined everywhere, they took a tenth of the compile time.
#define APART static __attribute__((noinline)) SIMD_TARGET

// One perfect shuffle of the lanes of n vectors, n a power of two: their two halves are interleaved, which rotates the
// binary index of each element left by one bit.
SIMD void shuffle(vreal *row, const int n) {
    vreal next[VL > 8 ? VL : 8];
    UNROLL for (int r = 0; r < n / 2; r++) {
        next[2 * r] = v_zip_low(row[r], row[r + n / 2]);
        next[2 * r + 1] = v_zip_high(row[r], row[r + n / 2]);
    }
    UNROLL for (int r = 0; r < n; r++) row[r] = next[r];
}

// Transposes VL rows of VL elements by log2(VL) shuffles.
SIMD void transpose(vreal *row) {
    UNROLL for (int half = VL / 2; half > 0; half /= 2) shuffle(row, VL);
}

// VL contiguous rows of n = 1, 2, 4 or 8 elements fill exactly n vectors. log2(VL) shuffles move element j of row i
// from index i n + j to j VL + i, and log2(n) more move it back.
SIMD void shuffle_narrow(real *to, const real *from, const int n, const int rounds) {
    vreal row[8];
    UNROLL for (int r = 0; r < n; r++) row[r] = v_load(from + r * VL);
    UNROLL for (int round = 0; n > 1 && round < rounds; round++) shuffle(row, n);
    UNROLL for (int r = 0; r < n; r++) v_store(to + r * VL, row[r]);
}

#define LOG2_VL (VL == 16 ? 4 : VL == 8 ? 3 : VL == 4 ? 2 : VL == 2 ? 1 : 0)

SIMD int narrow_to_columns(real *columns, const real *rows, int64_t n) {
    switch (n) {
    case 1: shuffle_narrow(columns, rows, 1, LOG2_VL); return 1;
    case 2: shuffle_narrow(columns, rows, 2, LOG2_VL); return 1;
    case 4: shuffle_narrow(columns, rows, 4, LOG2_VL); return 1;
    case 8: shuffle_narrow(columns, rows, 8, LOG2_VL); return 1;
    default: return 0;
    }
}

SIMD int narrow_to_rows(real *rows, const real *columns, int64_t n) {
    switch (VL == 1 ? 0 : n) {
    case 1: shuffle_narrow(rows, columns, 1, 0); return 1;
    case 2: shuffle_narrow(rows, columns, 2, 1); return 1;
    case 4: shuffle_narrow(rows, columns, 4, 2); return 1;
    case 8: shuffle_narrow(rows, columns, 8, 3); return 1;
    default: return 0;
    }
}

// columns (n, VL) from count <= VL rows of n elements, given by pointers; lanes without a row are zero.
SIMD void load_columns(real *columns, const real *const *row, int64_t n, int count) {
    for (int64_t j = 0; j < n; j += VL) {
        int lanes = lanes_at(j, n);
        vreal square[VL];
        UNROLL for (int i = 0; i < VL; i++) square[i] = i < count ? v_load_part(row[i] + j, lanes) : v_zero();
        transpose(square);
        for (int i = 0; i < lanes; i++) v_store(columns + (j + i) * VL, square[i]);
    }
}

// The same from contiguous rows.
APART void load_next_columns(real *columns, const real *rows, int64_t n, int count) {
    if (count == VL && narrow_to_columns(columns, rows, n)) return;
    const real *row[VL] = {0};
    for (int i = 0; i < count; i++) row[i] = rows + i * n;
    load_columns(columns, row, n, count);
}

APART void store_columns(real *rows, const real *columns, int64_t n, int count) {
    if (count == VL && narrow_to_rows(rows, columns, n)) return;
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

// ---- Down the columns ----

SIMD vreal column_max(const real *columns, int64_t n) {
    vreal most = v_load(columns);
    for (int64_t j = 1; j < n; j++) most = v_max(most, v_load(columns + j * VL));
    return most;
}

SIMD int64_t block_end(int64_t first, int64_t n) { return n - first < SUM_BLOCK ? n : first + SUM_BLOCK; }

// columns become e^(z - most); returns their sum.
SIMD vreal column_exps(real *columns, int64_t n, vreal most) {
    vreal sum = v_zero();
    for (int64_t first = 0; first < n; first += SUM_BLOCK) {
        vreal part = v_zero();
        for (int64_t j = first; j < block_end(first, n); j++) {
            vreal e = v_exp(v_sub(v_load(columns + j * VL), most));
            v_store(columns + j * VL, e);
            part = v_add(part, e);
        }
        sum = v_add(sum, part);
    }
    return sum;
}

// sum_j (z_j - most)
SIMD vreal column_sum_above(const real *columns, int64_t n, vreal most) {
    vreal sum = v_zero();
    for (int64_t first = 0; first < n; first += SUM_BLOCK) {
        vreal part = v_zero();
        for (int64_t j = first; j < block_end(first, n); j++) part = v_add(part, v_sub(v_load(columns + j * VL), most));
        sum = v_add(sum, part);
    }
    return sum;
}

SIMD vreal column_dot(const real *x, const real *y, int64_t n) {
    vreal sum = v_zero();
    for (int64_t first = 0; first < n; first += SUM_BLOCK) {
        vreal part = v_zero();
        int64_t end = block_end(first, n);
        for (int64_t j = first; j < end; j++) part = v_fma(v_load(x + j * VL), v_load(y + j * VL), part);
        sum = v_add(sum, part);
    }
    return sum;
}
