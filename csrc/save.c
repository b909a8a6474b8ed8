// Writing files of networks into memory: the bytes that mlpfast/files.py writes.
#include "build.h"
#include "file.h"
#include "fpmode.h"
#include "sized.h"

typedef struct {
    char *to;  // NULL: only counts
    size_t n;
} writer;

static void put_bytes(writer *w, const void *bytes, size_t n) {
    if (w->to) memcpy(w->to + w->n, bytes, n);
    w->n += n;
}

static void put(writer *w, const char *text) { put_bytes(w, text, strlen(text)); }

static void put_whole(writer *w, uint64_t x) {
    char digits[20];
    size_t n = 0;
    do digits[sizeof digits - ++n] = (char)('0' + x % 10);
    while (x /= 10);
    put_bytes(w, digits + sizeof digits - n, n);
}

static void put_real(writer *w, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t fraction = bits & 0xFFFFFFFFFFFFF, biased = bits >> 52 & 0x7FF;
    int exponent = biased ? (int)biased - 1023 : fraction ? -1022 : 0;
    put(w, bits >> 63 ? "-0x" : "0x");
    put(w, biased ? "1" : "0");
    if (fraction) put(w, ".");
    for (; fraction; fraction = fraction << 4 & 0xFFFFFFFFFFFFF) put_bytes(w, &"0123456789abcdef"[fraction >> 48], 1);
    put(w, exponent < 0 ? "p-" : "p+");
    put_whole(w, (uint64_t)(exponent < 0 ? -exponent : exponent));
}

// ,"layers.l.name":" and what the caller puts, up to end.
static void begin_setting(writer *w, int l, const char *name) {
    put(w, ",\"layers.");
    put_whole(w, (uint64_t)l);
    put(w, "."), put(w, name), put(w, "\":\"");
}

static void end(writer *w) { put(w, "\""); }

static void put_setting(writer *w, int l, const char *name, const char *text) {
    begin_setting(w, l, name), put(w, text), end(w);
}

static void put_real_setting(writer *w, int l, const char *name, double x) {
    begin_setting(w, l, name), put_real(w, x), end(w);
}

static void put_unusual(writer *w, int l, const char *name, double x, double usual) {
    if (x != usual) put_real_setting(w, l, name, x);
}

static void put_of_network(writer *w, const char *name, double x) {
    put(w, ",\"network."), put(w, name), put(w, "\":\""), put_real(w, x), end(w);
}

// UTF-8 as JSON of ASCII characters alone, as Python writes it.
static void put_escaped(writer *w, const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        int n = *p < 0x80 ? 0 : *p < 0xE0 ? 1 : *p < 0xF0 ? 2 : 3;
        uint32_t c = n == 0 ? *p : *p & (0x3Fu >> n);
        for (p++; n > 0 && *p >> 6 == 2; n--) c = c << 6 | (*p++ & 0x3F);
        uint32_t units[2] = {c, 0};
        if (c > 0xFFFF) units[0] = 0xD800 + ((c - 0x10000) >> 10), units[1] = 0xDC00 + ((c - 0x10000) & 0x3FF);
        if (c >= ' ' && c < 0x7F && c != '"' && c != '\\') {
            put_bytes(w, p - 1, 1);
            continue;
        }
        for (int i = 0; i < 2 && (i == 0 || units[1]); i++) {
            put(w, "\\u");
            for (int shift = 12; shift >= 0; shift -= 4) put_bytes(w, &"0123456789abcdef"[units[i] >> shift & 15], 1);
        }
    }
}

static const mlp_named_custom *custom_of(const mlp_file *file, const mlp_custom_activation *custom) {
    for (int64_t i = 0; file && i < file->n_customs; i++) {
        const mlp_custom_activation *one = &file->customs[i].activation;
        if (one->forward == custom->forward && one->backward == custom->backward && one->self == custom->self) {
            return &file->customs[i];
        }
    }
    return NULL;
}

static void put_part_key(writer *w, int l, int64_t i, const char *rest) {
    begin_setting(w, l, "parts.");
    w->n -= 3;  // its end
    put_whole(w, (uint64_t)i), put(w, rest), put(w, "\":\"");
}

static void put_part(writer *w, int l, int64_t i, const mlp_output_block *b) {
    const mlp_activation_row *row = &mlp_activation_rows[b->activation];
    put_part_key(w, l, i, ""), put(w, "(2)"), end(w);
    put_part_key(w, l, i, ".0"), put_whole(w, (uint64_t)b->first);
    if (b->count > 1) put(w, ":"), put_whole(w, (uint64_t)(b->first + b->count));
    end(w);
    put_part_key(w, l, i, ".1"), put(w, row->name), end(w);
    if (row->traits & MLP_HAS_ALPHA) put_part_key(w, l, i, ".1.alpha"), put_real(w, b->alpha), end(w);
}

static void put_activation(writer *w, int l, const mlp_layer_spec *spec, const mlp_file *file) {
    put_setting(w, l, "activation", spec->n_blocks ? "per_output" : mlp_activation_rows[spec->activation].name);
    if (spec->activation == MLP_CUSTOM_ACTIVATION) {
        const char *name = custom_of(file, &spec->custom)->name, *quote = mlp_is_word(name) ? "\\\"" : "";
        begin_setting(w, l, "name"), put(w, quote), put_escaped(w, name), put(w, quote), end(w);
    }
    if (spec->n_blocks) {
        begin_setting(w, l, "parts"), put(w, "("), put_whole(w, (uint64_t)spec->n_blocks), put(w, ")\"");
    }
    for (int64_t i = 0; i < spec->n_blocks; i++) put_part(w, l, i, &spec->blocks[i]);
    if (mlp_has(spec->activation, MLP_HAS_ALPHA)) put_real_setting(w, l, "alpha", spec->alpha);
    if (mlp_has(spec->activation, MLP_LEARNS_ALPHA)) put_setting(w, l, "shared", spec->shared ? "true" : "false");
}

// A layer's settings, without those that are as usual.
static void put_layer(writer *w, int l, const mlp_layer *layer, const mlp_file *file) {
    const mlp_layer_spec *spec = &layer->spec;
    put_activation(w, l, spec, file);
    if (layer->init) put_setting(w, l, "init", mlp_initializers[layer->init]);
    if (layer->bias_init) put_setting(w, l, "bias_init", mlp_initializers[layer->bias_init]);
    put_unusual(w, l, "dropout", spec->dropout, 0);
    if (!spec->trainable) put_setting(w, l, "trainable", "false");
    put_unusual(w, l, "l1", spec->l1, 0);
    put_unusual(w, l, "l2", spec->l2, 0);
    put_unusual(w, l, "lr_factor", layer->lr_factor, 1);
    put_unusual(w, l, "bias_lr_factor", layer->bias_lr_factor, 1);
}

static void put_metadata(writer *w, const mlp_network *net, const mlp_file *file) {
    put(w, "{\"__metadata__\":{\"format\":\"mlpfast\",\"version\":\"" MLP_FILE_VERSION "\",\"holds\":\"network\",");
    put(w, net->dtype == MLP_FLOAT32 ? "\"network.dtype\":\"float32\"" : "\"network.dtype\":\"float64\"");
    put(w, ",\"network.seed\":\""), put_whole(w, file ? file->seed : 0), end(w);
    put_of_network(w, "input_scale", file ? file->input_scale : 1);
    put_of_network(w, "input_dropout", file ? file->input_dropout : 0);
    put_of_network(w, "input_noise", file ? file->input_noise : 0);
    for (int l = 0; l < net->n_layers; l++) put_layer(w, l, &net->layers[l], file);
    put(w, "}");
}

// ---- Tensors, those of the largest numbers first ----

typedef struct {
    const char *dtype, *name;
    int layer;            // -1: of the network
    int64_t m, n, stride;  // (n) if m is 0
    size_t size;          // of a number
    const void *numbers;
} tensor;

typedef void each_tensor(writer *w, const tensor *t, uint64_t *begin);

static void put_header_of(writer *w, const tensor *t, uint64_t *begin) {
    put(w, ",\"");
    if (t->layer >= 0) put(w, "layers."), put_whole(w, (uint64_t)t->layer), put(w, ".");
    put(w, t->name), put(w, "\":{\"dtype\":\""), put(w, t->dtype), put(w, "\",\"shape\":[");
    if (t->m) put_whole(w, (uint64_t)t->m), put(w, ",");
    put_whole(w, (uint64_t)t->n), put(w, "],\"data_offsets\":["), put_whole(w, *begin), put(w, ",");
    *begin += (uint64_t)(t->m ? t->m * t->n : t->n) * t->size;
    put_whole(w, *begin), put(w, "]}");
}

static void put_numbers_of(writer *w, const tensor *t, uint64_t *begin) {
    (void)begin;
    for (int64_t i = 0; i < (t->m ? t->m : 1); i++) {
        const char *row = (const char *)t->numbers + (size_t)(i * t->stride) * t->size;
        if (w->to) mlp_copy_reals(w->to + w->n, row, t->n, t->size);
        w->n += (size_t)t->n * t->size;
    }
}

static void put_mask(writer *w, const mlp_network *net, const mlp_layer *layer) {
    for (int64_t i = 0; i < layer->spec.n_in; i++) {
        for (int64_t j = 0; j < layer->spec.n_out; j++) {
            char kept = mlp_number(mlp_row_of(net, layer, layer->mask, i), net->dtype, j) != 0;
            put_bytes(w, &kept, 1);
        }
    }
}

// Calls `each` for all tensors whose numbers have that size, in Python's order.
static void tensors_of_size(writer *w, const mlp_network *net, size_t size, each_tensor *each, uint64_t *begin) {
    size_t real = net->kernels->real_size;
    const char *dtype = net->dtype == MLP_FLOAT32 ? "F32" : "F64";
    for (int l = 0; size == real && l < net->n_layers; l++) {
        const mlp_layer *layer = &net->layers[l];
        const mlp_layer_spec *s = &layer->spec;
        each(w, &(tensor){dtype, "W", l, s->n_in, s->n_out, layer->stride, real, layer->W}, begin);
        if (layer->b) each(w, &(tensor){dtype, "b", l, 0, s->n_out, 0, real, layer->b}, begin);
        int64_t slopes = s->shared ? 1 : s->n_out;
        if (layer->slopes) each(w, &(tensor){dtype, "slopes", l, 0, slopes, 0, real, layer->slopes}, begin);
    }
    if (size == sizeof(double) && net->input_mean) {
        int64_t n = mlp_network_n_in(net);
        each(w, &(tensor){"F64", "input_transform.mean", -1, 0, n, 0, size, net->input_mean}, begin);
        each(w, &(tensor){"F64", "input_transform.scale", -1, 0, n, 0, size, net->input_scale}, begin);
    }
    for (int l = 0; size == 1 && l < net->n_layers; l++) {
        const mlp_layer *layer = &net->layers[l];
        if (!layer->mask) continue;
        if (each == put_numbers_of) put_mask(w, net, layer);
        else each(w, &(tensor){"BOOL", "mask", l, layer->spec.n_in, layer->spec.n_out, 0, 1, NULL}, begin);
    }
}

static void put_tensors(writer *w, const mlp_network *net, each_tensor *each) {
    uint64_t begin = 0;
    tensors_of_size(w, net, 8, each, &begin);
    tensors_of_size(w, net, 4, each, &begin);
    tensors_of_size(w, net, 1, each, &begin);
}

static size_t put_file(writer *w, const mlp_network *net, const mlp_file *file) {
    size_t begin = w->n, length;
    w->n += 8;
    put_metadata(w, net, file);
    put_tensors(w, net, put_header_of);
    put(w, "}");
    while ((w->n - begin) % 8) put(w, " ");  // the first tensor is aligned
    length = w->n - begin - 8;
    for (int i = 0; w->to && i < 8; i++) w->to[begin + (size_t)i] = (char)((uint64_t)length >> 8 * i & 0xFF);
    put_tensors(w, net, put_numbers_of);
    return length;
}

mlp_status mlp_network_save(const mlp_network *net, void *bytes, size_t capacity, size_t *n, const mlp_file *file) {
    mlp_file own;
    if (file && !(file = mlp_as_known(file, &own, sizeof own))) return MLP_BAD_ARGUMENT;
    for (int l = 0; l < net->n_layers; l++) {
        const mlp_layer_spec *spec = &net->layers[l].spec;
        if (spec->activation == MLP_CUSTOM_ACTIVATION && !custom_of(file, &spec->custom)) return MLP_BAD_ARGUMENT;
    }
    mlp_fpmode before = mlp_fpmode_enter_default();
    writer w = {NULL, 0};
    size_t length = put_file(&w, net, file);
    *n = w.n;
    mlp_status status = length > MLP_MOST_HEADER ? MLP_TOO_LARGE : w.n > capacity ? MLP_BUFFER_TOO_SMALL : MLP_OK;
    if (!status) {
        w = (writer){bytes, 0};
        put_file(&w, net, file);
    }
    mlp_fpmode_leave(before);
    return status;
}
