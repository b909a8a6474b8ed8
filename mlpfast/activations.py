"""Names of the activations; the arithmetic is in csrc/kernels/activation.inc.h.

    identity  z        relu  max(z, 0), derivative 0 at 0        sigmoid  1 / (1 + exp(-z))
    tanh  tanh(z)      softmax  exp(z_j) / sum_k exp(z_k), over a row
"""

from ._core import ACTIVATIONS
from ._validate import one_of

RELU_FAMILY = frozenset({"relu"})  # "auto" starts these with He's weights


def checked(name, value):
    """The activation's name, or ValueError."""
    return one_of(name, value, ACTIVATIONS)
