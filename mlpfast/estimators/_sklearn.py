"""What the estimators are made of in scikit-learn, which has no types of its own: those are in _sklearn.pyi."""

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

__all__ = ["BaseEstimator", "ClassifierMixin", "RegressorMixin", "available_if"]
