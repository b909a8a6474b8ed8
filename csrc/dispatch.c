// Selects the kernel table by CPU features.
#include "kernel_table.h"

#include <string.h>

extern const mlp_kernels mlp_kernels_generic_f32, mlp_kernels_generic_f64;
#if defined(__x86_64__)
extern const mlp_kernels mlp_kernels_avx2_f32, mlp_kernels_avx2_f64;
extern const mlp_kernels mlp_kernels_avx512_f32, mlp_kernels_avx512_f64;
#elif defined(__aarch64__)
extern const mlp_kernels mlp_kernels_neon_f32, mlp_kernels_neon_f64;
#endif

typedef struct {
    int (*runs_here)(void);
    const mlp_kernels *f32, *f64;
} candidate;

static int always(void) { return 1; }

// __builtin_cpu_supports checks CPUID, and by XGETBV that the operating system saves the registers.
#if defined(__x86_64__)
static int has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

static const candidate candidates[] = {  // best first
#if defined(__x86_64__)
    {has_avx512, &mlp_kernels_avx512_f32, &mlp_kernels_avx512_f64},
    {has_avx2, &mlp_kernels_avx2_f32, &mlp_kernels_avx2_f64},
#elif defined(__aarch64__)
    {always, &mlp_kernels_neon_f32, &mlp_kernels_neon_f64},  // NEON is part of AArch64
#endif
    {always, &mlp_kernels_generic_f32, &mlp_kernels_generic_f64},
};
#define CANDIDATES ((int)(sizeof candidates / sizeof *candidates))

static const candidate *chosen;

static const candidate *available(int i) {
    for (int c = 0; i >= 0 && c < CANDIDATES; c++) {
        if (candidates[c].runs_here() && i-- == 0) return &candidates[c];
    }
    return NULL;
}

const char *mlp_isa_available(int i) {
    const candidate *c = available(i);
    return c ? c->f32->isa : NULL;
}

const mlp_kernels *mlp_kernels_available(int i, mlp_dtype dtype) {
    const candidate *c = available(i);
    return !c ? NULL : dtype == MLP_FLOAT32 ? c->f32 : c->f64;
}

mlp_status mlp_select_isa(const char *name) {
    const candidate *c;
    for (int i = 0; (c = available(i)) != NULL; i++) {
        if (!name || strcmp(name, c->f32->isa) == 0) {
            chosen = c;
            return MLP_OK;
        }
    }
    return MLP_BAD_ARGUMENT;
}

int mlp_version(void) { return MLP_VERSION; }

const char *mlp_isa(void) { return mlp_kernels_for(MLP_FLOAT32)->isa; }

const mlp_kernels *mlp_kernels_for(mlp_dtype dtype) {
    if (!chosen) mlp_select_isa(NULL);
    return dtype == MLP_FLOAT32 ? chosen->f32 : chosen->f64;
}

#define QUOTE(x) #x
#define TEXT(x) QUOTE(x)
const char *mlp_compiler(void) {
#if defined(__clang__)
    return "clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(__clang_patchlevel__);
#elif defined(__GNUC__)
    return "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__);
#else
    return "unknown";
#endif
}
