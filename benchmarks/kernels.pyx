# cython: language_level=3, boundscheck=False, wraparound=False
"""Single kernels of mlpfast's core on one thread, into arrays that are there already: C-contiguous, of one dtype.

Compiled when benchmarks are run, by extension.py.
"""
cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.string cimport memset

import time

from mlpfast._core cimport Data, LossSpec, Network, Workspace, activation_kind, kernels_for, loss_spec
from mlpfast._declarations cimport *
from mlpfast._kernels cimport unit_of, without_state
from mlpfast._memory cimport address, address_or_null, dtype_of, row_stride

cnp.import_array()


cdef mlp_block whole(cnp.ndarray out) noexcept:
    return mlp_block(0, out.shape[0], 0, out.shape[1])


cdef Workspace kept_scratch = Workspace()  # the GIL is held as long as it is in use


cdef void *bench_scratch(const mlp_kernels *k, int64_t most) except NULL:
    if FREE_THREADED:
        raise NotImplementedError("the kernels alone are timed under a GIL, which guards their scratch memory")
    kept_scratch.ensure(k.scratch_bytes(most, most))
    return kept_scratch.memory


def gather_into(cnp.ndarray out, cnp.ndarray X, double scale, cnp.ndarray index):
    """out (B, n) = the rows of X (.., n) whose numbers index (B,) int64 holds, unchecked; times scale if X is uint8."""
    kernels_for(dtype_of(out)).gather(address(out), address(X), dtype_of(X), scale, <const int64_t *>address(index),
                                      out.shape[0], out.shape[1])


def dense_into(cnp.ndarray a, cnp.ndarray x, cnp.ndarray W, b, activation):
    """a (B, n_out) = g(x W + b); softmax counts as identity."""
    cdef const mlp_kernels *k = kernels_for(dtype_of(a))
    k.dense_forward(address(a), NULL, address(x), address(W), row_stride(W), address_or_null(b),
                    unit_of(activation, None), W.shape[0], W.shape[1], whole(a),
                    bench_scratch(k, max(a.shape[0], W.shape[0], W.shape[1])))


def activate_into(cnp.ndarray a, cnp.ndarray z, activation):
    """a (B, n) = g(z)."""
    cdef const mlp_kernels *k = kernels_for(dtype_of(a))
    cdef mlp_unit g = unit_of(activation, None)
    if g.kind == MLP_SOFTMAX:
        k.softmax_forward(address(a), address(z), a.shape[0], a.shape[1], bench_scratch(k, a.shape[1]))
    else:
        k.activation_forward(address(a), address(z), g, a.shape[0], a.shape[1])


def loss_into(cnp.ndarray delta, cnp.ndarray row_loss, cnp.ndarray row_correct, cnp.ndarray out, Data data,
              loss, output):
    """delta (B, n) = d loss / d out for the first B rows of data, row_loss and row_correct (B,)."""
    cdef const mlp_kernels *k = kernels_for(dtype_of(out))
    cdef mlp_truth truth = data.c_truth()
    cdef LossSpec spec = loss_spec(loss, output, out.shape[1])
    k.loss(address(delta), <double *>address(row_loss), <double *>address(row_correct), address(out), spec.c,
           activation_kind(output), &truth, out.shape[0], out.shape[1], bench_scratch(k, out.shape[1]))


def update_weights(cnp.ndarray W, V, cnp.ndarray x, cnp.ndarray delta, double lr, double momentum):
    """W (n_in, n_out), and V unless it is None, one step of SGD further: dW = (1/B) x^T delta is formed on the way."""
    cdef mlp_settings settings
    memset(&settings, 0, sizeof(settings))
    settings.lr, settings.momentum = lr, momentum
    cdef mlp_update rule = mlp_update(1.0 / x.shape[0], &settings, lr, momentum, 0, 0, 0, 1)
    cdef mlp_parameter parameter = without_state(W, None)
    parameter.state[0] = <void *>address_or_null(V)
    cdef const mlp_kernels *k = kernels_for(dtype_of(W))
    k.update_weights(parameter, row_stride(W), address(x), address(delta), x.shape[0], W.shape[0], W.shape[1], whole(W),
                     &rule, NULL, bench_scratch(k, max(x.shape[0], W.shape[0], W.shape[1])))


def predict_seconds(Network network, cnp.ndarray out, Data data, int64_t calls):
    """Seconds one call of mlp_predict takes on one thread, Python left out: the mean over that many calls."""
    cdef Workspace space = network.workspace(data.c.n, 1)
    cdef void *to = address(out)
    cdef int64_t i
    start = time.perf_counter()
    with nogil:
        for i in range(calls):
            network.forward(to, &data.c, space)
    return (time.perf_counter() - start) / calls
