"""Windows of classes, by which LinearCrossEntropy keeps to its memory: the results of chunks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk._linear._run import Plan
from tests.support.arrays import bits
from tests.support.linear import BFLOAT16, MB, NARROW, close, draw_layer, loss_of, of_dz, problem, root_mean_square

WINDOWED = [(300, 8, 3000), (50, 3, 9011), (200, 64, 3001)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, *NARROW], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("options", [{}, {"z_loss": 1e-2, "weight": "drawn"}], ids=str)
@pytest.mark.parametrize("shape", WINDOWED, ids=str)
def test_windows_match_the_reference(
    options: dict[str, Any], shape: Any, dtype: Any, rng: np.random.Generator, windowed: list[Plan]
) -> None:
    x, w, target, bias = problem(rng, *shape, dtype)
    target[1] = target[2] = target[3]
    loss = loss_of(options, shape[2], rng, chunk_bytes=MB)
    narrow = np.dtype(dtype) in NARROW
    for b, reduction in ((None, "mean"), (bias, "none")):
        given = {"sample_weight": rng.uniform(0.5, 2, shape[0]).astype(dtype), "reduction": reduction}
        value, *want = loss.reference(x, w, target, b, derivatives=True, **given)
        close(loss(x, w, target, b, **given), value, dtype, "loss only")
        got, gradients = loss.value_and_grad(x, w, target, b, **given)
        close(got, value, dtype, "value")
        for gradient, wanted in zip(gradients, want, strict=True):
            assert (gradient is None) == (wanted is None)
            if gradient is not None:
                assert gradient.dtype == dtype
                largest = float(np.abs(wanted).max())
                ulp = (2**-7 if dtype == BFLOAT16 else 2**-10) if narrow else 0.0
                tolerance = 1e-11 if dtype == np.float64 else max(3e-5, of_dz(x))
                np.testing.assert_allclose(
                    gradient.astype(np.float64), wanted, rtol=max(ulp, tolerance), atol=tolerance * max(largest, 1e-3)
                )
    assert windowed


@pytest.mark.parametrize(
    ("shape", "chunk_bytes"),
    [((64, 300, 6000), 2 * MB), ((300, 64, 6000), 2 * MB), ((257, 257, 4000), 4 * MB)],
    ids=str,
)
def test_exponentials_that_are_kept_cost_no_digits(
    shape: Any, chunk_bytes: int, rng: np.random.Generator, windowed: list[Plan]
) -> None:
    """They wait in a dw of bfloat16, or beside it: gradients are as near to float32's as their own rounding lets them.

    Rows hold fewer bytes than features, or more; of the first shape one block is in the chunk's memory.
    """
    x, w, target = draw_layer(rng, *shape, BFLOAT16)
    value, exact = lossk.LinearCrossEntropy().value_and_grad(x.astype(np.float32), w.astype(np.float32), target)
    again, gradients = lossk.LinearCrossEntropy(chunk_bytes=chunk_bytes).value_and_grad(x, w, target)
    assert windowed
    at_once = lossk.LinearCrossEntropy().value_and_grad(x, w, target)[1]
    assert bits(at_once[1]) != bits(gradients[1])  # else none was kept
    assert value == pytest.approx(again, rel=1e-6)
    for got, want in zip(gradients[:2], exact[:2], strict=True):
        rounding = root_mean_square(want.astype(BFLOAT16).astype(np.float32) - want, want)
        error = root_mean_square(got.astype(np.float32) - want, want)
        assert error < (1.1 if of_dz(x) < 2**-8 else 1.6) * rounding  # dz may be rounded, too


def test_kept_exponentials_know_special_logits(rng: np.random.Generator, windowed: list[Plan]) -> None:
    x, w, target, bias = problem(rng, 200, 40, 6000, BFLOAT16)
    target[:] = rng.integers(4000, 6000, 200)
    bias[:4000] = -np.inf
    target[5], bias[4100], target[7] = 4100, -np.inf, 17
    row_weight = (rng.random(200) < 0.9).astype(np.float32)
    row_weight[[5, 7]] = 0  # whose loss is infinite
    small, large = (lossk.LinearCrossEntropy(chunk_bytes=n) for n in (2 * MB, 256 * MB))
    for poison in (None, np.nan, np.inf):
        if poison is not None:
            x[11, 2], row_weight[11] = poison, 1
        with np.errstate(invalid="ignore"):
            _, got = small.value_and_grad(x, w, target, bias, sample_weight=row_weight, reduction="sum")
            _, want = large.value_and_grad(x, w, target, bias, sample_weight=row_weight, reduction="sum")
        assert poison is not None or not got[1][:4000].any()
        for mine, theirs in zip(got, want, strict=True):
            scale = np.nanmax(np.abs(theirs.astype(np.float32)), initial=1)
            np.testing.assert_allclose(
                mine.astype(np.float32), theirs.astype(np.float32), rtol=2**-7, atol=2**-8 * scale, equal_nan=True
            )
    assert len(windowed) == 3


def test_windows_know_special_logits(rng: np.random.Generator, windowed: list[Plan]) -> None:
    """Infinities and NaN give what chunks of rows give, class by class that -infinity shuts out among them."""
    x, w, target, bias = problem(rng, 200, 4, 6000, np.float64)
    target[:] = rng.integers(4000, 6000, 200)
    bias[:4000] = -np.inf  # whole windows
    target[5], bias[4100], target[7] = 4100, -np.inf, 17  # labels that are shut out
    x[9] = 0
    small, large = (lossk.LinearCrossEntropy(chunk_bytes=n) for n in (MB, 256 * MB))
    for poison in (None, np.nan, np.inf):
        if poison is not None:
            x[11, 2] = poison
        with np.errstate(invalid="ignore"):
            got = small.value_and_grad(x, w, target, bias, reduction="none", wrt="x")
            want = large.value_and_grad(x, w, target, bias, reduction="none", wrt="x")
        for mine, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13, equal_nan=True)
    assert len(windowed) == 3


@pytest.mark.parametrize("weighs", ["class", "row"])
def test_windows_know_what_0_times_infinity_is(weighs: str, rng: np.random.Generator, windowed: list[Plan]) -> None:
    """0 where the class weighs nothing, or the row."""
    x, w, target, bias = problem(rng, 200, 4, 6000, np.float64)
    target[:] = rng.integers(4000, 6000, 200)
    target[5], bias[4100] = 4100, -np.inf
    class_weight, row_weight = np.ones(6000), np.ones(200)
    if weighs == "class":
        class_weight[4100] = 0
    else:
        row_weight[5] = 0
    given = {"sample_weight": row_weight, "reduction": "none"}
    small, large = (lossk.LinearCrossEntropy(class_weight, chunk_bytes=n) for n in (MB, 256 * MB))
    got = small.value_and_grad(x, w, target, bias, wrt="x", **given)
    want = large.value_and_grad(x, w, target, bias, wrt="x", **given)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13, equal_nan=True)
    assert got[0][5] == 0
    assert len(windowed) == 1


def test_windows_keep_the_digits_of_confident_predictions(windowed: list[Plan]) -> None:
    x, w = np.full((150, 1), 20.0, np.float32), np.zeros((9000, 1), np.float32)
    w[8000] = 1
    value, (_, dw, _) = lossk.LinearCrossEntropy(chunk_bytes=MB).value_and_grad(x, w, np.full(150, 8000))
    rest = 8999 * np.exp(-20.0)
    np.testing.assert_allclose(value, np.log1p(rest), rtol=1e-5)
    np.testing.assert_allclose(dw[8000], -20 * rest / (1 + rest), rtol=1e-5)
    assert windowed


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=str)
def test_threads_do_not_change_the_bits_of_windows(dtype: Any, rng: np.random.Generator, windowed: list[Plan]) -> None:
    x, w, target, bias = problem(rng, 300, 20, 9000, dtype)
    loss = lossk.LinearCrossEntropy(chunk_bytes=MB)
    first = loss.value_and_grad(x, w, target, bias, num_threads=1)
    for threads in (2, 7):
        again = loss.value_and_grad(x, w, target, bias, num_threads=threads)
        assert again[0] == first[0]
        assert all(bits(a) == bits(b) for a, b in zip(again[1], first[1], strict=True))
    assert len(windowed) == 3
