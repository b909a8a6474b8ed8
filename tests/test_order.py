"""The order of the examples equals the reference, and is determined by seed and epoch. Statistics:
tests/c/test_random.c."""

import numpy as np
import pytest
import reference

from mlpfast import SGD, Network, Trainer, _core


def shuffled(n, seed, epoch, rows=None):
    order = np.full(n, -1)
    _core.shuffle(order, seed, epoch, rows)
    return order


# 1,024 is the limit for a Fisher-Yates shuffle; 2,048 = 32 * 64 is a full square.
@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 1000, 1024, 1025, 2047, 2048, 2049, 3000])
def test_the_order_is_the_references(n):
    for seed, epoch in ((0, 0), (3, 1), (2**64 - 1, 2**56 - 1)):
        order = shuffled(n, seed, epoch)
        np.testing.assert_array_equal(order, reference.order(n, seed, epoch))
        np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_the_order_of_given_rows():
    n = 2**20 + 100  # two blocks
    rows, order = np.arange(n) * 3 + 1, shuffled(n, 5, 7)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(shuffled(n, 5, 7, rows), rows[order])
    order = np.full(10, -1)
    for wrong in (9, 11):
        with pytest.raises(ValueError, match=f"rows must have 10 numbers, got {wrong}"):
            _core.shuffle(order, 0, 0, np.arange(wrong))
    assert (order == -1).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [200, 1500])
def test_fit_takes_the_rows_in_this_order(n, weighted):
    rng = np.random.default_rng(0)
    X, y, weight = rng.standard_normal((n, 6)), rng.integers(4, size=n), None
    rows = np.arange(n)
    if weighted:  # weights 1 and 0: rows of weight 0 are not in the order
        weight = (rng.random(n) < 0.9).astype(float)
        rows = np.flatnonzero(weight)
    net, twin = (Network([6, 5, 4], output="softmax", dtype="float64", seed=1) for _ in range(2))
    Trainer(net, optimizer=SGD(0.1), batch_size=32, seed=9).fit(X, y, epochs=2, sample_weight=weight)
    by_hand = Trainer(twin, optimizer=SGD(0.1))
    for epoch in range(2):
        order = rows[reference.order(len(rows), 9, epoch)]
        for first in range(0, len(rows), 32):
            minibatch = order[first : first + 32]
            by_hand.step(X[minibatch], y[minibatch])
    for p, q in zip(net.parameters, twin.parameters, strict=True):
        np.testing.assert_array_equal(p, q)
