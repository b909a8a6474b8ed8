"""Names of types for annotations alone: nothing imports them when a program runs."""

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .activations import Activation
from .losses import Loss
from .optimizers import Optimizer

Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike
DType: TypeAlias = np.dtype[Any]
PathLike: TypeAlias = str | os.PathLike[str]


class SourceOfRows(Protocol):
    """See mlpfast.data."""

    @property
    def n(self) -> int | None: ...
    @property
    def n_features(self) -> int | None: ...
    def read(self, rows: Array, /) -> Any: ...


class SourceOfBlocks(Protocol):
    """See mlpfast.data."""

    @property
    def n(self) -> int | None: ...
    @property
    def n_features(self) -> int | None: ...
    def blocks(self, order: Array | None, /) -> Iterable[Any]: ...


class Rates(Protocol):
    """A schedule, also one of the caller's: see mlpfast.schedules."""

    @property
    def per(self) -> str: ...
    def at(self, t: int, /) -> float: ...


Source: TypeAlias = SourceOfRows | SourceOfBlocks
Inputs: TypeAlias = ArrayLike | Source
Rate: TypeAlias = float | Rates
Goals: TypeAlias = float | dict[str, float] | dict[str, tuple[str, float]] | dict[str, float | tuple[str, float]]
Metric: TypeAlias = str | Callable[..., Any]
Metrics: TypeAlias = Metric | Iterable[Metric]
# (X, y) or (X, y, sample_weight), or a source
Validation: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None] | Source
AnyActivation: TypeAlias = str | Activation
AnyLoss: TypeAlias = str | Loss
AnyOptimizer: TypeAlias = str | Optimizer
