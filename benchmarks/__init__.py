"""Measures mlpfast: `pytest benchmarks` against NumPy, `python -m benchmarks.peers` against whatever is installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# `python -m benchmarks.peers` puts the project's root first on sys.path, and `import mlpfast` would find the source
# folder, where the C core is not built. At the end of sys.path the root still gives `benchmarks`, but the installed
# mlpfast comes first. (pytest's importlib mode leaves the root off sys.path, and so does this.)
elsewhere = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
if len(elsewhere) < len(sys.path):
    sys.path[:] = [*elsewhere, str(ROOT)]
