"""Properties of cross-entropy and the row functions that hold for all logits (hypothesis)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import lossk
from tests.support.arrays import Array, bits
from tests.support.properties import eps, logits_and_labels, seeds


@given(logits_and_labels(), st.sampled_from([0.0, 0.1, 1.0]))
def test_gradient_sums_to_0_over_classes(batch: tuple[Array, Array], smoothing: float) -> None:
    z, t = batch
    grad = lossk.CrossEntropy(label_smoothing=smoothing).grad(z, t, reduction="none")
    assert (np.abs(grad.sum(axis=1, dtype=np.float64)) <= 8 * eps(z)).all()


@given(logits_and_labels(), st.integers(-1000, 1000), st.sampled_from([0.0, 0.1]))
def test_a_shift_of_all_logits_changes_nothing(batch: tuple[Array, Array], shift: int, smoothing: float) -> None:
    """Nothing but last places: only differences of logits enter, and here they are exact.

    Cross-entropy with labels takes its reference to the nearest multiple of ln 2, so that the differences are from
    another number after a shift: its results may move by the error of exp. The row functions' do not.
    """
    z, t = batch
    loss = lossk.CrossEntropy(label_smoothing=smoothing)
    value, grad, stats = loss.value_and_grad(z, t, stats=True)
    moved = z + z.dtype.type(shift)
    moved_value, moved_grad, moved_stats = loss.value_and_grad(moved, t, stats=True)
    np.testing.assert_allclose(moved_value, value, rtol=8 * eps(z))
    np.testing.assert_allclose(moved_grad, grad, rtol=16 * eps(z), atol=eps(z))
    np.testing.assert_array_equal(moved_stats.correct, stats.correct)
    np.testing.assert_allclose(moved_stats.lse - shift, stats.lse, atol=4 * eps(z) * (1020 + abs(shift)))
    assert bits(lossk.softmax(moved)) == bits(lossk.softmax(z))
    assert bits(lossk.log_softmax(moved)) == bits(lossk.log_softmax(z))


@given(logits_and_labels(), seeds)
def test_permuted_rows_permute_results(batch: tuple[Array, Array], seed: int) -> None:
    z, t = batch
    order = np.random.default_rng(seed).permutation(len(t))
    loss = lossk.CrossEntropy(label_smoothing=0.1, z_loss=1e-3)
    value, grad = loss.value_and_grad(z, t, reduction="none")
    _, hess = loss.grad_and_hess(z, t, reduction="none")
    moved_value, moved_grad = loss.value_and_grad(z[order], t[order], reduction="none")
    _, moved_hess = loss.grad_and_hess(z[order], t[order], reduction="none")
    assert bits(moved_value) == bits(value[order])
    assert bits(moved_grad) == bits(grad[order])
    assert bits(moved_hess) == bits(hess[order])


@given(logits_and_labels(), seeds)
def test_permuted_classes_permute_gradients(batch: tuple[Array, Array], seed: int) -> None:
    z, t = batch
    order = np.random.default_rng(seed).permutation(z.shape[1])
    place = np.argsort(order)
    loss = lossk.CrossEntropy(label_smoothing=0.1)
    value, grad = loss.value_and_grad(z, t)
    moved_value, moved_grad = loss.value_and_grad(z[:, order], place[t])
    np.testing.assert_allclose(moved_value, value, rtol=16 * eps(z))
    np.testing.assert_allclose(moved_grad, grad[:, order], rtol=16 * eps(z), atol=8 * eps(z) / len(t))


@given(logits_and_labels(), st.floats(0, 1))
def test_value_is_not_negative(batch: tuple[Array, Array], smoothing: float) -> None:
    z, t = batch
    each = lossk.CrossEntropy(label_smoothing=smoothing, z_loss=0.01)(z, t, reduction="none")
    assert (each >= 0).all()


@given(logits_and_labels())
def test_labels_are_certain_probabilities(batch: tuple[Array, Array]) -> None:
    z, t = batch
    y = (np.arange(z.shape[1]) == t[:, None]).astype(z.dtype)
    loss = lossk.CrossEntropy(label_smoothing=0.2)
    value, grad = loss.value_and_grad(z, t)
    other_value, other_grad = loss.value_and_grad(z, y)
    np.testing.assert_allclose(other_value, value, rtol=16 * eps(z))
    np.testing.assert_allclose(other_grad, grad, rtol=16 * eps(z), atol=4 * eps(z) / len(t))


@given(logits_and_labels())
def test_cross_entropy_is_convex_in_the_logits(batch: tuple[Array, Array]) -> None:
    z, t = batch
    z = z.astype(np.float64)
    loss = lossk.CrossEntropy(label_smoothing=0.1)
    other = z[:, ::-1].copy()
    value, grad = loss.value_and_grad(z, t, reduction="none")
    beyond = loss(other, t, reduction="none")
    tangent = value + (grad * (other - z)).sum(axis=1)
    assert (beyond >= tangent - 1e-10).all()


@given(logits_and_labels())
def test_row_functions_fit_together(batch: tuple[Array, Array]) -> None:
    z, t = batch
    p, lp, lse = lossk.softmax(z), lossk.log_softmax(z), lossk.logsumexp(z)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1, dtype=np.float64), 1, atol=8 * eps(z))
    assert (lp <= 0).all()
    np.testing.assert_allclose(np.exp(lp.astype(np.float64)), p, rtol=64 * eps(z))
    largest = z.max(axis=1)
    assert (lse >= largest).all()
    assert (lse <= (largest + np.log(z.shape[1])) * (1 + np.sign(largest) * 4 * eps(z)) + 4 * eps(z)).all()
    each = lossk.CrossEntropy()(z, t, reduction="none")
    np.testing.assert_allclose(each, -lp[np.arange(len(t)), t], atol=64 * eps(z), rtol=8 * eps(z))
