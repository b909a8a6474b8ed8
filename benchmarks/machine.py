"""The machine and the versions of a measurement."""

import datetime
import platform
from importlib import metadata
from pathlib import Path

import mlpfast

from .settings import cores

PACKAGES = ["numpy", "torch", "jax", "jaxlib", "scikit-learn", "onnxruntime"]


def cpu_model():
    """The processor's name in /proc/cpuinfo, with family and model, which identify its generation."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    info = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = info.get("model name") or info.get("Processor") or platform.machine()
    return f"{name}, family {info['cpu family']} model {info['model']}" if "cpu family" in info else name


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def blas():
    """The library behind NumPy's products and its threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown (threadpoolctl is not installed)"
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return "; ".join(f"{p['internal_api']} {p['version']}, {p['num_threads']} threads" for p in pools) or "unknown"


def describe():
    """{what: value}, in the order it is shown."""
    config = mlpfast.show_config(mode="dicts")
    return {
        "date": datetime.date.today().isoformat(),
        "CPU": cpu_model(),
        "cores": cores(),
        "peak of fused multiply-adds, GFLOP/s": ", ".join(
            f"{mlpfast.benchmark.peak_gflops(threads, dtype):.0f} ({dtype}, {threads} thread{'s'[: threads > 1]})"
            for dtype in ("float32", "float64")
            for threads in sorted({1, cores()})
        ),
        "mlpfast": f"{config['version']}, {config['isa']}, {config['compiler']}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "NumPy's BLAS": blas(),
    }
