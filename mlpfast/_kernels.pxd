cimport numpy as cnp

from mlpfast._declarations cimport mlp_parameter, mlp_unit


cdef mlp_unit unit_of(activation, slopes) except *
cdef mlp_parameter without_state(cnp.ndarray values, mask) noexcept
