// Selects the kernel table by CPU features.
#include "build.h"
#include "kernel_table.h"

#include <string.h>

#if defined(MLP_NO_FLOAT64)
#define F64(table) NULL
#else
#define F64(table) &table
extern const mlp_kernels mlp_kernels_generic_f64, mlp_kernels_avx2_f64, mlp_kernels_avx512_f64, mlp_kernels_neon_f64;
extern const mlp_kernels mlp_kernels_generic_fma_f64;
#endif
extern const mlp_kernels mlp_kernels_generic_f32, mlp_kernels_avx2_f32, mlp_kernels_avx512_f32, mlp_kernels_neon_f32;
extern const mlp_kernels mlp_kernels_generic_fma_f32;

typedef struct {
    int (*runs_here)(void);
    const mlp_kernels *f32, *f64;
} candidate;

#if defined(MLP_HAS_AVX2) || defined(MLP_HAS_AVX512) || defined(MLP_HAS_GENERIC_FMA)
// Leaf 1: ECX bit 12 FMA, 26 XSAVE, 27 OSXSAVE, 28 AVX. Leaf 7, 0: EBX bit 5 AVX2, 16 AVX512F, 17 AVX512DQ, 31 AVX512VL.
// XCR0, which registers the system saves: bits 1 SSE, 2 AVX, 5 to 7 AVX-512. Intel's Software Developer's Manual, volume 1,
// chapters 14 and 15. Compilers have __builtin_cpu_supports for this, and some not the library that it needs.
typedef struct {
    unsigned eax, ebx, ecx, edx;
} cpuid_words;

static cpuid_words cpuid(unsigned leaf) {
    cpuid_words w;
    __asm__ volatile("cpuid" : "=a"(w.eax), "=b"(w.ebx), "=c"(w.ecx), "=d"(w.edx) : "a"(leaf), "c"(0));
    return w;
}

static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has(unsigned of_leaf_1, unsigned of_leaf_7, unsigned registers) {
    of_leaf_1 |= 1u << 26 | 1u << 27;
    if ((cpuid(1).ecx & of_leaf_1) != of_leaf_1) return 0;
    if (of_leaf_7 && (cpuid(0).eax < 7 || (cpuid(7).ebx & of_leaf_7) != of_leaf_7)) return 0;
    return (saved_registers() & registers) == registers;
}

static int has_fma(void) { return has(1u << 12 | 1u << 28, 0, 0x6); }
#endif
#if defined(MLP_HAS_AVX2) || defined(MLP_HAS_AVX512)
static int has_avx2(void) { return has_fma() && has(0, 1u << 5, 0); }
#endif
#if defined(MLP_HAS_AVX512)
static int has_avx512(void) { return has_avx2() && has(0, 1u << 16 | 1u << 17 | 1u << 31, 0xE6); }
#endif
#if defined(MLP_HAS_GENERIC_FMA) && defined(MLP_HAS_GENERIC)
static int has_no_fma(void) { return !has_fma(); }
#elif defined(MLP_HAS_NEON) || defined(MLP_HAS_GENERIC)
static int always(void) { return 1; }
#endif

static const candidate candidates[] = {  // best first
#if defined(MLP_HAS_AVX512)
    {has_avx512, &mlp_kernels_avx512_f32, F64(mlp_kernels_avx512_f64)},
#endif
#if defined(MLP_HAS_AVX2)
    {has_avx2, &mlp_kernels_avx2_f32, F64(mlp_kernels_avx2_f64)},
#endif
#if defined(MLP_HAS_NEON)
    {always, &mlp_kernels_neon_f32, F64(mlp_kernels_neon_f64)},  // NEON is part of AArch64
#endif
#if defined(MLP_HAS_GENERIC_FMA)
    {has_fma, &mlp_kernels_generic_fma_f32, F64(mlp_kernels_generic_fma_f64)},  // both of plain C are called "generic"
#endif
#if defined(MLP_HAS_GENERIC_FMA) && defined(MLP_HAS_GENERIC)
    {has_no_fma, &mlp_kernels_generic_f32, F64(mlp_kernels_generic_f64)},
#elif defined(MLP_HAS_GENERIC)
    {always, &mlp_kernels_generic_f32, F64(mlp_kernels_generic_f64)},
#endif
};
#define CANDIDATES ((int)(sizeof candidates / sizeof *candidates))

static const candidate *_Atomic chosen;  // set once, or by mlp_select_isa; two threads choose the same

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

const char *mlp_isa(void) {
    const mlp_kernels *kernels = mlp_kernels_for(MLP_FLOAT32);
    return kernels ? kernels->isa : "none";
}

const mlp_kernels *mlp_kernels_for(mlp_dtype dtype) {
    const candidate *c = chosen;
    if (!c) mlp_select_isa(NULL), c = chosen;
    return !c ? NULL : dtype == MLP_FLOAT32 ? c->f32 : c->f64;
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
