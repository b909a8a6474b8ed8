"""Multilayer perceptrons on the CPU: training and prediction in a C core, with a thin Python layer.

>>> import mlpfast
>>> X, y = mlpfast.datasets.load_digits()
>>> net = mlpfast.Network([64, 128, 10], output="softmax", seed=0)
>>> history = mlpfast.Trainer(net, optimizer=mlpfast.SGD(lr=0.1, momentum=0.9), seed=0).fit(X, y, epochs=10)
>>> probabilities = net.predict(X)
>>> probabilities.shape
(1797, 10)
"""

from __future__ import annotations

import os as _os
from typing import Any

_affinity = _os.sched_getaffinity(0) if hasattr(_os, "sched_getaffinity") else None
try:
    from . import _core
except ImportError as _error:
    _names = _os.listdir(_os.path.dirname(__file__))
    _built = any(name.startswith("_core.") and name.endswith((".so", ".pyd")) for name in _names)
    if "_core.pyx" in _names and not _built:
        raise ImportError(
            "mlpfast was imported from its source folder, where its C core is not built: "
            "leave that folder, or install with `pip install -e .`"
        ) from _error
    raise
if _affinity and _affinity != _os.sched_getaffinity(0):
    # By OMP_PROC_BIND or OMP_PLACES, OpenMP's library binds the thread that loads it to one processor. That is for the
    # library's own threads, not for the program and the processes it starts.
    _os.sched_setaffinity(0, _affinity)

_core.select_isa(_os.environ.get("MLPFAST_ISA") or None)
_core.allow_oversubscription(_os.environ.get("MLPFAST_OVERSUBSCRIBE") == "1")  # for tests: see csrc/crew_size.c

from . import (  # noqa: E402
    _threadpools,
    activations,
    backprop,
    benchmark,
    callbacks,
    initializers,
    losses,
    metrics,
    optimizers,
    schedules,
)
from ._config import (  # noqa: E402
    __version__,
    get_include,
    get_library_dir,
    get_num_threads,
    set_num_threads,
    show_config,
)
from .files import load_network  # noqa: E402
from .history import History  # noqa: E402
from .layer import Layer  # noqa: E402
from .network import Network  # noqa: E402
from .optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, NaturalGradient, RMSprop, Rprop  # noqa: E402
from .trainer import Trainer  # noqa: E402

from ._checkpoints import load_trainer  # noqa: E402  isort: skip

_threadpools.register()

__all__ = [
    "LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "History", "Layer", "NaturalGradient", "Network", "RMSprop", "Rprop",
    "Trainer", "__version__", "activations", "backprop", "benchmark", "callbacks", "data", "datasets", "diagnostics",
    "estimators", "exchange", "get_include", "get_library_dir", "get_num_threads", "graph", "initializers",
    "load_network", "load_trainer", "losses", "metrics", "optimizers", "plots", "schedules", "set_num_threads",
    "show_config",
]

# Imported on first use: a third of the import time.
_LATER = ("data", "datasets", "diagnostics", "estimators", "exchange", "graph", "plots")


def __getattr__(name: str) -> Any:
    if name in _LATER:
        import importlib

        return importlib.import_module(f"mlpfast.{name}")
    from ._nearest import did_you_mean

    others = {"load": ["load_network", "load_trainer"], "sequential": ["Network"], "mlp": ["Network"]}
    raise AttributeError(f"module 'mlpfast' has no attribute {name!r}{did_you_mean(name, __all__, others)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
