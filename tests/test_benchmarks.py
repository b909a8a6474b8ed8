"""The benchmark suite: its programs do the same work, and it reports what was measured.

No test asserts a time.
"""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mlpfast

ROOT = Path(__file__).resolve().parents[1]


def load_benchmarks():
    """The package `benchmarks` without adding its parent to sys.path, so that the installed mlpfast is imported."""
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["benchmarks"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


load_benchmarks()

from benchmarks import agreement, neighbours, peers, readme, report, sweep, timing  # noqa: E402
from benchmarks.cases import CASES, SHAPES, TARGETS, Case, Problem  # noqa: E402
from benchmarks.contenders import Unsuitable  # noqa: E402
from benchmarks.contenders.ours import Mlpfast  # noqa: E402
from benchmarks.contenders.with_numpy import Numpy  # noqa: E402
from benchmarks.settings import Settings  # noqa: E402

SMALL = Case("small", (5, 7, 3), 8, 4)


# ---- The same work ----


@pytest.mark.parametrize("name", CASES)
def test_numpy_and_mlpfast_agree_after_ten_steps(name):
    case = replace(CASES[name], batch=16)  # smaller, for the generic kernels
    notes = []
    assert agreement.agreeing(case, [Mlpfast, Numpy], notes) == [Mlpfast, Numpy]
    assert notes == []


@pytest.mark.parametrize("name", ["digits", "lecture"])
def test_their_weights_agree(name):
    problem = Problem.random(replace(CASES[name], dtype="float64"), 5)
    made = [maker(problem) for maker in (Mlpfast, Numpy)]
    for contender in made:
        agreement.first_losses(contender, problem)
    for ours, numpys, first in zip(*(c.weights() for c in made), problem.parameters, strict=True):
        for a, b, start in zip(ours, numpys, first, strict=True):
            if start is None:
                assert a is None and b is None
                continue
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
            assert not np.array_equal(a, start)


class Faster(Numpy):
    name = "faster"

    def __init__(self, problem):
        super().__init__(problem)
        self.twin.lr *= 1.01


class Unshuffled(Numpy):
    name = "unshuffled"

    def ready(self, order):
        self.order = np.arange(len(order))


class Unable(Numpy):
    name = "unable"

    def __init__(self, problem):
        raise Unsuitable("it cannot")


@pytest.mark.parametrize("other", [Faster, Unshuffled])
def test_other_work_is_refused(other):
    with pytest.raises(AssertionError, match=f"digits: {other.name} has losses"):
        agreement.agreeing(CASES["digits"], [Mlpfast, other], [])


def test_who_cannot_do_the_work_is_left_out():
    notes = []
    assert agreement.agreeing(SMALL, [Mlpfast, Unable, Numpy], notes) == [Mlpfast, Numpy]
    assert notes == ["small: it cannot"]


def test_flops():
    forward, delta_below = 2 * 8 * (5 * 7 + 7 * 3), 2 * 8 * 7 * 3
    assert SMALL.flops() == 2 * forward + delta_below


def test_cases_make_their_networks():
    for case in [*CASES.values(), *SHAPES.values()]:
        network = case.network()
        assert [network.n_in, *(layer.n_out for layer in network.layers)] == list(case.sizes)
        assert network.dtype == case.dtype
        assert [layer.activation for layer in network.layers][-1] == case.output
        assert all((layer.b is not None) == case.bias for layer in network.layers)


def test_orders_are_permutations_and_differ():
    problem = Problem.random(SMALL)
    first, second = problem.order(0), problem.order(1)
    assert sorted(first) == sorted(second) == list(range(32))
    assert not np.array_equal(first, second)


# ---- Measuring ----


def test_contenders_run_in_turn():
    calls = []
    turns = {name: lambda name=name: calls.append(name) or len(calls) for name in "ABC"}
    values = timing.in_turn(turns, 2)
    assert "".join(calls) == "ABCABC"
    assert {name: list(row) for name, row in values.items()} == {"A": [1, 4], "B": [2, 5], "C": [3, 6]}


def test_ratios_and_fractions_are_formed_round_by_round():
    flops = SMALL.flops()
    us = {"a": np.array([1.0, 2.0, 9.0]), "b": np.array([2.0, 4.0, 3.0])}
    times = timing.Times(SMALL, us, peak=np.array([2, 1, 1]) * flops / 1e3)
    assert times.median("a") == 2
    assert times.ratio("b", "a") == 2
    assert times.of_peak("a") == pytest.approx(0.5)
    assert times.gflops("b") == pytest.approx(flops / 3e3)


def test_dips():
    assert sweep.dips([8, 16, 32, 64], [0.1, 0.5, 0.37, 0.5]) == [(32, 0.37)]
    assert sweep.dips([8, 16, 32, 64], [0.1, 0.5, 0.38, 0.5]) == []
    assert sweep.dips([8, 16, 32, 64], [0.1, 0.5, 0.37, 0.4]) == []  # below one neighbour alone
    assert sweep.dips([8, 16, 32, 64], [0.1, 0.5, 0.5, 0.3]) == [(64, 0.3)]  # the widest has one neighbour


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_peak(dtype):
    assert mlpfast.benchmark.peak_gflops(1, dtype, seconds=1e-3) > 0


@pytest.mark.parametrize(
    "error, arguments, named",
    [
        (ValueError, dict(threads=0), "threads"),
        (ValueError, dict(threads=257), "threads"),
        (TypeError, dict(threads=1.5), "threads"),
        (TypeError, dict(threads=True), "threads"),
        (ValueError, dict(dtype="int32"), "dtype"),
        (ValueError, dict(dtype="float16"), "dtype"),
        (ValueError, dict(dtype=None), "dtype"),
        (ValueError, dict(dtype="foo"), "dtype"),
        (ValueError, dict(seconds=0), "seconds"),
        (ValueError, dict(seconds=float("inf")), "seconds"),
        (TypeError, dict(seconds="long"), "seconds"),
    ],
)
def test_bad_arguments_of_peak(error, arguments, named):
    with pytest.raises(error, match=f"^{named} must be"):
        mlpfast.benchmark.peak_gflops(**arguments)


# ---- Reporting ----


def made_up():
    section = report.Section("training", "Training steps", ["case", "program", "us a step", "of peak"])
    section.rows = [["tiny", "mlpfast", 1.25, 0.0123], ["tiny", "a|b", 1234.5, None]]
    section.notes = ["made up"]
    section.figure("tiny", "times the fastest peer", 4.9)
    section.figure("mnist", "of peak", 0.85)
    return section


def test_verdicts():
    assert [(t.case, value, reached) for t, value, reached in report.verdicts(made_up())] == [
        ("tiny", 4.9, False),
        ("mnist", 0.85, True),
    ]


def test_at_most_is_the_other_way_round():
    section = report.Section("threads", "Threads", [])
    section.figure("tiny", "default / best", 1.06)
    section.figure("mnist", "default / best", 1.05)
    assert {t.case: reached for t, _, reached in report.verdicts(section)} == {"tiny": False, "mnist": True}


def test_text():
    lines = report.text(made_up()).splitlines()
    assert lines[3:6] == [
        "case  program  us a step  of peak",
        "tiny  mlpfast       1.25   0.0123",
        "tiny  a|b          1,234        -",
    ]
    assert "MISSED: tiny, times the fastest peer 4.90, at least 5" in lines
    assert "reached: mnist, of peak 0.85, at least 0.85" in lines
    assert lines[-1] == "note: made up"


def test_markdown():
    text = report.markdown([made_up()], {"CPU": "an abacus"})
    assert "- CPU: an abacus\n" in text
    assert "Targets: 1 of 2 reached." in text
    assert "| case | program | us a step | of peak |\n| --- | --- | ---: | ---: |\n" in text
    assert "| tiny | a\\|b | 1,234 | - |\n" in text
    assert "| tiny | times the fastest peer | at least 5 | 4.90 | **MISSED** |" in text
    assert "| mnist | of peak | at least 0.85 | 0.85 | reached |" in text
    assert text.count("made up") == 1


def test_the_tables_of_a_report_can_be_read_again():
    section = made_up()
    (again,), machine = report.from_markdown(report.markdown([section], {"CPU": "an abacus", "cores": "2: two"}))
    assert machine == {"CPU": "an abacus", "cores": "2: two"}
    assert (again.title, again.columns) == (section.title, section.columns)
    assert again.rows == [["tiny", "mlpfast", 1.25, 0.0123], ["tiny", "a|b", 1234.0, None]]


RESULTS = (ROOT / "benchmarks/results.md").read_text(encoding="utf-8")


def test_the_table_of_the_front_page_is_that_of_the_results():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.with_speed(page, RESULTS) == page, "python -m benchmarks.readme writes it"


def test_the_front_page_follows_the_results():
    found = readme.speed(RESULTS.replace("| tiny | mlpfast | 1.76 |", "| tiny | mlpfast | 1.55 |"))
    assert "| 4-16-3, 32 | 1.55 | 6.8 | 18 | 35 | 66 |" in found
    with pytest.raises(ValueError, match="README.md must have"):
        readme.with_speed("no marks", RESULTS)


def test_results_of_several_runs_are_put_together(tmp_path, capsys):
    older, other = made_up(), report.Section("sweep", "A sweep", ["width"], [["8"]])
    older.title = "an older one"
    for name, sections, cpu in [("a", [older, other], "old"), ("b", [made_up()], "new")]:
        (tmp_path / name).write_text(report.to_json(sections, {"CPU": cpu}), encoding="utf-8")
    peers.main(["--load", str(tmp_path / "a"), str(tmp_path / "b"), "--markdown", "-"])
    text = capsys.readouterr().out
    assert text.index("## Training steps") < text.index("## A sweep")
    assert "- CPU: new" in text and "older" not in text


def test_plots(tmp_path):
    pytest.importorskip("matplotlib", reason="the plots extra has matplotlib")
    from benchmarks import plots

    training = report.Section("training", report.TRAINING, ["case", "program", "us", "times"])
    training.rows = [["tiny", f"program {i}", 1.0 + i, 1.0 + i] for i in range(12)]
    lines = report.Section("sweep", report.SWEEP, ["width", "batch 1"], [["8", 0.1], ["16", 0.2]])
    plots.draw([training, lines], tmp_path / "cases.png")
    for name in ("cases.png", "sweep.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_every_target_belongs_to_a_section():
    assert {target.section for target in TARGETS} <= set(peers.SECTIONS)
    keys = [(target.section, target.case, target.what) for target in TARGETS]
    assert len(keys) == len(set(keys))


# ---- The command ----


def test_every_situation_has_a_target_and_is_measured():
    names = [situation.name for situation in neighbours.SITUATIONS]
    assert names == [t.case for t in TARGETS if t.section == "neighbours" and t.what == "default / one thread"]
    section = neighbours.neighbours(Settings(rounds=1, only_mlpfast=True), ["pinned to one"])
    assert [row[0] for row in section.rows] == ["pinned to one processor"]
    assert section.rows[0][1] > 0 and section.figures["pinned to one processor"]["default / one thread"] > 0


def test_a_run_from_beginning_to_end(tmp_path, capsys):
    options = ["--quick", "--only-mlpfast", "--rounds", "1", "--cases", "tiny", "--json", str(tmp_path / "all.json")]
    peers.main([*options, "--sections", "step call,training,threads"])
    printed = capsys.readouterr().out
    sections, machine = report.from_json((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert [section.name for section in sections] == ["training", "step call", "threads"]
    assert machine["mlpfast"].startswith(mlpfast.__version__)
    for section in sections:
        assert f"\n{section.title}\n" in printed
        assert section.figures["tiny"]
        assert all(len(row) == len(section.columns) for row in section.rows)
        assert all(value > 0 for row in section.rows for value in row[1:2] if isinstance(value, float))


def test_quick_leaves_the_long_ones_out_unless_asked():
    quick, full = peers.parsed(["--quick"]), peers.parsed([])
    assert set(full.cases) - set(quick.cases) == {"wide"}
    assert set(quick.sections) < set(full.sections)
    assert peers.parsed(["--quick", "--cases", "wide", "--sections", "avx2"]).cases == ["wide"]


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--cases", "tiny,huge"], "'huge' is none of tiny, digits"),
        (["--cases", ""], "--cases"),
        (["--sections", "speed"], "'speed' is none of training"),
        (["--rounds", "0"], "--rounds"),
        (["--rounds", "many"], "--rounds"),
        (["--plot", "cases.svg"], "--plot must end in .png"),
        (["--json", "-", "--markdown", "-"], "--json and --markdown"),
        (["--colour"], "--colour"),
    ],
)
def test_bad_options(capsys, arguments, named):
    with pytest.raises(SystemExit) as stop:
        peers.parsed(arguments)
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


def test_the_command_finds_the_installed_package():
    """From the project root, where the folder mlpfast contains only sources."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", "--list"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for name in (*CASES, *peers.SECTIONS, "mlpfast", "NumPy"):
        assert f"  {name}" in done.stdout


# ---- First weights ----


def test_first_weights_compares_with_the_best_of_the_others(monkeypatch):
    pytest.importorskip("sklearn")
    from benchmarks import first_weights

    monkeypatch.setattr(first_weights, "EPOCHS", (1, 2))
    monkeypatch.setattr(first_weights, "KINDS", [(k, t, m) for k, t, m in first_weights.KINDS if m != "mse"])
    jobs = [("iris", seed, depth, name, "relu") for seed in (0, 1) for depth in (1, 2) for name in ("Adam", "SGD")]
    found = {job: first_weights.errors(job) for job in jobs}
    overall, by_depth = first_weights.sections(found)
    assert [len(overall.rows), len(by_depth.rows)] == [8, 8]
    assert all(min(row[4:7]) == 1 for row in overall.rows)
    kind, measure, epochs, optimizer, *ratios = overall.rows[0]
    means = []
    for start in first_weights.STARTS:
        of_depths = [np.mean([found["iris", seed, depth, optimizer, "relu"][start, epochs, measure] for seed in (0, 1)])
                     for depth in (1, 2)]
        means.append(np.sqrt(np.prod(of_depths)))
    assert ratios == pytest.approx([mean / min(means[:3]) for mean in means])


def test_the_tables_of_first_weights_are_standardised():
    pytest.importorskip("sklearn")
    from benchmarks import first_weights

    for name in first_weights.TABLES:
        X, y, X_test, y_test = first_weights.split(name, 0)
        assert X.dtype == np.float32 and len(X) == len(y) and len(X_test) == len(y_test) and len(X) > 2 * len(X_test)
        assert abs(X.mean(0)).max() < 1e-3 and np.isin(X.std(0).round(2), [0, 1]).all()
        if name in first_weights.CLASSES:
            assert {*y} == {*range(y.max() + 1)}
        else:
            assert y.ndim == 1 and abs(y.mean()) < 1e-3 and abs(y.std() - 1) < 1e-3


def test_the_benchmark_of_sources_runs(tmp_path):
    pytest.importorskip("pyarrow")
    from benchmarks import sources

    path = str(tmp_path / "rows.parquet")
    sources.write(path, 3000)
    ours = {"Parquet": sources.OfMlpfast([4], sources.data.ParquetSource(path, target="y"))}
    assert sources.compare(ours, 1)["Parquet"] > 0 and ours["Parquet"].rows == 6000
    pytest.importorskip("torch")
    for by_rows in (False, True):
        theirs = sources.OfTorch([4], path, 0, by_rows, most=3)
        assert 0 < theirs.epoch() < 1 and theirs.rows == 3 * sources.BATCH
