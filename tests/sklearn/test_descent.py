"""How models descend: weights, continuing, stopping, curves, the same bits again."""

from __future__ import annotations

import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import lossk
from lossk._arrays import take_rows
from lossk.sklearn import LinearClassifier, LinearRegressor

FEW: dict[str, Any] = {"max_iter": 3, "tol": None, "batch_size": 32, "random_state": 0}
MODELS = [LinearClassifier(**FEW), LinearClassifier("hinge", **FEW), LinearRegressor("huber", **FEW)]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{type(model).__name__} {model.loss}")


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any]:
    X = rng.standard_normal((300, 5))
    return X, (X[:, :3] + 0.3 * rng.standard_normal((300, 3))).argmax(axis=1)


@each_model
def test_weight_0_is_leaving_out(model: Any, data: Any, rng: np.random.Generator) -> None:
    X, y = data
    w = rng.integers(0, 3, len(y)).astype(float)
    there = w > 0
    spoilt = np.where(there[:, None], X, 1e300)
    coef = model.fit(spoilt, y, w).coef_
    assert np.array_equal(coef, model.fit(X[there], y[there], w[there]).coef_)


@each_model
def test_weights_are_repetitions(model: Any, data: Any, rng: np.random.Generator) -> None:
    X, y = data
    w = rng.integers(1, 4, len(y))
    model = type(model)(**{**model.get_params(), "batch_size": None})
    coef = model.fit(X, y, w).coef_
    np.testing.assert_allclose(model.fit(X.repeat(w, axis=0), y.repeat(w)).coef_, coef, rtol=1e-9)


def test_class_weights_are_sample_weights(data: Any) -> None:
    X, y = data
    w = np.array([1.0, 2.0, 5.0])
    own = LinearClassifier(class_weight=dict(enumerate(w)), **FEW).fit(X, y)
    assert np.array_equal(own.coef_, LinearClassifier(**FEW).fit(X, y, w[y]).coef_)
    w = len(y) / (3 * np.bincount(y))
    own = LinearClassifier(class_weight="balanced", **FEW).fit(X, y)
    assert np.array_equal(own.coef_, LinearClassifier(**FEW).fit(X, y, w[y]).coef_)


def test_weights_of_the_loss_divide_as_those_of_samples(data: Any) -> None:
    X, y = data
    w, r = np.array([1.0, 2.0, 5.0]), np.linspace(1, 2, len(y))
    own = LinearClassifier(lossk.CrossEntropy(weight=w), **{**FEW, "batch_size": None}).fit(X, y, r)
    other = LinearClassifier(**{**FEW, "batch_size": None}).fit(X, y, r * w[y])
    np.testing.assert_allclose(own.coef_, other.coef_, rtol=1e-9)
    np.testing.assert_allclose(own.loss_curve_, other.loss_curve_, rtol=1e-9)


@each_model
@pytest.mark.parametrize("rate", ["constant", "invscaling", "cosine"])
def test_epochs_are_calls_of_partial_fit(model: Any, rate: str, data: Any) -> None:
    X, y = data
    whole = type(model)(**{**model.get_params(), "learning_rate": rate})
    parts = type(model)(**whole.get_params())
    whole.fit(X, y)
    names = {"classes": [0, 1, 2]} if isinstance(model, LinearClassifier) else {}
    for _ in range(3):
        parts.partial_fit(X, y, **names)
    assert np.array_equal(whole.coef_, parts.coef_)
    assert whole.loss_curve_ == parts.loss_curve_
    assert whole.n_iter_ == parts.n_iter_ == 3


def test_partial_fit_keeps_the_type(data: Any) -> None:
    X, y = data
    model = LinearRegressor().partial_fit(X.astype(np.float32), y)
    assert model.partial_fit(X, y).coef_.dtype == np.float32


def test_partial_fit_takes_classes_one_by_one(data: Any) -> None:
    X, y = data
    model = LinearClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    for _ in range(30):
        for label in range(3):
            model.partial_fit(X[y == label], y[y == label], classes=[0, 1, 2])
    assert model.score(X, y) > 0.8
    with pytest.raises(ValueError, match="y: got labels \\[7\\]"):
        model.partial_fit(X[:1], [7])


def test_a_warm_start_goes_on(data: Any) -> None:
    X, y = data
    model = LinearClassifier(**FEW, warm_start=True).fit(X, y)
    first = model.loss_curve_
    again = model.fit(X, y).loss_curve_
    assert again[0] < first[-1]
    with pytest.raises(ValueError, match="X: got 4 features, wanted 5"):
        model.fit(X[:, :4], y)
    with pytest.raises(ValueError, match="classes: got \\[0 1\\]"):
        model.fit(X[y < 2], y[y < 2])
    assert LinearClassifier(**FEW).fit(X, y).fit(X, y).loss_curve_ == first


@each_model
def test_early_stopping_keeps_the_best(model: Any, data: Any) -> None:
    X, y = data
    options = {**model.get_params(), "early_stopping": True, "tol": 1e-3, "max_iter": 500, "n_iter_no_change": 3}
    model = type(model)(**options).fit(X, y, np.ones(len(y)))
    assert len(model.validation_curve_) == len(model.loss_curve_) == model.n_iter_ < 500
    with pytest.raises(ValueError, match="early_stopping: got True, wanted False in partial_fit"):
        model.partial_fit(X, y)


def test_rates_fall(data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = data
    options: dict[str, Any] = {"max_iter": 4, "batch_size": None, "verbose": 1, "optimizer": partial(lossk.SGD, lr=0.5)}
    shown = {}
    for rate in ("constant", "invscaling", "cosine"):
        LinearClassifier(learning_rate=rate, tol=None, **options).fit(X, y)
        lines = capsys.readouterr().err.split("\r")[1:]
        shown[rate] = [float(line.split("learning rate")[1]) for line in lines]
    assert shown["constant"] == [0.5] * 4
    assert shown["invscaling"] == pytest.approx([0.5, 0.5 / 2**0.5, 0.5 / 3**0.5, 0.25], rel=0.01)
    assert shown["cosine"] == pytest.approx([0.5, 0.427, 0.25, 0.0732], rel=0.01)


def test_an_adaptive_rate_ends_the_descent(data: Any) -> None:
    X, y = data
    models = [LinearClassifier(learning_rate=rate, random_state=0, batch_size=8) for rate in ("constant", "adaptive")]
    losses = [min(model.fit(X, y).loss_curve_) for model in models]
    assert losses[1] < losses[0]
    assert models[0].n_iter_ < models[1].n_iter_ < 1000


def test_what_does_not_converge_says_so(data: Any) -> None:
    X, y = data
    with pytest.warns(ConvergenceWarning, match="Maximum number of iterations \\(2\\) reached"):
        LinearClassifier(max_iter=2).fit(X, y)
    with pytest.raises(
        ValueError, match=r"Floating-point overflow: the loss is .* after epoch .* lower learning_rate_init"
    ):
        LinearRegressor(optimizer="sgd", learning_rate_init=1e3, tol=None).fit(X, y)


@each_model
def test_the_same_bits_on_any_number_of_threads(model: Any, data: Any) -> None:
    X, y = data
    found = []
    for threads in (1, 2):
        with lossk.threads(threads):
            found.append(model.fit(X, y).coef_)
    assert np.array_equal(*found)
    assert not np.array_equal(found[0], type(model)(**{**model.get_params(), "random_state": 1}).fit(X, y).coef_)


@each_model
def test_slices_in_order_are_the_batches_without_shuffling(model: Any, data: Any) -> None:
    X, y = data
    X.flags.writeable = False
    options = {**model.get_params(), "shuffle": False, "random_state": None}
    assert np.array_equal(type(model)(**options).fit(X, y).coef_, type(model)(**options).fit(X, y).coef_)


@pytest.mark.parametrize("options", [{"batch_size": 256}, {"batch_size": 256, "shuffle": False}, {"batch_size": None}])
def test_samples_are_not_copied(options: Any, rng: np.random.Generator) -> None:
    X = rng.standard_normal((20_000, 50))
    model = LinearRegressor(max_iter=1, learning_rate="cosine", **options)
    tracemalloc.start()
    try:
        model.fit(X, X[:, 0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 4


@each_model
def test_sparse_rows_are_dense_ones(model: Any, data: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data
    X = np.where(np.abs(X) < 0.5, 0, X)
    dense = model.fit(X, y).coef_
    np.testing.assert_allclose(model.fit(sparse.csr_array(X), y).coef_, dense, rtol=1e-9)
    np.testing.assert_allclose(model.predict(sparse.csr_array(X)), model.predict(X), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_rows_of_a_batch_come_from_anywhere(dtype: Any, rng: np.random.Generator) -> None:
    for columns in (1, 3, 54, 2000):
        x = (100 * rng.random((50, columns))).astype(dtype)
        order = rng.integers(0, 50, 301)
        for threads in (1, 3):
            out = np.zeros((301, columns), dtype)
            take_rows(out, x, order, threads)
            np.testing.assert_array_equal(out, x[order])
    for wrong in (50, -1):
        with pytest.raises(IndexError, match=r"^order: got a number outside the rows of x$"):
            take_rows(out, x, np.full(301, wrong), None)
    for args in ((out, x[:, ::2], order), (out[:1], x, order), (out, x.astype(np.complex64), order)):
        with pytest.raises(TypeError, match=r"^take_rows: wanted C-contiguous rows of one dtype and length"):
            take_rows(*args, None)
