"""Files that are refused, by Python's load_network and by mlp_network_load of the C core: one list for the tests of
both, and for the fuzzer to begin with.

    python tests/bad_files.py FOLDER        writes them, and good ones, into a folder
"""

import json
import sys
from pathlib import Path

import numpy as np

from mlpfast import Layer, Network, activations
from mlpfast._safetensors import MOST_HEADER

NET = Network([3, 4, 2], activation=activations.ELU(0.5), output="softmax", seed=0)


def parts():
    """(header as a dict, data) of a good file, that of NET."""
    data = bytes_of(NET)
    n = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def bytes_of(net):
    """The file of a network."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net")
        net.save(path, sync=False)
        return path.read_bytes()


def joined(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


# (name, what changes in the header's entry, what Python says)
TENSORS = [
    ("layers.0.W", {"shape": [3, 5]}, "'layers.0.W' of shape .3, 5. and dtype F32 does not have 48 bytes"),
    ("layers.0.W", {"shape": [2**40, 2**40]}, "does not have 48 bytes"),
    ("layers.0.W", {"shape": [2**63, 2]}, "does not have 48 bytes"),
    ("layers.0.W", {"shape": [10**30, 2]}, "a number of 31 digits"),
    ("layers.0.W", {"shape": [-3, -4]}, "sizes >= 0"),
    ("layers.0.W", {"shape": [3.0, 4]}, "whole numbers only, got 3.0"),
    ("layers.0.W", {"shape": [True, 12]}, "sizes >= 0"),
    ("layers.0.W", {"shape": [12]}, "must have a matrix layers.0.W"),
    ("layers.0.W", {"shape": [1] * 40 + [12]}, "at most 32 dimensions"),
    ("layers.0.W", {"shape": "12"}, "sizes >= 0"),
    ("layers.0.W", {"shape": [4, 3]}, r"takes 4 inputs|'layers.0.b' must have"),
    ("layers.0.W", {"dtype": "I32"}, "'layers.0.W' must have dtype float32 .*has int32"),
    ("layers.0.W", {"dtype": "BF16"}, "has the dtype 'BF16', must have one of"),
    ("layers.0.W", {"dtype": []}, "has the dtype"),
    ("layers.0.W", {"data_offsets": [4, 52]}, "leaves a hole of 4 bytes|overlaps"),
    ("layers.0.W", {"data_offsets": [48, 0]}, "the second not smaller"),
    ("layers.0.W", {"data_offsets": [0]}, "two offsets"),
    ("layers.0.W", {"more": 1}, "and nothing else"),
    ("layers.1.b", {"shape": [4], "data_offsets": [96, 112]}, "is truncated"),
    ("layers.0.b", {"data_offsets": [44, 60]}, "overlaps"),
    ("layers.0.b", {"data_offsets": [2**70, 2**70 + 16]}, "a number of 22 digits"),
    ("layers.0.W", {"shape": [-0.0, 4]}, "whole numbers only"),
    ("layers.0.W", {"shape": [None, 4]}, "sizes >= 0"),
    ("layers.0.W", {"shape": [0, 4], "data_offsets": [0, 0]}, "overlaps|leaves a hole|n_in must be >= 1"),
    ("layers.0.W", {"shape": [3, 4, 1]}, "must have a matrix layers.0.W"),
    ("layers.0.b", {"dtype": "F64", "shape": [2]}, "'layers.0.b' must have dtype float32"),
]

# (name, its text or None to leave it out, what Python says)
SETTINGS = [
    ("format", "pt", "no file of mlpfast"),
    ("version", "2", "version '2' of the format, this mlpfast reads 1"),
    ("holds", "a cake", "must hold a network, a trainer or an estimator"),
    ("layers.0.activation", "wobble", "unknown activation 'wobble' of layers.0"),
    ("layers.0.activation", "0x1p+0", "unknown activation 1.0"),
    ("layers.0.activation", "0:3", "unknown activation slice"),
    ("layers.0.activation", "custom", "called None"),
    ("layers.0.alpha", "-0x1p+0", "alpha must be >= 0"),
    ("layers.0.alpha", "nan", "alpha must be"),
    ("layers.0.alpha", "0x1p+2000", "too large for float64"),
    ("layers.0.alpha", "0x1.0p-1", "must be a number|not how a file writes"),
    ("layers.0.alpha", "none", "alpha must be a number"),
    ("layers.0.alpha", None, "'layers.0.alpha' is missing"),
    ("layers.0.dropout", "0x1p+0", "dropout must be < 1"),
    ("layers.0.bias", "false", "unknown setting 'layers.0.bias'"),
    ("layers.0.wings", "2", "unknown setting 'layers.0.wings'"),
    ("layers.0.activation", "per_output", "'layers.0.parts' is missing"),
    ("layers.0.lr_factor", "-0x1p+0", "lr_factor must be >= 0"),
    ("layers.0.l2", "Cosine", "l2 must be a number"),
    ("layers.0.l2", "0:3", "l2 must be a number"),
    ("layers.2.activation", "relu", "must have a matrix layers.2.W, has none"),
    ("layers.7.activation", "relu", "'layers.2.activation' is missing|unknown activation None|missing"),
    ("network.dtype", "float16", "dtype must be one of"),
    ("network.dtype", "float64", "'layers.0.W' must have dtype float64"),
    ("network.seed", "-1", "seed must be >= 0"),
    ("network.seed", None, "'network.seed' is missing"),
    ("network.seed", "(2)", "network.seed must have 2 entries"),
    ("network.wings", "2", "'network.wings' is unknown"),
    ("wings", "2", "unknown setting 'wings'"),
    (".".join("a" * 500), "2", "unknown setting 'a.a.a"),
    ("network.seed", 5, "__metadata__ must hold texts only"),
    ("network", "x", "unknown setting 'network'"),
    ("layers", "x", "unknown setting 'layers'"),
    ("layers.0", "x", "unknown setting 'layers.0'"),
    ("layers.00.activation", "relu", "unknown activation None of layers.2"),
    ("layers.0.activation", "swish", "unknown activation"),
    ("layers.0.activation.0", "relu", "ELU has no argument '0'"),
    ("layers.0.alpha", "-0", "not how a file writes"),
    ("layers.0.alpha", "0x1p+00", "not how a file writes"),
    ("layers.0.alpha", "0x1p-0", "not how a file writes"),
    ("layers.0.alpha", "0x0.8p+0", "not how a file writes"),
    ("layers.0.alpha", "0x1p+1024", "too large for float64"),
    ("layers.0.alpha", "0X1P+0", "must be a number"),
    ("layers.0.alpha", "1.0", "must be a number"),
    ("layers.0.alpha", "true", "must be a number"),
    ("layers.0.alpha", "inf", "alpha must be finite"),
    ("layers.0.alpha", "0x1p+128", "alpha must be from"),
    ("layers.0.alpha", "0x1p-127", "alpha must be from"),
    ("layers.0.alpha", "0x1.00000000000001p+0", "must be a number|not how"),
    ("layers.0.l1", "0x1p-140", "l1 must be from"),
    ("layers.0.l1", "-0x1p-3", "l1 must be >= 0"),
    ("layers.0.l2", "Cosine2", "l2 must be a number"),
    ("layers.0.init", "glorot", "init must be one of"),
    ("layers.0.bias_init", "true", "bias_init must be a name"),
    ("layers.0.trainable", "1", "trainable must be True or False"),
    ("layers.0.trainable", '"true"', "trainable must be True or False"),
    ("layers.0.shared", "true", "unknown setting 'layers.0.shared'"),
    ("layers.0.name", "sine", "unknown setting 'layers.0.name'"),
    ("layers.0.parts", "(0)", "unknown setting 'layers.0.parts'"),
    ("layers.1.dropout", "0x1p-2", "dropout must be 0 for the last layer"),
    ("layers.1.activation", "prelu", "missing"),
    ("network.dtype", "f4", "dtype must be one of"),
    ("network.dtype", '"float32"', "not how a file writes"),
    ("network.seed", "none", "seed must be"),
    ("network.seed", "18446744073709551616", "seed must be <="),
    ("network.seed", "00", "not how a file writes|whole number"),
    ("network.seed", "0x1p+0", "seed must be a whole number"),
    ("network.input_scale", "nan", "input_scale must be finite"),
    ("network.input_dropout", "0x1p+0", "input_dropout must be < 1"),
    ("network.input_noise", "-0x1p+0", "input_noise must be >= 0"),
    ("format", None, "no file of mlpfast"),
    ("holds", "Network", "must hold a network, a trainer or an estimator"),
    ("trainer", "x", "unknown setting 'trainer'"),
    ("trainer.lr", "x", "unknown setting 'trainer.lr'"),
    ("holds", "estimators", "must hold a network, a trainer or an estimator"),
    ("estimator", "MLPClassifier", "unknown setting 'estimator'"),
    ("estimator.fitted.n_iter_", "2", "unknown setting 'estimator.fitted.n_iter_'"),
]

# (parts as a file writes them, what Python says)
PARTS = [
    ({"": "(1)", "0": "(2)", "0.0": "0", "0.1": "relu"}, "must have parts of all 2 outputs"),
    ({"": "(1)", "0": "(2)", "0.0": "0:3", "0.1": "relu"}, "must have parts of all 2 outputs"),
    ({"": "(1)", "0": "(2)", "0.0": "1:3", "0.1": "relu"}, "each output once"),
    ({"": "(1)", "0": "(2)", "0.0": "2:0", "0.1": "relu"}, "not how|outputs from 0 on|meaning|must"),
    ({"": "(2)", "0": "(2)", "0.0": "0:2", "0.1": "relu", "1": "(2)", "1.0": "1", "1.1": "tanh"}, "each output once"),
    ({"": "(2)", "0": "(2)", "0.0": "0:2", "0.1": "relu"}, "must have 2 entries"),
    ({"": "(1)", "0": "(3)", "0.0": "0:2", "0.1": "relu", "0.2": "relu"}, "must be a list such as"),
    ({"": "(1)", "0": "(2)", "0.0": "0:2", "0.1": "custom"}, "unknown activation|without its alpha"),
    ({"": "(1)", "0": "(2)", "0.0": "0:2", "0.1": "prelu", "0.1.alpha": "0x1p-1", "0.1.shared": "true"},
     "learned slopes"),
    ({"": "(1)", "0": "(2)", "0.0": "0:2", "0.1": "elu"}, "without its alpha"),
    ({"": "(1)", "0": "(2)", "0.0": "0:2", "0.1": "elu", "0.1.alpha": "-0x1p+0"}, "alpha must be >= 0"),
    ({"": "(1)", "0": "(2)", "0.0": "0:2", "0.1": "swish"}, "unknown activation"),
    ({"": "(0)"}, "at least one part"),
    ({"": "relu"}, "must be a list such as"),
]


def of_tensors():
    for name, change, message in TENSORS:
        header, data = parts()
        header[name].update(change)
        yield f"{name} {change}", joined(header, data), message


def of_settings():
    for name, value, message in SETTINGS:
        header, data = parts()
        header["__metadata__"][name] = value
        if value is None:
            del header["__metadata__"][name]
        yield f"{name} {value}"[:60], joined(header, data), message


def of_parts():
    for texts, message in PARTS:
        header, data = parts()
        header["__metadata__"]["layers.1.activation"] = "per_output"
        header["__metadata__"] |= {f"layers.1.parts{'.' if key else ''}{key}": text for key, text in texts.items()}
        yield f"parts {texts}", joined(header, data), message


def of_bytes():
    header, data = parts()
    good, text = joined(header, data), json.dumps(header)

    def renamed(**names):
        again = {names.get(name.replace(".", "_"), name): value for name, value in header.items()}
        return joined(again, data)

    yield "nothing", b"", "at least 8 bytes, has 0"
    yield "seven bytes", good[:7], "at least 8 bytes, has 7"
    yield "a short header", good[:100], "truncated: the header ends at byte"
    yield "short data", good[:-1], "truncated: its tensors have 104 bytes, of which 103 are there"
    yield "long data", good + b"\0", "longer than its header says: 1 bytes after the last tensor"
    yield "a long header", (MOST_HEADER + 1).to_bytes(8, "little") + good[8:], "at most 1048576 bytes, is said to have"
    yield "the longest header", b"\xff" * 8 + good[8:], "at most 1048576 bytes, is said to have 18446744073709551615"
    yield "space before the header", joined(b" " + text.encode(), data), "must be a JSON object, begins with ' '"
    for name, bad in [("no UTF-8", b"\xff\xfe"), ("a surrogate", b"\xed\xa0\x80"), ("a long form", b"\xc0\x80"),
                      ("too large", b"\xf4\x90\x80\x80"), ("half of one", b"\xe2\x82")]:
        yield name, joined(text.encode().replace(b"mlpfast", bad), data), "not text in UTF-8"
    yield "no end", joined(b"{", b""), "is not JSON"
    yield "an empty object", joined(b"{}", b""), "no file of mlpfast"
    yield "a mark in front", joined(b"\xef\xbb\xbf" + text.encode(), data), "must be a JSON object"
    yield "something behind", joined(text.encode() + b" x", data), "is not JSON"
    yield "a comma at the end", joined(text[:-1].encode() + b",}", data), "is not JSON"
    yield "a line break in a text", joined(text.replace("mlpfast", "mlp\nfast").encode(), data), "is not JSON"
    yield "an escape that there is not", joined(text.replace("mlpfast", "\\xmlpfast").encode(), data), "is not JSON"
    yield "half an escape", joined(text.replace("mlpfast", "\\u12g4").encode(), data), "is not JSON"
    yield "a zero in front", joined(text.replace("[3, 4]", "[03, 4]").encode(), data), "is not JSON"
    yield "NaN", joined(text.replace("[3, 4]", "[NaN, 4]").encode(), data), "whole numbers only"
    yield "an exponent", joined(text.replace("[3, 4]", "[3e0, 4]").encode(), data), "whole numbers only"
    yield "a tensor twice", joined(text.replace('"layers.0.b"', '"layers.0.W"').encode(), data), "'layers.0.W' twice"
    yield "a shape twice", joined(text.replace('"shape": [3, 4]', '"shape": [3, 4], "shape": [4, 3]').encode(), data), (
        "has the entry 'shape' twice")
    escaped = text.replace('"layers.0.b"', '"layers.0.\\u0057"').encode()
    yield "a tensor twice, in other letters", joined(escaped, data), "has the entry 'layers.0.W' twice"
    setting = text.replace('"version"', '"format"').encode()
    yield "a setting twice", joined(setting, data), "has the entry 'format' twice"
    yield "metadata twice", joined(text[:-1].encode() + b',"__metadata__":{}}', data), "entry '__metadata__' twice"
    yield "a longer name", renamed(layers_1_b="layers.1.b\0"), "unknown tensor"
    yield "another name", renamed(layers_1_b="layers.1.B"), "unknown tensor 'layers.1.B'"
    header["extra"] = {"dtype": "F32", "shape": [0], "data_offsets": [104, 104]}
    yield "one more tensor", joined(header, data), "unknown tensor 'extra'"
    header["extra"]["data_offsets"] = [50, 50]
    yield "nothing within another tensor", joined(header, data), "overlaps|leaves a hole"
    del header["extra"]
    header["input_transform.mean"] = {"dtype": "F64", "shape": [3], "data_offsets": [104, 128]}
    yield "half a transform", joined(header, data + b"\0" * 24), "'input_transform.scale' is missing"
    header["input_transform.scale"] = {"dtype": "F64", "shape": [3], "data_offsets": [128, 152]}
    yield "a scale of zeros", joined(header, data + b"\0" * 48), "scale must be finite and > 0"
    header, data = parts()
    header["layers.0.W"]["shape"], header["layers.0.W"]["data_offsets"] = [3, 2**50], [0, 12 * 2**50]
    yield "petabytes", joined(header, data), "'layers.0.b' overlaps|truncated"
    for nested in (b"[" * 10_000, b'{"a":' * 10_000, b'{"a\\"": ' + b"[" * 10_000, b'{"":' * 5 + b"1"):
        yield "nested", joined(b'{"a":' + nested, b""), "nested more than 3 deep|is not JSON"


def of_masks():
    data = bytes_of(Network([Layer(3, 4, mask=np.arange(12).reshape(3, 4) % 5 > 0)], seed=1))
    yield "a mask of 2", data[:-1] + b"\2", "'layers.0.mask' must hold bytes 0 and 1, got 2"
    yield "weights where the mask is 0", data[:-12] + b"\0" * 12, "layers.0.W must be 0 where layers.0.mask is"


def every():
    """(name, bytes, what Python says) of each."""
    for files in (of_bytes, of_tensors, of_settings, of_parts, of_masks):
        yield from files()


def good():
    """Networks whose files have everything that a file can have."""
    mask = np.arange(35).reshape(5, 7) % 3 > 0
    yield NET
    for dtype in ("float32", "float64"):
        yield Network(
            [Layer(5, 7, activations.ELU(0.5), mask=mask, dropout=0.25, init="he_normal", l1=1e-3, lr_factor=0.5),
             Layer(7, 20, activations.PReLU(-0.1), bias_init="uniform", l2=1 / 3, bias_lr_factor=0.0),
             Layer(20, 128, activations.PReLU(0.2, shared=True), trainable=False), Layer(128, 6, "gelu", bias=False),
             Layer(6, 4, activations.PerOutput([(slice(1, 4), "softmax"), (0, activations.LeakyReLU(0.125))]))],
            dtype=dtype, seed=2**64 - 1, input_scale=1 / 255, input_dropout=0.125, input_noise=0.1,
            input_transform=(np.arange(5), np.arange(1, 6)),
        )
    for name in activations.NAMES:
        yield Network([3, 5, 2], activation="tanh" if name == "softmax" else name, output=name, seed=0)
    yield Network([1] * 120, seed=1)
    yield Network([64, 32, 10], output="softmax", seed=0)


def main(folder):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    files = [data for _name, data, _message in every()] + [bytes_of(net) for net in good()]
    for number, data in enumerate(files):
        folder.joinpath(str(number)).write_bytes(data)
    print(f"{len(files)} files in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
