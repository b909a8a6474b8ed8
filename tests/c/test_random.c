// Random numbers: Philox against its published answers, the order of the examples, and the distributions of initial
// weights.
#include "check.h"
#include "reals.h"
#include "rng.h"

#define MOST 100000

static double numbers[MOST], again[MOST];
static int64_t order[MOST], other_order[MOST];

// The known answers of Random123 1.09 (kat_vectors, philox4x32 10).
static void test_philox(void) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        doing("philox, known answer %d", i);
        mlp_philox(out, known[i].counter, known[i].key);
        CHECK(memcmp(out, known[i].out, sizeof out) == 0);
    }
}

// ---- The order of the examples ----

static int is_permutation(const int64_t *p, int64_t n) {
    static char seen[MOST];
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < n; i++) {
        if (p[i] < 0 || p[i] >= n || seen[p[i]]++) return 0;
    }
    return 1;
}

static int same_order(int64_t n) { return memcmp(order, other_order, (size_t)n * sizeof *order) == 0; }

static void test_order(void) {
    static const int64_t sizes[] = {0, 1, 2, 3, 10, 1000, 1024, 1025, 4095, 4096, 4097, 65536, 65537, MOST};
    for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++) {
        int64_t n = sizes[i];
        doing("order of %d", (int)n);
        mlp_order(order, 0, n, n, 42, 7);
        mlp_order(other_order, 0, n, n, 42, 7);
        CHECK(is_permutation(order, n));
        CHECK(same_order(n));
        if (n < 10) continue;
        mlp_order(other_order, 0, n, n, 42, 8);
        CHECK(!same_order(n));
        mlp_order(other_order, 0, n, n, 43, 7);
        CHECK(!same_order(n));
        mlp_order(other_order, 0, n, n, 42 + (UINT64_C(1) << 32), 7);  // the upper bits of a seed matter too
        CHECK(!same_order(n));
    }
}

// Parts of any size, computed separately, equal those of the whole permutation; nothing else is written.
static void test_parts_of_an_order(void) {
    static const int64_t sizes[] = {1000, 1025, MOST};
    for (int i = 0; i < 3; i++) {
        int64_t n = sizes[i];
        mlp_order(order, 0, n, n, 3, 4);
        for (int64_t count = 1; count <= 300; count += 13) {
            doing("parts of %d of an order of %d", (int)count, (int)n);
            for (int64_t first = n - count; first >= 0; first -= 97 * (n / 1000)) {
                memset(other_order, 0xFF, sizeof other_order);
                mlp_order(other_order + 1, first, count, n, 3, 4);
                CHECK(other_order[0] == -1 && other_order[count + 1] == -1);
                CHECK(memcmp(other_order + 1, order + first, (size_t)count * sizeof *order) == 0);
            }
        }
        mlp_order(other_order, n, 0, n, 3, 4);
    }
}

static uint64_t hash_of(const int64_t *p, int64_t n) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);  // FNV-1a, on whole numbers instead of bytes
    for (int64_t i = 0; i < n; i++) hash = (hash ^ (uint64_t)p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

// The order for a seed and epoch must be the same in every build and for every instruction set.
static void test_order_on_every_isa(void) {
    static const struct {
        int64_t n;
        uint64_t hash;
    } known[] = {
        {301, UINT64_C(0xe95d0e7719d21d33)}, {1025, UINT64_C(0x5c63546f1258f3c7)},
        {10000, UINT64_C(0xf25c3b3c839c5d85)}, {MOST, UINT64_C(0x6053550b34a0a541)},
    };
    const char *isa;
    for (int i = 0; (isa = mlp_isa_available(i)) != NULL; i++) {
        mlp_select_isa(isa);
        for (int k = 0; k < 4; k++) {
            doing("order of %d on %s", (int)known[k].n, isa);
            mlp_order(order, 0, known[k].n, known[k].n, 2026, 1);
            CHECK(hash_of(order, known[k].n) == known[k].hash);
        }
    }
    mlp_select_isa(NULL);
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// For more than 2^32 rows only a part is checked: its rows are in 0 .. n-1, without duplicates.
static void test_order_of_very_many(void) {
    static const int64_t sizes[] = {
        INT64_C(1) << 32, (INT64_C(1) << 33) + 5, INT64_C(1) << 40, INT64_C(1) << 62, (INT64_C(1) << 62) + 1, INT64_MAX,
    };
    for (int i = 0; i < 6; i++) {
        int64_t n = sizes[i], half = MOST / 2;
        doing("order of size number %d", i);
        mlp_order(order, 0, half, n, 1, 2);
        mlp_order(order + half, n - half, half, n, 1, 2);
        double mean[2] = {0};  // of the first positions, and of the last
        for (int64_t j = 0; j < MOST; j++) mean[j / half] += (double)order[j] / (double)n / (double)half;
        for (int k = 0; k < 2; k++) CHECK(fabs(mean[k] - 0.5) < 5 * sqrt(1.0 / 12 / (double)half));
        qsort(order, MOST, sizeof *order, by_size);
        int twice = 0;
        for (int j = 1; j < MOST; j++) twice += order[j] == order[j - 1];
        CHECK(order[0] >= 0 && order[MOST - 1] < n && !twice);
    }
}

// ---- Statistics of orders, with bounds in standard deviations. Seeds are fixed, so results are deterministic ----

#define MOST_CELLS 16384
static int64_t cells[5][MOST_CELLS];

// chi^2 minus its mean, in standard deviations.
static double z_of(const int64_t *count, int64_t n) {
    double total = 0, chi2 = 0;
    for (int64_t i = 0; i < n; i++) total += (double)count[i];
    double expected = total / (double)n;
    for (int64_t i = 0; i < n; i++) chi2 += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    return (chi2 - (double)(n - 1)) / sqrt(2 * (double)(n - 1));
}

// The rank of a permutation of n, by its Lehmer code.
static int64_t number_of(const int64_t *p, int64_t n) {
    int64_t number = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t smaller = 0;
        for (int64_t j = i + 1; j < n; j++) smaller += p[j] < p[i];
        number = number * (n - i) + smaller;
    }
    return number;
}

// What is varied: the epoch with one seed, or the seed (0, 1, 2, ...) with one epoch.
static void order_number(int64_t *p, int64_t n, int by_seed, uint64_t i) {
    if (by_seed) mlp_order(p, 0, n, n, i, 3);
    else mlp_order(p, 0, n, n, 3, i);
}

static void test_few_rows_have_every_order(void) {
    int64_t orders = 1;
    for (int64_t n = 2; n <= 6; n++) {
        orders *= n;
        for (int by_seed = 0; by_seed < 2; by_seed++) {
            doing("orders of %d rows, %s", (int)n, by_seed ? "seeds" : "epochs");
            memset(cells, 0, sizeof cells);
            for (uint64_t i = 0; i < 200 * (uint64_t)orders; i++) {
                order_number(order, n, by_seed, i);
                cells[0][number_of(order, n)]++;
            }
            CHECK(fabs(z_of(cells[0], orders)) < 4);
        }
    }
}

static double cycles_in(const int64_t *p, int64_t n) {
    static char seen[MOST];
    double cycles = 0;
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < n; i++) {
        cycles += !seen[i];
        for (int64_t j = i; !seen[j]; j = p[j]) seen[j] = 1;
    }
    return cycles;
}

#define STRIPS 64

// Counts where rows come to stand, by strips of equal length; how far apart the rows of two positions are; and how far
// from the row that the order before had at that position.
static void count(int64_t n) {
    int64_t length = n / STRIPS, apart[] = {0, 1, 64, n / 2};
    for (int64_t i = 0; i < n; i++) {
        if (i / length < STRIPS && order[i] / length < STRIPS) cells[0][i / length * STRIPS + order[i] / length]++;
        for (int k = 1; k < 4; k++) {
            if (i >= apart[k]) cells[k][(order[i] - order[i - apart[k]] + n) % n - 1]++;
        }
        cells[4][(order[i] - other_order[i] + n) % n]++;
    }
}

static void check_statistics(int64_t n, int by_seed, int64_t orders) {
    double fixed = 0, cycles = 0, harmonic = 0, squares = 0;
    doing("statistics of orders of %d, %s", (int)n, by_seed ? "seeds" : "epochs");
    for (int64_t i = 1; i <= n; i++) harmonic += 1.0 / (double)i, squares += 1.0 / (double)(i * i);
    memset(cells, 0, sizeof cells);
    order_number(other_order, n, by_seed, (uint64_t)orders);
    for (int64_t e = 0; e < orders; e++) {
        order_number(order, n, by_seed, (uint64_t)e);
        count(n);
        cycles += cycles_in(order, n);
        for (int64_t i = 0; i < n; i++) fixed += order[i] == i;
        memcpy(other_order, order, (size_t)n * sizeof *order);
    }
    CHECK(fabs(z_of(cells[0], STRIPS * STRIPS)) < 4);
    for (int k = 1; k < 4; k++) CHECK(fabs(z_of(cells[k], n - 1)) < 4);
    CHECK(fabs(z_of(cells[4], n)) < 4);
    double root = sqrt((double)orders);  // mean and variance of rows that stay are 1, of cycles H_n and H_n - sum 1/i^2
    CHECK(fabs(fixed / (double)orders - 1) < 4 / root);
    CHECK(fabs(cycles / (double)orders - harmonic) < 4 * sqrt(harmonic - squares) / root);
}

static void test_statistics(void) {
    static const int64_t sizes[] = {1024, 1025, 2049, 4097, 10000};  // the first uses Fisher-Yates, the others Feistel
    for (int i = 0; i < 5; i++) {
        for (int by_seed = 0; by_seed < 2; by_seed++) check_statistics(sizes[i], by_seed, 10000000 / sizes[i]);
    }
}

// ---- Distributions ----

typedef void generator(double *out, int64_t first, int64_t count, uint64_t seed, uint64_t stream);

// The mean of (x - centre)^power.
static double moment(double centre, int power) {
    double total = 0;
    for (int i = 0; i < MOST; i++) total += pow(numbers[i] - centre, power);
    return total / MOST;
}

static void check_stream(generator *draw, const char *name) {
    doing("%s", name);
    draw(numbers, 0, MOST, 5, 1);
    draw(again, 0, MOST, 5, 1);
    CHECK(memcmp(numbers, again, sizeof numbers) == 0);
    memset(again, 0, sizeof again);
    draw(again, 7, 10, 5, 1);  // a number depends only on its position
    CHECK(memcmp(numbers + 7, again, 10 * sizeof *numbers) == 0 && again[10] == 0);
    int equal = 0;
    draw(again, 0, MOST, 6, 1);
    for (int i = 0; i < MOST; i++) equal += numbers[i] == again[i];
    draw(again, 0, MOST, 5, 2);
    for (int i = 0; i < MOST; i++) equal += numbers[i] == again[i];
    for (int i = 1; i < MOST; i++) equal += numbers[i] == numbers[i - 1];
    CHECK(equal == 0);
}

// Bounds are about five standard deviations of the sample moments.
static void test_normal(void) {
    check_stream(mlp_random_normal, "normal numbers");
    CHECK(fabs(moment(0, 1)) < 0.016);
    CHECK(fabs(moment(0, 2) - 1) < 0.023);
    CHECK(fabs(moment(0, 3)) < 0.062);
    CHECK(fabs(moment(0, 4) - 3) < 0.16);
    int beyond_three = 0;
    for (int i = 0; i < MOST; i++) beyond_three += fabs(numbers[i]) > 3;
    CHECK(beyond_three > 190 && beyond_three < 350);  // 270 expected
}

static void test_uniform(void) {
    check_stream(mlp_random_uniform, "uniform numbers");
    CHECK(fabs(moment(0.5, 1)) < 0.0046);
    CHECK(fabs(moment(0.5, 2) - 1.0 / 12) < 0.0012);
    for (int i = 0; i < MOST; i++) {
        double multiple = numbers[i] * 0x1p53;
        CHECK(numbers[i] >= 0 && numbers[i] < 1 && multiple == floor(multiple));
    }
}

static void test_every_isa(void) {
    const char *isa;
    mlp_select_isa(NULL);
    mlp_random_normal(numbers, 0, MOST, 9, 0);
    for (int i = 0; (isa = mlp_isa_available(i)) != NULL; i++) {
        doing("normal numbers on %s", isa);
        mlp_select_isa(isa);
        mlp_random_normal(again, 0, MOST, 9, 0);
        CHECK(memcmp(numbers, again, sizeof numbers) == 0);
    }
    mlp_select_isa(NULL);
}

int main(int argc, char **argv) {
    check_begin(argc, argv, 600);  // already quick: --quick changes nothing
    test_philox();
    test_order();
    test_parts_of_an_order();
    test_order_on_every_isa();
    test_order_of_very_many();
    test_few_rows_have_every_order();
    test_statistics();
    test_normal();
    test_uniform();
    test_every_isa();
    return check_end("test_random");
}
