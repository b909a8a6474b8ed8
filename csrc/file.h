// What reading and writing files of networks have in common. mlpfast/files.py says what is in a file.
#ifndef MLP_FILE_H
#define MLP_FILE_H

#include <string.h>

#include "network.h"

#define MLP_FILE_VERSION "1"
#define MLP_MOST_HEADER ((size_t)1 << 20)

// The names of mlpfast/initializers.py, which C only passes on; the first is the usual one.
#define MLP_INITIALIZERS 10
static const char *const mlp_initializers[MLP_INITIALIZERS] = {
    "auto", "xavier_normal", "xavier_uniform", "he_normal", "he_uniform", "lecun_normal", "normal", "uniform", "torch",
    "zeros",
};

// Texts that mean something else where a name stands: WORDS in _texts.py.
static inline int mlp_is_word(const char *text) {
    static const char *const words[] = {"true", "false", "none", "inf", "-inf", "nan"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) return 1;
    }
    return 0;
}

static inline char *mlp_row_of(const mlp_network *net, const mlp_layer *layer, void *matrix, int64_t i) {
    return (char *)matrix + (size_t)(i * layer->stride) * net->kernels->real_size;
}

// n numbers to or from the bytes of a file, which are little-endian.
static inline void mlp_copy_reals(void *to, const void *from, int64_t n, size_t size) {
    memcpy(to, from, (size_t)n * size);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (unsigned char *p = to, *end = p + (size_t)n * size; p < end; p += size) {
        for (size_t i = 0; i < size / 2; i++) {
            unsigned char other = p[i];
            p[i] = p[size - 1 - i], p[size - 1 - i] = other;
        }
    }
#endif
}

#endif
