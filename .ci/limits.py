"""Size of the wheel that is given, and time to import mlpfast after NumPy."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PROGRAM = """
import numpy, time
start = time.perf_counter()
import mlpfast
print((time.perf_counter() - start) * 1e3)
"""

size = pathlib.Path(sys.argv[1]).stat().st_size / 1e6
print(f"wheel: {size:.2f} MB, limit 3 MB")
# The first run writes the bytecode. Without it, as with PYTHONDONTWRITEBYTECODE, each would compile the source again,
# which takes several times as long as the import itself.
environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
with tempfile.TemporaryDirectory() as bytecode:
    command = [sys.executable, "-X", f"pycache_prefix={bytecode}", "-c", PROGRAM]
    times = [float(subprocess.check_output(command, env=environment)) for _ in range(12)][1:]
median, best = statistics.median(times), min(times)
print(f"import mlpfast after numpy: median {median:.1f} ms, best {best:.1f} ms, limit 30 ms")
sys.exit(size >= 3 or best > 30)
