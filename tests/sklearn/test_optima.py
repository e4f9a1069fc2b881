"""Models come to the optima that scikit-learn's solvers find, and to exact zeros with L1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.datasets import load_diabetes, load_iris
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC

import lossk
from lossk.sklearn import LinearClassifier, LinearRegressor

ALPHA = 0.01
EXACT: dict[str, Any] = {"alpha": ALPHA, "batch_size": None, "learning_rate": "cosine", "max_iter": 5000}


def numbers() -> tuple[Any, Any]:
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def counts() -> tuple[Any, Any]:
    X, _ = numbers()
    return X, np.random.default_rng(0).poisson(np.exp(X[:, 0] / 2 + 0.5)) + 1.0


def iris(classes: int) -> tuple[Any, Any]:
    X, y = load_iris(return_X_y=True)
    return scale(X[y < classes]), y[y < classes]


@pytest.mark.parametrize(
    ("loss", "other", "data"),
    [
        # The mean of squares has twice the gradient of their halves.
        (lossk.SquaredError(), linear_model.Ridge(alpha=442 * ALPHA / 2), numbers),
        (lossk.Quantile(0.7), linear_model.QuantileRegressor(quantile=0.7, alpha=ALPHA), numbers),
        (lossk.PoissonNLL(), linear_model.PoissonRegressor(alpha=ALPHA, tol=1e-8), counts),
        (lossk.Gamma(), linear_model.GammaRegressor(alpha=ALPHA, tol=1e-8), counts),
        (lossk.Tweedie(1.5), linear_model.TweedieRegressor(power=1.5, link="log", alpha=ALPHA, tol=1e-8), counts),
    ],
    ids=lambda part: type(part).__name__ if not callable(part) else "",
)
def test_regression(loss: Any, other: Any, data: Any) -> None:
    X, y = data()
    penalty = "l1" if isinstance(loss, lossk.Quantile) else "l2"
    own = LinearRegressor(loss, penalty=penalty, **EXACT).fit(X, y)
    other.fit(X, y)
    np.testing.assert_allclose(own.coef_, other.coef_, atol=5e-3)
    np.testing.assert_allclose(own.predict(X), other.predict(X), atol=0.02)


def test_huber_regression_is_hubers_at_its_scale() -> None:
    X, y = numbers()
    other = linear_model.HuberRegressor(epsilon=1.5, alpha=0, max_iter=1000).fit(X, y)
    own = LinearRegressor(lossk.Huber(1.5 * other.scale_), **{**EXACT, "alpha": 0}).fit(X, y)
    np.testing.assert_allclose(own.coef_, other.coef_, atol=5e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_cross_entropy_is_logistic_regression(classes: int) -> None:
    X, y = iris(classes)
    own = LinearClassifier(**EXACT).fit(X, y)
    other = linear_model.LogisticRegression(C=1 / (len(y) * ALPHA), tol=1e-8).fit(X, y)
    assert own.coef_.shape == other.coef_.shape
    np.testing.assert_allclose(own.coef_, other.coef_, atol=2e-3)
    np.testing.assert_allclose(own.predict_proba(X), other.predict_proba(X), atol=1e-3)


def test_losses_of_two_classes_take_each_class_against_the_rest() -> None:
    X, y = iris(3)
    own = LinearClassifier("squared_hinge", fit_intercept=False, **EXACT).fit(X, y)
    other = LinearSVC(C=1 / (len(y) * ALPHA), fit_intercept=False, tol=1e-8, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(own.coef_, other.coef_, atol=2e-3)


def test_l1_is_the_lassos_with_its_zeros() -> None:
    X, y = numbers()
    own = LinearRegressor(penalty="l1", **{**EXACT, "alpha": 0.2}).fit(X, y)
    other = linear_model.Lasso(alpha=0.1, tol=1e-8).fit(X, y)
    assert np.array_equal(own.coef_ == 0, other.coef_ == 0)
    assert 0 < np.count_nonzero(own.coef_) < len(own.coef_)
    np.testing.assert_allclose(own.coef_, other.coef_, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad", "lion", lossk.Adam])
def test_every_optimizer_comes_near(optimizer: Any) -> None:
    X, y = iris(3)
    rate = 0.005 if optimizer == "lion" else 0.05
    model = LinearClassifier(optimizer=optimizer, learning_rate_init=rate, learning_rate="cosine", max_iter=500)
    assert model.fit(X, y).score(X, y) > 0.9
    assert np.argmin(model.loss_curve_) > 300


def test_minibatches_of_defaults_come_near() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 20), np.float32)
    y = X @ rng.standard_normal(20, np.float32) + rng.standard_normal(5000, np.float32)
    own, other = LinearRegressor(random_state=0).fit(X, y), linear_model.LinearRegression().fit(X, y)
    assert own.coef_.dtype == own.predict(X).dtype == np.float32
    np.testing.assert_allclose(own.coef_, other.coef_, atol=0.01)
