"""Tolerances, and results against the reference within them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lossk.losses import Loss, PointwiseLoss
from tests.support.arrays import Array
from tests.support.cases import VERBS, Batch, run_verb


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What lossk promises of arithmetic in one dtype."""

    value: float  # relative
    grad: float  # relative
    grad_atol: float  # absolute, per unit of weight


# In f64 the promise is a relative tolerance alone; p - y cancels to 1e-16 of its terms, hence the absolute one.
TOLERANCE = {
    np.dtype(np.float32): Tolerance(1e-6, 1e-5, 1e-7),
    np.dtype(np.float64): Tolerance(1e-12, 1e-12, 2e-15),
}


def softcap_of(loss: Loss) -> float:
    return getattr(loss, "softcap", None) or 0.0


def value_atol(loss: Loss, dtype: Any) -> float:
    """Absolute tolerance of one sample's value.

    Pointwise values are products: none. A row's loss is log(1 + ...) - (z_t - max), both kept apart by the kernel; but
    with soft capping cap tanh(z_t / cap) - max cancels, with the rounding of numbers as large as the cap.
    """
    if isinstance(loss, PointwiseLoss):
        return 0.0
    eps = float(np.finfo(dtype).eps)
    return eps * (1 + 2 * softcap_of(loss))


def grad_atol(loss: Loss, dtype: Any) -> float:
    """Absolute tolerance of a derivative; with soft capping 1 - tanh^2 cancels, once more in its products."""
    return TOLERANCE[np.dtype(dtype)].grad_atol * (1 + softcap_of(loss))


def hess_atol(loss: Loss, dtype: Any) -> float:
    """Absolute tolerance of a second derivative: 1 - p of a confident row cancels in classes other than the label."""
    return 3 * grad_atol(loss, dtype)


# Losses that are differences: of terms that grow, and cancel near their minimum or where the loss changes its sign.
DIFFERENCES = {"poisson_nll", "gaussian_nll", "gamma", "tweedie", "squared_logarithmic_error"}


def rounding(loss: Any, z: Array, target: Array, weight: Array | None, dtype: Any) -> tuple[Any, Any, Any]:
    """What value and derivatives of a difference change by where inputs change by two units in the last place."""
    smoothed = isinstance(loss, PointwiseLoss) and getattr(loss, "label_smoothing", 0.0) > 0  # z - y of a rounded y
    if loss._kernel not in DIFFERENCES and not smoothed:
        return 0.0, 0.0, 0.0
    step, y = 1e-7, target.astype(np.float64)

    def parts(z: Array, y: Array) -> list[Array]:
        options = {"sample_weight": weight, "check": False}  # rounded up, a target may leave its domain
        return list(loss.reference(z, y, reduction="none", derivatives=True, **options))

    moved = zip(parts(z, y), parts(z * (1 + step), y), parts(z, y * (1 + step)), strict=True)
    factor = 2 * float(np.finfo(dtype).eps) / step
    value, grad, hess = ((np.abs(by_z - at) + np.abs(by_y - at)) * factor for at, by_z, by_y in moved)
    return value, grad, hess


def assert_close(got: Any, want: Any, rtol: float, atol: Any, what: str | Callable[[], str]) -> None:
    """Equal within tolerance, NaN and infinities in the same places; the wanted value as rounded to got's dtype."""
    got = np.asarray(got)
    with np.errstate(over="ignore", invalid="ignore"):
        want = np.asarray(want).astype(got.dtype)
        if got.shape == want.shape:
            allowed = atol + rtol * np.abs(want)
            if (np.abs(got - want) <= allowed).all() and np.isfinite(allowed).all():
                return
    # Something is wrong, or not a finite number: NumPy compares, and says where.
    what = what if isinstance(what, str) else what()
    assert got.shape == want.shape, f"{what}: got shape {got.shape}, wanted {want.shape}"
    if np.ndim(atol):  # each element has its own
        # Not numpy.isclose, which before NumPy 2 takes one tolerance for all.
        with np.errstate(over="ignore", invalid="ignore"):
            near = np.isfinite(want) & (np.abs(got - want) <= atol + rtol * np.abs(want))
        wrong = ~(near | (got == want) | (np.isnan(got) & np.isnan(want)))
        assert not wrong.any(), f"{what}: got {got[wrong]}, wanted {want[wrong]}"
        return
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)


def assert_matches_reference(
    loss: Any, batch: Batch, dtype: Any, verbs: tuple[str, ...] = VERBS, note: str = "", **options: Any
) -> None:
    """Every verb and reduction against the loss's reference."""
    tolerance = TOLERANCE[np.dtype(dtype)]
    z64 = batch.z.astype(np.float64)
    weight = None if batch.weight is None else batch.weight.astype(np.float64)
    arguments: dict[str, Any] = {"sample_weight": batch.weight, **options}
    norms = {}
    spread = rounding(loss, z64, batch.target, weight, dtype)
    for reduction in ("sum", "mean", "none"):
        value, grad, hess = loss.reference(
            z64, batch.target, sample_weight=weight, reduction=reduction, derivatives=True, **options
        )
        norms[reduction] = float(np.abs(grad).max(initial=0.0))
        # What "mean" divides by also divides the absolute tolerance.
        scale = norms["mean"] / norms["sum"] if reduction == "mean" and norms["sum"] > 0 else 1.0
        largest = 1.0 if batch.weight is None else float(batch.weight.max(initial=1.0))
        count = 1 if reduction == "none" else max(1, batch.z.size)
        v_spread = spread[0] if reduction == "none" else float(np.sum(spread[0]))
        v_atol = value_atol(loss, dtype) * largest * scale * count + v_spread * scale
        g_atol = grad_atol(loss, dtype) * largest * scale + spread[1] * scale
        for verb in verbs:

            def what(part: str = "", verb: str = verb, reduction: str = reduction) -> str:
                weighted = "" if batch.weight is None else "weighted "
                return f"{part}{loss} {verb} {reduction} of shape {batch.z.shape} {weighted}{note}"

            parts = run_verb(loss, verb, batch.z, batch.target, reduction=reduction, **arguments)
            if verb.startswith("value"):
                if reduction == "none":
                    assert parts[0].dtype == dtype, what()
                else:
                    assert type(parts[0]) is float, what()
                assert_close(parts[0], value, tolerance.value, v_atol, lambda: what("value of "))
            if "grad" in verb:
                got = parts[-1] if verb == "value_and_grad" else parts[0]
                assert got.dtype == dtype, what()
                assert_close(got, grad, tolerance.grad, g_atol, lambda: what("gradient of "))
            if verb == "grad_and_hess":
                assert parts[1].dtype == dtype, what()
                h_atol = hess_atol(loss, dtype) * largest * scale + spread[2] * scale
                assert_close(parts[1], hess, tolerance.grad, h_atol, lambda: what("second derivative of "))
