"""mlpfast.estimators beside scikit-learn's: time, memory, and how well they predict.

    python -m benchmarks.estimators [WORD ...]    the parts whose names have one of these words; all in some 20 minutes
                                                  speed, together, imports, memory, quality

In "speed" each library has a process of its own, and they work in turns; in "together" both are in one process.
"""

import os
import subprocess
import sys
import time
import warnings

import numpy as np

from .calls import seconds_of

ROUNDS = 5
SECONDS = 0.2  # of timed work in a turn, at least
LIBRARIES = ("mlpfast", "sklearn")


def classes(library):
    """(MLPClassifier, MLPRegressor) of a library."""
    if library == "mlpfast":
        from mlpfast.estimators import MLPClassifier, MLPRegressor
    else:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    return MLPClassifier, MLPRegressor


# ---- Cases: functions of a library's classes that return the work to time ----


def table(n, features, n_classes, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, features)).astype(dtype)
    scores = X @ rng.standard_normal((features, n_classes)) + rng.standard_normal((n, n_classes))
    return X, scores.argmax(axis=1)


def digits(dtype):
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(dtype), y


def mnist(dtype):
    from mlpfast.datasets import load_mnist

    X, y, *_ = load_mnist(os.environ["MLPFAST_MNIST"])
    return (X.reshape(len(X), -1) / 255).astype(dtype), y


def fitting(data, **parameters):
    def case(library):
        X, y = data()
        estimator = classes(library)[0](random_state=0, **parameters)
        return lambda: estimator.fit(X, y)

    return case


def searching(n_jobs):
    def case(library):
        from sklearn.model_selection import GridSearchCV

        X, y = table(2000, 20, 2, np.float64)
        grid = {"alpha": [1e-5, 1e-3, 1e-1], "hidden_layer_sizes": [(50,), (100,)]}
        search = GridSearchCV(classes(library)[0](random_state=0, max_iter=50), grid, cv=3, n_jobs=n_jobs)
        return lambda: search.fit(X, y)

    return case


def predicting(n):
    def case(library):
        X, y = table(2000, 20, 4, np.float64)
        estimator = classes(library)[0](random_state=0, max_iter=20).fit(X, y)
        rows = np.ascontiguousarray(np.resize(X, (n, 20)))
        return lambda: estimator.predict_proba(rows)

    return case


def cases():
    """{name: (case, how many times faster it must be, the same in one process or None)}"""
    found = {}
    for dtype, most in (("float64", 2.5), ("float32", 3.0)):
        found[f"digits, {dtype}"] = fitting(lambda d=dtype: digits(d)), 5, 4
        found[f"50,000 x 54, 7 classes, 10 epochs, {dtype}"] = (
            fitting(lambda d=dtype: table(50_000, 54, 7, d), max_iter=10), 5, 4
        )
        found[f"200 x 4, 3 classes, {dtype}"] = fitting(lambda d=dtype: table(200, 4, 3, d)), 5, 4
        if "MLPFAST_MNIST" in os.environ:
            found[f"MNIST, 10 epochs, {dtype}"] = fitting(lambda d=dtype: mnist(d), max_iter=10), most, None
    for n_jobs in (1, 2):
        found[f"GridSearchCV 6 x 3, 2,000 x 20, n_jobs={n_jobs}"] = searching(n_jobs), 8, None
    for n, least in ((1, 10), (1000, 5), (1_000_000, 2)):
        found[f"predict_proba, {n:,} rows"] = predicting(n), least, None
    found["lbfgs, 1,000 x 20"] = (
        fitting(lambda: table(1000, 20, 2, "float64"), solver="lbfgs", max_iter=100), 3, None
    )
    return found


# ---- Speed, in turns ----


class Child:
    """A process that times one case with one library, whenever it is asked."""

    def __init__(self, library, name):
        command = [sys.executable, "-m", "benchmarks.estimators", "--child", library, name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask()  # once, before anything counts

    def ask(self):
        print("go", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def child(library, name):
    warnings.simplefilter("ignore")
    work = cases()[name][0](library)
    for _ in sys.stdin:
        print(seconds_of(work, SECONDS), flush=True)


def show(name, ours, theirs, least):
    ratio = float(np.median(np.array(theirs) / ours))
    reached = "" if least is None or ratio >= least else "  MISSED"
    times = " ".join(f"{1e3 * np.median(seconds):>10.3f}" for seconds in (ours, theirs))
    print(f"{name:<52} {times} {ratio:>7.1f} {least or '':>5}{reached}", flush=True)


def speed(words=()):
    print(f"{'in processes of their own':<52} {'mlpfast ms':>10} {'sklearn ms':>10} {'ratio':>7} asked")
    for name, (_, least, _) in cases().items():
        if words and not any(word in name for word in words):
            continue
        children = {library: Child(library, name) for library in LIBRARIES}
        rounds = [[children[library].ask() for library in LIBRARIES] for _ in range(ROUNDS)]
        for each in children.values():
            each.end()
        show(name, *np.array(rounds).T, least)


def together():
    print(f"{'both in one process':<52} {'mlpfast ms':>10} {'sklearn ms':>10} {'ratio':>7} asked")
    for name, (case, _, least) in cases().items():
        if least is None:
            continue
        works = [case(library) for library in LIBRARIES]
        rounds = [[seconds_of(work, SECONDS) for work in works] for _ in range(ROUNDS)]
        show(name, *np.array(rounds).T, least)


# ---- Imports and memory, each in a process of its own ----


def seconds_of_program(program):
    # Where bytecode is not written, a package that pip has not compiled would be compiled each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return time.perf_counter() - start


def imports():
    programs = "import mlpfast.estimators", "import sklearn.neural_network"
    rounds = [[seconds_of_program(program) for program in programs] for _ in range(1 + 2 * ROUNDS)]
    show("import", *np.array(rounds[1:]).T, 1)  # the first writes the bytecode


def peak_of_fit(library, early_stopping):
    """Memory of X, and what fit needs beside it at its peak, over the size of X."""
    from sklearn.base import clone

    X, y = table(1_000_000, 50, 2, np.float32)
    estimator = classes(library)[0](max_iter=2, early_stopping=early_stopping, random_state=0)
    clone(estimator).fit(X[:2000], y[:2000])  # imports what it needs
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten: proc(5)
    before = memory_of("VmRSS")
    estimator.fit(X, y)
    print((memory_of("VmHWM") - before + X.nbytes) / X.nbytes)


def memory_of(name):
    """Bytes of this process, as /proc/self/status has them."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def memory():
    print("peak of fit over the size of X, 1,000,000 x 50 float32 (asked: 1.3)")
    for early in (False, True):
        for library in LIBRARIES:
            command = [sys.executable, "-m", "benchmarks.estimators", "--memory", library, str(int(early))]
            share = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(f"  {library:<8} early_stopping={early!s:<6} {share:.2f}", flush=True)


# ---- Quality ----


def data_sets():
    """{name: (which of the classes, X, y)}"""
    from sklearn import datasets
    from sklearn.preprocessing import scale

    friedman = datasets.make_friedman1(1000, noise=1.0, random_state=0)
    diabetes = datasets.load_diabetes(return_X_y=True)
    return {
        "iris": (0, *datasets.load_iris(return_X_y=True)),
        "digits": (0, *datasets.load_digits(return_X_y=True)),
        "breast cancer": (0, *datasets.load_breast_cancer(return_X_y=True)),
        "moons": (0, *datasets.make_moons(1000, noise=0.3, random_state=0)),
        "diabetes": (1, diabetes[0], scale(diabetes[1])),
        "friedman1": (1, friedman[0], scale(friedman[1])),
    }


def quality():
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    print(f"{'accuracy or R2, 10 seeds':<20} {'mlpfast':>16} {'sklearn':>16}  difference / standard error")
    for name, (which, X, y) in data_sets().items():
        scores = []
        for seed in range(10):
            X1, X2, y1, y2 = train_test_split(X, y, random_state=seed)
            scores.append([
                make_pipeline(StandardScaler(), classes(library)[which](random_state=seed)).fit(X1, y1).score(X2, y2)
                for library in LIBRARIES
            ])
        ours, theirs = np.array(scores).T
        error = np.std(ours - theirs, ddof=1) / np.sqrt(10) if (ours != theirs).any() else 0.0
        difference = ours.mean() - theirs.mean()
        print(f"{name:<20} {ours.mean():>8.4f} +-{ours.std():.4f} {theirs.mean():>8.4f} +-{theirs.std():.4f}  "
              f"{difference:+.5f} / {error:.5f}", flush=True)


PARTS = {"speed": speed, "together": together, "imports": imports, "memory": memory, "quality": quality}


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    elif sys.argv[1:2] == ["--memory"]:
        peak_of_fit(sys.argv[2], bool(int(sys.argv[3])))
    else:
        words = sys.argv[1:]
        named = [word for word in words if word in PARTS]
        for name in named or (PARTS if not words else ["speed"]):
            PARTS[name]([word for word in words if word not in PARTS]) if name == "speed" else PARTS[name]()


if __name__ == "__main__":
    main()
