"""Estimators for scikit-learn: MLPClassifier and MLPRegressor in place of those of sklearn.neural_network, with their
arguments, attributes, methods and results, trained by mlpfast.

>>> from mlpfast.estimators import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier

Needs scikit-learn 1.7 or newer: pip install "mlpfast[sklearn]". The mathematics is that of scikit-learn 1.7 to 1.9:
with the same random_state the first weights and the order of the rows are theirs, so that loss curves and predictions
agree up to rounding. docs/estimators.md names what differs, and what is here beyond.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as _error:
    raise ImportError('scikit-learn is needed for mlpfast.estimators: pip install "mlpfast[sklearn]"') from _error

from ._classifier import MLPClassifier
from ._files import load
from ._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "load"]
