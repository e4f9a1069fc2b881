"""Agreement with scikit-learn's private loss classes, where it is installed: values, gradients, second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, each_dtype

sklearn_loss = pytest.importorskip(
    "sklearn._loss.loss", reason="scikit-learn is not installed: parity with it was not tested"
)
from sklearn.linear_model import _sgd_fast as sgd_loss  # noqa: E402


class Pair(NamedTuple):
    """A loss, scikit-learn's class for it, and by what the latter must be multiplied."""

    ours: Any
    theirs: Any
    factor: float = 1.0
    # scikit-learn's targets from ours.
    target: Callable[[Array], Array] = np.asarray
    # Has scikit-learn the second derivative? (It gives a constant 1 where there is none.)
    curved: bool = True


PAIRS = {
    "squared error": Pair(lossk.SquaredError(), sklearn_loss.HalfSquaredError(), 2.0),
    "absolute error": Pair(lossk.AbsoluteError(), sklearn_loss.AbsoluteError(), curved=False),
    **{
        f"pinball {q}": Pair(lossk.Quantile(q), sklearn_loss.PinballLoss(quantile=q), curved=False)
        for q in (0.05, 0.5, 0.9)
    },
    **{
        f"huber {delta}": Pair(lossk.Huber(delta), sklearn_loss.HuberLoss(delta=delta), curved=False)
        for delta in (0.3, 1.0, 2.5)
    },
    "poisson": Pair(lossk.PoissonNLL(), sklearn_loss.HalfPoissonLoss()),
    "gamma": Pair(lossk.Gamma(), sklearn_loss.HalfGammaLoss()),
    **{
        f"tweedie {power}": Pair(lossk.Tweedie(power), sklearn_loss.HalfTweedieLoss(power=power))
        for power in (-1.3, 0.0, 0.5, 1.0, 1.1, 1.5, 1.9, 2.0, 2.5, 3.0)
    },
    "binomial": Pair(lossk.BinaryCrossEntropyWithLogits(), sklearn_loss.HalfBinomialLoss()),
    "logistic": Pair(lossk.Logistic(), sklearn_loss.HalfBinomialLoss(), target=lambda y: (y + 1) / 2),
    "exponential": Pair(lossk.Exponential(), sklearn_loss.ExponentialLoss(), target=lambda y: (y + 1) / 2),
}


def problem(pair: Pair, rng: np.random.Generator) -> tuple[Array, Array]:
    z, y = pair.ours._draw(rng, (2000,), np.float64)
    return 1.5 * z, y


# Losses of SGDClassifier and SGDRegressor, which have value and gradient of one sample.
OF_DESCENT = {
    "modified_huber": (lossk.ModifiedHuber(), sgd_loss.ModifiedHuber()),
    "perceptron": (lossk.Perceptron(), sgd_loss.Hinge(0.0)),
    "epsilon_insensitive": (lossk.EpsilonInsensitive(0.3), sgd_loss.EpsilonInsensitive(0.3)),
    "squared_epsilon_insensitive": (lossk.SquaredEpsilonInsensitive(0.3), sgd_loss.SquaredEpsilonInsensitive(0.3)),
}


@pytest.mark.parametrize("name", OF_DESCENT)
def test_losses_of_descent_are_scikit_learns(name: str, isa: str, rng: np.random.Generator) -> None:
    ours, theirs = OF_DESCENT[name]
    z, y = ours._draw(rng, (300,), np.float64)
    z[:5] = 0.0
    value, grad = ours.value_and_grad(z, y, reduction="none")
    np.testing.assert_allclose(value, [theirs.py_loss(a, b) for a, b in zip(z, y, strict=True)], rtol=1e-14)
    np.testing.assert_allclose(grad, [theirs.py_dloss(a, b) for a, b in zip(z, y, strict=True)], rtol=1e-14)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", PAIRS)
def test_values_and_derivatives_are_scikit_learns(
    name: str, weighted: bool, isa: str, rng: np.random.Generator
) -> None:
    pair = PAIRS[name]
    z, y = problem(pair, rng)
    w = rng.uniform(0.1, 3.0, size=z.shape) if weighted else None
    arguments = {"y_true": pair.target(y), "raw_prediction": z, "sample_weight": w}
    value, grad = pair.ours.value_and_grad(z, y, sample_weight=w, reduction="none")
    _, hess = pair.ours.grad_and_hess(z, y, sample_weight=w, reduction="none")
    want_grad, want_hess = pair.theirs.gradient_hessian(**arguments)
    np.testing.assert_allclose(value, pair.factor * pair.theirs.loss(**arguments), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(grad, pair.factor * want_grad, rtol=1e-10, atol=1e-10)
    if pair.curved:
        np.testing.assert_allclose(hess, pair.factor * want_hess, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_means_are_scikit_learns(name: str, rng: np.random.Generator) -> None:
    """Weighted means: both divide by the sum of the weights."""
    pair = PAIRS[name]
    z, y = problem(pair, rng)
    w = rng.uniform(0.1, 3.0, size=z.shape)
    for weight in (None, w):
        want = pair.factor * pair.theirs(y_true=pair.target(y), raw_prediction=z, sample_weight=weight)
        assert pair.ours(z, y, sample_weight=weight) == pytest.approx(want, rel=1e-10, abs=1e-10)


@each_dtype
@pytest.mark.parametrize("classes", [3, 10, 100])
def test_cross_entropy_is_scikit_learns_multinomial_loss(
    dtype: Any, classes: int, isa: str, rng: np.random.Generator
) -> None:
    theirs = sklearn_loss.HalfMultinomialLoss(n_classes=classes)
    z = rng.normal(scale=2.0, size=(200, classes)).astype(dtype)
    t = rng.integers(0, classes, size=200)
    w = rng.uniform(0.1, 3.0, size=200).astype(dtype)
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    for weight in (None, w):
        arguments = {
            "y_true": t.astype(np.float64),
            "raw_prediction": z.astype(np.float64),
            "sample_weight": None if weight is None else weight.astype(np.float64),
        }
        ce = lossk.CrossEntropy()
        value, grad = ce.value_and_grad(z, t, sample_weight=weight, reduction="none")
        _, hess = ce.grad_and_hess(z, t, sample_weight=weight, reduction="none")
        want_grad, want_hess = theirs.gradient_hessian(**arguments)
        np.testing.assert_allclose(value, theirs.loss(**arguments), rtol=rtol, atol=rtol)
        np.testing.assert_allclose(grad, want_grad, rtol=rtol, atol=0.1 * rtol)
        np.testing.assert_allclose(hess, want_hess, rtol=rtol, atol=0.1 * rtol)
