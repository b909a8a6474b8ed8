"""What the binding's modules use of the C core, as its headers in csrc/ have it."""
from libc.stdint cimport int32_t, int64_t, uint64_t

from mlpfast.mlpfast cimport *

cdef extern from "traits.h":
    unsigned MLP_IN_Z, MLP_APART, MLP_HAS_ALPHA, MLP_LEARNS_ALPHA, MLP_RECTIFIER, MLP_SATURATES
    unsigned MLP_STOPS, MLP_SHARE
    ctypedef struct mlp_activation_row:
        const char *name
        unsigned traits
        double least_alpha
    const mlp_activation_row *mlp_activation_rows
    unsigned MLP_OF_Z, MLP_BY_CLASS, MLP_ONE_HOT, MLP_COUNTS, MLP_SMOOTHS, MLP_BY_ENTRY, MLP_OWN_Y, MLP_JOINS
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
    ctypedef struct mlp_optimizer_row:
        const char *name
        int states
        mlp_moved moved
        unsigned traits
    unsigned MLP_BARE
    const mlp_optimizer_row *mlp_optimizer_rows

cdef extern from "crew.h":
    void mlp_allow_oversubscription(int)
    int mlp_crew_size(int, double)
    int mlp_crew_limit()

cdef extern from "threads.h":
    void mlp_threads_allow(int)

cdef extern from "system.h":
    double mlp_seconds() nogil
    int mlp_forks()
    unsigned long mlp_this_thread()
    unsigned long mlp_survivor()
    void mlp_lock(int *)
    void mlp_unlock(int *)

cdef extern from *:
    """
    __attribute__((unused)) static inline mlp_result sized(mlp_result result) { result.size = sizeof result; return result; }
    #ifdef Py_GIL_DISABLED
    #define FREE_THREADED 1
    #else
    #define FREE_THREADED 0
    #endif
    """
    const bint FREE_THREADED
    mlp_result sized(mlp_result)

cdef extern from "fpmode.h":
    ctypedef struct mlp_fpmode:
        pass
    mlp_fpmode mlp_fpmode_enter_core() nogil
    mlp_fpmode mlp_fpmode_enter_default() nogil
    void mlp_fpmode_leave(mlp_fpmode) nogil
    unsigned short mlp_x87_now()
    unsigned short mlp_x87_default()
    void mlp_x87_set(unsigned short)

cdef extern from "loss.h":
    size_t mlp_joined_bytes(int64_t)
    int mlp_joined_loss(void *, double *, const void *, mlp_dtype, const mlp_truth *, int64_t, void *) nogil

cdef extern from "kernel_table.h":
    int64_t mlp_block_length(int64_t k)
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
        int (*transform)(void *, const void *, mlp_dtype, double, const double *, const double *, const int64_t *,
                         int64_t, int64_t) noexcept
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
        void (*softmax_forward)(void *, const void *, int64_t, int64_t, void *) noexcept nogil
        void (*softmax_backward)(void *, const void *, int64_t, int64_t, void *) noexcept nogil
        void (*activate_blocks)(void *, const mlp_output_block *, int64_t, int64_t, int64_t, void *) noexcept nogil
        int (*loss)(void *, double *, double *, const void *, mlp_loss, mlp_activation, const mlp_truth *, int64_t,
                    int64_t, void *) noexcept
    const mlp_kernels *mlp_kernels_for(mlp_dtype)
    double mlp_peak_flops(mlp_dtype, int, double) nogil
