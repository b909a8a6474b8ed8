// Matrix products of a layer: forward, delta below, and the weight gradient fused with its update.
//
// Template parameters: TILE_ROWS (accumulator rows), TILE_VECS (accumulator vectors a row), and a simd/*.h.
//
// All three are out[i][j] = init[j] + sum over p of a[i][p] * b[p][j], computed in tiles of TILE_ROWS x TILE_COLS
// that stay in registers for the whole sum. Each element is ONE chain of fused multiply-adds in increasing p, so its
// bits depend neither on the tile it falls in, nor on the block, nor on the instruction set. A finished tile passes
// through the first-level cache into a `finish` function that applies what comes next: activation, g', or the update.

#define TILE_COLS (TILE_VECS * VL)

_Static_assert(TILE_VECS == 2, "tile_of handles one or two vectors at the right edge");
_Static_assert(TILE_ROWS * TILE_VECS + TILE_VECS + 1 <= SIMD_REGISTERS, "accumulators, a row of b, one of a");

// An operand pair: a[i][p] at a + i * a_row + p * a_step, b[p][j] at b + p * b_step + j, init[j] or NULL for zeros.
typedef struct {
    const real *a;
    int64_t a_row, a_step;
    const real *b;
    int64_t b_step;
    const real *init;
    int64_t k;
} operands;

// tile holds rows x TILE_COLS sums, cols of them in each row meaningful; they belong at row i, column j of the output.
typedef void tile_finish(const void *job, const real *tile, int64_t i, int64_t j, int rows, int cols);

// The heart. rows, vecs and part are constants wherever this is inlined: part tells that only `last` lanes of the last
// vector exist in memory. a, b and init point at the tile's first row and column.
SIMD void tile_of(const int rows, const int vecs, const int part, int last, real *tile, operands o) {
    vreal sum[TILE_ROWS][TILE_VECS], w[TILE_VECS];
    // Rows in threes behind one pointer: x86 addresses base + stride and base + 2 stride without further registers.
    const real *a[(TILE_ROWS + 2) / 3];
    UNROLL for (int r = 0; r < rows; r += 3) a[r / 3] = o.a + r * o.a_row;
    UNROLL for (int v = 0; v < vecs; v++) {
        w[v] = !o.init ? v_zero() : part && v == vecs - 1 ? v_load_part(o.init + v * VL, last) : v_load(o.init + v * VL);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = w[v];
    }
    for (int64_t p = 0; p < o.k; p++) {
        UNROLL for (int v = 0; v < vecs; v++) {
            w[v] = part && v == vecs - 1 ? v_load_part(o.b + v * VL, last) : v_load(o.b + v * VL);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vreal x = v_set1(a[r / 3][(r % 3) * o.a_row]);
            UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = v_fma(x, w[v], sum[r][v]);
        }
        UNROLL for (int r = 0; r < rows; r += 3) a[r / 3] += o.a_step;
        o.b += o.b_step;
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vecs; v++) v_store(tile + r * TILE_COLS + v * VL, sum[r][v]);
    }
}

SIMD void tile_edges(const int rows, real *tile, const operands *o, int cols) {
    if (cols == TILE_COLS) {
        tile_of(rows, 2, 0, VL, tile, *o);
    } else if (cols > VL) {
        tile_of(rows, 2, 1, cols - VL, tile, *o);
    } else {
        tile_of(rows, 1, 1, cols, tile, *o);
    }
}

// One function for every number of rows, so that the rows of any matrix split into tiles of nearly equal height.
#define TILE(rows) \
    static SIMD_TARGET void tile_##rows(real *tile, const operands *o, int cols) { tile_edges(rows, tile, o, cols); }
TILE(1) TILE(2) TILE(3) TILE(4)
#if TILE_ROWS >= 6
TILE(5) TILE(6)
#endif
#if TILE_ROWS >= 12
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
#if TILE_ROWS == 14
TILE(13) TILE(14)
#endif
#undef TILE

static void (*const tile_with[TILE_ROWS])(real *, const operands *, int) = {
    tile_1, tile_2, tile_3, tile_4,
#if TILE_ROWS >= 6
    tile_5, tile_6,
#endif
#if TILE_ROWS >= 12
    tile_7, tile_8, tile_9, tile_10, tile_11, tile_12,
#endif
#if TILE_ROWS == 14
    tile_13, tile_14,
#endif
};

// Rows [i0, i1) of one panel of cols columns at column j; o's b and init point at the panel.
static SIMD_TARGET void product_panel(operands o, int64_t i0, int64_t i1, int64_t j, int cols, tile_finish *finish,
                                      const void *job) {
    _Alignas(64) real tile[TILE_ROWS * TILE_COLS];
    const real *a = o.a;
    int64_t tiles = (i1 - i0 + TILE_ROWS - 1) / TILE_ROWS;
    for (int64_t i = i0; tiles > 0; tiles--) {
        int rows = (int)((i1 - i + tiles - 1) / tiles);
        o.a = a + i * o.a_row;
        tile_with[rows - 1](tile, &o, cols);
        finish(job, tile, i, j, rows, cols);
        i += rows;
    }
}

SIMD int panel_cols(int64_t j, int64_t end) { return end - j < TILE_COLS ? (int)(end - j) : TILE_COLS; }

static SIMD_TARGET void product(const operands *whole, mlp_block block, tile_finish *finish, const void *job) {
    for (int64_t j = block.j0; j < block.j1; j += TILE_COLS) {
        operands o = *whole;
        o.b += j;
        if (o.init) o.init += j;
        product_panel(o, block.i0, block.i1, j, panel_cols(j, block.j1), finish, job);
    }
}

// ---- Forward: a = g(x W + b) ----

typedef struct {
    real *out;  // (.., ld)
    const real *a_below;
    int64_t ld;
    mlp_activation g;
} layer_job;

static SIMD_TARGET void finish_forward(const void *job, const real *tile, int64_t i, int64_t j, int rows, int cols) {
    const layer_job *layer = job;
    activate(layer->out + i * layer->ld + j, layer->ld, tile, TILE_COLS, layer->g, rows, cols);
}

static SIMD_TARGET void dense_forward(void *a, const void *x, const void *W, const void *b, mlp_activation g,
                                      int64_t n_in, int64_t n_out, mlp_block block) {
    operands o = {.a = x, .a_row = n_in, .a_step = 1, .b = W, .b_step = n_out, .init = b, .k = n_in};
    layer_job layer = {.out = a, .ld = n_out, .g = g};
    product(&o, block, finish_forward, &layer);
}

// ---- The residual of the layer below: (delta W^T) * g'(z_below) ----

static SIMD_TARGET void finish_below(const void *job, const real *tile, int64_t i, int64_t j, int rows, int cols) {
    const layer_job *layer = job;
    int64_t at = i * layer->ld + j;
    through_derivative(layer->out + at, layer->ld, tile, TILE_COLS, layer->a_below + at, layer->ld, layer->g, rows,
                       cols);
}

static SIMD_TARGET void delta_below(void *out, const void *delta, const void *W, const void *a_below, mlp_activation g,
                                    int64_t n_in, int64_t n_out, mlp_block block, void *scratch) {
    real *panel = scratch;  // (n_out, TILE_COLS): rows j .. of W, transposed so that a vector holds TILE_COLS of them
    layer_job layer = {.out = out, .a_below = a_below, .ld = n_in, .g = g};
    operands o = {.a = delta, .a_row = n_out, .a_step = 1, .b = panel, .b_step = TILE_COLS, .k = n_out};
    if (block.i0 >= block.i1) return;
    for (int64_t j = block.j0; j < block.j1; j += TILE_COLS) {
        int cols = panel_cols(j, block.j1);
        for (int c = 0; c < cols; c++) {
            const real *row = (const real *)W + (j + c) * n_out;
            for (int64_t p = 0; p < n_out; p++) panel[p * TILE_COLS + c] = row[p];
        }
        product_panel(o, block.i0, block.i1, j, cols, finish_below, &layer);
    }
}

// ---- The gradient x^T delta: W is updated from it tile by tile, or it is stored ----

typedef struct {
    const update_rule *rule;
    real *W, *V, *dW;  // (.., ld)
    int64_t ld;
} update_job;

static SIMD_TARGET void finish_update(const void *job, const real *tile, int64_t i, int64_t j, int rows, int cols) {
    const update_job *to = job;
    int64_t at = i * to->ld + j;
    update_rows(to->W + at, to->V ? to->V + at : NULL, to->ld, tile, TILE_COLS, to->rule, rows, cols);
}

static SIMD_TARGET void update_weights(void *W, void *V, const void *x, const void *delta, int64_t B, int64_t n_in,
                                       int64_t n_out, mlp_block block, const mlp_update *update) {
    operands o = {.a = x, .a_row = 1, .a_step = n_in, .b = delta, .b_step = n_out, .k = B};
    update_rule rule = rule_of(update);
    update_job to = {.rule = &rule, .W = W, .V = V, .ld = n_out};
    product(&o, block, finish_update, &to);
}

static SIMD_TARGET void finish_gradient(const void *job, const real *tile, int64_t i, int64_t j, int rows, int cols) {
    const update_job *to = job;
    int64_t at = i * to->ld + j;
    gradient_rows(to->dW + at, to->W + at, to->ld, tile, TILE_COLS, to->rule, rows, cols);
}

static SIMD_TARGET void weight_gradient(void *dW, const void *W, const void *x, const void *delta, int64_t B,
                                        int64_t n_in, int64_t n_out, mlp_block block, const mlp_update *update) {
    operands o = {.a = x, .a_row = 1, .a_step = n_in, .b = delta, .b_step = n_out, .k = B};
    update_rule rule = rule_of(update);
    // W is only read through this job.
    update_job to = {.rule = &rule, .W = (real *)(uintptr_t)W, .dW = dW, .ld = n_out};
    product(&o, block, finish_gradient, &to);
}
