"""A plugin of pytest: scikit-learn's tests of its MLPs run on those of mlpfast.estimators.

    python -m pytest -p sklearns_own_tests --pyargs sklearn.neural_network.tests.test_mlp
"""

import sklearn.neural_network

from mlpfast.estimators import MLPClassifier, MLPRegressor

sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor = MLPClassifier, MLPRegressor
