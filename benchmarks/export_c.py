"""A network as one C file, timed from C for single rows: `python -m benchmarks.export_c`.

Beside it the core's mlp_predict with each instruction set, FANN where its library is installed (Debian: libfann-dev),
and genann with --genann FOLDER, where its genann.c and genann.h are. Each contender is a program of its own with the
same loop: the best of many rounds of 1,000 calls. The core is linked at several distances from the start of the
program, and the median is shown: one unlucky place, where branches share entries of the processor's predictor, costs a
fifth. FANN and genann have random weights, and activations that cost little: FANN piecewise linear ones, genann the
table of a sigmoid that is its default, all in double. The exported file must pass its self-test first.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlpfast

ROOT = Path(__file__).resolve().parents[1]
SIZES = 64, 32, 10
PLACES = 0, 16, 48, 112, 240  # bytes before what is linked
LIMIT = 150  # ns, for the exported file with AVX2 and FMA

LOOP = """
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>
$include
__asm__(".text; .skip $place");
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
int main(int arguments, char **argument) {
    (void)arguments, (void)argument;
    $real x[$n_in];
    for (int i = 0; i < $n_in; i++) x[i] = ($real)(i % 7) / 7;
    $setup
    double best = 1;
    for (int round = 0; round < $rounds; round++) {
        double start = seconds();
        for (int i = 0; i < 1000; i++) {
            $call;
            __asm__ volatile("" : : "r"(x) : "memory");
        }
        double each = (seconds() - start) / 1000;
        if (each < best) best = each;
    }
    printf("%.1f\\n", 1e9 * best);
    return 0;
}
"""

EXPORTED = {"include": '#include "model.h"', "real": "float", "setup": "float y[MODEL_N_OUT];",
            "call": "model_predict(x, y)"}
CORE = {
    "include": '#include <stdlib.h>\n#include "mlpfast.h"', "real": "float",
    "setup": """
    if (mlp_select_isa(argument[1])) return 1;
    const size_t size = sizeof(mlp_layer_spec);
    mlp_layer_spec layers[] = {
        {.size = size, .n_in = $n_in, .n_out = $hidden, .activation = MLP_RELU, .has_bias = 1},
        {.size = size, .n_in = $hidden, .n_out = $n_out, .activation = MLP_IDENTITY, .has_bias = 1}};
    mlp_network *net;
    if (mlp_network_create(&net, MLP_FLOAT32, layers, 2)) return 1;
    for (int l = 0; l < 2; l++) {
        float *W = mlp_network_weights(net, l);
        for (int64_t i = 0; i < layers[l].n_in * mlp_network_stride(net, l); i++) W[i] = (float)(i % 11 - 5) / 20;
    }
    mlp_data data = {.size = sizeof(mlp_data), .X = x, .x_type = MLP_FLOAT32, .x_scale = 1, .n = 1};
    void *workspace = malloc(mlp_predict_workspace(net, 1, 1));
    float y[$n_out];
    int status = 0;""",
    "call": "status |= mlp_predict(net, y, &data, workspace, 1, NULL, NULL)",
}
FANN = {"include": "#include <floatfann.h>", "real": "float",
        "setup": """struct fann *net = fann_create_standard(3, $n_in, $hidden, $n_out);
    fann_set_activation_function_hidden(net, FANN_LINEAR_PIECE);
    fann_set_activation_function_output(net, FANN_LINEAR);""",
        "call": "fann_run(net, x)"}
GENANN = {"include": '#include "genann.h"', "real": "double",
          "setup": "genann *net = genann_init($n_in, 1, $hidden, $n_out);", "call": "genann_run(net, x)"}


def program(contender, rounds, place):
    """The C source of a contender's program, with so many bytes before it."""
    text = LOOP
    for name in ("include", "setup", "call", "real"):
        text = text.replace(f"${name}", contender[name])
    numbers = {"n_in": SIZES[0], "hidden": SIZES[1], "n_out": SIZES[2], "rounds": rounds,
               "place": place}
    for name, number in numbers.items():
        text = text.replace(f"${name}", str(number))
    return text


class Bench:
    def __init__(self, folder, rounds):
        self.folder, self.rounds = folder, rounds

    def run(self, *command):
        done = subprocess.run([*map(str, command)], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}:\n{(done.stdout + done.stderr)[:2000]}")
        return done.stdout

    def made(self, name, contender, *compiler, place=0):
        """The program of a contender."""
        (self.folder / f"{name}.c").write_text(program(contender, self.rounds, place))
        self.run(compiler[0], "-O2", f"{name}.c", *compiler[1:], "-o", name)
        return self.folder / name

    def say(self, name, *command):
        nanoseconds = float(self.run(*command))
        print(f"{name:<58} {nanoseconds:>8.0f} ns", flush=True)
        return nanoseconds

    def exported(self, compiler, flags):
        self.run(compiler, *flags, "-DMODEL_SELF_TEST", "model.c", "-lm", "-o", "self_test")
        says = self.run("./self_test").strip().removeprefix("model: ")
        self.run(compiler, *flags, "-c", "model.c")
        name = f"one C file, {compiler} {' '.join(flags)}"
        return self.say(f"{name} ({says})", self.made("exported", EXPORTED, compiler, "model.o", "-lm"))

    def core(self, build):
        make = ["make", "-s", "-C", ROOT / "tests" / "c", f"-j{os.cpu_count()}", f"BUILD={build}", "CC=gcc"]
        self.run(*make, build / "libmlpfast.a")
        rest = "gcc", f"-I{ROOT / 'csrc'}", build / "libmlpfast.a", "-fopenmp", "-lm"
        programs = [self.made(f"core{place}", CORE, *rest, place=place) for place in PLACES]
        for isa in mlpfast.show_config(mode="dicts")["isa_available"]:
            times = sorted(float(self.run(each, isa)) for each in programs)
            name = f"the core, mlp_predict, {isa} ({times[0]:.0f} to {times[-1]:.0f})"
            print(f"{name:<58} {times[len(times) // 2]:>8.0f} ns", flush=True)

    def fann(self):
        if not Path("/usr/include/floatfann.h").exists():
            print("FANN: not measured, since floatfann.h is not installed")
            return
        self.say("FANN", self.made("fann", FANN, "gcc", "-lfloatfann", "-lm"))

    def genann(self, source):
        if source is None:
            print("genann: not measured, without --genann FOLDER")
            return
        self.say("genann", self.made("genann", GENANN, "gcc", f"-I{source}", source / "genann.c", "-lm"))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_c", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000, help="of 1,000 calls (1000)")
    parser.add_argument("--genann", type=Path, metavar="FOLDER", help="where genann.c is")
    parser.add_argument("--build", type=Path, metavar="FOLDER", default=ROOT / "build" / "c-benchmark",
                        help="where csrc/ is compiled, which takes a minute the first time")
    options = parser.parse_args(arguments)
    net = mlpfast.Network(SIZES, seed=0)
    print(f"one row of {'-'.join(map(str, SIZES))}, relu, logits, float32; the limit for one C file is {LIMIT} ns")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.rounds)
        net.export_c(bench.folder / "model.c")
        for compiler in filter(shutil.which, ("gcc", "clang")):
            for flags in (["-O3", "-mavx2", "-mfma"], ["-O2", "-mavx2", "-mfma"], ["-O3"], ["-Os"]):
                bench.exported(compiler, flags)
        bench.core(options.build.resolve())
        bench.fann()
        bench.genann(options.genann)


if __name__ == "__main__":
    sys.exit(main())
