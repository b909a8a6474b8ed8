"""The programs that are compared, a file for each library. All get a Problem and do the same steps.

A training contender has
    name              as the tables show it
    library           "JAX" for all its forms, for targets that name one; None where none does
    ready(order)      untimed: brings the epoch's order (int64 (n,), or None: each step takes all examples as they
                      stand) into its own form, sets its threads
    epoch()           timed: trains on all minibatches of that order -> mean loss, each before its update; all work is
                      done when it returns
    weights()         [(W, b), ...] as NumPy arrays, as Problem.parameters has them
A serving contender is a name and a function without arguments that predicts problem.X with the first weights.
"""

import importlib

# Left out by --quick: they take long to compile, or double what another contender shows.
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
    """This contender cannot do this work; the message says why."""


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
    """Functions of a Problem that make a training contender, for what is installed; what is not goes to notes."""
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
