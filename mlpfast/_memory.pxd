"""Arrays as the core reads and writes them: addresses, strides, types, and views of its own memory."""
cimport numpy as cnp
from libc.stdint cimport int64_t

from mlpfast._declarations cimport MLP_FLOAT32, MLP_FLOAT64, MLP_UINT8, mlp_dtype


cdef inline void *address(cnp.ndarray array) noexcept nogil:
    return cnp.PyArray_DATA(array)


cdef inline const void *address_or_null(array) except? NULL:
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray?>array)


cdef inline int64_t row_stride(cnp.ndarray W) noexcept:
    """Numbers from a row of W to the next; along a row they are contiguous."""
    return cnp.PyArray_STRIDE(W, 0) // cnp.PyArray_ITEMSIZE(W)


cdef inline bint is_plain(cnp.ndarray array, int64_t columns) noexcept:
    """Whether array is (.., columns), C-contiguous, aligned and of the machine's byte order."""
    return cnp.PyArray_NDIM(array) == 2 and cnp.PyArray_DIM(array, 1) == columns and cnp.PyArray_ISCARRAY_RO(array)


cdef inline bint type_of(cnp.ndarray array, mlp_dtype *to) noexcept:
    """Whether there is a kernel for the type of array; then `to` is that type."""
    cdef int kind = cnp.PyArray_TYPE(array)
    to[0] = MLP_FLOAT32 if kind == cnp.NPY_FLOAT32 else MLP_FLOAT64 if kind == cnp.NPY_FLOAT64 else MLP_UINT8
    return kind == cnp.NPY_FLOAT32 or kind == cnp.NPY_FLOAT64 or kind == cnp.NPY_UINT8


cdef inline mlp_dtype dtype_of(cnp.ndarray array) except *:
    cdef mlp_dtype kind
    if not type_of(array, &kind) or not cnp.PyArray_ISNOTSWAPPED(array):
        raise TypeError(f"no kernel for {array.dtype}")
    return kind


cdef inline object view(object owner, void *data, shape, dtype):
    """A writable array on memory of the core, or None for NULL; it keeps owner alive, unless that is None."""
    if data == NULL:
        return None
    cdef cnp.npy_intp dims[2]
    for i, size in enumerate(shape):
        dims[i] = size
    array = cnp.PyArray_SimpleNewFromData(len(shape), dims, cnp.NPY_FLOAT32 if dtype.itemsize == 4 else cnp.NPY_FLOAT64,
                                          data)
    if owner is not None:
        cnp.set_array_base(array, owner)
    return array
