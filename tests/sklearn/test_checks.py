"""scikit-learn's own checks of estimators, with losses of every kind and each way to descend."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import lossk
from lossk.sklearn import LinearClassifier, LinearRegressor

MODELS = [
    LinearClassifier(),
    LinearClassifier(lossk.MultiMargin()),
    LinearClassifier("hinge", optimizer=partial(lossk.AdamW, lr=0.05)),
    LinearClassifier("binary_cross_entropy_with_logits", penalty="l1", learning_rate="cosine", max_iter=300),
    LinearRegressor(),
    LinearRegressor(lossk.Huber(2.0), optimizer="adagrad", learning_rate_init=0.5),
    LinearRegressor("quantile", penalty="elasticnet", fit_intercept=False, learning_rate="invscaling"),
    LinearRegressor("poisson_nll"),
    LinearRegressor("gamma"),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@parametrize_with_checks(MODELS)  # type: ignore[untyped-decorator]
def test_check(estimator: Any, check: Any) -> None:
    check(estimator)
