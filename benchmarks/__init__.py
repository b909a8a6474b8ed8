"""Measures mlpfast: `pytest benchmarks` against NumPy, `python -m benchmarks.peers` against whatever is installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# `python -m benchmarks.peers` puts the project's root first on sys.path, and `import mlpfast` would find the source
# folder, where the C core is not built. At the end of sys.path it still gives `benchmarks`, but the installed mlpfast
# comes first.
sys.path[:] = [*(entry for entry in sys.path if Path(entry).resolve() != ROOT), str(ROOT)]
