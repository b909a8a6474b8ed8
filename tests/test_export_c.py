"""A network as one C file: the bits of predict where fused multiply-adds are fast, the bound elsewhere."""

import ctypes
import itertools
import os
import platform
import re
import shutil
import subprocess

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import mlpfast
from mlpfast import Layer, Network, activations
from mlpfast.activations import ELU, Custom, LeakyReLU, PerOutput, PReLU
from mlpfast.export_c import SLOPES, error_bounds

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
DTYPES = "float32", "float64"
ON_X86 = platform.machine() == "x86_64"
HAS_FMA = not ON_X86 or "avx2" in mlpfast.show_config(mode="dicts")["isa_available"]
FUSED = ["-mavx2", "-mfma"] if ON_X86 else []
SAME_BITS = [["-O1", "-DMODEL_SAME_BITS"]]
if HAS_FMA:
    SAME_BITS += [["-O0", *FUSED], ["-Os", *FUSED], ["-O3", *FUSED]]

pytestmark = pytest.mark.skipif(not COMPILERS, reason="neither gcc nor clang")
no_fma_by_default = pytest.mark.skipif(not ON_X86, reason="compilers for this machine use fused multiply-adds")


def compiled(folder, flags, compiler=None, stem="model", std="-std=gnu99"):
    """What the compiler makes of the C file: a path."""
    compiler = compiler or COMPILERS[0]
    made = folder / f"{stem}-{len(list(folder.iterdir()))}"
    command = [compiler, std, *WARNINGS, *flags, f"{stem}.c", "-o", str(made), "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[:2000]
    return made


class Library:
    """The C file as a library."""

    def __init__(self, net, *args, name="model", **kwargs):
        self.net = net
        library = ctypes.CDLL(str(compiled(*args, **kwargs)))
        self.one, self.batch = library[f"{name}_predict"], library[f"{name}_predict_batch"]

    def predict(self, X):
        y = np.empty((len(X), self.net.n_out), self.net.dtype)
        self.batch(address(X), address(y), ctypes.c_size_t(len(X)))
        return y

    def predict_each(self, X):
        y = np.empty((len(X), self.net.n_out), self.net.dtype)
        for i in range(len(X)):
            self.one(address(X[i]), address(y[i]))
        return y


def address(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def library_of(net, folder, flags, compiler=None, **options):
    net.export_c(folder / "model.c", **options)
    return Library(net, folder, ["-shared", "-fPIC", *flags], compiler)


def assert_same_bits(y, wanted):
    as_bits = f"u{y.itemsize}"
    same = (y.view(as_bits) == wanted.view(as_bits)) | (np.isnan(y) & np.isnan(wanted))
    assert same.all(), (np.argwhere(~same)[:5], y[~same][:5], wanted[~same][:5])


def randomized(net, seed=0):
    """With biases and slopes too."""
    random = np.random.default_rng(seed)
    for layer in net.layers:
        for parameter in layer.parameters[1:]:
            parameter[...] = random.normal(size=parameter.shape)
    return net


def inputs(net, n=20, seed=0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(n, net.n_in)) * scale).astype(net.dtype)


# ---- The bits ----


def every_activation(dtype):
    """A network of one input, which every output's activation takes, and softmax over three of them."""
    own = [name for name in activations.NAMES if name not in ("prelu", "softmax")]
    own += [LeakyReLU(0.3), ELU(0.7)]
    n = len(own)
    net = Network([Layer(1, n + 3, PerOutput([*enumerate(own), (slice(n, n + 3), "softmax")]))], dtype=dtype)
    net.layers[0].W = np.ones((1, n + 3))
    net.layers[0].W[0, n:] = 0.5, 1.0, -1.0
    return net


def wide_inputs(dtype):
    """(n, 1): where functions change, and where they overflow."""
    special = [0.0, -0.0, 1e-40, -1e-40, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan]
    x = [np.linspace(-30, 30, 4001), np.linspace(-1200, 1200, 2001), special]
    return np.concatenate(x)[:, None].astype(dtype)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_activation_has_the_bits_of_predict(tmp_path, dtype, compiler):
    net, X = every_activation(dtype), wide_inputs(dtype)
    for flags in (SAME_BITS[0], SAME_BITS[-1]):
        assert_same_bits(library_of(net, tmp_path, flags, compiler).predict(X), net.predict(X))


@no_fma_by_default
def test_our_fused_multiply_add_is_that_of_the_processor(tmp_path):
    random = np.random.default_rng(0)
    net = Network([Layer(1, 3000)], seed=0)
    exponents = random.integers(-30, 30, (2, 3000))
    net.layers[0].W, net.layers[0].b = np.ldexp(random.normal(size=(2, 3000)), exponents)
    X = np.ldexp(random.normal(size=(500, 1)), random.integers(-60, 60, (500, 1))).astype("float32")
    # (1 + 2^-15) (1 - 2^-15) 2^-24 + 1 + 2^-23 is below the middle of two floats by less than double has digits for.
    X[:2, 0] = 1 + 2**-15, -1 - 2**-15
    net.layers[0].W[0, :2] = 2**-24 * (1 - 2**-15), -(2**-24) * (1 - 2**-15)
    net.layers[0].b[:2] = 1 + 2**-23
    got = library_of(net, tmp_path, ["-O2", "-DMODEL_SAME_BITS"]).predict(X)
    assert got[0, 0] == got[1, 1] == np.float32(1 + 2**-23)
    assert_same_bits(got, net.predict(X))


SHAPES = [
    [Layer(1, 1)],
    [Layer(5, 70, PReLU()), Layer(70, 49, PReLU(shared=True), bias=False), Layer(49, 3, "softmax"), Layer(3, 1)],
    [Layer(1025, 33, "gelu"), Layer(33, 97), Layer(97, 5)],  # products sum 1025 terms in blocks
    [Layer(3000, 2, bias=False)],
    [Layer(7, 300, "softmax")],  # so does softmax 300
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", SHAPES, ids=lambda layers: "-".join(str(layer.n_out) for layer in layers))
def test_shapes_have_the_bits_of_predict(tmp_path, layers, dtype):
    fresh = [Layer(layer.n_in, layer.n_out, layer.activation, bias=layer.bias) for layer in layers]
    net = randomized(Network(fresh, dtype=dtype, seed=0))
    X = inputs(net)
    for compiler, flags in zip(itertools.cycle(COMPILERS), (SAME_BITS[0], SAME_BITS[-1]), strict=False):
        library = library_of(net, tmp_path, flags, compiler)
        assert_same_bits(library.predict(X), net.predict(X))
        assert_same_bits(library.predict_each(X), net.predict(X))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("input_scale", [1, 1 / 255])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_prepared_as_in_predict(tmp_path, dtype, input_scale, compiler):
    random = np.random.default_rng(0)
    transform = random.normal(size=64), random.random(64) + 0.01
    net = Network([64, 3], dtype=dtype, seed=0, input_scale=input_scale, input_transform=transform)
    X = inputs(net, 50, scale=100.0)
    if input_scale != 1:
        X = random.integers(0, 256, (50, 64), dtype=np.uint8)
    assert_same_bits(library_of(net, tmp_path, SAME_BITS[-1], compiler).predict(X), net.predict(X))


@st.composite
def networks(draw):
    widths = draw(st.lists(st.integers(1, 70), min_size=2, max_size=4))
    names = st.sampled_from([name for name in activations.NAMES if name != "exp"])
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        mask = None
        if draw(st.booleans()):
            mask = np.random.default_rng(n_in).random((n_in, n_out)) < 0.5
        layers.append(Layer(n_in, n_out, draw(names), bias=draw(st.booleans()), mask=mask))
    transform = None
    if draw(st.booleans()):
        random = np.random.default_rng(widths[0])
        transform = random.normal(size=widths[0]) * 100, random.random(widths[0]) + 0.01
    return randomized(Network(layers, dtype=draw(st.sampled_from(DTYPES)), seed=draw(st.integers(0, 9)),
                              input_scale=draw(st.sampled_from([1, 1 / 255])), input_transform=transform))


@settings(max_examples=6)
@given(networks(), st.sampled_from(SAME_BITS), st.sampled_from(["hex", "decimal"]))
def test_random_networks_have_the_bits_of_predict(tmp_path_factory, net, flags, float_format):
    X = inputs(net, 9)
    if net.input_scale != 1:
        X = np.random.default_rng(0).integers(0, 256, (9, net.n_in), dtype=np.uint8)
    library = library_of(net, tmp_path_factory.mktemp("random"), flags, float_format=float_format)
    assert_same_bits(library.predict(X), net.predict(X))
    assert_same_bits(library.predict_each(X), net.predict(X))


def test_subnormal_numbers_are_zero_as_in_predict_and_the_mode_is_restored(tmp_path):
    net = Network([1, 3], output="softmax", seed=0)
    net.layers[0].W = [[0.0, -1.0, -2.0]]
    X = np.array([[95.0], [44.0], [3.0]], np.float32)  # e^-95 is subnormal
    tiny = np.float32(1e-40)
    library = library_of(net, tmp_path, SAME_BITS[0])
    for predict in (library.predict, library.predict_each):
        y = predict(X)
        is_subnormal = tiny * np.float32(0.5) > 0
        assert_same_bits(y, net.predict(X))
        assert y[0, 1] == 0
        assert is_subnormal


# ---- Without fused multiply-adds ----


@no_fma_by_default
@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_sums_are_within_the_bound(tmp_path, dtype):
    output = PerOutput([(slice(0, 4), "softmax"), (slice(4, 8), "identity")])
    for compiler, names in zip(itertools.cycle(COMPILERS), ([], ["gelu", "tanh"], ["sigmoid", "elu"]), strict=False):
        hidden = [Layer(30, 30, name) for name in names]
        net = randomized(Network([*hidden, Layer(30, 8, output)], dtype=dtype, seed=0))
        X = inputs(net, 200)
        y = library_of(net, tmp_path, ["-O2"], compiler).predict(X)
        error = np.abs(y - net.predict(X), dtype=np.float64)
        bound = error_bounds(net, X)
        assert (error <= bound).all(), names
        assert bound.max() < 1e6 * np.finfo(dtype).eps, names  # it says something
        assert (error > 0).mean() > 0.1, names  # and there is something to say


def test_the_bound_knows_the_greatest_slope_of_each_activation():
    z = np.linspace(-20, 20, 40_001)
    for name in set(activations.NAMES) - {"softmax", "exp", "sign", "leaky_relu", "prelu"}:  # with own formulas
        greatest = np.abs(reference.DERIVATIVES[name](z)).max()
        assert greatest <= SLOPES.get(name, 1.0) < greatest + 0.02, name


# The functions themselves have fused multiply-adds also there.
@no_fma_by_default
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_have_the_bits_without_fast_fused_multiply_adds(tmp_path, dtype):
    net, X = every_activation(dtype), wide_inputs(dtype)
    X = X[(np.abs(X[:, 0]) < 10) & (np.abs(X[:, 0]) > 1e-30)]  # without subnormal results, which are kept here
    y, wanted = library_of(net, tmp_path, ["-O2"]).predict(X), net.predict(X)
    assert_same_bits(y[:, :-3], wanted[:, :-3])  # z is x, without any rounding, but for softmax


# ---- The self-test ----


def self_test(folder, flags=(), compiler=None, **options):
    program = compiled(folder, ["-DMODEL_SELF_TEST", *flags], compiler, **options)
    return subprocess.run([program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("flags", [SAME_BITS[-1], ["-O2"]], ids=" ".join)
def test_self_test_compares_with_python(tmp_path, flags):
    net = randomized(Network([20, 10, 4], activation="tanh", output="softmax", seed=0))
    net.export_c(tmp_path / "model.c")
    done = self_test(tmp_path, flags)
    fused = not ON_X86 or "-mfma" in flags
    says = "the bits of mlpfast" if fused else "within the bound of mlpfast"
    assert (done.returncode, done.stdout) == (0, f"model: {says}\n")


@pytest.mark.parametrize("flags", [SAME_BITS[-1], ["-O2"]], ids=" ".join)
def test_self_test_sees_another_weight(tmp_path, flags):
    randomized(Network([20, 10, 4], activation="tanh", seed=0)).export_c(tmp_path / "model.c")
    text = (tmp_path / "model.c").read_text()
    changed = re.sub(r"(float b_2\[4\] = \{\n    )\S+,", r"\g<1>0.7f,", text)
    assert changed != text
    (tmp_path / "model.c").write_text(changed)
    done = self_test(tmp_path, flags)
    assert done.returncode == 1
    assert re.search(r"^model_predict: row 0, output 0 must be \S+, got \S+$", done.stdout, re.M)


def test_self_test_under_sanitizers(tmp_path):
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    probe = [COMPILERS[0], *sanitizers, "empty.c", "-o", "empty"]
    if subprocess.run(probe, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no sanitizers")
    last = every_activation("float32").layers[0]
    layers = [Layer(1030, 49, PReLU()), Layer(49, 1, bias=False), Layer(1, last.n_out, last.activation)]
    randomized(Network(layers, seed=0)).export_c(tmp_path / "model.c")
    done = self_test(tmp_path, ["-O1", "-DMODEL_SAME_BITS", *sanitizers])
    assert done.returncode == 0, done.stdout + done.stderr


# ---- What the file is ----


def digits(**options):
    return randomized(Network([64, 32, 10], **{"activation": "gelu", "output": "softmax", "seed": 0, **options}))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_warnings(tmp_path, compiler, dtype):
    last = every_activation(dtype).layers[0]
    layers = [Layer(9, 20, PReLU()), Layer(20, 1, bias=False), Layer(1, last.n_out, last.activation)]
    net = randomized(Network(layers, dtype=dtype, seed=0, input_transform=(np.zeros(9), np.ones(9))))
    plus = {"gcc": "g++", "clang": "clang++"}[compiler]
    for float_format, std in (("hex", "c99"), ("hex", "c++17"), ("decimal", "c++11"))[int(dtype == "float64") :]:
        net.export_c(tmp_path / "model.c", float_format=float_format)
        with_plus = std.startswith("c++")
        if with_plus and not shutil.which(plus):
            continue
        language = ["-x", "c++"] if with_plus else []
        done = self_test(tmp_path, ["-O1", *language, "-Wshadow", "-Wundef"], plus if with_plus else compiler,
                         std=f"-std={std}")
        assert done.returncode == 0, done.stdout


def test_header_serves_c_and_cpp(tmp_path):
    plus = shutil.which("g++") or shutil.which("clang++")
    if plus is None:
        pytest.skip("no C++ compiler")
    net = digits()
    net.export_c(tmp_path / "model.c")
    subprocess.run([COMPILERS[0], "-O2", "-c", "model.c"], cwd=tmp_path, check=True)
    (tmp_path / "main.cpp").write_text("""
        #include "model.h"
        #include <cstdio>
        int main() {
            float x[MODEL_N_IN] = {}, y[MODEL_N_OUT];
            model_predict(x, y);
            for (float each : y) std::printf("%a ", static_cast<double>(each));
        }""")
    command = [plus, "-std=c++11", *WARNINGS, "main.cpp", "model.o", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    y = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert np.allclose([float.fromhex(each) for each in y], net.predict(np.zeros((1, 64)))[0], rtol=1e-6)


def test_two_networks_in_one_program(tmp_path):
    first, second = digits(), digits(activation="tanh")
    first.export_c(tmp_path / "one.c", "keyword")
    second.export_c(tmp_path / "two.c", name="Speaker2")
    for net, name, stem in ((first, "keyword", "one"), (second, "Speaker2", "two")):
        flags = ["-shared", "-fPIC", "-O1", f"-D{name.upper()}_SAME_BITS"]
        library = Library(net, tmp_path, flags, stem=stem, name=name)
        assert_same_bits(library.predict(inputs(net)), net.predict(inputs(net)))


def symbols(folder, *kinds):
    subprocess.run([COMPILERS[0], "-O2", "-c", "model.c", "-o", "model.o"], cwd=folder, check=True)
    listed = subprocess.run(["nm", "model.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in listed.splitlines() if line.split()[-2] in kinds}


needs_nm = pytest.mark.skipif(not shutil.which("nm"), reason="no nm")


@needs_nm
def test_it_has_no_state_and_calls_nothing(tmp_path):
    digits().export_c(tmp_path / "model.c")
    assert symbols(tmp_path, "T") == {"model_predict", "model_predict_batch"}
    assert symbols(tmp_path, *"dDbBC") == set()
    assert symbols(tmp_path, "U") <= {"memcpy", "memset", "memmove", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


@pytest.mark.skipif(not shutil.which("objdump"), reason="no objdump")
@pytest.mark.skipif(platform.system() != "Linux", reason="the names of sections are those of ELF")
def test_section_and_const(tmp_path):
    net = digits()
    net.export_c(tmp_path / "model.c", section=".flash.model", const=False)
    subprocess.run([COMPILERS[0], "-O2", "-c", "model.c", "-o", "model.o"], cwd=tmp_path, check=True)
    headers = subprocess.run(["objdump", "-h", "model.o"], cwd=tmp_path, capture_output=True, text=True).stdout
    size, flags = re.search(r"\d \.flash\.model +(\w+).*\n +(.*)", headers).groups()
    assert int(size, 16) >= 4 * net.n_parameters
    assert "READONLY" not in flags
    library = Library(net, tmp_path, ["-shared", "-fPIC", "-DMODEL_SAME_BITS", "-DMODEL_WEIGHTS=static const"])
    assert_same_bits(library.predict(inputs(net)), net.predict(inputs(net)))


def test_only_what_is_used_is_in_the_file(tmp_path):
    texts = {}
    for name in ("relu", "tanh", "gelu"):
        Network([4, 8, 2], activation=name, seed=0).export_c(tmp_path / "model.c")
        texts[name] = (tmp_path / "model.c").read_text()
    assert "v_tanh" not in texts["relu"] and "exp_poly" not in texts["relu"]
    assert "v_tanh" in texts["tanh"] and "normal_of" not in texts["tanh"]
    assert "normal_of" in texts["gelu"] and "derivative(" not in texts["gelu"]


def test_the_same_network_gives_the_same_files(tmp_path):
    net = digits()
    for stem in ("a", "b"):
        (tmp_path / stem).mkdir()
        net.export_c(os.fsencode(tmp_path / stem / "model.c"))
    for name in ("model.c", "model.h"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("flag, says", [("-ffast-math", "ffast-math"), ("-mfpmath=387", "msse2")])
def test_flags_that_break_it_are_refused(tmp_path, flag, says):
    if "387" in flag and (not ON_X86 or COMPILERS[0] != "gcc"):
        pytest.skip("no x87 unit, or no gcc that computes with it")
    digits().export_c(tmp_path / "model.c")
    done = subprocess.run([COMPILERS[0], flag, "-c", "model.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert says in done.stderr


# ---- Refusals ----


def refused(tmp_path, net, error, match, path="model.c", **options):
    with pytest.raises(error, match=match):
        net.export_c(tmp_path / path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "2nd", "a b", "a-b", "_x", "a__b", "naïve", "int", "class", "restrict", "a\n"])
def test_names_that_are_no_identifiers(tmp_path, name):
    refused(tmp_path, digits(), ValueError, "^name must", name=name)


@pytest.mark.parametrize(
    "error, match, options",
    [
        (TypeError, "^name must be a str, got int", {"name": 3}),
        (ValueError, "^path must end in .c, got", {"path": "model.cpp"}),
        (ValueError, "^path must have no quotes", {"path": 'a"b.c'}),
        (ValueError, "^float_format must be one of hex, decimal, got 'octal'", {"float_format": "octal"}),
        (ValueError, "^section must be the name of a section", {"section": 'a"b'}),
        (TypeError, "^section must be None or a str, got int", {"section": 3}),
        (TypeError, "^const must be True or False", {"const": 1}),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, error, match, options):
    refused(tmp_path, digits(), error, match, **options)


def test_networks_that_cannot_be_written(tmp_path):
    own = Custom(lambda z: z, lambda z: np.ones_like(z))
    refused(tmp_path, Network([2, 3, 1], activation=own), ValueError, "^layer 1 has a Custom activation")
    net = digits()
    net.layers[1].b[3] = np.inf
    refused(tmp_path, net, ValueError, "^net must have finite parameters, got NaN or infinity in b of layer 2")


def test_files_are_replaced_as_a_whole(tmp_path):
    net = digits()
    net.export_c(tmp_path / "model.c")
    before = (tmp_path / "model.c").read_bytes()
    (tmp_path / "model.c.unfinished").mkdir()
    with pytest.raises(OSError):
        digits(seed=1).export_c(tmp_path / "model.c")
    assert (tmp_path / "model.c").read_bytes() == before
