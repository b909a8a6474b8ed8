// The machine's limit: nothing but fused multiply-adds. Template parameters: a simd/*.h.

// Two units that need four or five cycles each want ten chains in flight; twelve fit into any register file. Plain C
// has one lane and fewer registers to lose.
#define PEAK_CHAINS 12

// Returns how many floating-point operations were done. Each chain tends to 1: no overflow, no subnormal numbers.
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
    volatile real used = lane[0];  // or the compiler would leave everything out
    (void)used;
    return 2.0 * PEAK_CHAINS * VL * (double)steps;
}
