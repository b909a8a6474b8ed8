"""Builds the binding, a module for each mlpfast/*.pyx. The C core in csrc/ is linked into mlpfast._core alone.

Environment: CC and CFLAGS as usual. MLPFAST_OPENMP=0 builds without threads, and with MLPFAST_THREADS=1 besides with
threads of the system, as a compiler without OpenMP does. MLPFAST_LIMITED_API=1 makes one wheel for CPython 3.11 and all
later versions, whose short calls are slower (CONTRIBUTING.md). MLPFAST_WERROR=1 makes warnings in csrc/ errors;
MLPFAST_POISON=1, for tests, fills memory that has not been written to with NaN. On Windows: MinGW's GCC, or
CC=clang-cl.

Objects stay in build/objects, and only those are compiled again whose command has changed, or a file they were made of.
"""

import glob
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CCompilerError, ExecError

CORE = dict(re.findall(r"^(\w+) = (.*)$", Path("csrc/core.mk").read_text(), re.M))
# Python's own flags usually contain -g, whose output is larger than the code.
CORE_FLAGS = [*CORE["CORE_FLAGS"].split(), "-g0"]
# -O1: at -O3 Cython's C takes three times as long to compile, and no call gets faster.
BINDING_FLAGS = ["-std=c11", "-O1", "-fvisibility=hidden", "-g0", "-DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION"]
# CPython's stable ABI, that of 3.11, which is the first to have the buffer protocol.
LIMITED = os.environ.get("MLPFAST_LIMITED_API", "0") == "1"
if LIMITED:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise SystemExit("MLPFAST_LIMITED_API=1 needs a CPython with the GIL: without, it has no stable ABI.")
    BINDING_FLAGS += ["-DPy_LIMITED_API=0x030B0000", "-DCYTHON_LIMITED_API=1"]
OPENMP, PTHREADS = CORE["OPENMP"].split(), CORE["PTHREADS"].split()
MATHS = ["-lm"]
if os.name == "nt":  # both are in the libraries that every program has
    PTHREADS.remove("-pthread")
    MATHS = []
CORE_SOURCES = sorted(str(path) for pattern in CORE["CORE_SOURCES"].split() for path in Path("csrc").glob(pattern))

VERSION = ".".join(re.findall(r"^#define MLP_VERSION_\w+ (\d+)$", Path("csrc/mlpfast.h").read_text(), re.M))
LIBRARY_FOLDERS = "mlpfast/include", "mlpfast/lib"

C11_PROGRAM = "#include <math.h>\n_Static_assert(sizeof(float) == 4, \"\");\nint main(void) { return 0; }\n"
KERNELS_PROGRAM = """
#if !defined(__x86_64__) && !defined(__aarch64__)
#error "plain C alone"
#endif
int main(void) { return 0; }
"""
OPENMP_PROGRAM = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class BuildModules(build_ext):
    """Compiles csrc/ and what Cython makes of the binding, all files in parallel. Only csrc/ may see -Werror."""

    def run(self):
        super().run()
        for folder in LIBRARY_FOLDERS if self.inplace else ():  # as setuptools copies the modules
            shutil.copytree(Path(self.build_lib, folder), folder, dirs_exist_ok=True)

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            self.use_clang_cl()
        if not self.can_link(C11_PROGRAM, CORE_FLAGS):
            raise SystemExit(f"mlpfast needs a C11 compiler (GCC or clang), but `{self.command_name()}` does not work.")
        threads = self.thread_flags()
        core_flags = CORE_FLAGS + threads
        if os.environ.get("MLPFAST_WERROR", "0") == "1":
            core_flags = core_flags + CORE["CORE_WARNINGS"].split()
        if os.environ.get("MLPFAST_POISON", "0") == "1":
            core_flags = core_flags + ["-DMLP_POISON"]
        folder = f"build/objects/{sysconfig.get_config_var('SOABI')}{'-limited' * LIMITED}"
        modules = cythonize(self.extensions, build_dir=folder)
        jobs = {source: (core_flags, ["csrc"]) for source in CORE_SOURCES}
        jobs |= {source: (BINDING_FLAGS, made.include_dirs) for made in modules for source in made.sources}
        version = subprocess.run([*self.command(), "--version"], capture_output=True, text=True).stdout
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = pool.map(lambda source: self.compiled(source, *jobs[source], folder, version), jobs)
        objects = dict(zip(jobs, made, strict=True))
        for module in modules:
            sources = [*module.sources, *(CORE_SOURCES if module.name == "mlpfast._core" else [])]
            self.compiler.link_shared_object(
                [objects[source] for source in sources],
                self.get_ext_fullpath(module.name),
                libraries=self.get_libraries(module),
                extra_postargs=[] if self.is_clang_cl() else [*threads, *MATHS],
            )

        self.install_library(Path(self.build_lib, "mlpfast"), [objects[source] for source in CORE_SOURCES], threads)
        self.warn(threads)

    def use_clang_cl(self):
        """In place of cl, with Visual Studio's headers and linker."""
        command = shutil.which(os.environ.get("CC", "")) or ""
        if "clang-cl" not in os.path.basename(command).lower():
            raise SystemExit("mlpfast cannot be built with MSVC's compiler: set CC=clang-cl, which Visual Studio and "
                             "LLVM bring, or take MinGW's GCC: `compiler = mingw32` under `[build_ext]` in setup.cfg.")
        self.compiler.initialize()
        self.compiler.cc = command
        self.compiler.compile_options.remove("/GL")  # for cl's linker

    def is_clang_cl(self):
        return self.compiler.compiler_type == "msvc"

    def flags(self, flags):
        """Flags of GCC and clang as the compiler understands them."""
        return [f"/clang:{flag}" for flag in flags] if self.is_clang_cl() else flags

    def command(self):
        """How the compiler is called: of `zig cc` the first word would not be one."""
        return [self.compiler.cc] if self.is_clang_cl() else self.compiler.compiler_so

    def command_name(self):
        return " ".join(itertools.takewhile(lambda word: not word.startswith("-"), self.command()))

    def install_library(self, package, objects, threads):
        """The core for C programs: header, static library, and how to link it, as CMakeLists.txt installs them."""
        library = os.path.basename(self.compiler.library_filename("mlpfast"))
        system = [*MATHS, *(flag for flag in threads if not flag.startswith("-D")), *(["-pthread"] if MATHS else [])]
        if threads and MATHS and sys.platform != "darwin":
            system += CORE["STAYS"].split()
        values = {"VERSION": VERSION, "INCLUDE": "include", "LIB": "lib", "LIBRARY": library,
                  "UP": "../../..", "UP_FROM_PC": "../..", "LINKS": " ".join(system)}
        folders = {"mlpfast.pc": "lib/pkgconfig", "mlpfast-config.cmake": "lib/cmake/mlpfast",
                   "mlpfast-config-version.cmake": "lib/cmake/mlpfast"}
        for name, folder in folders.items():
            text = re.sub(r"@(\w+)@", lambda match: values[match[1]], Path(f"csrc/install/{name}.in").read_text())
            package.joinpath(folder).mkdir(parents=True, exist_ok=True)
            package.joinpath(folder, name).write_text(text)
        package.joinpath("include/mlpfast").mkdir(parents=True, exist_ok=True)
        for header in ("mlpfast.h", "vocabulary.h"):
            shutil.copyfile(f"csrc/{header}", package.joinpath("include/mlpfast", header))
        package.joinpath("lib", library).unlink(missing_ok=True)
        self.compiler.create_static_lib(objects, "mlpfast", output_dir=str(package / "lib"))

    def warn(self, threads):
        """About what makes it slow."""
        if not threads:
            print("mlpfast is built without threads.", flush=True)
        if not self.can_link(KERNELS_PROGRAM, []):
            print("mlpfast is built with kernels in plain C alone, which are several times slower: there are others "
                  "for x86-64 and AArch64.", flush=True)

    def compiled(self, source, flags, include_dirs, folder, version):
        """The object file of a C file."""
        (made,) = self.compiler.object_filenames([source], output_dir=folder)
        needs, command = made + ".d", Path(made + ".json")
        wanted = json.dumps([self.command(), flags, include_dirs, version])
        if not is_fresh(made, needs, command, wanted):
            command.unlink(missing_ok=True)
            self.compiler.compile(
                [source], folder, include_dirs=include_dirs, extra_postargs=self.flags([*flags, "-MMD", "-MF", needs])
            )
            command.write_text(wanted)
        return made

    def thread_flags(self):
        if os.environ.get("MLPFAST_OPENMP", "1") == "0":
            return PTHREADS if os.environ.get("MLPFAST_THREADS", "0") == "1" else []
        if self.can_link(OPENMP_PROGRAM, OPENMP):
            return OPENMP
        print(f"mlpfast is built with threads of the system: `{self.command_name()}` has no working -fopenmp.",
              flush=True)
        return PTHREADS

    def can_link(self, program, flags):
        """Whether the compiler turns `program` into an executable; what it says about it stays hidden."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            stderr = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=self.flags(flags))
                self.compiler.link_executable(objects, "probe", output_dir=folder,
                                              extra_postargs=[] if self.is_clang_cl() else flags)
            except (CCompilerError, ExecError, OSError):
                return False
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
                os.close(null)
        return True


def is_fresh(made, needs, command, wanted):
    """Whether an object was made by this command, later than each file that the compiler says it is made of."""
    if not (os.path.exists(made) and os.path.exists(needs) and command.exists() and command.read_text() == wanted):
        return False
    files = Path(needs).read_text().replace("\\\n", " ").split(": ", 1)[1].split()
    return all(os.path.exists(file) and os.path.getmtime(file) < os.path.getmtime(made) for file in files)


class BuildPython(build_py):
    """Also copies the C source that mlpfast/_c_functions.py reads into the package."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for file in ("simd/generic.h", *(f"kernels/{name}.inc.h" for name in ("math", "columns", "activation"))):
            to = Path(self.build_lib, "mlpfast", "csrc", file)
            self.mkpath(str(to.parent))
            self.copy_file(str(Path("csrc", file)), str(to))


def readme():
    """README.md for readers elsewhere, where its links to other files lead nowhere: they become plain names."""
    text = Path("README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[[^]]*\]\((?!https?:)[^)]*\)\n+", "", text, flags=re.M)
    text = re.sub(r"\[([^]]+)\]\((?!https?:|#)[^)]*\)", r"`\1`", text)
    title, rest = text.split("\n", 1)
    return f"{title}\n\nThe files that this page names are in the source distribution.\n{rest}"


INCLUDE = ["csrc", numpy.get_include(), sysconfig.get_path("include")]

setup(
    version=VERSION,
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=[
        Extension(f"mlpfast.{Path(source).stem}", [source], include_dirs=INCLUDE, py_limited_api=LIMITED)
        for source in sorted(glob.glob("mlpfast/*.pyx"))
    ],
    cmdclass={"build_ext": BuildModules, "build_py": BuildPython},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
