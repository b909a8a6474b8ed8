"""Size of the wheel that is given, and time to import mlpfast after NumPy."""

import pathlib
import statistics
import subprocess
import sys

PROGRAM = """
import numpy, time
start = time.perf_counter()
import mlpfast
print((time.perf_counter() - start) * 1e3)
"""

size = pathlib.Path(sys.argv[1]).stat().st_size / 1e6
print(f"wheel: {size:.2f} MB, limit 3 MB")
times = [float(subprocess.check_output([sys.executable, "-c", PROGRAM])) for _ in range(11)]
median, best = statistics.median(times), min(times)
print(f"import mlpfast after numpy: median {median:.1f} ms, best {best:.1f} ms, limit 30 ms")
sys.exit(size >= 3 or best > 30)
