"""Targets of lossk.sklearn: time to a held-out loss, against scikit-learn's stochastic solvers. A call takes seconds.

Both have 1, 2, 4 ... epochs, without stopping early, and scaled data. The loss to come to is 1.01 times the best one
that the peer comes to; what counts are the fits of the fewest epochs that come to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from interleaved import interleaved, timed
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn import linear_model
from sklearn.datasets import load_digits

import lossk
from lossk.cli.bench.kernels import Array, Runner
from lossk.cli.bench.run import median_ratio
from lossk.sklearn import LinearClassifier, LinearRegressor

ROUNDS, EPOCHS, SLACK = 3, (1, 2, 4, 8, 16, 32), 1.01
SAMPLES, FEATURES, CLASSES = 581_012, 54, 7  # of the covertype data


class Data(NamedTuple):
    """Samples, the first tenth of which is held out; their labels and numbers; our batches and learning rate."""

    X: Array
    labels: Array
    numbers: Array
    options: dict[str, Any]


def _made(dtype: Any) -> Data:
    """Return labels and numbers from linear scores and noise, in the size of the covertype data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SAMPLES, FEATURES), np.float32).astype(dtype)
    scores = X @ (rng.standard_normal((FEATURES, CLASSES)) / 2).astype(dtype)
    labels = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return Data(X, labels, scores[:, 0] + rng.standard_normal(SAMPLES).astype(dtype), {"batch_size": 1024})


def _digits(dtype: Any) -> Data:
    X, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, labels = (X[order] / 16 - 0.3).astype(dtype), labels[order]
    return Data(X, labels, (labels / 3).astype(dtype), {"batch_size": 64, "learning_rate_init": 0.1})


def _log_loss(model: Any, X: Array, y: Array) -> float:
    return float(-np.log(np.maximum(model.predict_proba(X)[np.arange(len(y)), y], 1e-15)).mean())


def _hinge_loss(model: Any, X: Array, y: Array) -> float:
    signs = np.where(np.arange(len(model.classes_)) == y[:, None], 1.0, -1.0)
    return lossk.Hinge()(model.decision_function(X).astype(np.float64), signs)


def _squared_error(model: Any, X: Array, y: Array) -> float:
    return float(((model.predict(X) - y) ** 2).mean())


class Race(NamedTuple):
    """Our model and a peer of so many epochs, and their loss."""

    own: Callable[..., Any]
    peer: Callable[[int], Any]
    loss: Callable[[Any, Array, Array], float]


def _own(model: Any, loss: Any, epochs: int, **options: Any) -> Any:
    return model(loss, max_iter=epochs, learning_rate="cosine", random_state=0, **options)


def _sgd(model: str, loss: str, epochs: int) -> Any:
    return getattr(linear_model, model)(loss=loss, max_iter=epochs, tol=None, random_state=0, n_jobs=-1)


def _sgd_regressor(epochs: int) -> Any:
    return linear_model.SGDRegressor(max_iter=epochs, tol=None, random_state=0)


def _saga(epochs: int) -> Any:
    return linear_model.LogisticRegression(solver="saga", C=np.inf, max_iter=epochs, random_state=0)


RACES = {
    "SGDClassifier log_loss": Race(
        partial(_own, LinearClassifier, "cross_entropy"), partial(_sgd, "SGDClassifier", "log_loss"), _log_loss
    ),
    "SGDClassifier hinge": Race(
        partial(_own, LinearClassifier, "hinge"), partial(_sgd, "SGDClassifier", "hinge"), _hinge_loss
    ),
    "LogisticRegression saga": Race(partial(_own, LinearClassifier, "cross_entropy"), _saga, _log_loss),
    "SGDRegressor": Race(partial(_own, LinearRegressor, "squared_error"), _sgd_regressor, _squared_error),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", [_digits, _made], ids=["digits", "covertype-sized"])
def test_time_to_a_held_out_loss(
    benchmark: BenchmarkFixture, data: Callable[[Any], Data], dtype: str, race: str
) -> None:
    """Come to the loss 3 times as fast."""
    X, labels, numbers, options = data(dtype)
    own, peer, loss = partial(RACES[race].own, **options), RACES[race].peer, RACES[race].loss
    y = numbers if race == "SGDRegressor" else labels
    cut = len(y) // 10

    def reached(make: Callable[[int], Any]) -> dict[int, float]:
        return {n: loss(make(n).fit(X[cut:], y[cut:]), X[:cut], y[:cut]) for n in EPOCHS}

    def runner(make: Callable[[int], Any], epochs: int) -> Runner:
        return Runner(partial(make(epochs).fit, X[cut:], y[cut:]))

    theirs, ours = reached(peer), reached(own)
    goal = SLACK * min(theirs.values())
    needed = {n: next((n for n in EPOCHS if found[n] <= goal), None) for n, found in (("own", ours), ("peer", theirs))}
    benchmark.extra_info.update(goal=goal, epochs=needed, own_losses=ours, peer_losses=theirs)
    assert needed["own"] is not None, benchmark.extra_info
    assert needed["peer"] is not None
    others = {race: timed(runner(peer, needed["peer"]))}
    taken, seconds = interleaved(benchmark, runner(own, needed["own"]), others, ROUNDS)
    benchmark.extra_info["ratio"] = median_ratio(seconds[race], taken)
    assert benchmark.extra_info["ratio"] >= 3, benchmark.extra_info
