"""`python -m mlpfast` trains on the digits, and compares with the same training in plain NumPy.

`python -m mlpfast info` prints the build and run-time configuration as JSON, `python -m mlpfast show FILE` what a file
of Network.save or Trainer.save holds; `python -m mlpfast convert A B` converts between such files and ONNX, and
`python -m mlpfast export-c FILE [OUT.c]` writes the network of such a file as one C file.
`python -m mlpfast config --cflags --libs` prints how to compile a C program that uses the library.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import SGD, Network, Trainer, __version__, _core, datasets, exchange, files, show_config
from ._config import compiler_flags, get_library_dir, slow
from ._numpy_mlp import NumpyMLP
from .exchange._files import network_of_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._types import Array

DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 40, "batch_size": 32, "lr": 0.1, "momentum": 0.9},
    "mnist": {"epochs": 5, "batch_size": 64, "lr": 0.4, "momentum": 0.0},
}

# What files a command takes.
FILES: dict[str, list[str]] = {
    "info": [], "config": [], "show": ["FILE"], "convert": ["FILE", "FILE"], "export-c": ["FILE", "[OUT.c]"],
}
DESCRIPTION = "Train a multilayer perceptron on images of digits, and the same in plain NumPy beside it."


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parsed(arguments: Sequence[str] | None) -> tuple[Parser, argparse.Namespace]:
    parser = Parser(prog="python -m mlpfast", description=DESCRIPTION)
    add = parser.add_argument
    add("command", nargs="?", choices=FILES, help="info: print the configuration as JSON; config: print the flags of "
        "a C program that uses the library; show FILE: print what it "
        "holds, one of Network.save or Trainer.save; convert FILE FILE: write the network of the first as the second, "
        "by their endings .safetensors and .onnx; export-c FILE [OUT.c]: write the network as one C file and "
        "its header, beside FILE if there is no OUT.c; they train nothing")
    add("--name", help="what names in the C file of export-c begin with (model)")
    add("files", nargs="*", metavar="FILE")
    add("--data", choices=DEFAULTS, default="digits", help="what to train on (digits, which are built in)")
    add("--path", metavar="FOLDER", help="where the four files of MNIST are, for --data mnist")
    add("--layers", type=widths, metavar="N,N", default=[128], help="widths of the hidden layers (128)")
    add("--epochs", type=int, metavar="N", help="passes over the data (digits 40, mnist 5)")
    add("--batch-size", type=int, metavar="N", help="examples in a minibatch (digits 32, mnist 64)")
    add("--lr", type=float, help="learning rate (digits 0.1, mnist 0.4)")
    add("--momentum", type=float, help="of gradient descent (digits 0.9, mnist 0)")
    add("--threads", type=int, metavar="N", help="threads of mlpfast, at most the number of cores (by amount of work); "
        "NumPy's BLAS library has its own, see OPENBLAS_NUM_THREADS")
    add("--seed", type=int, metavar="N", default=0, help="of the first weights and of the shuffles (0)")
    add("--cflags", action="store_true", help="with config: those to compile it")
    add("--libs", action="store_true", help="with config: those to link it")
    add("--cmakedir", action="store_true", help="with config: mlpfast_DIR of CMake's find_package")
    options = parser.parse_args(arguments)
    asked = options.cflags or options.libs or options.cmakedir
    if asked != (options.command == "config"):
        parser.error("config and one of --cflags, --libs and --cmakedir go together")
    for name, value in DEFAULTS[options.data].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.epochs < 1:
        parser.error(f"--epochs must be >= 1, got {options.epochs}")
    takes = FILES.get(options.command, [])
    if not sum(not name.startswith("[") for name in takes) <= len(options.files) <= len(takes):
        parser.error(f"expected {' '.join([options.command, *takes])!r}, got {len(options.files)} FILE")
    if options.name is not None and options.command != "export-c":
        parser.error("--name goes with export-c")
    if (options.data == "mnist") != (options.path is not None):
        parser.error("--data mnist and --path FOLDER go together")
    return parser, options


def widths(text: str) -> list[int]:
    """The hidden layers' widths from "128,64"."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"needs whole numbers above 0, as in 128,64, got {text!r}")
    return [int(part) for part in parts]


def load(options: argparse.Namespace) -> tuple[Array, Array, Array, Array]:
    """X_train, y_train, X_test, y_test."""
    if options.data == "mnist":
        return datasets.load_mnist(options.path)
    X, y = datasets.load_digits()
    held_out = np.arange(len(X)) % 5 == 4  # every fifth image
    return X[~held_out], y[~held_out], X[held_out], y[held_out]


def race(trainer: Trainer, twin: Any, data: Any, epochs: int) -> tuple[tuple[list[float], list[float]], list[float]]:
    """Train both in alternating epochs -> the seconds of each epoch and the losses of the last one, for both."""
    X, y, X_test, y_test = data
    X_twin = X
    if X.dtype == np.uint8:
        X_twin = X.astype(np.float32)
        X_twin *= np.float32(trainer.network.input_scale)
    order = np.empty(len(X), np.int64)
    seconds: tuple[list, list] = ([], [])
    losses = [0.0, 0.0]
    for epoch in range(epochs):
        start = time.perf_counter()
        losses[0] = trainer.fit(X, y)["loss"][0]
        between = time.perf_counter()
        _core.shuffle(order, trainer.seed, epoch)  # the order that fit has used
        losses[1] = twin.epoch(X_twin, y, order)
        seconds[0].append(between - start)
        seconds[1].append(time.perf_counter() - between)
        done = epoch + 1
        if done * 10 // epochs > epoch * 10 // epochs:  # ten lines at most
            accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
            print(f"epoch {done}/{epochs}  loss {losses[0]:.4f}  test accuracy {accuracy:.4f}", flush=True)
    return seconds, losses


def report(seconds: tuple[list[float], list[float]], losses: list[float], n: int) -> bool:
    """Print the speeds and their ratio; True if the two losses agree."""
    best = [min(times) for times in seconds]  # the fastest epoch is the least disturbed by other processes
    for i, name in enumerate(("mlpfast", "plain NumPy")):
        speed = f"{n / best[i]:>11,.0f} examples per second in the fastest epoch"
        print(f"{name:<12} {speed}, all {len(seconds[i])} epochs {sum(seconds[i]):.3f} s, last loss {losses[i]:.6f}")
    print(f"ratio: mlpfast is {best[1] / best[0]:.1f} times as fast (the fastest epochs; both ran in turns)")
    agree = abs(losses[0] - losses[1]) <= 1e-3 + 0.05 * losses[1]  # rounding errors grow with the steps
    if not agree:
        print("the two losses do not agree: with these settings rounding errors grow", file=sys.stderr)
    return agree


def export_c(file: str, out: str | None = None, *, name: str) -> None:
    """Of a network's file as one C file."""
    net = network_of_file(file)
    out = out or os.path.splitext(file)[0] + ".c"
    net.export_c(out, name)
    print(f"{out} and its header:\n{net.summary()}")


def asked_flags(options: argparse.Namespace) -> list[str]:
    """What `config` prints."""
    cflags, libs = compiler_flags()
    folder = [os.path.join(get_library_dir(), "cmake", "mlpfast")] if options.cmakedir else []
    return [*(cflags if options.cflags else []), *(libs if options.libs else []), *folder]


def of_files(parser: Parser, options: argparse.Namespace) -> int:
    """The commands show, convert and export-c."""
    try:
        with warnings.catch_warnings(record=True) as left_out:
            if options.command == "show":
                print(files.summary(*options.files))
            elif options.command == "export-c":
                export_c(*options.files, name="model" if options.name is None else options.name)
            else:
                net = exchange.convert(*options.files)
                print(f"{options.files[1]}:\n{net.summary()}")
    except (OSError, ValueError, ImportError) as error:
        parser.error(str(error))
    for warning in left_out:
        print(f"{parser.prog}: {warning.message}", file=sys.stderr)
    return 0


def train(parser: Parser, options: argparse.Namespace) -> int:
    try:
        data = load(options)
        X, y, X_test, y_test = data
        sizes = [X.shape[1], *options.layers, 10]
        network = Network(sizes, output="softmax", seed=options.seed, input_scale=1 / 255)  # only applied to uint8
        trainer = Trainer(
            network,
            optimizer=SGD(lr=options.lr, momentum=options.momentum),
            batch_size=options.batch_size,
            seed=options.seed,
            threads=options.threads,
        )
        rows = min(options.batch_size, len(X))
        twin = NumpyMLP(network.parameters, batch_size=rows, lr=options.lr, momentum=options.momentum)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        parser.error(str(error))
    print(
        f"mlpfast {__version__} ({_core.isa()}): {'-'.join(map(str, sizes))} on {options.data}, "
        f"{len(X)} images, batch size {options.batch_size}, lr {options.lr:g}, momentum {options.momentum:g}",
        flush=True,
    )
    try:
        seconds, losses = race(trainer, twin, data, options.epochs)
    except FloatingPointError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    print(f"test accuracy {100 * accuracy:.2f} % of {len(X_test)} images that were held out")
    return 0 if report(seconds, losses, len(X)) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        parser, options = parsed(arguments)
        if options.command == "info":
            config = show_config("dicts")
            print(json.dumps(config, indent=2))
            for line in slow(config):
                print(f"{parser.prog}: warning: {line}", file=sys.stderr)
            return 0
        if options.command == "config":
            print(shlex.join(asked_flags(options)))
            return 0
        if options.command is not None:
            return of_files(parser, options)
        return train(parser, options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
