# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Functions of the caller's (activations.Custom, losses.Custom), called on the thread that has called the core."""
cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.string cimport memcpy

import numpy as np

from mlpfast._declarations cimport mlp_fpmode_enter_core, mlp_fpmode_enter_default, mlp_truth
from mlpfast._fpmode cimport SilentErrors
from mlpfast._memory cimport address, view

cnp.import_array()


cdef class Custom:
    """An activations.Custom or losses.Custom in a network of that dtype. The core hands it to the functions below as
    `self`."""
    def __cinit__(self, functions, dtype):
        self.functions, self.dtype = functions, dtype

    cdef matrix(self, const void *data, int64_t rows, int64_t n):
        return view(None, <void *>data, (rows, n), self.dtype)

    cdef copy(self, const void *data, int64_t rows, int64_t n):
        """What a Python function gets: it may keep it, or write to it."""
        return self.matrix(data, rows, n).copy()


cdef void give_up(void *call, error) noexcept:
    """End the core's call with that context, which then raises error."""
    if call != NULL:
        (<list>(<poll_state *>call).caught).append(error)


cdef multiply(delta, slopes):
    delta *= slopes.astype(delta.dtype, copy=False)


cdef rows_like(cnp.ndarray array, const void *data, int64_t rows):
    """A copy (rows, ...) of what the core has gathered from array."""
    cdef cnp.ndarray copy = np.empty((rows, *(<object>array).shape[1:]), array.dtype)
    memcpy(address(copy), data, <size_t>cnp.PyArray_NBYTES(copy))
    return copy


cdef Custom custom_loss_of(loss, dtype):
    """None for a loss of the library."""
    return Custom(loss, dtype) if loss.traits.is_custom else None


# What the core hands over: forward (out = a) and backward (out = delta) of an activation, or a loss with its rows.
cdef struct arguments:
    void *out
    const void *given
    double *row_loss
    const mlp_truth *truth
    int64_t rows, n


ctypedef int (*python_part)(Custom custom, void *call, const arguments *a) except -1


cdef int run(python_part part, void *self, void *call, const arguments *a) noexcept nogil:
    """part with the GIL, in the default mode; not 0, and the call of the core ends, where it fails."""
    cdef int failed = 1  # also where NumPy fails without an exception, as it may when memory is short
    with gil:
        mlp_fpmode_enter_default()
        try:
            with SilentErrors():
                part(<Custom>self, call, a)
            failed = 0
        except BaseException as error:
            give_up(call, error)
        mlp_fpmode_enter_core()  # the function may have changed it
        return failed


cdef int forward(Custom custom, void *call, const arguments *a) except -1:
    custom.matrix(a.out, a.rows, a.n)[...] = custom.functions.values(custom.copy(a.given, a.rows, a.n))
    return 0


cdef int backward(Custom custom, void *call, const arguments *a) except -1:
    slopes = custom.functions.derivatives(custom.copy(a.given, a.rows, a.n))
    multiply(custom.matrix(a.out, a.rows, a.n), slopes)
    return 0


cdef int loss(Custom custom, void *call, const arguments *a) except -1:
    data = <object>(<poll_state *>call).data
    return custom_rows(custom, a.out, a.row_loss, a.given, data, a.truth, a.rows, a.n)


cdef int custom_forward(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n) noexcept nogil:
    cdef arguments given = arguments(a, z, NULL, NULL, rows, n)
    return run(forward, self, call, &given)


cdef int custom_backward(void *self, void *call, void *delta, const void *z, int64_t rows, int64_t n) noexcept nogil:
    cdef arguments given = arguments(delta, z, NULL, NULL, rows, n)
    return run(backward, self, call, &given)


cdef int custom_loss(void *self, void *call, void *delta, double *row_loss, const void *a, const mlp_truth *truth,
                     int64_t rows, int64_t n) noexcept nogil:
    cdef arguments given = arguments(delta, a, row_loss, truth, rows, n)
    return run(loss, self, call, &given)


cdef int custom_rows(Custom custom, void *delta, double *row_loss, const void *a, data, const mlp_truth *truth,
                     int64_t rows, int64_t n) except -1:
    """What mlp_custom_loss.rows says, for rows that were gathered from data (a _core.Data) into truth."""
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
