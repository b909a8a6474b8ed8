cimport numpy as cnp
from libc.stdint cimport int64_t, uint64_t

from mlpfast._custom cimport Custom
from mlpfast._declarations cimport *


cdef class Workspace:
    cdef void *memory
    cdef size_t size

    cdef int ensure(self, size_t size) except -1


cdef class Data:
    cdef mlp_data c
    cdef readonly object X, x_rows, y, labels, targets, weights, entries
    cdef public object origin

    cdef mlp_truth c_truth(self) noexcept
    cpdef int check(self, Network network) except -1


cdef class Network:
    cdef mlp_network *c
    cdef readonly object dtype, layers
    cdef readonly list dropout, l2     # the dropout of X, None before there is one, and of each layer; l2 of each layer
    cdef list custom                   # the Custom of each layer, or None
    cdef bint has_custom
    cdef list shared                   # whether each layer has one slope for all units, as the core was told
    cdef int training_since            # mlp_forks() when the trainer at work began, -1 if there is none: one at a time
    cdef unsigned long trained_by      # its thread
    cdef int held_since, holds         # the same of a thread that trains for more than one call of the core
    cdef unsigned long held_by
    cdef int64_t n_in, n_out
    cdef bint is_float32
    cdef double flops                  # of a forward pass of one row
    cdef const char *parameters        # the block of all parameters, and its end
    cdef const char *parameters_end
    cdef int lock                      # guards who trains, and idle
    cdef list idle                     # Workspaces not in use, at most one for each thread that predicts
    cdef readonly size_t idle_bytes    # their size

    cdef hold(self)
    cdef release(self)
    cdef busy(self)
    cdef bint is_held_elsewhere(self) noexcept
    cpdef begin_training(self)
    cpdef end_training(self)
    cdef bint in_training(self) noexcept
    cdef set_lr_factors(self, int layer)
    cdef like_weights(self, int layer, void *start)
    cdef Workspace workspace(self, int64_t n, int threads)
    cdef put_back(self, Workspace space)
    cdef mlp_status forward(self, void *out, const mlp_data *data, Workspace space) noexcept nogil
    cdef bint fits(self, cnp.ndarray out, int64_t n, bint flat) noexcept
    cdef bint takes(self, cnp.ndarray out, cnp.ndarray X, bint flat) noexcept


cdef const mlp_kernels *kernels_for(mlp_dtype dtype) noexcept
cdef mlp_activation activation_kind(activation) except *


cdef class LossSpec:
    cdef mlp_loss c
    cdef mlp_loss_block *blocks
    cdef Custom custom                 # or None


cdef class OutputBlocks:
    cdef mlp_output_block *blocks
    cdef int64_t n


cdef LossSpec loss_spec(loss, output, int64_t n_out, Custom custom=*)
cdef int joined_rows(void *delta, double *losses, cnp.ndarray out, Data data) except -1
