# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The floating-point mode and NumPy's error state: the library's while it computes, the caller's in his functions."""
import contextvars
import functools

import numpy as np

from mlpfast._declarations cimport (mlp_fpmode, mlp_fpmode_enter_default, mlp_fpmode_leave, mlp_x87_default,
                                    mlp_x87_now, mlp_x87_set)

cdef object silent_errors = contextvars.ContextVar("mlpfast_silent_errors", default=None)  # the one in force


cdef class SilentErrors:
    """`with SilentErrors():` NumPy says nothing of overflow, underflow and invalid operations, whatever the caller has
    set with numpy.seterr: results are checked where it matters. Within another SilentErrors it does nothing."""

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
    """`with CallersTurn():` around a call of the caller's function: it sees the caller's NumPy error state and may
    change it; afterwards the floating-point mode is the default again, whatever the function did to it."""

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


cpdef object on_callers_turn(function, argument):
    """function(argument) within CallersTurn, called in the default mode: faster where nothing is to be changed."""
    if silent_errors.get() is not None:
        with CallersTurn():
            return function(argument)
    result = function(argument)
    enter_default_mode(mlp_x87_default())
    return result


def in_default_mode(function):
    """function in the default floating-point mode and within SilentErrors.

    For Python code around the core, which computes in a mode without subnormal numbers. A caller may have changed the
    mode of its thread: NumPy's results must not depend on that.
    """
    @in_default_mode_alone
    @functools.wraps(function)
    def run(*args, **kwargs):
        with SilentErrors():
            return function(*args, **kwargs)
    return run


def in_default_mode_alone(function):
    """in_default_mode without SilentErrors: for short functions that compute nothing with NumPy."""
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
