"""Special values in pointwise losses: infinities, NaN, zeros, subnormal and huge numbers, digits far from 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.losses import LOSSES
from tests.support.arrays import Array, each_dtype
from tests.support.cases import DOMAINS, Case, draw, each_case, each_pointwise_case
from tests.support.tolerances import TOLERANCE, assert_close, rounding


def above_0(loss: Any) -> bool:
    return isinstance(loss, lossk.Gamma) or (isinstance(loss, lossk.Tweedie) and loss.power >= 2)


def special_targets(case: Case, special: Array, dtype: Any) -> Array:
    """Those special numbers that are in the range of the loss's targets."""
    drawn = LOSSES[case.kernel]._draw(np.random.default_rng(0), (64,), dtype)[1]
    if len(np.unique(drawn)) < 5 and drawn.min() < 0:
        return np.unique(drawn)
    if drawn.min() < 0:
        return special
    more = [] if drawn.max() <= 1 else [7.0, 1e18]
    least = [] if above_0(case.plain()) else [0.0]
    return np.array([*least, 0.25, 1.0, *more, *([] if case.kernel in DOMAINS else [np.nan])], dtype)


@each_dtype
@each_pointwise_case
def test_special_values_give_what_the_formula_gives(case: Case, dtype: Any, isa: str) -> None:
    """Infinities, NaN, zeros, subnormals and huge numbers give what the formula gives, in every lane.

    Of row losses: test_cross_entropy_special.py, test_rows.py.
    """
    info = np.finfo(dtype)
    numbers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.25,
        -5.0,
        info.smallest_subnormal,
        -info.smallest_normal / 2,
        info.max,
        -info.max,
    ]
    special = np.array([*numbers, np.inf, -np.inf, np.nan], dtype)
    loss = case.make()
    low, high = DOMAINS.get(case.kernel, (-np.inf, np.inf))
    predictions = special[np.isnan(special) & (low == -np.inf) | (special >= low) & (special <= high)]
    targets = special_targets(case, special, dtype)
    z, y = (a.reshape(-1) for a in np.meshgrid(predictions, targets, indexing="ij"))
    with np.errstate(all="ignore"):
        # A difference may overflow in the kernel's arithmetic where it does not in the reference's.
        fits = np.isfinite(z - y) | ~np.isfinite(z) | ~np.isfinite(y)
        z, y = z[fits], y[fits]
        value, grad, hess = loss.reference(z, y, reduction="none", derivatives=True)
        spread = [np.nan_to_num(x, posinf=0.0) for x in rounding(loss, z.astype(np.float64), y, None, dtype)]
    for shift in range(9):  # every lane of a register, and the tail
        pad = np.ones(shift, dtype)
        padded = np.concatenate([pad, z]), np.concatenate([pad, y])
        v, g = loss.value_and_grad(*padded, reduction="none")
        _, h = loss.grad_and_hess(*padded, reduction="none")
        tolerance = TOLERANCE[np.dtype(dtype)]
        tiny = float(info.smallest_subnormal)
        for i, (got, want) in enumerate(((v, value), (g, grad), (h, hess))):
            what = f"{('value', 'gradient', 'second derivative')[i]} of {loss} at {shift}"
            assert_close(got[shift:], want, tolerance.value, tiny + spread[i], what)


@each_dtype
@each_case
def test_a_nan_is_never_lost_in_a_sum(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in (3, 17, 70, 600):
        batch = draw(case, rng, (n,) if case.pointwise else (1, n), dtype)
        for at in {0, n // 2, n - 1}:
            target = batch.target
            if getattr(loss, "_takes_labels", False):
                target = np.full(1, at if loss._only_label else 0)
            if not case.pointwise and loss._takes_labels and target[0] == getattr(loss, "ignore_index", -100):
                continue
            z = batch.z.copy()
            z[..., at] = np.nan
            if case.kernel in DOMAINS:
                with pytest.raises(ValueError, match=rf"got z = nan, .* at flat index {at}, wanted"):
                    loss(z, target)
                continue
            assert np.isnan(loss(z, target, reduction="sum")), (n, at)
            assert np.isnan(loss.value_and_grad(z, target)[0]), (n, at)


@pytest.mark.parametrize(
    ("loss", "z", "y", "value", "grad"),
    [
        (lossk.PseudoHuber(1.0), 1e-6, 0.0, 0.5e-12, 1e-6),
        (lossk.PseudoHuber(2.0), 1e30, 0.0, 2e30, 2.0),
        (lossk.PseudoHuber(1e-20), 3.0, 0.0, 3e-20, 1e-20),
        (lossk.PseudoHuber(1e25), 1e-10, 0.0, 0.5e-20, 1e-10),
        (lossk.LogCosh(), 1e-6, 0.0, 0.5e-12, 1e-6),
        (lossk.LogCosh(), 1e30, 0.0, 1e30, 1.0),
        (lossk.Logistic(), 60.0, 1.0, np.exp(-60.0), -np.exp(-60.0)),
        (lossk.Logistic(), -1e30, 1.0, 1e30, -1.0),
        (lossk.BinaryCrossEntropyWithLogits(), 60.0, 1.0, np.exp(-60.0), -np.exp(-60.0)),
        (lossk.BinaryCrossEntropyWithLogits(), np.inf, 1.0, 0.0, 0.0),
        (lossk.BinaryCrossEntropyWithLogits(), -np.inf, 0.0, 0.0, 0.0),
        (lossk.BinaryCrossEntropyWithLogits(), np.inf, 0.0, np.inf, 1.0),
        (lossk.Focal(-1, 2), 20.0, 1.0, np.exp(-60.0), -3 * np.exp(-60.0)),
        (lossk.Focal(-1, 2), np.inf, 0.0, np.inf, 1.0),
        (lossk.Focal(-1, 2), np.inf, 1.0, 0.0, 0.0),
        (lossk.Gamma(), -100.0, 1e-10, 1e-10 * np.exp(100.0), -1e-10 * np.exp(100.0)),
        (lossk.Gamma(), -np.inf, 1.0, np.inf, -np.inf),
        (lossk.PoissonNLL(), -np.inf, 0.0, 0.0, 0.0),
        (lossk.PoissonNLL(), 1e4, 3.0, np.inf, np.inf),
        (lossk.PoissonNLL(log_input=False, eps=0.0), 0.0, 0.0, 0.0, 1.0),
        (lossk.PoissonNLL(full=True), np.log(1000.0), 1000.0, 0.5 * np.log(2000 * np.pi), None),
        (lossk.PoissonNLL(log_input=False, full=True, eps=0.0), 1000.0, 1000.0, 0.5 * np.log(2000 * np.pi), 0.0),
        (lossk.Tweedie(0.5), 1e4, 1.0, np.inf, np.inf),
        (lossk.Tweedie(3.0), -1e4, 1.0, np.inf, -np.inf),
        (lossk.Exponential(), 80.0, 1.0, np.exp(-80.0), -np.exp(-80.0)),
        (lossk.Quantile(0.25), np.inf, 0.0, np.inf, 0.75),
        (lossk.SmoothL1(0.0), 0.0, 0.0, 0.0, 0.0),
    ],
    ids=str,
)
@each_dtype
def test_values_far_from_1_keep_their_digits(
    dtype: Any, loss: Any, z: float, y: float, value: float, grad: float | None, isa: str
) -> None:
    rtol = 3e-6 if dtype == np.float32 else 1e-12  # e^-60 of a rounded 60 is exact, of its products nearly
    if dtype == np.float64 and not isinstance(loss, lossk.PoissonNLL):
        rtol = 1e-8  # of the closed forms above, which leave out small terms
    got_value, got_grad = loss.value_and_grad(np.array([z], dtype), np.array([y], dtype), reduction="none")
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(got_value, np.array([value]).astype(dtype), rtol=rtol)
        if grad is not None:
            np.testing.assert_allclose(got_grad, np.array([grad]).astype(dtype), rtol=rtol)


def test_special_variances_give_what_the_formula_gives() -> None:
    z, y = np.array([1.0, 1.0, 1.0, 1e200]), np.zeros(4)
    var = np.array([0.0, np.inf, np.nan, 1e300])
    value, (by_z, by_var) = lossk.GaussianNLL().value_and_grad(z, y, var, reduction="none", wrt="both")
    np.testing.assert_allclose(value, [0.5 * (np.log(1e-6) + 1e6), np.inf, np.nan, 5e99], rtol=1e-12)
    np.testing.assert_allclose(by_z, [1e6, 0, np.nan, 1e-100], rtol=1e-12)
    np.testing.assert_allclose(by_var, [0.5 * (1e6 - 1e12), 0, np.nan, -5e-201], rtol=1e-12)
