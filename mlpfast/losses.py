"""The losses of one example, y its target and yhat = a_L its prediction; csrc/kernels/loss.inc.h computes them.

    cross_entropy         -sum_j y_j log yhat_j                                 output softmax, or identity for logits
    binary_cross_entropy  -sum_j y_j log yhat_j + (1 - y_j) log(1 - yhat_j)     output sigmoid, or identity for logits
    half_squared_error    1/2 sum_j (yhat_j - y_j)^2                            any output
    squared_error         sum_j (yhat_j - y_j)^2                                any output

With logits, softmax or sigmoid is part of the loss.
"""

from ._core import LOSSES
from ._validate import one_of

OUTPUTS = {  # the output activations a loss makes sense with; every other takes any
    "cross_entropy": ("softmax", "identity"),
    "binary_cross_entropy": ("sigmoid", "identity"),
}

CLASSIFICATION = frozenset(OUTPUTS)  # these have an accuracy


def checked(loss, network):
    """The loss's name; ValueError if it is unknown or makes no sense with the network's output."""
    loss = one_of("loss", loss, LOSSES)
    last = network.layers[-1]
    allowed = OUTPUTS.get(loss, (last.activation,))
    if last.activation not in allowed:
        raise ValueError(f"loss {loss!r} needs an output activation of {' or '.join(allowed)}, got {last.activation!r}")
    if loss == "cross_entropy" and last.n_out < 2:
        raise ValueError(
            "loss 'cross_entropy' needs at least 2 outputs, one for each class, got 1; "
            "for two classes and one output use 'binary_cross_entropy'"
        )
    return loss
