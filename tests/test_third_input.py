"""Losses with a third input (a variance, weights of positives) and losses with a domain."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from support import LAYOUTS, TOLERANCE, Array, assert_close, bits, each_dtype, guarded

import lossk

WRT = ("z", "var", "both")
SHAPES = ((1,), (7,), (513,), (5, 33), (40, 1001), (3, 4, 70))


def gaussian(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array, Array]:
    z, y, var = lossk.GaussianNLL._draw(rng, shape, dtype)
    return z, y, var


def gradients(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


# ---- GaussianNLL --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrt", WRT)
@each_dtype
def test_gaussian_against_the_reference(dtype: Any, wrt: str, isa: str, rng: np.random.Generator) -> None:
    tolerance = TOLERANCE[np.dtype(dtype)]
    for options in ({}, {"full": True, "eps": 0.25}):
        loss = lossk.GaussianNLL(**options)
        for shape in SHAPES:
            z, y, var = gaussian(rng, shape, dtype)
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


@each_dtype
def test_gaussian_curvature_of_the_variance(dtype: Any, rng: np.random.Generator) -> None:
    """The kernel of the variance knows its second derivative; here against a difference of gradients."""
    z, y, var = gaussian(rng, (200,), np.float64)
    loss, step = lossk.GaussianNLL(), 1e-6
    _, _, hess = loss.reference(z, y, var, reduction="none", derivatives=True, wrt="var")
    near = [loss.grad(z, y, var + d, reduction="none", wrt="var") for d in (-step, step)]
    np.testing.assert_allclose(hess, (near[1] - near[0]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrt", WRT)
@each_dtype
def test_gaussian_layouts_and_outputs(dtype: Any, wrt: str, layout: str, rng: np.random.Generator) -> None:
    loss, arrange = lossk.GaussianNLL(), LAYOUTS[layout]
    z, y, var = gaussian(rng, (37, 70), dtype)
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


def test_gaussian_never_reads_past_a_repeated_variance(isa: str, rng: np.random.Generator) -> None:
    for columns in (1, 3, 70, 1001):
        z, y, var = gaussian(rng, (29, columns), np.float32)
        row = guarded(var[0])
        want = lossk.GaussianNLL().grad(z, y, np.broadcast_to(row, z.shape).copy())
        assert bits(lossk.GaussianNLL().grad(z, y, row)) == bits(want)


def test_gaussian_vjp(rng: np.random.Generator) -> None:
    z, y, var = gaussian(rng, (50,), np.float64)
    cotangent, weight = rng.normal(size=50), rng.uniform(size=50)
    loss = lossk.GaussianNLL()
    for wrt in WRT:
        plain = gradients(loss.grad(z, y, var, reduction="none", wrt=wrt))
        got = gradients(loss.vjp(z, y, var, cotangent, sample_weight=weight, wrt=wrt))
        for a, b in zip(got, plain, strict=True):
            np.testing.assert_allclose(a, b * cotangent * weight, rtol=1e-12)


def test_gaussian_errors_come_before_anything_is_written(rng: np.random.Generator) -> None:
    loss = lossk.GaussianNLL()
    z, y, var = gaussian(rng, (6, 5), np.float32)
    bad = var.copy()
    bad[2, 3] = -0.5
    wrong: list[tuple[Any, type[Exception], str]] = [
        (bad, ValueError, r"-0.5 at flat index 13, wanted var of at least 0"),
        (np.array([1, 1, -2.0, 1, 1]), ValueError, r"-2.0 at flat index 2, wanted var"),
        (var[:, :4], ValueError, r"var: got shape \(6, 4\), wanted \(6, 5\) or \(5,\)"),
        (1.0, ValueError, r"var: got shape \(\), wanted"),
        (None, TypeError, r"var: got a NoneType, wanted"),
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


def test_gaussian_special_variances() -> None:
    z, y = np.array([1.0, 1.0, 1.0, 1e200]), np.zeros(4)
    var = np.array([0.0, np.inf, np.nan, 1e300])
    value, (by_z, by_var) = lossk.GaussianNLL().value_and_grad(z, y, var, reduction="none", wrt="both")
    np.testing.assert_allclose(value, [0.5 * (np.log(1e-6) + 1e6), np.inf, np.nan, 5e99], rtol=1e-12)
    np.testing.assert_allclose(by_z, [1e6, 0, np.nan, 1e-100], rtol=1e-12)
    np.testing.assert_allclose(by_var, [0.5 * (1e6 - 1e12), 0, np.nan, -5e-201], rtol=1e-12)


# ---- weights of positives -----------------------------------------------------------------------------------------


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
    assert repr(loss) == "BinaryCrossEntropyWithLogits(pos_weight=[1.0, 0.1, 3.0])"
    z, y = rng.normal(size=(4, 3)), np.ones((4, 3))
    before = loss(z, y)
    weight[:] = 7
    assert loss(z, y) == before
    assert loss(z.tolist(), y.tolist()) == before  # weights in full precision, not by way of float32
    with pytest.raises(ValueError, match=r"pos_weight: got shape \(3,\), wanted \(4, 2\) or \(2,\)"):
        loss(z[:, :2], y[:, :2])


# ---- domains ------------------------------------------------------------------------------------------------------


@each_dtype
def test_probabilities_outside_0_and_1_are_refused_before_anything_is_written(dtype: Any, isa: str) -> None:
    loss = lossk.BinaryCrossEntropy()
    for n in (1, 17, 513, 40_000):
        for at in sorted({0, n // 3, n - 1}):
            for wrong, argument in ((-1e-3, "z"), (1.001, "z"), (np.nan, "z"), (np.inf, "z"), (-1e-3, "y"), (1.5, "y")):
                arrays = {"z": np.full(n, 0.5, dtype), "y": np.full(n, 0.25, dtype)}
                arrays[argument][at] = wrong
                out = np.full(n, 7, dtype)
                shown = str(float(dtype.type(wrong)))
                with pytest.raises(
                    ValueError, match=rf"{argument} = {shown}\b.* at flat index {at}, wanted z and y in"
                ):
                    loss.grad(arrays["z"], arrays["y"], out=out)
                assert (out == 7).all()
    ends = np.array([0, 0, 1, 1], dtype)
    np.testing.assert_array_equal(loss(ends, np.array([0, 1, 0, 1], dtype), reduction="none"), [0, 100, 100, 0])
    assert np.isnan(loss(ends, np.array([0, 1, np.nan, 1], dtype)))


@each_dtype
def test_new_results_of_inputs_outside_the_domain_are_not_returned(dtype: Any, isa: str) -> None:
    """Where nothing of the user's is written, kernels look for such inputs themselves."""
    for n in (1, 17, 513, 40_000):
        y, weight = np.full(n, 0.25, dtype), np.ones(n, dtype)
        for at in sorted({0, n // 3, n - 1}):
            z, var = np.full(n, 0.5, dtype), np.ones(n, dtype)
            z[at], var[at] = 2, -1
            for given in (None, weight):
                for call in (lossk.BinaryCrossEntropy(), lossk.BinaryCrossEntropy().grad):
                    with pytest.raises(ValueError, match=rf"z = 2\.0\b.* at flat index {at}, wanted z and y in"):
                        call(z, y, sample_weight=given)
                with pytest.raises(ValueError, match=rf"z = 2\.0\b.* at flat index {at}, wanted z and y in"):
                    lossk.BinaryCrossEntropy().grad_and_hess(z, y, sample_weight=given)
                with pytest.raises(ValueError, match=rf"at flat index {at}, wanted var of at least 0"):
                    lossk.GaussianNLL()(y, y, var, sample_weight=given)


# ---- digits -------------------------------------------------------------------------------------------------------


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
        (lossk.Gamma(), -1e4, 0.0, -1e4, 1.0),
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
