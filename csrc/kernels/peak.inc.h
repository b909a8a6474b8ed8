// Measures the peak rate of a core: fused multiply-adds only. Template parameters: a simd/*.h.

// Two units with a latency of four or five cycles need ten independent chains; twelve fit into the registers of every
// instruction set.
#define PEAK_CHAINS 12

// Returns the number of floating-point operations. Each chain converges to 1: no overflow, no subnormal numbers.
static SIMD_TARGET double multiply_adds(int64_t steps) {
    vreal sum[PEAK_CHAINS], half = v_set1((real)0.5);
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = v_set1((real)i);
    for (int64_t s = 0; s < steps; s++) {
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = v_fma(sum[i], half, half);
    }
    vreal total = v_zero();
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) total = v_add(total, sum[i]);
    real lane[VL];
    v_store(lane, total);
    volatile real used = lane[0];  // keeps the compiler from removing the loop
    (void)used;
    return 2.0 * PEAK_CHAINS * VL * (double)steps;
}
