"""Compiles kernels.pyx, which is not part of the package, against the mlpfast that is installed."""

import importlib.util
import pathlib
from functools import cache

import numpy

ROOT = pathlib.Path(__file__).resolve().parent.parent


@cache
def kernels():
    """The module, compiled again only where a source is newer; ImportError without Cython and setuptools."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    source = str(pathlib.Path(__file__).with_name("kernels.pyx"))
    module = Extension("benchmarks.kernels", [source], include_dirs=[str(ROOT / "csrc"), numpy.get_include()])
    folder = ROOT / "build" / "benchmarks"
    modules = cythonize([module], build_dir=str(folder), include_path=[str(ROOT)], quiet=True)
    build = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(folder), str(folder)
    build.ensure_finalized()
    build.run()
    spec = importlib.util.spec_from_file_location("benchmarks.kernels", build.get_outputs()[0])
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
