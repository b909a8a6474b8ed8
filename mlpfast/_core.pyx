# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The binding of the C core: typed arrays in, GIL released, status code -> exception.

What arrives here has been validated by _validate.py; nothing here converts or copies an array.

Where there is no GIL, what several Python threads change is a Network's list of idle workspaces and who trains it, under
its lock; a Trainer belongs to the thread that holds its network, and everything else is not changed once made. The short
ways look at the caller's own arrays, whose shapes another thread may change then, and are left out.
"""
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import collections
import contextvars
import functools

import numpy as np

cnp.import_array()

cdef extern from "vocabulary.h":
    ctypedef enum mlp_activation:
        MLP_IDENTITY, MLP_SOFTMAX, MLP_CUSTOM_ACTIVATION, MLP_ACTIVATIONS
    unsigned MLP_IN_Z, MLP_APART, MLP_HAS_ALPHA, MLP_LEARNS_ALPHA, MLP_RECTIFIER, MLP_SATURATES
    unsigned MLP_STOPS, MLP_SHARE
    ctypedef struct mlp_activation_row:
        const char *name
        unsigned traits
        double least_alpha
    const mlp_activation_row *mlp_activation_rows
    ctypedef enum mlp_loss_kind:
        MLP_CUSTOM_LOSS, MLP_LOSSES
    unsigned MLP_OF_Z, MLP_BY_CLASS, MLP_ONE_HOT, MLP_COUNTS, MLP_SMOOTHS
    ctypedef enum mlp_y:
        MLP_Y_NUMBERS, MLP_Y_NOT_NEGATIVE, MLP_Y_DISTRIBUTIONS, MLP_Y_PROBABILITIES, MLP_Y_SIGNS
    ctypedef struct mlp_loss_row:
        const char *name
        mlp_y y
        unsigned traits
        uint64_t outputs, natural
        double above, below
    const mlp_loss_row *mlp_loss_rows
    ctypedef enum mlp_moved:
        MLP_MOVES_NOTHING, MLP_MOVES_MOMENTUM, MLP_MOVES_BETA1
    ctypedef enum mlp_optimizer:
        MLP_OPTIMIZERS
    ctypedef struct mlp_optimizer_row:
        const char *name
        int states
        mlp_moved moved
        unsigned traits
    unsigned MLP_BARE
    const mlp_optimizer_row *mlp_optimizer_rows

cdef extern from "mlpfast.h":
    ctypedef enum mlp_status:
        MLP_OK, MLP_NO_MEMORY, MLP_BAD_ARGUMENT, MLP_TOO_LARGE, MLP_INTERRUPTED
        MLP_INPUT_NOT_FINITE, MLP_LOSS_NOT_FINITE, MLP_DERIVATIVE_NOT_FINITE, MLP_FORKED
    ctypedef enum mlp_dtype:
        MLP_FLOAT32, MLP_FLOAT64, MLP_UINT8
    ctypedef struct mlp_custom_activation:
        int (*forward)(void *, void *, void *, const void *, int64_t, int64_t) noexcept nogil
        int (*backward)(void *, void *, void *, const void *, int64_t, int64_t) noexcept nogil
        void *self
    ctypedef struct mlp_data:
        const void *X
        mlp_dtype x_type
        double x_scale
        const int32_t *labels
        const void *targets
        int one_hot
        const void *weights
        int64_t n
        double mean_weight
        const void *y
        int64_t y_bytes
        const int64_t *x_rows
        int64_t n_x
    ctypedef struct mlp_truth:
        const int32_t *labels
        const void *targets
        const void *y
        const void *weights
        int one_hot
    ctypedef struct mlp_custom_loss:
        int (*rows)(void *, void *, void *, double *, const void *, const mlp_truth *, int64_t, int64_t) noexcept nogil
        int of_z
        void *self
    ctypedef struct mlp_loss:
        mlp_loss_kind kind
        double parameter, label_smoothing
        mlp_custom_loss custom
    ctypedef struct mlp_layer_spec:
        int64_t n_in, n_out
        mlp_activation activation
        double alpha
        int shared, has_bias, trainable
        double dropout, l1, l2
        int has_mask
        mlp_custom_activation custom
    ctypedef struct mlp_network:
        pass
    ctypedef struct mlp_trainer:
        pass
    ctypedef struct mlp_result:
        double loss_sum, weight_sum, correct, exact
        int64_t rows, minibatches
        double bad_loss
    ctypedef struct mlp_settings:
        mlp_optimizer optimizer
        double lr, momentum
        int nesterov
        double beta1, beta2, epsilon, weight_decay, clip_value, clip_norm, max_norm, l1, l2, input_dropout, input_noise
        int64_t chunk_rows
        uint64_t seed
        int check_finite
    ctypedef int (*mlp_poll)(void *) noexcept nogil

    mlp_status mlp_select_isa(const char *)
    const char *mlp_isa()
    const char *mlp_isa_available(int)
    const char *mlp_compiler()
    int mlp_has_openmp()
    int mlp_processors()
    int mlp_max_threads()
    void mlp_allow_oversubscription(int)
    double mlp_peak_flops(mlp_dtype, int, double) nogil
    mlp_status mlp_network_create(mlp_network **, mlp_dtype, const mlp_layer_spec *, int) nogil
    void mlp_network_destroy(mlp_network *) nogil
    void *mlp_network_weights(const mlp_network *, int)
    void *mlp_network_bias(const mlp_network *, int)
    void *mlp_network_slopes(const mlp_network *, int)
    void *mlp_network_mask(const mlp_network *, int)
    int64_t mlp_network_stride(const mlp_network *, int)
    int mlp_network_first_not_finite(const mlp_network *) nogil
    size_t mlp_network_bytes(const mlp_network *)
    void *mlp_network_in_block(const mlp_network *, void *, const void *)
    size_t mlp_predict_workspace(const mlp_network *, int64_t, int) nogil
    mlp_status mlp_predict(const mlp_network *, void *, const mlp_data *, void *, int, mlp_poll, void *) nogil
    mlp_status mlp_predict_sample(const mlp_network *, void *, const mlp_data *, double, uint64_t, int64_t, void *, int,
                                  mlp_poll, void *) nogil
    mlp_status mlp_evaluate(const mlp_network *, mlp_result *, const mlp_data *, mlp_loss, void *, int, mlp_poll,
                            void *) nogil
    mlp_status mlp_trainer_create(mlp_trainer **, mlp_network *, mlp_loss, int64_t) nogil
    void mlp_trainer_destroy(mlp_trainer *) nogil
    mlp_status mlp_trainer_prepare(mlp_trainer *, const mlp_settings *) nogil
    int mlp_trainer_states(const mlp_trainer *)
    mlp_optimizer mlp_trainer_optimizer(const mlp_trainer *)
    void *mlp_trainer_state(const mlp_trainer *, int, const void *)
    int64_t mlp_trainer_updates(const mlp_trainer *)
    void mlp_trainer_set_updates(mlp_trainer *, int64_t)
    int64_t mlp_trainer_steps(const mlp_trainer *)
    void mlp_trainer_set_steps(mlp_trainer *, int64_t)
    void mlp_order(int64_t *, int64_t, int64_t, int64_t, uint64_t, uint64_t) nogil
    mlp_status mlp_train_epoch(mlp_trainer *, mlp_result *, const mlp_data *, const int64_t *, int64_t,
                               const mlp_settings *, const double *, const double *, int, mlp_poll, void *) nogil
    mlp_status mlp_train_step(mlp_trainer *, mlp_result *, const mlp_data *, const mlp_settings *, int, mlp_poll,
                              void *) nogil
    ctypedef struct mlp_gradient_options:
        double scale
        int64_t first_row
        int undisturbed, unpenalised, frozen_too
    mlp_status mlp_gradient(mlp_trainer *, void *, mlp_result *, const mlp_data *, const mlp_gradient_options *,
                            const mlp_settings *, int, mlp_poll, void *) nogil
    mlp_status mlp_apply(mlp_trainer *, const void *, const mlp_settings *, int) nogil
    void mlp_random_uniform(double *, int64_t, int64_t, uint64_t, uint64_t) nogil
    void mlp_random_normal(double *, int64_t, int64_t, uint64_t, uint64_t) nogil

cdef extern from "team.h":
    int mlp_team_size(int, double)
    int mlp_forks()
    unsigned long mlp_this_thread()
    unsigned long mlp_survivor()
    void mlp_lock(int *)
    void mlp_unlock(int *)

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FREE_THREADED 1
    #else
    #define FREE_THREADED 0
    #endif
    """
    const bint FREE_THREADED

cdef extern from "fpmode.h":
    ctypedef struct mlp_fpmode:
        pass
    mlp_fpmode mlp_fpmode_enter_core() nogil
    mlp_fpmode mlp_fpmode_enter_default() nogil
    void mlp_fpmode_leave(mlp_fpmode) nogil
    unsigned short mlp_x87_now()
    unsigned short mlp_x87_default()
    void mlp_x87_set(unsigned short)

cdef extern from "kernel_table.h":
    ctypedef struct mlp_block:
        int64_t i0, i1, j0, j1
    ctypedef struct mlp_unit:
        mlp_activation kind
        double alpha
        const void *slopes
        int shared
    ctypedef struct mlp_update:
        double scale
        const mlp_settings *settings
        double lr, momentum, weight_decay, l1, l2
        int64_t t
    ctypedef struct mlp_parameter:
        void *values
        void *state[2]
        const void *mask
    ctypedef struct mlp_prefetch:
        pass
    ctypedef struct mlp_kernels:
        size_t (*scratch_bytes)(int64_t, int64_t) noexcept
        int (*gather)(void *, const void *, mlp_dtype, double, const int64_t *, int64_t, int64_t) noexcept
        void (*dense_forward)(void *, void *, const void *, const void *, int64_t, const void *, mlp_unit, int64_t,
                              int64_t, mlp_block, void *) noexcept nogil
        void (*delta_below)(void *, const void *, const void *, int64_t, const void *, mlp_unit, int64_t, int64_t,
                            mlp_block, void *) noexcept nogil
        void (*update_weights)(mlp_parameter, int64_t, const void *, const void *, int64_t, int64_t, int64_t, mlp_block,
                               const mlp_update *, mlp_prefetch *, void *) noexcept
        void (*weight_gradient)(void *, int64_t, mlp_parameter, int64_t, const void *, const void *, int64_t, int64_t,
                                int64_t, mlp_block, const mlp_update *, void *) noexcept nogil
        void (*bias_gradient)(void *, const void *, int64_t, int64_t, int64_t, int64_t, const mlp_update *) noexcept
        void (*activation_forward)(void *, const void *, mlp_unit, int64_t, int64_t) noexcept nogil
        void (*activation_backward)(void *, const void *, mlp_unit, int64_t, int64_t) noexcept nogil
        void (*slope_gradient)(void *, const void *, const void *, int64_t, int64_t, int64_t, int64_t) noexcept
        void (*sum_slopes)(void *, int64_t) noexcept
        void (*softmax_forward)(void *, const void *, int64_t, int64_t, void *) noexcept
        void (*softmax_backward)(void *, const void *, int64_t, int64_t, void *) noexcept
        int (*loss)(void *, double *, double *, const void *, mlp_loss, mlp_activation, const mlp_truth *, int64_t, int64_t,
                    void *) noexcept
    const mlp_kernels *mlp_kernels_for(mlp_dtype)

# ---- The vocabulary, as it stands in vocabulary.h: {name: its row}; "custom" are functions of the caller's ----

OF_ACTIVATIONS = {
    "in_z": MLP_IN_Z, "apart": MLP_APART, "has_alpha": MLP_HAS_ALPHA, "learns_alpha": MLP_LEARNS_ALPHA,
    "rectifier": MLP_RECTIFIER, "saturates": MLP_SATURATES, "stops": MLP_STOPS,
    "share": MLP_SHARE,
}
OF_LOSSES = {
    "of_z": MLP_OF_Z, "by_class": MLP_BY_CLASS, "one_hot": MLP_ONE_HOT, "counts": MLP_COUNTS, "smooths": MLP_SMOOTHS
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
    """Their names, those that are usual first."""
    names = [name for name, traits in ACTIVATIONS.items() if outputs >> <int>traits.number & 1]
    return tuple(sorted(names, key=lambda name: (ACTIVATIONS[name].stops, name == "identity")))


cdef loss_traits(int number):
    cdef mlp_loss_row row = mlp_loss_rows[number]
    traits = [bool(row.traits & bit) for bit in OF_LOSSES.values()]
    natural = names_of(row.natural)[0] if row.natural else None
    return LossTraits(number, number == MLP_CUSTOM_LOSS, row.y, names_of(row.outputs), natural, row.above, row.below, *traits)


cdef optimizer_traits(int number):
    cdef mlp_optimizer_row row = mlp_optimizer_rows[number]
    moved = {MLP_MOVES_NOTHING: None, MLP_MOVES_MOMENTUM: "momentum", MLP_MOVES_BETA1: "beta1"}[row.moved]
    return OptimizerTraits(number, row.states, moved, bool(row.traits & MLP_BARE))


ACTIVATIONS = {mlp_activation_rows[i].name.decode(): activation_traits(i) for i in range(MLP_ACTIVATIONS)
               if mlp_activation_rows[i].name != NULL}
LOSSES = {mlp_loss_rows[i].name.decode(): loss_traits(i) for i in range(MLP_LOSSES) if mlp_loss_rows[i].name != NULL}
OPTIMIZERS = {mlp_optimizer_rows[i].name.decode(): optimizer_traits(i) for i in range(MLP_OPTIMIZERS)
              if mlp_optimizer_rows[i].name != NULL}


cdef class Custom


cdef mlp_activation activation_kind(activation) except *:
    return <mlp_activation><int>activation.traits.number


cdef mlp_loss_kind loss_kind(loss) except *:
    return <mlp_loss_kind><int>loss.traits.number


cdef mlp_loss loss_spec(loss, Custom custom) except *:
    """custom: custom_loss_of(loss), which the caller keeps as long as it uses the result."""
    cdef mlp_loss_kind kind = loss_kind(loss)
    if (kind == MLP_CUSTOM_LOSS) != (custom is not None):
        raise ValueError("loss must keep its name")
    return mlp_loss(kind, loss.parameter, loss.label_smoothing,
                    mlp_custom_loss(custom_loss, kind == MLP_CUSTOM_LOSS and not loss.through_output, <void *>custom))


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


def has_openmp():
    return bool(mlp_has_openmp())


def processors():
    return mlp_processors()


def max_threads():
    return mlp_max_threads()


def allow_oversubscription(bint allowed):
    mlp_allow_oversubscription(allowed)


def peak_flops(dtype, int threads, double seconds):
    """Floating-point operations a second that many threads reach together with fused multiply-adds alone."""
    cdef mlp_dtype kind = MLP_FLOAT32 if dtype == np.float32 else MLP_FLOAT64
    cdef double rate
    with nogil:
        rate = mlp_peak_flops(kind, threads, seconds)
    return rate


# ---- The floating-point mode, and NumPy's error state ----

cdef object silent_errors = contextvars.ContextVar("mlpfast_silent_errors", default=None)  # those in force


cdef class SilentErrors:
    """`with SilentErrors():` NumPy is silent about overflow and its like, whatever the caller has set (numpy.seterr): what
    a number becomes is checked where it matters. Within another one it does nothing."""
    cdef object state  # an np.errstate, as long as it is in force

    def __enter__(self):
        if silent_errors.get() is None:
            self.begin()

    def __exit__(self, *_):
        if self.state is not None:
            self.end()

    cdef begin(self):
        self.state = np.errstate(all="ignore")
        self.state.__enter__()
        silent_errors.set(self)

    cdef end(self):
        silent_errors.set(None)
        state, self.state = self.state, None
        state.__exit__(None, None, None)


cdef class CallersTurn:
    """`with CallersTurn():` a function of the caller's is called: NumPy's error state is his, which he may change, and
    the floating-point mode is the default one afterwards, whatever he has done to it."""
    cdef SilentErrors ours
    cdef unsigned short x87

    def __enter__(self):
        self.x87 = mlp_x87_now()
        self.ours = silent_errors.get()
        if self.ours is not None:
            self.ours.end()

    def __exit__(self, *_):
        enter_default_mode(self.x87)
        if self.ours is not None:
            self.ours.begin()


cdef void enter_default_mode(unsigned short x87) noexcept:
    mlp_fpmode_enter_default()
    mlp_x87_set(x87)


def on_callers_turn(function, argument):
    """function(argument), within in_default_mode or in_default_mode_alone: the same, faster where nothing changes."""
    if silent_errors.get() is not None:
        with CallersTurn():
            return function(argument)
    result = function(argument)
    enter_default_mode(mlp_x87_default())
    return result


def in_default_mode(function):
    """function with the default rounding, subnormal numbers and traps, also in what it leaves to NumPy, and SilentErrors.

    The core has a mode of its own, without subnormal numbers; this is for what Python does before and after it.
    """
    @in_default_mode_alone
    @functools.wraps(function)
    def run(*args, **kwargs):
        with SilentErrors():
            return function(*args, **kwargs)
    return run


def in_default_mode_alone(function):
    """The same with NumPy's error state as it is: for what is fast and leaves nothing to NumPy."""
    @functools.wraps(function)
    def run(*args, **kwargs):
        cdef mlp_fpmode before = mlp_fpmode_enter_default()
        cdef unsigned short x87 = mlp_x87_now()
        mlp_x87_set(mlp_x87_default())
        try:
            return function(*args, **kwargs)
        finally:
            mlp_x87_set(x87)
            mlp_fpmode_leave(before)
    return run


# ---- Settings and schedules, which are looked at in every step ----

cdef double LEAST = np.finfo(np.float32).tiny


def same_objects(tuple a, tuple b):
    """Whether they hold the very same ones: of the settings of a step, checking which takes longer than a small step."""
    cdef Py_ssize_t i
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        if a[i] is not b[i]:
            return False
    return True


cdef inline bint is_usual(value, double below) noexcept:
    """Whether there is nothing to say of a rate or a momentum."""
    return type(value) is float and LEAST <= <double>value < below


def values_at(function, times, double below, checked, bint or_none=False):
    """[function(t) for each t], what checked(value, t) makes of those that are unusual; or_none: None is not."""
    values = []
    with CallersTurn():
        for t in times:
            value = function(t)
            if not is_usual(value, below) and not (or_none and value is None):
                value = checked(value, t)
            values.append(value)
    return values


# ---- Arrays ----

cdef mlp_dtype dtype_of(cnp.ndarray array) except *:
    if array.dtype == np.float32:
        return MLP_FLOAT32
    if array.dtype == np.float64:
        return MLP_FLOAT64
    if array.dtype == np.uint8:
        return MLP_UINT8
    raise TypeError(f"no kernel for {array.dtype}")


cdef inline void *address(cnp.ndarray array) noexcept nogil:
    return cnp.PyArray_DATA(array)


cdef inline const void *address_or_null(array) except? NULL:
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray?>array)


cdef class Network
cdef type np_ndarray = np.ndarray
cdef double FEW_FLOPS = 1e6  # some ten microseconds: not worth letting other Python threads in


cdef inline bint is_plain(cnp.ndarray array, int64_t columns) noexcept:
    """Whether array is (.., columns), C-contiguous, aligned and of the machine's byte order."""
    return (cnp.PyArray_NDIM(array) == 2 and cnp.PyArray_DIM(array, 1) == columns and cnp.PyArray_ISCARRAY_RO(array))


cdef inline bint type_of(cnp.ndarray array, mlp_dtype *to) noexcept:
    """dtype_of without an exception: whether there is a kernel for array's type."""
    cdef int kind = cnp.PyArray_TYPE(array)
    to[0] = MLP_FLOAT32 if kind == cnp.NPY_FLOAT32 else MLP_FLOAT64 if kind == cnp.NPY_FLOAT64 else MLP_UINT8
    return kind == cnp.NPY_FLOAT32 or kind == cnp.NPY_FLOAT64 or kind == cnp.NPY_UINT8


cdef bint is_there(cnp.ndarray array) noexcept:
    """False for a view of an array that `resize(refcheck=False)` has made smaller, or put elsewhere."""
    cdef PyObject *base = <PyObject *>cnp.PyArray_BASE(array)
    if base == NULL or not isinstance(<object>base, cnp.ndarray):
        return True
    owner = <cnp.ndarray>base
    cdef const char *begin = <const char *>address(owner)
    cdef const char *data = <const char *>address(array)
    if not cnp.PyArray_CHKFLAGS(owner, cnp.NPY_ARRAY_OWNDATA):
        return True
    return begin <= data and data + cnp.PyArray_NBYTES(array) <= begin + cnp.PyArray_NBYTES(owner)


cdef inline int64_t row_stride(cnp.ndarray W) noexcept:
    """Numbers from a row of W to the next; along a row they are contiguous."""
    return cnp.PyArray_STRIDE(W, 0) // cnp.PyArray_ITEMSIZE(W)


cdef object view(object owner, void *data, shape, dtype):
    """A writable array on memory of the core; it keeps owner alive, unless that is None."""
    if data == NULL:
        return None
    cdef cnp.npy_intp dims[2]
    for i, size in enumerate(shape):
        dims[i] = size
    array = cnp.PyArray_SimpleNewFromData(len(shape), dims, cnp.NPY_FLOAT32 if dtype == np.float32 else cnp.NPY_FLOAT64,
                                          data)
    if owner is not None:
        cnp.set_array_base(array, owner)
    return array


cdef class Data:
    """Examples as the core reads them; holds the arrays (C-contiguous, checked by _validate.py) as long as it lives.

    y: what _targets.py says; None where no function of the caller's will see it. x_rows (n,) int64: the row of X that each
    example has, or None for all in their order. origin: _arrays.Origin, for messages.
    """
    cdef mlp_data c
    cdef readonly object X, x_rows, y, labels, targets, weights
    cdef public object origin

    def __cinit__(self, cnp.ndarray X, double scale=1.0, labels=None, targets=None, weights=None, y=None,
                  bint one_hot=False, x_rows=None):
        self.x_rows = x_rows
        self.X, self.y, self.labels, self.targets, self.weights = X, y, labels, targets, weights
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
        for name, array in (("labels", labels), ("targets", targets), ("weights", weights), ("y", y)):
            if array is not None and (<cnp.ndarray?>array).shape[0] != self.c.n:
                raise ValueError(f"{name} must have one entry for each row of X, has {len(array)} for {self.c.n}")

    def __len__(self):
        return self.c.n

    @property
    def mean_weight(self):
        """What the gradient of B rows is divided by B times; 0: by the sum of their weights."""
        return self.c.mean_weight

    @mean_weight.setter
    def mean_weight(self, double mean_weight):
        self.c.mean_weight = mean_weight

    @property
    def inputs(self):
        """(n, n_in): the examples' rows of X, as they are there or a copy."""
        return self.X if self.x_rows is None else self.X[self.x_rows]

    @property
    def weight_sum(self):
        """In float64, one after the other, as the core forms it."""
        return float(self.c.n) if self.weights is None else float(np.cumsum(self.weights, dtype=np.float64)[-1])

    @property
    def truth(self):
        """y as the library itself reads it: labels (n,) or targets (n, n_out); y for a Custom loss."""
        return self.labels if self.labels is not None else self.targets if self.targets is not None else self.y

    @property
    def one_hot(self):
        """Whether the class, of rows of targets, is that of the largest output."""
        return bool(self.c.one_hot)

    @one_hot.setter
    def one_hot(self, bint one_hot):
        self.c.one_hot = one_hot

    cdef mlp_truth c_truth(self) noexcept:
        return mlp_truth(self.c.labels, self.c.targets, self.c.y, self.c.weights, self.c.one_hot)

    cpdef int check(self, Network network) except -1:
        """ValueError unless this can be read as data of that network: whatever was checked before, this is what is read."""
        cdef cnp.ndarray X = self.X
        suits = is_plain(X, network.n_in) and cnp.PyArray_DIM(X, 0) == self.c.n_x and address(X) == self.c.X
        suits = suits and is_there(X)
        for array, data in ((self.labels, <size_t>self.c.labels), (self.targets, <size_t>self.c.targets),
                            (self.weights, <size_t>self.c.weights)):
            if array is not None:
                suits = suits and array.shape[0] == self.c.n and <size_t>address(array) == data
        if self.c.y != NULL:
            suits = suits and address(self.y) == self.c.y and self.y.nbytes == self.c.n * self.c.y_bytes
        if self.targets is not None:
            suits = suits and is_plain(self.targets, network.n_out) and self.targets.dtype == network.dtype
        if self.labels is not None:
            suits = suits and cnp.PyArray_TYPE(self.labels) == cnp.NPY_INT32 and cnp.PyArray_ISCARRAY_RO(self.labels)
        if self.weights is not None:
            suits = suits and self.weights.dtype == network.dtype and cnp.PyArray_ISCARRAY_RO(self.weights)
        if not suits:
            raise ValueError("X, y or sample_weight has changed its shape or type since it was checked")
        return 0


# ---- Interrupts ----

cdef struct poll_state:
    double last
    void *caught  # a list, for the exception a signal handler raised
    void *data    # the Data of the call, for a loss of the caller's; or NULL
    void *errors  # callers_errors(), where other threads may call functions of his; else {} or NULL


cdef inline poll_state polled(list caught, void *data, void *errors):
    """Of a call that begins now. A literal of the struct would leave a member that it does not name unset."""
    return poll_state(now(), <void *>caught, data, errors)


cdef double POLL_SECONDS = 0.05  # asking means waiting for the GIL; Ctrl-C is to be answered within 0.2 s


cdef double now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double>t.tv_sec + 1e-9 * <double>t.tv_nsec


cdef int ask(void *context) noexcept nogil:
    cdef poll_state *state = <poll_state *>context
    cdef double time = now()
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
    """Raise what a status means; the non-finite ones are the caller's to name."""
    if caught:  # first: a signal must not be lost where something else stopped the same minibatch
        raise caught[0]
    if status in (MLP_OK, MLP_INPUT_NOT_FINITE, MLP_LOSS_NOT_FINITE, MLP_DERIVATIVE_NOT_FINITE):
        return 0
    if status == MLP_FORKED:
        raise RuntimeError("a signal handler forked this process during a call on several threads, which are in the "
                           "parent: the call cannot go on here, and what it was writing is partly written")
    # Interrupted without an exception: a function of the caller's, or NumPy for it, had no memory to say more.
    if status == MLP_NO_MEMORY or status == MLP_TOO_LARGE or status == MLP_INTERRUPTED:
        raise MemoryError("not enough memory for arrays of these sizes")
    raise ValueError("the C core refused an argument")


# ---- The caller's own functions ----

cdef class Custom:
    """An activations.Custom or losses.Custom at work in a network of that dtype: what the core hands to the functions
    below as `self`."""
    cdef object functions, dtype

    def __cinit__(self, functions, dtype):
        self.functions, self.dtype = functions, dtype

    cdef matrix(self, const void *data, int64_t rows, int64_t n):
        return view(None, <void *>data, (rows, n), self.dtype)

    cdef copy(self, const void *data, int64_t rows, int64_t n):
        """What a Python function gets: it may keep it, or write to it."""
        return self.matrix(data, rows, n).copy()


cdef dict callers_errors():
    with CallersTurn():
        return {**np.geterr(), "call": np.geterrcall()}


cdef SilentErrors errors_of(void *call):
    """For a function of the caller's, which the core calls from whatever thread: one of its own knows nothing of the
    caller's errors, and forgets them with the call."""
    cdef poll_state *state = <poll_state *>call
    cdef dict errors = {} if state == NULL or state.errors == NULL else <dict>state.errors
    if errors and silent_errors.get() is None:
        np.seterrcall(errors["call"])
        np.seterr(**{name: errors[name] for name in errors if name != "call"})
    return SilentErrors()


cdef void give_up(void *call, error) noexcept:
    """The call of the core whose context that is will end, and raise error."""
    if call != NULL:
        (<list>(<poll_state *>call).caught).append(error)


cdef multiply(delta, slopes):
    delta *= slopes.astype(delta.dtype, copy=False)


cdef rows_like(cnp.ndarray array, const void *data, int64_t rows):
    """A copy of rows of that array's kind, which the core has gathered."""
    cdef cnp.ndarray copy = np.empty((rows, *(<object>array).shape[1:]), array.dtype)
    memcpy(address(copy), data, <size_t>cnp.PyArray_NBYTES(copy))
    return copy


cdef Custom custom_loss_of(loss, dtype):
    """None for what is not the caller's own."""
    return Custom(loss, dtype) if loss.traits.is_custom else None


cdef int custom_forward(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n) noexcept nogil:
    cdef int failed = 1  # also where NumPy gives up without an exception, as it may do for want of memory
    with gil:
        mlp_fpmode_enter_default()
        try:
            with errors_of(call):
                custom = <Custom>self
                custom.matrix(a, rows, n)[...] = custom.functions.values(custom.copy(z, rows, n))
            failed = 0
        except BaseException as error:
            give_up(call, error)
        mlp_fpmode_enter_core()  # whatever the function has done to it
        return failed


cdef int custom_backward(void *self, void *call, void *delta, const void *z, int64_t rows, int64_t n) noexcept nogil:
    cdef int failed = 1  # also where NumPy gives up without an exception, as it may do for want of memory
    with gil:
        mlp_fpmode_enter_default()
        try:
            with errors_of(call):
                custom = <Custom>self
                slopes = custom.functions.derivatives(custom.copy(z, rows, n))
                multiply(custom.matrix(delta, rows, n), slopes)
            failed = 0
        except BaseException as error:
            give_up(call, error)
        mlp_fpmode_enter_core()
        return failed


cdef int custom_loss(void *self, void *call, void *delta, double *row_loss, const void *a, const mlp_truth *truth,
                     int64_t rows, int64_t n) noexcept nogil:
    cdef int failed = 1
    with gil:
        mlp_fpmode_enter_default()
        try:
            with errors_of(call):
                custom_rows(<Custom>self, delta, row_loss, a, <Data>(<poll_state *>call).data, truth, rows, n)
            failed = 0
        except BaseException as error:
            give_up(call, error)
        mlp_fpmode_enter_core()
        return failed


cdef int custom_rows(Custom custom, void *delta, double *row_loss, const void *a, Data data, const mlp_truth *truth,
                     int64_t rows, int64_t n) except -1:
    """As mlp_custom_loss.rows. truth: of rows of data."""
    cdef cnp.npy_intp size = rows
    y = rows_like(data.y, truth.y, rows)
    weights = None if truth.weights == NULL else rows_like(data.weights, truth.weights, rows)
    losses = custom.functions.rows(y, custom.copy(a, rows, n))
    cnp.PyArray_SimpleNewFromData(1, &size, cnp.NPY_FLOAT64, row_loss)[...] = (
        losses if weights is None else losses * weights)
    if delta != NULL:
        deltas = custom.matrix(delta, rows, n)
        deltas[...] = custom.functions.deltas(y, custom.copy(a, rows, n))
        if weights is not None:
            deltas *= weights[:, None]
    return 0


# ---- Networks ----

cdef size_t IDLE_BYTES = 2**24  # what several threads that predict with one network may leave with it


cdef class Workspace:
    cdef void *memory
    cdef size_t size

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
    """Owner of a network of the core. layers: dicts of n_in, n_out, activation, bias, trainable, dropout, l1, l2, mask."""
    cdef mlp_network *c
    cdef readonly object dtype, layers
    cdef list custom                   # the Custom of each layer, or None
    cdef bint has_custom
    cdef list shared                   # whether each layer has one for all, as the core was told
    cdef int training_since            # one trainer at a time: mlp_forks() when it began, -1 if there is none
    cdef unsigned long trained_by      # the thread
    cdef int held_since, holds         # in the same way, by a thread that trains for more than a call of the core
    cdef unsigned long held_by
    cdef int64_t n_in, n_out
    cdef bint is_float32
    cdef double flops                  # of a forward pass of one row
    cdef const char *parameters        # one block, and its end
    cdef const char *parameters_end
    cdef int lock                      # around what says who trains, and idle
    cdef list idle                     # workspaces not in use, at most one for each thread that has predicted at the same time
    cdef readonly size_t idle_bytes    # in them

    def __cinit__(self, dtype, layers):
        self.dtype, self.layers, self.custom, self.shared, self.idle = np.dtype(dtype), layers, [], [], []
        self.training_since = self.held_since = -1
        cdef mlp_layer_spec *specs = <mlp_layer_spec *>calloc(len(layers), sizeof(mlp_layer_spec))
        if specs == NULL:
            raise MemoryError()
        cdef mlp_status status
        try:
            for l, layer in enumerate(layers):
                activation = layer["activation"]
                specs[l].n_in, specs[l].n_out = layer["n_in"], layer["n_out"]
                self.flops += 2.0 * specs[l].n_in * specs[l].n_out
                specs[l].activation = activation_kind(activation)
                specs[l].alpha, specs[l].shared = activation.alpha, bool(activation.shared)
                specs[l].has_bias, specs[l].trainable, specs[l].has_mask = layer["bias"], layer["trainable"], layer["mask"]
                specs[l].dropout, specs[l].l1, specs[l].l2 = layer["dropout"], layer["l1"], layer["l2"]
                custom = Custom(activation, self.dtype) if specs[l].activation == MLP_CUSTOM_ACTIVATION else None
                specs[l].custom = mlp_custom_activation(custom_forward, custom_backward, <void *>custom)
                self.custom.append(custom)
                self.shared.append(specs[l].shared)
            status = mlp_network_create(&self.c, MLP_FLOAT32 if self.dtype == np.float32 else MLP_FLOAT64, specs,
                                        <int>len(layers))
        finally:
            free(specs)
        raise_status(status, None)
        self.has_custom = any(custom is not None for custom in self.custom)
        self.n_in, self.n_out, self.is_float32 = layers[0]["n_in"], specs_out(layers), self.dtype == np.float32
        self.parameters = <const char *>mlp_network_weights(self.c, 0)
        self.parameters_end = self.parameters + mlp_network_bytes(self.c)

    def __dealloc__(self):
        mlp_network_destroy(self.c)

    cdef hold(self):
        """No other thread trains from now on, until as many calls of `release`."""
        mlp_lock(&self.lock)
        cdef bint refused = self.in_training() or self.is_held_elsewhere()
        if not refused:
            if self.held_since == -1 or self.held_by != mlp_this_thread():  # free, or of a thread the parent has
                self.holds = 0
            self.held_since, self.held_by, self.holds = mlp_forks(), mlp_this_thread(), self.holds + 1
        mlp_unlock(&self.lock)
        if refused:
            raise RuntimeError("network is being trained by another thread")

    cdef release(self):
        mlp_lock(&self.lock)
        self.holds -= 1
        if self.holds == 0:
            self.held_since = -1
        mlp_unlock(&self.lock)

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
            raise RuntimeError("network is being trained by another thread")

    cpdef end_training(self):
        mlp_lock(&self.lock)
        self.training_since = -1
        mlp_unlock(&self.lock)

    cdef bint in_training(self) noexcept:
        """In a forked child nobody is at work but the thread that forked."""
        if self.training_since == -1:
            return False
        return self.training_since == mlp_forks() or self.trained_by == mlp_survivor()

    @property
    def training(self):
        """Whether a trainer is at work."""
        return self.in_training()

    def weights(self, int layer):
        return self.like_weights(layer, mlp_network_weights(self.c, layer))

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
        """Views of W, b and slopes of each layer, without those it has not."""
        each = [p for l in range(len(self.layers)) for p in (self.weights(l), self.bias(l), self.slopes(l))]
        return [p for p in each if p is not None]

    def first_not_finite(self):
        """The number of the lowest layer, from 0, with a parameter that is NaN or infinite; -1 if there is none."""
        cdef int layer
        with nogil:
            layer = mlp_network_first_not_finite(self.c)
        return layer

    cdef Workspace workspace(self, int64_t n, int threads):
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
        """a_L of a few rows, where nothing needs to be converted, explained or interrupted; else None.

        For a single row the checks of Network.predict cost ten times the prediction; these ask the same in C.
        """
        cdef bint flat = squeeze is True
        if squeeze is not False and (not flat or self.n_out != 1):
            return None
        if FREE_THREADED or type(X) is not np_ndarray or not is_plain(<cnp.ndarray>X, self.n_in) or self.has_custom:
            return None
        cdef mlp_data data = mlp_data(address(X), MLP_FLOAT32, scale, NULL, NULL, 0, NULL, cnp.PyArray_DIM(X, 0), 0, NULL, 0,
                                      NULL, 0)
        if self.flops * <double>data.n > FEW_FLOPS or not type_of(<cnp.ndarray>X, &data.x_type):
            return None
        cdef cnp.npy_intp shape[2]
        shape[0], shape[1] = data.n, self.n_out
        if out is None:
            out = cnp.PyArray_SimpleNew(2 - flat, shape, cnp.NPY_FLOAT32 if self.is_float32 else cnp.NPY_FLOAT64)
        elif type(out) is not np_ndarray or not self.takes(<cnp.ndarray>out, <cnp.ndarray>X, flat):
            return None
        cdef Workspace space = self.workspace(data.n, 1)
        cdef mlp_status status = mlp_predict(self.c, address(out), &data, space.memory, 1, NULL, NULL)
        self.put_back(space)
        if status != MLP_OK:
            raise_status(status, None)
        return out

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
        """out (n, n_out), or (n,) of one output, = a_L; with sample >= 0 under dropout, as the numbers of that seed and
        sample have it."""
        data.check(self)
        if not self.fits(out, data.c.n, cnp.PyArray_NDIM(out) == 1):
            raise ValueError(f"out must have shape {(data.c.n, self.n_out)} and dtype {self.dtype}")
        cdef Workspace space = self.workspace(data.c.n, threads)
        cdef list caught = []
        cdef dict errors = callers_errors() if self.has_custom else {}
        cdef poll_state state = polled(caught, NULL, <void *>errors)
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

    def evaluate(self, Data data, loss, int threads, yhat=None):
        """Sums over all rows: (losses, weights, weight times the share of right labels, weights of those all right).

        yhat: `outputs`, if they are there. A Custom loss, which may join rows, is called once, with all of them.
        """
        if loss.traits.is_custom:
            return custom_sums(Custom(loss, self.dtype), self.outputs(data, threads) if yhat is None else yhat, data)
        data.check(self)
        cdef Workspace space = self.workspace(data.c.n, threads)
        cdef list caught = []
        cdef dict errors = callers_errors() if self.has_custom else {}
        cdef poll_state state = polled(caught, NULL, <void *>errors)
        cdef mlp_loss spec = loss_spec(loss, None)
        cdef mlp_result result
        cdef mlp_status status
        with nogil:
            status = mlp_evaluate(self.c, &result, &data.c, spec, space.memory, threads, ask, &state)
        self.put_back(space)
        raise_status(status, caught)
        return result.loss_sum, result.weight_sum, result.correct, result.exact


cdef custom_sums(Custom custom, cnp.ndarray yhat, Data data):
    """As Network.evaluate."""
    cdef int64_t i, n = yhat.shape[0]
    cdef double[::1] losses = np.empty(n)
    cdef double loss_sum = 0, weight_sum = 0
    cdef mlp_truth truth = data.c_truth()
    if n:
        custom_rows(custom, NULL, &losses[0], address(yhat), data, &truth, n, yhat.shape[1])
    weights = None if data.weights is None else data.weights.astype(np.float64)
    cdef const double *weight = <const double *>address_or_null(weights)
    for i in range(n):
        loss_sum += losses[i]
        weight_sum += weight[i] if weight != NULL else 1
    return loss_sum, weight_sum, 0.0, 0.0


# ---- Training ----

cdef class Held:
    """`with Held(network):` no other thread trains it. Not a generator: Ctrl-C cannot come between the two lines of one."""
    cdef Network network

    def __cinit__(self, Network network):
        self.network = network

    def __enter__(self):
        self.network.hold()

    def __exit__(self, *_):
        self.network.release()


cdef class Training(Held):
    """Nobody else trains it, not even a function that is called meanwhile."""

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
    """Whether y (n,) is a plain array of class numbers; then to (n,) holds them."""
    if cnp.PyArray_NDIM(y) != 1 or cnp.PyArray_DIM(y, 0) != n or not cnp.PyArray_ISCARRAY_RO(y):
        return False
    if cnp.PyArray_TYPE(y) == cnp.NPY_INT64:
        return copy_range(to, <const int64_t *>cnp.PyArray_DATA(y), n, n_classes)
    if cnp.PyArray_TYPE(y) == cnp.NPY_INT32:
        return copy_range(to, <const int32_t *>cnp.PyArray_DATA(y), n, n_classes)
    return False


cdef class Trainer:
    """Owner of a trainer of the core."""
    cdef mlp_trainer *c
    cdef readonly Network network
    cdef mlp_settings settings         # as `use` set it, for step_ready
    cdef double usual_rate             # of a schedule: up to here there is nothing to say of its rates
    cdef readonly bint moves_momentum  # whether it gave a momentum, too
    cdef bint by_label
    cdef Custom custom                 # of the loss, or None
    cdef int64_t batch_size
    cdef Workspace labels, gradients

    def __cinit__(self, Network network, loss, int64_t batch_size):
        self.network, self.labels, self.gradients = network, Workspace(), Workspace()
        self.by_label = loss.traits.by_class and network.n_out > 1
        self.custom, self.batch_size = custom_loss_of(loss, network.dtype), batch_size
        raise_status(mlp_trainer_create(&self.c, network.c, loss_spec(loss, self.custom), batch_size), None)

    def __dealloc__(self):
        mlp_trainer_destroy(self.c)

    def use(self, mlp_settings settings, double usual_rate, bint moves_momentum):
        """The settings of step_ready from now on, and what ask_schedule goes by."""
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
        """The same of the rate alone, and of the momentum (of Adam beta1) unless that is None."""
        self.settings.lr = lr
        if momentum is None:
            return
        if mlp_optimizer_rows[<int>self.settings.optimizer].moved == MLP_MOVES_BETA1:
            self.settings.beta1 = momentum
        else:
            self.settings.momentum = momentum

    def prepare(self, mlp_settings settings):
        """Make the optimizer's state, if it is not there."""
        self.network.begin_training()
        cdef mlp_status status = mlp_trainer_prepare(self.c, &settings)
        self.network.end_training()
        raise_status(status, None)

    def read_state(self, int optimizer):
        """(t, copies: lists with an array for each of the network's parameters) of that optimizer; (0, []) of another."""
        self.network.begin_training()
        try:
            if mlp_trainer_optimizer(self.c) != optimizer:
                return 0, []
            arrays = self.views_of_state()
            return mlp_trainer_updates(self.c), [[a.copy() for a in each] for each in arrays]
        finally:
            self.network.end_training()

    def write_state(self, mlp_settings settings, int64_t updates, list states):
        """states as read_state gives them, of the parameters' shapes and dtype; those that are not kept are ignored."""
        self.network.begin_training()
        try:
            raise_status(mlp_trainer_prepare(self.c, &settings), None)
            for mine, given in zip(self.views_of_state(), states):
                for array, values in zip(mine, given):
                    array[...] = values
            mlp_trainer_set_updates(self.c, updates)
        finally:
            self.network.end_training()

    def views_of_state(self):
        """Of memory that goes with the next optimizer: not to be kept."""
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
        """A step was done outside of the core."""
        mlp_trainer_set_updates(self.c, mlp_trainer_updates(self.c) + 1)
        self.steps += 1

    def step_ready(self, X, y, double scale, int threads):
        """Train on a minibatch that needs no conversion, y being class numbers -> its mean loss, or None.

        None, with nothing changed, where anything is out of the ordinary: `step` then does it, or says what is wrong.
        """
        if FREE_THREADED or not self.by_label or type(X) is not np_ndarray or type(y) is not np_ndarray:
            return None
        if not is_plain(<cnp.ndarray>X, self.network.n_in) or cnp.PyArray_DIM(X, 0) == 0:
            return None
        cdef mlp_data data = mlp_data(address(X), MLP_FLOAT32, scale, NULL, NULL, 0, NULL, cnp.PyArray_DIM(X, 0), 0, NULL, 0,
                                      NULL, 0)
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
        cdef poll_state state = polled(caught, NULL, NULL)
        cdef mlp_result result
        cdef mlp_status status
        cdef mlp_settings settings = self.settings
        with nogil:  # in the caller's mode: threads that are born here keep it
            status = mlp_train_step(self.c, &result, data, &settings, threads, ask, &state)
        cdef mlp_fpmode before = mlp_fpmode_enter_default()
        if status == MLP_OK:
            result.loss_sum = result.loss_sum / result.weight_sum  # in memory: a register could be divided after the leave
        mlp_fpmode_leave(before)
        raise_status(status, caught)
        return None if status != MLP_OK else result.loss_sum

    def epoch(self, Data data, cnp.ndarray order, mlp_settings settings, int threads, rates=None, momenta=None):
        """Train on all minibatches in that order (int64 row numbers, at most n, or None) -> (status name, result).

        rates, momenta: the learning rate and the momentum (of Adam beta1) of each minibatch (float64), or None for that
        of the settings.
        """
        data.check(self.network)
        if order is not None and order.dtype != np.int64:
            raise ValueError("order must be int64")
        cdef int64_t n_order = 0 if order is None else order.shape[0]
        cdef int64_t rows = data.c.n if order is None else n_order
        for each in (rates, momenta):
            if each is not None and (each.dtype != np.float64 or each.shape[0] * self.batch_size < rows):
                raise ValueError("rates and momenta must be float64, one for each minibatch")
        cdef const double *lr = <const double *>address_or_null(rates)
        cdef const double *momentum = <const double *>address_or_null(momenta)
        cdef list caught = []
        cdef poll_state state = polled(caught, <void *>data, NULL)
        cdef const int64_t *indices = <const int64_t *>address_or_null(order)
        cdef mlp_result result
        cdef mlp_status status
        self.network.begin_training()
        with nogil:
            status = mlp_train_epoch(self.c, &result, &data.c, indices, n_order, &settings, lr, momentum, threads, ask,
                                     &state)
        self.network.end_training()
        raise_status(status, caught)
        return status_name(status), result

    def step(self, Data data, mlp_settings settings, int threads):
        """Train on all rows as one minibatch -> (status name, result)."""
        data.check(self.network)
        cdef list caught = []
        cdef poll_state state = polled(caught, <void *>data, NULL)
        cdef mlp_result result
        cdef mlp_status status
        self.network.begin_training()
        with nogil:
            status = mlp_train_step(self.c, &result, &data.c, &settings, threads, ask, &state)
        self.network.end_training()
        raise_status(status, caught)
        return status_name(status), result


    def gradient(self, Data data, mlp_settings settings, int threads, mlp_gradient_options options, bint guarded=False):
        """Of all rows as one minibatch -> (status name, result, an array like each of the network's parameters).

        guarded: nobody else can use this trainer now.
        """
        if not guarded:
            with Training(self.network):
                return self.gradient(data, settings, threads, options, True)
        data.check(self.network)
        cdef list caught = []
        cdef poll_state state = polled(caught, <void *>data, NULL)
        cdef void *block = self.block()
        cdef mlp_result result
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
    """As the core takes them."""
    return mlp_gradient_options(scale, first_row, undisturbed, unpenalised, frozen_too)


def plain_gradient_settings(double l1=0, double l2=0):
    """For Trainer.gradient alone: the settings that count, with nothing refused for not being finite."""
    cdef mlp_settings settings
    memset(&settings, 0, sizeof(settings))
    settings.l1, settings.l2 = l1, l2
    return settings


cdef status_name(mlp_status status):
    if status == MLP_INPUT_NOT_FINITE:
        return "input"
    if status == MLP_DERIVATIVE_NOT_FINITE:
        return "derivative"
    return "loss" if status == MLP_LOSS_NOT_FINITE else None


# ---- Random numbers ----

cdef int64_t ORDER_BLOCK = 2**20  # some milliseconds between two looks at the signals


def shuffle(int64_t[::1] order, uint64_t seed, uint64_t epoch, const int64_t[::1] rows=None):
    """order (n,) becomes a permutation of 0..n-1, or of rows (n,), fixed by seed and epoch.

    A signal's exception leaves it partly written.
    """
    cdef int64_t first, count, i, n = order.shape[0]
    if rows is not None and rows.shape[0] != n:
        raise ValueError(f"rows must have {n} numbers, got {rows.shape[0]}")
    for first in range(0, n, ORDER_BLOCK):
        count = min(ORDER_BLOCK, n - first)
        with nogil:
            mlp_order(&order[first], first, count, n, seed, epoch)
            if rows is not None:
                for i in range(first, first + count):
                    order[i] = rows[order[i]]
        PyErr_CheckSignals()


def random_uniform(int64_t n, uint64_t seed, uint64_t stream, int64_t first=0):
    """n float64 numbers in [0, 1), from number `first` of the stream on."""
    cdef double[::1] out = np.empty(n)
    if n > 0:
        mlp_random_uniform(&out[0], first, n, seed, stream)
    return out.base


def random_normal(int64_t n, uint64_t seed, uint64_t stream, int64_t first=0):
    """n float64 numbers of mean 0 and variance 1, from number `first` of the stream on."""
    cdef double[::1] out = np.empty(n)
    if n > 0:
        mlp_random_normal(&out[0], first, n, seed, stream)
    return out.base


# ---- Single kernels, for backprop.py, in the core's floating-point mode: all arrays C-contiguous and of one dtype.
# Products and functions of whole arrays let other Python threads in, for full_batch.py ----

def forks():
    """How many forks there were from the process that loaded the library to this one."""
    return mlp_forks()


def threads_for(int asked, double flops):
    """How many threads are worth having for so many floating-point operations; asked as from checked_threads."""
    return mlp_team_size(asked, flops)


def gather(cnp.ndarray X, double scale, dtype):
    """X (B, n) converted to dtype."""
    out = np.empty((X.shape[0], X.shape[1]), dtype)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(out))
    cdef mlp_dtype x_type = dtype_of(X)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.gather(address(out), address(X), x_type, scale, NULL, X.shape[0], X.shape[1])
    mlp_fpmode_leave(before)
    return out


cdef Workspace scratch_for(const mlp_kernels *k, int64_t most, int64_t widest):
    cdef Workspace scratch = Workspace()
    scratch.ensure(k.scratch_bytes(most, widest))
    return scratch


cdef Workspace product_scratch(const mlp_kernels *k, int64_t rows, cnp.ndarray W):
    return scratch_for(k, max(rows, W.shape[0], W.shape[1]), 1)


cdef mlp_unit identity = mlp_unit(MLP_IDENTITY, 0, NULL, 0)


cdef mlp_unit unit_of(activation, slopes) except *:
    return mlp_unit(activation_kind(activation), activation.alpha, address_or_null(slopes), activation.shared)


def affine(cnp.ndarray x, cnp.ndarray W, b):
    """z (B, n_out) = x W + b."""
    cdef cnp.ndarray z = np.empty((x.shape[0], W.shape[1]), x.dtype)
    cdef mlp_block all = mlp_block(0, x.shape[0], 0, W.shape[1])
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(x))
    cdef Workspace scratch = product_scratch(k, x.shape[0], W)
    cdef const void *bias = address_or_null(b)
    cdef int64_t stride = row_stride(W)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.dense_forward(address(z), NULL, address(x), address(W), stride, bias, identity, W.shape[0], W.shape[1], all,
                        scratch.memory)
    mlp_fpmode_leave(before)
    return z


def activate(cnp.ndarray z, activation, slopes=None):
    """a = g(z)."""
    cdef cnp.ndarray a = np.empty_like(z)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(z))
    cdef Workspace scratch = scratch_for(k, 1, z.shape[1])
    cdef mlp_unit g = unit_of(activation, slopes)
    if g.kind == MLP_CUSTOM_ACTIVATION:
        a[...] = activation.values(z.copy())
        return a
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    if g.kind == MLP_SOFTMAX:
        k.softmax_forward(address(a), address(z), z.shape[0], z.shape[1], scratch.memory)
    else:
        with nogil:
            k.activation_forward(address(a), address(z), g, z.shape[0], z.shape[1])
    mlp_fpmode_leave(before)
    return a


def through_derivative(cnp.ndarray delta, cnp.ndarray kept, activation, slopes=None):
    """delta (B, n), in place, through g'. kept is z if activation.traits.in_z, else a = g(z)."""
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(delta))
    cdef Workspace scratch = scratch_for(k, 1, delta.shape[1])
    cdef mlp_unit g = unit_of(activation, slopes)
    if g.kind == MLP_CUSTOM_ACTIVATION:
        multiply(delta, activation.derivatives(kept.copy()))
        return
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    if g.kind == MLP_SOFTMAX:
        k.softmax_backward(address(delta), address(kept), delta.shape[0], delta.shape[1], scratch.memory)
    else:
        with nogil:
            k.activation_backward(address(delta), address(kept), g, delta.shape[0], delta.shape[1])
    mlp_fpmode_leave(before)


def slope_gradient(cnp.ndarray d, cnp.ndarray z, bint shared):
    """d J / d alpha of a prelu without the 1/B, (n,) or (1,), from d = d loss / d a and z, both (B, n)."""
    cdef cnp.ndarray slope = np.empty(z.shape[1], z.dtype)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(z))
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.slope_gradient(address(slope), address(d), address(z), z.shape[0], z.shape[1], 0, z.shape[1])
    if shared:
        k.sum_slopes(address(slope), z.shape[1])
    mlp_fpmode_leave(before)
    return slope[:1].copy() if shared else slope


def loss_and_delta(cnp.ndarray out, Data data, loss, output):
    """(losses (B,), d loss / d out (B, n), shares of the labels that are right (B,)), the first two times the weights.

    out: z_L if loss.traits.of_z, else a_L; output: the activation of layer L. A custom loss may give d loss / d z_L instead.
    """
    cdef cnp.ndarray delta = np.empty_like(out)
    cdef double[::1] losses = np.empty(out.shape[0] + 1), correct = np.zeros(out.shape[0] + 1)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(out))
    cdef Workspace scratch = scratch_for(k, 1, out.shape[1])
    cdef Custom custom = custom_loss_of(loss, out.dtype)
    cdef mlp_truth truth = data.c_truth()
    if custom is not None:
        custom_rows(custom, address(delta), &losses[0], address(out), data, &truth, out.shape[0], out.shape[1])
        return losses.base[:-1], delta, correct.base[:-1]
    cdef mlp_loss spec = loss_spec(loss, None)
    cdef mlp_activation last = activation_kind(output)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.loss(address(delta), &losses[0], &correct[0], address(out), spec, last, &truth, out.shape[0], out.shape[1],
           scratch.memory)
    mlp_fpmode_leave(before)
    return losses.base[:-1], delta, correct.base[:-1]


def delta_below(cnp.ndarray delta, cnp.ndarray W):
    """delta W^T (B, n_in)."""
    cdef cnp.ndarray below = np.empty((delta.shape[0], W.shape[0]), delta.dtype)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(delta))
    cdef mlp_block all = mlp_block(0, delta.shape[0], 0, W.shape[0])
    cdef Workspace scratch = product_scratch(k, delta.shape[0], W)
    cdef int64_t stride = row_stride(W)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.delta_below(address(below), address(delta), address(W), stride, address(below), identity, W.shape[0], W.shape[1],
                      all, scratch.memory)
    mlp_fpmode_leave(before)
    return below


def scaled_sum(cnp.ndarray rows, double scale):
    """scale * the sum of rows (B, n), as a bias's gradient is formed."""
    cdef cnp.ndarray out = np.empty(rows.shape[1], rows.dtype)
    cdef mlp_update update = mlp_update(scale, NULL, 0, 0, 0, 0, 0, 0)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(rows))
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.bias_gradient(address(out), address(rows), rows.shape[0], rows.shape[1], 0, rows.shape[1], &update)
    mlp_fpmode_leave(before)
    return out


cdef mlp_parameter without_state(cnp.ndarray values, mask) noexcept:
    cdef mlp_parameter parameter
    parameter.values, parameter.mask = address(values), NULL if mask is None else address(<cnp.ndarray>mask)
    parameter.state[0] = parameter.state[1] = NULL
    return parameter


def weight_gradient(cnp.ndarray W, mask, cnp.ndarray x, cnp.ndarray delta, double scale, double l1, double l2):
    """dW = scale x^T delta + l2 W + l1 sign(W), times the mask (of W's strides) unless that is None."""
    cdef cnp.ndarray dW = np.empty((W.shape[0], W.shape[1]), W.dtype)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(W))
    cdef mlp_block all = mlp_block(0, W.shape[0], 0, W.shape[1])
    cdef mlp_update update = mlp_update(scale, NULL, 0, 0, 0, l1, l2, 0)
    cdef Workspace scratch = product_scratch(k, x.shape[0], W)
    cdef mlp_parameter parameter = without_state(W, mask)
    cdef int64_t stride = row_stride(W)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.weight_gradient(address(dW), W.shape[1], parameter, stride, address(x), address(delta), x.shape[0], W.shape[0],
                          W.shape[1], all, &update, scratch.memory)
    mlp_fpmode_leave(before)
    return dW


# ---- For benchmarks/: single kernels on one thread, into arrays that are there already. C-contiguous, of one dtype ----

cdef mlp_block whole(cnp.ndarray out) noexcept:
    return mlp_block(0, out.shape[0], 0, out.shape[1])


cdef Workspace kept_scratch = Workspace()  # the GIL is held as long as it is in use


cdef void *bench_scratch(const mlp_kernels *k, int64_t most) except NULL:
    if FREE_THREADED:
        raise NotImplementedError("the kernels alone are timed under a GIL, which guards their scratch memory")
    kept_scratch.ensure(k.scratch_bytes(most, most))
    return kept_scratch.memory


def gather_into(cnp.ndarray out, cnp.ndarray X, double scale, const int64_t[::1] index):
    """out (B, n) = the rows of X (.., n) with those indices, which are not checked; times scale if X is uint8."""
    mlp_kernels_for(dtype_of(out)).gather(address(out), address(X), dtype_of(X), scale, &index[0], out.shape[0],
                                          out.shape[1])


def dense_into(cnp.ndarray a, cnp.ndarray x, cnp.ndarray W, b, activation):
    """a (B, n_out) = g(x W + b); softmax counts as identity."""
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(a))
    k.dense_forward(address(a), NULL, address(x), address(W), row_stride(W), address_or_null(b), unit_of(activation, None),
                    W.shape[0], W.shape[1], whole(a), bench_scratch(k, max(a.shape[0], W.shape[0], W.shape[1])))


def activate_into(cnp.ndarray a, cnp.ndarray z, activation):
    """a (B, n) = g(z)."""
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(a))
    cdef mlp_unit g = unit_of(activation, None)
    if g.kind == MLP_SOFTMAX:
        k.softmax_forward(address(a), address(z), a.shape[0], a.shape[1], bench_scratch(k, a.shape[1]))
    else:
        k.activation_forward(address(a), address(z), g, a.shape[0], a.shape[1])


def loss_into(cnp.ndarray delta, double[::1] row_loss, double[::1] row_correct, cnp.ndarray out, Data data, loss,
              output):
    """delta (B, n) = d loss / d out for the first B rows of data, row_loss and row_correct (B,)."""
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(out))
    cdef mlp_truth truth = data.c_truth()
    k.loss(address(delta), &row_loss[0], &row_correct[0], address(out), loss_spec(loss, None), activation_kind(output), &truth,
           out.shape[0], out.shape[1], bench_scratch(k, out.shape[1]))


def update_weights(cnp.ndarray W, V, cnp.ndarray x, cnp.ndarray delta, double lr, double momentum):
    """W (n_in, n_out), and V unless it is None, one step of SGD further: dW = (1/B) x^T delta is formed on the way."""
    cdef mlp_settings settings
    memset(&settings, 0, sizeof(settings))
    settings.lr, settings.momentum = lr, momentum
    cdef mlp_update rule = mlp_update(1.0 / x.shape[0], &settings, lr, momentum, 0, 0, 0, 1)
    cdef mlp_parameter parameter = without_state(W, None)
    parameter.state[0] = <void *>address_or_null(V)
    cdef const mlp_kernels *k = mlp_kernels_for(dtype_of(W))
    k.update_weights(parameter, row_stride(W), address(x), address(delta), x.shape[0], W.shape[0], W.shape[1], whole(W),
                     &rule, NULL, bench_scratch(k, max(x.shape[0], W.shape[0], W.shape[1])))


def predict_seconds(Network network, cnp.ndarray out, Data data, int64_t calls):
    """Seconds a call of mlp_predict takes on one thread, Python left out: the mean over that many calls."""
    cdef Workspace space = network.workspace(data.c.n, 1)
    cdef void *to = address(out)
    cdef double start = now()
    cdef int64_t i
    with nogil:
        for i in range(calls):
            mlp_predict(network.c, to, &data.c, space.memory, 1, NULL, NULL)
    return (now() - start) / calls
