// The file format of safetensors, read from memory: the header's length (8 bytes, little-endian), the header, a JSON
// object {"__metadata__": {name: text}, tensor: {"dtype": "F32", "shape": [n, m], "data_offsets": [begin, end]}}, and
// the numbers of all tensors one after the other, little-endian, in rows without padding. What mlpfast/_safetensors.py
// refuses is refused here.
//
// Nothing is believed: the header has been checked as a whole, and that each tensor lies within the file, before any of
// it is used. Names and texts stay in the header; the index knows where they are.
#ifndef MLP_SAFETENSORS_H
#define MLP_SAFETENSORS_H

#include "mlpfast.h"

// A name of the header, and what belongs to it: where both begin.
typedef struct {
    uint32_t name, value;
} mlp_entry;

typedef struct {
    const mlp_entry *entries;  // (n), in the order of their names, each different
    size_t n;
} mlp_entries;

#define MLP_FEW_ENTRIES 256  // need no memory besides: a network of some 50 layers

typedef struct {
    const unsigned char *header, *data;
    size_t length, size;  // of both, in bytes
    mlp_entries texts, tensors;
    mlp_entry few[MLP_FEW_ENTRIES];
    mlp_entry *many;      // NULL: few suffice
    const char *problem;  // with MLP_BAD_FILE
    size_t at;            // where in the header
} mlp_safetensors;

typedef enum { MLP_BOOL, MLP_F32, MLP_F64, MLP_OTHER_TENSOR } mlp_tensor_type;

typedef struct {
    mlp_tensor_type type;
    int dimensions;
    uint64_t shape[2];           // of the first two
    const unsigned char *bytes;  // of any alignment
} mlp_tensor;

// After any status: mlp_safetensors_close. MLP_BAD_FILE or MLP_NO_MEMORY if there is nothing to read.
mlp_status mlp_safetensors_open(mlp_safetensors *file, const void *bytes, size_t n);
void mlp_safetensors_close(mlp_safetensors *file);

// The entry of that name, or NULL.
const mlp_entry *mlp_entry_of(const mlp_safetensors *file, mlp_entries among, const char *name);
mlp_tensor mlp_tensor_of(const mlp_safetensors *file, const mlp_entry *entry);

// The text that begins at `at`, decoded into UTF-8 with a 0 at its end: its length, or -1 if it is longer than
// MLP_MOST_TEXT - 1 bytes, or has a character that is none.
#define MLP_MOST_TEXT 256
int mlp_text(const mlp_safetensors *file, uint32_t at, char text[MLP_MOST_TEXT]);
// Whether a name begins with these letters; how many dots it has.
int mlp_name_begins(const mlp_safetensors *file, uint32_t at, const char *letters);
int mlp_dots(const mlp_safetensors *file, uint32_t at);

#endif
