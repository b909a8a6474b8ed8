"""Networks as one C file on other processors: compiled, and their self-tests run by qemu.

Prints a line for each target, with `skipped:` and a reason where a compiler or an emulator is missing. zig, from
`pip install ziglang`, brings compilers for many targets.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mlpfast import Layer, Network
from mlpfast.activations import PReLU

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
FLAGS = [["-Os"], ["-O3"], ["-O2", "-DMODEL_SAME_BITS"]]
ZIG = [sys.executable, "-m", "ziglang", "cc"]

# (name, compiler, its flags, emulator or None if it is only compiled)
TARGETS = [
    ("aarch64, gcc", ["aarch64-linux-gnu-gcc"], ["-static"], "qemu-aarch64"),
    ("ARM with NEON, gcc", ["arm-linux-gnueabihf-gcc"], ["-static"], "qemu-arm"),
    ("ARM with FMA, thumb, gcc", ["arm-linux-gnueabihf-gcc"], ["-static", "-mcpu=cortex-a7", "-mthumb"], "qemu-arm"),
    ("Cortex-M0, gcc", ["arm-none-eabi-gcc"], ["-mcpu=cortex-m0", "-mthumb", "-c"], None),
    ("Cortex-M4F, gcc", ["arm-none-eabi-gcc"],
     ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-c"], None),
    ("aarch64, zig", ZIG, ["-target", "aarch64-linux-musl"], "qemu-aarch64"),
    ("thumb, zig", ZIG, ["-target", "thumb-linux-musleabihf"], "qemu-arm"),
    ("x86, zig", ZIG, ["-target", "x86-linux-musl"], "qemu-i386"),
    ("riscv32, zig", ZIG, ["-target", "riscv32-linux-musl"], "qemu-riscv32"),
    ("riscv64, zig", ZIG, ["-target", "riscv64-linux-musl"], "qemu-riscv64"),
]


def missing(compiler, emulator):
    """Why a target cannot be tested, or None."""
    if compiler is ZIG and importlib.util.find_spec("ziglang") is None:
        return "no ziglang"
    for program in (compiler[0], emulator):
        if program and not shutil.which(program):
            return f"no {program}"
    return None


def result(folder, compiler, flags, emulator):
    """What the self-test says, or the size of the object."""
    test = ["-DMODEL_SELF_TEST"] if emulator else []
    command = [*compiler, *WARNINGS, *flags, *test, "model.c", "-o", "made", *(["-lm"] if emulator else [])]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    if not emulator:
        return "compiled"
    done = subprocess.run([emulator, "./made"], cwd=folder, capture_output=True, text=True, check=True, timeout=100)
    return done.stdout.strip().removeprefix("model: ")


def main():
    layers = [("gelu", True), ("tanh", False), (PReLU(), True), ("mish", True), ("softmax", True)]
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "float64"):
            sizes = zip((20, 40, 33, 7, 50), (40, 33, 7, 50, 5), layers, strict=True)
            net = Network([Layer(*n, g, bias=bias) for *n, (g, bias) in sizes], dtype=dtype, seed=0)
            net.export_c(Path(folder) / "model.c")
            for name, compiler, target, emulator in TARGETS:
                reason = missing(compiler, emulator)
                if reason:
                    print(f"skipped: {name}: {reason}", flush=True)
                    continue
                for flags in FLAGS:
                    says = result(folder, compiler, [*target, *flags], emulator)
                    if emulator and "-DMODEL_SAME_BITS" in flags and says != "the bits of mlpfast":
                        raise SystemExit(f"{name}, {dtype}: {says}")
                    print(f"{name}, {dtype}, {' '.join(flags)}: {says}", flush=True)


if __name__ == "__main__":
    main()
