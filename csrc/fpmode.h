// The floating-point mode: rounding, subnormal numbers, traps. Results must not depend on the caller's mode or on the
// mode that a worker thread inherited, so all computing code enters one of two modes and restores the previous one:
//   core     rounds to nearest and flushes subnormal inputs and results to 0. For the kernels: on many processors an
//            operation with a subnormal number takes up to a hundred times as long.
//   default  the initial mode of a C program, with subnormal numbers. For Python code, including users' functions.
// x86-64 detects tininess after rounding, AArch64 before: a result that rounds up to the smallest normal number is kept
// on x86-64 and becomes 0 on AArch64.
#ifndef MLP_FPMODE_H
#define MLP_FPMODE_H

#include <stdint.h>

#if defined(__x86_64__)

typedef unsigned mlp_fpmode;
static inline mlp_fpmode mlp_fpmode_now(void) {
    mlp_fpmode mode;
    __asm__ volatile("stmxcsr %0" : "=m"(mode) : : "memory");
    return mode;
}
static inline void mlp_fpmode_set(mlp_fpmode mode) { __asm__ volatile("ldmxcsr %0" : : "m"(mode) : "memory"); }
static inline mlp_fpmode mlp_fpmode_default(void) { return 0x1f80; }
static inline mlp_fpmode mlp_fpmode_core(void) { return 0x1f80 | 0x8000 | 0x0040; }  // with FTZ and DAZ
// The lowest six bits are exception flags, not part of the mode.
static inline int mlp_fpmode_is(mlp_fpmode mode, mlp_fpmode other) { return ((mode ^ other) & ~0x3fu) == 0; }

#elif defined(__aarch64__)

typedef uint64_t mlp_fpmode;
static inline mlp_fpmode mlp_fpmode_now(void) {
    mlp_fpmode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
    return mode;
}
static inline void mlp_fpmode_set(mlp_fpmode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
static inline mlp_fpmode mlp_fpmode_default(void) { return 0; }
static inline mlp_fpmode mlp_fpmode_core(void) { return UINT64_C(1) << 24; }  // FZ
static inline int mlp_fpmode_is(mlp_fpmode mode, mlp_fpmode other) { return mode == other; }

#else

#include <fenv.h>

typedef fenv_t mlp_fpmode;
static inline mlp_fpmode mlp_fpmode_now(void) {
    mlp_fpmode mode;
    fegetenv(&mode);
    return mode;
}
static inline void mlp_fpmode_set(mlp_fpmode mode) { fesetenv(&mode); }
// FE_DFL_ENV may be a special value that cannot be dereferenced, so it is installed and read back.
static inline mlp_fpmode mlp_fpmode_default(void) {
    mlp_fpmode before = mlp_fpmode_now(), mode;
    fesetenv(FE_DFL_ENV);
    fegetenv(&mode);
    fesetenv(&before);
    return mode;
}
static inline mlp_fpmode mlp_fpmode_core(void) { return mlp_fpmode_default(); }  // standard C cannot flush subnormals
static inline int mlp_fpmode_is(mlp_fpmode mode, mlp_fpmode other) { return (void)mode, (void)other, 0; }

#endif

// The x87 unit has a separate rounding mode, which fesetround also sets. The core does not use it, but NumPy's long
// doubles do.
#if defined(__x86_64__)

static inline unsigned short mlp_x87_now(void) {
    unsigned short word;
    __asm__ volatile("fnstcw %0" : "=m"(word) : : "memory");
    return word;
}
static inline void mlp_x87_set(unsigned short word) {
    if (word != mlp_x87_now()) __asm__ volatile("fldcw %0" : : "m"(word) : "memory");
}
static inline unsigned short mlp_x87_default(void) { return 0x037f; }

#else

static inline unsigned short mlp_x87_now(void) { return 0; }
static inline void mlp_x87_set(unsigned short word) { (void)word; }
static inline unsigned short mlp_x87_default(void) { return 0; }

#endif

// Reading the mode takes a few nanoseconds, writing it more, so it is only written if it differs.
static inline mlp_fpmode mlp_fpmode_change(mlp_fpmode mode) {
    mlp_fpmode before = mlp_fpmode_now();
    if (!mlp_fpmode_is(before, mode)) mlp_fpmode_set(mode);
    return before;
}

static inline mlp_fpmode mlp_fpmode_enter_core(void) { return mlp_fpmode_change(mlp_fpmode_core()); }
static inline mlp_fpmode mlp_fpmode_enter_default(void) { return mlp_fpmode_change(mlp_fpmode_default()); }

static inline void mlp_fpmode_leave(mlp_fpmode before) { mlp_fpmode_change(before); }

#endif
