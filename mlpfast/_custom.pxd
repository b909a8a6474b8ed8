cimport numpy as cnp
from libc.stdint cimport int64_t

from mlpfast._declarations cimport mlp_truth


# The context of a call of the core, for its poll function and for functions of the caller's.
cdef struct poll_state:
    double last   # when signals were last looked at, in seconds
    void *caught  # a list: the exception that ends the call
    void *data    # the _core.Data of the call where the loss is Custom; or NULL


cdef class Custom:
    cdef object functions, dtype

    cdef matrix(self, const void *data, int64_t rows, int64_t n)
    cdef copy(self, const void *data, int64_t rows, int64_t n)


cdef multiply(delta, slopes)
cdef Custom custom_loss_of(loss, dtype)
cdef int custom_forward(void *self, void *call, void *a, const void *z, int64_t rows, int64_t n) noexcept nogil
cdef int custom_backward(void *self, void *call, void *delta, const void *z, int64_t rows, int64_t n) noexcept nogil
cdef int custom_loss(void *self, void *call, void *delta, double *row_loss, const void *a, const mlp_truth *truth,
                     int64_t rows, int64_t n) noexcept nogil
cdef int custom_rows(Custom custom, void *delta, double *row_loss, const void *a, data, const mlp_truth *truth,
                     int64_t rows, int64_t n) except -1
