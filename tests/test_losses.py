"""Every loss of the registry: verbs, reductions, weights, sizes, layouts and special values against its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import (
    DOMAINS,
    LARGE_SIZES,
    LAYOUTS,
    REDUCTIONS,
    SIZES,
    TOLERANCE,
    VERBS,
    Array,
    Batch,
    Case,
    assert_close,
    assert_matches_reference,
    bits,
    draw,
    each_case,
    each_dtype,
    each_loss,
    each_pointwise_case,
    each_row_case,
    grad_atol,
    results_in_caches,
    results_past_caches,
    rounding,
    run_verb,
)

from lossk.losses import LOSSES

# ---- against the reference ----------------------------------------------------------------------------------------


@each_dtype
@each_case
def test_matches_reference_at_every_size(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in SIZES:
        for shape in case.shapes(n):
            for weighted in (False, True) if case.pointwise else (n % 2 == 1,):
                assert_matches_reference(loss, draw(case, rng, shape, dtype, weighted), dtype, note=isa)


@each_dtype
@each_case
def test_matches_reference_across_chunks(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in LARGE_SIZES:
        for shape in case.shapes(n):
            assert_matches_reference(loss, draw(case, rng, shape, dtype, n % 2 == 1), dtype, note=isa)


@each_case
def test_matches_reference_where_results_are_streamed(case: Case, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in case.shapes(LARGE_SIZES[-1]):
        batch = draw(case, rng, shape, np.float32, weighted=True)
        with results_past_caches():
            assert_matches_reference(loss, batch, np.float32, note=isa)
            streamed = loss.grad_and_hess(batch.z, batch.target, sample_weight=batch.weight)
        with results_in_caches():
            stored = loss.grad_and_hess(batch.z, batch.target, sample_weight=batch.weight)
        assert [bits(a) for a in streamed] == [bits(a) for a in stored]


@pytest.mark.parametrize("verb", VERBS)
@each_dtype
@each_case
def test_multidimensional(case: Case, dtype: Any, verb: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((4, 3, 5), (2, 1, 7, 3), (1, 1, 1), (3, 2, 129)):
        assert_matches_reference(loss, draw(case, rng, shape, dtype, True), dtype, (verb,))


@each_dtype
@each_case
def test_scalars_of_dimension_0(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    if case.pointwise:
        assert_matches_reference(case.make(), draw(case, rng, (), dtype, True), dtype)
        return
    # One row: labels of dimension 0.
    assert_matches_reference(case.make(), draw(case, rng, (5,), dtype, True), dtype)
    with pytest.raises(ValueError, match=r"z: got a 0-dimensional array"):
        case.make()(np.array(1.0, dtype), np.array(0))


@each_dtype
@each_case
def test_empty(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((0,), (0, 3), (3, 0, 4)) if case.pointwise else ((0, 3), (0, 100), (3, 0, 4)):
        for weighted in (False, True):
            batch = draw(case, rng, shape, dtype, weighted)
            arrays = (batch.z, batch.target)
            assert np.isnan(loss(*arrays, sample_weight=batch.weight))
            assert loss(*arrays, sample_weight=batch.weight, reduction="sum") == 0.0
            none = loss(*arrays, sample_weight=batch.weight, reduction="none")
            assert none.shape == case.sample_shape(shape)
            for reduction in REDUCTIONS:
                grad, hess = loss.grad_and_hess(*arrays, sample_weight=batch.weight, reduction=reduction)
                assert grad.shape == hess.shape == shape
                assert grad.dtype == hess.dtype == dtype


def test_one_reduction_does_not_depend_on_the_verb(rng: np.random.Generator) -> None:
    """The value is the same number whichever verb returns it."""
    for kernel in LOSSES:
        case = Case(kernel, 0)
        loss = case.make()
        for shape in case.shapes(1025):
            batch = draw(case, rng, shape, np.float32)
            value, _ = loss.value_and_grad(batch.z, batch.target)
            np.testing.assert_allclose(loss(batch.z, batch.target), value, rtol=1e-6, err_msg=kernel)


# ---- derivatives --------------------------------------------------------------------------------------------------

STEP = 1e-3


def central_difference(f: Any, x: Array) -> Array:
    """Derivative of 4th order, error about STEP**4."""
    near = f(x + STEP) - f(x - STEP)
    far = f(x + 2 * STEP) - f(x - 2 * STEP)
    result: Array = (8 * near - far) / (12 * STEP)
    return result


def smooth(case: Case, z: Array, target: Array) -> Array:
    """Samples whose reference has no kink within reach of the difference."""
    loss = case.make()
    reach = 2 * STEP

    def derivatives(at: Array) -> tuple[Array, Array]:
        _, grad, hess = loss.reference(at, target, reduction="none", derivatives=True)
        return grad, hess

    (before, hess_before), (_, hess), (after, hess_after) = (derivatives(z + d) for d in (-reach, 0.0, reach))
    straight = np.abs(after - before - 2 * reach * hess) < 1e-6
    result: Array = straight & (np.abs(hess_before - hess) < 0.5) & (np.abs(hess_after - hess) < 0.5)
    return result


@each_pointwise_case
def test_derivatives_against_central_differences(case: Case, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (500,), np.float64)
    z, target = batch.z, batch.target
    chosen = smooth(case, z, target)
    steep = case.kernel in ("binary_cross_entropy", "poisson_nll", "tweedie")  # near 0, or far from it
    assert chosen.mean() > (0.3 if steep else 0.95), "the test must look at most samples"
    grad, hess = loss.grad_and_hess(z, target, reduction="sum")
    by_value = central_difference(lambda x: loss(x, target, reduction="none"), z)
    by_grad = central_difference(lambda x: loss.grad(x, target, reduction="none"), z)
    rtol = 1e-8 if steep else 1e-9
    np.testing.assert_allclose(grad[chosen], by_value[chosen], rtol=rtol, atol=1e-10)
    np.testing.assert_allclose(hess[chosen], by_grad[chosen], rtol=rtol, atol=1e-10)


@pytest.mark.parametrize("classes", [1, 2, 10, 64, 65, 130])
@each_row_case
def test_row_derivatives_against_central_differences(
    case: Case, classes: int, isa: str, rng: np.random.Generator
) -> None:
    loss = case.make()
    batch = draw(case, rng, (3, classes), np.float64)
    z, target = batch.z, batch.target
    grad, hess = loss.grad_and_hess(z, target, reduction="sum")
    for k in range(classes):

        def shifted(x: Array, k: int = k) -> Array:
            moved = z.copy()
            moved[:, k] = x
            return moved

        by_value = central_difference(lambda x: loss(shifted(x), target, reduction="none"), z[:, k])
        by_grad = central_difference(lambda x, k=k: loss.grad(shifted(x), target, reduction="none")[:, k], z[:, k])
        np.testing.assert_allclose(grad[:, k], by_value, rtol=1e-8, atol=3e-11)
        np.testing.assert_allclose(hess[:, k], by_grad, rtol=1e-8, atol=3e-11)


@each_dtype
@each_case
def test_vjp_is_gradient_times_cotangent(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((257,), (31, 9)) if case.pointwise else ((31, 9), (5, 257), (2, 3, 70)):
        batch = draw(case, rng, shape, dtype, True)
        cotangent = rng.normal(size=case.sample_shape(shape)).astype(dtype)
        factor = cotangent if case.pointwise else cotangent[..., None]
        _, plain, _ = loss.reference(batch.z, batch.target, reduction="none", derivatives=True)
        _, weighted, _ = loss.reference(
            batch.z, batch.target, sample_weight=batch.weight, reduction="none", derivatives=True
        )
        rtol, atol = TOLERANCE[np.dtype(dtype)].grad, 8 * grad_atol(loss, dtype)
        assert_close(loss.vjp(batch.z, batch.target, cotangent), plain * factor, rtol, atol, "vjp")
        out = np.empty_like(batch.z)
        result = loss.vjp(batch.z, batch.target, cotangent, sample_weight=batch.weight, out=out)
        assert result is out
        assert_close(out, weighted * factor, rtol, atol, "weighted vjp")
        with pytest.raises(ValueError, match=r"cotangent: got shape .*, wanted"):
            loss.vjp(batch.z, batch.target, cotangent[1:])


@each_dtype
@each_case
def test_normalizer_replaces_the_divisor(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((1000,), (17, 3)) if case.pointwise else ((17, 3), (6, 100)):
        for weighted in (False, True):
            batch = draw(case, rng, shape, dtype, weighted)
            total, grad = loss.value_and_grad(batch.z, batch.target, sample_weight=batch.weight, reduction="sum")
            for normalizer in (7, 0.3, np.float32(2.5)):
                value, scaled = loss.value_and_grad(
                    batch.z, batch.target, sample_weight=batch.weight, normalizer=normalizer
                )
                assert value == pytest.approx(total / float(normalizer), rel=1e-15)
                rtol = 4 * np.finfo(dtype).eps
                assert_close(scaled, grad.astype(np.float64) / float(normalizer), rtol, rtol, "gradient")
    for wrong in (0, -1.0, np.inf, np.nan, "many"):
        with pytest.raises(ValueError, match=r"normalizer: got .*, wanted a finite number above 0"):
            loss(batch.z, batch.target, normalizer=wrong)
    for reduction in ("sum", "none"):
        with pytest.raises(ValueError, match=r"normalizer: got 3.*, wanted None"):
            loss(batch.z, batch.target, normalizer=3, reduction=reduction)


# ---- layouts ------------------------------------------------------------------------------------------------------


def expected(loss: Any, batch: Batch, verb: str) -> tuple[Any, ...]:
    return run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight)


def outputs_like(verb: str, z: Array) -> Any:
    return (np.full_like(z, 7), np.full_like(z, 7)) if verb == "grad_and_hess" else np.full_like(z, 7)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verb", VERBS)
@each_dtype
@each_loss
def test_inputs_of_any_layout(case: Case, dtype: Any, verb: str, layout: str, rng: np.random.Generator) -> None:
    """Bits do not depend on how inputs lie in memory, nor on whether they may be written."""
    loss, arrange = case.make(), LAYOUTS[layout]
    batch = draw(case, rng, (37, 70), dtype, True)
    want = [bits(x) for x in expected(loss, batch, verb)]
    arrays = [arrange(a) for a in (batch.z, batch.target, batch.weight) if a is not None]
    for a in arrays:
        a.flags.writeable = False
    got = run_verb(loss, verb, arrays[0], arrays[1], sample_weight=arrays[2])
    assert [bits(x) for x in got] == want


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verb", VERBS[1:])
@each_dtype
@each_loss
def test_out_of_any_layout(case: Case, dtype: Any, verb: str, layout: str, rng: np.random.Generator) -> None:
    loss, arrange = case.make(), LAYOUTS[layout]
    batch = draw(case, rng, (37, 70), dtype, True)
    want = [bits(x) for x in expected(loss, batch, verb)]
    out: Any = arrange(np.zeros_like(batch.z))
    if verb == "grad_and_hess":
        out = (out, arrange(np.zeros_like(batch.z)))
    got = run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight, out=out)
    assert [bits(x) for x in got] == want
    if verb == "grad_and_hess":
        assert got[0] is out[0]
        assert got[1] is out[1]
    else:
        assert got[-1] is out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verb", VERBS[1:])
@each_dtype
@each_loss
def test_in_place(case: Case, dtype: Any, verb: str, layout: str, rng: np.random.Generator) -> None:
    loss, arrange = case.make(), LAYOUTS[layout]
    for shape in ((5, 3), (37, 70), (3, 2000)):
        batch = draw(case, rng, shape, dtype, True)
        want = expected(loss, batch, verb)
        if verb == "grad_and_hess":
            for own in (0, 1):  # which of the two goes over z
                z = arrange(batch.z)
                other = np.zeros_like(batch.z)
                out = (z, other) if own == 0 else (other, z)
                got = run_verb(loss, verb, z, batch.target, sample_weight=batch.weight, out=out)
                assert got[own] is z
                assert [bits(x) for x in got] == [bits(x) for x in want]
        else:
            z = arrange(batch.z)
            got = run_verb(loss, verb, z, batch.target, sample_weight=batch.weight, out=z)
            assert got[-1] is z
            assert [bits(x) for x in got] == [bits(x) for x in want]


@each_dtype
@each_loss
def test_lists_other_byte_orders_and_other_dtypes(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (6, 5), dtype, True)
    assert batch.weight is not None
    value, grad = loss.value_and_grad(batch.z, batch.target, sample_weight=batch.weight)

    swapped = [a.astype(a.dtype.newbyteorder(">")) for a in (batch.z, batch.target, batch.weight)]
    got_value, got_grad = loss.value_and_grad(swapped[0], swapped[1], sample_weight=swapped[2])
    assert got_value == value
    np.testing.assert_array_equal(got_grad, grad)

    # Lists are float64; targets and weights take the dtype of z.
    z64 = batch.z.astype(np.float64)
    value64, grad64 = loss.value_and_grad(z64, batch.target, sample_weight=batch.weight.astype(np.float64))
    lists = [a.tolist() for a in (z64, batch.target, batch.weight)]
    got_value, got_grad = loss.value_and_grad(lists[0], lists[1], sample_weight=lists[2])
    assert got_value == value64
    assert got_grad.dtype == np.float64
    np.testing.assert_array_equal(got_grad, grad64)
    assert loss(batch.z, batch.target, sample_weight=lists[2]) == value
    if case.pointwise:
        assert loss(batch.z, batch.target.astype(np.float64), sample_weight=batch.weight) == value
        whole = np.sign(batch.target).astype(np.int8)
        assert loss(batch.z, whole) == loss(batch.z, whole.astype(dtype))


class SpeaksDLPack:
    """What torch and others hand over: an object with `__dlpack__` that is no ndarray."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@each_loss
def test_dlpack_and_buffers(case: Case, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (6, 5), np.float32)
    value, grad = loss.value_and_grad(batch.z, batch.target)
    for wrap in (SpeaksDLPack, memoryview):
        got_value, got_grad = loss.value_and_grad(wrap(batch.z), wrap(batch.target))
        assert got_value == value
        np.testing.assert_array_equal(got_grad, grad)


# ---- special values -----------------------------------------------------------------------------------------------


def special_targets(case: Case, special: Array, dtype: Any) -> Array:
    """Those special numbers that are in the range of the loss's targets."""
    drawn = LOSSES[case.kernel]._draw(np.random.default_rng(0), (64,), dtype)[1]
    if len(np.unique(drawn)) < 5 and drawn.min() < 0:
        return np.unique(drawn)
    if drawn.min() < 0:
        return special
    more = [] if drawn.max() <= 1 else [7.0, 1e18]
    return np.array([0.0, 0.25, 1.0, *more, *([] if case.kernel in DOMAINS else [np.nan])], dtype)


@each_dtype
@each_pointwise_case
def test_special_values(case: Case, dtype: Any, isa: str) -> None:
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


# ---- errors, and nothing written ----------------------------------------------------------------------------------


@each_dtype
@each_loss
def test_wrong_arguments_say_what_was_got_and_wanted(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (6, 5), dtype, True)
    z, target, weight = batch.z, batch.target, batch.weight
    assert weight is not None
    wrong: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (ValueError, r"got .*\(4.*wanted .*\(6", (z, target[:4]), {}),
        (ValueError, r"sample_weight: got shape .*, wanted", (z, target), {"sample_weight": weight[:4]}),
        (ValueError, r"sample_weight: got shape .*, wanted", (z, target), {"sample_weight": 2.0}),
        (
            ValueError,
            r"reduction: got 'average', wanted 'mean', 'sum' or 'none'",
            (z, target),
            {"reduction": "average"},
        ),
        (ValueError, r"reduction: got None, wanted", (z, target), {"reduction": None}),
        (ValueError, r"num_threads: got 0, wanted an integer from 1", (z, target), {"num_threads": 0}),
        (ValueError, r"num_threads: got 1.5, wanted an integer", (z, target), {"num_threads": 1.5}),
        (ValueError, r"num_threads: got -3, wanted an integer", (z, target), {"num_threads": -3}),
        (
            TypeError,
            r"z: got dtype int64, wanted float32, float64, float16 or bfloat16",
            (z.astype(np.int64), target),
            {},
        ),
        (TypeError, r"z: got dtype (longdouble|float128), wanted", (z.astype(np.longdouble), target), {}),
        (TypeError, r"z: got dtype complex128, wanted", (z.astype(np.complex128), target), {}),
        (TypeError, r"z: got .*, wanted", (None, target), {}),
        (TypeError, r"(y|target): got .*, wanted", (z, None), {}),
        (TypeError, r"(y|target): got .*, wanted", (z, target.astype(np.complex128)), {}),
        (TypeError, r"z: got a masked array", (np.ma.masked_array(z), target), {}),
        (TypeError, r"sample_weight: got .*, wanted", (z, target), {"sample_weight": weight.astype("U8")}),
    ]
    for verb in VERBS:
        for error, message, args, kwargs in wrong:
            for copy in (z.copy(), None):
                extra: dict[str, Any] = {}
                if copy is not None and verb != "value":
                    extra["out"] = (copy, copy.copy()) if verb == "grad_and_hess" else copy
                with pytest.raises(error, match=message):
                    run_verb(loss, verb, *args, **kwargs, **extra)
                if copy is not None:
                    np.testing.assert_array_equal(copy, z)
