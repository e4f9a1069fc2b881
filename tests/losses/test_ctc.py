"""CTC: paths counted one by one, the reference, special values, 16 bits, arguments."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lossk
from tests.support.arrays import each_dtype
from tests.support.narrow import each_narrow


def draw(
    rng: np.random.Generator, times: int, samples: int, classes: int, most: int, blank: int = 0, scale: float = 2.0
) -> tuple[NDArray[np.float64], Any, Any, Any]:
    z = scale * rng.normal(size=(times, samples, classes))
    z -= np.log(np.exp(z).sum(axis=-1, keepdims=True))
    labels = rng.integers(0, classes - 1, (samples, most))
    labels += labels >= blank
    lengths = rng.integers(0, most + 1, samples)
    return z, labels, rng.integers(min(2 * most, times), times + 1, samples), lengths


def said(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def test_the_loss_is_the_sum_over_all_paths(rng: np.random.Generator) -> None:
    """Every path of 5 times and 3 classes, one by one; and what its gradient says of how paths are occupied."""
    z, _, _, _ = draw(rng, 5, 1, 3, 2)
    for blank, labels in itertools.product((0, 2), ((), (1,), (1, 1), (1, 0), (0, 1, 0))):
        if blank in labels:
            continue
        p, occupied = 0.0, np.zeros((5, 3))
        for path in itertools.product(range(3), repeat=5):
            if said(path, blank) == labels:
                of_path = np.exp(z[range(5), 0, path].sum())
                p += of_path
                occupied[range(5), path] += of_path
        target = np.array([labels], np.int64).reshape(1, -1)
        loss = lossk.CTC(blank)
        found = [loss.value_and_grad(z, target, reduction="sum")]
        found.append(loss.reference(z, target, reduction="sum", derivatives=True))
        for value, gradient in found:
            assert value == pytest.approx(-np.log(p), rel=1e-13)
            np.testing.assert_allclose(gradient[:, 0], np.exp(z[:, 0]) - occupied / p, rtol=1e-12, atol=1e-14)


@each_dtype
def test_kernels_are_the_reference(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Labels that fill registers or not, equal ones beside each other, samples without labels, every reduction."""
    tolerance = 1e-12 if dtype == np.float64 else 3e-6
    shapes = ((1, 1, 2, 1), (12, 5, 4, 5), (40, 3, 29, 15), (40, 3, 6, 16), (70, 2, 100, 33), (9, 2, 3, 0))
    for (times, samples, classes, most), blank in itertools.product(shapes, (0, 1)):
        loss = lossk.CTC(blank, zero_infinity=True)
        exact, target, input_lengths, target_lengths = draw(rng, times, samples, classes, most, blank)
        z = exact.astype(dtype)
        for reduction in ("mean", "sum", "none"):
            arguments = (z, target, input_lengths, target_lengths)
            value, gradient = loss.value_and_grad(*arguments, reduction=reduction)
            want, of_z = loss.reference(*arguments, reduction=reduction, derivatives=True)
            np.testing.assert_allclose(value, want, rtol=tolerance, atol=tolerance, err_msg=isa)
            np.testing.assert_allclose(gradient, of_z, rtol=0, atol=4 * tolerance)
            assert np.array_equal(loss(*arguments, reduction=reduction), value)
            assert np.array_equal(loss.grad(*arguments, reduction=reduction), gradient)
        packed = np.concatenate([row[:n] for row, n in zip(target, target_lengths, strict=True)])
        assert np.array_equal(loss(z, packed, input_lengths, target_lengths), loss(*arguments))


def test_many_times_keep_their_digits(rng: np.random.Generator) -> None:
    """3,000 times in float32, whose losses are thousands: relative to each time's largest state."""
    z, target, _, _ = draw(rng, 3000, 1, 20, 60, scale=4.0)
    z = z.astype(np.float32)
    value, gradient = lossk.CTC().value_and_grad(z, target)
    want, of_z = lossk.CTC().reference(z, target, derivatives=True)
    assert value == pytest.approx(want, rel=1e-6)
    np.testing.assert_allclose(gradient, of_z, rtol=0, atol=3e-4 / 60)  # 3e-4 of a probability


def test_unlikely_paths_are_not_lost() -> None:
    """The only path goes through probabilities of exp(-1000), which are 0 as numbers."""
    z = np.zeros((6, 1, 3), np.float32)
    z[:, :, 1:] = -1000
    value, gradient = lossk.CTC().value_and_grad(z, [[1, 2, 1, 2, 1, 2]], reduction="sum")
    assert value == 6000
    np.testing.assert_allclose(gradient[:, 0], [[1, -1, 0], [1, 0, -1]] * 3)


@each_narrow
def test_16_bits_are_rounded_once(dtype: Any, rng: np.random.Generator) -> None:
    z, target, input_lengths, target_lengths = draw(rng, 30, 4, 40, 10)
    narrow = z.astype(dtype)
    got, of_narrow = lossk.CTC().value_and_grad(narrow, target, input_lengths, target_lengths)
    want, of_wide = lossk.CTC().value_and_grad(narrow.astype(np.float32), target, input_lengths, target_lengths)
    assert got == want
    assert of_narrow.dtype == dtype
    assert np.array_equal(of_narrow, of_wide.astype(dtype))


def test_gradients_are_those_of_logits(rng: np.random.Generator) -> None:
    """By central differences of the loss of log_softmax."""
    logits = rng.normal(size=(6, 2, 4))
    target, loss = np.array([[1, 1], [3, 2]]), lossk.CTC()

    def value(x: Any) -> float:
        return float(loss(lossk.log_softmax(x), target))

    gradient = loss.grad(lossk.log_softmax(logits), target)
    for at in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[at] = 1e-5
        assert gradient[at] == pytest.approx((value(logits + step) - value(logits - step)) / 2e-5, abs=1e-8)


@each_dtype
def test_no_path_and_no_number(dtype: Any, rng: np.random.Generator) -> None:
    """Too few times for the labels, probabilities of 0, NaN: of one sample, which others do not notice."""
    z, target, _, _ = draw(rng, 4, 3, 5, 3)
    z = z.astype(dtype)
    target[1] = (2, 2, 2)  # wants 5 times
    for loss in (lossk.CTC(), lossk.CTC(zero_infinity=True)):
        values, gradient = loss.value_and_grad(z, target, reduction="none")
        assert values[1] == (0 if loss.zero_infinity else np.inf)
        assert (gradient[:, 1] == 0).all() if loss.zero_infinity else np.isnan(gradient[:, 1]).all()
        alone = loss.value_and_grad(z[:, :1], target[:1], reduction="none")
        assert values[0] == alone[0][0]
        assert np.array_equal(gradient[:, :1], alone[1])
        assert loss(z[:0], target[:, :0], reduction="sum") == 0
    z[2, 0, target[0, 1]] = np.nan
    z[:, 2, target[2, 2]] = -np.inf
    values, gradient = lossk.CTC(zero_infinity=True).value_and_grad(z, target, reduction="none")
    assert np.isnan(values[0])
    assert np.isnan(gradient[:, 0]).all()
    assert values[2] == 0
    weights = np.array([0.0, 1.0, 2.0])
    of_weights = lossk.CTC(zero_infinity=True).vjp(z, target, weights)
    assert not of_weights.any(), "a sample of weight 0 does not count"


def test_a_nan_is_not_lost_where_no_path_is_possible(isa: str) -> None:
    z = np.log(np.full((1, 2, 3), 1 / 3))
    z[0, 0, 2] = np.nan
    for loss in (lossk.CTC(), lossk.CTC(zero_infinity=True)):
        for target in ([[2, 1], [2, 1]], [[1, 2], [1, 2]]):
            values, gradient = loss.value_and_grad(z, target, reduction="none")
            want, of_reference = loss.reference(z, target, reduction="none", derivatives=True)
            np.testing.assert_array_equal(values, want)
            np.testing.assert_array_equal(gradient, of_reference)
            assert np.isnan(values[0])
            assert np.isnan(gradient[:, 0]).all()


def test_results_go_where_they_are_wanted(rng: np.random.Generator) -> None:
    z, *rest = draw(rng, 20, 3, 7, 4)
    for dtype in (np.float64, np.float32, np.float16):
        own = z.astype(dtype)
        want = lossk.CTC().grad(own, *rest)
        out = np.empty((3, 20, 7), dtype).swapaxes(0, 1)
        assert lossk.CTC().grad(own, *rest, out=out) is out
        assert np.array_equal(out, want)
        assert lossk.CTC().grad(own, *rest, out=own) is own
        assert np.array_equal(own, want)
    strided = np.asfortranarray(z)
    assert np.array_equal(lossk.CTC().grad(strided, *rest), lossk.CTC().grad(z, *rest))
    one, two = (lossk.CTC().grad(z, *rest, num_threads=n) for n in (1, 2))
    assert np.array_equal(one, two)
    np.testing.assert_allclose(
        lossk.CTC().vjp(z, rest[0], [1.0, 2.0, 3.0], *rest[1:]),
        lossk.CTC().grad(z, *rest, reduction="sum") * np.array([1.0, 2.0, 3.0])[:, None],
        rtol=1e-12,
        atol=1e-15,
    )


def test_bad_arguments_are_told(rng: np.random.Generator) -> None:
    z, target, _, _ = draw(rng, 6, 2, 4, 2)
    target[:] = ((1, 2), (3, 1))
    loss = lossk.CTC()
    cases: list[tuple[Any, str]] = [
        (lambda: lossk.CTC(-1), "blank: got -1, wanted an integer, at least 0"),
        (lambda: lossk.CTC(zero_infinity=1), "zero_infinity: got 1"),  # type: ignore[arg-type]
        (lambda: lossk.CTC(4)(z, target), r"z: got shape \(6, 2, 4\), wanted \(T, N, C\), C above 4"),
        (lambda: loss(z[0], target), r"z: got shape \(2, 4\)"),
        (lambda: loss(z, target[:1]), r"target: got shape \(1, 2\), wanted \(2, S\) or one axis"),
        (lambda: loss(z, target.ravel()), "target_lengths: got None"),
        (lambda: loss(z, target.ravel(), None, [2, 1]), "target: got 4 labels, wanted 3"),
        (lambda: loss(z, target, [6, 7]), r"input_lengths: got 7 of sample 1, wanted an integer in \[0, 6\]"),
        (lambda: loss(z, target, None, [2.0, 1.0]), "target_lengths: got dtype float64, wanted integers"),
        (lambda: loss(z, target, None, [2]), r"target_lengths: got shape \(1,\), wanted \(2,\)"),
        (lambda: loss(z, target - 1), r"target: got 0, label 0 of sample 0, wanted a class in \[0, 4\) that is not 0"),
        (lambda: loss(z, [[1, 2], [3, 4]]), "target: got 4, label 1 of sample 1"),
        (lambda: loss(z, target, reduction="max"), "reduction: got 'max'"),  # type: ignore[arg-type]
        (lambda: loss.vjp(z, target, [1.0]), r"cotangent: got shape \(1,\), wanted \(2,\)"),
        (lambda: loss.grad(z, target, out=np.empty((6, 2, 3))), r"out: got shape \(6, 2, 3\)"),
        (lambda: loss(z.astype(int), target), "z: got dtype int64"),
        (lambda: loss(z, [[1], [1, 2]]), "target: got a list that NumPy cannot read"),
        (lambda: loss(z, target, [[1], [1, 2]]), "input_lengths: got a list that NumPy cannot read"),
        (lambda: loss(z[:, :0], target[:0], np.array([], str)), "input_lengths: got dtype <U1, wanted integers"),
    ]
    for call, message in cases:
        with pytest.raises((TypeError, ValueError), match=message):
            call()
