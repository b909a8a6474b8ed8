"""Files of networks: what is written, what is read back, and what is refused."""

import copy
import hashlib
import json
import os
import pickle
import pickletools
import random
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from processes import run_python

import mlpfast
from mlpfast import Layer, Network, Trainer, _core, activations, files, load_network, losses, schedules
from mlpfast._safetensors import DTYPES, File, pieces, write
from mlpfast._texts import put, text, value_of

sys.path.insert(0, str(Path(__file__).with_name("stress")))
import bad_files
import damaged
from bad_files import joined

SINE = activations.Custom(np.sin, np.cos, name="sine")


def everything(dtype="float32", **settings):
    """A network with one of each setting that a layer can have."""
    layers = [
        Layer(9, 20, activations.ELU(0.3), mask=np.arange(180).reshape(9, 20) % 5 > 0, dropout=0.25, l1=1e-3),
        Layer(20, 128, activations.PReLU(0.1), l2=1 / 3, init="he_normal"),
        Layer(128, 100, activations.PReLU(0.2, shared=True), bias_init="uniform"),
        Layer(100, 17, "gelu", bias=False, trainable=False),
        Layer(17, 1, "identity"),
    ]
    given = {"seed": 2**64 - 1, "input_scale": 1 / 255, "input_dropout": 0.125, "input_noise": 0.1}
    return Network(layers, dtype=dtype, **{**given, **settings})


def bits(net):
    return [p.tobytes() for p in net.parameters]


def settings(net):
    return [repr(layer) for layer in net.layers], net._settings()


def file_of(thing, path):
    thing.save(path, sync=False)
    return path.read_bytes()


# ---- What is written comes back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_comes_back_bit_for_bit(tmp_path, dtype):
    net = everything(dtype)
    net.save(tmp_path / "net")
    again = load_network(tmp_path / "net")
    assert bits(again) == bits(net) and settings(again) == settings(net) and again.dtype == net.dtype
    assert (again.layers[0].mask == net.layers[0].mask).all()
    X = np.random.default_rng(0).integers(0, 256, (12, 9)).astype(np.uint8)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    y = X[:, 0] / 255
    for each in (net, again):  # the mask and the frozen layer are the core's too
        Trainer(each, "half_squared_error", seed=0).fit(X, y)
    assert bits(again) == bits(net)


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_comes_back(tmp_path, name):
    net = Network([3, 5, 2], activation="tanh" if name == "softmax" else name, output=name, seed=0)
    assert file_of(load_network(_saved(net, tmp_path)), tmp_path / "again") == file_of(net, tmp_path / "net")


def test_settings_of_training_come_back(tmp_path):
    def layers():
        parts = activations.PerOutput([(slice(1, 3), "softmax"), (0, activations.LeakyReLU(0.125))])
        return [
            Layer(4, 6, "tanh", dropout=schedules.Cosine(0.3, 9), lr_factor=0.5, l2=1e-3),
            Layer(6, 3, parts, l2=schedules.Warmup(2, schedules.ReduceOnPlateau(0.1)), bias_lr_factor=0.0),
        ]

    net = Network(layers(), seed=0, input_dropout=schedules.Step(0.2))
    again = load_network(_saved(net, tmp_path))
    assert bits(again) == bits(net) and repr(settings(again)) == repr(settings(net))
    assert again.layers[1]._unit == net.layers[1]._unit
    assert file_of(again, tmp_path / "again") == file_of(net, tmp_path / "net")
    assert repr(settings(pickle.loads(pickle.dumps(net)))) == repr(settings(net))
    X = np.random.default_rng(0).normal(size=(12, 4))
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    for each in (net, again):
        loss = losses.PerOutput([(0, "squared_error"), (slice(1, 3), "cross_entropy")])
        Trainer(each, loss, seed=0).fit(X, np.c_[X[:, 0], np.arange(12) % 2], epochs=3)
    assert bits(again) == bits(net)


class Own:
    """A schedule of the caller's."""

    per = "epoch"

    def at(self, t):
        return 0.5


def test_a_schedule_of_ones_own_is_asked_for_by_its_class(tmp_path):
    own = Own()
    net = Network([Layer(3, 5, dropout=own), Layer(5, 2, l2=own)], seed=0)
    path = _saved(net, tmp_path)
    with pytest.raises(ValueError, match="layers.0.dropout .* called 'Own'"):
        load_network(path)
    again = load_network(path, custom={"Own": own})
    assert again.layers[0].dropout is own is again.layers[1].l2
    assert "dropout Own" in files.summary(path) and "functions of your own: Own" in files.summary(path)
    with pytest.raises(ValueError, match="two that are called 'Own'"):
        Network([Layer(3, 5, dropout=own), Layer(5, 2, l2=Own())]).save(tmp_path / "two")


def _saved(net, tmp_path):
    net.save(tmp_path / "saved", sync=False)
    return tmp_path / "saved"


@pytest.mark.parametrize("is_short", [False, True])
def test_long_rows_with_gaps(tmp_path, monkeypatch, is_short):
    """Also where the system writes and reads less than it is asked for, up to the middle of a row."""
    net = Network([1100, 1030, 3], seed=0)
    W = net.layers[0].W
    assert not W.flags.c_contiguous

    def less(real):
        return lambda fd, buffers, *at: real(fd, [*buffers[:5], buffers[5][:100]], *at)

    if is_short:
        for name in ("writev", "preadv"):
            if hasattr(os, name):
                monkeypatch.setattr(os, name, less(getattr(os, name)))
    path = _saved(net, tmp_path)
    data = path.read_bytes()
    assert data[-4 * net.n_parameters :][: W.nbytes] == W.tobytes()
    assert bits(load_network(path)) == bits(net)
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match="truncated"):
        load_network(path)


def test_the_same_network_has_the_same_bytes_everywhere(tmp_path):
    """The hash was computed once; no machine, Python or NumPy may give another."""
    net = Network([Layer(3, 17, activations.ELU(0.1), mask=np.arange(51).reshape(3, 17) % 2 > 0), Layer(17, 2)], seed=5,
                  input_scale=1 / 255)
    known = "3d4b92543052e179d8a4073a15b150c0e2fca6e8b02667b22dbf5006ff78d393"
    assert hashlib.sha256(file_of(net, tmp_path / "net")).hexdigest() == known
    assert file_of(load_network(tmp_path / "net"), tmp_path / "again") == file_of(net, tmp_path / "net")


def test_the_metadata_are_flat_texts(tmp_path):
    metadata, tensors = damaged.said(file_of(everything(), tmp_path / "net"))
    assert metadata["format"] == "mlpfast" and metadata["version"] == "1" and metadata["holds"] == "network"
    assert metadata["layers.0.activation"] == "elu" and metadata["layers.0.alpha"] == "0x1.3333333333333p-2"
    assert metadata["layers.0.dropout"] == "0x1p-2" and metadata["layers.3.trainable"] == "false"
    assert tensors["layers.1.W"][:2] == ("F32", (20, 128)) and tensors["layers.0.mask"][:2] == ("BOOL", (9, 20))


def test_a_file_is_hardly_larger_than_the_parameters(tmp_path):
    for sizes in ([64, 64, 10], [784, 512, 512, 10], [10] * 8):
        net = Network(sizes, output="softmax", dropout=0.5)
        net.save(tmp_path / "net", sync=False)
        assert 0 < os.path.getsize(tmp_path / "net") - 4 * net.n_parameters < 2048


def test_parameters_may_be_any_numbers(tmp_path):
    net = Network([2, 3], seed=0)
    net.layers[0].W = [[-0.0, 1e-45, 3e38], [0.1, -1e-40, 0.0]]
    assert bits(load_network(_saved(net, tmp_path))) == bits(net)
    net.layers[0].b[1] = np.nan
    path = _saved(net, tmp_path)
    with pytest.warns(RuntimeWarning, match=f"{path}.*layer 1, layers.0, holds NaN"):
        assert bits(load_network(path)) == bits(net)


def test_a_custom_activation_is_asked_for_by_its_name(tmp_path):
    net = Network([3, 5, 2], activation=SINE, seed=0)
    path, X = _saved(net, tmp_path), np.ones((2, 3))
    with pytest.raises(ValueError, match=r"layers.0.activation .* called 'sine'.*custom=\{'sine': object\}"):
        load_network(path)
    assert (load_network(path, custom={"sine": SINE}).predict(X) == net.predict(X)).all()
    with pytest.raises(ValueError, match="activation must be a name or an object"):
        load_network(path, custom={"sine": np.sin})
    with pytest.raises(TypeError, match="custom must be a dict"):
        load_network(path, custom=SINE)
    two = Network([Layer(3, 5, SINE), Layer(5, 2, activations.Custom(np.cos, np.sin, name="sine"))])
    with pytest.raises(ValueError, match="two that are called 'sine'"):
        two.save(tmp_path / "two")
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("name", ["tanh", "", "my function", 3])
def test_a_custom_function_has_a_name_of_its_own(name):
    with pytest.raises(ValueError, match="name must be a name of your own"):
        activations.Custom(np.sin, np.cos, name=name)
    with pytest.raises(ValueError, match="name must be a name of your own"):
        losses.Custom(np.sin, np.cos, name=name if name != "tanh" else "huber")


# ---- state_dict


def test_state_dict_holds_contiguous_copies(tmp_path):
    net = everything()
    state = net.state_dict()
    assert list(state) == ["layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b", "layers.1.slopes", "layers.2.W",
                           "layers.2.b", "layers.2.slopes", "layers.3.W", "layers.4.W", "layers.4.b", "layers.0.mask"]
    assert all(array.flags.c_contiguous and array.flags.owndata and array.flags.writeable for array in state.values())
    assert [a.tobytes() for a in state.values()][:-1] == bits(net)
    before = bits(net)
    state["layers.0.W"][...] = 0
    assert bits(net) == before
    np.savez(tmp_path / "net.npz", **net.state_dict())
    other = everything(seed=1)
    with np.load(tmp_path / "net.npz", allow_pickle=False) as saved:
        other.load_state_dict(dict(saved))
    assert bits(other) == bits(net) and other.seed == 1


def test_load_state_dict_converts_numbers_and_applies_masks():
    net, other = everything("float64"), everything(seed=1)
    state = net.state_dict()
    state["layers.0.W"] = np.ones((9, 20))
    other.load_state_dict({**state, "layers.4.b": [2]})
    assert other.layers[0].W.sum() == other.layers[0].mask.sum() and other.layers[4].b[0] == 2
    assert (other.layers[1].W == net.layers[1].W.astype(np.float32)).all()


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("layers.1.W"), "layers.1.W is missing"),
    (lambda s: s.update({"layers.9.W": np.zeros(2)}), "layers.9.W is unknown"),
    (lambda s: s.update({"layers.4.W": np.zeros((1, 17))}), r"'layers.4.W'\] must have shape \(17, 1\), got \(1, 17\)"),
    (lambda s: s.update({"layers.4.b": np.array([1e39])}), "layers.4.b.* numbers that float32 can hold"),
    (lambda s: s.update({"layers.4.b": np.array(["a"])}), "layers.4.b.* real numbers"),
    (lambda s: s.update({"layers.0.mask": np.ones((9, 20), bool)}), "layers.0.mask.* cannot be changed"),
], ids=str)
def test_load_state_dict_refuses_what_does_not_fit(change, message):
    net = everything()
    state, before = everything(seed=1).state_dict(), bits(net)
    change(state)
    with pytest.raises((ValueError, TypeError), match=message):
        net.load_state_dict(state)
    assert bits(net) == before
    with pytest.raises(TypeError, match="state_dict must be a dict"):
        net.load_state_dict([])


def test_load_state_dict_waits_for_no_training():
    X, y = np.ones((4, 3)), np.zeros(4, int)
    net = Network([3, 2], output="softmax")
    state = net.state_dict()

    def load(z):
        net.load_state_dict(state)

    Trainer(net).fit(X, y, callbacks=lambda trainer, epoch, logs: net.load_state_dict(state))  # between epochs it may
    net = Network([Layer(3, 2, activations.Custom(load, np.cos)), Layer(2, 2, "softmax")])
    state = net.state_dict()
    with pytest.raises(RuntimeError, match="being trained"):
        Trainer(net).fit(X, y)


# ---- The safetensors library


def test_the_safetensors_library_reads_ours(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors library")
    for dtype in ("float32", "float64"):
        net = everything(dtype)
        net.save(tmp_path / "net")
        theirs, ours = numpy.load_file(tmp_path / "net"), net.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(theirs[name].tobytes() == array.tobytes() and theirs[name].dtype == array.dtype
                   for name, array in ours.items())


def test_we_read_what_the_safetensors_library_writes(tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="needs the safetensors library")
    numpy = pytest.importorskip("safetensors.numpy")
    net = everything()
    net.save(tmp_path / "net")
    with safetensors.safe_open(tmp_path / "net", "numpy") as file:
        metadata = file.metadata()
    numpy.save_file(net.state_dict(), tmp_path / "theirs", metadata=metadata)
    again = load_network(tmp_path / "theirs")
    assert bits(again) == bits(net) and settings(again) == settings(net)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_numpy_both_ways(tmp_path, dtype):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors library")
    kind = np.dtype(DTYPES[dtype])
    numbers = np.random.default_rng(0).integers(0, 256, (5, 3, kind.itemsize), dtype=np.uint8)
    matrix = (numbers % 2 if dtype == "BOOL" else numbers).view(kind)[..., 0]
    tensors = {"matrix": matrix, "one": np.array(matrix[0, 0]), "none": matrix[:0], "odd": matrix[:, 1].copy()}
    write(tmp_path / "ours", pieces(tensors, {"a": "b"}))
    numpy.save_file(tensors, tmp_path / "theirs", metadata={"a": "b"})
    theirs = numpy.load_file(tmp_path / "ours")
    with File(tmp_path / "theirs") as file:
        assert file.metadata == {"a": "b"}
        for name, array in tensors.items():
            for read in (theirs[name], file.read(name)):
                assert (read.shape, read.dtype, read.tobytes()) == (array.shape, array.dtype, array.tobytes())


# ---- Files that are refused

NET = bad_files.NET


@pytest.fixture
def parts():
    """(header as a dict, data) of a good file."""
    return bad_files.parts()


def refused(tmp_path, data, message):
    """By Python, and by the C core, which reads the same bytes."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        load_network(path)
    assert str(error.value).startswith(repr(str(path)))
    assert _core.through_c(data)[0] is not None


@pytest.mark.parametrize("files", [bad_files.of_bytes, bad_files.of_tensors, bad_files.of_settings, bad_files.of_parts,
                                   bad_files.of_masks])
def test_bad_files_are_refused(tmp_path, files):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)  # nested brackets are refused whatever it is
    try:
        for name, data, message in files():
            print(name)  # seen if it fails
            refused(tmp_path, data, message)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("number, net", list(enumerate(bad_files.good())))
def test_the_c_core_reads_and_writes_the_same_files(number, net):
    data = bad_files.bytes_of(net)
    X = np.random.default_rng(number).normal(size=(5, net.n_in)).astype(net.dtype)
    problem, again, out = _core.through_c(data, X)
    assert problem is None and again == data
    assert out.tobytes() == net.predict(X).tobytes()
    X = np.random.default_rng(number).integers(0, 256, (5, net.n_in)).astype(np.uint8)  # input_scale is in the file
    assert _core.through_c(data, X)[2].tobytes() == net.predict(X).tobytes()


def test_the_c_core_reads_the_network_of_a_trainer(tmp_path):
    net = Network([3, 4, 2], seed=0)
    trainer = Trainer(net, "squared_error", mlpfast.Adam(schedules.Cosine(0.1, 5)), seed=0)
    trainer.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2)
    trainer.save(tmp_path / "trainer")
    assert _core.through_c((tmp_path / "trainer").read_bytes())[:2] == (None, bad_files.bytes_of(net))


def test_the_c_core_has_no_functions_of_python():
    for layer in (Layer(3, 2, SINE), Layer(3, 2, l2=schedules.Cosine(0.3, 9))):
        assert _core.through_c(bad_files.bytes_of(Network([layer])))[0].startswith("status 11: ")


def test_many_names_take_time_in_proportion(tmp_path, parts):
    """Minutes if each is compared with each."""
    header, data = parts
    header["__metadata__"] = {format(number, "x"): "" for number in range(100_000)}
    twice = json.dumps(header, separators=(",", ":")).replace('"1869f":', '"1869e":').encode()
    refused(tmp_path, joined(twice, data), "has the entry '1869e' twice")
    net = Network([1] * 3001, seed=0)
    net.save(tmp_path / "deep")
    assert bits(load_network(tmp_path / "deep")) == bits(net)


def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path):
    """A pipe would be waited for, and /dev/null, which is not tried, be a file from then on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/null"):
        with pytest.raises(ValueError, match="must be a file, is a device or a pipe"):
            load_network(path)
    with pytest.raises(OSError, match="which is replaced as a whole, got the device or pipe"):
        NET.save(pipe)
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_unaligned_tensors_are_read(tmp_path, parts):
    header, data = parts
    for pad in range(8):
        text = json.dumps(header).encode()
        (tmp_path / "net").write_bytes(joined(text + b" " * pad, data))
        assert bits(load_network(tmp_path / "net")) == bits(NET)


def test_masks_are_believed_no_more_than_the_rest(tmp_path):
    data = file_of(everything(), tmp_path / "net")
    metadata, tensors = damaged.said(data)
    refused(tmp_path, data[:-1] + b"\2", "'layers.0.mask' must hold bytes 0 and 1, got 2")
    assert data[-180] == 0  # of the first weight
    refused(tmp_path, data[:-180] + b"\0" * 180, "layers.0.W must be 0 where layers.0.mask is")


def test_damaged_files_are_refused_or_loaded_as_they_are():
    """More are tried by tests/stress/damaged.py."""
    with warnings.catch_warnings(), damaged.workplace() as folder:
        warnings.simplefilter("ignore", RuntimeWarning)
        refused, loaded, wrong = damaged.attack(damaged.originals(folder), 2000, 1, Path(folder) / "damaged")
    assert wrong == [] and refused > 1000 and loaded > 50


# ---- Texts


@pytest.mark.parametrize("value, form", [
    (True, "true"), (None, "none"), (0, "0"), (-17, "-17"), (2**64 - 1, "18446744073709551615"), (0.5, "0x1p-1"),
    (0.1, "0x1.999999999999ap-4"), (0.0, "0x0p+0"), (-0.0, "-0x0p+0"), (5e-324, "0x0.0000000000001p-1022"),
    (np.float32(0.25), "0x1p-2"), (float("inf"), "inf"), ("relu", "relu"), ("none", '"none"'), ("17", '"17"'),
    (slice(0, 3), "0:3"), ("0:3", '"0:3"'), ("0x1p-1", '"0x1p-1"'), ('"', r'"\""'), ("(2)", '"(2)"'), ("", ""),
])
def test_a_value_has_one_text(value, form):
    assert text(value) == form
    again = value_of(form)
    assert again == value and (isinstance(value, np.generic) or type(again) is type(value))
    assert np.signbit(again) == np.signbit(value) if isinstance(value, float) else True


def test_texts_of_any_float_come_back():
    draw = random.Random(0)
    for _ in range(2000):
        x = np.uint64(draw.getrandbits(64)).view(np.float64).item()
        assert np.float64(value_of(text(x))).tobytes() == np.float64(x).tobytes() or x != x


def test_only_plain_values_have_texts():
    for value in (np.zeros(2), object(), 1j):
        with pytest.raises(TypeError, match="a file holds numbers, names and objects of mlpfast"):
            text(value)
    texts = {}
    put(texts, "pair", (0.5, [1, None]))
    assert texts == {"pair": "(2)", "pair.0": "0x1p-1", "pair.1": "(2)", "pair.1.0": "1", "pair.1.1": "none"}


# ---- Writing as a whole or not at all


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "net"
    before = file_of(NET, path)
    for folder in (tmp_path, os.fsencode(tmp_path)):
        with pytest.raises(IsADirectoryError, match="must be that of a file, got the folder '/"):
            NET.save(folder)
    with pytest.raises(FileNotFoundError):
        NET.save(tmp_path / "nowhere" / "net")

    def stops():
        yield b"x" * 100_000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, stops())
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    before = file_of(NET, tmp_path / "net")
    program = """
        import resource, signal, sys, mlpfast
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        net = mlpfast.Network([100, 300, 10])
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # as a disk with so much room
        try:
            net.save(sys.argv[1])
        except OSError as error:
            print("OSError", error.errno)
    """
    assert run_python(program, tmp_path / "net").startswith("OSError")
    assert (tmp_path / "net").read_bytes() == before and os.listdir(tmp_path) == ["net"]


def test_a_read_only_folder_leaves_the_old_file(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    before = file_of(NET, folder / "net")
    folder.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    program = """
        import os, sys, mlpfast
        net = mlpfast.Network([3, 2])
        if os.geteuid() == 0:  # whom no folder refuses
            os.seteuid(65534)
        try:
            net.save(sys.argv[1])
        except OSError as error:
            print(type(error).__name__)
    """
    try:
        assert run_python(program, folder / "net") == "PermissionError\n"
        assert (folder / "net").read_bytes() == before and os.listdir(folder) == ["net"]
    finally:
        folder.chmod(0o755)


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    (tmp_path / "net.unfinished").write_bytes(b"x" * 10**6)
    data = file_of(NET, tmp_path / "net")
    assert os.listdir(tmp_path) == ["net"] and len(data) < 2000
    os.symlink(tmp_path / "elsewhere", tmp_path / "net.unfinished")
    with pytest.raises(OSError):
        NET.save(tmp_path / "net")
    assert not (tmp_path / "elsewhere").exists()


def test_a_save_that_fails_takes_nothing_from_another(tmp_path, monkeypatch):
    """Its file is still locked when it is removed: else another could have taken it over."""
    fcntl, unlink, removed = pytest.importorskip("fcntl"), os.unlink, []

    def unlink_locked(path):
        with open(path) as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlink(path)
        removed.append(path)

    def stops():
        yield b"x"
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "unlink", unlink_locked)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "net", stops())
    assert removed == [str(tmp_path / "net.unfinished")]


@pytest.mark.parametrize("name", [b"caf\xe9", "n\u00e9t", b"net"])
def test_names_that_are_bytes_or_no_text(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name) if isinstance(name, bytes) else tmp_path / name
    NET.save(path)
    assert bits(load_network(path)) == bits(load_network(os.fsdecode(path))) == bits(NET)


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    os.symlink(tmp_path / "real", tmp_path / "link")
    NET.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert bits(load_network(tmp_path / "real")) == bits(NET)


def test_several_threads_save_to_one_path(tmp_path):
    nets = [Network([30, 40, 2], seed=seed) for seed in range(8)]
    threads = [threading.Thread(target=lambda n=n: [n.save(tmp_path / "net", sync=False) for _ in range(20)])
               for n in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bits(load_network(tmp_path / "net")) in [bits(net) for net in nets]
    assert os.listdir(tmp_path) == ["net"]


# ---- Pickles


def test_a_pickle_names_no_module_of_numpy():
    net = everything()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(net, protocol)
        named = [str(argument) for _, argument, _ in pickletools.genops(data) if argument is not None]
        assert not any("numpy" in name for name in named)
        again = pickle.loads(data)
        assert bits(again) == bits(net) and settings(again) == settings(net)


def test_a_pickle_with_arrays_loads():
    """As earlier versions wrote them."""
    net = everything("float64")
    state = net.__getstate__()
    state["parameters"] = [p.copy() for p in net.parameters]
    state["layers"] = [layer._settings() for layer in net.layers]
    del state["input_noise"]
    again = Network.__new__(Network)
    again.__setstate__(state)
    assert bits(again) == bits(net) and again.input_noise == 0


def test_loading_and_copying_draw_no_numbers(tmp_path, monkeypatch):
    path = _saved(NET, tmp_path)

    def refuse(*_):
        raise AssertionError("numbers are drawn")

    monkeypatch.setattr(mlpfast.initializers, "fill", refuse)
    assert bits(load_network(path)) == bits(copy.deepcopy(NET)) == bits(NET)
