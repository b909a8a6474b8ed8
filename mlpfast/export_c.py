"""A network as one C file, and its header: Network.export_c.

The templates are in c_template/. The functions of activations are those of the core, taken from its source by
_c_functions.py; here are the parameters, the calls of the layers, and the self-test with its error bounds.
"""

from __future__ import annotations

import os
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import _c_functions, _kernels, _safetensors, backprop
from ._config import __version__
from ._fpmode import in_default_mode
from ._scalars import flag, one_of
from .exchange._parts import checked

if TYPE_CHECKING:
    from ._types import Array, ArrayLike, PathLike
    from .network import Network

TEMPLATES = "model.h", "model.c"
FORMATS = "hex", "decimal"
TEST_ROWS = 4
LINE = 116  # characters of constants

LANGUAGES = {"hex": "C99; C++11 too, with a pedantic warning up to C++17", "decimal": "C99 or C++11"}
HEX_ZEROS = re.compile(r"\.?0*p")
HEX_CONSTANT = re.compile(r"(0x[0-9a-f.]+p[-+]?[0-9]+)(f?)")

ALWAYS_USED = "real"
IN_MODEL_C = {"SIMD", "UNROLL", "FAST_FMA", "SAME_BITS", "network", "mode"}  # what model.c defines

C_WORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while""".split()
)
CPP_WORDS = frozenset(
    """alignas alignof and and_eq asm bitand bitor bool catch char16_t char32_t class compl concept const_cast constexpr
    decltype delete dynamic_cast explicit export false friend mutable namespace new noexcept not not_eq nullptr operator
    or or_eq private protected public reinterpret_cast requires static_assert static_cast template this thread_local
    throw true try typeid typename using virtual wchar_t xor xor_eq""".split()
)

# The greatest slopes that are not 1, rounded up.
SLOPES = {"gelu": 1.13, "gelu_tanh": 1.13, "silu": 1.1, "mish": 1.09, "hard_swish": 1.5, "sigmoid": 0.25,
          "hard_sigmoid": 0.17, "selu": 1.7581}


@in_default_mode
def export_c(
    net: Network,
    path: PathLike,
    name: str = "model",
    *,
    float_format: str = "hex",
    section: str | None = None,
    const: bool = True,
) -> None:
    """See Network.export_c."""
    checked(net)
    c_path = Path(os.fsdecode(path))
    if c_path.suffix != ".c":
        raise ValueError(f"path must end in .c, got {str(c_path)!r}")
    if re.search(r'["\\\n]', c_path.name):
        raise ValueError(f"path must have no quotes, backslashes and line ends in the file's name, got {str(c_path)!r}")
    storage = _storage(_identifier(name), section, const)
    header, source = texts(net, c_path.stem, name, one_of("float_format", float_format, FORMATS), storage)
    # The header first: after an error between the two, the old C file is still there.
    _safetensors.write(c_path.with_suffix(".h"), [header.encode()])
    _safetensors.write(c_path, [source.encode()])


def _identifier(name):
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {type(name).__name__}")
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or "__" in name:
        raise ValueError(
            "name must be an identifier of C: a letter, then letters, digits and single underscores, "
            f"got {name!r}"
        )
    if name in C_WORDS or name in CPP_WORDS:
        raise ValueError(f"name must not be a keyword of C or C++, got {name!r}")
    return name


def _storage(name, section, const):
    """What stands before the type of each array of parameters."""
    words = "static const" if flag("const", const) else "static"
    if section is None:
        return words
    if not isinstance(section, str):
        raise TypeError(f"section must be None or a str, got {type(section).__name__}")
    if not re.fullmatch(r"[\w.$,-]+", section, re.ASCII):
        raise ValueError(f'section must be the name of a section, such as ".flash.{name}", got {section!r}')
    return f'{words} __attribute__((section("{section}")))'


def texts(net: Network, stem: str, name: str, float_format: str, storage: str) -> list[str]:
    """(header, C file) of the network; stem: of the files' names."""
    real_bits = 8 * net.dtype.itemsize
    numbers = _Numbers(float_format, net.dtype)
    body = "".join(f"    {line}\n" for line in _body(net, numbers))
    fields = {
        "name": name, "NAME": name.upper(), "c_file": f"{stem}.c", "h_file": f"{stem}.h",
        "description": _description(net), "version": __version__, "storage": storage,
        "real": numbers.real, "input": _input_type(net, numbers),
        "n_in": net.n_in, "n_out": net.n_out, "stack": f"{_stack(net):,}",
        "unit": "2^-24" if real_bits == 32 else "2^-53",
        "smallest": "1.2e-38" if real_bits == 32 else "2.3e-308",
        "languages": LANGUAGES[float_format],
        "functions": numbers.converted(_c_functions.functions_for(body + ALWAYS_USED, real_bits, IN_MODEL_C)),
        "parameters": "".join(_parameters(net, name, numbers)), "body": body,
        "test_arrays": "".join(_test_arrays(net, numbers)), "test_rows": TEST_ROWS,
    }
    templates = ["\n".join(_c_functions.lines_for(_c_functions.source(file), real_bits)) for file in TEMPLATES]
    return [string.Template(template).substitute(fields) + "\n" for template in templates]


def _description(net):
    sizes = "-".join(map(str, [net.n_in, *(layer.n_out for layer in net.layers)]))
    return f"A network {sizes} of {net.dtype}: {', '.join(layer._unit.name for layer in net.layers)}."


def _input_type(net, numbers):
    return "uint8_t" if net.input_scale != 1 else numbers.real


def _buffers(net):
    """The lengths of the two buffers that the layers write into in turn; buffer 0 holds prepared inputs too."""
    widths = [net.n_in if _prepares(net) else 0, *(layer.n_out for layer in net.layers[:-1])]
    return [max(widths[i::2], default=0) for i in range(2)]


def _stack(net):
    """Bytes: the buffers, and 512 for what compilers add."""
    return sum(_buffers(net)) * net.dtype.itemsize + 512


class _Numbers:
    """How numbers are written: float_format, of the network's dtype or of float64."""

    def __init__(self, float_format, dtype):
        self.is_hex, self.dtype = float_format == "hex", dtype
        self.real = "float" if dtype == np.float32 else "double"

    def __call__(self, value, dtype=None):
        """A constant expression that has the bits of value."""
        dtype = dtype or self.dtype
        if not np.isfinite(value):
            return "(real)NAN" if np.isnan(value) else "(real)INFINITY" if value > 0 else "-(real)INFINITY"
        text = HEX_ZEROS.sub("p", float(value).hex()) if self.is_hex else _decimal(dtype.type(value))
        return text + "f" if dtype == np.float32 else text

    def array(self, declaration, values, dtype=None):
        """The definition of an array with these values, a line for each row."""
        is_whole = np.issubdtype(np.asarray(values).dtype, np.integer)
        text = str if is_whole else lambda value: self(value, dtype)
        rows = np.atleast_2d(values)
        lines = [f"    {line}\n" for row in rows.tolist() for line in _wrapped(map(text, row))]
        return f"{declaration}[{rows.size}] = {{\n{''.join(lines)}}};\n"

    def converted(self, code):
        """C source of the core, with its constants in this format."""
        if self.is_hex:
            return code
        return HEX_CONSTANT.sub(lambda number: _decimal(self._typed(float.fromhex(number[1]), number[2])) + number[2],
                                code)

    @staticmethod
    def _typed(value, suffix):
        return np.float32(value) if suffix else np.float64(value)


def _decimal(value):
    """The shortest decimal number that rounds to value, with a point or an exponent."""
    return np.format_float_scientific(value, trim="0") if value else "0.0"


def _wrapped(texts):
    """Lines of constants, each with its comma."""
    line = ""
    for text in texts:
        if line and len(line) + len(text) + 2 > LINE:
            yield line
            line = ""
        line += f" {text}," if line else f"{text},"
    yield line


# ---- Parameters and calls ----


def _parameters(net, name, numbers):
    """The definitions of all arrays."""
    storage = f"{name.upper()}_WEIGHTS {numbers.real}"
    if net.input_transform is not None:
        for what, values in zip(("mean", "scale"), net.input_transform, strict=True):
            yield numbers.array(f"{name.upper()}_WEIGHTS double input_{what}", values, np.dtype(np.float64))
    for number, layer in enumerate(net.layers, 1):
        yield f"// Layer {number}: {layer.n_in} inputs, {layer.n_out} outputs, {layer._unit.name}\n"
        for array, values in layer._named_parameters():
            if not np.isfinite(values).all():
                raise ValueError(f"net must have finite parameters, got NaN or infinity in {array} of layer {number}")
            yield numbers.array(f"{storage} {array}_{number}", values)
        yield "\n"


def _body(net, numbers):
    """The statements of `network`: the layers write into two buffers in turn, the last one into y."""
    yield from (f"real buffer_{i}[{size}];" for i, size in enumerate(_buffers(net)) if size)
    given = "x"
    if _prepares(net):
        given = "buffer_0"
        yield _preparation(net, numbers)
    for number, layer in enumerate(net.layers, 1):
        to = "y" if number == len(net.layers) else f"buffer_{number % 2}"
        b = f"b_{number}" if layer.bias else "NULL"
        length = _kernels.block_length(layer.n_in)
        yield f"layer({to}, {given}, W_{number}, {b}, {layer.n_in}, {length}, {layer.n_out});"
        yield from _activation(to, number, layer, numbers)
        given = to


def _prepares(net):
    return net.input_scale != 1 or net.input_transform is not None


def _preparation(net, numbers):
    to = f"buffer_0, x, {net.n_in}"
    if net.input_transform is None:
        return f"scale_bytes({to}, {numbers(numbers.dtype.type(net.input_scale))});"
    if net.input_scale == 1:
        return f"transform({to}, input_mean, input_scale);"
    return f"transform_bytes({to}, {numbers(net.input_scale, np.dtype(np.float64))}, input_mean, input_scale);"


def _activation(a, number, layer, numbers):
    if layer.slopes is not None and not layer._unit.shared:
        yield f"activate_each({a}, {layer.n_out}, slopes_{number}, {layer._unit.name}_value);"
        return
    alpha = f"slopes_{number}[0]" if layer.slopes is not None else None
    for first, n, unit in layer._unit.parts or [(0, layer.n_out, layer._unit)]:
        at = f"{a} + {first}" if first else a
        if unit.name == "softmax":
            yield f"softmax_columns({at}, {n});"
        elif unit.name != "identity":
            own = alpha or (numbers(numbers.dtype.type(unit.alpha)) if unit.alpha else "0")
            yield f"activate({at}, {n}, {own}, {unit.name}_value);"


# ---- The self-test ----


def _test_arrays(net, numbers):
    """Inputs, what mlpfast makes of them, and by how much results without fused multiply-adds may differ."""
    X = _test_inputs(net)
    yield numbers.array(f"static const {_input_type(net, numbers)} test_x", X)
    yield numbers.array("static const real wanted_y", net.predict(X))
    yield numbers.array("static const real bounds", numbers.dtype.type(error_bounds(net, X)))


def _test_inputs(net):
    """Rows of numbers as large as those that the network was made for, and of zeros."""
    random = np.random.default_rng(0)
    shape = TEST_ROWS, net.n_in
    if net.input_scale != 1:
        return random.integers(0, 256, shape, dtype=np.uint8)
    X = random.normal(size=shape) * [[1], [0.1], [10], [0]]
    if net.input_transform is not None:
        mean, scale = net.input_transform
        X = X * scale + mean
    return X.astype(net.dtype)


def error_bounds(net: Network, X: ArrayLike) -> Array:
    """(n, n_out), float64: by how much outputs of the C file without fused multiply-adds may differ from `predict` of
    X (n, n_in), to first order in the unit roundoff.

    Each of k products and k sums is rounded once, of k + 1 terms with the bias; mlpfast rounds k times. Higham,
    Accuracy and Stability of Numerical Algorithms (2002), section 3.1.
    """
    unit, smallest = np.finfo(net.dtype).eps / 2, np.finfo(net.dtype).tiny
    tape = backprop.forward(net, X)
    d, a = np.zeros(tape.X.shape), np.abs(tape.X, dtype=np.float64)
    for layer, z, value in zip(net.layers, tape.z, tape.a, strict=True):
        W, value, z = np.abs(layer.W, dtype=np.float64), np.asarray(value, np.float64), np.asarray(z, np.float64)
        terms = a @ W + (np.abs(layer.b, dtype=np.float64) if layer.bias else 0)
        e = d @ W + 2 * (layer.n_in + 1) * (unit * terms + smallest)
        d = np.empty_like(e)
        for first, n, g in layer._unit.parts or [(0, layer.n_out, layer._unit)]:
            part = slice(first, first + n)
            d[:, part] = _after_activation(g, layer.slopes, z[:, part], value[:, part], e[:, part], unit)
        a = np.abs(value)
        d += smallest
    return d


def _after_activation(g, slopes, z, a, e, unit):
    """How far g(z + e) may be from a, as computed."""
    if g.name == "identity":
        return e
    if g.name == "softmax":
        return np.abs(a) * (np.expm1(2 * e.max(axis=1, keepdims=True)) + 16 * unit)
    if g.name == "exp":
        return np.abs(a) * (np.expm1(e) + 16 * unit)
    if g.name == "sign":
        return np.where(np.abs(z) <= e, 2.0, 0.0)
    slope = SLOPES.get(g.name, 1.0)
    if g.traits.has_alpha:
        slope = np.maximum(1.0, np.abs(g.alpha if slopes is None else slopes, dtype=np.float64))
    return slope * e + 16 * unit * np.abs(a)
