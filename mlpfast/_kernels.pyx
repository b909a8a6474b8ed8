# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Single kernels of the core on whole arrays, for backprop.py and full_batch.py: C-contiguous arrays of one dtype.

They compute in the core's floating-point mode. Products and elementwise functions release the GIL.
"""
cimport numpy as cnp
from libc.stdint cimport int64_t

import numpy as np

from mlpfast._core cimport (Data, LossSpec, OutputBlocks, Workspace, activation_kind, joined_rows, kernels_for,
                            loss_spec)
from mlpfast._custom cimport Custom, custom_loss_of, custom_rows, multiply
from mlpfast._declarations cimport *
from mlpfast._memory cimport address, address_or_null, dtype_of, row_stride

cnp.import_array()


def gather(cnp.ndarray X, double scale, dtype, input_transform=None):
    """X (B, n) converted to dtype. input_transform: as of Network."""
    out = np.empty((X.shape[0], X.shape[1]), dtype)
    cdef const mlp_kernels *k = kernels_for(dtype_of(out))
    cdef mlp_dtype x_type = dtype_of(X)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    if input_transform is None:
        k.gather(address(out), address(X), x_type, scale, NULL, X.shape[0], X.shape[1])
    else:
        mean, deviation = input_transform
        k.transform(address(out), address(X), x_type, scale, <const double *>address(mean),
                    <const double *>address(deviation), NULL, X.shape[0], X.shape[1])
    mlp_fpmode_leave(before)
    return out


def block_length(int64_t k):
    """The terms that are one chain in a sum of k terms (csrc/kernel_table.h)."""
    return mlp_block_length(k)


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
    cdef const mlp_kernels *k = kernels_for(dtype_of(x))
    cdef Workspace scratch = product_scratch(k, x.shape[0], W)
    cdef const void *bias = address_or_null(b)
    cdef int64_t stride = row_stride(W)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.dense_forward(address(z), NULL, address(x), address(W), stride, bias, identity, W.shape[0], W.shape[1], all,
                        scratch.memory)
    mlp_fpmode_leave(before)
    return z


ctypedef void (*of_rows)(void *, const void *, int64_t, int64_t, void *) noexcept nogil
ctypedef void (*of_elements)(void *, const void *, mlp_unit, int64_t, int64_t) noexcept nogil


cdef int by_unit(const mlp_kernels *k, of_rows softmax, of_elements others, cnp.ndarray to, cnp.ndarray given,
                 mlp_unit g) except -1:
    """to (B, n) from given, by the kernel for g."""
    cdef Workspace scratch = scratch_for(k, 1, to.shape[1])
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        if g.kind == MLP_SOFTMAX:
            softmax(address(to), address(given), to.shape[0], to.shape[1], scratch.memory)
        else:
            others(address(to), address(given), g, to.shape[0], to.shape[1])
    mlp_fpmode_leave(before)


cdef int activate_blocks(const mlp_kernels *k, cnp.ndarray a, OutputBlocks blocks) except -1:
    """The activations of parts of the outputs, on a (B, n) in place."""
    cdef Workspace scratch = scratch_for(k, 1, a.shape[1])
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.activate_blocks(address(a), blocks.blocks, blocks.n, a.shape[0], a.shape[1], scratch.memory)
    mlp_fpmode_leave(before)


def activate(cnp.ndarray z, activation, slopes=None):
    """a = g(z)."""
    cdef cnp.ndarray a = np.empty_like(z)
    cdef const mlp_kernels *k = kernels_for(dtype_of(z))
    cdef mlp_unit g = unit_of(activation, slopes)
    if g.kind == MLP_CUSTOM_ACTIVATION:
        a[...] = activation.values(z.copy())
        return a
    by_unit(k, k.softmax_forward, k.activation_forward, a, z, g)
    if activation.parts:
        activate_blocks(k, a, OutputBlocks(activation.parts))
    return a


def through_derivative(cnp.ndarray delta, cnp.ndarray kept, activation, slopes=None):
    """delta (B, n), in place, through g'. kept is z if activation.traits.in_z, else a = g(z)."""
    cdef const mlp_kernels *k = kernels_for(dtype_of(delta))
    cdef mlp_unit g = unit_of(activation, slopes)
    if g.kind == MLP_CUSTOM_ACTIVATION:
        multiply(delta, activation.derivatives(kept.copy()))
    else:
        by_unit(k, k.softmax_backward, k.activation_backward, delta, kept, g)


def slope_gradient(cnp.ndarray d, cnp.ndarray z, bint shared):
    """d J / d alpha of a prelu, without the factor 1/B, (n,) or (1,), from d = d loss / d a and z, both (B, n)."""
    cdef cnp.ndarray slope = np.empty(z.shape[1], z.dtype)
    cdef const mlp_kernels *k = kernels_for(dtype_of(z))
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.slope_gradient(address(slope), address(d), address(z), z.shape[0], z.shape[1], 0, z.shape[1])
    if shared:
        k.sum_slopes(address(slope), z.shape[1])
    mlp_fpmode_leave(before)
    return slope[:1].copy() if shared else slope


def loss_and_delta(cnp.ndarray out, Data data, loss, output):
    """(losses (B,), d loss / d out (B, n), shares of the labels that are right (B,)), the first two times the weights.

    out: z_L if loss.traits.of_z, else a_L; output: the activation of layer L. A custom loss may give d loss / d z_L
    instead.
    """
    cdef cnp.ndarray delta = np.empty_like(out), losses = np.empty(out.shape[0]), correct = np.zeros(out.shape[0])
    cdef double *loss_of = <double *>address(losses)
    cdef const mlp_kernels *k = kernels_for(dtype_of(out))
    cdef Workspace scratch = scratch_for(k, 1, out.shape[1])
    cdef Custom custom = custom_loss_of(loss, out.dtype)
    cdef mlp_truth truth = data.c_truth()
    if custom is not None:
        custom_rows(custom, address(delta), loss_of, address(out), data, &truth, out.shape[0], out.shape[1])
        return losses, delta, correct
    if loss.traits.joins:
        joined_rows(address(delta), loss_of, out, data)
        return losses, delta, correct
    cdef LossSpec spec = loss_spec(loss, output, out.shape[1])
    cdef mlp_activation last = activation_kind(output)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.loss(address(delta), loss_of, <double *>address(correct), address(out), spec.c, last, &truth, out.shape[0],
           out.shape[1], scratch.memory)
    mlp_fpmode_leave(before)
    return losses, delta, correct


def delta_below(cnp.ndarray delta, cnp.ndarray W):
    """delta W^T (B, n_in)."""
    cdef cnp.ndarray below = np.empty((delta.shape[0], W.shape[0]), delta.dtype)
    cdef const mlp_kernels *k = kernels_for(dtype_of(delta))
    cdef mlp_block all = mlp_block(0, delta.shape[0], 0, W.shape[0])
    cdef Workspace scratch = product_scratch(k, delta.shape[0], W)
    cdef int64_t stride = row_stride(W)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.delta_below(address(below), address(delta), address(W), stride, address(below), identity, W.shape[0],
                      W.shape[1], all, scratch.memory)
    mlp_fpmode_leave(before)
    return below


def scaled_sum(cnp.ndarray rows, double scale):
    """scale * the sum of rows (B, n), as a bias's gradient is formed."""
    cdef cnp.ndarray out = np.empty(rows.shape[1], rows.dtype)
    cdef mlp_update update = mlp_update(scale, NULL, 0, 0, 0, 0, 0, 0)
    cdef const mlp_kernels *k = kernels_for(dtype_of(rows))
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    k.bias_gradient(address(out), address(rows), rows.shape[0], rows.shape[1], 0, rows.shape[1], &update)
    mlp_fpmode_leave(before)
    return out


cdef mlp_parameter without_state(cnp.ndarray values, mask) noexcept:
    """A parameter whose optimizer keeps nothing."""
    cdef mlp_parameter parameter
    parameter.values, parameter.mask = address(values), NULL if mask is None else address(<cnp.ndarray>mask)
    parameter.state[0] = parameter.state[1] = NULL
    return parameter


def weight_gradient(cnp.ndarray W, mask, cnp.ndarray x, cnp.ndarray delta, double scale, double l1, double l2):
    """dW = scale x^T delta + l2 W + l1 sign(W), times the mask (of W's strides) unless that is None."""
    cdef cnp.ndarray dW = np.empty((W.shape[0], W.shape[1]), W.dtype)
    cdef const mlp_kernels *k = kernels_for(dtype_of(W))
    cdef mlp_block all = mlp_block(0, W.shape[0], 0, W.shape[1])
    cdef mlp_update update = mlp_update(scale, NULL, 0, 0, 0, l1, l2, 0)
    cdef Workspace scratch = product_scratch(k, x.shape[0], W)
    cdef mlp_parameter parameter = without_state(W, mask)
    cdef int64_t stride = row_stride(W)
    cdef mlp_fpmode before = mlp_fpmode_enter_core()
    with nogil:
        k.weight_gradient(address(dW), W.shape[1], parameter, stride, address(x), address(delta), x.shape[0],
                          W.shape[0], W.shape[1], all, &update, scratch.memory)
    mlp_fpmode_leave(before)
    return dW
