"""Builds mlpfast._core: the Cython binding and the C core in csrc/, in one extension module.

Environment: CC and CFLAGS as usual; MLPFAST_OPENMP=0 builds without threads; MLPFAST_WERROR=1 makes
warnings in csrc/ errors; MLPFAST_POISON=1, for tests, fills memory that has not been written to with NaN.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError

# -ffp-contract=off: fused multiply-adds are written out, the compiler may neither add nor remove any.
# -g0: Python's own flags usually contain -g, and debug information is larger than the code.
FLAGS = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]

CORE_SOURCES = sorted(glob("csrc/*.c") + glob("csrc/isa/*.c"))

C11_PROGRAM = "#include <math.h>\n_Static_assert(sizeof(float) == 4, \"\");\nint main(void) { return 0; }\n"
OPENMP_PROGRAM = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class BuildCore(build_ext):
    """Compiles csrc/ in parallel with flags of its own; the generated C of the binding never sees -Werror."""

    def initialize_options(self):
        super().initialize_options()
        self.cython_c_in_temp = True  # keeps the generated _core.c out of the source folder

    def finalize_options(self):
        super().finalize_options()
        self.force = True  # a changed environment variable changes the flags but no file's time

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            raise SystemExit("mlpfast cannot be built with MSVC: it needs GCC or clang.")
        if not self.can_link(C11_PROGRAM, FLAGS):
            command = self.compiler.compiler[0]
            raise SystemExit(f"mlpfast needs a C11 compiler (GCC or clang), but `{command}` does not work.")
        openmp = self.openmp_flags()
        flags = FLAGS + openmp
        if os.environ.get("MLPFAST_WERROR", "0") == "1":
            flags = flags + WARNINGS
        if os.environ.get("MLPFAST_POISON", "0") == "1":
            flags = flags + ["-DMLP_POISON"]
        ext.extra_link_args = openmp + ["-lm"]
        ext.extra_objects = self.compile_core(flags)
        super().build_extension(ext)

    def openmp_flags(self):
        if os.environ.get("MLPFAST_OPENMP", "1") == "0":
            return []
        if self.can_link(OPENMP_PROGRAM, ["-fopenmp"]):
            return ["-fopenmp"]
        command = self.compiler.compiler[0]
        print(f"mlpfast is built without threads: `{command}` has no working -fopenmp.", flush=True)
        return []

    def compile_core(self, flags):
        """Compile every file of csrc/ and return the object files."""
        def compile_one(source):
            return self.compiler.compile(
                [source], output_dir=self.build_temp, include_dirs=["csrc"], extra_postargs=flags
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [path for objects in pool.map(compile_one, CORE_SOURCES) for path in objects]

    def can_link(self, program, flags):
        """Whether the compiler turns `program` into an executable; what it says about it stays hidden."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            stderr = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            try:
                # output_dir "/": distutils appends the source's absolute path to it
                objects = self.compiler.compile([str(source)], output_dir="/", extra_postargs=flags)
                self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=flags)
            except (CCompilerError, ExecError, OSError):
                return False
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
                os.close(null)
        return True


setup(
    ext_modules=[
        Extension(
            "mlpfast._core",
            ["mlpfast/_core.pyx"],
            depends=CORE_SOURCES + glob("csrc/**/*.h", recursive=True),
            include_dirs=["csrc", numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            extra_compile_args=FLAGS,
        )
    ],
    cmdclass={"build_ext": BuildCore},
)
