"""
A Boolean function
==================

A function of four truth values, learnt from its table of 16 rows:

    ((A and not X and Z) or (A and not Y)) and ((X and Y) or not (X and Z))

The number: how many rows are wrong.
"""

from itertools import product

import numpy as np
from shared import figure, options, save

import mlpfast


def f(A: bool, X: bool, Y: bool, Z: bool) -> bool:
    return ((A and not X and Z) or (A and not Y)) and ((X and Y) or not (X and Z))


chosen = options(__doc__)
rows = np.array(list(product([False, True], repeat=4)))
truth = np.array([f(*row) for row in rows])

net = mlpfast.Network([4, 8, 1], activation="tanh", output="sigmoid", seed=0)
trainer = mlpfast.Trainer(net, "binary_cross_entropy", mlpfast.Adam(lr=0.05), batch_size=None, seed=0)
history = trainer.fit(2.0 * rows - 1, truth, epochs=300)  # -1 and 1: a weight of a "false" learns as well

says = net.predict(2.0 * rows - 1, squeeze=True) > 0.5
print("A X Y Z  f  network")
for row, right, said in zip(rows.astype(int), truth, says, strict=True):
    print(*row, "", int(right), "", int(said))

if chosen.plot:
    ax = figure()
    ax.semilogy(history["loss"])
    ax.set(xlabel="epoch", ylabel="binary cross entropy")
    save(ax, chosen.plot)
print(f"result: boolean_function {np.count_nonzero(says != truth)}")
