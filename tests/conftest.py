import gc
import importlib.util
import os
from pathlib import Path

# Set before mlpfast is imported, so that tests get the number of threads they ask for, also on two processors.
os.environ.setdefault("MLPFAST_OVERSUBSCRIBE", "1")
if importlib.util.find_spec("torch") and not importlib.util.find_spec("tensorflow"):
    os.environ.setdefault("KERAS_BACKEND", "torch")

import hypothesis
import pytest

# The same hypothesis examples on every run and machine, without deadlines.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("fixed")


@pytest.fixture
def signals_come_through():
    """Hypothesis has a function in gc.callbacks: what a signal's handler raises while it runs, Python drops, and the
    test waits for ever."""
    functions = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = functions


@pytest.fixture(scope="session")
def mnist_folder():
    """The folder with the four IDX files of MNIST: $MLPFAST_MNIST, else <checkout>/../shared/data/mnist."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
    folder = Path(os.environ.get("MLPFAST_MNIST") or default)
    if not folder.is_dir():
        pytest.skip(f"MNIST is not in {folder}; set MLPFAST_MNIST to its folder")
    return folder
