"""Losses with a domain: inputs outside it are refused, and named."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import lossk
from lossk.losses import LOSSES, PointwiseLoss
from tests.support.arrays import Array, bits, each_dtype, in_turn
from tests.support.cases import CASES, VERBS, Case, draw, each_case, run_verb

SIGNS, SHARES = "-1 or 1, as 2*y - 1 makes them of 0 and 1", "a number in [0, 1]"
SIGNED = (0.0, 0.5, 2.0, -1.25, np.inf)
# Kernels, with targets that are outside their domains, and what is wanted.
OUTSIDE: dict[str, tuple[tuple[float, ...], str]] = {
    **dict.fromkeys(("hinge", "squared_hinge", "modified_huber", "perceptron"), (SIGNED, SIGNS)),
    **dict.fromkeys(("hinge_embedding", "logistic", "exponential"), (SIGNED, SIGNS)),
    **dict.fromkeys(("binary_cross_entropy_with_logits", "focal"), ((-1.0, 1.5, np.inf, -np.inf), SHARES)),
    "binary_cross_entropy": ((-1.0, 1.5), "z and y in [0, 1]"),
    "poisson_nll": ((-1.0, -1e-3, -np.inf), "a number of at least 0"),
    "gamma": ((0.0, -1.0), "a number above 0"),
    **dict.fromkeys(
        ("cross_entropy", "kl_divergence", "jensen_shannon", "jeffreys"),
        ((-1.0, -1e-3, -np.inf), "a probability, at least 0"),
    ),
}
# Options without which a loss has its domain.
WITHOUT = ("log_target", "focal_gamma", "poly_epsilon")
TWEEDIE = "a number of at least 0, above 0 from a power of 2 on"


def outside(case: Case) -> tuple[tuple[float, ...], str]:
    """Targets that the case does not take, and what it wants."""
    if case.kernel == "tweedie":
        power = getattr(case.make(), "power")  # noqa: B009
        return ((), "") if power <= 0 else ((-1.0, *([0.0] if power >= 2 else [])), TWEEDIE)
    return ((), "") if any(map(case.kwargs.get, WITHOUT)) else OUTSIDE.get(case.kernel, ((), ""))


def inside(case: Case, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    """Predictions and targets of floating type: probabilities where labels will do, too."""
    batch = draw(case, rng, shape, np.float32)
    target = batch.target if batch.target.shape == shape else rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    return batch.z.astype(dtype), target.astype(dtype)


def of_probabilities(case: Case) -> Any:
    """The loss, which ignores no label where it takes probabilities."""
    ignores = {"ignore_index": None} if case.kernel == "cross_entropy" else {}
    return LOSSES[case.kernel](**{**case.kwargs, **ignores})


WITH_A_DOMAIN = [case for case in CASES if outside(case)[0]]


def test_every_loss_that_has_a_domain_is_here() -> None:
    free = {"squared_error", "absolute_error", "huber", "smooth_l1", "pseudo_huber", "log_cosh", "quantile"}
    free |= {"epsilon_insensitive", "squared_epsilon_insensitive"}
    free |= {"squared_logarithmic_error", "absolute_percentage_error"}  # which cut targets off, as Keras does
    free |= {"multi_label_soft_margin", "dice", "tversky"}  # of any weights
    by_other_inputs = {"gaussian_nll", "nll", "multi_margin", "multi_label_margin"}  # a variance, labels
    assert set(LOSSES) == {case.kernel for case in WITH_A_DOMAIN} | free | by_other_inputs


def shapes(case: Case) -> tuple[tuple[int, ...], ...]:
    return ((1,), (75,), (1300,)) if case.pointwise else ((7, 3), (75, 10), (40, 24), (5, 1200), (2, 40_000))


@in_turn("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("case", WITH_A_DOMAIN, ids=str)
def test_the_first_target_outside_is_told_before_anything_is_written(
    case: Case, dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    loss = of_probabilities(case)
    wrong, wanted = outside(case)
    for shape in shapes(case):
        z, y = inside(case, rng, shape, dtype)
        for at in sorted({0, y.size // 3, y.size - 1}):
            bad = y.copy()
            value = wrong[at % len(wrong)]
            bad.flat[at] = bad.flat[-1] = value
            got = float(bad.flat[at])
            index = ", ".join(map(str, np.unravel_index(at, shape)))
            message = f"y = {got} at flat index {at}, wanted {wanted}"
            message = (
                f"y: got {got} at flat index {at}, wanted {wanted}"
                if case.kernel != "binary_cross_entropy"
                else message
            )
            message = message if case.pointwise else f"target[{index}]: got {got}, wanted {wanted}"
            for verb in VERBS:
                out = z.copy()
                into = {"value": {}, "grad_and_hess": {"out": (out, out.copy())}}.get(verb, {"out": out})
                for options in ({}, into, {"reduction": "none"}):
                    with pytest.raises(ValueError, match=re.escape(message)):
                        run_verb(loss, verb, out, bad, **options)
                assert bits(out) == bits(z)
        with pytest.raises(
            ValueError,
            match=re.escape(f": got {got}" if case.pointwise and case.kernel != "binary_cross_entropy" else f" {got}"),
        ):
            loss.reference(z, bad)  # type: ignore[attr-defined]
        run_verb(loss, "value", z, bad, check=False)


@each_dtype
@each_case
def test_leaving_out_the_check_changes_no_bit(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = of_probabilities(case) if outside(case)[0] else case.make()
    for shape in shapes(case)[:4]:
        z, y = inside(case, rng, shape, dtype) if outside(case)[0] else (draw(case, rng, shape, dtype).z, None)
        y = draw(case, rng, shape, dtype).target if y is None else y
        for verb in VERBS:
            want, got = (run_verb(loss, verb, z, y, check=check) for check in (True, False))
            assert [*map(bits, got)] == [*map(bits, want)], (shape, verb)


@each_dtype
@pytest.mark.parametrize("case", WITH_A_DOMAIN, ids=str)
def test_what_does_not_count_and_nan_are_not_checked(
    case: Case, dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    loss, wrong = of_probabilities(case), outside(case)[0][0]
    for shape in ((75,), (1300,)) if case.pointwise else ((75, 3), (75, 10), (9, 1200)):
        z, y = inside(case, rng, shape, dtype)
        weight = np.ones(case.sample_shape(shape), dtype)
        weight[5], bad = 0, y.copy()
        bad[5] = wrong
        for verb in VERBS:
            out = z.copy()
            into = {"value": {}, "grad_and_hess": {"out": (out, out.copy())}}.get(verb, {"out": out})
            want = run_verb(loss, verb, z, y, sample_weight=weight)
            got = run_verb(loss, verb, out, bad, sample_weight=weight)
            assert [*map(bits, got)] == [*map(bits, want)]
            got = run_verb(loss, verb, out, bad, sample_weight=weight, **into)
            assert [*map(bits, got)] == [*map(bits, want)]
        loss.reference(z, bad, sample_weight=weight)
        bad[5] = np.nan
        assert np.isnan(loss(z, bad))
        bad[-1] = wrong
        with pytest.raises(ValueError, match="wanted"):
            loss.grad(z, bad, **({"ignore_nan": True} if isinstance(loss, PointwiseLoss) else {}))


def test_labels_of_the_other_kind_are_told_how_to_convert() -> None:
    z = np.zeros(4)
    with pytest.raises(ValueError, match=r"as 2\*y - 1 makes them of 0 and 1$"):
        lossk.Hinge()(z, np.array([True, False, True, True]))
    for loss in (lossk.BinaryCrossEntropyWithLogits(), lossk.Focal(), lossk.BinaryCrossEntropyWithLogits([1.0] * 4)):
        with pytest.raises(ValueError, match=r"wanted a number in \[0, 1\], as \(y \+ 1\) / 2 makes it of -1 and 1$"):
            loss(z, np.array([1, -1, 1, -1]))
        with pytest.raises(ValueError, match=r"wanted a number in \[0, 1\]$"):
            loss(z, np.array([1, -1, 0.5, -1]))
        assert loss(z, np.array([True, False, True, False])) == loss(z, np.array([1, 0, 1, 0]))


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
def test_probabilities_outside_0_and_1_have_no_loss_unchecked(dtype: Any, isa: str) -> None:
    tiny = float(np.finfo(dtype).smallest_subnormal)
    z, y = np.meshgrid(np.array([-np.inf, -0.5, -tiny, -0.0, 0.5, 1.0, 1.5, np.inf, np.nan], dtype), [0.0, 0.25, 1.0])
    y = y.astype(dtype)
    for loss in (lossk.BinaryCrossEntropy(), lossk.BinaryCrossEntropy(label_smoothing=0.25)):
        want = loss.reference(z, y, reduction="none", check=False, derivatives=True)
        parts = loss.value_and_grad(z, y, reduction="none", check=False)
        np.testing.assert_array_equal(np.isnan(parts[0]), ~((z >= 0) & (z <= 1)))
        for got, of_reference in zip(parts, want[:2], strict=True):
            np.testing.assert_allclose(got, of_reference, rtol=2e-6)


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


def test_statistics_do_not_take_logarithms_for_probabilities(rng: np.random.Generator) -> None:
    z, target = lossk.KLDivergence._draw(rng, (7, 5), np.float64)
    loss = lossk.KLDivergence(log_target=True)
    assert loss(z, np.log(target), stats=True)[0] == loss(z, np.log(target))
    target[3, 2] = -1
    for options in ({}, {"axis": 0}):
        with pytest.raises(ValueError, match=r"target\[.*got -1.0, wanted a probability, at least 0"):
            lossk.KLDivergence()(z, target, stats=True, **options)  # type: ignore[call-overload]
