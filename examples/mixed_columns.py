"""
Columns of several kinds
========================

A table with numbers and texts through a ColumnTransformer: prices of flats, which are learned in their own unit.

The number: R2 on flats that were held out.
"""

import numpy as np
import pandas as pd
from shared import figure, options, save
from sklearn.compose import make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlpfast.estimators import MLPRegressor


def flats(n: int, rng: np.random.Generator) -> "tuple[pd.DataFrame, pd.Series[float]]":
    """n flats with their area, year and town, and their prices."""
    table = pd.DataFrame({
        "area": rng.uniform(25, 180, n),
        "year": rng.integers(1900, 2025, n),
        "town": rng.choice(["Aachen", "Bonn", "Essen", "Münster"], n),
    })
    of_town = table["town"].map({"Aachen": 2600, "Bonn": 3400, "Essen": 2100, "Münster": 3900})
    return table, of_town * table["area"] * (1 + ((table["year"] - 1960) / 100) ** 2) * rng.normal(1, 0.03, n)


def main() -> None:
    arguments = options(__doc__)
    table, price = flats(1000 if arguments.quick else 5000, np.random.default_rng(0))
    rows, held_out, y, y_held_out = train_test_split(table, price, random_state=0)
    columns = make_column_transformer((StandardScaler(), ["area", "year"]), (OneHotEncoder(), ["town"]))
    regressor = MLPRegressor(hidden_layer_sizes=(64, 64), target_scaling=True, early_stopping=True, random_state=0)
    model = make_pipeline(columns, regressor)
    model.fit(rows, y)
    if arguments.plot:
        ax = figure()
        ax.plot(y_held_out / 1000, model.predict(held_out) / 1000, ".", markersize=3)
        ax.axline((0, 0), slope=1, color="grey", linewidth=1)
        ax.set(xlabel="price, in thousands", ylabel="prediction")
        save(ax, arguments.plot)
    error = np.median(np.abs(model.predict(held_out) / y_held_out - 1))
    print(f"{model[-1].n_iter_} epochs; half of the prices are less than {error:.1%} off")
    print(f"result: mixed_columns {model.score(held_out, y_held_out):.4f}")


if __name__ == "__main__":
    main()
