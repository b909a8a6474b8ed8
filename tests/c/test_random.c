// Random numbers: Philox against its published answers, permutations, and the distributions of initial weights.
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

// ---- Shuffle ----

static int is_permutation(const int64_t *p, int64_t n) {
    static char seen[MOST];
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < n; i++) {
        if (p[i] < 0 || p[i] >= n || seen[p[i]]++) return 0;
    }
    return 1;
}

static int same_order(int64_t n) { return memcmp(order, other_order, (size_t)n * sizeof *order) == 0; }

static void test_shuffle(void) {
    static const int64_t sizes[] = {0, 1, 2, 3, 10, 1000, MOST};
    for (int i = 0; i < 7; i++) {
        int64_t n = sizes[i];
        doing("shuffle of %d", (int)n);
        mlp_shuffle(order, n, 42, 7);
        mlp_shuffle(other_order, n, 42, 7);
        CHECK(is_permutation(order, n));
        CHECK(same_order(n));
        if (n < 10) continue;
        mlp_shuffle(other_order, n, 42, 8);
        CHECK(!same_order(n));
        mlp_shuffle(other_order, n, 43, 7);
        CHECK(!same_order(n));
        mlp_shuffle(other_order, n, 42 + (UINT64_C(1) << 32), 7);  // all bits of a seed count
        CHECK(!same_order(n));
    }
}

// Each of the 24 orders of four should come about 1000 times in 24,000: the standard deviation is 31.
static void test_shuffle_is_fair(void) {
    int count[256] = {0};
    doing("fairness of the shuffle of 4");
    for (uint64_t epoch = 0; epoch < 24000; epoch++) {
        mlp_shuffle(order, 4, 3, epoch);
        count[order[0] * 64 + order[1] * 16 + order[2] * 4 + order[3]]++;
    }
    int orders = 0;
    for (int i = 0; i < 256; i++) {
        orders += count[i] > 0;
        CHECK(count[i] == 0 || (count[i] > 840 && count[i] < 1160));
    }
    CHECK(orders == 24);
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
    draw(again, 7, 10, 5, 1);  // a number depends on its place alone
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
    check_begin(argc, argv, 600);  // quick as it is
    test_philox();
    test_shuffle();
    test_shuffle_is_fair();
    test_normal();
    test_uniform();
    test_every_isa();
    return check_end("test_random");
}
