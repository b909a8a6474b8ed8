"""
One line beside scikit-learn
============================

One import line changes: scikit-learn's MLPClassifier and mlpfast's, with the same random_state.

The number: how far apart their probabilities are. Rounding errors alone make them differ.
"""

import time
import warnings

from shared import figure, options, save
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlpfast.estimators import MLPClassifier as Ours


def main() -> None:
    arguments = options(__doc__)
    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    epochs = 10 if arguments.quick else 100
    warnings.simplefilter("ignore", ConvergenceWarning)  # so few epochs
    probabilities, curves = [], {}
    for name, kind in (("scikit-learn", Theirs), ("mlpfast", Ours)):
        model = make_pipeline(StandardScaler(), kind((100,), max_iter=epochs, random_state=0))
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
        print(f"{name:<12}  {seconds:6.3f} s  {model.score(X_test, y_test):.1%} right")
        probabilities.append(model.predict_proba(X_test))
        curves[f"{name}, {seconds:.2f} s"] = model[-1].loss_curve_
    if arguments.plot:
        ax = figure()
        for (label, curve), style in zip(curves.items(), ("-", "--"), strict=True):
            ax.semilogy(curve, style, label=label)
        ax.set(xlabel="epoch", ylabel="training loss")
        ax.legend()
        save(ax, arguments.plot)
    print(f"result: from_sklearn {abs(probabilities[0] - probabilities[1]).max():.3g}")


if __name__ == "__main__":
    main()
