"""Softmax cross-entropy: every option and number of classes against the reference, values by hand, class weights."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import lossk
from tests.support.arrays import bits, each_dtype
from tests.support.cases import Batch
from tests.support.rows import IGNORED, LONG, SHORT, VERY_LONG, draw_labels, draw_probabilities, rows_for
from tests.support.tolerances import assert_matches_reference

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class weights": {"weight": True},
    "smoothing": {"label_smoothing": 0.1},
    "smoothing and weights": {"label_smoothing": 0.25, "weight": True},
    "smoothing of all": {"label_smoothing": 1.0},
    "z_loss": {"z_loss": 0.01},
    "softcap": {"softcap": 6.0},
    "everything": {"label_smoothing": 0.3, "weight": True, "z_loss": 0.02, "softcap": 10.0},
}
each_option = pytest.mark.parametrize("option", OPTIONS)


def make(option: str, classes: int, rng: np.random.Generator) -> lossk.CrossEntropy:
    """Build the loss of an option; class weights hold a zero where there are several classes."""
    kwargs = dict(OPTIONS[option])
    if kwargs.get("weight"):
        weight = rng.uniform(0.25, 2.0, size=classes).astype(np.float32)  # exact in both dtypes
        weight[classes // 2 : classes // 2 + (classes > 3)] = 0
        kwargs["weight"] = weight
    return lossk.CrossEntropy(**kwargs)


def draw_batch(rng: np.random.Generator, rows: int, classes: int, dtype: Any, weighted: bool = False) -> Batch:
    z = rng.normal(scale=3.0, size=(rows, classes)).astype(dtype)
    weight = rng.uniform(0.25, 2.0, size=rows).astype(dtype) if weighted else None
    return Batch(z, draw_labels(rng, (rows,), classes), weight)


@each_option
@each_dtype
@pytest.mark.parametrize("counts", [SHORT, LONG, VERY_LONG], ids=["short", "long", "very long"])
def test_labels_match_the_reference(
    counts: tuple[int, ...], dtype: Any, option: str, isa: str, rng: np.random.Generator
) -> None:
    for classes in counts:
        batch = draw_batch(rng, rows_for(classes), classes, dtype, weighted=classes % 2 == 1)
        verbs = ("value", "value_and_grad", "grad_and_hess") if classes < 5000 else ("value_and_grad", "grad_and_hess")
        assert_matches_reference(make(option, classes, rng), batch, dtype, verbs, note=f"{option} {isa}")


@each_option
@each_dtype
def test_probabilities_match_the_reference(dtype: Any, option: str, isa: str, rng: np.random.Generator) -> None:
    for classes in (1, 2, 3, 8, 10, 33, 64, 65, 100, 513, 1000, 1025, 16385):
        rows = min(rows_for(classes), 19)
        weight = rng.uniform(0.25, 2.0, size=rows).astype(dtype) if classes % 2 == 1 else None
        z = rng.normal(scale=3.0, size=(rows, classes)).astype(dtype)
        batch = Batch(z, draw_probabilities(rng, (rows, classes), dtype), weight)
        assert_matches_reference(
            make(option, classes, rng), batch, dtype, ("value_and_grad", "grad_and_hess"), note=isa
        )


@each_dtype
def test_any_number_of_rows_matches_the_reference(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Rows around the register widths and around the pieces that threads share out."""
    loss = lossk.CrossEntropy(label_smoothing=0.1)
    for rows in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65):
        for classes in (2, 7, 70):
            assert_matches_reference(loss, draw_batch(rng, rows, classes, dtype), dtype, ("value_and_grad",))
    for rows, classes in ((8191, 2), (8193, 2), (1639, 10), (257, 64), (253, 65), (33, 513)):
        assert_matches_reference(loss, draw_batch(rng, rows, classes, dtype), dtype, ("value_and_grad",))


@pytest.mark.parametrize("option", ["plain", "weight", "smoothing", "probabilities"])
@each_dtype
def test_short_rows_do_not_depend_on_their_place(dtype: Any, option: str, isa: str, rng: np.random.Generator) -> None:
    """A row's loss and gradient are what they are alone, over the logits, weighed by 1, or one by one: to the bit."""
    for classes in SHORT:
        weight = rng.uniform(0.5, 2.0, classes) if option == "weight" else None
        smoothed = {"label_smoothing": 0.1, "z_loss": 1e-3} if option in ("smoothing", "probabilities") else {}
        loss = lossk.CrossEntropy(weight=weight, ignore_index=IGNORED, **smoothed)
        z = rng.normal(scale=5.0, size=(71, classes)).astype(dtype)
        z[rng.random(size=z.shape) < 0.02] = -np.inf
        t = draw_labels(rng, (71,), classes)
        if option == "probabilities":
            t = draw_probabilities(rng, z.shape, dtype)
        grad = loss.grad(z, t, reduction="sum")
        each, again = loss.value_and_grad(z, t, reduction="none")
        assert bits(again) == bits(grad), classes
        assert bits(loss.grad(z, t, reduction="sum", sample_weight=np.ones(71, dtype))) == bits(grad), classes
        for i in (0, 1, 31, 32, 70):
            own, own_grad = loss.value_and_grad(z[i : i + 1], t[i : i + 1], reduction="none")
            assert bits(own) == bits(each[i : i + 1]), (classes, i)
            assert bits(own_grad) == bits(grad[i : i + 1]), (classes, i)
        assert bits(loss.grad(z, t, reduction="sum", out=z)) == bits(grad), classes


def test_the_value_is_that_worked_out_by_hand() -> None:
    """The formulas, written out once more for three classes."""
    z = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0], [2.0, 2.0, 2.0]])
    t = np.array([2, 0, IGNORED])
    w, e, zl = np.array([0.5, 2.0, 3.0]), 0.3, 0.05
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    lse = np.log(np.exp(z).sum(axis=1))
    lp = z - lse[:, None]
    total, grad = 0.0, np.zeros_like(z)
    for i in (0, 1):
        total += (1 - e) * w[t[i]] * -lp[i, t[i]] + e / 3 * sum(w[c] * -lp[i, c] for c in range(3)) + zl * lse[i] ** 2
        for k in range(3):
            grad[i, k] = (1 - e) * w[t[i]] * (p[i, k] - (k == t[i])) + e / 3 * (p[i, k] * w.sum() - w[k])
            grad[i, k] += 2 * zl * lse[i] * p[i, k]
    divisor = w[2] + w[0]
    loss = lossk.CrossEntropy(weight=w, label_smoothing=e, z_loss=zl)
    value, got = loss.value_and_grad(z, t)
    assert value == pytest.approx(total / divisor, rel=1e-13)
    np.testing.assert_allclose(got, grad / divisor, rtol=1e-13, atol=1e-16)
    assert loss.reference(z, t) == pytest.approx(total / divisor, rel=1e-13)


def test_a_softcap_is_that_worked_out_by_hand() -> None:
    z, t = np.array([[4.0, -1.0, 0.5]]), np.array([1])
    capped = 2 * np.tanh(z / 2)
    want, got = lossk.CrossEntropy()(capped, t), lossk.CrossEntropy(softcap=2.0)(z, t)
    assert got == pytest.approx(want, rel=1e-14)


def test_ignore_index_and_probabilities_exclude_each_other(rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(4, 3)), draw_probabilities(rng, (4, 3), np.float64)
    for ignored in (0, 1, 255):
        with pytest.raises(ValueError, match=f"ignore_index: got {ignored}, wanted None or a negative one"):
            lossk.CrossEntropy(ignore_index=ignored)(z, y)
        with pytest.raises(ValueError, match=f"ignore_index: got {ignored}, wanted None or a negative one"):
            lossk.CrossEntropy(ignore_index=ignored)(z, y.tolist())
        with pytest.raises(ValueError, match=f"ignore_index: got {ignored}, wanted None or a negative one"):
            lossk.CrossEntropy(ignore_index=ignored)(z.astype(ml_dtypes.bfloat16), y.astype(ml_dtypes.bfloat16))
    assert np.isfinite(lossk.CrossEntropy(ignore_index=-7)(z, y))


def test_class_weights_need_one_weight_a_class(rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(4, 3)).astype(np.float32), np.zeros(4, int)
    for wrong in (np.ones(2), np.ones(4)):
        with pytest.raises(ValueError, match=r"weight: got shape .*, wanted \(3,\)"):
            lossk.CrossEntropy(weight=wrong)(z, t)
    with pytest.raises((TypeError, ValueError), match=r"weight: got .*\(1, 3\)"):
        lossk.CrossEntropy(weight=np.ones((1, 3)))
    # Later changes to the caller's array do not reach the loss.
    weight = np.array([1.0, 2.0, 3.0])
    loss = lossk.CrossEntropy(weight=weight)
    before = loss(z, t, reduction="sum")
    weight[:] = 100
    assert loss(z, t, reduction="sum") == before


def test_one_row_needs_no_leading_axes(rng: np.random.Generator) -> None:
    z = rng.normal(size=7)
    for t in (3, np.int8(3), np.array(3)):
        value, grad = lossk.CrossEntropy().value_and_grad(z, t)
        assert value == pytest.approx(np.log(np.exp(z).sum()) - z[3], rel=1e-13)
        assert grad.shape == (7,)
    assert lossk.CrossEntropy()(z, 3, reduction="none").shape == ()


def test_lists_are_arrays() -> None:
    ce = lossk.CrossEntropy()
    assert ce([[2.0, 0.0]], [0]) == ce(np.array([[2.0, 0.0]]), np.array([0]))
    assert ce([[2, 0]], [[0, 1]]) == ce(np.array([[2.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert ce([[2, 0]], [[0.25, 0.75]]) == ce(np.array([[2.0, 0.0]]), np.array([[0.25, 0.75]]))
