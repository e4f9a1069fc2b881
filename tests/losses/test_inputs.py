"""Inputs of losses: layouts, types, lists, objects of other libraries, numbers in place of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits, each_dtype
from tests.support.cases import VERBS, Case, draw, each_loss, run_batch, run_verb
from tests.support.layouts import LAYOUTS


class SpeaksDLPack:
    """What torch and others hand over: an object with `__dlpack__` that is no ndarray."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@each_dtype
@each_loss
def test_inputs_may_have_any_layout(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    """Bits do not depend on how inputs lie in memory, nor on whether they may be written."""
    loss, batch = case.make(), draw(case, rng, (37, 70), dtype, True)
    for verb in VERBS:
        want = [bits(x) for x in run_batch(loss, batch, verb)]
        for layout, arrange in LAYOUTS.items():
            arrays = [arrange(a) for a in (batch.z, batch.target, batch.weight) if a is not None]
            for a in arrays:
                a.flags.writeable = False
            got = run_verb(loss, verb, arrays[0], arrays[1], sample_weight=arrays[2])
            assert [bits(x) for x in got] == want, (verb, layout)


@each_dtype
@each_loss
def test_lists_other_byte_orders_and_other_types_are_read(case: Case, dtype: Any, rng: np.random.Generator) -> None:
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


@each_loss
def test_dlpack_and_buffers_are_read(case: Case, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (6, 5), np.float32)
    value, grad = loss.value_and_grad(batch.z, batch.target)
    for wrap in (SpeaksDLPack, memoryview):
        got_value, got_grad = loss.value_and_grad(wrap(batch.z), wrap(batch.target))
        assert got_value == value
        np.testing.assert_array_equal(got_grad, grad)


@each_loss
def test_subclasses_of_ndarray_are_read_and_written(case: Case, rng: np.random.Generator) -> None:
    """A subclass is read as an array; as `out` it is written to and returned."""

    class Tagged(np.ndarray):
        pass

    loss = case.make()
    batch = draw(case, rng, (6, 5), np.float64)
    want = loss.grad(batch.z, batch.target)
    z = batch.z.view(Tagged)
    np.testing.assert_array_equal(np.asarray(loss.grad(z, batch.target)), want)
    out = np.zeros_like(batch.z).view(Tagged)
    assert loss.grad(batch.z, batch.target, out=out) is out
    np.testing.assert_array_equal(np.asarray(out), want)


def test_a_number_is_the_target_of_every_sample() -> None:
    z = np.array([[0.5, -2.0], [3.0, 0.25]], np.float32)
    for number in (0.0, 1, True, np.float64(0.5), np.int8(1), np.array(0.5), np.array(1), np.array(0.5, np.float32)):
        full = np.full(z.shape, number, z.dtype)
        for loss in (lossk.Huber(), lossk.BinaryCrossEntropyWithLogits(), lossk.PoissonNLL()):
            np.testing.assert_array_equal(loss.value_and_grad(z, number)[1], loss.value_and_grad(z, full)[1])
            assert loss(z, number) == loss(z, full)
            assert loss.reference(z, number) == loss.reference(z, full)
            np.testing.assert_array_equal(loss.vjp(z, number, z), loss.vjp(z, full, z))
        assert lossk.GaussianNLL()(z, number, np.abs(z)) == lossk.GaussianNLL()(z, full, np.abs(z))


@pytest.mark.parametrize("y", [[0.0], np.zeros(1), np.zeros((1, 2)), np.zeros((2, 1))], ids=repr)
def test_nothing_but_a_number_broadcasts(y: Any) -> None:
    for call in (lossk.Huber(), lossk.Huber().grad, lossk.Huber().reference):
        with pytest.raises(ValueError, match=r"y: got shape .*, wanted \(2, 2\)"):
            call(np.ones((2, 2)), y)
