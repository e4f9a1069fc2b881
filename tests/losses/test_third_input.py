"""Losses with a third input: a variance, weights of positives."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits, each_dtype
from tests.support.cases import draw_gaussian
from tests.support.layouts import LAYOUTS
from tests.support.memory import guarded
from tests.support.tolerances import TOLERANCE, assert_close

WRT = ("z", "var", "both")
SHAPES = ((1,), (7,), (513,), (5, 33), (40, 1001), (3, 4, 70))


def gradients(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("wrt", WRT)
@each_dtype
def test_gaussian_matches_its_reference(dtype: Any, wrt: str, isa: str, rng: np.random.Generator) -> None:
    tolerance = TOLERANCE[np.dtype(dtype)]
    for options in ({}, {"full": True, "eps": 0.25}):
        loss = lossk.GaussianNLL(**options)
        for shape in SHAPES:
            z, y, var = draw_gaussian(rng, shape, dtype)
            weight = rng.uniform(0.5, 2.0, size=shape).astype(dtype)
            for third in (var, var.reshape(-1)[: shape[-1]]):
                wide = np.broadcast_to(third, shape).astype(np.float64)
                value, *want = loss.reference(
                    z, y, wide, sample_weight=weight, reduction="sum", derivatives=True, wrt=wrt
                )
                arguments: dict[str, Any] = {"sample_weight": weight, "reduction": "sum"}
                got_value, got = loss.value_and_grad(z, y, third, wrt=wrt, **arguments)
                assert got_value == pytest.approx(value, rel=tolerance.value, abs=10 * tolerance.value * z.size)
                assert loss(z, y, third, **arguments) == pytest.approx(got_value, rel=tolerance.value)
                alone = loss.grad(z, y, third, wrt=wrt, **arguments)
                for a, b, expected in zip(gradients(got), gradients(alone), want, strict=False):
                    assert a.dtype == dtype
                    assert bits(a) == bits(b)
                    assert_close(a, expected, tolerance.grad, 20 * tolerance.grad_atol, f"{wrt} {shape}")


def test_the_curvature_of_the_variance_is_that_of_its_gradient(rng: np.random.Generator) -> None:
    """The kernel of the variance knows its second derivative; here against a difference of gradients."""
    z, y, var = draw_gaussian(rng, (200,), np.float64)
    loss, step = lossk.GaussianNLL(), 1e-6
    _, _, hess = loss.reference(z, y, var, reduction="none", derivatives=True, wrt="var")
    near = [loss.grad(z, y, var + d, reduction="none", wrt="var") for d in (-step, step)]
    np.testing.assert_allclose(hess, (near[1] - near[0]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrt", WRT)
@each_dtype
def test_variances_may_have_any_layout(dtype: Any, wrt: str, layout: str, rng: np.random.Generator) -> None:
    loss, arrange = lossk.GaussianNLL(), LAYOUTS[layout]
    z, y, var = draw_gaussian(rng, (37, 70), dtype)
    want = gradients(loss.grad(z, y, var, wrt=wrt))
    for third in (arrange(var), arrange(guarded(var))):
        got = gradients(loss.grad(arrange(z), arrange(y), third, wrt=wrt))
        assert [bits(g) for g in got] == [bits(g) for g in want]
    # In place: the gradient goes over z (the second of two elsewhere).
    own = arrange(z)
    out = (own, np.empty_like(z)) if wrt == "both" else own
    _, result = loss.value_and_grad(own, y, var, out=out, wrt=wrt)
    assert gradients(result)[0] is own
    assert [bits(g) for g in gradients(result)] == [bits(g) for g in want]


def test_vjp_is_gradient_times_cotangent_of_both_gradients(rng: np.random.Generator) -> None:
    z, y, var = draw_gaussian(rng, (50,), np.float64)
    cotangent, weight = rng.normal(size=50), rng.uniform(size=50)
    loss = lossk.GaussianNLL()
    for wrt in WRT:
        plain = gradients(loss.grad(z, y, var, reduction="none", wrt=wrt))
        got = gradients(loss.vjp(z, y, var, cotangent, sample_weight=weight, wrt=wrt))
        for a, b in zip(got, plain, strict=True):
            np.testing.assert_allclose(a, b * cotangent * weight, rtol=1e-12)


def test_wrong_variances_are_refused_before_anything_is_written(rng: np.random.Generator) -> None:
    loss = lossk.GaussianNLL()
    z, y, var = draw_gaussian(rng, (6, 5), np.float32)
    bad = var.copy()
    bad[2, 3] = -0.5
    wrong: list[tuple[Any, type[Exception], str]] = [
        (bad, ValueError, r"-0.5 at flat index 13, wanted var of at least 0"),
        (np.array([1, 1, -2.0, 1, 1]), ValueError, r"-2.0 at flat index 2, wanted var"),
        (var[:, :4], ValueError, r"var: got shape \(6, 4\), wanted \(6, 5\) or \(5,\)"),
        (1.0, ValueError, r"var: got shape \(\), wanted"),
        (None, TypeError, r"var: got None, wanted"),
        (np.array([object()] * 5), TypeError, r"var: got an array of objects, wanted"),
        (var.astype("U8"), TypeError, r"var: got dtype <U8, wanted real numbers"),
    ]
    for third, error, message in wrong:
        for wrt in WRT:
            out = [np.full_like(z, 7), np.full_like(z, 7)]
            with pytest.raises(error, match=message):
                loss.value_and_grad(z, y, third, wrt=wrt, out=tuple(out) if wrt == "both" else out[0])
            assert all((o == 7).all() for o in out)
    with pytest.raises(ValueError, match=r"wrt: got 'mean', wanted 'z', 'var' or 'both'"):
        loss.grad(z, y, var, wrt="mean")
    with pytest.raises(ValueError, match="overlaps"):
        loss.grad(z, y, var, out=var)


@each_dtype
def test_weights_of_positives_are_one_for_each_class_or_sample(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        z, y = lossk.BinaryCrossEntropyWithLogits._draw(rng, shape, dtype)
        for weight in (rng.uniform(0, 5, size=shape), rng.uniform(0, 5, size=shape[-1:])):
            loss = lossk.BinaryCrossEntropyWithLogits(weight.astype(dtype))
            value, want, want_hess = loss.reference(z, y, derivatives=True, reduction="none")
            tolerance = TOLERANCE[np.dtype(dtype)]
            got_value, got = loss.value_and_grad(z, y, reduction="none")
            assert_close(got_value, value, tolerance.value, 0.0, f"{shape}")
            assert_close(got, want, tolerance.grad, tolerance.grad_atol, f"{shape}")
            _, hess = loss.grad_and_hess(z, y, reduction="none")
            assert_close(hess, want_hess, tolerance.grad, tolerance.grad_atol, f"{shape}")
        same = lossk.BinaryCrossEntropyWithLogits(np.full(shape[-1:], 2.5))
        assert bits(same.grad(z, y)) == bits(lossk.BinaryCrossEntropyWithLogits(2.5).grad(z, y))


def test_weights_of_positives_are_values_of_the_loss(rng: np.random.Generator) -> None:
    weight = np.array([1.0, 0.1, 3.0])
    loss = lossk.BinaryCrossEntropyWithLogits(weight)
    assert loss == lossk.BinaryCrossEntropyWithLogits(weight.tolist())
    assert hash(loss) == hash(lossk.BinaryCrossEntropyWithLogits(weight.copy()))
    assert loss != lossk.BinaryCrossEntropyWithLogits(2 * weight)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert repr(loss) == "BinaryCrossEntropyWithLogits(pos_weight=[1.0, 0.1, 3.0], label_smoothing=0.0)"
    z, y = rng.normal(size=(4, 3)), np.ones((4, 3))
    before = loss(z, y)
    weight[:] = 7
    assert loss(z, y) == before
    assert loss(z.tolist(), y.tolist()) == before  # weights in full precision, not by way of float32
    with pytest.raises(ValueError, match=r"pos_weight: got shape \(3,\), wanted \(4, 2\) or \(2,\)"):
        loss(z[:, :2], y[:, :2])
