// exp, log, tanh, sigmoid, log1p_unit, expm1_down, and the normal distribution and its density, of every table this
// machine can run: right to most_ulp, and the same bits in all.
//
// float32: every one of the 2^32 inputs (sigmoid, distribution and density: every third), against libm in double.
// float64: millions of samples, against libm in long double. The fastest table is measured, the others are compared
// with it bit for bit; the generic one, which may have to call fma(), on every 61st input. --quick takes every 257th
// input, or fewer samples.
#include "check.h"
#include "reals.h"

#define BLOCK 4096
#define THIN 61
#define QUICK 257
#define MOST_TABLES 8

#ifdef _OPENMP
#define PARALLEL _Pragma("omp parallel")
#define SHARE_LOOP _Pragma("omp for schedule(dynamic, 64)")
#define ONE_AT_A_TIME _Pragma("omp critical")
#else
#define PARALLEL
#define SHARE_LOOP
#define ONE_AT_A_TIME
#endif

typedef enum { EXP, LOG, TANH, SIGMOID, LOG1P_UNIT, EXPM1_DOWN, NORMAL_CDF, NORMAL_PDF, FUNCTIONS } function;
static const char *const function_name[] = {"exp",        "log",        "tanh",       "sigmoid",
                                            "log1p_unit", "expm1_down", "normal_cdf", "normal_pdf"};
static const double most_ulp[] = {2, 2, 2, 2, 2, 2, 4, 3};

// Where the results are neither trivial nor out of range, for float64.
static const struct {
    double low, high;
} interval[FUNCTIONS][2] = {
    {{-746, 711}, {-1, 1}}, {{0, 100}, {0.5, 2}}, {{-20, 20}, {-1, 1}}, {{-746, 40}, {-3, 3}}, {{0, 1}, {0, 0x1p-20}},
    {{-40, 0}, {-1, 0}}, {{-38.6, 10}, {-2, 2}}, {{-38.7, 38.7}, {-2, 2}}};

// Special arguments, tested with their neighbours: zeros, infinities, NaN, range limits, switches between formulas.
static const double special[] = {
    0, 1, 2, 0.5, 0.75, 1.5, 0.625, 10, 20, 64, 9.0109, 19.0615, 0.34657359, 0.693147180559945, FLT_MIN, DBL_MIN,
    FLT_MAX, DBL_MAX, FLT_EPSILON, DBL_EPSILON, 87.3365447505531, 88.7228390520683, 89, 103.2789299, 103.9720770839918,
    104, 708.396418532264, 709.782712893384, 710, 744.440071921381, 745.133219101941, 746, 4, 14.5, 17.33, 37.43, 38.47,
    38.58, 39, 40, 8.29, 12.88, 13.15, 14.17, 14.37, 37.519, 37.616, INFINITY, NAN};
#define SPECIALS ((int64_t)(sizeof special / sizeof *special))
#define NEIGHBOURS 256  // on either side, for either sign

typedef union {
    float f32[BLOCK];
    uint32_t bits32[BLOCK];
    double f64[BLOCK];
} numbers;

typedef void map(void *out, const void *x, int64_t n);

static map *function_of(const mlp_kernels *k, function f) {
    map *const all[FUNCTIONS] = {k->exp,        k->log,        k->tanh,       k->sigmoid,
                                  k->log1p_unit, k->expm1_down, k->normal_cdf, k->normal_pdf};
    return all[f];
}

// ---- Reference values ----

// For most floats, very small or large, the result is known; libm computes the others. |x - x^3 / 3 - tanh(x)| < x^5 /
// 7. The rounding of x / sqrt 2 and of x^2 changes erfc and exp by at most 200 units in the last place of a double.
static double truth_f32(function f, double x) {
    double size = fabs(x), t;
    switch (f) {
    case EXP: return size < 0x1p-30 ? 1 + x : size > 120 ? (x < 0 ? 0 : INFINITY) : exp(x);
    case LOG: return x < 0 ? NAN : log(x);
    case TANH: return size < 0x1p-14 ? x * (1 - x * x / 3) : size > 20 ? copysign(1, x) : tanh(x);
    case SIGMOID:
        t = size < 0x1p-30 ? 1 - size : size > 120 ? 0 : exp(-size);
        return x < 0 ? t / (1 + t) : 1 / (1 + t);
    case EXPM1_DOWN: return size < 0x1p-30 ? x : size > 120 ? -1 : expm1(x);
    case NORMAL_CDF: return size < 0x1p-30 ? 0.5 : size > 20 ? x > 0 : 0.5 * erfc(-x * (double)ONE_OVER_SQRT_2);
    case NORMAL_PDF: return size > 20 ? 0 : exp(-0.5 * x * x) * (double)ONE_OVER_SQRT_2_PI;
    default: return log1p(x);
    }
}

static long double truth_f64(function f, long double x) {
    switch (f) {
    case EXP: return expl(x);
    case LOG: return x < 0 ? (long double)NAN : logl(x);
    case TANH: return tanhl(x);
    case SIGMOID: {
        long double t = expl(-fabsl(x));
        return x < 0 ? t / (1 + t) : 1 / (1 + t);
    }
    case EXPM1_DOWN: return expm1l(x);
    case NORMAL_CDF: return normal_cdf(x);
    case NORMAL_PDF: return normal_pdf(x);
    default: return log1pl(x);
    }
}

// ---- Errors, in ulp of the dtype at the reference value; all subnormals have the same ulp ----

static uint64_t bits_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double from_bits_f64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Infinities, NaN and signs must be right: *error is then 0, or infinite. Returns 1 if there is an error to measure.
static int measurable(double truth, double got, double *error) {
    if (isfinite(truth) && isfinite(got) && signbit(truth) == signbit(got)) return 1;
    int right = isnan(truth) ? isnan(got) : isinf(truth) && got == truth;
    *error = right ? 0 : INFINITY;
    return 0;
}

// If the reference is finite but near the largest number, infinity counts as the number that would follow it.
static double error_f32(double truth, double got) {
    double error, limit = fabs(truth) >= 0x1p128 ? copysign(INFINITY, truth) : truth;
    if (isinf(got) && isfinite(limit) && fabs(truth) > FLT_MAX / 2) got = copysign(0x1p128, got);
    if (!measurable(limit, got, &error)) return error;
    uint64_t exponent = bits_f64(truth) >> 52 & 2047;
    if (exponent < 1023 - 126) exponent = 1023 - 126;
    return fabs(got - truth) * from_bits_f64((2 * 1023 + 23 - exponent) << 52);
}

static double error_f64(long double truth, double got) {
    double error, limit = (double)truth;
    if (isinf(limit) && fabsl(truth) < 0x1p1024L) limit = copysign(DBL_MAX, limit);
    int follows = isinf(got) && isfinite(limit) && fabs(limit) > DBL_MAX / 2;
    if (!measurable(limit, follows ? copysign(DBL_MAX, got) : got, &error)) return error;
    int exponent;
    frexpl(truth, &exponent);  // |truth| < 2^exponent
    if (exponent < -1021) exponent = -1021;
    long double end = follows ? copysignl(0x1p1024L, (long double)got) : (long double)got;
    return (double)ldexpl(fabsl(end - truth), 53 - exponent);
}

// ---- Inputs ----

static uint64_t hash(uint64_t i) {  // splitmix64 of an index, so that threads share no state
    uint64_t z = i * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint64_t bits_of(const mlp_kernels *k, double x) {
    if (k->dtype == MLP_FLOAT64) return bits_f64(x);
    float y = (float)x;
    uint32_t bits;
    memcpy(&bits, &y, sizeof bits);
    return bits;
}

static void put_bits(const mlp_kernels *k, void *x, int64_t i, uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    if (k->dtype == MLP_FLOAT64) memcpy((double *)x + i, &bits, sizeof bits);
    else memcpy((float *)x + i, &low, sizeof low);
}

typedef struct {
    int64_t specials, patterns, samples;  // numbers of inputs of each kind, in this order
    uint64_t first, stride;               // of the patterns
} input_plan;

static input_plan plan_inputs(const mlp_kernels *k, function f, int quick) {
    input_plan plan = {.specials = SPECIALS * 2 * (2 * NEIGHBOURS + 1)};
    if (k->dtype == MLP_FLOAT32) {
        int slow = f == SIGMOID || f == NORMAL_CDF || f == NORMAL_PDF;
        plan.stride = quick ? QUICK : strcmp(k->isa, "generic") == 0 ? THIN : slow ? 3 : 1;
        uint64_t last = f == LOG1P_UNIT ? bits_of(k, 1) : UINT32_MAX;
        if (f == EXPM1_DOWN) plan.first = bits_of(k, -0.0) + 1;
        plan.patterns = (int64_t)((last - plan.first) / plan.stride + 1);
    } else {
        plan.samples = quick ? 60000 : 6000000;
    }
    return plan;
}

static void put_special(const mlp_kernels *k, void *x, int64_t at, int64_t i) {
    int64_t distance = i % (2 * NEIGHBOURS + 1) - NEIGHBOURS, which = i / (2 * NEIGHBOURS + 1);
    double center = which % 2 ? -special[which / 2] : special[which / 2];
    put_bits(k, x, at, bits_of(k, center) + (uint64_t)distance);
}

// One third has random bits, the others are uniform in an interval.
static void put_sample(const mlp_kernels *k, function f, void *x, int64_t at, int64_t i) {
    uint64_t random = hash((uint64_t)i + 1);
    if (i % 3 == 2) {
        if (f == EXPM1_DOWN) random |= bits_of(k, -0.0);
        put_bits(k, x, at, f == LOG1P_UNIT ? random % (bits_of(k, 1) + 1) : random);
    } else {
        double low = interval[f][i % 3].low, high = interval[f][i % 3].high;
        put(k, x, at, low + (high - low) * ((double)(random >> 11) * 0x1p-53));
    }
}

static void put_input(const mlp_kernels *k, function f, const input_plan *plan, void *x, int64_t at, int64_t i) {
    if (i < plan->specials) put_special(k, x, at, i);
    else if ((i -= plan->specials) < plan->patterns) put_bits(k, x, at, plan->first + (uint64_t)i * plan->stride);
    else put_sample(k, f, x, at, i - plan->patterns);
    double y = get(k, x, at);
    if (f == LOG1P_UNIT && (y < 0 || y > 1 || (y == 0 && signbit(y)))) put(k, x, at, 1);  // outside its domain
    if (f == EXPM1_DOWN && (y > 0 || y == 0)) put(k, x, at, 0);                           // its zero has no sign
}

static void put_inputs(const mlp_kernels *k, function f, const input_plan *plan, numbers *x, int64_t first, int64_t n) {
    int64_t pattern = first - plan->specials;
    if (k->dtype == MLP_FLOAT32 && pattern >= 0 && pattern + n <= plan->patterns) {  // nearly all blocks, made fast
        uint32_t start = (uint32_t)(plan->first + (uint64_t)pattern * plan->stride), stride = (uint32_t)plan->stride;
        for (int64_t i = 0; i < n; i++) x->bits32[i] = start + (uint32_t)i * stride;
    } else {
        for (int64_t i = 0; i < n; i++) put_input(k, f, plan, x, i, first + i);
    }
}

// ---- Measuring ----

typedef struct {
    double error, error_at;  // the largest error of the first table
    int64_t inputs[MOST_TABLES], different[MOST_TABLES];
    double different_at[MOST_TABLES];
} outcome;

static void merge(outcome *into, const outcome *part) {
    if (part->error > into->error || into->inputs[0] == 0) {
        into->error = part->error;
        into->error_at = part->error_at;
    }
    for (int t = 0; t < MOST_TABLES; t++) {
        if (part->different[t]) into->different_at[t] = part->different_at[t];
        into->inputs[t] += part->inputs[t];
        into->different[t] += part->different[t];
    }
}

static void note_error(outcome *o, double error, double at) {
    if (error > o->error) {
        o->error = error;
        o->error_at = at;
    }
}

static void measure_errors(mlp_dtype dtype, function f, const void *x, const void *y, int64_t n, outcome *o) {
    const float *x32 = x, *y32 = y;
    const double *x64 = x, *y64 = y;
    for (int64_t i = 0; dtype == MLP_FLOAT32 && i < n; i++) {
        note_error(o, error_f32(truth_f32(f, (double)x32[i]), (double)y32[i]), (double)x32[i]);
    }
    for (int64_t i = 0; dtype == MLP_FLOAT64 && i < n; i++) {
        note_error(o, error_f64(truth_f64(f, (long double)x64[i]), y64[i]), x64[i]);
    }
    o->inputs[0] += n;
}

// Compares table number t, k, with the results y of the first table.
static void compare_bits(const mlp_kernels *k, int t, function f, const void *x, const void *y, int64_t n, outcome *o) {
    numbers out;
    function_of(k, f)(&out, x, n);
    o->inputs[t] += n;
    if (memcmp(&out, y, (size_t)n * k->real_size) == 0) return;
    for (int64_t i = 0; i < n; i++) {  // they may differ in the bits of NaN
        if (!same(get(k, &out, i), get(k, y, i))) {
            o->different[t]++;
            o->different_at[t] = get(k, x, i);
        }
    }
}

// Keeps every THIN-th of n numbers; returns how many.
static int64_t thin_out(const mlp_kernels *k, void *thin, const void *all, int64_t n) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += THIN) put(k, thin, count++, get(k, all, i));
    return count;
}

static void test_block(function f, mlp_dtype dtype, const input_plan *plan, int64_t first, int64_t n, outcome *o) {
    const mlp_kernels *k = mlp_kernels_available(0, dtype);
    numbers x, y, thin_x, thin_y;
    put_inputs(k, f, plan, &x, first, n);
    function_of(k, f)(&y, &x, n);
    measure_errors(dtype, f, &x, &y, n, o);
    for (int t = 1; t < MOST_TABLES && (k = mlp_kernels_available(t, dtype)) != NULL; t++) {
        if (plan->patterns > 0 && first >= plan->specials && strcmp(k->isa, "generic") == 0) {
            int64_t count = thin_out(k, &thin_x, &x, n);
            thin_out(k, &thin_y, &y, n);
            compare_bits(k, t, f, &thin_x, &thin_y, count, o);
        } else {
            compare_bits(k, t, f, &x, &y, n, o);
        }
    }
}

static outcome test_inputs(function f, mlp_dtype dtype, const input_plan *plan) {
    int64_t inputs = plan->specials + plan->patterns + plan->samples, blocks = (inputs + BLOCK - 1) / BLOCK;
    outcome total = {0};
    PARALLEL {
        outcome part = {0};
        SHARE_LOOP
        for (int64_t b = 0; b < blocks; b++) {
            int64_t begin = b * BLOCK;
            test_block(f, dtype, plan, begin, inputs - begin < BLOCK ? inputs - begin : BLOCK, &part);
        }
        ONE_AT_A_TIME
        merge(&total, &part);
    }
    return total;
}

static void test_function(function f, mlp_dtype dtype, int quick) {
    const mlp_kernels *k = mlp_kernels_available(0, dtype);
    input_plan plan = plan_inputs(k, f, quick);
    doing("%s %s %s", function_name[f], dtype_name(k), k->isa);
    outcome o = test_inputs(f, dtype, &plan);
    printf("%s: max error %.3f ulp at %a (%lld inputs)\n", check_doing, o.error, o.error_at, (long long)o.inputs[0]);
    CHECK(o.error <= most_ulp[f]);
    for (int t = 1; t < MOST_TABLES && mlp_kernels_available(t, dtype); t++) {
        doing("%s %s %s", function_name[f], dtype_name(k), mlp_kernels_available(t, dtype)->isa);
        if (o.different[t] == 0) {
            printf("%s: same bits as %s (%lld inputs)\n", check_doing, k->isa, (long long)o.inputs[t]);
        } else {
            printf("%s: differs from %s on %lld of %lld inputs, e.g. %a\n", check_doing, k->isa,
                   (long long)o.different[t], (long long)o.inputs[t], o.different_at[t]);
        }
        CHECK(o.inputs[t] > 0 && o.different[t] == 0);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    int quick = check_begin(argc, argv, 1800);
    for (int dtype = MLP_FLOAT32; dtype <= MLP_FLOAT64; dtype++) {
        for (int f = 0; f < FUNCTIONS; f++) test_function((function)f, (mlp_dtype)dtype, quick);
    }
    return check_end("test_math");
}
