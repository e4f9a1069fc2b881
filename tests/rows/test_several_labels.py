"""Losses of rows with sets of labels, regions and distributions: definitions, lists of labels, special values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import INF, NAN, bits, each_dtype
from tests.support.cases import Batch
from tests.support.tolerances import assert_matches_reference


@each_dtype
def test_multi_label_soft_margin_has_class_weights(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in ((9, 3), (4, 70), (3, 1030), (2, 3, 5)):
        loss = lossk.MultiLabelSoftMargin(weight=rng.uniform(0.1, 2, size=shape[-1]))
        z, y = loss._draw(rng, shape, dtype)
        weight = rng.uniform(0.25, 2.0, size=shape[:-1]).astype(dtype)
        assert_matches_reference(loss, Batch(z, y, weight), dtype)
    with pytest.raises(ValueError, match=r"weight: got shape \(5,\), wanted \(3,\), one weight a class"):
        loss(z[..., :3], y[..., :3])


@each_dtype
def test_lists_of_labels_are_masks(dtype: Any, isa: str) -> None:
    z = np.arange(10, dtype=dtype).reshape(2, 5)
    loss = lossk.MultiLabelMargin()
    lists = np.array([[2, 0, -1, 4, 4], [-1, 0, 1, 2, 3]])
    mask = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype)
    want = loss.value_and_grad(z, mask)
    for integer in (np.int64, np.int32, np.int8):
        got = loss.value_and_grad(z, lists.astype(integer))
        assert got[0] == want[0]
        assert loss.reference(z, lists) == loss.reference(z, mask) == pytest.approx(got[0], rel=1e-6)
        assert bits(got[1]) == bits(want[1])
    assert bits(loss.grad(np.ascontiguousarray(z.T), lists.T, axis=0)) == bits(np.ascontiguousarray(want[1].T))
    lists[1, :2] = 1, 5
    for call in (loss, loss.reference):
        with pytest.raises(IndexError, match=r"target\[1, 1\]: got 5, wanted a label in \[0, 5\), or -1 at the end"):
            call(z, lists)
    with pytest.raises((TypeError, ValueError), match=r"target: got int64 of shape \(2,\), wanted labels, or 0 and 1"):
        loss(z, np.array([0, 1]))


def test_lists_of_labels_may_have_types_without_the_number_of_classes() -> None:
    """After their end, lists say more than int8 holds: 200, the number of classes."""
    z, lists = np.zeros((1, 200)), np.full((1, 200), -1, np.int8)
    lists[0, :2] = 3, 120
    mask = np.zeros((1, 200))
    mask[0, [3, 120]] = 1
    loss = lossk.MultiLabelMargin()
    assert loss(z, lists) == loss(z, mask)
    np.testing.assert_array_equal(loss.grad(z, lists), loss.grad(z, mask))


@each_dtype
def test_a_row_whose_weight_is_nan_is_nan(dtype: Any, isa: str) -> None:
    loss, z = lossk.MultiLabelMargin(), np.array([[0.5, -1.0, 2.0]] * 4, dtype)
    labels = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype)
    weight = np.array([NAN, NAN, NAN, 1], dtype)
    each = loss(z, labels, sample_weight=weight, reduction="none")
    parts = (each, loss.vjp(z, labels, weight), *loss.grad_and_hess(z, labels, sample_weight=weight, reduction="none"))
    wanted = loss.reference(z, labels, sample_weight=weight, reduction="none", derivatives=True)
    for got, want in zip(parts, (wanted[0], wanted[1], *wanted[1:]), strict=True):
        assert np.isnan(got[:3]).all()
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_scores_that_are_no_numbers_are_refused() -> None:
    loss = lossk.MultiLabelMargin()
    for call in (loss, loss.grad, loss.reference, lambda z, y: loss.vjp(z, y, np.ones(2))):
        with pytest.raises(TypeError, match="z: got dtype <U4, wanted float32"):
            call("text", np.ones((2, 3)))


def test_statistics_and_outputs_of_multi_label_margin(rng: np.random.Generator) -> None:
    loss = lossk.MultiLabelMargin()
    for dtype in (np.float32, np.float16):
        z, y = loss._draw(rng, (4, 6), dtype)
        g, h = loss.grad_and_hess(z, y, out=(z2 := z.copy(), np.empty_like(z)))
        assert g is z2
        assert not h.any()
        here = z.copy()
        assert loss.grad(here, y, out=here) is here
        assert bits(here) == bits(g) == bits(loss.grad(z, y))
        value, grad, stats = loss.value_and_grad(z, y, stats=True)
        assert (value, bits(grad)) == (loss(z, y), bits(g))
        assert stats.lse.shape == (4,)


def test_dice_and_tversky_are_their_definitions(rng: np.random.Generator) -> None:
    z, y = rng.uniform(size=(3, 40)), (rng.uniform(size=(3, 40)) < 0.3).astype(float)
    both, sums = (z * y).sum(axis=1), z.sum(axis=1) + y.sum(axis=1)
    np.testing.assert_allclose(lossk.Dice(smooth=0.5)(z, y, reduction="none"), 1 - (2 * both + 0.5) / (sums + 0.5))
    jaccard = 1 - both / (sums - both)
    np.testing.assert_allclose(lossk.Tversky(1.0, 1.0, 0.0)(z, y, reduction="none"), jaccard)
    np.testing.assert_allclose(lossk.Tversky(0.5, 0.5, 0.5)(z, y), lossk.Dice(smooth=1.0)(z, y), rtol=1e-15)
    empty = np.zeros((1, 5))
    assert lossk.Dice()(empty, empty) == 0
    assert np.isnan(lossk.Dice(smooth=0.0)(empty, empty))


@each_dtype
def test_divergences_at_0(dtype: Any, isa: str) -> None:
    def run(loss: Any, z: list[float], y: list[float]) -> tuple[float, list[float]]:
        value, grad = loss.value_and_grad(np.array([z], dtype), np.array([y], dtype), check=False)
        return value, grad[0].tolist()

    js, jeffreys = lossk.JensenShannonDivergence(), lossk.JeffreysDivergence()
    value, grad = run(js, [1.0, 0.0], [0.0, 1.0])
    assert value == pytest.approx(np.log(2), rel=1e-6)
    assert grad == [pytest.approx(np.log(2) / 2, rel=1e-6), -INF]
    assert run(js, [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]) == (0, [0, 0, 0])
    assert run(jeffreys, [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]) == (0, [0, 0, 0])
    assert run(jeffreys, [1.0, 0.0], [0.5, 0.5])[0] == INF
    assert run(jeffreys, [0.5, 0.5], [1.0, 0.0])[0] == INF
    for wrong in (-0.25, NAN):
        assert np.isnan(run(js, [0.5, wrong], [0.5, 0.5])[0])
        assert np.isnan(run(js, [0.5, 0.5], [0.5, wrong])[0])
        assert np.isnan(run(jeffreys, [0.5, wrong], [0.5, 0.5])[0])


@each_dtype
def test_divergences_of_neighbours_keep_their_digits(dtype: Any, isa: str) -> None:
    y = np.full((1, 4), 0.25, dtype)
    z = y * (1 + np.array([1, -1, 2, -2]) * dtype.type(2**-10))
    d = (z - y).astype(np.float64)
    total = y.astype(np.float64) + z
    np.testing.assert_allclose(lossk.JensenShannonDivergence()(z, y), (d**2 / total).sum() / 4, rtol=2e-6)
    np.testing.assert_allclose(lossk.JeffreysDivergence()(z, y), (d * np.log1p(d / y)).sum(), rtol=1e-6)


@each_dtype
def test_divergences_of_subnormal_numbers(dtype: Any, isa: str) -> None:
    """Ratios of them are those of other numbers, within the digits that they have."""
    least = float(np.finfo(dtype).smallest_subnormal)
    y, z = np.array([[1.0, 3.0, 0.0, 0.0, 2000.0, 1.0]]), np.array([[3.0, 1.0, 1.0, 700.0, 1.0, 2000.0]])
    loss = lossk.JensenShannonDivergence()
    want = loss.reference(z, y, derivatives=True)[1]
    for scale in (least, float(np.finfo(dtype).smallest_normal) / 2048, 1.0):
        got = loss.grad((z * scale).astype(dtype), (y * scale).astype(dtype))
        np.testing.assert_allclose(got, want, rtol=2e-6)


def test_jensen_shannon_is_scipys(rng: np.random.Generator) -> None:
    distance = pytest.importorskip("scipy.spatial.distance", reason="SciPy is not installed: parity was not tested")
    z, y = rng.dirichlet(np.ones(30), size=2)
    assert lossk.JensenShannonDivergence()(z, y) == pytest.approx(distance.jensenshannon(z, y) ** 2, rel=1e-12)


def test_jensen_shannon_of_negative_numbers_is_nan(isa: str) -> None:
    z, y = np.array([[0.5, -80.0, 0.5]], np.float32), np.array([[0.25, 0.5, 0.25]], np.float32)
    loss = lossk.JensenShannonDivergence()
    for grad, hess in (loss.grad_and_hess(z, y), loss.reference(z, y, derivatives=True)[1:]):
        for part in (grad, hess):
            assert np.flatnonzero(np.isnan(part)).tolist() == [1]
