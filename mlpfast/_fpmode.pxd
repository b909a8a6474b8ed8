cdef class SilentErrors:
    cdef object state  # a numpy.errstate while it is in force

    cdef begin(self)
    cdef end(self)


cdef class CallersTurn:
    cdef SilentErrors ours
    cdef unsigned short x87


cpdef object on_callers_turn(function, argument)
