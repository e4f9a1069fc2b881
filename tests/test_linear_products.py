"""The products inside LinearCrossEntropy: their precision, their bits, what filter_eps leaves out, and odd shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Array, bits
from support_linear import BFLOAT16, MB, close, of_dz

import lossk

Arrays = tuple[Array, ...]


def layer(
    rng: np.random.Generator, rows: int, features: int, classes: int, dtype: Any = np.float32
) -> tuple[Array, ...]:
    x = rng.normal(size=(rows, features)).astype(dtype)
    return x, (rng.normal(size=(classes, features)) / features**0.5).astype(dtype), rng.integers(0, classes, rows)


def root_mean_square(error: Array, size: Array) -> float:
    return float(np.sqrt(np.mean(error.astype(np.float64) ** 2) / np.mean(size.astype(np.float64) ** 2)))


# ---- precision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "largest"), [("highest", 1e-6), ("high", 1e-5), ("medium", 5e-3)])
def test_precision_is_what_it_says(precision: Any, largest: float, rng: np.random.Generator) -> None:
    """Root mean square errors of gradients, against float64, where 1,024 products are added up."""
    x, w, target = layer(rng, 100, 1024, 700)
    loss = lossk.LinearCrossEntropy(precision=precision)
    value, (dx, dw, _) = loss.value_and_grad(x, w, target)
    wanted, want_x, want_w, _ = loss.reference(x, w, target, derivatives=True)
    assert abs(value - wanted) <= largest / 10 * abs(wanted)
    assert root_mean_square(dx - want_x, want_x) < largest
    assert root_mean_square(dw - want_w, want_w) < largest


def test_medium_is_what_bfloat16_inputs_give(rng: np.random.Generator) -> None:
    x, w, target = layer(rng, 70, 33, 500)
    x, w = (a.astype(BFLOAT16).astype(np.float32) for a in (x, w))
    if lossk._core.linear_unit(x, True) == "FMA":
        pytest.skip("this CPU has no fast unit for bfloat16: medium is highest")
    value, (_, dw, _) = lossk.LinearCrossEntropy(precision="medium").value_and_grad(x, w, target)
    narrow = (x.astype(BFLOAT16), w.astype(BFLOAT16), target)
    sums = (np.empty_like(narrow[0]), np.empty_like(dw), None)
    assert lossk.LinearCrossEntropy().value_and_grad(*narrow, out=sums)[0] == value
    assert bits(sums[1]) == bits(dw)


def test_the_value_of_16_bits_is_that_of_their_numbers(rng: np.random.Generator) -> None:
    x, w, target = layer(rng, 300, 512, 2000, BFLOAT16)
    loss = lossk.LinearCrossEntropy()
    np.testing.assert_allclose(loss(x, w, target), loss.reference(x, w, target), rtol=1e-6)


# ---- bits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "softcap": 5.0}, {"filter_eps": 1e-3}], ids=str)
def test_wider_registers_give_the_same_bits(options: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    names = [name for name in lossk.available_isas() if name != "base"]
    if len(names) < 2:
        pytest.skip("this CPU has one width of registers only")
    x, w, target = layer(rng, 333, 300, 1003, dtype)
    bias = rng.normal(size=1003).astype(dtype)
    loss, used, results = lossk.LinearCrossEntropy(chunk_bytes=4 * MB, **options), lossk.isa(), []
    try:
        for name in names:
            lossk.set_isa(name)
            results.append(loss.value_and_grad(x, w, target, bias))
    finally:
        lossk.set_isa(used)
    first, *others = results
    for value, gradients in others:
        assert value == first[0]
        assert all(bits(a) == bits(b) for a, b in zip(gradients, first[1], strict=True))


# ---- filter_eps ---------------------------------------------------------------------------------------------------


def learned(rng: np.random.Generator) -> Arrays:
    """Return a layer that is nearly sure of most labels: rows are near the weights of theirs."""
    w = rng.normal(size=(3000, 64)).astype(np.float32)
    target = rng.integers(0, 3000, 200)
    return 0.3 * w[target] + rng.normal(scale=0.02, size=(200, 64)).astype(np.float32), w, target


@pytest.mark.parametrize("dtype", [np.float32, np.float64, BFLOAT16], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("eps", [2.0**-20, 2.0**-12, 0.1])
def test_filtered_gradients_differ_by_no_more_than_the_bound(dtype: Any, eps: float, rng: np.random.Generator) -> None:
    x, w, target = (a.astype(dtype) if a.dtype.kind == "f" else a for a in learned(rng))
    value, (dx, dw, _), stats = lossk.LinearCrossEntropy(filter_eps=eps).value_and_grad(x, w, target, stats=True)
    full, (full_dx, full_dw, _), unfiltered = lossk.LinearCrossEntropy().value_and_grad(x, w, target, stats=True)
    assert value == full
    assert unfiltered.filtered == 0
    assert stats.filtered <= 1
    assert (stats.filtered > 0.5) == (eps >= 2.0**-12)
    wide = [a.astype(np.float64) for a in (x, w, dx, dw, full_dx, full_dw)]
    ulp = 2.0**-7 if dtype == BFLOAT16 else 1e-6
    assert (np.abs(wide[2] - wide[4]) <= eps / 200 * np.abs(wide[1]).sum(axis=0) + ulp * np.abs(wide[4]) + 1e-9).all()
    assert (np.abs(wide[3] - wide[5]) <= eps / 200 * np.abs(wide[0]).sum(axis=0) + ulp * np.abs(wide[5]) + 1e-9).all()


def test_filtering_keeps_what_is_not_a_number(rng: np.random.Generator) -> None:
    x, w, target = layer(rng, 64, 8, 600)
    x[40] = np.nan
    dx = lossk.LinearCrossEntropy(filter_eps=1e3).grad(x, w, target, wrt="x")
    assert np.isnan(dx[40]).all()
    assert not dx[:32].any()


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"precision: got 'low', wanted one of 'highest', 'high', 'medium'"):
        lossk.LinearCrossEntropy(precision="low")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"filter_eps: got -1, wanted"):
        lossk.LinearCrossEntropy(filter_eps=-1)


# ---- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, BFLOAT16], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("shape", [(1, 1, 2), (17, 96, 1003), (33, 257, 253), (65, 13, 505), (31, 512, 12)], ids=str)
def test_shapes_that_fill_no_tile(shape: tuple[int, int, int], dtype: Any, rng: np.random.Generator) -> None:
    x, w, target = layer(rng, *shape, dtype)
    loss = lossk.LinearCrossEntropy()
    value, *want = loss.reference(x, w, target, derivatives=True)
    wide = np.float64 if dtype == np.float64 else np.float32
    out = (np.empty_like(x), np.empty(w.shape, wide), None)
    got, _ = loss.value_and_grad(x, w, target, out=out)
    close(got, value, wide, "value")
    tolerance = max(of_dz(x), 1e-11 if dtype == np.float64 else 1e-5)
    np.testing.assert_allclose(out[1], want[1], rtol=tolerance, atol=tolerance * np.abs(want[1]).max())
    if dtype == wide:
        close(out[0], want[0], dtype, "dx")


def test_without_features_logits_are_the_bias(rng: np.random.Generator) -> None:
    x, w, bias, target = np.zeros((5, 0)), np.zeros((7, 0)), np.arange(7.0), rng.integers(0, 7, 5)
    loss = lossk.LinearCrossEntropy()
    value, *want = loss.reference(x, w, target, bias, derivatives=True)
    got, gradients = loss.value_and_grad(x, w, target, bias)
    np.testing.assert_allclose(got, value)
    np.testing.assert_allclose(gradients[2], want[2])
    assert gradients[0].shape == (5, 0)
    assert gradients[1].shape == (7, 0)


def test_no_row_counts_of_more_classes_than_a_chunk_holds() -> None:
    loss = lossk.LinearCrossEntropy(chunk_bytes=MB)
    w = np.zeros((50_000, 4), np.float32)
    assert loss(np.zeros((3, 4), np.float32), w, np.full(3, -100), reduction="sum") == 0
    assert loss(np.zeros((0, 4), np.float32), w, np.zeros(0, int), reduction="sum") == 0


def test_what_was_filtered_is_told_of_all_windows(rng: np.random.Generator) -> None:
    x, w, target = np.zeros((64, 4), np.float32), np.zeros((5001, 4), np.float32), rng.integers(4900, 5001, 64)
    x[:, 0], w[4900:, 0] = 5, 5
    large, small = (
        lossk.LinearCrossEntropy(filter_eps=2.0**-12, chunk_bytes=n)
        .value_and_grad(x, w, target, stats=True)[2]
        .filtered
        for n in (64 * MB, MB)
    )
    assert large == small > 0.9


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", True, 10**12])
def test_num_threads_is_checked_as_everywhere(threads: Any, rng: np.random.Generator) -> None:
    x, w, target = layer(rng, 5, 3, 4)
    with pytest.raises((TypeError, ValueError), match="num_threads: got"):
        lossk.LinearCrossEntropy()(x, w, target, num_threads=threads)


def test_labels_and_weights_are_not_written_to(rng: np.random.Generator) -> None:
    x, w, target = layer(rng, 8, 4, 6, np.float64)
    memory = np.zeros_like(x)
    labels, weights = memory.reshape(-1).view(np.int64)[:8], memory.reshape(-1)[:8]
    for given, words in (
        (({"target": labels}), "target"),
        ({"target": target, "sample_weight": weights}, "sample_weight"),
    ):
        with pytest.raises(ValueError, match=rf"out\[0\]: got memory that overlaps {words}"):
            lossk.LinearCrossEntropy().value_and_grad(x, w, **given, out=(memory, np.empty_like(w), None))


def test_statistics_and_means_are_those_of_cross_entropy(rng: np.random.Generator) -> None:
    """Weights that are negative, rows that are -infinity throughout, equal logits."""
    x, w, target = layer(rng, 6, 3, 9, np.float64)
    w[4] = w[2]
    bias = np.zeros(9)
    for shut in (False, True):
        bias[:] = -np.inf if shut else 0
        weight = -np.ones(6)
        z = x @ w.T + bias
        want, row_stats = lossk.CrossEntropy()(z, target, sample_weight=weight, stats=True)
        got, own = lossk.LinearCrossEntropy()(x, w, target, bias, sample_weight=weight, stats=True)
        np.testing.assert_allclose(got, want, rtol=1e-12)
        np.testing.assert_array_equal(own.correct, row_stats.correct)
