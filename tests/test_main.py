"""`python -m mlpfast`, run in a separate process and another folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mlpfast

COMMAND = [sys.executable, "-m", "mlpfast"]
SHORT = ["--epochs", "2", "--layers", "16"]


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [*COMMAND, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    return run


def losses(output):
    """The last losses of mlpfast and of NumPy."""
    return [float(loss) for loss in re.findall(r"last loss (\S+)", output)]


def test_trains_on_the_digits_beside_numpy(run):
    done = run("--epochs", 20)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "64-128-10 on digits, 1438 images" in done.stdout
    assert len(re.findall(r"^epoch \d+/20  loss", done.stdout, re.M)) == 10
    assert float(re.search(r"test accuracy ([\d.]+) %", done.stdout)[1]) >= 95
    for name in ("mlpfast", "plain NumPy"):
        assert re.search(rf"^{name} +[\d,]+ examples per second", done.stdout, re.M)
    assert re.search(r"^ratio: mlpfast is [\d.]+ times as fast", done.stdout, re.M)
    ours, numpys = losses(done.stdout)
    assert ours == pytest.approx(numpys, rel=0.01, abs=1e-4)


def test_options_do_what_they_say(run):
    options = ["--layers", "32,16", "--epochs", 3, "--batch-size", 50, "--lr", 0.25, "--momentum", 0.5]
    done = run(*options, "--threads", 2, "--seed", 7)
    assert done.returncode == 0, done.stderr
    assert "64-32-16-10 on digits" in done.stdout
    assert "batch size 50, lr 0.25, momentum 0.5" in done.stdout
    assert "epoch 3/3" in done.stdout

    X, y = mlpfast.datasets.load_digits()
    train = [i for i in range(len(X)) if i % 5 != 4]
    net = mlpfast.Network([64, 32, 16, 10], output="softmax", seed=7)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.SGD(lr=0.25, momentum=0.5), batch_size=50, seed=7)
    history = trainer.fit(X[train], y[train], epochs=3)
    assert losses(done.stdout)[0] == pytest.approx(history["loss"][-1], abs=1e-6)


def test_seed_and_threads(run):
    def loss(seed, threads):
        return losses(run(*SHORT, "--seed", seed, "--threads", threads).stdout)[0]

    assert loss(1, 1) == loss(1, 3) != loss(2, 1)


def test_info_is_json_and_nothing_else(run):
    done = run("info")
    assert done.returncode == 0
    info = json.loads(done.stdout)
    slow = info["isa_available"] == ["generic"] or info["threading"] == "none"
    assert ("warning" in done.stderr) == slow
    assert info.keys() == mlpfast.show_config(mode="dicts").keys()
    assert info["version"] == mlpfast.__version__
    assert info["isa"] in info["isa_available"]
    assert info["threading"] in ("openmp", "pthreads", "windows", "none")


def test_help(run):
    done = run("--help")
    assert done.returncode == 0
    assert "--batch-size" in done.stdout


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--epochs", 0], "epochs"),
        (["--epochs", "many"], "--epochs"),
        (["--batch-size", 0], "batch_size"),
        (["--lr", -1], "lr"),
        (["--lr", "nan"], "lr"),
        (["--momentum", 1], "momentum"),
        (["--threads", 0], "threads"),
        (["--seed", -1], "seed"),
        (["--layers", "64,,3"], "--layers"),
        (["--layers", "64,0"], "--layers"),
        (["--data", "letters"], "--data"),
        (["--data", "mnist"], "--path"),
        (["--path", "here"], "--data"),
        (["--data", "mnist", "--path", "nowhere"], "nowhere"),
        (["information"], "info"),
        (["show"], "FILE"),
        (["show", "nowhere"], "nowhere"),
        (["show", __file__], "is no safetensors file, or is damaged: its header must have at most"),
        (["info", "a-file"], "FILE"),
        (["export-c"], "expected 'export-c FILE [OUT.c]', got 0 FILE"),
        (["export-c", "a.pt"], "source must end in .safetensors or .onnx, got 'a.pt'"),
        (["export-c", "nowhere.safetensors"], "nowhere.safetensors"),
        (["show", "a.safetensors", "--name", "net"], "--name goes with export-c"),
        (["convert", "a.onnx"], "expected 'convert FILE FILE', got 1 FILE"),
        (["convert", "a.onnx", "b.onnx", "c.onnx"], "FILE"),
        (["convert", "a.pt", "b.onnx"], "source must end in .safetensors or .onnx, got 'a.pt'"),
        (["convert", "a.onnx", "b"], "target must end in"),
        (["convert", "a.safetensors", "b.onnx"], "a.safetensors"),
        (["--colour"], "--colour"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(run, arguments, named):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("python -m mlpfast: error: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


def test_a_loss_that_is_not_finite_is_one_line_and_exit_code_1(run):
    done = run(*SHORT, "--lr", "1e30")
    assert done.returncode == 1
    assert done.stderr.startswith("python -m mlpfast: epoch ")
    assert done.stderr.count("\n") == 1


def test_show_says_what_a_file_holds(run, tmp_path):
    sine = mlpfast.activations.Custom(abs, abs, name="sine")
    net = mlpfast.Network([3, 17, 2], activation=sine, input_transform=([0, 1, 2], [1, 1, 1]))
    net.save(tmp_path / "net")
    trainer = mlpfast.Trainer(net, "huber", mlpfast.Adam(mlpfast.schedules.Step(0.25, 0.5, 3)), batch_size=5)
    trainer.history.update({"loss": [0.5, 0.125], "odd\x1b[2J": [True, False]})
    trainer.save(tmp_path / "trainer")
    shown = run("show", "net").stdout
    assert net.summary() in shown and "layers.0.W             float32  (3, 17)" in shown
    assert "standardized" in shown and "a network, format version 1," in shown and "of your own: sine" in shown
    shown = run("show", "trainer").stdout
    wanted = ("loss Huber(delta=1.0)", "optimizer Adam(lr=Step(lr=0.25, factor=0.5, every=3", "batch_size 5",
              "epoch 0 (0 of its", "a Trainer and its network")
    assert all(part in shown for part in wanted)
    assert "last epoch: loss 0.125" in shown and r"odd\x1b[2J 0" in shown and "\x1b" not in shown


def test_convert_takes_the_network_of_a_trainer(run, tmp_path):
    net = mlpfast.Network([3, 4, 2], dropout=0.3, output="softmax", seed=0)
    net.save(tmp_path / "network.safetensors")
    mlpfast.Trainer(net, seed=0).save(tmp_path / "trainer.safetensors")
    done = run("convert", "trainer.safetensors", "b.safetensors")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"b.safetensors:\n{net.summary()}\n")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "network.safetensors").read_bytes()


def test_convert_writes_and_reads_onnx(run, tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx has it")
    net = mlpfast.Network([3, 4, 2], output="softmax", seed=0)
    net.save(tmp_path / "a.safetensors")
    assert run("convert", "a.safetensors", "b.ONNX").returncode == 0
    assert run("convert", "b.ONNX", "c.safetensors").returncode == 0
    again = mlpfast.load_network(tmp_path / "c.safetensors")
    assert again.summary() == net.summary()
    assert [p.tobytes() for p in again.parameters] == [p.tobytes() for p in net.parameters]


def test_export_c_writes_the_network_as_a_c_file(run, tmp_path):
    net = mlpfast.Network([3, 4, 2], output="softmax", seed=0)
    net.save(tmp_path / "a.safetensors")
    net.export_c(tmp_path / "wanted.c", name="digits")
    done = run("export-c", "a.safetensors")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"a.c and its header:\n{net.summary()}\n")
    assert "void model_predict(" in (tmp_path / "a.h").read_text()
    done = run("export-c", "a.safetensors", "wanted2.c", "--name", "digits")
    assert done.returncode == 0, done.stderr
    wanted = (tmp_path / "wanted.c").read_text()
    assert (tmp_path / "wanted2.c").read_text() == wanted.replace("wanted.", "wanted2.")
    done = run("export-c", "a.safetensors", "c.c", "--name", "3d")
    assert (done.returncode, (tmp_path / "c.c").exists()) == (2, False)
    assert "name must be an identifier of C" in done.stderr


def test_what_convert_leaves_out_is_said(run, tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx has it")
    shutil.copy(Path(__file__).parent / "data" / "exchange" / "skl2onnx_classifier.onnx", tmp_path / "a.onnx")
    done = run("convert", "a.onnx", "b.safetensors")
    assert done.returncode == 0 and (tmp_path / "b.safetensors").exists()
    assert done.stderr == "python -m mlpfast: the outputs label are left out: a network has one output\n"


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c(tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a background job ignores SIGINT
    with subprocess.Popen([*COMMAND, "--epochs", "1000000"], cwd=tmp_path, **pipes, **heard) as process:
        try:
            process.stdout.readline()  # the line printed before training starts
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "interrupted\n"


@pytest.mark.mnist
def test_trains_on_mnist(run, mnist_folder):
    done = run("--data", "mnist", "--path", mnist_folder.resolve(), "--epochs", 1, "--layers", 32)
    assert done.returncode == 0, done.stderr
    assert "784-32-10 on mnist, 60000 images" in done.stdout
    assert float(re.search(r"test accuracy ([\d.]+) %", done.stdout)[1]) >= 90
