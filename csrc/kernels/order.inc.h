// The order of the examples: the row at each position, computed independently for each position in integer arithmetic.
//
// A position p = right 2^left_bits + left passes through a generalized Feistel network with halves left < 2^left_bits
// and right < right_count: alternately a keyed hash of one half is added to the other, modulo its range. This permutes
// 0 .. 2^left_bits right_count - 1. Cycle walking restricts it to 0 .. n-1: a result of n or more is permuted again,
// until it is below n. Fewer than a fraction sqrt(2 / n) of the positions need that. Sources: Black and Rogaway,
// "Ciphers with arbitrary finite domains" (CT-RSA 2002), for both; Mitchell, Stokes, Frank and Holmes,
// "Bandwidth-optimal random shuffling for GPUs" (2021), for shuffling by them.
//
// Four rounds per half. The dependence between rows at neighbouring positions is the last statistical defect to vanish
// with more rounds and larger n: chi^2 of their distance, in standard deviations above its mean, over 3e7 positions:
//     rounds of both halves    5      6     7     8
//     1,025 rows (32 x 33)   450     11   0.2  -1.7
//     2,049 rows (64 x 33)   697     15   2.8  -0.5
// and with eight 1.7 over 5e8 positions (488,000 orders) of 1,025 rows. Which rows share a minibatch is already uniform
// after four. For up to MLP_FEW_ROWS rows rng.c draws the order directly.

#define ORDERED 256  // positions per batch

// The multiply-shift hash of Dietzfelbinger et al. (1997) with a random odd factor, after mixing the bits of x. Callers
// use its upper bits, which depend on all bits of x.
SIMD uint32_t keyed_hash(uint32_t x, const uint32_t key[2]) {
    x = (x ^ key[0]) * MLP_PHILOX_0;
    return (x ^ x >> 15) * key[1];
}

SIMD uint32_t left_after(uint32_t left, uint32_t right, const uint32_t key[2], int left_bits) {
    return (left + (keyed_hash(right, key) >> (32 - left_bits))) & (uint32_t)((UINT64_C(1) << left_bits) - 1);
}

SIMD uint32_t right_after(uint32_t right, uint32_t left, const uint32_t key[2], uint32_t right_count) {
    uint32_t sum = right + (uint32_t)((uint64_t)keyed_hash(left, key) * right_count >> 32), less = sum - right_count;
    return less < sum ? less : sum;  // modulo right_count: if sum < right_count, the subtraction wrapped around
}

static SIMD_TARGET int64_t walk_on(int64_t row, const mlp_permutation *p) {
    while (row >= p->n) {
        uint32_t left = (uint32_t)((uint64_t)row & ((UINT64_C(1) << p->left_bits) - 1));
        uint32_t right = (uint32_t)((uint64_t)row >> p->left_bits);
        for (int round = 0; round < MLP_ORDER_ROUNDS; round++) {
            left = left_after(left, right, p->left_key[round], p->left_bits);
            right = right_after(right, left, p->right_key[round], p->right_count);
        }
        row = (int64_t)((uint64_t)right << p->left_bits | left);
    }
    return row;
}

static SIMD_TARGET void order(int64_t *rows, int64_t first, int64_t count, const mlp_permutation *p) {
    uint32_t left[ORDERED], right[ORDERED], right_count[ORDERED];
    // An array of equal numbers: with a scalar factor GCC does not recognize the 32 x 32 -> 64-bit product.
    for (int i = 0; i < ORDERED; i++) right_count[i] = p->right_count;
    for (int64_t done = 0; done < count; done += ORDERED) {
        int64_t some = count - done < ORDERED ? count - done : ORDERED;
        for (int i = 0; i < ORDERED; i++) {  // positions beyond count are computed too and discarded
            uint64_t position = (uint64_t)(first + done) + (uint64_t)i;
            left[i] = (uint32_t)(position & ((UINT64_C(1) << p->left_bits) - 1));
            right[i] = (uint32_t)(position >> p->left_bits);
        }
        for (int round = 0; round < MLP_ORDER_ROUNDS; round++) {
            for (int i = 0; i < ORDERED; i++) {
                left[i] = left_after(left[i], right[i], p->left_key[round], p->left_bits);
                right[i] = right_after(right[i], left[i], p->right_key[round], right_count[i]);
            }
        }
        for (int64_t i = 0; i < some; i++) rows[done + i] = (int64_t)((uint64_t)right[i] << p->left_bits | left[i]);
        for (int64_t i = 0; i < some; i++) rows[done + i] = walk_on(rows[done + i], p);
    }
}
