# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The binding of the C core: networks and trainers. Typed arrays in, GIL released, status code -> exception.

Arrays that arrive here have been validated (_examples.py); nothing here converts or copies one.

Without a GIL, several Python threads share of a Network its list of idle workspaces and who trains it, which its lock
guards; a Trainer belongs to the thread that holds its network, and everything else is constant once made. The short
ways (`predict_few`, `step_ready`) look at the caller's own arrays, whose shapes another thread could change, and are
left out.
"""
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

import collections

import numpy as np

from mlpfast._custom cimport (Custom, custom_backward, custom_forward, custom_loss, custom_loss_of,
                              custom_rows, poll_state)
from mlpfast._declarations cimport *
from mlpfast._fpmode cimport CallersTurn, on_callers_turn
from mlpfast._memory cimport address, address_or_null, dtype_of, is_plain, row_stride, type_of, view

cnp.import_array()

# By this symbol _threadpools.py knows this module among others that are called _core.
cdef extern from *:
    """
    #if defined(_WIN32)
    __declspec(dllexport)
    #else
    __attribute__((visibility("default")))
    #endif
    extern const int mlpfast_core;
    const int mlpfast_core = 1;
    """

# ---- The vocabulary, as it stands in vocabulary.h: {name: its row}; "custom" are functions of the caller's ----

OF_ACTIVATIONS = {
    "in_z": MLP_IN_Z, "apart": MLP_APART, "has_alpha": MLP_HAS_ALPHA, "learns_alpha": MLP_LEARNS_ALPHA,
    "rectifier": MLP_RECTIFIER, "saturates": MLP_SATURATES, "stops": MLP_STOPS,
    "share": MLP_SHARE,
}
OF_LOSSES = {
    "of_z": MLP_OF_Z, "by_class": MLP_BY_CLASS, "one_hot": MLP_ONE_HOT, "counts": MLP_COUNTS, "smooths": MLP_SMOOTHS,
    "by_entry": MLP_BY_ENTRY, "own_y": MLP_OWN_Y, "joins": MLP_JOINS,
}
# What y may hold.
Y_NUMBERS, Y_NOT_NEGATIVE, Y_DISTRIBUTIONS = MLP_Y_NUMBERS, MLP_Y_NOT_NEGATIVE, MLP_Y_DISTRIBUTIONS
Y_PROBABILITIES, Y_SIGNS = MLP_Y_PROBABILITIES, MLP_Y_SIGNS

ActivationTraits = collections.namedtuple("ActivationTraits", ["number", "is_custom", "least_alpha", *OF_ACTIVATIONS])
LossTraits = collections.namedtuple("LossTraits", ["number", "is_custom", "y", "outputs", "natural", "above", "below",
                                                   *OF_LOSSES])
OptimizerTraits = collections.namedtuple("OptimizerTraits", "number states moved bare")


cdef activation_traits(int number):
    cdef mlp_activation_row row = mlp_activation_rows[number]
    traits = [bool(row.traits & bit) for bit in OF_ACTIVATIONS.values()]
    return ActivationTraits(number, number == MLP_CUSTOM_ACTIVATION, row.least_alpha, *traits)


cdef names_of(uint64_t outputs):
    """The names of a set of activations, the usual ones first."""
    names = [name for name, traits in ACTIVATIONS.items() if outputs >> <int>traits.number & 1]
    return tuple(sorted(names, key=lambda name: (ACTIVATIONS[name].stops, name == "identity")))


cdef loss_traits(int number):
    cdef mlp_loss_row row = mlp_loss_rows[number]
    traits = [bool(row.traits & bit) for bit in OF_LOSSES.values()]
    natural = names_of(row.natural)[0] if row.natural else None
    custom = number == MLP_CUSTOM_LOSS
    return LossTraits(number, custom, row.y, names_of(row.outputs), natural, row.above, row.below, *traits)


cdef optimizer_traits(int number):
    cdef mlp_optimizer_row row = mlp_optimizer_rows[number]
    moved = {MLP_MOVES_NOTHING: None, MLP_MOVES_MOMENTUM: "momentum", MLP_MOVES_BETA1: "beta1"}[row.moved]
    return OptimizerTraits(number, row.states, moved, bool(row.traits & MLP_BARE))


ORDER_VERSION = MLP_ORDER_VERSION
VERSION = mlp_version()
SIZE_OF_SETTINGS = sizeof(mlp_settings)
ACTIVATIONS = {mlp_activation_rows[i].name.decode(): activation_traits(i) for i in range(MLP_ACTIVATIONS)
               if mlp_activation_rows[i].name != NULL}
LOSSES = {mlp_loss_rows[i].name.decode(): loss_traits(i) for i in range(MLP_LOSSES) if mlp_loss_rows[i].name != NULL}
OPTIMIZERS = {mlp_optimizer_rows[i].name.decode(): optimizer_traits(i) for i in range(MLP_OPTIMIZERS)
              if mlp_optimizer_rows[i].name != NULL}


cdef const mlp_kernels *kernels_for(mlp_dtype dtype) noexcept:
    """For the other modules: the C core is linked into this one alone."""
    return mlp_kernels_for(dtype)


cdef mlp_activation activation_kind(activation) except *:
    return <mlp_activation><int>activation.traits.number


cdef mlp_loss_kind loss_kind(loss) except *:
    return <mlp_loss_kind><int>loss.traits.number


cdef class LossSpec:
    """A loss as the core takes it. Holds what that refers to."""

    def __dealloc__(self):
        free(self.blocks)


cdef LossSpec loss_spec(loss, output, int64_t n_out, Custom custom=None):
    """output: the activation of the n_out outputs. custom: custom_loss_of(loss)."""
    cdef mlp_loss_kind kind = loss_kind(loss)
    cdef LossSpec spec = LossSpec()
    if (kind == MLP_CUSTOM_LOSS) != (custom is not None):
        raise ValueError("loss must keep its name")
    spec.custom = custom
    spec.c = mlp_loss_init()
    spec.c.kind, spec.c.parameter, spec.c.label_smoothing = kind, loss.parameter, loss.label_smoothing
    spec.c.custom = mlp_custom_loss(custom_loss, kind == MLP_CUSTOM_LOSS and not loss.through_output, <void *>custom)
    parts = loss.parts_of(output, n_out)
    spec.c.n_blocks = len(parts)
    if parts:
        spec.blocks = <mlp_loss_block *>calloc(len(parts), sizeof(mlp_loss_block))
        if spec.blocks == NULL:
            raise MemoryError()
    spec.c.blocks = spec.blocks
    for i, part in enumerate(parts):
        spec.blocks[i].of = output_block(part.first, part.n, part.activation)
        spec.blocks[i].y_first, spec.blocks[i].factor = part.y_first, part.factor
        spec.blocks[i].kind = <mlp_loss_kind><int>part.loss.traits.number
        spec.blocks[i].parameter, spec.blocks[i].label_smoothing = part.loss.parameter, part.loss.label_smoothing
    return spec


cdef mlp_output_block output_block(int64_t first, int64_t count, activation) except *:
    return mlp_output_block(first, count, activation_kind(activation), activation.alpha)


cdef class OutputBlocks:
    """The parts of an activations.PerOutput, as the core takes them."""

    def __cinit__(self, parts):
        self.n = len(parts)
        self.blocks = <mlp_output_block *>calloc(max(1, len(parts)), sizeof(mlp_output_block))
        if self.blocks == NULL:
            raise MemoryError()
        for i, part in enumerate(parts):
            self.blocks[i] = output_block(part.first, part.n, part.activation)

    def __dealloc__(self):
        free(self.blocks)


# ---- The machine ----

def isa_available():
    """Names of the instruction sets this machine can run, best first."""
    names, i = [], 0
    while mlp_isa_available(i) != NULL:
        names.append(mlp_isa_available(i).decode())
        i += 1
    return names


def select_isa(str name):
    """Use the kernels of that name; None takes the best."""
    encoded = None if name is None else name.encode()
    cdef const char *chars = NULL
    if encoded is not None:
        chars = encoded
    if mlp_select_isa(chars) != MLP_OK:
        raise ImportError(f"MLPFAST_ISA={name!r}: this machine can run {', '.join(isa_available())}")


def isa():
    return mlp_isa().decode()


def compiler():
    return mlp_compiler().decode()


def self_check():
    """Whether the kernels in use compute what they should."""
    return mlp_self_check() == MLP_OK


def threading():
    return mlp_threading().decode()


def processors():
    return mlp_processors()


def max_threads():
    return mlp_max_threads()


def allow_threads(int n):
    """Limits calls of this thread without `threads`, as omp_set_num_threads does."""
    mlp_threads_allow(n)


def allow_oversubscription(bint allowed):
    mlp_allow_oversubscription(allowed)


def peak_flops(dtype, int threads, double seconds):
    """Floating-point operations a second of that many threads together, with fused multiply-adds alone."""
    cdef mlp_dtype kind = MLP_FLOAT32 if dtype == np.float32 else MLP_FLOAT64
    cdef double rate
    with nogil:
        rate = mlp_peak_flops(kind, threads, seconds)
    return rate


def forks():
    """The number of forks between the process that loaded the library and this one."""
    return mlp_forks()


def threads_for(int asked, double flops):
    """How many threads to use for that many floating-point operations; asked: from checked_threads."""
    return mlp_crew_size(asked, flops)


# ---- Settings and schedules, which are looked at in every step ----

cdef double LEAST = np.finfo(np.float32).tiny


def same_objects(tuple a, tuple b):
    """Whether both hold the same objects: settings that are those of the last step need no check, which would take
    longer than a small step."""
    cdef Py_ssize_t i
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if a[i] is not b[i]:
            return False
    return True


cdef inline bint is_usual(value, double below) noexcept:
    """Whether a rate or a momentum is a float in the usual range, so that it needs no further check."""
    return type(value) is float and LEAST <= <double>value < below


def values_at(function, times, double below, checked, bint or_none=False):
    """[function(t) for each t]; unusual values go through checked(value, t). or_none: None is usual."""
    values = []
    with CallersTurn():
        for t in times:
            value = function(t)
            if not is_usual(value, below) and not (or_none and value is None):
                value = checked(value, t)
            values.append(value)
    return values


# ---- Arrays ----

cdef type np_ndarray = np.ndarray
cdef double FEW_FLOPS = 1e6  # some ten microseconds: the GIL is kept


cdef bint is_there(cnp.ndarray array) noexcept:
    """False for a view whose base was made smaller or moved by `resize(refcheck=False)`."""
    cdef PyObject *base = <PyObject *>cnp.PyArray_BASE(array)
    if base == NULL or not isinstance(<object>base, cnp.ndarray):
        return True
    owner = <cnp.ndarray>base
    cdef const char *begin = <const char *>address(owner)
    cdef const char *data = <const char *>address(array)
    if not cnp.PyArray_CHKFLAGS(owner, cnp.NPY_ARRAY_OWNDATA):
        return True
    return begin <= data and data + cnp.PyArray_NBYTES(array) <= begin + cnp.PyArray_NBYTES(owner)


cdef class Data:
    """Examples as the core reads them. Holds the arrays: C-contiguous, checked by _examples.py.

    y: what _targets.py says; None where no function of the caller's will see it. x_rows (n,) int64: the row of X of
    each example, or None for all in their order. origin: _arrays.Origin, for messages. entries: the weights of the
    entries of targets, with which weights holds the mean of each row; or None.
    """
    def __cinit__(self, cnp.ndarray X, double scale=1.0, labels=None, targets=None, weights=None, y=None,
                  bint one_hot=False, x_rows=None, entries=None):
        self.x_rows = x_rows
        self.X, self.y, self.labels, self.targets, self.weights = X, y, labels, targets, weights
        self.entries = entries
        self.c = mlp_data_init()
        self.c.entry_weights = address_or_null(entries)
        self.c.target_cols = 0 if targets is None else targets.shape[1]
        self.c.X = address(X)
        self.c.x_type = dtype_of(X)
        self.c.x_scale = scale
        self.c.labels = <const int32_t *>address_or_null(labels)
        self.c.targets = address_or_null(targets)
        self.c.weights = address_or_null(weights)
        self.c.one_hot = one_hot
        self.c.n = self.c.n_x = X.shape[0]
        if x_rows is not None:
            self.c.x_rows, self.c.n = <const int64_t *>address(x_rows), len(x_rows)
        if y is not None and labels is None and targets is None:  # of a Custom loss
            self.c.y, self.c.y_bytes = address(y), y.nbytes // max(1, len(y))
        for name, array in (("labels", labels), ("targets", targets), ("weights", weights), ("y", y),
                            ("entries", entries)):
            if array is not None and (<cnp.ndarray?>array).shape[0] != self.c.n:
                raise ValueError(f"{name} must have one entry for each row of X, has {len(array)} for {self.c.n}")

    def __len__(self):
        return self.c.n

    @property
    def mean_weight(self):
        """m: the gradient of B rows is divided by B m; 0: by the sum of their weights."""
        return self.c.mean_weight

    @mean_weight.setter
    def mean_weight(self, double mean_weight):
        self.c.mean_weight = mean_weight

    @property
    def inputs(self):
        """(n, n_in): the examples' rows of X, X itself or a copy."""
        return self.X if self.x_rows is None else self.X[self.x_rows]

    @property
    def weight_sum(self):
        """The sum in float64, in row order, as the core forms it."""
        if self.weights is None:
            return float(self.c.n)
        return float(np.cumsum(self.weights, dtype=np.float64)[len(self.weights) - 1])

    @property
    def truth(self):
        """y as the library itself reads it: labels (n,) or targets (n, n_out); y for a Custom loss."""
        return self.labels if self.labels is not None else self.targets if self.targets is not None else self.y

    @property
    def one_hot(self):
        """Whether rows of targets hold a single 1, so that the predicted class is that of the largest output."""
        return bool(self.c.one_hot)

    @one_hot.setter
    def one_hot(self, bint one_hot):
        self.c.one_hot = one_hot

    cdef mlp_truth c_truth(self) noexcept:
        return mlp_truth(self.c.labels, self.c.targets, self.c.y, self.c.weights, self.c.one_hot, self.c.entry_weights,
                         self.c.target_cols)

    cpdef int check(self, Network network) except -1:
        """ValueError unless the core can read this as data of that network. The last check before it does: another
        thread may have changed an array since the others."""
        cdef cnp.ndarray X = self.X
        suits = is_plain(X, network.n_in) and cnp.PyArray_DIM(X, 0) == self.c.n_x and address(X) == self.c.X
        suits = suits and is_there(X)
        for array, data in ((self.labels, <size_t>self.c.labels), (self.targets, <size_t>self.c.targets),
                            (self.weights, <size_t>self.c.weights), (self.entries, <size_t>self.c.entry_weights)):
            if array is not None:
                suits = suits and array.shape[0] == self.c.n and <size_t>address(array) == data
        if self.c.y != NULL:
            suits = suits and address(self.y) == self.c.y and self.y.nbytes == self.c.n * self.c.y_bytes
        for array in (self.targets, self.entries):
            if array is not None:
                suits = suits and is_plain(array, self.c.target_cols) and array.dtype == network.dtype
        if self.labels is not None:
            suits = suits and cnp.PyArray_TYPE(self.labels) == cnp.NPY_INT32 and cnp.PyArray_ISCARRAY_RO(self.labels)
        if self.weights is not None:
            suits = suits and self.weights.dtype == network.dtype and cnp.PyArray_ISCARRAY_RO(self.weights)
        if not suits:
            raise ValueError("X, y or sample_weight has changed its shape or type since it was checked")
        return 0


cdef inline mlp_data rows_alone(cnp.ndarray X, double scale) noexcept:
    """X without y or weights; its type is still to be set."""
    return mlp_data(sizeof(mlp_data), address(X), MLP_FLOAT32, scale, NULL, NULL, 0, NULL, cnp.PyArray_DIM(X, 0), 0,
                    NULL, 0, NULL, 0, 0, NULL)


# ---- Interrupts ----

cdef inline poll_state polled(list caught, void *data):
    """The context of a call that begins now. The call names every member: a literal may leave members unset."""
    return poll_state(mlp_seconds(), <void *>caught, data)


cdef double POLL_SECONDS = 0.05  # each poll takes the GIL; Ctrl-C is answered within 0.2 s


cdef int ask(void *context) noexcept nogil:
    cdef poll_state *state = <poll_state *>context
    cdef double time = mlp_seconds()
    if time - state.last < POLL_SECONDS:
        return 0
    state.last = time
    with gil:
        mlp_fpmode_enter_default()
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<list>state.caught).append(error)
            return 1
        finally:
            mlp_fpmode_enter_core()
    return 0


cdef int raise_status(mlp_status status, list caught) except -1:
    """Raise the exception of a status, but for numbers that are not finite: the caller can name them."""
    if caught:  # first: a signal must not be lost where something else stopped the same minibatch
        raise caught[0]
    if status in (MLP_OK, MLP_INPUT_NOT_FINITE, MLP_LOSS_NOT_FINITE, MLP_DERIVATIVE_NOT_FINITE):
        return 0
    # Interrupted without an exception: a function of the caller's, or NumPy for it, had no memory to say more.
    if status == MLP_NO_MEMORY or status == MLP_TOO_LARGE or status == MLP_INTERRUPTED:
        raise MemoryError("not enough memory for arrays of these sizes")
    raise ValueError("the C core refused an argument")


# ---- Networks ----

cdef size_t IDLE_BYTES = 2**24  # the most that idle workspaces of a network take, if there are several


cdef class Workspace:
    def __dealloc__(self):
        free(self.memory)

    cdef int ensure(self, size_t size) except -1:
        if size == 0:
            raise MemoryError("not enough memory for a workspace of this size")
        if size > self.size:
            free(self.memory)
            self.size = 0
            self.memory = malloc(size)
            if self.memory == NULL:
                raise MemoryError(f"not enough memory for a workspace of {size} bytes")
            self.size = size
        return 0


cdef int64_t specs_out(list layers) except -1:
    return layers[len(layers) - 1]["n_out"]


cdef class Network:
    """Owns an mlp_network. layers: dicts of n_in, n_out, activation, bias, trainable, lr_factor, bias_lr_factor, dropout,
    may_drop, l1, l2, mask. input_transform: None, or (mean, scale), float64 (n_in,)."""

    def __cinit__(self, dtype, layers, input_transform=None):
        self.dtype, self.layers, self.custom, self.shared, self.idle = np.dtype(dtype), layers, [], [], []
        self.training_since = self.held_since = -1
        cdef mlp_layer_spec *specs = <mlp_layer_spec *>calloc(len(layers), sizeof(mlp_layer_spec))
        if specs == NULL:
            raise MemoryError()
        cdef mlp_status status
        cdef OutputBlocks blocks
        try:
            for l, layer in enumerate(layers):
                activation = layer["activation"]
                specs[l].size = sizeof(mlp_layer_spec)
                specs[l].n_in, specs[l].n_out = layer["n_in"], layer["n_out"]
                self.flops += 2.0 * specs[l].n_in * specs[l].n_out
                specs[l].activation = activation_kind(activation)
                specs[l].alpha, specs[l].shared = activation.alpha, bool(activation.shared)
                specs[l].has_bias, specs[l].has_mask = layer["bias"], layer["mask"]
                specs[l].trainable = layer["trainable"]
                specs[l].dropout, specs[l].l1, specs[l].l2 = layer["dropout"], layer["l1"], layer["l2"]
                specs[l].may_drop = layer["may_drop"]
                custom = Custom(activation, self.dtype) if specs[l].activation == MLP_CUSTOM_ACTIVATION else None
                specs[l].custom = mlp_custom_activation(custom_forward, custom_backward, <void *>custom)
                if activation.parts:
                    blocks = OutputBlocks(activation.parts)  # which the core copies
                    specs[l].blocks, specs[l].n_blocks = blocks.blocks, blocks.n
                self.custom.append(custom)
                self.shared.append(specs[l].shared)
            status = mlp_network_create(&self.c, MLP_FLOAT32 if self.dtype == np.float32 else MLP_FLOAT64, specs,
                                        <int>len(layers))
        finally:
            free(specs)
        raise_status(status, None)
        if input_transform is not None:
            mean, scale = input_transform
            raise_status(mlp_network_transform_inputs(self.c, <const double *>address(mean),
                                                      <const double *>address(scale)), None)
        self.dropout, self.l2 = [None, *(layer["dropout"] for layer in layers)], [layer["l2"] for layer in layers]
        for l in range(len(layers)):
            self.set_lr_factors(l)
        self.has_custom = any(custom is not None for custom in self.custom)
        self.n_in, self.n_out, self.is_float32 = layers[0]["n_in"], specs_out(layers), self.dtype == np.float32
        self.parameters = <const char *>mlp_network_weights(self.c, 0)
        self.parameters_end = self.parameters + mlp_network_bytes(self.c)

    def __dealloc__(self):
        mlp_network_destroy(self.c)

    cdef hold(self):
        """Keep other threads from training until `release` has been called as often."""
        mlp_lock(&self.lock)
        cdef bint refused = self.in_training() or self.is_held_elsewhere()
        if not refused:
            if self.held_since == -1 or self.held_by != mlp_this_thread():  # free, or of a thread the parent has
                self.holds = 0
            self.held_since, self.held_by, self.holds = mlp_forks(), mlp_this_thread(), self.holds + 1
        mlp_unlock(&self.lock)
        if refused:
            raise self.busy()

    cdef release(self):
        mlp_lock(&self.lock)
        self.holds -= 1
        if self.holds == 0:
            self.held_since = -1
        mlp_unlock(&self.lock)

    cdef busy(self):
        inside = self.in_training() and self.trained_by == mlp_this_thread()
        by = "the call that this one is made from" if inside else "another thread"
        return RuntimeError(f"network is being trained by {by}")

    cdef bint is_held_elsewhere(self) noexcept:
        if self.held_since == -1 or self.held_by == mlp_this_thread():
            return False
        return self.held_since == mlp_forks()  # the thread of a hold from before a fork is not in the child

    cpdef begin_training(self):
        mlp_lock(&self.lock)
        cdef bint refused = self.in_training() or self.is_held_elsewhere()
        if not refused:
            self.training_since, self.trained_by = mlp_forks(), mlp_this_thread()
        mlp_unlock(&self.lock)
        if refused:
            raise self.busy()

    cpdef end_training(self):
        mlp_lock(&self.lock)
        self.training_since = -1
        mlp_unlock(&self.lock)

    cdef bint in_training(self) noexcept:
        """Whether a trainer is at work. Of the threads of a parent, a forked child has the one that forked."""
        if self.training_since == -1:
            return False
        return self.training_since == mlp_forks() or self.trained_by == mlp_survivor()

    @property
    def training(self):
        """Whether a trainer is at work."""
        return self.in_training()

    @property
    def output(self):
        """The activation of the last layer."""
        return self.layers[len(self.layers) - 1]["activation"]

    def weights(self, int layer):
        return self.like_weights(layer, mlp_network_weights(self.c, layer))

    def change(self, int layer, **settings):
        """Set trainable, lr_factor or bias_lr_factor of a layer."""
        self.begin_training()  # no call may be reading it
        changed = {**self.layers[layer], **settings}
        self.layers = [*self.layers[:layer], changed, *self.layers[layer + 1:]]  # a new list, which Trainers notice
        mlp_network_set_trainable(self.c, layer, changed["trainable"])
        self.set_lr_factors(layer)
        self.end_training()

    cdef set_lr_factors(self, int layer):
        given = self.layers[layer]
        mlp_network_set_lr_factors(self.c, layer, given["lr_factor"], given["bias_lr_factor"])

    def set_present(self, list dropout, list l2):
        """The values of schedules: the dropout of X, which each call is given, and those of each layer; l2 of each."""
        cdef int l
        self.begin_training()
        for l in range(len(l2)):
            mlp_network_set_dropout(self.c, l, dropout[l + 1])
            mlp_network_set_l2(self.c, l, l2[l])
        self.dropout, self.l2 = dropout, l2
        self.end_training()

    def mask(self, int layer):
        return self.like_weights(layer, mlp_network_mask(self.c, layer))

    cdef like_weights(self, int layer, void *start):
        if start == NULL:
            return None
        rows = view(self, start, (self.layers[layer]["n_in"], mlp_network_stride(self.c, layer)), self.dtype)
        return rows[:, :self.layers[layer]["n_out"]]

    def bias(self, int layer):
        return view(self, mlp_network_bias(self.c, layer), (self.layers[layer]["n_out"],), self.dtype)

    def slopes(self, int layer):
        n = 1 if self.shared[layer] else self.layers[layer]["n_out"]
        return view(self, mlp_network_slopes(self.c, layer), (n,), self.dtype)

    def parameters_of_all(self):
        """Views of W, b and slopes of each layer, where it has them."""
        each = [p for l in range(len(self.layers)) for p in (self.weights(l), self.bias(l), self.slopes(l))]
        return [p for p in each if p is not None]

    def first_not_finite(self):
        """The number of the lowest layer, from 0, with a parameter that is NaN or infinite; -1 if there is none."""
        cdef int layer
        with nogil:
            layer = mlp_network_first_not_finite(self.c)
        return layer

    cdef Workspace workspace(self, int64_t n, int threads):
        """For mlp_predict and its kin with those arguments."""
        cdef Workspace space
        mlp_lock(&self.lock)
        try:
            space = None
            if self.idle:
                space = self.idle.pop()
                self.idle_bytes -= space.size
        finally:
            mlp_unlock(&self.lock)
        if space is None:
            space = Workspace()
        space.ensure(mlp_predict_workspace(self.c, n, threads))
        return space

    cdef put_back(self, Workspace space):
        mlp_lock(&self.lock)
        try:
            if not self.idle or self.idle_bytes + space.size <= IDLE_BYTES:  # one is kept, whatever its size
                self.idle.append(space)
                self.idle_bytes += space.size
        finally:
            mlp_unlock(&self.lock)

    def predict_few(self, X, out, double scale, squeeze):
        """a_L of a few rows that need no conversion; else None, and Network.predict does it or says what is wrong.

        For a single row the checks in Python cost ten times the prediction; these are the same in C.
        """
        cdef bint flat = squeeze is True
        if squeeze is not False and (not flat or self.n_out != 1):
            return None
        if FREE_THREADED or type(X) is not np_ndarray or not is_plain(<cnp.ndarray>X, self.n_in) or self.has_custom:
            return None
        cdef mlp_data data = rows_alone(<cnp.ndarray>X, scale)
        if self.flops * <double>data.n > FEW_FLOPS or not type_of(<cnp.ndarray>X, &data.x_type):
            return None
        cdef cnp.npy_intp shape[2]
        shape[0], shape[1] = data.n, self.n_out
        if out is None:
            out = cnp.PyArray_SimpleNew(2 - flat, shape, cnp.NPY_FLOAT32 if self.is_float32 else cnp.NPY_FLOAT64)
        elif type(out) is not np_ndarray or not self.takes(<cnp.ndarray>out, <cnp.ndarray>X, flat):
            return None
        cdef Workspace space = self.workspace(data.n, 1)
        cdef mlp_status status = self.forward(address(out), &data, space)
        self.put_back(space)
        if status != MLP_OK:
            raise_status(status, None)
        return out

    cdef mlp_status forward(self, void *out, const mlp_data *data, Workspace space) noexcept nogil:
        """out = a_L on one thread, with nothing checked; space: `workspace` for that many rows."""
        return mlp_predict(self.c, out, data, space.memory, 1, NULL, NULL)

    cdef bint fits(self, cnp.ndarray out, int64_t n, bint flat) noexcept:
        """Whether the predictions for n rows can be written to out: (n, n_out), or flat (n,) of a single output."""
        cdef int kind = cnp.NPY_FLOAT32 if self.is_float32 else cnp.NPY_FLOAT64
        cdef bint shaped = cnp.PyArray_NDIM(out) == 1 and self.n_out == 1 if flat else (
            cnp.PyArray_NDIM(out) == 2 and cnp.PyArray_DIM(out, 1) == self.n_out)
        return (shaped and cnp.PyArray_DIM(out, 0) == n and cnp.PyArray_ISCARRAY(out)
                and cnp.PyArray_TYPE(out) == kind)

    cdef bint takes(self, cnp.ndarray out, cnp.ndarray X, bint flat) noexcept:
        """Whether out can be written as it is: it fits all rows of X, and lies apart from X and the parameters."""
        cdef const char *begin = <const char *>cnp.PyArray_DATA(out)
        cdef const char *end = begin + cnp.PyArray_NBYTES(out)
        cdef const char *x = <const char *>cnp.PyArray_DATA(X)
        return (self.fits(out, cnp.PyArray_DIM(X, 0), flat)
                and (end <= x or x + cnp.PyArray_NBYTES(X) <= begin)
                and (end <= self.parameters or self.parameters_end <= begin))

    def predict(self, cnp.ndarray out, Data data, int threads, double input_dropout=0, uint64_t seed=0,
                int64_t sample=-1):
        """out (n, n_out), or (n,) of one output, = a_L. sample >= 0: with dropout, whose random numbers are those of
        that seed and sample."""
        data.check(self)
        if not self.fits(out, data.c.n, cnp.PyArray_NDIM(out) == 1):
            raise ValueError(f"out must have shape {(data.c.n, self.n_out)} and dtype {self.dtype}")
        threads = threads or -mlp_crew_limit()  # the same from here on
        cdef Workspace space = self.workspace(data.c.n, threads)
        cdef list caught = []
        cdef poll_state state = polled(caught, NULL)
        cdef void *to = address(out)
        cdef mlp_status status
        with nogil:
            if sample < 0:
                status = mlp_predict(self.c, to, &data.c, space.memory, threads, ask, &state)
            else:
                status = mlp_predict_sample(self.c, to, &data.c, input_dropout, seed, sample, space.memory, threads,
                                            ask, &state)
        self.put_back(space)
        raise_status(status, caught)

    def outputs(self, Data data, int threads):
        """a_L (n, n_out)."""
        out = np.empty((data.c.n, self.n_out), self.dtype)
        self.predict(out, data, threads)
        return out

    def evaluate(self, Data data, loss, int threads, yhat=None, so_far=(0.0, 0.0, 0.0, 0.0)):
        """Sums over all rows: (losses, weights, weight times the share of right labels, weights of those all right).

        yhat: `outputs`, if they are there. so_far: the sums of rows before these, with the bits of one call for both.
        A loss that may join rows, as a Custom one may, sees all of them at once, and no so_far.
        """
        if loss.traits.is_custom or loss.traits.joins:
            return sums_of_all(loss, self.outputs(data, threads) if yhat is None else yhat, data)
        data.check(self)
        threads = threads or -mlp_crew_limit()  # the same from here on
        cdef Workspace space = self.workspace(data.c.n, threads)
        cdef list caught = []
        cdef poll_state state = polled(caught, NULL)
        cdef LossSpec spec = loss_spec(loss, self.output, self.n_out)
        cdef mlp_result result = mlp_result_init()
        result.loss_sum, result.weight_sum, result.correct, result.exact = so_far
        cdef mlp_status status
        with nogil:
            status = mlp_evaluate_part(self.c, &result, &data.c, &spec.c, space.memory, threads, ask, &state)
        self.put_back(space)
        raise_status(status, caught)
        return result.loss_sum, result.weight_sum, result.correct, result.exact


cdef int joined_rows(void *delta, double *losses, cnp.ndarray out, Data data) except -1:
    """The losses (B,) of a loss that joins rows and, unless delta is NULL, d sum of losses / d out, from out = z_L."""
    cdef mlp_truth truth = data.c_truth()
    cdef Workspace space = Workspace()
    cdef int64_t n = out.shape[0]
    cdef mlp_dtype dtype = dtype_of(out)
    space.ensure(mlp_joined_bytes(n) + 64)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        mlp_joined_loss(delta, losses, address(out), dtype, &truth, n, space.memory)
    mlp_fpmode_leave(before)
    return 0


cdef sums_of_all(loss, cnp.ndarray yhat, Data data):
    """As Network.evaluate."""
    cdef Custom custom = custom_loss_of(loss, yhat.dtype)
    cdef int64_t i, n = yhat.shape[0]
    cdef cnp.ndarray losses = np.empty(n)
    cdef double *each = <double *>address(losses)
    cdef double loss_sum = 0, weight_sum = 0
    cdef mlp_truth truth = data.c_truth()
    if custom is None:
        joined_rows(NULL, each, yhat, data)
    elif n:
        custom_rows(custom, NULL, each, address(yhat), data, &truth, n, yhat.shape[1])
    weights = None if data.weights is None else data.weights.astype(np.float64)
    cdef const double *weight = <const double *>address_or_null(weights)
    for i in range(n):
        loss_sum += each[i]
        weight_sum += weight[i] if weight != NULL else 1
    return loss_sum, weight_sum, 0.0, 0.0


# ---- Training ----

cdef class Held:
    """`with Held(network):` no other thread trains it. Not a generator: Ctrl-C may come between two of its lines."""
    cdef Network network

    def __cinit__(self, Network network):
        self.network = network

    def __enter__(self):
        self.network.hold()

    def __exit__(self, *_):
        self.network.release()


cdef class Training(Held):
    """Like Held, and functions of the caller's that are called meanwhile cannot train it either."""

    def __enter__(self):
        self.network.begin_training()

    def __exit__(self, *_):
        self.network.end_training()


ctypedef fused whole_numbers:
    int32_t
    int64_t


cdef extern from *:
    """
    // Read once, whatever the compiler prefers: another thread may write between a check and a second reading.
    static int64_t once_int32(const int32_t *p) { return *(const volatile int32_t *)p; }
    static int64_t once_int64(const int64_t *p) { return *(const volatile int64_t *)p; }
    """
    int64_t once_int32(const int32_t *) noexcept
    int64_t once_int64(const int64_t *) noexcept


cdef bint copy_range(int32_t *to, const whole_numbers *y, int64_t n, int64_t n_classes) noexcept:
    cdef int64_t i, label
    for i in range(n):
        if whole_numbers is int32_t:
            label = once_int32(y + i)
        else:
            label = once_int64(y + i)
        if label < 0 or label >= n_classes:
            return False
        to[i] = <int32_t>label
    return True


cdef bint copy_labels(int32_t *to, cnp.ndarray y, int64_t n, int64_t n_classes) noexcept:
    """Whether y (n,) is a plain array of class numbers; if so, they are copied to `to` (n,)."""
    if cnp.PyArray_NDIM(y) != 1 or cnp.PyArray_DIM(y, 0) != n or not cnp.PyArray_ISCARRAY_RO(y):
        return False
    if cnp.PyArray_TYPE(y) == cnp.NPY_INT64:
        return copy_range(to, <const int64_t *>cnp.PyArray_DATA(y), n, n_classes)
    if cnp.PyArray_TYPE(y) == cnp.NPY_INT32:
        return copy_range(to, <const int32_t *>cnp.PyArray_DATA(y), n, n_classes)
    return False


cdef class Trainer:
    """Owns an mlp_trainer."""
    cdef mlp_trainer *c
    cdef readonly Network network
    cdef mlp_settings settings         # as `use` set it, for step_ready
    cdef double usual_rate             # of a schedule: up to here there is nothing to say of its rates
    cdef readonly bint moves_momentum  # whether it gave a momentum, too
    cdef bint by_label
    cdef LossSpec spec
    cdef int64_t batch_size
    cdef Workspace labels, gradients
    cdef readonly object counted       # result of the last call of epoch, also where a signal has stopped it

    def __cinit__(self, Network network, loss, int64_t batch_size):
        self.network, self.labels, self.gradients = network, Workspace(), Workspace()
        self.by_label = loss.traits.by_class and network.n_out > 1
        self.batch_size = batch_size
        self.spec = loss_spec(loss, network.output, network.n_out, custom_loss_of(loss, network.dtype))
        raise_status(mlp_trainer_create(&self.c, network.c, &self.spec.c, batch_size), None)

    def __dealloc__(self):
        mlp_trainer_destroy(self.c)

    def use(self, mlp_settings settings, double usual_rate, bint moves_momentum):
        """Set what step_ready trains with, and the limits of ask_schedule."""
        self.settings, self.usual_rate, self.moves_momentum = settings, usual_rate, moves_momentum

    def ask_schedule(self, schedule, epoch):
        """(t, rate, momentum or None) of a schedule now, in the default mode, and whether they are in use: if both are
        usual, and the momentum is there or not as it was. t is None where `per` is neither."""
        cdef mlp_fpmode before = mlp_fpmode_enter_default()
        cdef unsigned short x87 = mlp_x87_now()
        cdef bint usual
        mlp_x87_set(mlp_x87_default())
        try:
            per = schedule.per
            t = epoch if per == "epoch" else self.steps if per == "step" else None
            if t is None:
                return None, None, None, False
            rate = on_callers_turn(schedule.at, t)
            momentum_at = getattr(schedule, "momentum_at", None)
            momentum = None if momentum_at is None else on_callers_turn(momentum_at, t)
            usual = is_usual(rate, self.usual_rate) and (
                is_usual(momentum, 1) if self.moves_momentum else momentum is None)
            if usual:
                self.use_rate(rate, momentum)
            return t, rate, momentum, usual
        finally:
            mlp_x87_set(x87)
            mlp_fpmode_leave(before)

    cpdef use_rate(self, double lr, momentum):
        """Set the rate of step_ready, and the momentum (of Adam beta1) unless that is None."""
        self.settings.lr = lr
        if momentum is None:
            return
        if mlp_optimizer_rows[<int>self.settings.optimizer].moved == MLP_MOVES_BETA1:
            self.settings.beta1 = momentum
        else:
            self.settings.momentum = momentum

    def use_amounts(self, double l2, double input_dropout):
        """Set the present values of schedules for step_ready."""
        self.settings.l2, self.settings.input_dropout = l2, input_dropout

    def prepare(self, mlp_settings settings):
        """Allocate the optimizer's state if there is none."""
        self.network.begin_training()
        cdef mlp_status status = mlp_trainer_prepare(self.c, &settings)
        self.network.end_training()
        raise_status(status, None)

    def read_state(self, int optimizer):
        """(t of each layer, copies of its states: for each a list of an array per parameter); zeros and [] if another
        was used."""
        cdef int l, n_layers = len(self.network.layers)
        self.network.begin_training()
        try:
            if <int>mlp_trainer_optimizer(self.c) != optimizer:
                return [0] * n_layers, []
            arrays = self.views_of_state()
            updates = [mlp_trainer_updates(self.c, l) for l in range(n_layers)]
            return updates, [[a.copy() for a in each] for each in arrays]
        finally:
            self.network.end_training()

    def write_state(self, mlp_settings settings, list updates, list states):
        """updates: t of each layer. states: as from read_state, in the parameters' shapes and dtype; those it does not
        keep are ignored."""
        self.network.begin_training()
        try:
            raise_status(mlp_trainer_prepare(self.c, &settings), None)
            for mine, given in zip(self.views_of_state(), states):
                for array, values in zip(mine, given):
                    array[...] = values
            for l, t in enumerate(updates):
                mlp_trainer_set_updates(self.c, l, t)
        finally:
            self.network.end_training()

    def views_of_state(self):
        """Views that are valid until another optimizer is prepared."""
        parameters = self.network.parameters_of_all()
        return [[self.state_of(i, p) for p in parameters] for i in range(mlp_trainer_states(self.c))]

    cdef state_of(self, int i, cnp.ndarray parameter):
        return self.laid_out(mlp_trainer_state(self.c, i, address(parameter)), parameter)

    cdef laid_out(self, void *start, cnp.ndarray parameter):
        """A view of memory laid out as that parameter."""
        if cnp.PyArray_NDIM(parameter) == 1:
            return view(self, start, (parameter.shape[0],), parameter.dtype)
        rows = view(self, start, (parameter.shape[0], row_stride(parameter)), parameter.dtype)
        return rows[:, :parameter.shape[1]]

    @property
    def steps(self):
        """Minibatches done, also before an interrupt."""
        return mlp_trainer_steps(self.c)

    @steps.setter
    def steps(self, int64_t steps):
        mlp_trainer_set_steps(self.c, steps)

    def count_step(self):
        """Count a step that was done outside of the core."""
        for l, layer in enumerate(self.network.layers):
            if layer["trainable"]:
                mlp_trainer_set_updates(self.c, l, mlp_trainer_updates(self.c, l) + 1)
        self.steps += 1

    def step_ready(self, X, y, double scale, int threads):
        """Train on a minibatch that needs no conversion, with class numbers as y -> its mean loss, or None.

        None, with nothing changed, in all other cases: `step` then does it, or says what is wrong.
        """
        if FREE_THREADED or not self.by_label or type(X) is not np_ndarray or type(y) is not np_ndarray:
            return None
        if not is_plain(<cnp.ndarray>X, self.network.n_in) or cnp.PyArray_DIM(X, 0) == 0:
            return None
        cdef mlp_data data = rows_alone(<cnp.ndarray>X, scale)
        if not type_of(<cnp.ndarray>X, &data.x_type):
            return None
        self.network.begin_training()  # from here on the labels are this call's alone
        try:
            self.labels.ensure(<size_t>data.n * sizeof(int32_t))
            data.labels = <const int32_t *>self.labels.memory
            if not copy_labels(<int32_t *>self.labels.memory, <cnp.ndarray>y, data.n, self.network.n_out):
                return None
            return self.run_step(&data, threads)
        finally:
            self.network.end_training()

    cdef object run_step(self, const mlp_data *data, int threads):
        cdef list caught = []
        cdef poll_state state = polled(caught, NULL)
        cdef mlp_result result = mlp_result_init()
        cdef mlp_status status
        cdef mlp_settings settings = self.settings
        with nogil:  # in the caller's mode: threads that are born here keep it
            status = mlp_train_step(self.c, &result, data, &settings, threads, ask, &state)
        cdef mlp_fpmode before = mlp_fpmode_enter_default()
        if status == MLP_OK:
            # In memory: a register could be divided after the leave.
            result.loss_sum = result.loss_sum / result.weight_sum
        mlp_fpmode_leave(before)
        raise_status(status, caught)
        return None if status != MLP_OK else result.loss_sum

    def epoch(self, Data data, cnp.ndarray order, mlp_settings settings, int threads, int64_t batch_size,
              int64_t first, int64_t count, so_far=None, rates=None, momenta=None, dropout=None, l2=None):
        """Train on minibatches [first, first + count) of that order (int64 row numbers, at most n, or None), or as many
        of them as there are -> (status name, result of the epoch so far).

        so_far: the result of the call before, also of one with other data; None if the epoch begins. rates, momenta,
        dropout, l2: as in mlp_epoch_part (float64), or None for those of the settings and layers.
        """
        data.check(self.network)
        if order is not None and order.dtype != np.int64:
            raise ValueError("order must be int64")
        cdef int64_t n_order = 0 if order is None else order.shape[0]
        layers = len(self.network.layers)
        for each, shape in ((rates, (count,)), (momenta, (count,)), (dropout, (count, layers + 1)), (l2, (count, layers))):
            if each is not None and (each.dtype != np.float64 or each.shape != shape):
                raise ValueError("rates, momenta, dropout and l2 must be float64, with a row for each minibatch")
        cdef mlp_epoch_part part = mlp_epoch_part(
            sizeof(mlp_epoch_part), first, count, batch_size, <const double *>address_or_null(rates),
            <const double *>address_or_null(momenta), <const double *>address_or_null(dropout),
            <const double *>address_or_null(l2), so_far is not None)
        cdef list caught = []
        cdef poll_state state = polled(caught, <void *>data)
        cdef const int64_t *indices = <const int64_t *>address_or_null(order)
        cdef mlp_result result = mlp_result_init()
        cdef mlp_status status
        if so_far is not None:
            result = sized(so_far)
        self.network.begin_training()
        with nogil:
            status = mlp_train_epoch_part(self.c, &result, &data.c, indices, n_order, &part, &settings, threads, ask,
                                          &state)
        self.network.end_training()
        self.counted = counted = result  # as a dict
        raise_status(status, caught)
        return status_name(status), counted

    def step(self, Data data, mlp_settings settings, int threads):
        """Train on all rows as one minibatch -> (status name, result)."""
        data.check(self.network)
        cdef list caught = []
        cdef poll_state state = polled(caught, <void *>data)
        cdef mlp_result result = mlp_result_init()
        cdef mlp_status status
        self.network.begin_training()
        with nogil:
            status = mlp_train_step(self.c, &result, &data.c, &settings, threads, ask, &state)
        self.network.end_training()
        raise_status(status, caught)
        return status_name(status), result


    def gradient(self, Data data, mlp_settings settings, int threads, mlp_gradient_options options, bint guarded=False):
        """Of all rows as one minibatch -> (status name, result, an array like each of the network's parameters).

        guarded: the caller has begun the training.
        """
        if not guarded:
            with Training(self.network):
                return self.gradient(data, settings, threads, options, True)
        data.check(self.network)
        cdef list caught = []
        cdef poll_state state = polled(caught, <void *>data)
        cdef void *block = self.block()
        cdef mlp_result result = mlp_result_init()
        cdef mlp_status status
        with nogil:
            status = mlp_gradient(self.c, block, &result, &data.c, &options, &settings, threads, ask, &state)
        raise_status(status, caught)
        parameters = [] if status != MLP_OK else self.network.parameters_of_all()
        return status_name(status), result, [self.in_block(block, p).copy() for p in parameters]

    def apply(self, list gradients, mlp_settings settings, int threads):
        """One step from arrays of the parameters' shapes and dtype -> status name."""
        cdef void *block
        cdef mlp_status status
        self.network.begin_training()
        try:
            block = self.block()
            for p, gradient in zip(self.network.parameters_of_all(), gradients, strict=True):
                self.in_block(block, p)[...] = gradient
            with nogil:
                status = mlp_apply(self.c, block, &settings, threads)
        finally:
            self.network.end_training()
        raise_status(status, None)
        return status_name(status)

    cdef void *block(self) except NULL:
        """Memory laid out as the parameters, on a cache line."""
        self.gradients.ensure(mlp_network_bytes(self.network.c) + 64)
        cdef size_t start = <size_t>self.gradients.memory
        return <void *>((start + 63) // 64 * 64)

    cdef in_block(self, void *block, cnp.ndarray parameter):
        return self.laid_out(mlp_network_in_block(self.network.c, block, address(parameter)), parameter)


def gradient_options(double scale=0, int64_t first_row=0, bint undisturbed=False, bint unpenalised=False,
                     bint frozen_too=False):
    """mlp_gradient_options, which Python holds as a dict."""
    return mlp_gradient_options(sizeof(mlp_gradient_options), scale, first_row, undisturbed, unpenalised, frozen_too)


def plain_gradient_settings(double l1=0, double l2=0):
    """The settings that Trainer.gradient looks at, without check_finite."""
    cdef mlp_settings settings = mlp_settings_init()
    settings.l1, settings.l2 = l1, l2
    return settings


def through_c(const unsigned char[::1] data, cnp.ndarray X=None):
    """For tests: (what mlp_network_load says is wrong, None, None), or (None, the file that mlp_network_save makes of the
    network, its predictions for X)."""
    cdef mlp_file file = mlp_file_init()
    cdef mlp_network *net = NULL
    cdef size_t n = 0
    cdef mlp_data rows
    cdef Workspace space = Workspace()
    cdef mlp_status status = mlp_network_load(&net, &data[0] if data.shape[0] else NULL, data.shape[0], &file)
    if status != MLP_OK:
        return f"status {<int>status}: {file.problem.decode() if file.problem != NULL else None}", None, None
    try:
        mlp_network_save(net, NULL, 0, &n, &file)
        again = np.empty(n, np.uint8)
        if mlp_network_save(net, address(again), n, &n, &file) != MLP_OK:
            raise ValueError("mlp_network_save has refused what was loaded")
        if X is None:
            return None, again.tobytes(), None
        rows = rows_alone(X, file.input_scale)
        if not is_plain(X, mlp_network_n_in(net)) or not type_of(X, &rows.x_type):
            raise ValueError("X must be rows of the network")
        out = np.empty((len(X), mlp_network_n_out(net)), np.float32 if mlp_network_dtype(net) == MLP_FLOAT32 else np.float64)
        space.ensure(mlp_predict_workspace(net, rows.n, 1))
        raise_status(mlp_predict(net, address(out), &rows, space.memory, 1, NULL, NULL), None)
        return None, again.tobytes(), out
    finally:
        mlp_network_destroy(net)


cdef status_name(mlp_status status):
    if status == MLP_INPUT_NOT_FINITE:
        return "input"
    if status == MLP_DERIVATIVE_NOT_FINITE:
        return "derivative"
    return "loss" if status == MLP_LOSS_NOT_FINITE else None


# ---- Random numbers ----

cdef int64_t ORDER_BLOCK = 2**20  # some milliseconds of work between two polls of the signals


def shuffle(cnp.ndarray order, uint64_t seed, uint64_t epoch, cnp.ndarray rows=None):
    """order (n,) becomes a permutation of 0..n-1, or of rows (n,), fixed by seed and epoch; both C-contiguous int64.

    A signal's exception leaves it partly written.
    """
    check_numbers("order", order)
    cdef int64_t n = cnp.PyArray_DIM(order, 0)
    if rows is not None:
        check_numbers("rows", rows)
        if cnp.PyArray_DIM(rows, 0) != n:
            raise ValueError(f"rows must have {n} numbers, got {cnp.PyArray_DIM(rows, 0)}")
    cdef int64_t *to = <int64_t *>address(order)
    cdef const int64_t *chosen = <const int64_t *>address_or_null(rows)
    cdef int64_t first, count, i
    for first in range(0, n, ORDER_BLOCK):
        count = min(ORDER_BLOCK, n - first)
        with nogil:
            mlp_order(to + first, first, count, n, seed, epoch)
            if chosen != NULL:
                for i in range(first, first + count):
                    to[i] = chosen[to[i]]
        PyErr_CheckSignals()


cdef int check_numbers(str name, cnp.ndarray array) except -1:
    if cnp.PyArray_NDIM(array) != 1 or cnp.PyArray_TYPE(array) != cnp.NPY_INT64 or not cnp.PyArray_ISCARRAY(array):
        raise ValueError(f"{name} must be a writable C-contiguous int64 array of one dimension")
    return 0


def random_uniform(int64_t n, uint64_t seed, uint64_t stream, int64_t first=0):
    """n float64 numbers in [0, 1), from number `first` of the stream on."""
    out = np.empty(n)
    mlp_random_uniform(<double *>address(out), first, n, seed, stream)
    return out


def random_normal(int64_t n, uint64_t seed, uint64_t stream, int64_t first=0):
    """n float64 numbers of mean 0 and variance 1, from number `first` of the stream on."""
    out = np.empty(n)
    mlp_random_normal(<double *>address(out), first, n, seed, stream)
    return out
