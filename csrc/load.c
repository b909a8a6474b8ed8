// Reading files of networks from memory: what mlpfast/files.py refuses is refused here.
#include "build.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "file.h"
#include "fpmode.h"
#include "safetensors.h"
#include "sized.h"

#define DEEPEST 12  // names in a key

// ---- Texts that are numbers ----

// Decimal digits without zeros in front, up to the character `end`: how many, or 0.
static int digits_until(const char *text, char end) {
    int n = 0;
    while (text[n] >= '0' && text[n] <= '9') n++;
    return text[n] == end && (text[0] != '0' || n == 1) ? n : 0;
}

static int whole_of(const char *text, uint64_t *x) {
    int n = digits_until(text, 0);
    *x = 0;
    for (int i = 0; i < n; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (*x > (UINT64_MAX - digit) / 10) return 0;
        *x = *x * 10 + digit;
    }
    return n > 0;
}

static double from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

// A finite number as C's %a writes it, without zeros at the end: "0x1.8p-1". No other form of it counts.
static int hexadecimal_of(const char *text, double *x) {
    uint64_t sign = text[0] == '-', fraction = 0, exponent;
    text += sign;
    if (text[0] != '0' || text[1] != 'x' || (text[2] != '0' && text[2] != '1')) return 0;
    int normal = text[2] == '1', n = 0;
    text += 3;
    if (*text == '.') {
        for (text++; n < 13 && hex_digit(text[n]) >= 0; n++) fraction = fraction << 4 | (uint64_t)hex_digit(text[n]);
        if (n == 0 || fraction % 16 == 0) return 0;
        text += n, fraction <<= 4 * (13 - n);
    }
    if (text[0] != 'p' || (text[1] != '+' && text[1] != '-') || !whole_of(text + 2, &exponent)) return 0;
    int negative = text[1] == '-';
    if (negative && exponent == 0) return 0;
    if (!normal && exponent != (fraction ? 1022 : 0)) return 0;
    if (!normal && fraction && !negative) return 0;
    if (exponent > (negative ? 1022 : 1023)) return 0;
    uint64_t biased = !normal ? 0 : negative ? 1023 - exponent : 1023 + exponent;
    *x = from_bits(sign << 63 | biased << 52 | fraction);
    return 1;
}

// A setting that is a finite number: also a whole one, of at most 20 digits.
static int real_of(const char *text, double *x) {
    int negative = text[0] == '-', n = digits_until(text + negative, 0);
    if (n == 0 || n > 20) return hexadecimal_of(text, x);
    if (negative && text[1] == '0') return 0;
    *x = strtod(text, NULL);
    return 1;
}

// ---- Reading ----

typedef struct {
    mlp_safetensors file;
    const mlp_file *given;
    mlp_network *net;
    mlp_dtype dtype;
    uint64_t seed;
    double input_scale, input_dropout, input_noise;
    size_t texts, tensors;  // that were used
} reader;

static mlp_status refuse(reader *r, const char *problem, const mlp_entry *at) {
    r->file.problem = problem, r->file.at = at ? at->name : 0;
    return MLP_BAD_FILE;
}

static const mlp_entry *text_entry(reader *r, const char *name) {
    const mlp_entry *entry = mlp_entry_of(&r->file, r->file.texts, name);
    r->texts += entry != NULL;
    return entry;
}

#define MOST_KEY 100

// The text under layers.l.name, or 0 if there is none; *at is its entry. One that is too long is empty.
static int setting_of(reader *r, int l, const char *name, char text[MLP_MOST_TEXT], const mlp_entry **at) {
    char key[MOST_KEY];
    if (l >= 0) snprintf(key, sizeof key, "layers.%d.%s", l, name);
    else snprintf(key, sizeof key, "network.%s", name);
    *at = text_entry(r, key);
    if (*at && mlp_text(&r->file, (*at)->value, text) < 0) text[0] = 0;
    return *at != NULL;
}

// Whether the dtype has x as a normal number or 0.
static int is_within(const reader *r, double x) {
    double least = r->dtype == MLP_FLOAT32 ? 0x1p-126 : 0x1p-1022;
    double most = r->dtype == MLP_FLOAT32 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
    return x == 0 || (fabs(x) >= least && fabs(x) <= most);
}

#define OF_DTYPE 1     // as is_within has it
#define MAY_MOVE 2     // in Python it may be a schedule
#define MUST_BE 4

typedef struct {
    const char *name;
    double least, below;
    unsigned traits;
} real_row;

static const real_row dropout_row = {"dropout", 0, 1, MAY_MOVE}, l1_row = {"l1", 0, INFINITY, OF_DTYPE},
    l2_row = {"l2", 0, INFINITY, OF_DTYPE | MAY_MOVE}, lr_factor_row = {"lr_factor", 0, INFINITY, OF_DTYPE},
    bias_lr_factor_row = {"bias_lr_factor", 0, INFINITY, OF_DTYPE},
    input_scale_row = {"input_scale", -INFINITY, INFINITY, MUST_BE},
    input_dropout_row = {"input_dropout", 0, 1, MAY_MOVE | MUST_BE},
    input_noise_row = {"input_noise", 0, INFINITY, MUST_BE};

// *x stays if there is none.
static mlp_status read_real(reader *r, int l, const real_row *row, double *x) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    double value;
    if (!setting_of(r, l, row->name, text, &at)) {
        return row->traits & MUST_BE ? refuse(r, "a setting of the network is missing", NULL) : MLP_OK;
    }
    if (!real_of(text, &value)) {
        int names = (text[0] >= 'A' && text[0] <= 'Z') || strcmp(text, "custom") == 0;
        mlp_status status = refuse(r, names ? "a setting is a schedule" : "a setting must be a number", at);
        return names && row->traits & MAY_MOVE ? MLP_NEEDS_PYTHON : status;
    }
    if (!(value >= row->least && value < row->below)) return refuse(r, "a setting is out of its range", at);
    if (row->traits & OF_DTYPE && !is_within(r, value)) return refuse(r, "a setting is out of the dtype's range", at);
    *x = value;
    return MLP_OK;
}

static mlp_status read_flag(reader *r, int l, const char *name, int must_be, int *flag) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    if (!setting_of(r, l, name, text, &at)) return must_be ? refuse(r, "a setting is missing", NULL) : MLP_OK;
    *flag = strcmp(text, "true") == 0;
    return *flag || strcmp(text, "false") == 0 ? MLP_OK : refuse(r, "a setting must be true or false", at);
}

static mlp_status read_initializer(reader *r, int l, const char *name, unsigned char *number) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    if (!setting_of(r, l, name, text, &at)) return MLP_OK;
    for (int i = 0; i < MLP_INITIALIZERS; i++) {
        if (strcmp(text, mlp_initializers[i]) == 0) return *number = (unsigned char)i, MLP_OK;
    }
    return refuse(r, "unknown initializer", at);
}

// ---- Activations ----

static int activation_named(const char *name) {
    for (int g = 0; g < MLP_ACTIVATIONS; g++) {
        if (mlp_is_activation((mlp_activation)g) && strcmp(mlp_activation_rows[g].name, name) == 0) return g;
    }
    return -1;
}

// alpha under layers.l.name, which must be there.
static mlp_status read_alpha(reader *r, int l, const char *name, mlp_activation g, double *alpha) {
    const real_row row = {name, mlp_activation_rows[g].least_alpha, INFINITY, MUST_BE};
    return read_real(r, l, &row, alpha);
}

static int has_name(const char *name, const char *text) {
    size_t n = strlen(name);
    if (!mlp_is_word(name)) return strcmp(name, text) == 0;
    return text[0] == '"' && strncmp(text + 1, name, n) == 0 && strcmp(text + 1 + n, "\"") == 0;
}

static mlp_status read_custom(reader *r, int l, mlp_layer_spec *spec) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    if (!setting_of(r, l, "name", text, &at)) return refuse(r, "a custom activation must have a name", NULL);
    for (int64_t i = 0; r->given && i < r->given->n_customs; i++) {
        if (!has_name(r->given->customs[i].name, text)) continue;
        spec->activation = MLP_CUSTOM_ACTIVATION, spec->custom = r->given->customs[i].activation;
        return MLP_OK;
    }
    refuse(r, "an activation of the program's is not among customs", at);
    return MLP_NEEDS_PYTHON;
}

// "3", output 3, or "1:4", outputs 1 to 3.
static int outputs_of(const char *text, int64_t n_out, mlp_output_block *block) {
    const char *colon = strchr(text, ':');
    uint64_t first, end;
    char start[24];
    if (!colon) {
        if (!whole_of(text, &first) || first >= (uint64_t)n_out) return 0;
        end = first + 1;
    } else {
        size_t n = (size_t)(colon - text);
        if (n >= sizeof start) return 0;
        memcpy(start, text, n), start[n] = 0;
        if (!whole_of(start, &first) || !whole_of(colon + 1, &end)) return 0;
    }
    if (first >= end || end > (uint64_t)n_out) return 0;
    block->first = (int64_t)first, block->count = (int64_t)(end - first);
    return 1;
}

static mlp_status read_part(reader *r, int l, int64_t i, int64_t n_out, mlp_output_block *block) {
    char name[40], text[MLP_MOST_TEXT];
    const mlp_entry *at;
    snprintf(name, sizeof name, "parts.%lld", (long long)i);
    if (!setting_of(r, l, name, text, &at) || strcmp(text, "(2)") != 0) return refuse(r, "a part must be a pair", at);
    snprintf(name, sizeof name, "parts.%lld.0", (long long)i);
    if (!setting_of(r, l, name, text, &at) || !outputs_of(text, n_out, block)) {
        return refuse(r, "a part must name outputs of the layer", at);
    }
    snprintf(name, sizeof name, "parts.%lld.1", (long long)i);
    int g = setting_of(r, l, name, text, &at) ? activation_named(text) : -1;
    if (g < 0 || g == MLP_CUSTOM_ACTIVATION || mlp_has((mlp_activation)g, MLP_LEARNS_ALPHA)) {
        return refuse(r, "a part must have an activation of the library", at);
    }
    block->activation = (mlp_activation)g;
    snprintf(name, sizeof name, "parts.%lld.1.alpha", (long long)i);
    if (!mlp_has(block->activation, MLP_HAS_ALPHA)) return MLP_OK;
    return read_alpha(r, l, name, block->activation, &block->alpha);
}

// Each output must be in one of them.
static int tile(const mlp_output_block *blocks, int64_t n, int64_t n_out) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += blocks[i].count;
        for (int64_t j = 0; j < i; j++) {
            const mlp_output_block *a = &blocks[i], *b = &blocks[j];
            if (a->first < b->first + b->count && b->first < a->first + a->count) return 0;
        }
    }
    return sum == n_out;
}

static mlp_status read_parts(reader *r, int l, mlp_layer_spec *spec) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    uint64_t n = 0;
    if (!setting_of(r, l, "parts", text, &at)) return refuse(r, "a setting is missing", NULL);
    size_t length = strlen(text);
    if (length < 3 || length > 11 || text[0] != '(' || text[length - 1] != ')') {
        return refuse(r, "must be a sequence", at);
    }
    text[length - 1] = 0;
    if (!whole_of(text + 1, &n) || n == 0 || n > r->file.texts.n || n > (uint64_t)spec->n_out || r->net->blocks) {
        return refuse(r, "parts must name each output once", at);
    }
    r->net->blocks = calloc((size_t)n, sizeof *r->net->blocks);
    if (!r->net->blocks) return MLP_NO_MEMORY;
    spec->activation = MLP_IDENTITY, spec->blocks = r->net->blocks, spec->n_blocks = (int64_t)n;
    for (int64_t i = 0; i < spec->n_blocks; i++) {
        mlp_status status = read_part(r, l, i, spec->n_out, &r->net->blocks[i]);
        if (status) return status;
    }
    if (tile(r->net->blocks, spec->n_blocks, spec->n_out)) return MLP_OK;
    return refuse(r, "parts must name each output once", at);
}

static mlp_status read_activation(reader *r, int l, mlp_layer_spec *spec) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    setting_of(r, l, "activation", text, &at);
    if (strcmp(text, "custom") == 0) return read_custom(r, l, spec);
    if (strcmp(text, "per_output") == 0) return read_parts(r, l, spec);
    int g = activation_named(text);
    if (g < 0) return refuse(r, "unknown activation", at);
    spec->activation = (mlp_activation)g;
    if (!mlp_has(spec->activation, MLP_HAS_ALPHA)) return MLP_OK;
    mlp_status status = read_alpha(r, l, "alpha", spec->activation, &spec->alpha);
    if (!status && !is_within(r, spec->alpha)) return refuse(r, "alpha is out of the dtype's range", at);
    if (!status && mlp_has(spec->activation, MLP_LEARNS_ALPHA)) status = read_flag(r, l, "shared", 1, &spec->shared);
    return status;
}

// ---- Layers ----

static const mlp_entry *tensor_named(reader *r, int l, const char *name, mlp_tensor *tensor) {
    char key[MOST_KEY];
    if (l >= 0) snprintf(key, sizeof key, "layers.%d.%s", l, name);
    else snprintf(key, sizeof key, "input_transform.%s", name);
    const mlp_entry *entry = mlp_entry_of(&r->file, r->file.tensors, key);
    if (entry) *tensor = mlp_tensor_of(&r->file, entry);
    return entry;
}

static mlp_tensor_type type_of(mlp_dtype dtype) { return dtype == MLP_FLOAT32 ? MLP_F32 : MLP_F64; }

// Whether there is such a tensor, of that type and shape (n), or (m, n) if m is not 0. Counts it.
static mlp_status read_tensor(reader *r, int l, const char *name, mlp_tensor_type type, int64_t m, int64_t n,
                              mlp_tensor *tensor) {
    const mlp_entry *entry = tensor_named(r, l, name, tensor);
    if (!entry) return refuse(r, "a tensor is missing", NULL);
    r->tensors++;
    int fits = m ? tensor->dimensions == 2 && tensor->shape[0] == (uint64_t)m && tensor->shape[1] == (uint64_t)n
                 : tensor->dimensions == 1 && tensor->shape[0] == (uint64_t)n;
    return fits && tensor->type == type ? MLP_OK : refuse(r, "a tensor has another dtype or shape", entry);
}

static mlp_status read_layer(reader *r, int l) {
    mlp_layer *layer = &r->net->layers[l];
    mlp_layer_spec *spec = &layer->spec;
    mlp_tensor W, other;
    *spec = mlp_layer_spec_init();
    spec->trainable = 1;
    const mlp_entry *at = tensor_named(r, l, "W", &W);
    if (!at || W.dimensions != 2 || W.shape[0] > INT32_MAX || W.shape[1] > INT32_MAX) {
        return refuse(r, "a layer must have a matrix W", at);
    }
    spec->n_in = (int64_t)W.shape[0], spec->n_out = (int64_t)W.shape[1];
    spec->has_bias = tensor_named(r, l, "b", &other) != NULL;
    spec->has_mask = tensor_named(r, l, "mask", &other) != NULL;
    mlp_status status = read_activation(r, l, spec);
    if (!status) status = read_initializer(r, l, "init", &layer->init);
    if (!status) status = read_initializer(r, l, "bias_init", &layer->bias_init);
    if (!status) status = read_real(r, l, &dropout_row, &spec->dropout);
    if (!status) status = read_flag(r, l, "trainable", 0, &spec->trainable);
    if (!status) status = read_real(r, l, &l1_row, &spec->l1);
    if (!status) status = read_real(r, l, &l2_row, &spec->l2);
    if (!status) status = read_real(r, l, &lr_factor_row, &layer->lr_factor);
    if (!status) status = read_real(r, l, &bias_lr_factor_row, &layer->bias_lr_factor);
    return status;
}

static mlp_status read_network_settings(reader *r) {
    char text[MLP_MOST_TEXT];
    const mlp_entry *at;
    if (!setting_of(r, -1, "dtype", text, &at)) return refuse(r, "a setting of the network is missing", NULL);
    r->dtype = strcmp(text, "float64") == 0 ? MLP_FLOAT64 : MLP_FLOAT32;
    if (r->dtype == MLP_FLOAT32 && strcmp(text, "float32") != 0) {
        return refuse(r, "dtype must be float32 or float64", at);
    }
    if (!setting_of(r, -1, "seed", text, &at)) return refuse(r, "a setting of the network is missing", NULL);
    if (!whole_of(text, &r->seed)) return refuse(r, "seed must be a whole number from 0 to 2^64 - 1", at);
    mlp_status status = read_real(r, -1, &input_scale_row, &r->input_scale);
    if (!status) status = read_real(r, -1, &input_dropout_row, &r->input_dropout);
    return status ? status : read_real(r, -1, &input_noise_row, &r->input_noise);
}

static int count_layers(const reader *r) {
    char key[MOST_KEY];
    for (int l = 0;; l++) {
        snprintf(key, sizeof key, "layers.%d.activation", l);
        if (!mlp_entry_of(&r->file, r->file.texts, key)) return l;
    }
}

// ---- Numbers ----

// Whether a number is 0 or -0, whatever the mode of the processor makes of subnormal ones.
static int is_zero(const char *real, size_t size) {
    uint64_t bits = 0;
    if (size == 4) {
        uint32_t half;
        memcpy(&half, real, 4);
        bits = half;
    } else {
        memcpy(&bits, real, 8);
    }
    return (bits << (size == 4 ? 33 : 1)) == 0;
}

static mlp_status read_mask(reader *r, int l, mlp_layer *layer) {
    const mlp_layer_spec *spec = &layer->spec;
    mlp_tensor mask;
    mlp_status status = read_tensor(r, l, "mask", MLP_BOOL, spec->n_in, spec->n_out, &mask);
    size_t size = r->net->kernels->real_size;
    for (int64_t i = 0; !status && i < spec->n_in; i++) {
        for (int64_t j = 0; j < spec->n_out; j++) {
            unsigned char kept = mask.bytes[i * spec->n_out + j];
            if (kept > 1) return refuse(r, "a mask must hold bytes 0 and 1", NULL);
            if (!kept && !is_zero(mlp_row_of(r->net, layer, layer->W, i) + (size_t)j * size, size)) {
                return refuse(r, "W must be 0 where its mask is", NULL);
            }
            mlp_set_number(mlp_row_of(r->net, layer, layer->mask, i), r->dtype, j, kept);
        }
    }
    return status;
}

static mlp_status read_numbers(reader *r, int l) {
    mlp_layer *layer = &r->net->layers[l];
    const mlp_layer_spec *spec = &layer->spec;
    mlp_tensor_type type = type_of(r->dtype);
    size_t size = r->net->kernels->real_size;
    mlp_tensor t;
    mlp_status status = read_tensor(r, l, "W", type, spec->n_in, spec->n_out, &t);
    for (int64_t i = 0; !status && i < spec->n_in; i++) {
        const unsigned char *row = t.bytes + (size_t)(i * spec->n_out) * size;
        mlp_copy_reals(mlp_row_of(r->net, layer, layer->W, i), row, spec->n_out, size);
    }
    if (!status && layer->b) {
        status = read_tensor(r, l, "b", type, 0, spec->n_out, &t);
        if (!status) mlp_copy_reals(layer->b, t.bytes, spec->n_out, size);
    }
    if (!status && layer->slopes) {
        int64_t n = spec->shared ? 1 : spec->n_out;
        status = read_tensor(r, l, "slopes", type, 0, n, &t);
        if (!status) mlp_copy_reals(layer->slopes, t.bytes, n, size);
    }
    return status || !layer->mask ? status : read_mask(r, l, layer);
}

static mlp_status read_transform(reader *r) {
    int64_t n = mlp_network_n_in(r->net);
    mlp_tensor mean, scale;
    if (!tensor_named(r, -1, "mean", &mean) && !tensor_named(r, -1, "scale", &scale)) return MLP_OK;
    mlp_status status = read_tensor(r, -1, "mean", MLP_F64, 0, n, &mean);
    if (!status) status = read_tensor(r, -1, "scale", MLP_F64, 0, n, &scale);
    if (status) return status;
    double *block = malloc(2 * (size_t)n * sizeof *block);  // n is at most 2^31
    if (!block) return MLP_NO_MEMORY;
    mlp_copy_reals(block, mean.bytes, n, sizeof *block);
    mlp_copy_reals(block + n, scale.bytes, n, sizeof *block);
    if (mlp_network_take_transform(r->net, block) == MLP_OK) return MLP_OK;
    free(block);
    return refuse(r, "input_transform must be finite, and its scale > 0", NULL);
}

// ---- A file as a whole ----

// What a file holds, and under which names there is more than a network: OF_OTHERS in files.py.
typedef struct {
    const char *holds, *sections[8];  // NULL behind the last
} kind_of_file;

static const kind_of_file kinds_of_files[] = {
    {"network", {NULL}},
    {"trainer", {"trainer", "state", "schedules", "fit", "history", "callbacks", "order", NULL}},
    {"estimator", {"estimator", NULL}},
};

static mlp_status read_head(reader *r, const kind_of_file **kind) {
    static const char *const keys[] = {"format", "version", "holds"};
    char text[3][MLP_MOST_TEXT] = {"", "", ""};
    for (int i = 0; i < 3; i++) {
        const mlp_entry *at = text_entry(r, keys[i]);
        if (at && mlp_text(&r->file, at->value, text[i]) < 0) text[i][0] = 0;
    }
    if (strcmp(text[0], "mlpfast") != 0) return refuse(r, "is no file of mlpfast", NULL);
    if (strcmp(text[1], MLP_FILE_VERSION) != 0) return refuse(r, "has another version of the format", NULL);
    for (size_t i = 0; i < sizeof kinds_of_files / sizeof *kinds_of_files; i++) {
        *kind = &kinds_of_files[i];
        if (strcmp(text[2], (*kind)->holds) == 0) return MLP_OK;
    }
    return refuse(r, "must hold a network, a trainer or an estimator", NULL);
}

// Whether a name is one of the sections, or under it.
static int is_of_sections(const mlp_safetensors *file, const mlp_entry *entry, const kind_of_file *kind,
                          int itself_too) {
    for (const char *const *section = kind->sections; *section; section++) {
        char begin[16];
        snprintf(begin, sizeof begin, "%s.", *section);
        if (mlp_name_begins(file, entry->name, begin)) return 1;
        const mlp_entries alone = {entry, 1};
        if (itself_too && mlp_entry_of(file, alone, *section)) return 1;
    }
    return 0;
}

// Everything that is there must have been used.
static mlp_status check_the_rest(reader *r, const kind_of_file *kind) {
    const mlp_safetensors *file = &r->file;
    for (size_t i = 0; i < file->texts.n; i++) {
        const mlp_entry *entry = &file->texts.entries[i];
        if (mlp_dots(file, entry->name) >= DEEPEST) return refuse(r, "has an unknown setting", entry);
        r->texts += (size_t)is_of_sections(file, entry, kind, 1);
    }
    for (size_t i = 0; i < file->tensors.n; i++) {
        r->tensors += (size_t)is_of_sections(file, &file->tensors.entries[i], kind, 0);
    }
    if (r->texts != file->texts.n) return refuse(r, "has an unknown setting", NULL);
    return r->tensors == file->tensors.n ? MLP_OK : refuse(r, "has an unknown tensor", NULL);
}

static mlp_status read_file(reader *r, const void *bytes, size_t n) {
    const kind_of_file *kind = NULL;
    mlp_status status = mlp_safetensors_open(&r->file, bytes, n);
    if (!status) status = read_head(r, &kind);
    if (!status) status = read_network_settings(r);
    int n_layers = status ? 0 : count_layers(r);
    if (!status && (n_layers < 1 || n_layers > MLP_MOST_LAYERS)) status = refuse(r, "has no layers, or too many", NULL);
    if (!status) status = mlp_network_begin(&r->net, r->dtype, n_layers);
    for (int l = 0; !status && l < n_layers; l++) status = read_layer(r, l);
    if (!status && r->net->layers[n_layers - 1].spec.dropout > 0) {
        status = refuse(r, "the last layer must have no dropout", NULL);
    }
    if (!status) {
        status = mlp_network_finish(r->net);
        if (status == MLP_BAD_ARGUMENT) status = refuse(r, "its layers do not make a network", NULL);
    }
    for (int l = 0; !status && l < n_layers; l++) status = read_numbers(r, l);
    if (!status) status = read_transform(r);
    return status ? status : check_the_rest(r, kind);
}

static void tell(mlp_file *file, const reader *r, mlp_status status) {
    mlp_file told = *r->given;
    told.problem = status == MLP_BAD_FILE || status == MLP_NEEDS_PYTHON ? r->file.problem : NULL;
    told.at = told.problem && r->file.at ? r->file.at + 8 : 0;
    if (!status) {
        told.input_scale = r->input_scale, told.input_dropout = r->input_dropout, told.input_noise = r->input_noise;
        told.seed = r->seed;
    }
    mlp_give(file, &told, sizeof told);
}

mlp_status mlp_network_load(mlp_network **out, const void *bytes, size_t n, mlp_file *file) {
    mlp_file own;
    reader r;  // not in zeros: its index is large
    r.given = file ? mlp_as_known(file, &own, sizeof own) : NULL;
    if (file && !r.given) return MLP_BAD_ARGUMENT;
    r.net = NULL, r.texts = r.tensors = 0;
    mlp_fpmode before = mlp_fpmode_enter_default();
    mlp_status status = read_file(&r, bytes, n);
    mlp_safetensors_close(&r.file);
    if (file) tell(file, &r, status);
    mlp_fpmode_leave(before);
    if (status) mlp_network_destroy(r.net);
    else *out = r.net;
    return status;
}
