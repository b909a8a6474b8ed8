// Structs of the interface that begin with their size, which may be that of an earlier or a later version.
#ifndef MLP_SIZED_H
#define MLP_SIZED_H

#include <stddef.h>
#include <string.h>

// The struct `given` as this library knows it: itself, or a copy in `own` (size) with zeros behind the end of a shorter
// one. NULL if it has no size, or a field that is unknown here.
static inline const void *mlp_as_known(const void *given, void *own, size_t size) {
    size_t there;
    memcpy(&there, given, sizeof there);
    if (there == size) return given;
    if (there < sizeof there) return NULL;
    const unsigned char *bytes = given;
    for (size_t i = size; i < there; i++) {
        if (bytes[i]) return NULL;
    }
    memset(own, 0, size);
    memcpy(own, given, there < size ? there : size);
    memcpy(own, &size, sizeof size);
    return own;
}

// *given = as much of `own` (size) as its size reaches; 0 if it has none.
static inline int mlp_give(void *given, const void *own, size_t size) {
    size_t there;
    memcpy(&there, given, sizeof there);
    if (there < sizeof there) return 0;
    size_t n = there < size ? there : size;
    memcpy((char *)given + sizeof n, (const char *)own + sizeof n, n - sizeof n);
    return 1;
}

#endif
