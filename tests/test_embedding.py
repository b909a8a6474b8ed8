"""The library for C, C++ and Cython that the package carries: the examples of examples/c, cpp, cython and cmake are
built against it and run. The library itself is tested in tests/c."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import FOLDER

import mlpfast
from mlpfast import Network, _core

SOURCE = Path(__file__).parents[1]
EXAMPLES = SOURCE / "examples"
STRICT = ["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


def needs(program):
    return shutil.which(program) or pytest.skip(f"needs {program}")


def output(*command, **options):
    options.setdefault("cwd", FOLDER)
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def config(*flags):
    return output(sys.executable, "-m", "mlpfast", "config", *flags).split()


def built(compiler, source, to, *flags):
    output(needs(compiler), source, *flags, *STRICT, *config("--cflags", "--libs"), "-o", to)
    return to


@pytest.fixture
def saved(tmp_path):
    """A network of 3 inputs, and its file."""
    net = Network([3, 4, 2], output="softmax", seed=0)
    net.save(tmp_path / "net.safetensors")
    return net, tmp_path / "net.safetensors"


def check_prediction(program, saved):
    net, path = saved
    x = [0.5, 1.0, -0.25]
    given = [float(line) for line in output(program, path, *x).split()]
    assert np.array(given, np.float32).tobytes() == net.predict([x]).tobytes()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_c_program_has_the_bits_of_python(tmp_path, saved, compiler):
    program = built(compiler, EXAMPLES / "c/predict.c", tmp_path / "predict", "-std=c99")
    check_prediction(program, saved)
    done = subprocess.run([program, Path(__file__), "1"], capture_output=True, text=True)
    assert done.returncode == 1 and "is no safetensors file" in done.stderr


def test_python_reads_what_c_has_trained(tmp_path):
    program = built("gcc", EXAMPLES / "c/train_xor.c", tmp_path / "train_xor", "-std=c99")
    assert "1 xor 1: 0.0" in output(program, tmp_path / "xor.safetensors")
    yhat = mlpfast.load_network(tmp_path / "xor.safetensors").predict([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert (yhat.ravel().round() == [0, 1, 1, 0]).all()


def test_a_callback_in_cpp(tmp_path):
    program = built("g++", EXAMPLES / "cpp/callback.cpp", tmp_path / "callback", "-std=c++11")
    Network([32, 16, 16, 1], activation="tanh", seed=0).save(tmp_path / "net")
    assert re.search(r"p99\.9 [0-9.]+ us", output(program, tmp_path / "net"))


def test_declarations_for_cython_name_all_that_the_library_has():
    declared = Path(mlpfast.__file__).with_name("mlpfast.pxd").read_text()
    interface = (SOURCE / "tests/c/abi.txt").read_text()
    functions = set(re.findall(r"^mlp_\w+$", interface, re.M))
    assert {name for name in re.findall(r"\b(mlp_\w+)\(", declared) if not name.endswith("_init")} == functions
    numbers = set(re.findall(r"^(MLP_\w+) \d+$", interface, re.M))
    grow = {"MLP_VERSION", "MLP_ORDER_VERSION", "MLP_ACTIVATIONS", "MLP_LOSSES", "MLP_OPTIMIZERS"}
    assert set(re.findall(r"\bMLP_\w+", declared)) == numbers | grow


def test_a_cython_module(tmp_path, saved):
    pytest.importorskip("Cython", reason="needs Cython")
    pytest.importorskip("setuptools", reason="needs setuptools")
    shutil.copytree(EXAMPLES / "cython", tmp_path / "cython")
    output(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tmp_path / "cython")
    program = """
        import sys, numpy as np, scores
        X = np.array([[0.5, 1, -0.25], [1, 2, 3]], np.float32)
        out = np.empty((2, 2), np.float32)
        scores.Model(open(sys.argv[1], "rb").read()).predict(X, out)
        print(out.tobytes().hex())
    """
    net, path = saved
    program = "\n".join(line[8:] for line in program.splitlines())
    done = output(sys.executable, "-c", program, path, cwd=tmp_path / "cython")
    assert done.strip() == net.predict([[0.5, 1, -0.25], [1, 2, 3]]).tobytes().hex()


@pytest.mark.parametrize("way", ["installed", "subdirectory"])
def test_cmake(tmp_path, saved, way):
    flags = [f"-Dmlpfast_DIR={config('--cmakedir')[0]}"]
    if way == "subdirectory":
        flags = [f"-DMLPFAST_SOURCE={SOURCE}", "-DMLP_ISAS=generic", "-DMLP_FLOAT64=OFF"]
    build = tmp_path / "build"
    output(needs("cmake"), "-S", EXAMPLES / "cmake", "-B", build, "-DCMAKE_C_COMPILER=gcc", *flags)
    output("cmake", "--build", build, "-j2")
    check_prediction(build / "predict", saved)


@pytest.mark.parametrize(
    "threads, definition, linked",
    [("OPENMP", "-fopenmp", ["-fopenmp", "-Wl,-z,nodelete"]), ("PTHREADS", "-DMLP_PTHREADS", ["-Wl,-z,nodelete"]),
     ("NONE", "", [])],
)
def test_cmake_takes_each_kind_of_threads(tmp_path, threads, definition, linked):
    if sys.platform != "linux":
        linked = [flag for flag in linked if "nodelete" not in flag]
    output(needs("cmake"), "-S", SOURCE, "-B", tmp_path, "-G", "Unix Makefiles", "-DCMAKE_C_COMPILER=gcc",
           f"-DMLP_THREADS={threads}")
    flags = tmp_path.joinpath("CMakeFiles/mlpfast.dir/flags.make").read_text()
    assert definition in flags and ("OPENMP" == threads or "-fopenmp" not in flags)
    libs = re.search("^Libs: (.*)$", tmp_path.joinpath("mlpfast.pc").read_text(), re.M)[1].split()
    assert [flag for flag in libs if flag in ("-fopenmp", "-Wl,-z,nodelete")] == linked


def test_pkg_config(tmp_path, saved):
    flags = output(needs("pkg-config"), "--cflags", "--libs", "mlpfast",
                   env={**os.environ, "PKG_CONFIG_PATH": f"{mlpfast.get_library_dir()}/pkgconfig"}).split()
    output(needs("gcc"), EXAMPLES / "c/predict.c", *flags, "-o", tmp_path / "predict")
    check_prediction(tmp_path / "predict", saved)
    version = output("pkg-config", "--modversion", f"{mlpfast.get_library_dir()}/pkgconfig/mlpfast.pc")
    assert version.strip() == mlpfast.__version__


def test_one_translation_unit(tmp_path, saved):
    for flag in ("-DMLP_NO_AVX2", "-UMLP_NO_AVX2"):
        if flag == "-UMLP_NO_AVX2" and not {"avx2", "neon"} & set(_core.isa_available()):
            pytest.skip("needs AVX2 or NEON")
        sources = EXAMPLES / "c/predict.c", SOURCE / "csrc/mlpfast_all.c"
        output(needs("gcc"), "-O1", flag, "-I", SOURCE / "csrc", *sources, "-lm", "-pthread",
               "-o", tmp_path / "predict")
        check_prediction(tmp_path / "predict", saved)


PLUGIN = """
#include "mlpfast.h"
void mlp_allow_oversubscription(int allowed);
static float x[2000 * 200], y[2000 * 3];
static char workspace[1 << 22];

__attribute__((visibility("default"))) int predict(void) {
    mlp_network *net;
    mlp_layer_spec layers[2] = {mlp_layer_spec_init(), mlp_layer_spec_init()};
    mlp_data data = mlp_data_init();
    layers[0].n_in = 200, layers[0].n_out = layers[1].n_in = 300, layers[1].n_out = 3;
    data.X = x, data.x_scale = 1, data.n = 2000;
    mlp_allow_oversubscription(1);
    if (mlp_network_create(&net, MLP_FLOAT32, layers, 2) != MLP_OK) return 1;
    if (mlp_predict_workspace(net, 2000, 3) > sizeof workspace) return 2;
    return mlp_predict(net, y, &data, workspace, 3, 0, 0);
}
"""
HOST = """
import _ctypes, ctypes, sys, time
for _ in range(2):
    plugin = ctypes.CDLL(sys.argv[1])
    print(plugin.predict())
    _ctypes.dlclose(plugin._handle)
    time.sleep(0.1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="dlclose of ELF")
def test_a_plugin_can_be_closed_while_helpers_sleep(tmp_path):
    tmp_path.joinpath("plugin.c").write_text(PLUGIN)
    output(needs("gcc"), tmp_path / "plugin.c", "-fPIC", "-shared", *config("--cflags", "--libs"),
           "-o", tmp_path / "plugin.so")
    assert output(sys.executable, "-c", HOST, tmp_path / "plugin.so").split() == ["0", "0"]


def test_where_things_are():
    include, library = Path(mlpfast.get_include()), Path(mlpfast.get_library_dir())
    assert sorted(path.name for path in include.iterdir()) == ["mlpfast.h", "vocabulary.h"]
    assert (library / "libmlpfast.a").is_file() and (library / "pkgconfig/mlpfast.pc").is_file()
    assert config("--cflags") == [f"-I{include}"]
    assert config("--libs")[:2] == [f"-L{library}", "-lmlpfast"]


def test_the_entry_point_names_the_folder_of_pkg_config():
    metadata = pytest.importorskip("importlib.metadata")
    try:
        distribution = metadata.distribution("mlpfast")
    except metadata.PackageNotFoundError:
        pytest.skip("needs mlpfast installed")
    points = [point.value for point in distribution.entry_points if point.group == "pkg_config"]
    if not points:
        pytest.skip("installed before it had an entry point")
    assert points == ["mlpfast.lib.pkgconfig"]


@pytest.mark.parametrize("isa", _core.isa_available())
def test_this_build_computes_what_it_should(isa):
    program = "from mlpfast import _core; print(_core.isa(), _core.self_check())"
    assert output(sys.executable, "-c", program, env={**os.environ, "MLPFAST_ISA": isa}).split() == [isa, "True"]


def test_info_warns_of_slow_builds():
    from mlpfast._config import slow

    assert slow({"isa_available": ["avx2", "generic"], "threading": "openmp"}) == []
    assert "plain C" in slow({"isa_available": ["generic"], "threading": "pthreads"})[0]
    assert "no threads" in slow({"isa_available": ["neon", "generic"], "threading": "none"})[0]
