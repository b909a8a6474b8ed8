"""Builds scores.pyx against the library that mlpfast carries."""

import re
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import mlpfast

libs = subprocess.run([sys.executable, "-m", "mlpfast", "config", "--libs"], capture_output=True, text=True, check=True)
source = Path(__file__).with_name("scores.pyx")
module = Extension("scores", [str(source)], include_dirs=[mlpfast.get_include()],
                   extra_link_args=re.split(r"\s+", libs.stdout.strip()))
# The folder of the package mlpfast, whose mlpfast.pxd is cimported: an editable install is not on sys.path.
packages = str(Path(mlpfast.__file__).parents[1])
setup(name="scores", ext_modules=cythonize([module], include_path=[packages]))
