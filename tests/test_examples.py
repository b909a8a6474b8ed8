"""Every example runs with --quick, and the number it prints is within the bounds of its docstring."""

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

BOUNDS = {  # lower and upper bound
    "perceptron": (0.01, 1),  # above 1 the theorem would be wrong, or the bound
    "xor": (0, 0),
    "computational_graph": (0, 1e-15),
    "boolean_function": (0, 0),
    "two_layer_numpy": (0, 1e-12),  # the same sums in another order: rounding errors of about 1e-16
    "universal_approximation": (0, 0.03),  # of a function whose RMS is 0.8
    "vanishing_gradients": (4.0**15, 4.0**25),  # a factor of about 4 in each of 19 steps
    "decision_boundary": (0.98, 1),
    "regularisation": (0, 0.85),  # each of the five regularisers reduces the gap
    "random_labels": (1, 1),
    "double_descent": (5, float("inf")),  # the peak is far above the second descent
    "mc_dropout": (0.93, 1),  # chance, and a deviation of 0 everywhere, is 0.5
    "random_projection": (0.9, 1),  # a linear layer alone, or on random projections without signs: 0.89
    "learning_rates": (0, 0.2),  # 2 before training
    "optimizers": (0, 0.1),  # chance is 2.3
    "from_sklearn": (0, 1e-9),
    "mixed_columns": (0.9, 1),
    "activations": (0, 1e-8),  # rounding, of differences with a step of 1e-6
    "softmax_cross_entropy": (0, 1e-8),
    "residuals": (0, 1e-14),
    "initialisation": (0.1, 10),  # 1 for infinite widths
    "learning_rate_decay": (0, 0.01),
    "weight_decay": (0, 1e-6),
    "early_stopping": (1.05, 2),
    "noise": (0, 0.1),
    "natural_gradient": (0, 1e-9),
}
OTHERS = {"mnist": "needs its four files", "shared": "no example"}


def run(name, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    calm = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # NumPy's threads would wait for mlpfast's, and for other tests
    return subprocess.run(command, cwd=cwd, env=calm, capture_output=True, text=True, timeout=300, check=False)


@functools.cache
def quick(name):
    """The finished process, and the files it has written."""
    with tempfile.TemporaryDirectory() as folder:
        return run(name, "--quick", cwd=folder), os.listdir(folder)


def lines_of(name):
    return quick(name)[0].stdout.splitlines()


def result_of(done, name):
    """The number in the last line."""
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"result: (\w+) (\S+)", done.stdout.splitlines()[-1])
    assert found and found[1] == name and done.stdout.count("result: ") == 1, done.stdout
    return float(found[2])


def test_every_example_has_bounds():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*BOUNDS, *OTHERS}


@pytest.mark.parametrize("name", [*BOUNDS, "mnist"])
def test_a_docstring_begins_with_a_title(name):
    """With which the gallery of the site begins its page."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")))
    title, line, blank, *_ = text.splitlines()
    assert title and line == "=" * len(title) and not blank


def test_a_notebook_has_no_command_line(monkeypatch, tmp_path):
    """It brings shared.py along (docs/conf.py), and shows its plot instead of writing it."""
    spec = importlib.util.spec_from_file_location("shared", EXAMPLES / "shared.py")
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    monkeypatch.setitem(sys.modules, "ipykernel", shared)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    chosen = shared.options("what it is")
    assert chosen.quick and chosen.plot
    monkeypatch.chdir(tmp_path)
    shared.save(None, chosen.plot)  # draws nothing
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BOUNDS)
def test_the_number(name):
    done, files = quick(name)
    least, most = BOUNDS[name]
    assert least <= result_of(done, name) <= most
    assert not files


@pytest.mark.parametrize("name", BOUNDS)
def test_the_plot(name, tmp_path):
    pytest.importorskip("matplotlib")
    result_of(run(name, "--quick", "--plot", "it.png", cwd=tmp_path), name)
    image = (tmp_path / "it.png").read_bytes()
    assert image.startswith(b"\x89PNG") and len(image) > 5000


COURSE = (EXAMPLES.parent / "docs" / "course.md").read_text(encoding="utf-8")
QUOTED = re.compile(r"^```console\n\$ python examples/(\w+)\.py --quick\n(.*?)^```\n", re.M | re.S)


def without_rounding(text):
    """Numbers below 1e-8 are those of NumPy's products, whose order of sums is another one on other machines."""
    return re.sub(r"\d(\.\d+)?e-(09|[1-9]\d)", "tiny", text)


@pytest.mark.parametrize("name, quoted", QUOTED.findall(COURSE), ids=lambda text: text if text in BOUNDS else "")
def test_the_course_shows_what_is_printed(name, quoted):
    printed = without_rounding("\n".join([*lines_of(name), ""]))
    parts = without_rounding(quoted).split("...\n")
    assert re.fullmatch(r"(?:.*\n)*".join(map(re.escape, parts)), printed), printed


def test_numbers_in_the_text_of_the_course_are_printed():
    for section in COURSE.split("\n## ")[1:]:
        shown, text = "".join(quoted for _, quoted in QUOTED.findall(section)), QUOTED.sub("", section)
        numbers = re.findall(r"\d+\.\d+(?:e[+-]\d+)?", text)
        assert [number for number in numbers if number not in shown] == [], section.splitlines()[0]


def test_double_descent_falls_rises_and_falls():
    lines = lines_of("double_descent")[1:-1]
    width, train, test = zip(*(map(float, line.split()) for line in lines), strict=True)
    peak = test.index(max(test))
    assert 150 <= width[peak] <= 250  # the interpolation threshold: the number of examples, 200
    before = min(test[:peak])
    assert before < test[0] and test[-1] < before  # the second descent goes lower than the first
    assert all(error < 1e-9 for w, error in zip(width, train, strict=True) if w > 200) and train[0] > 0.01


def test_mc_dropout_doubts_where_there_are_no_points_and_makes_the_loss_lower():
    lines = lines_of("mc_dropout")
    (inside, error), (outside, error_outside) = (map(float, re.findall(r"\d+\.\d+", line)) for line in lines[:2])
    assert outside > 2.5 * inside and error < inside and error_outside > outside
    assert float(lines[2].split()[-1]) > 0.99
    loss = {line[:20].strip(): float(line[20:].split()[0]) for line in lines[5:-1]}
    assert loss["deviation"] == loss["entropy of the mean"] < loss["entropy, plain"]


def test_regularisation_has_six_ways_and_all_help():
    rows = [re.split("  +", line) for line in lines_of("regularisation")[1:-1]]
    ways, _, _, gaps, accuracies = zip(*rows, strict=True)
    assert ways == ("none", "l2", "l1", "dropout", "input noise", "early stopping")
    gaps, accuracies = [*map(float, gaps)], [float(a.split()[0]) for a in accuracies]
    assert max(gaps[1:]) < gaps[0] and min(accuracies[1:]) > accuracies[0]


def losses_of(lines):
    """{optimizer: losses} from the table that examples/optimizers.py prints."""
    rows = [line for line in lines[1:-1] if line.endswith("%")]
    return {line[:17].strip(): [*map(float, line[17:-2].split())][:-1] for line in rows}


def test_optimizers_that_take_all_rows_learn_too():
    pytest.importorskip("scipy")
    losses = losses_of(lines_of("optimizers"))
    assert {"SGD", "momentum", "Adam", "L-BFGS", "natural gradient"} <= losses.keys()
    for name in ("L-BFGS", "natural gradient"):
        assert losses[name] == sorted(losses[name], reverse=True) and losses[name][-1] < 0.02 * losses[name][0]


def test_optimizers_without_scipy(tmp_path, monkeypatch):
    (tmp_path / "scipy.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run("optimizers", "--quick", cwd=tmp_path)
    assert result_of(done, "optimizers") <= BOUNDS["optimizers"][1]
    lines = done.stdout.splitlines()
    assert any(line.startswith("L-BFGS is left out: ") for line in lines)
    assert len(losses_of(lines)) == 6 and "L-BFGS" not in losses_of(lines)


def test_learning_rates_are_too_small_good_and_diverging():
    lines = lines_of("learning_rates")
    verdicts = [line.split(maxsplit=4)[4] for line in lines if line.startswith("lr ")]
    assert verdicts[0] == "too small" and "good" in verdicts and verdicts[-1] == "diverged"
    assert any(re.search("the loss is (inf|nan)", line) for line in lines)  # the FloatingPointError, handled


def test_vanishing_gradients_tells_the_three_apart():
    lines = lines_of("vanishing_gradients")
    verdicts = {tuple(line.split(": ")[0].split(" + ")): line for line in lines if "|delta_1|" in line}
    assert ": vanishing: " in verdicts["sigmoid", "xavier_normal"]
    assert ": healthy: " in verdicts["relu", "he_normal"]
    saturated = {key: float(re.search(r"(\d+) % saturated", line)[1]) for key, line in verdicts.items()}
    assert saturated["sigmoid", "normal"] > 50 and saturated["sigmoid", "xavier_normal"] < 5
    norm = float(next(line for line in lines if line.startswith("the norm")).split()[-1])
    assert norm > 1e10


def test_the_graphs_have_the_gradients_of_the_lecture():
    tables = {}
    for part in "\n".join(lines_of("computational_graph")).split("\n\n")[:-1]:
        title, _, *rows = part.splitlines()
        tables[title] = {row.split()[0]: re.search(r"\[[^]]*\]$|\S+$", row)[0] for row in rows}
    f, gates, one = list(tables.values())[:3]
    assert (f["x"], f["y"], f["z"]) == ("-4", "-4", "3")
    assert [gates[name] for name in ("w_0", "w_1", "x_0", "x_1", "b")] == [
        "-0.1966", "-0.3932", "0.3932", "-0.5898", "0.1966"
    ]
    assert (one["w"], one["x"], one["b"]) == ("[-0.1966, -0.3932]", "[0.3932, -0.5898]", "0.1966")
    assert tables["J = L + s"]["W_1"] == tables["the same from elementary operations"]["W_1"]


def test_two_layers_agree_step_by_step():
    lines = lines_of("two_layer_numpy")
    pairs = [(float(f[3]), float(f[5])) for f in map(str.split, lines) if f[0] == "step"]
    assert len(pairs) == 10 and pairs[-1][0] < 0.1 * pairs[0][0]
    assert all(abs(a - b) < 1e-12 * a for a, b in pairs)
