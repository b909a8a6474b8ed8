"""Every public name has a docstring with an example that runs. It names the arguments, the shapes of arrays, the errors
and the source of a formula. Public is what is in the __all__ of mlpfast and of its public modules, and of the classes
there what begins with no underscore.
"""

import doctest
import inspect
import re
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import mlpfast

# The libraries that examples need, by the beginnings of names.
NEEDED = {
    "mlpfast.LBFGS": "scipy",
    "mlpfast.History.plot": "matplotlib",
    "mlpfast.plots": "matplotlib",
    "mlpfast.data.ParquetSource": "pyarrow",
    "mlpfast.data.DatasetSource": "pyarrow",
    "mlpfast.data.libsvm": "sklearn",
    "mlpfast.data.arff": "scipy",
    "mlpfast.estimators.MLPClassifier.plot": "matplotlib",
    "mlpfast.estimators.MLPClassifier.to_onnx": "onnx",
    "mlpfast.exchange.convert": "onnx",
    "mlpfast.exchange.from_keras": "keras",
    "mlpfast.exchange.from_onnx": "onnx",
    "mlpfast.exchange.to_onnx": "onnx",
    "mlpfast.exchange.from_sklearn": "sklearn",
    "mlpfast.exchange.to_sklearn": "sklearn",
    "mlpfast.exchange.from_torch": "torch",
    "mlpfast.exchange.to_torch": "torch",
}

# Members that mlpfast calls, with arguments that the docstring of the module describes: they need no example.
CALLED_BY_MLPFAST = {
    # what objects have seen of a training, for files
    "state", "resume", "check_state",
    # callbacks
    "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_fit_end", "every_batches", "check",
    # schedules
    "at", "momentum_at", "observe", "monitored", "per",
    # sources
    "read", "blocks", "where", "in_place", "n_features",
    # activations, losses and optimizers, for networks, Trainers and files
    "arguments", "traits", "y_columns", "parts_of", "measured", "takes_z", "through_output", "values", "derivatives",
    "rows", "deltas", "columns", "settings", "checked", "checked_momentum", "checked_rate", "usual_rate",
    "usual_epochs",
    # what there is only for its message
    "Network.fit", "Network.evaluate", "Trainer.predict", "Trainer.score",
}

# Classes without the source of a formula: it is the caller's, or that of the parts.
NO_SOURCE = {"Activation", "Custom", "Loss", "Optimizer", "PerOutput"}


class Name(NamedTuple):
    """A public name. owner: the class that it is a member of, or None."""

    name: str
    object: Any
    owner: Any

    @property
    def last(self):
        return self.name.rpartition(".")[2]

    @property
    def is_class(self):
        return inspect.isclass(self.object)

    @property
    def function(self):
        """Whose arguments are those of the name; None for a property."""
        if isinstance(self.object, property):
            return None
        return getattr(self.object, "fn", getattr(self.object, "__func__", self.object))  # available_if, staticmethod

    @property
    def arguments(self):
        """Without self, and without *args and **kwargs."""
        try:
            parameters = [] if self.function is None else inspect.signature(self.function).parameters.values()
        except ValueError:  # of a class that takes the constructor of a dict or an exception
            return []
        some = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return [each.name for each in parameters if each.kind not in some and each.name != "self"]

    @property
    def docstring(self):
        """Its own, or that of the class which a method or property takes the place of."""
        if self.owner is None:
            return inspect.getdoc(self.object) or ""
        each = [vars(kind)[self.last] for kind in self.owner.__mro__ if self.last in vars(kind)]
        return next((inspect.cleandoc(one.__doc__) for one in each if one.__doc__), "")

    @property
    def prose(self):
        return re.sub(r"^ *(>>>|\.\.\.) .*$", "", self.docstring, flags=re.M)

    @property
    def is_called_by_mlpfast(self):
        return self.owner is not None and not {self.last, f"{self.owner.__name__}.{self.last}"}.isdisjoint(
            CALLED_BY_MLPFAST
        )


def modules():
    """{name: module, or the error that importing it raises}"""
    found: dict[str, Any] = {"mlpfast": mlpfast}
    for name in mlpfast.__all__:
        try:
            part = getattr(mlpfast, name)
        except ImportError as error:  # of a library that it needs
            part = error
        if isinstance(part, (ModuleType, ImportError)):
            found[f"mlpfast.{name}"] = part
    return found


def members(name, kind):
    """Of a class, without those of other libraries and fields of a NamedTuple, which are its arguments."""
    for last in dir(kind):
        owner = next((base for base in kind.__mro__ if last in vars(base)), None)
        if last.startswith("_") or owner is None or owner.__module__.split(".")[0] != "mlpfast":
            continue
        one = vars(owner)[last]
        if isinstance(one, (property, staticmethod)) or inspect.isfunction(one) or hasattr(one, "__wrapped__"):
            yield Name(f"{name}.{last}", one, kind)


def public_names():
    """Each object once, under the first of its names."""
    names, seen = [], set()
    for module_name, module in MODULES.items():
        for last in () if isinstance(module, ImportError) else module.__all__:
            one = getattr(module, last)
            if isinstance(one, (ModuleType, str)) or id(one) in seen:
                continue
            seen.add(id(one))
            name = Name(f"{module_name}.{last}", one, None)
            names.append(name)
            for member in members(name.name, one) if name.is_class else ():
                if id(member.object) not in seen:
                    seen.add(id(member.object))
                    names.append(member)
    return names


MODULES = modules()
NAMES = public_names()
BY_NAME = {each.name: each for each in NAMES}


def without(names, has):
    return [each.name for each in names if not has(each)]


def test_there_are_names():
    assert {"mlpfast.Network.predict", "mlpfast.graph.add", "mlpfast.losses.Huber"} <= set(BY_NAME)
    assert all(hasattr(module, "__all__") for module in MODULES.values() if isinstance(module, ModuleType))


def test_every_name_has_a_docstring():
    assert without(NAMES, lambda each: each.docstring) == []


def test_every_name_has_an_example():
    """A member may be in one of its class."""

    def has(each):
        if ">>>" in each.docstring or each.is_called_by_mlpfast:
            return True
        if each.owner is None:
            return False
        of_class = [other for other in NAMES if other.owner is each.owner or other.object is each.owner]
        called = re.compile(rf"^ *(>>>|\.\.\.) .*\.{each.last}\b", re.M)
        return any(called.search(other.docstring) for other in of_class)

    assert without(NAMES, has) == []


def test_every_argument_is_named():
    """Of what mlpfast calls, in the docstring of the module."""
    missing = {
        each.name: [name for name in each.arguments if not re.search(rf"\b{name}\b", each.prose)]
        for each in NAMES if not each.is_called_by_mlpfast
    }
    assert {name: arguments for name, arguments in missing.items() if arguments} == {}


def test_errors_are_named():
    names = [each for each in NAMES if each.arguments and not each.is_called_by_mlpfast]
    assert without(names, lambda each: re.search(r"Error\b|\b[Ee]rrors\b", each.prose)) == []


def test_shapes_are_named():
    names = [each for each in NAMES if not each.is_called_by_mlpfast and {"X", "yhat"} & {*each.arguments}]
    assert without(names, lambda each: re.search(r"\((n|B|rows)\b|\b[Ss]hapes?\b", each.prose)) == []


def test_formulas_have_a_source():
    of_formulas = {"mlpfast.activations", "mlpfast.losses", "mlpfast.optimizers"}
    names = [each for each in NAMES if each.is_class and each.object.__module__ in of_formulas]
    assert without(names, lambda each: each.last in NO_SOURCE or re.search(r"\b1[789]\d\d|\b20\d\d", each.prose)) == []


@pytest.mark.parametrize("name", [*MODULES, *(each.name for each in NAMES if ">>>" in each.docstring)])
def test_example(name, tmp_path, monkeypatch):
    if isinstance(MODULES.get(name), ImportError):
        pytest.skip(str(MODULES[name]))
    docstring = MODULES[name].__doc__ if name in MODULES else BY_NAME[name].docstring
    example = doctest.DocTestParser().get_doctest(docstring, {"__name__": "__main__"}, name, None, None)
    for start, library in NEEDED.items():
        if f"{name}.".startswith(f"{start}."):
            pytest.importorskip(library, reason=f"needs {library}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    failed = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(example, out=failed.append)
    assert "".join(failed) == ""
