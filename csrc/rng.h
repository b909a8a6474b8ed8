// Counter-based random numbers: Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011). The numbers depend only on key and counter, not on threads or the order in which they are drawn.
#ifndef MLP_RNG_H
#define MLP_RNG_H

#include <stdint.h>

#define MLP_PHILOX_0 0xD2511F53u  // multipliers
#define MLP_PHILOX_1 0xCD9E8D57u
#define MLP_PHILOX_WEYL_0 0x9E3779B9u  // the Weyl constants of the paper: the golden ratio and sqrt(3) - 1
#define MLP_PHILOX_WEYL_1 0xBB67AE85u

static inline void mlp_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)MLP_PHILOX_0 * c0, product1 = (uint64_t)MLP_PHILOX_1 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += MLP_PHILOX_WEYL_0;
        k1 += MLP_PHILOX_WEYL_1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// Two 64-bit numbers for (seed, stream, position). Each use of a seed has its own stream: the highest bits of `stream`
// are the use (MLP_STREAM_*), the others an epoch or a layer.
static inline void mlp_random_pair(uint64_t out[2], uint64_t seed, uint64_t stream, uint64_t position) {
    uint32_t word[4], key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    mlp_philox(word, counter, key);
    out[0] = (uint64_t)word[1] << 32 | word[0];
    out[1] = (uint64_t)word[3] << 32 | word[2];
}

#define MLP_STREAM_SHUFFLE (UINT64_C(1) << 56)
#define MLP_STREAM_UNIFORM (UINT64_C(2) << 56)
#define MLP_STREAM_NORMAL (UINT64_C(3) << 56)
#define MLP_STREAM_DROPOUT (UINT32_C(4) << 24)  // 32-bit streams, see kernels/random.inc.h; plus the layer
#define MLP_STREAM_NOISE (UINT32_C(5) << 24)

#endif
