"""The programs that are compared, a file per library. All receive a Problem and do the same steps.

A training contender has
    name              its name in the tables
    library           "JAX" for all its forms, for targets that name one; otherwise None
    ready(order)      untimed: converts the epoch's order (int64 (n,), or None: each step uses all examples in place) to
                      its own form, sets its threads
    epoch()           timed: trains on all minibatches of that order; returns the mean loss, each before its
                      update; all work is finished when it returns
    weights()         [(W, b), ...] as NumPy arrays, like Problem.parameters
A serving contender is a name and a function without arguments that predicts problem.X with the initial weights.
"""

import importlib

# Left out by --quick: they take long to compile, or are similar to another contender.
SLOW = ["TorchFused", "TorchFusedOneThread", "TorchCompiled", "TorchCompiledOneThread"]
TRAINING = {  # module of benchmarks.contenders -> the classes in it
    "ours": ["Mlpfast"],
    "with_numpy": ["Numpy"],
    "with_torch": ["Torch", "TorchOneThread", *SLOW],
    "with_jax": ["JaxStep", "JaxEpoch"],
    "with_sklearn": ["Sklearn"],
}
SERVING = ["ours", "with_numpy", "with_torch", "with_jax", "with_sklearn", "with_onnx"]


class Unsuitable(Exception):
    """A contender does not support this case; the message says why."""


def _modules(names, notes):
    for name in names:
        try:
            yield name, importlib.import_module(f"{__name__}.{name}")
        except ImportError as error:
            note(notes, f"left out: {error}")


def note(notes, text):
    """Said once."""
    if text not in notes:
        notes.append(text)


def makers(settings, notes):
    """Functions that create a training contender from a Problem, for installed libraries; notes lists the others."""
    names = ["ours"] if settings.only_mlpfast else TRAINING
    classes = [getattr(module, c) for name, module in _modules(names, notes) for c in TRAINING[name]]
    if settings.quick and not settings.only_mlpfast:
        note(notes, "--quick: short epochs, few rounds; left out are torch.compile and PyTorch's fused optimizers")
    return [c for c in classes if not (settings.quick and c.__name__ in SLOW)]


def servers(problem, notes, *, only_mlpfast=False):
    """{name: function without arguments that predicts problem.X} for what is installed."""
    functions = {}
    for _, module in _modules(["ours"] if only_mlpfast else SERVING, notes):
        functions.update(module.servers(problem))
    return functions
