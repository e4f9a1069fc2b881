"""Objectives of boosted trees without the libraries: derivatives, layouts, init scores, links, metrics, errors."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import lossk
from lossk import objectives
from lossk.losses import LOSSES, PointwiseLoss

MAKERS = {"xgboost": objectives.xgboost, "lightgbm": objectives.lightgbm, "catboost": objectives.catboost}
DTYPES = {"xgboost": np.float32, "lightgbm": np.float64, "catboost": np.float64}
each_library = pytest.mark.parametrize("library", MAKERS)
POINTWISE = [
    cls(**variant)
    for cls in LOSSES.values()
    if issubclass(cls, PointwiseLoss) and cls is not lossk.GaussianNLL
    for variant in cls._variants
]


def drawn(loss: Any, rng: np.random.Generator, n: int, dtype: Any = np.float64) -> tuple[Any, Any]:
    """Margins and targets; those of probabilities and means are of the loss as it is on margins."""
    loss = objectives.xgboost(loss).loss
    z, y = type(loss)._draw(rng, (n,), np.float64)
    return z.astype(dtype), y


def test_objectives_are_there_without_an_import_and_import_no_library() -> None:
    code = """
import sys, lossk
for make in (lossk.objectives.xgboost, lossk.objectives.lightgbm, lossk.objectives.catboost):
    make(lossk.Huber())
assert not {"xgboost", "lightgbm", "catboost", "sklearn"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_are_losses_to_try() -> None:
    assert len({type(loss) for loss in POINTWISE}) >= 15


@each_library
@pytest.mark.parametrize("loss", POINTWISE, ids=repr)
def test_true_derivatives_are_those_of_the_reference(library: str, loss: Any, rng: np.random.Generator) -> None:
    z, y = drawn(loss, rng, 1001, DTYPES[library])
    w = rng.uniform(0.5, 2.0, len(z))
    objective = MAKERS[library](loss, hessian="true", min_hessian=0.0)
    g, h = objective.grad_and_hess(z, y, w)
    _, *wanted = objective.loss.reference(z.astype(np.float64), y, sample_weight=w, reduction="sum", derivatives=True)
    for got, right in zip((g, h), wanted, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, np.maximum(right, 0) if got is h else right, rtol=1e-4, atol=1e-5)


@each_library
@pytest.mark.parametrize("loss", POINTWISE, ids=repr)
def test_hessians_to_train_with_are_above_0(library: str, loss: Any, rng: np.random.Generator) -> None:
    z, y = drawn(loss, rng, 1001, DTYPES[library])
    objective = MAKERS[library](loss, min_hessian=1e-3)
    g, h = objective.grad_and_hess(z, y)
    assert np.isfinite(g).all()
    assert (h >= np.float32(1e-3)).all()
    true, _ = MAKERS[library](loss, hessian="true").grad_and_hess(z, y)
    moved = true != 0
    ratio = g[moved] / true[moved]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(len(ratio)), rtol=1e-4)  # one scale for all samples
    assert ratio[0] > 0


ROBUST = [lossk.Huber(0.7), lossk.PseudoHuber(0.7), lossk.LogCosh(), lossk.SmoothL1(0.7)]


@pytest.mark.parametrize("loss", ROBUST, ids=repr)
def test_parabolas_lie_above_robust_losses(loss: Any, rng: np.random.Generator) -> None:
    z, y = rng.normal(scale=0.4, size=(2, 401))
    g, h = (a.astype(np.float64) for a in objectives.lightgbm(loss).grad_and_hess(z, y))
    scale = (g / loss.grad(z, y, reduction="sum"))[np.abs(z - y) > 1e-3].mean()
    for step in (-5.0, -0.3, 0.01, 1.0, 9.0):
        above = scale * loss(z, y, reduction="none") + g * step + 0.5 * h * step**2
        assert (above >= scale * loss(z + step, y, reduction="none") - 1e-5).all()


@each_library
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("loss", [lossk.AbsoluteError(), lossk.Quantile(0.8), lossk.Huber(1e-9)], ids=repr)
def test_steps_of_losses_with_corners_have_the_unit_of_targets(
    library: str, loss: Any, unit: float, rng: np.random.Generator
) -> None:
    y = rng.normal(size=1000)
    g, h = MAKERS[library](loss).grad_and_hess(np.zeros(1000, DTYPES[library]), unit * y)
    assert 0.1 < h.mean() <= 1.0, "regularisation means what it does for squared errors"
    assert 0.1 < np.abs(g).mean() / unit < 2.0


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1001, 10), (40_003, 12)])
def test_softmax_in_the_layout_of_the_library(library: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    n, classes = shape
    z = rng.normal(size=shape).astype(DTYPES[library])
    z = np.asfortranarray(z) if library == "lightgbm" else z
    y, w = rng.integers(0, classes, n).astype(np.float32), rng.uniform(0.5, 2.0, n).astype(np.float32)
    objective = MAKERS[library](lossk.CrossEntropy())
    g, h = objective.grad_and_hess(z, y, w)
    _, *right = lossk.CrossEntropy().reference(z, y.astype(int), sample_weight=w, reduction="sum", derivatives=True)
    factor = {"xgboost": 2.0, "lightgbm": classes / max(1, classes - 1)}[library]
    np.testing.assert_allclose(g, right[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(h, factor * right[1], rtol=1e-5, atol=2.1e-6)
    for a in (g, h):
        assert a.dtype == np.float32
        flat = a.ravel(order="F") if library == "lightgbm" else a.ravel()
        assert np.shares_memory(flat, a), "the library reads it without a copy"


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_results_do_not_depend_on_threads(library: str, rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(60_000, 10)).astype(DTYPES[library]), rng.integers(0, 10, 60_000)
    for loss, args in (
        (lossk.CrossEntropy(label_smoothing=0.1), (z, y)),
        (lossk.LogCosh(), (z.ravel(), z.ravel()[::-1])),
    ):
        one, three = (MAKERS[library](loss, num_threads=n).grad_and_hess(*args) for n in (1, 3))
        assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))


def test_buffers_are_used_again_where_nobody_holds_them() -> None:
    objective, z, y = objectives.lightgbm(lossk.CrossEntropy()), np.zeros((50, 3)), np.arange(50) % 3
    held, _ = objective.grad_and_hess(z, y)
    before = held.copy()
    other, hess = objective.grad_and_hess(z + np.arange(3), y)
    assert not np.shares_memory(held, other)
    assert np.array_equal(held, before)
    place = other.ctypes.data
    del other, hess
    assert objective.grad_and_hess(z, y)[0].ctypes.data == place


@each_library
def test_samples_of_weight_0_do_not_count(library: str) -> None:
    z, y = np.array([0.0, 9.0, 1.0], DTYPES[library]), np.array([1.0, 2.0, 5.0])
    for loss in (lossk.SquaredError(), lossk.Huber(), lossk.AbsoluteError()):
        g, h = MAKERS[library](loss).grad_and_hess(z, y, np.array([1.0, 0.0, 2.0]))
        assert g[1] == h[1] == 0
        assert (h[[0, 2]] > 0).all()


@each_library
@pytest.mark.parametrize("loss", POINTWISE, ids=repr)
def test_the_init_score_costs_least(library: str, loss: Any, rng: np.random.Generator) -> None:
    objective, (_, y) = MAKERS[library](loss), drawn(loss, rng, 501)
    w = rng.uniform(0.5, 2.0, len(y))
    s = objective.init_score(y, w)
    assert isinstance(s, float)

    def cost(c: float) -> float:
        return float(objective.loss(np.full(len(y), c), y, sample_weight=w))

    at = cost(s)
    for step in (1e-3, 0.1, 1.0):
        for c in (s - step, s + step):
            unbounded = isinstance(loss, lossk.HingeEmbedding)  # below distances of 0
            assert cost(c) >= at - 1e-9 or unbounded, (s, c)


@pytest.mark.parametrize(
    "loss",
    [
        lossk.CrossEntropy(),
        lossk.CrossEntropy(weight=[1.0, 2.0, 3.0], label_smoothing=0.2),
        lossk.CrossEntropy(z_loss=0.1, softcap=5.0),
    ],
    ids=repr,
)
def test_the_init_score_of_classes_costs_least(loss: Any, rng: np.random.Generator) -> None:
    y, w = rng.choice(3, 200, p=[0.2, 0.3, 0.5]), rng.uniform(0.5, 2.0, 200)
    s = objectives.lightgbm(loss).init_score(y, w, num_class=3)
    slope = loss.grad(np.tile(s, (200, 1)), y, sample_weight=w, reduction="sum").sum(axis=0)
    np.testing.assert_allclose(slope, 0, atol=1e-8)


def test_what_margins_mean() -> None:
    z = np.array([-1.0, 0.0, 2.0])
    p = 1 / (1 + np.exp(-z))
    for loss, right in (
        (lossk.Huber(), z),
        (lossk.Gamma(), np.exp(z)),
        (lossk.PoissonNLL(log_input=False), np.exp(z)),
        (lossk.Focal(), p),
        (lossk.BinaryCrossEntropy(), p),
        (lossk.Exponential(), 1 / (1 + np.exp(-2 * z))),
        (lossk.CrossEntropy(), np.exp(z) / np.exp(z).sum()),
    ):
        np.testing.assert_allclose(objectives.xgboost(loss).inverse_link(z), right, rtol=1e-12)


def test_classes_0_and_1_are_margins_targets() -> None:
    z, y = np.array([0.5, -0.5, 0.1]), np.array([0, 1, 1])
    for loss in (lossk.Hinge(), lossk.Logistic(), lossk.Exponential(), lossk.SquaredHinge()):
        a, b = (objectives.lightgbm(loss).grad_and_hess(z, t) for t in (y, 2 * y - 1))
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@each_library
def test_objectives_and_metrics_are_pickled(library: str) -> None:
    objective = MAKERS[library](lossk.Quantile(0.9), hessian="true", min_hessian=0.1)
    args = np.zeros(3, DTYPES[library]), np.ones(3)
    first = objective.grad_and_hess(*args)
    again = pickle.loads(pickle.dumps(objective))
    assert (
        repr(again)
        == repr(objective)
        == f"lossk.objectives.{library}(Quantile(q=0.9), hessian='true', min_hessian=0.1)"
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again.grad_and_hess(*args), strict=True))
    metric = pickle.loads(pickle.dumps(objective.metric(name="pinball")))
    assert metric.__name__ == "pinball"
    assert metric.value(*args) == pytest.approx(0.9)


REFUSED = [
    (lambda: objectives.xgboost("mse"), TypeError, "loss: got 'mse', wanted a pointwise loss of lossk or CrossEntropy"),
    (lambda: objectives.xgboost(lossk.Huber), TypeError, "got the class Huber, wanted an instance, as lossk.Huber"),
    (lambda: objectives.catboost(lossk.NLL()), TypeError, "loss: got NLL"),
    (lambda: objectives.lightgbm(lossk.GaussianNLL()), TypeError, "weights of 1 / var"),
    (
        lambda: objectives.lightgbm(lossk.Huber(), hessian="newton"),
        ValueError,
        "hessian: got 'newton', wanted 'boosting'",
    ),
    (lambda: objectives.lightgbm(lossk.Huber(), min_hessian=-1.0), ValueError, "min_hessian: got -1.0"),
    (lambda: objectives.lightgbm(lossk.Huber(), num_threads=0), ValueError, "num_threads: got 0"),
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_what_is_no_objective_is_refused(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@each_library
def test_what_does_not_fit_is_refused_before_anything_is_written(library: str) -> None:
    make, z = MAKERS[library], np.zeros((4, 3), DTYPES[library])
    ce = make(lossk.CrossEntropy())
    wrong = [
        (ce, (z, [0, 1, 3, 2]), IndexError, r"target\[2\]: got 3, wanted a label in \[0, 3\)"),
        (ce, (z, [0.0, 1.5, 1.0, 2.0]), ValueError, r"label\[1\]: got 1.5, wanted an integer"),
        (ce, (z, [0.0, 1.0, np.nan, 2.0]), ValueError, r"label\[2\]: got nan"),
        (ce, (z[:, 0], [0, 1, 2, 2]), ValueError, r"margin: got shape \(4,\), wanted \(4, classes\).*num_class"),
        (ce, (z, [0, 1, 2]), ValueError, r"margin: got shape \(4, 3\), wanted \(3, classes\)"),
        (ce, (z, [0, 1, 2, 2], [1.0, 2.0]), ValueError, r"sample_weight: got shape \(2,\), wanted \(4,\)"),
        (ce, (z, [0, 1, 2, 2], [1.0, 2.0, -1.0, 0.0]), ValueError, "sample_weight: got a negative one"),
        (ce, (z.astype(int), [0, 1, 2, 2]), TypeError, "margin: got dtype int64, wanted a float"),
        (make(lossk.CrossEntropy(weight=[1.0, 2.0])), (z, [0, 1, 1, 1]), ValueError, "weight: got"),
        (make(lossk.Huber()), (z, [0.0, 1.0, 2.0, 3.0]), ValueError, r"margin: got shape \(4, 3\), wanted \(4,\)"),
        (make(lossk.Hinge()), (z[:, 0], [0, 1, 2, 1]), ValueError, r"label\[2\]: got 2, wanted 0 or 1, or -1 or 1"),
        (make(lossk.Focal()), (z[:, 0], [0, 1, 2, 1]), ValueError, r"label\[2\]: got 2, wanted a number from 0 to 1"),
        (make(lossk.Gamma()), (z[:, 0], [1, 0, 2, 1]), ValueError, r"label\[1\]: got 0, wanted a number above 0"),
        (make(lossk.PoissonNLL()), (z[:, 0], [1, 0, 2, -1]), ValueError, r"label\[3\]: got -1"),
        (
            make(lossk.BinaryCrossEntropyWithLogits([1.0, 2.0, 3.0, 4.0])),
            (z[:, 0], [0, 1, 1, 0]),
            ValueError,
            r"pos_weight of shape \(4,\), wanted \(\), one a target",
        ),
    ]
    for objective, args, error, text in wrong:
        with pytest.raises(error, match=text):
            objective.grad_and_hess(*(np.asarray(a) for a in args))


def test_an_error_counts_rows_of_the_whole_data() -> None:
    y = np.zeros(100_000)
    y[99_999] = 7
    with pytest.raises(IndexError, match=r"target\[99999\]: got 7"):
        objectives.xgboost(lossk.CrossEntropy()).grad_and_hess(np.zeros((100_000, 3), np.float32), y)


def test_metrics_refuse_probabilities() -> None:
    """LightGBM and XGBoost pass those to metrics of their own objectives (LightGBM #2052)."""
    metric = objectives.lightgbm(lossk.CrossEntropy()).metric()
    with pytest.raises(ValueError, match="got probabilities, wanted margins"):
        metric.value(np.full((5, 4), 0.25), np.arange(4).repeat(2)[:5])
    assert metric.value(np.zeros((5, 4)), np.arange(5) % 4) == pytest.approx(np.log(4))
