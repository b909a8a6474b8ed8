"""Makes the models of this folder with the exporters of other libraries; README.md says with which versions.

    pip install torch onnxscript onnx skl2onnx scikit-learn keras
    KERAS_BACKEND=torch python make.py

Beside each NAME.onnx, NAME.npz holds inputs X and the outputs yhat that its own library computes for them.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import skl2onnx
import torch
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

HERE = Path(__file__).parent
rng = np.random.default_rng(0)
torch.manual_seed(0)
keras.utils.set_random_seed(0)


def keep(name, X, yhat):
    np.savez(HERE / f"{name}.npz", X=X, yhat=np.asarray(yhat))


def of_torch(name, module, X, dynamo):
    module.eval()
    x = torch.tensor(X)
    options = {"external_data": False} if dynamo else {}
    torch.onnx.export(
        module, (x,), HERE / f"{name}.onnx", dynamo=dynamo, input_names=["X"], output_names=["p"], **options
    )
    keep(name, X, module(x).detach().numpy())


of_torch(
    "torch_export",
    nn.Sequential(
        nn.Flatten(),
        nn.Linear(12, 20),
        nn.GELU(),
        nn.Dropout(0.2),
        nn.Linear(20, 9),
        nn.SiLU(),
        nn.Linear(9, 3),
        nn.Softmax(dim=1),
    ),
    rng.normal(size=(6, 12)).astype(np.float32),
    True,
)
of_torch(
    "torchscript_export",
    nn.Sequential(
        nn.Linear(8, 16),
        nn.PReLU(16),
        nn.Linear(16, 8),
        nn.Mish(),
        nn.Linear(8, 6),
        nn.Hardswish(),
        nn.Linear(6, 1),
        nn.Sigmoid(),
    ),
    rng.normal(size=(6, 8)).astype(np.float32),
    False,
)


def of_sklearn(name, estimator, X, y, predict, **options):
    estimator.fit(X, y)
    model = skl2onnx.convert_sklearn(estimator, initial_types=[("X", FloatTensorType([None, X.shape[1]]))], **options)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    keep(name, X[::20], getattr(estimator, predict)(X[::20]))


X, y = load_iris(return_X_y=True)
classifier = make_pipeline(StandardScaler(), MLPClassifier((10, 7), activation="tanh", max_iter=300, random_state=0))
of_sklearn("skl2onnx_classifier", classifier, X.astype(np.float32), y, "predict_proba", options={"zipmap": False})
X, y = load_diabetes(return_X_y=True)
regressor = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(12,), max_iter=300, random_state=0))
of_sklearn("skl2onnx_regressor", regressor, X.astype(np.float32), (y / 100).astype(np.float32), "predict")

model = keras.Sequential(
    [
        keras.Input((10,)),
        keras.layers.Rescaling(0.5, offset=-1.0),
        keras.layers.Dense(14, activation="elu", bias_initializer="random_normal"),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(9, activation="softplus", use_bias=False),
        keras.layers.Dense(4, activation="softmax", bias_initializer="random_normal"),
    ]
)
X = rng.normal(size=(6, 10)).astype(np.float32)
keep("keras_export", X, model.predict(X, verbose=0))  # before the export, which needs a model that has been called
model.export(HERE / "keras_export.onnx", format="onnx", verbose=False)
