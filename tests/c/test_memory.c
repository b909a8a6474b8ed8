// Memory: every allocation of every call fails once. The call must return MLP_NO_MEMORY, change nothing and leak
// nothing; repeated, it must give the same bits as without failures. Linked with --wrap, see the Makefile.
#include "setting.h"

#define EPOCH_ROWS 24

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

// Otherwise AddressSanitizer and ThreadSanitizer end the program for a size that no machine has.
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "allocator_may_return_null=1"; }

static long asked;     // allocations since `arm`
static long fails_at;  // number of the allocation that fails, from 1; 0: none
static long alive;     // blocks that have not been freed

static void arm(long at) {
    asked = 0;
    fails_at = at;
}

static int refuses(void) { return ++asked == fails_at; }
static void *counted(void *memory) {
    alive += memory != NULL;
    return memory;
}
void *__wrap_malloc(size_t bytes) { return refuses() ? NULL : counted(__real_malloc(bytes)); }
void *__wrap_calloc(size_t count, size_t size) { return refuses() ? NULL : counted(__real_calloc(count, size)); }
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return refuses() ? NULL : counted(__real_aligned_alloc(alignment, bytes));
}
void __wrap_free(void *memory) {
    alive -= memory != NULL;
    __real_free(memory);
}

// ---- The calls that may allocate, as a sequence ----

typedef struct {
    const setting *s;
    mlp_dtype dtype;
    int threads;
    dataset d;
    mlp_settings settings;  // of the next call
    mlp_network *net;
    mlp_trainer *trainer;
    void *gradient;
} life;

static mlp_status create_network(life *of) {
    mlp_layer_spec layers[MOST_LAYERS];
    int last = of->s->n_layers - 1;
    for (int l = 0; l <= last; l++) layers[l] = layer_spec(of->s, l, of->dtype);
    if (of->s->loss.kind == MLP_PER_OUTPUT) layers[last].blocks = &of->s->loss.blocks[0].of, layers[last].n_blocks = 1;
    return mlp_network_create(&of->net, of->dtype, layers, of->s->n_layers);
}
static mlp_status create_trainer(life *of) {
    return mlp_trainer_create(&of->trainer, of->net, &of->s->loss, of->s->batch);
}
static mlp_status transform_inputs(life *of) {
    double mean[100] = {0}, scale[100];
    for (int64_t j = 0; j < of->s->width[0]; j++) scale[j] = 2;
    return mlp_network_transform_inputs(of->net, mean, scale);
}
static mlp_status prepare(life *of) { return mlp_trainer_prepare(of->trainer, &of->settings); }
static mlp_status epoch(life *of) {
    mlp_result r = mlp_result_init();
    mlp_data data = of->d.data;
    data.n = EPOCH_ROWS;
    return mlp_train_epoch(of->trainer, &r, &data, NULL, 0, &of->settings, NULL, NULL, of->threads, NULL, NULL);
}
static mlp_status step(life *of) {  // more rows than an epoch's minibatches have, so that the workspace grows
    mlp_result r = mlp_result_init();
    return mlp_train_step(of->trainer, &r, &of->d.data, &of->settings, of->threads, NULL, NULL);
}

static mlp_status gradient_and_apply(life *of) {
    mlp_result r = mlp_result_init();
    mlp_status status = mlp_gradient(of->trainer, of->gradient, &r, &of->d.data, NULL, &of->settings, of->threads, NULL,
                                     NULL);
    return status ? status : mlp_apply(of->trainer, of->gradient, &of->settings, of->threads);
}

// Parameters and states; empty before there is a network.
static snapshot now(const life *of) {
    if (!of->net) return (snapshot){NULL, 0};
    return take_snapshot(of->s, of->net, of->trainer, of->dtype);
}

static void check_unchanged(const life *of, const snapshot *before) {
    snapshot after = now(of);
    CHECK(same_snapshot(before, &after));
    free(after.values);
}

// Runs a call and returns the number of its allocations. If `failing`, each of them fails once.
static long survive(life *of, mlp_status (*call)(life *), int failing) {
    mlp_network *net = of->net;
    mlp_trainer *trainer = of->trainer;
    for (long n = 1;; n++) {
        snapshot before = now(of);
        arm(failing ? n : 0);
        mlp_status status = call(of);
        int failed = fails_at && asked >= fails_at;
        long made = asked;
        arm(0);
        CHECK(status == (failed ? MLP_NO_MEMORY : MLP_OK));
        if (failed) {
            CHECK(of->net == net && of->trainer == trainer);
            check_unchanged(of, &before);
        }
        free(before.values);
        if (!failed) return made;
    }
}

static void check_serving(life *of) {
    size_t bytes = mlp_predict_workspace(of->net, of->s->n, of->threads);
    void *workspace = allocate(bytes), *out = allocate((size_t)(of->s->n * outputs_of(of->s)) * sizeof(double));
    mlp_result r = mlp_result_init();
    arm(1);
    CHECK(mlp_predict(of->net, out, &of->d.data, workspace, of->threads, NULL, NULL) == MLP_OK);
    CHECK(mlp_evaluate(of->net, &r, &of->d.data, &of->s->loss, workspace, of->threads, NULL, NULL) == MLP_OK);
    CHECK(asked == 0);
    arm(0);
    free(workspace);
    free(out);
}

// A network's life from its creation to its end -> its parameters and states.
static snapshot live(const setting *s, mlp_dtype dtype, int threads, int failing) {
    long alive_before = alive;
    life of = {.s = s, .dtype = dtype, .threads = threads, .d = make_data(s, dtype), .settings = s->settings};
    CHECK(survive(&of, create_network, failing) >= 2);
    draw_parameters(s, of.net, mlp_kernels_for(dtype));
    if (s->loss.kind == MLP_PER_OUTPUT) CHECK(survive(&of, transform_inputs, failing) == 1);
    CHECK(survive(&of, create_trainer, failing) == 1);
    CHECK(survive(&of, epoch, failing) >= 1);
    CHECK(survive(&of, epoch, failing) == 0);  // all memory is allocated by now
    CHECK(survive(&of, step, failing) == 1);
    of.settings.clip_norm = 1e-3;
    CHECK(survive(&of, epoch, failing) == (failing ? 1 : 2));  // if only the squares fail, the gradient is kept
    of.settings.optimizer = MLP_ADAM;  // the previous states are kept until the new ones are allocated
    CHECK(survive(&of, prepare, failing) == 2);
    CHECK(survive(&of, epoch, failing) == 0);
    CHECK(survive(&of, step, failing) == 0);
    of.gradient = allocate(mlp_network_bytes(of.net));
    CHECK(survive(&of, gradient_and_apply, failing) == 0);
    of.settings.chunk_rows = 3;
    CHECK(survive(&of, gradient_and_apply, failing) <= 1);  // memory for the partial sums of the tree
    CHECK(survive(&of, step, failing) == 0);
    free(of.gradient);
    check_serving(&of);
    snapshot taken = now(&of);
    CHECK(snapshot_is_finite(&taken));
    mlp_trainer_destroy(of.trainer);
    mlp_network_destroy(of.net);
    destroy_data(&of.d);
    CHECK(alive == alive_before + 1);  // the snapshot
    return taken;
}

static void test_every_allocation(const setting *s) {
    static const int team_sizes[] = {1, 2, 3};
    for (int t = 0; t < 6; t++) {
        mlp_dtype dtype = t % 2 ? MLP_FLOAT64 : MLP_FLOAT32;
        doing("%s %s, %d threads", s->name, t % 2 ? "float64" : "float32", team_sizes[t / 2]);
        snapshot undisturbed = live(s, dtype, team_sizes[t / 2], 0), survivor = live(s, dtype, team_sizes[t / 2], 1);
        CHECK(same_snapshot(&undisturbed, &survivor));
        free(undisturbed.values);
        free(survivor.values);
    }
}

// ---- Sizes that overflow ----

static void test_sizes(const setting *s) {
    doing("sizes that do not fit");
    life of = {.s = s, .dtype = MLP_FLOAT32, .threads = 1, .d = make_data(s, MLP_FLOAT32), .settings = s->settings};
    CHECK(create_network(&of) == MLP_OK);
    draw_parameters(s, of.net, mlp_kernels_for(MLP_FLOAT32));
    CHECK(create_trainer(&of) == MLP_OK);
    snapshot before = now(&of);
    const int64_t too_many[] = {INT64_MAX, INT64_MAX / 2, INT64_C(1) << 61, INT64_C(1) << 59};
    for (int i = 0; i < 4; i++) {  // must be refused before data is read, since the arrays are shorter than n
        mlp_data data = of.d.data;
        mlp_result r = mlp_result_init();
        data.n = too_many[i];
        CHECK(mlp_train_step(of.trainer, &r, &data, &of.settings, 1, NULL, NULL) == MLP_TOO_LARGE);
        // Prediction processes rows in chunks: its workspace does not grow with n.
        CHECK(mlp_predict_workspace(of.net, too_many[i], 1) == mlp_predict_workspace(of.net, INT64_C(1) << 40, 1));
    }
    mlp_data data = of.d.data;
    mlp_result r = mlp_result_init();
    data.n = INT64_C(1) << 46;  // fits size_t, but exceeds any machine's memory
    CHECK(mlp_train_step(of.trainer, &r, &data, &of.settings, 1, NULL, NULL) == MLP_NO_MEMORY);
    data.n = -1;
    CHECK(mlp_train_step(of.trainer, &r, &data, &of.settings, 1, NULL, NULL) == MLP_BAD_ARGUMENT);
    CHECK(mlp_predict_workspace(of.net, -1, 1) == 0);
    data.n = INT64_C(1) << 54;  // each array fits, but not all of them together
    of.settings.chunk_rows = data.n;
    CHECK(mlp_train_step(of.trainer, &r, &data, &of.settings, 1, NULL, NULL) == MLP_TOO_LARGE);
    of.settings.chunk_rows = 0;
    check_unchanged(&of, &before);
    CHECK(step(&of) == MLP_OK);
    free(before.values);
    mlp_trainer_destroy(of.trainer);
    mlp_network_destroy(of.net);
    destroy_data(&of.d);
}

int main(int argc, char **argv) {
    const mlp_settings sgd = {SETTINGS, .lr = 0.1, .momentum = 0.9, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
                              .check_finite = 1};
    static const mlp_loss_block parts[] = {
        {.of = {.count = 3, .activation = MLP_SIGMOID}, .factor = 1, .kind = MLP_BINARY_CROSS_ENTROPY},
        {.of = {.first = 3, .count = 2}, .y_first = 3, .factor = 0.5, .kind = MLP_SQUARED_ERROR}};
    const setting lives[] = {
        {.name = "9-20-5", .n_layers = 2, .width = {9, 20, 5}, .g = {MLP_RELU, MLP_SOFTMAX}, .by_label = 1,
         .loss = {LOSS, .kind = MLP_CROSS_ENTROPY}, .n = 40, .batch = 8, .settings = sgd},
        {.name = "9-33-17-5", .n_layers = 3, .width = {9, 33, 17, 5}, .g = {MLP_PRELU, MLP_GELU, MLP_IDENTITY},
         .alpha = {0.25}, .masked = 3, .weighted = 1, .loss = {LOSS, .kind = MLP_SQUARED_ERROR}, .n = 40, .batch = 8,
         .settings = sgd},
        {.name = "9-20-5, parts, inputs transformed", .n_layers = 2, .width = {9, 20, 5}, .g = {MLP_TANH, MLP_IDENTITY},
         .loss = {LOSS, .kind = MLP_PER_OUTPUT, .blocks = parts, .n_blocks = 2}, .n = 40, .batch = 8,
         .settings = sgd},
    };
    check_begin(argc, argv, 300);
    mlp_allow_oversubscription(1);
    for (int i = 0; i < 3; i++) test_every_allocation(&lives[i]);
    test_sizes(&lives[1]);
    return check_end("test_memory");
}
