"""The benchmark cases: network, data, initial weights, and targets.

Used by the pytest suite, peers.py and the tests.
"""

from dataclasses import dataclass, replace

import numpy as np

from mlpfast import Layer, Network, _core

SEED = 0  # of data, weights and orders
LR = 0.01


@dataclass(frozen=True)
class Case:
    """A network and its training: minibatches of `batch` examples, `minibatches` of them per epoch.

    full_batch: the data are `batch` examples, and every step uses all of them in place; `minibatches` such steps count
    as an epoch here, so that a program can do them in one call.
    """

    name: str
    sizes: tuple
    batch: int
    minibatches: int
    activation: str = "relu"
    output: str = "softmax"
    loss: str = "cross_entropy"
    bias: bool = True
    dtype: str = "float32"
    optimizer: str = "sgd"  # or "adam", with the constants of Kingma and Ba
    full_batch: bool = False

    def flops(self):
        """Of the products of one step: forward, dW, and delta below (which layer 1 does not need)."""
        products = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 2 * self.batch * (3 * sum(products) - products[0])

    def describe(self):
        batch = f"{'full ' if self.full_batch else ''}batch {self.batch}"
        parts = ["-".join(map(str, self.sizes)), batch, self.activation, self.output, self.dtype]
        parts += [] if self.bias else ["no bias"]
        return ", ".join(parts if self.optimizer == "sgd" else [*parts, self.optimizer])

    def network(self, dropout=0.0):
        """The network with its first weights; dropout is that of the hidden layers."""
        pairs = zip(self.sizes[:-2], self.sizes[1:], strict=False)
        hidden = [Layer(*pair, self.activation, bias=self.bias, dropout=dropout) for pair in pairs]
        last = Layer(*self.sizes[-2:], self.output, bias=self.bias)
        # Initializers by name, so that changes of "auto" do not change the cases.
        return Network([*hidden, last], init="he_normal", output_init="xavier_normal", dtype=self.dtype, seed=SEED)


LECTURE = Case("lecture", (1000, 100, 10), 64, 512, "sigmoid", "sigmoid", "squared_error", bias=False)

CASES = {
    case.name: case
    for case in [
        Case("tiny", (4, 16, 3), 32, 2048),
        Case("digits", (64, 64, 10), 32, 1024),
        Case("mnist", (784, 128, 10), 64, 937),  # as many steps as an epoch of MNIST has
        Case("mnist2", (784, 256, 128, 10), 128, 468),
        Case("keras", (784, 512, 512, 10), 128, 128),
        Case("wide", (1024, 1024, 1024, 1024, 10), 512, 16),
        LECTURE,
        replace(LECTURE, name="lecture64", dtype="float64"),
        # Like published comparisons with JAX: narrow layers, all examples at once.
        Case("published", (4, 32, 16, 4), 10_000, 128, "tanh", optimizer="adam", full_batch=True),
    ]
}

# Not in the table of results, but with targets of their own.
SHAPES = {
    case.name: case
    for case in [
        Case("twenty layers", (64,) * 21 + (10,), 64, 256),
        Case("one layer", (784, 10), 64, 937),
        Case("odd widths", (617, 46, 45, 100, 10), 50, 512),
        Case("batch of 7", (784, 128, 10), 7, 1024),
        Case("batch of 1", (784, 128, 10), 1, 2048),
    ]
}


class Problem:
    """A case with its data, given to every contender.

    X (n, n_in) of the case's dtype; y (n,) class numbers, for squared_error (n, K) one-hot rows of that dtype.
    parameters: [(W, b), ...], the initial weights; b is None without a bias.
    """

    def __init__(self, case, X, labels, lr=LR):
        self.case, self.X, self.labels, self.lr = case, X, labels, lr
        one_hot = case.loss == "squared_error"
        self.y = np.eye(case.sizes[-1], dtype=case.dtype)[labels] if one_hot else labels
        layers = case.network().layers
        self.parameters = [(x.W.copy(), None if x.b is None else x.b.copy()) for x in layers]

    @classmethod
    def random(cls, case, minibatches=None, lr=LR):
        """Uniform numbers in [0, 1), like pixels, and random classes: little can be learned, so nothing saturates."""
        case = replace(case, minibatches=minibatches or case.minibatches)
        n = case.batch * (1 if case.full_batch else case.minibatches)
        rng = np.random.default_rng(SEED)
        X = rng.random((n, case.sizes[0]), case.dtype)
        return cls(case, X, rng.integers(case.sizes[-1], size=n), lr)

    @property
    def steps(self):
        """Of an epoch."""
        return self.case.minibatches if self.case.full_batch else -(-len(self.X) // self.case.batch)

    def order(self, epoch):
        """The order of the examples in an epoch, int64 (n,), as Trainer.fit draws it from SEED.

        None for a full batch, which is used in place.
        """
        if self.case.full_batch:
            return None
        order = np.empty(len(self.X), np.int64)
        _core.shuffle(order, SEED, epoch)
        return order


# ---- Targets ----

AT_LEAST, AT_MOST = "at least", "at most"


@dataclass(frozen=True)
class Target:
    section: str
    case: str
    what: str
    sense: str
    limit: float

    def reached(self, value):
        return value >= self.limit if self.sense == AT_LEAST else value <= self.limit


def _targets(section, what, sense, limits):
    return [Target(section, case, what, sense, limit) for case, limit in limits.items()]


TRAINED = [*CASES]
VARIANTS = {
    "momentum": 1.10, "nesterov": 1.10, "adam": 1.25, "sigmoid": 1.08, "tanh": 1.08, "gelu": 1.15, "dropout": 1.10,
    "l1 and l2": 1.05, "label smoothing": 1.03, "sample weights": 1.03, "uint8": 1.02,  # 1.02: no measurable difference
}
BESIDE = {  # the default number of threads over one thread
    "nothing else, back to back": 1.05, "after 20 ms of sleep": 1.15, "after a NumPy matmul": 1.15,
    "16 steps after a NumPy matmul": 1.1, "256 steps after a NumPy matmul": 1.1, "10 rows after a NumPy matmul": 1.5,
    "after a PyTorch matmul": 1.15, "one busy process": 1.1, "one busy process, nice 19": 1.1,
    "one busy process, SCHED_IDLE": 1.1, "another process that trains": 1.1, "pinned to one processor": 1.1,
    "CPU quota 0.5": 1.1, "CPU quota 1": 1.1, "CPU quota 1.5": 1.1, "a Python thread for each request": 1.1,
    "64 client threads": 1.1, "a call every 5 ms": 1.15, "asyncio.to_thread every 5 ms": 1.15,
    "joblib, two processes of loky": 1.1,
}
ONE_ROW = {"64-64-10": 1.5, "784-256-128-10": 10}

TARGETS = [
    *_targets("training", "times the fastest peer", AT_LEAST, {"tiny": 5, "digits": 3, "mnist": 1.7}),
    *_targets("training", "times the fastest of JAX", AT_LEAST, {"published": 4}),
    *_targets("training", "times the fastest of PyTorch", AT_LEAST, {"published": 12}),
    *_targets(
        "training",
        "of peak",
        AT_LEAST,
        {"mnist": 0.85, "mnist2": 0.88, "keras": 0.90, "wide": 0.90, "lecture": 0.80, "lecture64": 0.80},
    ),
    *_targets("one thread", "of peak", AT_LEAST, dict.fromkeys(["mnist", "keras", "wide"], 0.88)),
    *_targets("avx2", "of peak", AT_LEAST, dict.fromkeys(["mnist", "keras", "wide"], 0.85)),
    *_targets("float64", "of peak", AT_LEAST, dict.fromkeys(["keras", "wide"], 0.85)),
    *_targets("variants", "times plain SGD", AT_MOST, VARIANTS),
    *_targets("serving", "p50 us", AT_MOST, ONE_ROW),
    *_targets("serving", "p99 / p50", AT_MOST, dict.fromkeys(ONE_ROW, 1.5)),
    *_targets("serving", "C alone, us", AT_MOST, {"64-64-10": 0.4}),
    *_targets("serving", "of peak", AT_LEAST, {"10,000 rows": 0.88}),
    *_targets("step call", "us over the C step", AT_MOST, dict.fromkeys(["tiny", "digits", "mnist"], 2)),
    *_targets("threads", "default / best", AT_MOST, dict.fromkeys(TRAINED, 1.05)),
    *_targets("threads", "4 threads / best", AT_MOST, dict.fromkeys(TRAINED, 1.3)),
    *_targets("threads", "16 threads / best", AT_MOST, dict.fromkeys(TRAINED, 1.3)),
    *_targets("sharing", "time at once / fair share", AT_MOST, {"two processes": 1.3, "two Python threads": 1.3}),
    *_targets("sharing", "of a core", AT_MOST, {"idle after fit": 0.01}),
    *_targets("neighbours", "default / one thread", AT_MOST, BESIDE),
    *_targets("neighbours", "CPU, default / one thread", AT_MOST,
              dict.fromkeys(["a call every 5 ms", "asyncio.to_thread every 5 ms"], 1.3)),
    *_targets("neighbours", "new threads a pair", AT_MOST, {"step and predict on 16 threads": 0}),
    *_targets("sweep", "dips", AT_MOST, {"all": 0}),
]
