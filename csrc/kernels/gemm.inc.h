// Matrix products of a layer: forward, delta below, and the weight gradient fused with its update.
//
// Template parameters: MR (accumulator rows), NR_VECS (accumulator vectors a row), and a simd/*.h.
//
// All three are out[i][j] = init[j] + sum over p of a[i][p] * b[p][j], computed in tiles of MR x NR accumulators that
// stay in registers. p is split into KC blocks (MLP_KC): each is ONE chain of fused multiply-adds in increasing p, the
// first starting from init, the others from zero, and the blocks are added in order. So the bits of an element are
// independent of its tile, of the block of output and of the instruction set; several short chains also have less
// rounding error than one long chain. A finished tile passes through the L1 cache to its epilogue: activation, g', or
// update.
//
// From the inside out: tile_of, one_tile, tiles_of_panel, product_block, product. Blocking follows Goto and van de
// Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008: a panel of b, NR wide, is used by
// all tiles of a block of rows of a that fits into the L2 cache.
//
// b is read in place, unless it must be transposed, exceeds the cache, or its strides alias there: then it is packed
// into a panel, by transpose_panel or by the first tile for the later ones.

#define NR (NR_VECS * VL)
#define WIDE_VECS 4  // tiles of few rows are wider, to have enough chains to hide the latency of fused multiply-adds
#define FEW_ROWS ((SIMD_REGISTERS - WIDE_VECS - 1) / WIDE_VECS)
#define WIDE_COLS (WIDE_VECS * VL)
#define ROW_VECS (SIMD_REGISTERS / 2)  // a tile of a single row is wider still
#define ROW_COLS (ROW_VECS * VL)
#define LINE_REALS (64 / (int)sizeof(real))  // in a cache line

// A block of a takes half of an L2 cache of 1 MB, which current server processors have at least.
#define BLOCK_A (512 * 1024 / (int)sizeof(real))
#define FAR (256 * 1024 / (int)sizeof(real))  // larger blocks of b or W are evicted before they are needed again
#define PREFETCH_STEPS 64  // prefetch distance in steps of b, for an L3 latency of some 300 cycles

_Static_assert(NR_VECS == 2, "tile_edges handles one or two vectors at the right edge");
_Static_assert(MR * NR_VECS + NR_VECS + 1 <= SIMD_REGISTERS, "accumulators, a row of b, one of a");
_Static_assert(FEW_ROWS * WIDE_COLS <= MR * NR && ROW_COLS <= MR * NR, "the sums of wide tiles fit into MR x NR");

typedef struct {
    const real *a;  // a[i][p] at a + i * a_row + p * a_step; one of the two strides is 1
    int64_t a_row, a_step;
    const real *b;  // b[p][j] at b + p * b_step + j * b_col; one of the two strides is 1
    int64_t b_step, b_col;
    const real *init;  // init[j], or NULL for zeros
    int64_t k;
    int adds;    // 1: add to the sums of the earlier KC blocks, which are in memory
    real *pack;  // a panel (k, NR) that a tile of NR columns packs b into while it computes, or NULL
} operands;

// The epilogue of a tile: processes sums (rows, cols), with row stride ld, of the output at row i, column j.
typedef void epilogue_function(const void *job, const real *sums, int64_t ld, int64_t i, int64_t j, int rows, int cols);

// The most common epilogue, W = W - lr * g, works in registers: at k = 64, storing the tile first costs six percent.
typedef struct {
    real *W;  // (.., ld)
    int64_t ld;
    const update_rule *rule;
} plain_update;

typedef struct {
    epilogue_function *apply;
    const void *job;
    const real *reads[1 + MLP_MOST_STATES];  // arrays with row stride ld that apply reads at row i, column j; or NULL
    int64_t ld;
    int far;                    // prefetch `reads` of a tile before its sums are computed
    const plain_update *plain;  // for tiles of NR columns, instead of apply; or NULL
    mlp_prefetch *prefetch;     // or NULL
} epilogue;

// ---- The tile ----

SIMD void plain_step(real *W, vreal sum, const update_rule *rule, const int penalised) {
    vreal w = v_load(W), g = penalised ? gradient_of(sum, w, rule) : v_mul(sum, v_set1(rule->scale));
    v_store(W, v_sub(w, v_mul(v_set1(rule->lr), g)));
}

// clang moves products behind a branch that follows them, which keeps more numbers than there are registers; GCC does
// not, and its code for large products is faster with the branch last.
#ifdef __clang__
#define PACKS_FIRST 1
#else
#define PACKS_FIRST 0
#endif

// Copies the columns of b that a step of the inner loop has loaded.
SIMD void pack_terms(operands *o, const vreal *w, const int vecs) {
    UNROLL for (int v = 0; v < vecs; v++) v_store(o->pack + v * VL, w[v]);
    o->pack += NR;
    UNROLL for (int v = 0; v < vecs; v++) __builtin_prefetch(o->b + PREFETCH_STEPS * o->b_step + v * VL);
}

// The inner loop. rows, vecs and part are compile-time constants at every call site; with part, only `last` lanes of
// the last vector exist in memory. a, b and init point to the tile's first row and column.
SIMD void tile_of(const int rows, const int vecs, const int part, int last, real *sums, operands o,
                  const plain_update *plain) {
    const int ld = vecs > NR_VECS ? WIDE_COLS : NR;  // row stride of sums, a compile-time constant too
    const int may_pack = vecs == NR_VECS && !part;   // and whether o.pack may be set
    vreal sum[MR][ROW_VECS], w[ROW_VECS];
    // One pointer per three rows: x86 addressing modes reach base + stride and base + 2 stride without more registers.
    const real *a[(MR + 2) / 3];
    UNROLL for (int r = 0; r < rows; r += 3) a[r / 3] = o.a + r * o.a_row;
    UNROLL for (int v = 0; v < vecs; v++) {
        if (!o.init) w[v] = v_zero();
        else w[v] = part && v == vecs - 1 ? v_load_part(o.init + v * VL, last) : v_load(o.init + v * VL);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = w[v];
    }
    for (int64_t p = 0; p < o.k; p++) {
        UNROLL for (int v = 0; v < vecs; v++) {
            w[v] = part && v == vecs - 1 ? v_load_part(o.b + v * VL, last) : v_load(o.b + v * VL);
        }
        if (PACKS_FIRST && may_pack && o.pack) pack_terms(&o, w, vecs);
        UNROLL for (int r = 0; r < rows; r++) {
            vreal x = v_set1(a[r / 3][(r % 3) * o.a_row]);
            UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = v_fma(x, w[v], sum[r][v]);
        }
        UNROLL for (int r = 0; r < rows; r += 3) a[r / 3] += o.a_step;
        if (!PACKS_FIRST && may_pack && o.pack) pack_terms(&o, w, vecs);
        o.b += o.b_step;
    }
    if (plain && (plain->rule->l1 != 0 || plain->rule->l2 != 0)) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vecs; v++) plain_step(sums + r * plain->ld + v * VL, sum[r][v], plain->rule, 1);
        }
    } else if (plain) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vecs; v++) plain_step(sums + r * plain->ld + v * VL, sum[r][v], plain->rule, 0);
        }
    } else if (o.adds) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vecs; v++) {
                real *to = sums + r * ld + v * VL;
                v_store(to, v_add(v_load(to), sum[r][v]));
            }
        }
    } else {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vecs; v++) v_store(sums + r * ld + v * VL, sum[r][v]);
        }
    }
}

SIMD void tile_edges(const int rows, real *sums, const operands *o, int cols) {
    if (cols == NR) {
        tile_of(rows, 2, 0, VL, sums, *o, NULL);
    } else if (rows == 1 && cols == ROW_COLS) {
        tile_of(1, rows == 1 ? ROW_VECS : 1, 0, VL, sums, *o, NULL);
    } else if (rows <= FEW_ROWS && cols == WIDE_COLS) {
        tile_of(rows <= FEW_ROWS ? rows : 1, WIDE_VECS, 0, VL, sums, *o, NULL);
    } else if (cols > VL) {
        tile_of(rows, 2, 1, cols - VL, sums, *o, NULL);
    } else {
        tile_of(rows, 1, 1, cols, sums, *o, NULL);
    }
}

// One function per number of rows, so that any matrix can be split into tiles whose heights differ by at most one.
typedef struct {
    void (*sums)(real *sums, const operands *o, int cols);
    void (*update)(real *W, const operands *o, const plain_update *plain);
} tile_functions;

#define TILE(rows) \
    static SIMD_TARGET void tile_##rows(real *sums, const operands *o, int cols) { tile_edges(rows, sums, o, cols); } \
    static SIMD_TARGET __attribute__((nonnull)) void tile_update_##rows(real *W, const operands *o, \
                                                                        const plain_update *plain) { \
        tile_of(rows, 2, 0, VL, W, *o, plain); \
    }
TILE(1) TILE(2) TILE(3) TILE(4)
#if MR >= 6
TILE(5) TILE(6)
#endif
#if MR >= 12
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
#if MR == 14
TILE(13) TILE(14)
#endif
#undef TILE

#define TILE(rows) {tile_##rows, tile_update_##rows},
static const tile_functions tile_with[MR] = {
    TILE(1) TILE(2) TILE(3) TILE(4)
#if MR >= 6
    TILE(5) TILE(6)
#endif
#if MR >= 12
    TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
#if MR == 14
    TILE(13) TILE(14)
#endif
};
#undef TILE

// ---- Blocks ----

#define BLOCK_COLS (8 * NR)  // columns of a block if there are several KC blocks, whose sums it must store in between
#define LEAST_TILES 4        // packing b pays if at least that many tiles use the panel

// The rows of a block, split into tiles whose heights differ by at most one: tile t is rows tile_row(t) to
// tile_row(t + 1) - 1.
typedef struct {
    int64_t i0, rows, tiles;
} row_tiles;

SIMD int64_t tile_row(const row_tiles *cut, int64_t t) {
    if (t == 0 || t == cut->tiles) return t == 0 ? cut->i0 : cut->i0 + cut->rows;  // a single tile needs no division
    return cut->i0 + cut->rows * t / cut->tiles;
}

typedef struct {
    real *panel, *sums, *a;
} block_scratch;

typedef struct {
    int64_t panel, sums, a;
} scratch_sizes;

SIMD int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

SIMD int64_t most_tiles(int64_t k) { return BLOCK_A / (MR * (k + 1)); }  // k: of a block
_Static_assert(BLOCK_A / (MR * (MLP_KC + 1)) >= LEAST_TILES, "a panel of b is packed for that many tiles");

// Sizes of the parts of the scratch, in reals, for products with no dimension above `most`; monotonic in `most`.
SIMD int64_t scratch_panel(int64_t most) { return least(most, MLP_KC) * NR; }
SIMD int64_t scratch_a(int64_t most) {
    return least((least(most, BLOCK_A) + MR) * (least(most, BLOCK_A) + LINE_REALS), BLOCK_A + BLOCK_A / 2);
}

// What a product of that many rows needs, one part after the other.
SIMD scratch_sizes sizes_of(int64_t rows, int64_t most, int transposed) {
    int64_t tiles = (rows + MR - 1) / MR;
    return (scratch_sizes){
        .panel = transposed || tiles >= LEAST_TILES ? scratch_panel(most) : 0,
        .sums = most <= MLP_KC ? 0 : least(tiles, most_tiles(MLP_KC / 2)) * MR * BLOCK_COLS,
        .a = tiles > 1 ? scratch_a(most) : 0,
    };
}

SIMD size_t bytes_of(scratch_sizes product, int64_t of_rows) {
    int64_t of_product = product.panel + product.sums + product.a;
    return (size_t)(of_product > of_rows ? of_product : of_rows) * sizeof(real);
}

static SIMD_TARGET size_t scratch_bytes(int64_t most, int64_t widest) {
    return bytes_of(sizes_of(most, most, 1), 4 * widest * VL);
}

static SIMD_TARGET size_t forward_scratch_bytes(int64_t rows, int64_t most, int64_t softmax, int64_t outputs) {
    return bytes_of(sizes_of(rows, most, 0), (softmax > 4 * outputs ? softmax : 4 * outputs) * VL);
}

// Rows a multiple of 4096 bytes apart map to the same set of the L1 cache and evict each other.
SIMD int aliases(int64_t stride) { return stride * (int64_t)sizeof(real) % 4096 == 0; }

// Writes (steps, VL) of a panel from VL contiguous columns of b, of which the first `rows` exist; the rest is zeros.
SIMD void transpose_square(real *panel, const real *b, int64_t b_col, int rows, int steps, int far) {
    vreal row[VL];
    UNROLL for (int r = 0; r < VL; r++) {
        const real *from = b + r * b_col;
        row[r] = r >= rows ? v_zero() : steps == VL ? v_load(from) : v_load_part(from, steps);
        if (far && r < rows) __builtin_prefetch(from + PREFETCH_STEPS);
    }
    transpose(row);
    UNROLL for (int r = 0; r < VL; r++) {
        if (r < steps) v_store(panel + r * NR, row[r]);
    }
}

// panel (k, NR) = the next `cols` columns of b, padded with zeros.
static SIMD_TARGET void transpose_panel(real *panel, const real *b, int64_t b_col, int64_t k, int cols, int far) {
    for (int j = 0; j < NR; j += VL, panel += VL, b += VL * b_col) {
        int rows = cols - j < VL ? cols - j : VL;
        int64_t p = 0, whole = rows == VL ? k - VL : -1;
        if (far) for (; p <= whole; p += VL) transpose_square(panel + p * NR, b + p, b_col, VL, VL, 1);
        for (; p <= whole; p += VL) transpose_square(panel + p * NR, b + p, b_col, VL, VL, 0);
        for (; p < k; p += VL) {
            int steps = lanes_at(p, k);
            transpose_square(panel + p * NR, b + p, b_col, rows, steps, 0);
        }
    }
}

// Copies the block of a to scratch memory with a stride that does not alias.
static SIMD_TARGET void copy_block(real *to, operands *o, const row_tiles *cut) {
    int by_rows = o->a_step == 1;
    int64_t lines = by_rows ? cut->rows : o->k, length = by_rows ? o->k : cut->rows;
    int64_t *stride = by_rows ? &o->a_row : &o->a_step, ld = length + LINE_REALS;
    const real *a = o->a + cut->i0 * o->a_row;
    for (int64_t i = 0; i < lines; i++, a += *stride) {
        for (int64_t p = 0; p < length; p += VL) {
            int lanes = lanes_at(p, length);
            v_store_part(to + i * ld + p, lanes, v_load_part(a + p, lanes));
        }
    }
    *stride = ld;
    o->a = to - cut->i0 * o->a_row;
}

// Prefetches what the epilogue of a tile will read.
SIMD void prefetch_tile(const epilogue *tail, int64_t i, int64_t j, int rows, int cols) {
    for (int array = 0; array <= MLP_MOST_STATES && tail->reads[array]; array++) {
        const real *row = tail->reads[array] + i * tail->ld + j;
        for (int r = 0; r < rows; r++, row += tail->ld) {
            for (int at = 0; at < cols; at += LINE_REALS) __builtin_prefetch(row + at);
        }
    }
}

// Prefetches part of the next minibatch, a few lines per tile: all at once would delay the loads of the product.
static void prefetch_rows(mlp_prefetch *prefetch) {
    for (int line = 0; line < prefetch->lines && prefetch->row < prefetch->rows; line++) {
        int64_t at = prefetch->index ? prefetch->index[prefetch->row] : prefetch->row;
        if (prefetch->place) at = prefetch->place[at];
        __builtin_prefetch(prefetch->X + at * prefetch->row_bytes + prefetch->byte, 0, 2);
        prefetch->byte += 64;
        if (prefetch->byte >= prefetch->row_bytes) prefetch->byte = 0, prefetch->row++;
    }
}

// Computes the tile at row i, column j, and runs its epilogue.
SIMD void one_tile(const operands *o, real *sums, int64_t i, int64_t j, int rows, int cols, const epilogue *tail) {
    const tile_functions *tile = &tile_with[rows - 1];
    if (tail && tail->plain && cols == NR && !o->adds) {
        tile->update(tail->plain->W + i * tail->plain->ld + j, o, tail->plain);
        return;
    }
    tile->sums(sums, o, cols);
    if (tail) tail->apply(tail->job, sums, cols > NR ? WIDE_COLS : NR, i, j, rows, cols);
}

static SIMD_TARGET void tiles_of_panel(operands o, const row_tiles *cut, int64_t j, int cols, real *sums,
                                       const epilogue *tail) {
    _Alignas(64) real tile[MR * NR];
    const real *a = o.a;
    int64_t i = cut->i0;
    for (int64_t t = 0; t < cut->tiles; t++) {
        int64_t next = tile_row(cut, t + 1);
        int rows = (int)(next - i);
        o.a = a + i * o.a_row;
        if (tail && tail->far) prefetch_tile(tail, i, j, rows, cols);
        if (tail && tail->prefetch) prefetch_rows(tail->prefetch);
        one_tile(&o, sums ? sums + t * MR * NR : tile, i, j, rows, cols, tail);
        if (o.pack) o.b = o.pack, o.b_step = NR, o.pack = NULL;
        i = next;
    }
}

SIMD int panel_cols(int64_t j, int64_t end, int64_t width) { return end - j < width ? (int)(end - j) : (int)width; }

// Columns [j0, j1) of a block of rows, for one KC block. tail: the epilogue, after the last KC block; else NULL.
static SIMD_TARGET void product_block(operands o, const row_tiles *cut, int64_t j0, int64_t j1,
                                      const block_scratch *scratch, const epilogue *tail) {
    real *sums = o.adds || !tail ? scratch->sums : NULL;  // NULL: a single KC block needs no sums in memory
    int transposed = o.b_col != 1, few = cut->rows <= FEW_ROWS && !transposed;
    int far = o.k * (j1 - j0) > FAR, packs = cut->tiles >= LEAST_TILES && (far || aliases(o.b_step));
    int many = j1 - j0 > 2 * NR && cut->tiles > 1;
    if (many && aliases(o.a_step == 1 ? o.a_row : o.a_step)) copy_block(scratch->a, &o, cut);
    int64_t width = NR;
    for (int64_t j = j0; j < j1; j += width) {
        operands p = o;
        width = few && j1 - j >= WIDE_COLS ? WIDE_COLS : NR;
        if (few && cut->rows == 1 && j1 - j >= ROW_COLS) width = ROW_COLS;
        int cols = panel_cols(j, j1, width);
        p.b = o.b + j * o.b_col;
        if (p.init) p.init += j;
        if (transposed) {
            transpose_panel(scratch->panel, p.b, o.b_col, o.k, cols, far);
            p.b = scratch->panel;
            p.b_step = NR;
        } else if (packs && cols == NR) {
            p.pack = scratch->panel;
        }
        tiles_of_panel(p, cut, j, cols, sums, tail);
        if (sums) sums += cut->tiles * MR * NR;
    }
}

// product() of one row and few terms, for which setting that up takes as long as the sums. Changes o instead of a copy:
// a vector that is loaded right after its parts were stored has to wait for them.
SIMD void row_product(operands *o, mlp_block block, const epilogue *tail) {
    _Alignas(64) real sums[MR * NR];
    const real *b = o->b, *init = o->init;
    o->a += block.i0 * o->a_row;
    for (int64_t j = block.j0, width; j < block.j1; j += width) {
        width = block.j1 - j >= ROW_COLS ? ROW_COLS : block.j1 - j >= WIDE_COLS ? WIDE_COLS : NR;
        int cols = panel_cols(j, block.j1, width);
        o->b = b + j;
        if (init) o->init = init + j;
        tile_1(sums, o, cols);
        tail->apply(tail->job, sums, cols > NR ? WIDE_COLS : NR, block.i0, j, 1, cols);
    }
}

static SIMD_TARGET void product(const operands *whole, mlp_block block, void *scratch, const epilogue *tail) {
    int64_t rows = block.i1 - block.i0, k = whole->k, kc_blocks = mlp_blocks_in(k), length = mlp_block_length(k);
    if (rows <= 0) return;
    int64_t most = k > rows ? k : rows;
    if (block.j1 - block.j0 > most) most = block.j1 - block.j0;
    scratch_sizes sizes = sizes_of(rows, most, whole->b_col != 1);
    block_scratch space = {.panel = scratch};
    space.sums = space.panel + sizes.panel;
    space.a = space.sums + sizes.sums;

    row_tiles all = {block.i0, rows, (rows + MR - 1) / MR};
    int64_t each = all.tiles;
    if (all.tiles > LEAST_TILES) {
        int64_t limit = most_tiles(length), blocks = (all.tiles + limit - 1) / limit;
        each = (all.tiles + blocks - 1) / blocks;
    }
    int64_t cols = kc_blocks > 1 ? BLOCK_COLS : block.j1 - block.j0;
    for (int64_t t = 0; t < all.tiles; t += each) {
        int64_t last = least(t + each, all.tiles);
        row_tiles cut = {tile_row(&all, t), tile_row(&all, last) - tile_row(&all, t), last - t};
        for (int64_t j = block.j0; j < block.j1; j += cols) {
            for (int64_t kb = 0; kb < kc_blocks; kb++) {
                operands o = *whole;
                o.a += kb * length * o.a_step;
                o.b += kb * length * o.b_step;
                if (kb > 0) o.adds = 1, o.init = NULL;
                o.k = mlp_terms_of_block(k, kb * length);
                product_block(o, &cut, j, least(j + cols, block.j1), &space, kb == kc_blocks - 1 ? tail : NULL);
            }
        }
    }
}

// ---- Forward: a = g(x W + b) ----

typedef struct {
    real *out;         // (.., ld)
    real *z;           // forward: stores the pre-activations, or NULL
    const real *kept;  // backward: see MLP_IN_Z
    int64_t ld;
    mlp_unit g;
} layer_job;

SIMD mlp_unit unit_at(mlp_unit g, int64_t j) {
    if (g.slopes && !g.shared) g.slopes = (const real *)g.slopes + j;
    return g;
}

static SIMD_TARGET void forward_epilogue(const void *job, const real *sums, int64_t ld, int64_t i, int64_t j, int rows,
                                       int cols) {
    const layer_job *layer = job;
    int64_t at = i * layer->ld + j;
    if (layer->z) activate(layer->z + at, layer->ld, sums, ld, (mlp_unit){.kind = MLP_IDENTITY}, rows, cols);
    activate(layer->out + at, layer->ld, sums, ld, unit_at(layer->g, j), rows, cols);
}

static SIMD_TARGET void dense_forward(void *a, void *z, const void *x, const void *W, int64_t stride, const void *b,
                                      mlp_unit g, int64_t n_in, int64_t n_out, mlp_block block, void *scratch) {
    operands o = {.a = x, .a_row = n_in, .a_step = 1, .b = W, .b_step = stride, .b_col = 1, .init = b, .k = n_in};
    layer_job layer = {.out = a, .z = z, .ld = n_out, .g = g};
    epilogue tail = {.apply = forward_epilogue, .job = &layer};
    if (block.i1 - block.i0 == 1 && n_in <= MLP_KC) row_product(&o, block, &tail);
    else product(&o, block, scratch, &tail);
}

// ---- delta of the layer below: (delta W^T) * g'(z_below) ----

static SIMD_TARGET void delta_epilogue(const void *job, const real *sums, int64_t ld, int64_t i, int64_t j, int rows,
                                     int cols) {
    const layer_job *layer = job;
    int64_t at = i * layer->ld + j;
    times_derivative(layer->out + at, layer->ld, sums, ld, layer->kept + at, layer->ld, unit_at(layer->g, j), rows,
                     cols);
}

static SIMD_TARGET void delta_below(void *out, const void *delta, const void *W, int64_t stride, const void *kept,
                                    mlp_unit g, int64_t n_in, int64_t n_out, mlp_block block, void *scratch) {
    operands o = {.a = delta, .a_row = n_out, .a_step = 1, .b = W, .b_step = 1, .b_col = stride, .k = n_out};
    layer_job layer = {.out = out, .kept = kept, .ld = n_in, .g = g};
    epilogue tail = {.apply = delta_epilogue, .job = &layer, .reads = {kept}, .ld = n_in};
    tail.far = (block.i1 - block.i0) * (block.j1 - block.j0) > FAR;
    product(&o, block, scratch, &tail);
}

// ---- The weight gradient x^T delta: fused with the update tile by tile, or stored ----

typedef struct {
    const update_rule *rule;
    mlp_parameter W;  // (.., ld)
    real *dW;         // (.., dW_ld)
    int64_t ld, dW_ld, n_out;
} update_job;

static SIMD_TARGET void update_epilogue(const void *job, const real *sums, int64_t ld, int64_t i, int64_t j, int rows,
                                      int cols) {
    const update_job *to = job;
    update_rows(&to->W, i * to->ld + j, to->ld, sums, ld, to->rule, rows, cols);
}

static SIMD_TARGET void gradient_epilogue(const void *job, const real *sums, int64_t ld, int64_t i, int64_t j, int rows,
                                        int cols) {
    const update_job *to = job;
    gradient_rows(to->dW + i * to->dW_ld + j, to->dW_ld, &to->W, i * to->ld + j, to->ld, sums, ld, to->rule, rows,
                  cols);
}

// If n_out is much smaller than a vector, delta^T x is computed instead, with lanes along n_in, and its tiles are
// transposed.
SIMD int goes_transposed(int64_t n_out, const mlp_block *block) {
    int64_t rows = block->i1 - block->i0, vecs = (rows + VL - 1) / VL;
    return 2 * n_out <= VL && 2 * n_out * vecs <= rows && block->j0 == 0 && block->j1 == n_out;
}

typedef struct {
    epilogue_function *apply;
    const void *job;
} transposed_job;

static SIMD_TARGET void transposed_epilogue(const void *job, const real *sums, int64_t ld, int64_t j, int64_t i,
                                            int cols, int rows) {
    const transposed_job *to = job;
    real transposed[MR * NR + VL];  // (rows, cols); VL more, since `apply` reads whole vectors
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < cols; c++) transposed[r * cols + c] = sums[c * ld + r];
    }
    to->apply(to->job, transposed, cols, i, j, rows, cols);
}

static SIMD_TARGET void transposed_product(const update_job *to, epilogue_function *apply, mlp_prefetch *prefetch,
                                           const void *x, const void *delta, int64_t B, int64_t n_in, mlp_block block,
                                           void *scratch) {
    operands o = {.a = delta, .a_row = 1, .a_step = to->n_out, .b = x, .b_step = n_in, .b_col = 1, .k = B};
    transposed_job transposed = {apply, to};
    // prefetch->lines assumes tiles of MR rows of W; here a tile covers as many as the width that product_block
    // chooses.
    int64_t width = to->n_out == 1 ? ROW_COLS : to->n_out <= FEW_ROWS ? WIDE_COLS : NR;
    if (prefetch) prefetch->lines *= (int)((width + MR - 1) / MR);
    epilogue tail = {.apply = transposed_epilogue, .job = &transposed, .prefetch = prefetch};
    product(&o, (mlp_block){block.j0, block.j1, block.i0, block.i1}, scratch, &tail);
}

static SIMD_TARGET void gradient_product(const update_job *to, epilogue_function *apply, const plain_update *plain,
                                         mlp_prefetch *prefetch, const void *x, const void *delta, int64_t B,
                                         int64_t n_in, mlp_block block, void *scratch) {
    if (goes_transposed(to->n_out, &block)) {
        transposed_product(to, apply, prefetch, x, delta, B, n_in, block, scratch);
        return;
    }
    operands o = {.a = x, .a_row = 1, .a_step = n_in, .b = delta, .b_step = to->n_out, .b_col = 1, .k = B};
    epilogue tail = {.apply = apply, .job = to, .reads = {to->W.values}, .ld = to->ld, .plain = plain};
    tail.prefetch = prefetch;
    int arrays = 1;
    for (; arrays <= MLP_MOST_STATES && to->W.state[arrays - 1]; arrays++) tail.reads[arrays] = to->W.state[arrays - 1];
    tail.far = (block.i1 - block.i0) * (block.j1 - block.j0) * arrays > FAR;
    product(&o, block, scratch, &tail);
}

static SIMD_TARGET void update_weights(mlp_parameter W, int64_t stride, const void *x, const void *delta, int64_t B,
                                       int64_t n_in, int64_t n_out, mlp_block block, const mlp_update *update,
                                       mlp_prefetch *prefetch, void *scratch) {
    update_rule rule = rule_of(update);
    update_job to = {.rule = &rule, .W = W, .ld = stride, .n_out = n_out};
    plain_update plain = {.W = W.values, .ld = stride, .rule = &rule};
    int is_plain = rule.optimizer == MLP_SGD && rule.momentum == 0 && rule.clip == 0 && !W.mask;
    gradient_product(&to, update_epilogue, is_plain ? &plain : NULL, prefetch, x, delta, B, n_in, block, scratch);
}

static SIMD_TARGET void weight_gradient(void *dW, int64_t dW_stride, mlp_parameter W, int64_t stride, const void *x,
                                        const void *delta, int64_t B, int64_t n_in, int64_t n_out, mlp_block block,
                                        const mlp_update *update, void *scratch) {
    update_rule rule = rule_of(update);
    update_job to = {.rule = &rule, .W = W, .dW = dW, .ld = stride, .dW_ld = dW_stride, .n_out = n_out};
    gradient_product(&to, gradient_epilogue, NULL, NULL, x, delta, B, n_in, block, scratch);
}
