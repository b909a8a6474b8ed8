# cython: language_level=3
"""A Cython module that predicts row by row in C, without the GIL and without Python objects.

    python examples/cython/setup.py build_ext --inplace
"""
from libc.stdlib cimport free, malloc

from mlpfast.mlpfast cimport (MLP_FLOAT32, MLP_OK, mlp_data, mlp_data_init, mlp_network, mlp_network_destroy,
                              mlp_network_dtype, mlp_network_load, mlp_network_n_in, mlp_network_n_out, mlp_predict,
                              mlp_predict_workspace)


cdef class Model:
    """A network of float32 from the bytes of a file of Network.save."""
    cdef mlp_network *net
    cdef void *workspace

    def __cinit__(self, const unsigned char[::1] data):
        if mlp_network_load(&self.net, &data[0], data.shape[0], NULL) != MLP_OK:
            raise ValueError("data must be the file of a network")
        if mlp_network_dtype(self.net) != MLP_FLOAT32:
            raise ValueError("the network must be of float32")
        self.workspace = malloc(mlp_predict_workspace(self.net, 1, 1))
        if self.workspace == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.workspace)
        mlp_network_destroy(self.net)

    def predict(self, const float[:, ::1] X, float[:, ::1] out):
        """out (n, n_out) = the predictions for X (n, n_in)."""
        if X.shape[1] != mlp_network_n_in(self.net) or out.shape[0] != X.shape[0] or (
                out.shape[1] != mlp_network_n_out(self.net)):
            raise ValueError("X and out must have the network's shape")
        cdef mlp_data row = mlp_data_init()
        cdef Py_ssize_t i
        row.x_type, row.n = MLP_FLOAT32, 1
        with nogil:
            for i in range(X.shape[0]):
                row.X = &X[i, 0]
                mlp_predict(self.net, &out[i, 0], &row, self.workspace, 1, NULL, NULL)
