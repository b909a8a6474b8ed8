"""validation_split, and the objective J."""

import numpy as np
import pytest
import reference

from mlpfast import LBFGS, SGD, Layer, NaturalGradient, Network, Trainer, _weights, losses, minibatches
from mlpfast._split import training_and_validation


def problem(n=100, k=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    return X, rng.choice(k, size=n, p=[0.55, 0.3, 0.1, 0.05][:k])


def trainer_for(loss="cross_entropy", *, seed=0, k=4, dtype="float64", **kwargs):
    output = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(loss, "identity")
    net = Network([6, 7, k], activation="tanh", output=output, dtype=dtype, seed=0)
    return Trainer(net, loss, SGD(lr=0.1), **{"batch_size": 10, "seed": seed, **kwargs})


class Sees:
    """A metric that stores the targets of the validation data."""

    name = "sees"

    def __init__(self):
        self.y = []

    def __call__(self, y, yhat):
        self.y.append(y.copy())
        return 0.0


def held_out(trainer, X, y, epochs=1, **kwargs):
    """The row numbers held out, found by giving each row a different target."""
    sees = Sees()
    numbered = np.arange(len(X)) / 1000.0
    Trainer(Network([6, 1], seed=0), "squared_error", SGD(lr=1e-6), seed=trainer.seed).fit(
        X, numbered, epochs=epochs, metrics=sees, **kwargs
    )
    # After each epoch, metrics see the training rows, then the held-out ones.
    return [np.rint(1000 * y[:, 0]).astype(int) for y in sees.y[1::2]]


def bits(net):
    return [p.tobytes() for p in net.parameters]


def test_the_split_is_that_of_the_data_given_in_two_parts():
    X, y = problem()
    (rows,) = held_out(trainer_for(), X, y, validation_split=0.2)
    assert len(rows) == 20 and (np.diff(rows) > 0).all()
    rest = np.setdiff1d(np.arange(100), rows)
    assert len(rest) == 80
    split, given = trainer_for(), trainer_for()
    first = split.fit(X, y, epochs=3, validation_split=0.2)
    second = given.fit(X[rest], y[rest], epochs=3, validation_data=(X[rows], y[rows]))
    assert first == second and bits(split.network) == bits(given.network)


@pytest.mark.parametrize("optimizer", [LBFGS(), NaturalGradient(cg_iterations=4)], ids=["lbfgs", "natural"])
@pytest.mark.parametrize("own", [False, True])
def test_the_split_of_all_rows_at_once(optimizer, own):
    """In chunks, and with a Custom loss, which is called with the rows of y."""
    pytest.importorskip("scipy")
    if own and isinstance(optimizer, NaturalGradient):
        pytest.skip("it takes canonical pairs alone")
    X, y = problem()
    Y = np.eye(4)[y]
    loss = losses.Custom(lambda y, yhat: ((yhat - y) ** 2).sum(axis=1), lambda y, yhat: 2 * (yhat - y))
    (rows,) = held_out(trainer_for(), X, y, validation_split=0.2)
    rest = np.setdiff1d(np.arange(100), rows)
    split, given = (
        Trainer(Network([6, 7, 4], activation="tanh", dtype="float64", seed=0), loss if own else "half_squared_error",
                optimizer, batch_size=None, seed=0, chunk_rows=16) for _ in range(2)
    )
    first = split.fit(X, Y, epochs=3, validation_split=0.2)
    second = given.fit(X[rest], Y[rest], epochs=3, validation_data=(X[rows], Y[rows]))
    assert first == second and bits(split.network) == bits(given.network)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("kind", ["uint8", "float32", "own loss", "weights"])
def test_a_split_in_any_order_is_that_of_two_parts(kind, shuffle):
    X, y = problem()
    X = (X * 20 + 100).astype("uint8") if kind == "uint8" else X.astype("float32")
    weight = np.arange(100) % 5 if kind == "weights" else None
    loss = "cross_entropy"
    if kind == "own loss":
        loss = losses.Custom(lambda y, yhat: yhat[:, 0] * y, lambda y, yhat: yhat * y[:, None])
    (rows,) = held_out(trainer_for(), X.astype(float), y, validation_split=0.2)
    rest = np.setdiff1d(np.arange(100), rows)
    found = []
    for split in (True, False):
        net = Network([6, 7, 4], output="softmax", seed=0, input_scale=0.01)
        trainer = Trainer(net, loss, SGD(lr=0.01), batch_size=32, seed=0, shuffle=shuffle, chunk_rows=8)
        if split:
            history = trainer.fit(X, y, epochs=2, validation_split=0.2, sample_weight=weight)
        else:
            weights = (None, None) if weight is None else (weight[rest], weight[rows])
            validation = (X[rows], y[rows]) if weight is None else (X[rows], y[rows], weights[1])
            history = trainer.fit(X[rest], y[rest], epochs=2, validation_data=validation, sample_weight=weights[0])
        found.append((history, bits(net)))
    assert found[0] == found[1]


def test_no_row_of_X_is_copied():
    X, y = problem()
    X = X.astype("float32")
    net = Network([6, 4], output="softmax", seed=0)
    trainer = Trainer(net)
    weights = {"sample_weight": None, "class_weight": None}
    for part in training_and_validation(trainer, X, y, weights, None, 0.2, True, False):
        assert np.shares_memory(part.X, X) and part.X.shape == X.shape


def test_the_split_is_drawn_once_by_the_seed():
    X, y = problem()
    both = held_out(trainer_for(), X, y, epochs=2, validation_split=0.1)
    again = held_out(trainer_for(), X, y, validation_split=0.1)
    other = held_out(trainer_for(seed=1), X, y, validation_split=0.1)
    np.testing.assert_array_equal(both[0], both[1])
    np.testing.assert_array_equal(both[0], again[0])
    assert not np.array_equal(both[0], other[0])
    trainer = trainer_for()  # another call of fit holds out the same rows
    weight = np.ones(100)
    weight[both[0]] = 0
    trainer.fit(X, y, epochs=2, validation_split=0.1)
    trainer.fit(X, y, epochs=1, validation_split=0.1)
    undisturbed = trainer_for()
    kept = weight > 0
    undisturbed.fit(X[kept], y[kept], epochs=3)
    assert bits(trainer.network) == bits(undisturbed.network)


def test_many_rows_are_taken_some_at_a_time(monkeypatch):
    """What is held out, weights and the order of the rows are the same; temporary arrays are small."""
    X, y = problem(1000)
    weight = np.random.default_rng(1).random(1000)
    options = {"validation_split": 0.13, "stratify": True, "class_weight": "balanced", "epochs": 2}
    wanted, mine = trainer_for(), trainer_for()
    wanted.fit(X, y, sample_weight=weight, **options)
    monkeypatch.setattr(_weights, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(minibatches, "KEPT_ROWS", 100)
    mine.fit(X, y, sample_weight=weight, **options)
    assert bits(mine.network) == bits(wanted.network) and mine.history == wanted.history


def test_every_row_can_be_held_out():
    X, y = problem(20)
    seen = set()
    for seed in range(60):
        seen |= set(held_out(trainer_for(seed=seed), X, y, validation_split=0.1)[0].tolist())
    assert seen == set(range(20))


@pytest.mark.parametrize("share, n, wanted", [(0.1, 100, 10), (0.25, 53, 13), (0.9, 11, 10), (0.01, 51, 1)])
def test_how_many_rows_are_held_out(share, n, wanted):
    X, y = problem(n)
    assert len(held_out(trainer_for(), X, y, validation_split=share)[0]) == wanted


@pytest.mark.parametrize("form", ["labels", "one-hot", "binary", "numbers", "signs"])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.77])
def test_a_stratified_split_keeps_the_shares_of_the_classes(form, share):
    X, y = problem(200, k=4)
    if form in ("binary", "signs"):
        y = np.where(y > 1, 1.0, -1.0 if form == "signs" else 0.0)
    trainer = {
        "binary": lambda: trainer_for("binary_cross_entropy", k=1),
        "signs": lambda: trainer_for("squared_error", k=1),
        "numbers": lambda: trainer_for("squared_error"),
    }.get(form, trainer_for)()
    sees = Sees()
    rows = form in ("one-hot", "numbers")
    trainer.fit(X, np.eye(4)[y] if rows else y, metrics=sees, validation_split=share, stratify=True)
    _, got = sees.y
    got = got.argmax(axis=1) if rows else got.ravel().astype(int)
    low = min(y.min().astype(int), 0)
    counts, wanted = np.bincount(got - low, minlength=4), share * np.bincount(y.astype(int) - low, minlength=4)
    assert counts.sum() == round(200 * share)
    assert (np.abs(counts - wanted) < 1).all()


def test_a_stratified_split_is_random_within_the_classes():
    X, y = problem(40)
    frozen, drawn = Network([Layer(6, 4, "softmax", trainable=False)], seed=0), set()  # yhat identifies the rows
    for seed in range(5):
        Trainer(frozen, seed=seed).fit(
            X, y, validation_split=0.5, stratify=True, metrics=lambda y, yhat: drawn.add(yhat.tobytes()) or 0.0
        )
    assert len(drawn) == 10  # five seeds, training rows and held-out rows each


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "list"])
def test_x_of_any_type(dtype):
    X, y = problem()
    X = (30 * (X + 4)).clip(0, 255).astype("float64" if dtype == "list" else dtype)
    (rows,) = held_out(trainer_for(), np.asarray(X), y, validation_split=0.3)
    rest = np.setdiff1d(np.arange(100), rows)
    split, given = trainer_for(), trainer_for()
    first = split.fit(X.tolist() if dtype == "list" else X, y, validation_split=0.3)
    assert first == given.fit(X[rest], y[rest], validation_data=(X[rows], y[rows]))


def test_sample_weight_goes_with_its_row_and_class_weight_with_those_to_train_on():
    X, y = problem()
    weight = np.linspace(0.5, 2, 100)
    (rows,) = held_out(trainer_for(), X, y, validation_split=0.3)
    rest = np.setdiff1d(np.arange(100), rows)
    split, given = trainer_for(), trainer_for()
    settings = dict(epochs=2, class_weight="balanced")
    history = split.fit(X, y, sample_weight=weight.tolist(), validation_split=0.3, **settings)
    wanted = given.fit(X[rest], y[rest], sample_weight=weight[rest], **settings)
    assert history["loss"] == wanted["loss"] and bits(split.network) == bits(given.network)
    assert history["val_loss"][-1] == given.evaluate(X[rows], y[rows], sample_weight=weight[rows])["loss"]


@pytest.mark.parametrize("loss", ["cross_entropy", losses.BinaryCrossEntropy(missing="ignore")], ids=["one", "many"])
def test_class_weight_alone_does_not_weigh_the_rows_held_out(loss):
    X, y = problem()
    if loss != "cross_entropy":
        y = np.where(np.abs(X[:, :4]) < 0.2, np.nan, X[:, :4] > 0.3)
    (rows,) = held_out(trainer_for(), X, np.arange(100), validation_split=0.3)
    rest = np.setdiff1d(np.arange(100), rows)
    output = "softmax" if loss == "cross_entropy" else "sigmoid"
    nets = [Network([6, 7, 4], output=output, dtype="float64", seed=0) for _ in range(2)]
    split, given = (Trainer(net, loss, batch_size=10, seed=0) for net in nets)
    history = split.fit(X, y, class_weight="balanced", validation_split=0.3, epochs=2)
    wanted = given.fit(X[rest], y[rest], class_weight="balanced", epochs=2)
    assert history["loss"] == wanted["loss"] and bits(split.network) == bits(given.network)
    assert history["val_loss"][-1] == given.evaluate(X[rows], y[rows])["loss"]


@pytest.mark.parametrize("settings, parts", [
    (dict(validation_split=0), ["validation_split", "> 0", "0"]),
    (dict(validation_split=1.0), ["validation_split", "< 1", "1.0"]),
    (dict(validation_split="a"), ["validation_split", "'a'"]),
    (dict(validation_split=0.001), ["validation_split=0.001", "100", "validate"]),
    (dict(validation_split=0.999), ["validation_split=0.999", "100", "train"]),
    (dict(validation_split=0.1, validation_data=problem()), ["validation_split", "validation_data", "both"]),
    (dict(stratify=True), ["stratify", "validation_split"]),
    (dict(validation_split=0.1, stratify=1), ["stratify", "1"]),
], ids=str)
def test_settings_that_do_not_fit(settings, parts):
    trainer = trainer_for()
    with pytest.raises((ValueError, TypeError)) as caught:
        trainer.fit(*problem(), **settings)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {caught.value}"
    assert trainer.epoch == 0


def test_stratify_needs_classes():
    X, y = problem()
    with pytest.raises(ValueError, match=r"stratify.*classes.*\(100, 4\) for 'squared_error'"):
        trainer_for("squared_error").fit(X, 2 * np.eye(4)[y], validation_split=0.1, stratify=True)


def test_a_bad_row_is_named_by_its_place_in_the_whole():
    X, y = problem()
    y[71] = 9
    with pytest.raises(ValueError, match="got 9 at position 71"):
        trainer_for().fit(X, y, validation_split=0.5)


def test_weights_that_leave_nothing_to_validate_with():
    X, y = problem()
    (rows,) = held_out(trainer_for(), X, y, validation_split=0.1)
    weight = np.ones(100)
    weight[rows] = 0
    with pytest.raises(ValueError, match="sample_weight must not be zero"):
        trainer_for().fit(X, y, sample_weight=weight, validation_split=0.1)


# ---- the objective


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("l1, l2", [(0.0, 0.1), (0.01, 0.0), (0.01, 0.1)])
def test_the_objective_is_the_loss_and_the_penalty_at_the_end_of_the_epoch(l1, l2, dtype, tolerance):
    X, y = problem()
    own = {"l1": 0.02, "l2": 0.03}
    layers = [Layer(6, 7, "tanh", trainable=False, **own), Layer(7, 5, "tanh"), Layer(5, 4, "softmax", **own)]
    trainer = Trainer(Network(layers, dtype=dtype, seed=0), l1=l1, l2=l2, seed=0)
    penalties = []

    def penalty(trainer, epoch, logs):
        kept = zip(reference.layers_of(trainer.network), layers, strict=True)
        penalties.append(sum((l2 + layer.l2) / 2 * (W**2).sum() + (l1 + layer.l1) * np.abs(W).sum()
                             for (W, _, _), layer in kept if layer.trainable))

    history = trainer.fit(X, y, epochs=3, callbacks=[penalty], validation_data=(X, y))
    assert list(history) == ["loss", "accuracy", "objective", "val_loss", "val_accuracy"]
    assert history["objective"] == pytest.approx(np.add(history["loss"], penalties), rel=tolerance)
    assert min(penalties) > 1e-3


def test_without_penalties_there_is_no_objective():
    assert "objective" not in trainer_for().fit(*problem())


def test_rows_without_a_class_are_stratified_as_a_class_of_their_own():
    y = np.repeat([0, 1, np.nan], [40, 20, 20])
    X = np.arange(80.0).reshape(-1, 1)
    net = Network([1, 1], output="sigmoid", seed=0)
    trainer = Trainer(net, losses.BinaryCrossEntropy(missing="ignore"), SGD(1e-6))
    data, held_out = training_and_validation(
        trainer, X, y, {"sample_weight": None, "class_weight": None}, None, 0.25, True, True)
    truth = held_out.truth[:, 0]
    assert [int((truth == 0).sum()), int((truth == 1).sum()), int(np.isnan(truth).sum())] == [10, 5, 5]
    assert len(data) == 60
