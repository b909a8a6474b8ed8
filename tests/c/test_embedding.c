// What a program that embeds the library relies on: files from memory and into it, and predictions of one row without
// allocation, lock or system call. tests/test_files.py compares files with Python's.
#ifdef __linux__
#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#include "check.h"

#if !defined(_WIN32)
#include <pthread.h>
#include <sys/wait.h>
#endif

#include "kernel_table.h"
#include "self_check.h"
#include "sizes.h"

// ---- The allocator and locks, which the linker wraps ----

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
static long asked, locked, refused_at = -1;

static int is_refused(void) { return asked++ == refused_at; }

void *__wrap_malloc(size_t bytes) { return is_refused() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return is_refused() ? NULL : __real_calloc(count, bytes); }
#if !defined(_WIN32)
int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock) { return locked++, __real_pthread_mutex_lock(lock); }
#endif

// ---- A network with everything that a file can have ----

static int do_nothing(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n) {
    (void)self, (void)call;
    memcpy(a, z, (size_t)(rows * n) * sizeof(float));
    return 0;
}

static const mlp_named_custom customs[] = {{"none", {do_nothing, do_nothing, NULL}}};

static mlp_network *make(mlp_dtype dtype) {
    static const mlp_output_block blocks[] = {{1, 3, MLP_SOFTMAX, 0}, {0, 1, MLP_LEAKY_RELU, 0.125}};
    mlp_layer_spec layers[] = {
        {LAYER, .n_in = 5, .n_out = 7, .activation = MLP_ELU, .alpha = 0.1, .has_bias = 1, .has_mask = 1,
         .dropout = 0.25},
        {LAYER, .n_in = 7, .n_out = 20, .activation = MLP_PRELU, .alpha = -0.25, .trainable = 1, .l1 = 1e-3},
        {LAYER, .n_in = 20, .n_out = 9, .activation = dtype ? MLP_GELU : MLP_CUSTOM_ACTIVATION, .has_bias = 1,
         .custom = {do_nothing, do_nothing, NULL}, .l2 = 0.5},
        {LAYER, .n_in = 9, .n_out = 4, .has_bias = 1, .blocks = blocks, .n_blocks = 2},
    };
    const double mean[] = {0, 1, 2, 3, 4}, scale[] = {1, 2, 3, 4, 0x1p-1000};
    mlp_network *net = NULL;
    if (!CHECK(mlp_network_create(&net, dtype, layers, 4) == MLP_OK)) exit(3);
    CHECK(mlp_network_transform_inputs(net, mean, scale) == MLP_OK);
    CHECK(mlp_network_set_lr_factors(net, 2, 0.5, 0) == MLP_OK);
    for (int l = 0; l < 4; l++) {
        for (int64_t i = 0; i < layers[l].n_in; i++) {
            for (int64_t j = 0; j < layers[l].n_out; j++) {
                int64_t at = i * mlp_network_stride(net, l) + j;
                double w = (double)((i * 31 + j * 17) % 23 - 11) / 16;
                int kept = l > 0 || (i + j) % 3;
                if (dtype == MLP_FLOAT32) ((float *)mlp_network_weights(net, l))[at] = kept ? (float)w : 0;
                else ((double *)mlp_network_weights(net, l))[at] = kept ? w : 0;
                if (l == 0 && dtype == MLP_FLOAT32) ((float *)mlp_network_mask(net, l))[at] = (float)kept;
                if (l == 0 && dtype == MLP_FLOAT64) ((double *)mlp_network_mask(net, l))[at] = kept;
            }
        }
    }
    return net;
}

static mlp_file settings(void) {
    mlp_file file = mlp_file_init();
    file.customs = customs, file.n_customs = 1, file.input_scale = 1.0 / 255, file.seed = UINT64_MAX;
    file.input_dropout = 0x1p-1074, file.input_noise = 0.1;
    return file;
}

// At the end of readable memory.
static unsigned char *save(const mlp_network *net, const guarded *memory, size_t *n) {
    mlp_file file = settings();
    CHECK(mlp_network_save(net, NULL, 0, n, &file) == MLP_BUFFER_TOO_SMALL);
    unsigned char *bytes = guarded_place(memory, *n, AT_END);
    bytes[*n - 1] = 77;
    CHECK(mlp_network_save(net, bytes, *n - 1, n, &file) == MLP_BUFFER_TOO_SMALL && bytes[*n - 1] == 77);
    asked = 0;
    CHECK(mlp_network_save(net, bytes, *n, n, &file) == MLP_OK && asked == 0);
    return bytes;
}

static void test_files(mlp_dtype dtype, const guarded *memory, const guarded *second) {
    doing("a file, dtype %d", (int)dtype);
    mlp_network *net = make(dtype), *again = NULL;
    size_t n, m;
    unsigned char *bytes = save(net, memory, &n);
    mlp_file file = settings();
    file.seed = 0, file.input_scale = file.input_noise = 0;
    asked = 0;
    CHECK(mlp_network_load(&again, bytes, n, &file) == MLP_OK);
    CHECK(asked == 5);  // struct, parameters, mask, blocks, transform
    CHECK(file.seed == UINT64_MAX && file.input_scale == 1.0 / 255 && file.input_noise == 0.1 && !file.problem);
    unsigned char *other = save(again, second, &m);
    CHECK(n == m && memcmp(bytes, other, n) == 0);
    mlp_network_destroy(again);
    again = NULL;
    for (refused_at = 0; refused_at < 5; refused_at++) {
        asked = 0;
        CHECK(mlp_network_load(&again, bytes, n, &file) == MLP_NO_MEMORY && !again);
    }
    refused_at = -1;
    if (dtype == MLP_FLOAT32) {
        CHECK(mlp_network_load(&again, bytes, n, NULL) == MLP_NEEDS_PYTHON && !again);
        CHECK(mlp_network_save(net, other, m, &m, NULL) == MLP_BAD_ARGUMENT);
    }
    file.size = 0;
    CHECK(mlp_network_load(&again, bytes, n, &file) == MLP_BAD_ARGUMENT && !again);
    mlp_network_destroy(net);
}

// Cut off at each byte, before an unreadable page; and with each bit of the header flipped, which may load.
static void test_damage(mlp_dtype dtype, const guarded *memory, const guarded *second) {
    mlp_network *net = make(dtype), *again = NULL;
    size_t n;
    unsigned char *bytes = save(net, memory, &n);
    mlp_file file = settings();
    for (size_t length = 0; length < n; length++) {
        doing("a file of %zu bytes, of which %zu are there", n, length);
        unsigned char *part = guarded_place(second, length, AT_END);
        memcpy(part, bytes, length);
        CHECK(mlp_network_load(&again, part, length,
                               &file) == MLP_BAD_FILE && file.problem && file.at <= length && !again);
    }
    for (size_t bit = 0; bit < 8 * (8 + (size_t)bytes[8 - 8] + 256 * (size_t)bytes[1]); bit++) {
        doing("bit %zu flipped", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        mlp_status status = mlp_network_load(&again, bytes, n, &file);
        CHECK((status == MLP_OK) == (again != NULL));
        mlp_network_destroy(again);
        again = NULL;
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    mlp_network_destroy(net);
}

// ---- Names of the program's functions, as JSON ----

#define MOST_BYTES 2000

static mlp_file naming(const mlp_named_custom *named, int64_t n) {
    mlp_file file = mlp_file_init();
    file.customs = named, file.n_customs = n;
    return file;
}

static mlp_network *with_own_activation(void) {
    mlp_layer_spec layer = {LAYER, .n_in = 2, .n_out = 3, .activation = MLP_CUSTOM_ACTIVATION,
                            .custom = {do_nothing, do_nothing, NULL}};
    mlp_network *net = NULL;
    if (!CHECK(mlp_network_create(&net, MLP_FLOAT32, &layer, 1) == MLP_OK)) exit(3);
    return net;
}

static mlp_status load_with(const char *name, const unsigned char *bytes, size_t n) {
    mlp_named_custom two[] = {{"another", {do_nothing, do_nothing, NULL}}, {name, {do_nothing, do_nothing, NULL}}};
    mlp_file file = naming(two, 2);
    mlp_network *net = NULL;
    mlp_status status = mlp_network_load(&net, bytes, n, &file);
    mlp_network_destroy(net);
    return status;
}

// Saves the network with this name, in which `escaped` must then stand for it; returns where.
static unsigned char *save_named(unsigned char *bytes, size_t *n, const char *name, const char *escaped) {
    mlp_named_custom named = {name, {do_nothing, do_nothing, NULL}};
    mlp_file file = naming(&named, 1);
    mlp_network *net = with_own_activation();
    doing("the name %s", escaped);
    CHECK(mlp_network_save(net, bytes, MOST_BYTES, n, &file) == MLP_OK);
    mlp_network_destroy(net);
    unsigned char *at = memmem(bytes, *n, escaped, strlen(escaped));
    if (!CHECK(at != NULL)) exit(3);
    return at;
}

static void test_escaped(const char *name, const char *escaped) {
    unsigned char bytes[MOST_BYTES];
    size_t n;
    save_named(bytes, &n, name, escaped);
    CHECK(load_with(name, bytes, n) == MLP_OK);
    CHECK(load_with("yet another", bytes, n) == MLP_NEEDS_PYTHON);
}

// What another program may have written as the name: text, filled up with a, is read as `name` with as many.
static void test_read(const char *text, const char *name, mlp_status status) {
    static const char escaped[] = "\\ud834\\udd1e";
    unsigned char bytes[MOST_BYTES];
    char filled[30];
    size_t n, left = strlen(escaped) - strlen(text);
    unsigned char *at = save_named(bytes, &n, "\xF0\x9D\x84\x9E", escaped);
    memcpy(at, text, strlen(text));
    memset(at + strlen(text), 'a', left);
    snprintf(filled, sizeof filled, "%s%.*s", name, (int)left, "aaaaaaaaaaaa");
    doing("the name %s", text);
    CHECK(load_with(filled, bytes, n) == status);
}

// Characters of 1 to 4 bytes of UTF-8, as such and escaped.
static void test_names(void) {
    test_escaped("mine", "\"mine\"");
    test_escaped("true", "\"\\\"true\\\"\"");
    test_escaped("a\"\\\x7F", "a\\u0022\\u005c\\u007f");
    test_escaped("\xC3\xA9", "\\u00e9");
    test_escaped("\xE4\xB8\xAD", "\\u4e2d");
    test_escaped("\xF0\x9D\x84\x9E", "\\ud834\\udd1e");
    test_read("\xC3\xA9\xE4\xB8\xAD\xF0\x9D\x84\x9E", "\xC3\xA9\xE4\xB8\xAD\xF0\x9D\x84\x9E", MLP_OK);
    test_read("\\\"\\n\\/", "\"\n/", MLP_OK);
    test_read("\\u00E9", "\xC3\xA9", MLP_OK);
    test_read("\\ud834", "", MLP_NEEDS_PYTHON);  // half of a pair: a text in JSON, but nobody's name
    test_read("\\u00g9", "", MLP_BAD_FILE);
    static const char *const not_utf8[] = {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xE4\xB8",
                                           "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF8\x80\x80\x80"};
    for (size_t i = 0; i < sizeof not_utf8 / sizeof *not_utf8; i++) test_read(not_utf8[i], "", MLP_BAD_FILE);
}

// ---- One row ----

static mlp_network *digits(void) {
    mlp_layer_spec layers[] = {
        {LAYER, .n_in = 64, .n_out = 32, .activation = MLP_RELU, .has_bias = 1},
        {LAYER, .n_in = 32, .n_out = 10, .activation = MLP_SOFTMAX, .has_bias = 1},
    };
    mlp_network *net = NULL;
    if (!CHECK(mlp_network_create(&net, MLP_FLOAT32, layers, 2) == MLP_OK)) exit(3);
    return net;
}

// AddressSanitizer makes system calls of its own.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_FORBID_SYSTEM_CALLS
// A child that may only read, write and end: any other system call kills it.
static int predicts_without_system_calls(const mlp_network *net, float *out, const mlp_data *data, void *workspace,
                                         int threads) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        mlp_status status = MLP_OK;
        for (int i = 0; !status && i < 1000; i++) status = mlp_predict(net, out, data, workspace, threads, NULL, NULL);
        syscall(SYS_exit, (long)status);
    }
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == MLP_OK;
}
#endif

static void test_one_row(void) {
    mlp_network *net = digits();
    float x[64] = {1, 2, 3}, out[10] = {0};
    mlp_data data = {DATA, .X = x, .x_type = MLP_FLOAT32, .n = 1};
    size_t bytes = mlp_predict_workspace(net, 1, 1);
    void *workspace = malloc(bytes);
    doing("one row, with the kernels of %s, in a workspace of %zu bytes", mlp_isa(), bytes);
    CHECK(bytes > 0 && bytes < 4096);
    for (int threads = 0; threads < 3; threads++) {
        asked = locked = 0;
        CHECK(mlp_predict(net, out, &data, workspace, threads, NULL, NULL) == MLP_OK && asked == 0 && locked == 0);
        CHECK(out[0] > 0.09f && out[9] < 0.11f);
#ifdef CAN_FORBID_SYSTEM_CALLS  // nor can emulators do without
        if (!getenv("TEST_PATIENCE")) CHECK(predicts_without_system_calls(net, out, &data, workspace, threads));
#endif
    }
    free(workspace);
    mlp_network_destroy(net);
}

// ---- What mlp_self_check sees ----

static void test_self_check(void) {
    double numbers[MLP_CHECKED];
    doing("self-check, %s", mlp_isa());
    CHECK(mlp_self_check() == MLP_OK);
    CHECK(mlp_checked_numbers(numbers, MLP_FLOAT32) == MLP_OK && numbers[0] != 0 && numbers[MLP_CHECKED - 1] != 0);
}

int main(int argc, char **argv) {
    check_begin(argc, argv, 120);
    guarded memory = guarded_create(1 << 16), second = guarded_create(1 << 16);
    test_files(MLP_FLOAT32, &memory, &second);
    test_files(MLP_FLOAT64, &memory, &second);
    test_damage(MLP_FLOAT64, &memory, &second);
    test_names();
    for (int i = 0; mlp_isa_available(i); i++) {
        CHECK(mlp_select_isa(mlp_isa_available(i)) == MLP_OK);
        test_one_row();
        test_self_check();
    }
    guarded_destroy(&memory);
    guarded_destroy(&second);
    return check_end("test_embedding");
}
