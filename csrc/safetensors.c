// Reading the header of a safetensors file: a strict reader of the JSON that it is, and an index of its names.
#include "build.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#define MOST_HEADER ((size_t)1 << 20)
#define MOST_DIMENSIONS 32
#define MOST_DIGITS 19

// ---- Characters ----

// The number of bytes of the character in UTF-8 at p, or 0 if it is none. RFC 3629.
static size_t utf8_length(const unsigned char *p, size_t left) {
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    if (n > left) return 0;
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) return 0;
    }
    if (n == 3 && ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F))) return 0;  // too long; surrogates
    if (n == 4 && ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))) return 0;
    return n;
}

static int hex_value(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Four hexadecimal digits, or -1.
static int32_t hex4(const unsigned char *p) {
    int32_t x = 0;
    for (int i = 0; i < 4; i++) {
        if (hex_value(p[i]) < 0) return -1;
        x = x * 16 + hex_value(p[i]);
    }
    return x;
}

// The next character of a text that has been checked, with *at moved behind it; -1 at its end. A surrogate without the
// other one is a character, as in Python.
static int32_t next_character(const unsigned char *text, size_t *at) {
    const unsigned char *p = text + *at;
    if (*p == '"') return -1;
    if (*p != '\\') {
        size_t n = utf8_length(p, 4);
        int32_t c = n == 1 ? p[0] : p[0] & (0x7F >> n);
        for (size_t i = 1; i < n; i++) c = c << 6 | (p[i] & 0x3F);
        *at += n;
        return c;
    }
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (p[1] != 'u') {
        *at += 2;
        return meant[strchr(letters, p[1]) - letters];
    }
    int32_t c = hex4(p + 2), low = c >> 10 == 0x36 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : 0;
    *at += low >> 10 == 0x37 ? 12 : 6;
    return low >> 10 == 0x37 ? 0x10000 + ((c & 0x3FF) << 10 | (low & 0x3FF)) : c;
}

// Below 0, 0 or above, like strcmp, of two texts whose quotes are at a and b.
static int compare(const unsigned char *header, uint32_t a, uint32_t b) {
    size_t i = a + (size_t)1, j = b + (size_t)1;
    for (;;) {
        int32_t c = next_character(header, &i), d = next_character(header, &j);
        if (c != d) return c < d ? -1 : 1;
        if (c < 0) return 0;
    }
}

// The same of a text and ASCII letters. only: as many characters as there are letters.
static int compare_letters(const unsigned char *header, uint32_t a, const char *letters, int only) {
    size_t i = a + (size_t)1;
    for (;; letters++) {
        if (!*letters && only) return 0;
        int32_t c = next_character(header, &i), d = *letters ? *letters : -1;
        if (c != d) return c < d ? -1 : 1;
        if (c < 0) return 0;
    }
}

// ---- JSON ----

typedef struct {
    const unsigned char *text;
    size_t n, at;
    const char *problem;
} cursor;

static int fails(cursor *c, const char *problem) {
    if (!c->problem) c->problem = problem;
    return 0;
}

static int is_next(const cursor *c, char letter) { return c->at < c->n && c->text[c->at] == (unsigned char)letter; }

static void skip_space(cursor *c) {
    while (is_next(c, ' ') || is_next(c, '\t') || is_next(c, '\n') || is_next(c, '\r')) c->at++;
}

// A letter, and space on both sides of it.
static int take_letter(cursor *c, char letter) {
    skip_space(c);
    if (!is_next(c, letter)) return fails(c, "its header is not JSON");
    c->at++;
    skip_space(c);
    return 1;
}

// A comma, or the end of an object or an array, which is taken: 0 then, and if it is neither.
static int goes_on(cursor *c, char end) {
    skip_space(c);
    if (is_next(c, end)) {
        c->at++;
        return 0;
    }
    return take_letter(c, ',');
}

static int escape_at(const cursor *c) {
    size_t left = c->n - c->at;
    if (left < 2) return 0;
    unsigned char letter = c->text[c->at + 1];
    if (letter == 'u') return left >= 6 && hex4(c->text + c->at + 2) >= 0 ? 6 : 0;
    return letter && strchr("\"\\/bfnrt", letter) ? 2 : 0;
}

// A text; *begin is where its first quote is.
static int take_text(cursor *c, uint32_t *begin) {
    *begin = (uint32_t)c->at;
    if (!is_next(c, '"')) return fails(c, "its header must have a text here");
    for (c->at++; c->at < c->n && c->text[c->at] >= ' '; ) {
        if (is_next(c, '"')) {
            c->at++;
            return 1;
        }
        int n = is_next(c, '\\') ? escape_at(c) : 1;
        if (!n) return fails(c, "its header is not JSON: an escape that there is not");
        c->at += (size_t)n;
    }
    return fails(c, "its header is not JSON: a text that does not end");
}

// A whole number >= 0.
static int take_size(cursor *c, uint64_t *size) {
    size_t begin = c->at;
    int negative = is_next(c, '-');
    c->at += (size_t)negative;
    *size = 0;
    if (is_next(c, '0')) {
        c->at++;
    } else {
        while (c->at < c->n && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
            if (c->at - begin == MOST_DIGITS) return fails(c, "its header has a number too large");
            *size = *size * 10 + (uint64_t)(c->text[c->at++] - '0');
        }
    }
    int none = c->at == begin + (size_t)negative;
    return !(none || (negative && *size)) || fails(c, "a tensor must have whole sizes >= 0");
}

// [sizes]: the first `most` of them, and in *n how many there are.
static int take_sizes(cursor *c, uint64_t *sizes, int most, int *n) {
    *n = 0;
    if (!take_letter(c, '[')) return 0;
    if (is_next(c, ']')) return c->at++, 1;
    do {
        uint64_t size;
        if (!take_size(c, &size)) return 0;
        if (*n == MOST_DIMENSIONS) return fails(c, "a tensor must have at most 32 dimensions");
        if (*n < most) sizes[*n] = size;
        ++*n;
    } while (goes_on(c, ']'));
    return !c->problem;
}

// ---- Tensors ----

typedef struct {
    const char *name;
    uint64_t bytes;
    mlp_tensor_type type;
} dtype_row;

static const dtype_row dtypes[] = {
    {"BOOL", 1, MLP_BOOL}, {"F32", 4, MLP_F32}, {"F64", 8, MLP_F64}, {"U8", 1, MLP_OTHER_TENSOR},
    {"I8", 1, MLP_OTHER_TENSOR}, {"U16", 2, MLP_OTHER_TENSOR}, {"I16", 2, MLP_OTHER_TENSOR},
    {"F16", 2, MLP_OTHER_TENSOR}, {"U32", 4, MLP_OTHER_TENSOR}, {"I32", 4, MLP_OTHER_TENSOR},
    {"U64", 8, MLP_OTHER_TENSOR}, {"I64", 8, MLP_OTHER_TENSOR},
};

static const dtype_row *dtype_at(const unsigned char *header, uint32_t at) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (compare_letters(header, at, dtypes[i].name, 0) == 0) return &dtypes[i];
    }
    return NULL;
}

typedef struct {
    const dtype_row *dtype;
    uint64_t shape[MOST_DIMENSIONS], offsets[2];
    int dimensions, n_offsets;
} entry_of_tensor;

// Whether a tensor has as many bytes as its shape says.
static int has_its_bytes(const entry_of_tensor *t) {
    uint64_t bytes = t->dtype->bytes, there = t->offsets[1] - t->offsets[0];
    for (int i = 0; i < t->dimensions; i++) {
        if (t->shape[i] == 0) return there == 0;
    }
    for (int i = 0; i < t->dimensions; i++) {
        if (bytes > there / t->shape[i]) return 0;  // also: the product does not overflow
        bytes *= t->shape[i];
    }
    return bytes == there;
}

static int take_tensor(cursor *c, entry_of_tensor *t) {
    int has_shape = 0;
    *t = (entry_of_tensor){.n_offsets = -1};
    if (!take_letter(c, '{')) return 0;
    do {
        uint32_t name, text;
        if (!take_text(c, &name) || !take_letter(c, ':')) return 0;
        if (compare_letters(c->text, name, "dtype", 0) == 0 && !t->dtype) {
            if (!take_text(c, &text)) return 0;
            t->dtype = dtype_at(c->text, text);
            if (!t->dtype) return fails(c, "a tensor has a dtype that there is not");
        } else if (compare_letters(c->text, name, "shape", 0) == 0 && !has_shape) {
            if (!take_sizes(c, t->shape, MOST_DIMENSIONS, &t->dimensions)) return 0;
            has_shape = 1;
        } else if (compare_letters(c->text, name, "data_offsets", 0) == 0 && t->n_offsets < 0) {
            if (!take_sizes(c, t->offsets, 2, &t->n_offsets)) return 0;
        } else {
            return fails(c, "a tensor must have dtype, shape and data_offsets, each once, and nothing else");
        }
    } while (goes_on(c, '}'));
    if (c->problem) return 0;
    if (!t->dtype || !has_shape || t->n_offsets != 2) return fails(c, "a tensor must have all three, and two offsets");
    if (t->offsets[1] < t->offsets[0]) return fails(c, "a tensor must not end before it begins");
    return has_its_bytes(t) || fails(c, "a tensor does not have as many bytes as its shape says");
}

static entry_of_tensor tensor_at(const mlp_safetensors *file, const mlp_entry *entry) {
    cursor c = {file->header, file->length, entry->value, NULL};
    entry_of_tensor t;
    take_tensor(&c, &t);
    return t;
}

mlp_tensor mlp_tensor_of(const mlp_safetensors *file, const mlp_entry *entry) {
    entry_of_tensor t = tensor_at(file, entry);
    return (mlp_tensor){t.dtype->type, t.dimensions, {t.shape[0], t.shape[1]}, file->data + t.offsets[0]};
}

// ---- The header as a whole ----

// Where names and their values are, as they come; without memory they are counted.
typedef struct {
    mlp_entry *texts, *tensors;
    size_t n_texts, n_tensors;
} listing;

static void list(mlp_entry *entries, size_t *n, uint32_t name, uint32_t value) {
    if (entries) entries[*n] = (mlp_entry){name, value};
    ++*n;
}

static int take_metadata(cursor *c, listing *to) {
    if (!take_letter(c, '{')) return 0;
    if (is_next(c, '}')) return c->at++, 1;
    do {
        uint32_t name, value;
        if (!take_text(c, &name) || !take_letter(c, ':') || !take_text(c, &value)) return 0;
        list(to->texts, &to->n_texts, name, value);
    } while (goes_on(c, '}'));
    return !c->problem;
}

static int take_header(cursor *c, listing *to) {
    int has_metadata = 0;
    if (!is_next(c, '{')) return fails(c, "its header must be a JSON object");
    take_letter(c, '{');
    if (is_next(c, '}')) return fails(c, "has no tensors");
    do {
        uint32_t name;
        if (!take_text(c, &name) || !take_letter(c, ':')) return 0;
        uint32_t value = (uint32_t)c->at;
        if (compare_letters(c->text, name, "__metadata__", 0) == 0) {
            if (has_metadata++) return fails(c, "its header has an entry twice");
            if (!take_metadata(c, to)) return 0;
        } else {
            entry_of_tensor t;
            if (!take_tensor(c, &t)) return 0;
            list(to->tensors, &to->n_tensors, name, value);
        }
    } while (goes_on(c, '}'));
    skip_space(c);
    return !c->problem && (c->at == c->n || fails(c, "its header is not JSON: it goes on behind its end"));
}

// ---- The index ----

typedef int is_before(const mlp_safetensors *file, mlp_entry a, mlp_entry b);

static int by_name(const mlp_safetensors *file, mlp_entry a, mlp_entry b) {
    return compare(file->header, a.name, b.name) < 0;
}

static int by_place(const mlp_safetensors *file, mlp_entry a, mlp_entry b) {
    entry_of_tensor t = tensor_at(file, &a), u = tensor_at(file, &b);
    return t.offsets[0] != u.offsets[0] ? t.offsets[0] < u.offsets[0] : t.offsets[1] < u.offsets[1];
}

static void sift(const mlp_safetensors *file, mlp_entry *heap, size_t i, size_t n, is_before *before) {
    mlp_entry moved = heap[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && before(file, heap[child], heap[child + 1])) child++;
        if (!before(file, moved, heap[child])) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

// Heapsort, since it needs no memory, and no file makes it slow.
static void sort(const mlp_safetensors *file, mlp_entry *entries, size_t n, is_before *before) {
    for (size_t i = n / 2; i-- > 0;) sift(file, entries, i, n, before);
    for (size_t end = n; end-- > 1;) {
        mlp_entry last = entries[end];
        entries[end] = entries[0], entries[0] = last;
        sift(file, entries, 0, end, before);
    }
}

static mlp_status bad(mlp_safetensors *file, const char *problem, size_t at) {
    file->problem = problem, file->at = at;
    return MLP_BAD_FILE;
}

static mlp_status sort_names(mlp_safetensors *file, mlp_entry *entries, size_t n) {
    sort(file, entries, n, by_name);
    for (size_t i = 1; i < n; i++) {
        if (by_name(file, entries[i - 1], entries[i])) continue;
        return bad(file, "its header has an entry twice", entries[i].name);
    }
    return MLP_OK;
}

// Each tensor begins where the one before ends, the last ends where the file does.
static mlp_status check_places(mlp_safetensors *file, mlp_entry *tensors, size_t n) {
    uint64_t there = 0;
    sort(file, tensors, n, by_place);
    for (size_t i = 0; i < n; i++) {
        entry_of_tensor t = tensor_at(file, &tensors[i]);
        if (t.offsets[0] != there) return bad(file, "a tensor overlaps another, or leaves a hole", tensors[i].name);
        there = t.offsets[1];
    }
    if (there > file->size) return bad(file, "is truncated", 0);
    return there == file->size ? MLP_OK : bad(file, "is longer than its header says", 0);
}

static mlp_status make_index(mlp_safetensors *file) {
    listing count = {0}, all = {0};
    cursor c = {file->header, file->length, 0, NULL}, again = c;
    if (!take_header(&c, &count)) return bad(file, c.problem, c.at);
    size_t n = count.n_texts + count.n_tensors;
    if (n > MLP_FEW_ENTRIES) {
        file->many = malloc(n * sizeof *file->many);
        if (!file->many) return MLP_NO_MEMORY;
    }
    all.texts = file->many ? file->many : file->few;
    all.tensors = all.texts + count.n_texts;
    take_header(&again, &all);
    file->texts = (mlp_entries){all.texts, all.n_texts}, file->tensors = (mlp_entries){all.tensors, all.n_tensors};
    mlp_status status = check_places(file, all.tensors, all.n_tensors);
    if (!status) status = sort_names(file, all.texts, all.n_texts);
    return status ? status : sort_names(file, all.tensors, all.n_tensors);
}

mlp_status mlp_safetensors_open(mlp_safetensors *file, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    uint64_t length = 0;
    file->many = NULL, file->problem = NULL, file->at = 0;
    if (n < 8) return bad(file, "is no safetensors file: it has less than 8 bytes", 0);
    for (int i = 0; i < 8; i++) length |= (uint64_t)p[i] << 8 * i;
    if (length > MOST_HEADER) return bad(file, "is no safetensors file: its header must have at most 1048576 bytes", 0);
    if (length > n - 8) return bad(file, "is truncated in its header", 0);
    file->header = p + 8, file->length = (size_t)length;
    file->data = file->header + length, file->size = n - 8 - (size_t)length;
    for (size_t i = 0, step; i < file->length; i += step) {
        step = utf8_length(file->header + i, file->length - i);
        if (!step) return bad(file, "its header is not text in UTF-8", i);
    }
    return make_index(file);
}

void mlp_safetensors_close(mlp_safetensors *file) { free(file->many); }

const mlp_entry *mlp_entry_of(const mlp_safetensors *file, mlp_entries among, const char *name) {
    size_t first = 0, end = among.n;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_letters(file->header, among.entries[middle].name, name, 0);
        if (order == 0) return &among.entries[middle];
        if (order < 0) first = middle + 1;
        else end = middle;
    }
    return NULL;
}

// ---- Texts ----

static int put_utf8(char *to, int32_t c) {
    if (c < 0x80) return to[0] = (char)c, 1;
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3F));
    to[0] = (char)(0xF00 >> n | c);
    return n;
}

int mlp_text(const mlp_safetensors *file, uint32_t at, char text[MLP_MOST_TEXT]) {
    size_t i = at + (size_t)1;
    int n = 0;
    for (int32_t c; (c = next_character(file->header, &i)) >= 0;) {
        if (n > MLP_MOST_TEXT - 5 || c == 0 || c >> 11 == 0x1B) return -1;  // 0x1B: surrogates
        n += put_utf8(text + n, c);
    }
    text[n] = 0;
    return n;
}

int mlp_name_begins(const mlp_safetensors *file, uint32_t at, const char *letters) {
    return compare_letters(file->header, at, letters, 1) == 0;
}

int mlp_dots(const mlp_safetensors *file, uint32_t at) {
    int dots = 0;
    size_t i = at + (size_t)1;
    for (int32_t c; (c = next_character(file->header, &i)) >= 0;) dots += c == '.';
    return dots;
}
