"""The axis of classes: any one, of losses and of row functions, into any output and in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.row_functions import RowFunction
from tests.support.arrays import each_dtype
from tests.support.row_functions import draw_with_cotangent, each_function
from tests.support.rows import LABEL_LOSSES, draw_labels, draw_probabilities, draw_rows, log_sum_exp
from tests.support.tolerances import assert_close


@pytest.mark.parametrize("labels", [True, False], ids=["labels", "probabilities"])
@each_dtype
def test_classes_of_cross_entropy_may_be_on_any_axis(dtype: Any, labels: bool, rng: np.random.Generator) -> None:
    for classes in (5, 70):
        last = rng.normal(size=(2, 3, 4, classes)).astype(dtype)
        target = draw_labels(rng, (2, 3, 4), classes) if labels else draw_probabilities(rng, last.shape, dtype)
        weight = rng.uniform(size=(2, 3, 4)).astype(dtype)
        loss = lossk.CrossEntropy(label_smoothing=0.1, z_loss=1e-3)
        value, grad, stats = loss.value_and_grad(last, target, sample_weight=weight, stats=True)
        g, h = loss.grad_and_hess(last, target, sample_weight=weight)
        for axis in (0, 1, 2, 3, -1, -2, -4):
            z = np.array(np.moveaxis(last, -1, axis), order="C")
            y = target if labels else np.ascontiguousarray(np.moveaxis(target, -1, axis))
            got, got_grad, got_stats = loss.value_and_grad(z, y, sample_weight=weight, axis=axis, stats=True)
            assert got == value
            assert got == pytest.approx(loss.reference(z, y, sample_weight=weight, axis=axis), rel=1e-6)
            assert got_grad.shape == z.shape
            np.testing.assert_array_equal(np.moveaxis(got_grad, axis, -1), grad)
            np.testing.assert_array_equal(got_stats.lse, stats.lse)
            np.testing.assert_array_equal(got_stats.correct, stats.correct)
            none = loss(z, y, reduction="none", axis=axis)
            np.testing.assert_array_equal(none, loss(last, target, reduction="none"))
            # into an output, and in place
            out = np.zeros_like(z)
            assert loss.grad(z, y, sample_weight=weight, axis=axis, out=out) is out
            np.testing.assert_array_equal(np.moveaxis(out, axis, -1), grad)
            pair = np.zeros_like(z), np.zeros_like(z)
            loss.grad_and_hess(z, y, sample_weight=weight, axis=axis, out=pair)
            np.testing.assert_array_equal(np.moveaxis(pair[0], axis, -1), g)
            np.testing.assert_array_equal(np.moveaxis(pair[1], axis, -1), h)
            cotangent = rng.normal(size=(2, 3, 4)).astype(dtype)
            vjp = loss.vjp(z, y, cotangent, axis=axis)
            np.testing.assert_array_equal(np.moveaxis(vjp, axis, -1), loss.vjp(last, target, cotangent))
            loss.value_and_grad(z, y, sample_weight=weight, axis=axis, out=z)
            np.testing.assert_array_equal(np.moveaxis(z, axis, -1), grad)
        for wrong in (4, -5, 1.0, True, None):
            with pytest.raises(ValueError, match=r"axis: got .*, wanted an integer in \[-4, 4\)"):
                loss(last, target, axis=wrong)


@each_dtype
def test_classes_of_other_losses_may_be_on_any_axis(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for name in ("NLL", "MultiMargin", "KLDivergence"):
        batch = draw_rows(name, rng, (4, 5, 6), dtype)
        loss = getattr(lossk, name)()
        value, grad = loss.value_and_grad(batch.z, batch.target)
        z = np.moveaxis(batch.z, -1, 1)
        target = np.moveaxis(batch.target, -1, 1) if name == "KLDivergence" else batch.target
        value_1, grad_1 = loss.value_and_grad(z, target, axis=1)
        assert value == value_1
        np.testing.assert_array_equal(np.moveaxis(grad_1, 1, -1), grad)
        assert loss.reference(z, target, axis=1) == pytest.approx(value, rel=1e-6)


@each_dtype
def test_values_of_any_axis_are_written_into_any_output(dtype: Any, rng: np.random.Generator) -> None:
    for shape in ((3, 4, 5), (2, 70, 3), (6,)):
        x = rng.normal(size=shape).astype(dtype)
        for axis in range(-len(shape), len(shape)):
            moved = np.moveaxis(x, axis, -1)
            for function in (lossk.softmax, lossk.log_softmax):
                want = np.moveaxis(function(np.ascontiguousarray(moved)), -1, axis)
                np.testing.assert_array_equal(function(x, axis=axis), want)
                for out in (np.zeros_like(x), np.zeros(shape, dtype, order="F"), np.zeros((*shape, 2), dtype)[..., 0]):
                    assert function(x, axis=axis, out=out) is out
                    np.testing.assert_array_equal(out, want)
                own = x.copy()
                assert function(own, axis=axis, out=own) is own
                np.testing.assert_array_equal(own, want)
                strided = np.zeros((*shape, 2), dtype)[..., 0]
                strided[...] = x
                assert function(strided, axis=axis, out=strided) is strided
                np.testing.assert_array_equal(strided, want)
            assert_close(lossk.logsumexp(x, axis=axis), log_sum_exp(moved), 1e-5, 1e-6, "logsumexp")
    with pytest.raises(ValueError, match=r"axis: got 3, wanted an integer in \[-1, 1\)"):
        lossk.softmax(np.zeros(4), axis=3)


@each_function
def test_gradients_pass_back_along_any_axis(function: RowFunction, isa: str, rng: np.random.Generator) -> None:
    x, c = draw_with_cotangent(function, rng, (4, 5, 6), np.float32)
    want = function.vjp(x, c)
    whole = function is not lossk.logsumexp
    for at in (0, 1):
        y, d = np.moveaxis(x, -1, at), np.moveaxis(c, -1, at) if whole else c
        for axis in (at, at - 3):
            np.testing.assert_array_equal(function.vjp(y, d, axis=axis), np.moveaxis(want, -1, at))
        out = np.zeros(y.shape, np.float32)
        assert function.vjp(y, d, axis=at, out=out) is out
        np.testing.assert_array_equal(out, np.moveaxis(want, -1, at))


def test_classes_on_another_axis_are_found() -> None:
    z, t = np.random.default_rng(1).normal(size=(2, 3, 5)), np.zeros((2, 5), int)
    for loss in LABEL_LOSSES:
        with pytest.raises(ValueError, match=r"axis=1, if those are the classes of z$"):
            loss(z, t)
        loss(z, t, axis=1)
    with pytest.raises(ValueError, match=r"target\.argmax\(-2\) gives labels"):
        lossk.CrossEntropy()(z, np.zeros((2, 3, 5), int), axis=1)
