"""Networks from and for other libraries, each of which is imported when it is used, and has an extra of its own.

    to_onnx(net, path)     from_onnx(path)         pip install "mlpfast[onnx]"
    to_torch(net)          from_torch(module)      pip install "mlpfast[torch]"
                           from_keras(model)       pip install "mlpfast[keras]"
    to_sklearn(net)        from_sklearn(estimator) pip install "mlpfast[sklearn]"

`python -m mlpfast convert A B` converts files, by their endings (convert).

What cannot be carried over is a ValueError that names where it stands, and what is supported; settings of the training
alone that are left out are a UserWarning.
"""

from ._files import convert
from .keras import from_keras
from .onnx import from_onnx, to_onnx
from .sklearn import from_sklearn, to_sklearn
from .torch import from_torch, to_torch

__all__ = ["convert", "from_keras", "from_onnx", "from_sklearn", "from_torch", "to_onnx", "to_sklearn", "to_torch"]
