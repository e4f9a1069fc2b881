"""Outputs of losses: any layout, in place, refused before they are written to, or memory of their own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits, each_dtype
from tests.support.cases import VERBS, Batch, Case, draw, each_loss, run_batch, run_verb
from tests.support.layouts import LAYOUTS


@each_dtype
@each_loss
def test_outputs_may_have_any_layout(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss, batch = case.make(), draw(case, rng, (37, 70), dtype, True)
    for verb in VERBS[1:]:
        want = [bits(x) for x in run_batch(loss, batch, verb)]
        for layout, arrange in LAYOUTS.items():
            out = [arrange(np.zeros_like(batch.z)) for _ in range(2 if verb == "grad_and_hess" else 1)]
            given = tuple(out) if verb == "grad_and_hess" else out[0]
            got = run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight, out=given)
            assert [bits(x) for x in got] == want, (verb, layout)
            assert all(a is b for a, b in zip(got[-len(out) :], out, strict=True)), (verb, layout)


@each_dtype
@each_loss
def test_gradients_may_overwrite_the_predictions(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((5, 3), (37, 70), (3, 2000)):
        batch = draw(case, rng, shape, dtype, True)
        for verb in VERBS[1:]:
            want = [bits(x) for x in run_batch(loss, batch, verb)]
            # Which of two results goes over z; that of one does.
            for own, (layout, arrange) in itertools.product(
                (0, 1) if verb == "grad_and_hess" else (-1,), LAYOUTS.items()
            ):
                z, other = arrange(batch.z), np.zeros_like(batch.z)
                out = {0: (z, other), 1: (other, z), -1: z}[own]
                got = run_verb(loss, verb, z, batch.target, sample_weight=batch.weight, out=out)
                assert got[own] is z
                assert [bits(x) for x in got] == want, (verb, layout, own)


def refused(loss: Any, verb: str, batch: Batch, out: Any, error: type[Exception], message: str) -> None:
    """The call raises, and neither inputs nor outputs have changed."""
    given = (batch.z, batch.target, batch.weight, *(out if isinstance(out, tuple) else (out,)))
    arrays = [a for a in given if isinstance(a, np.ndarray)]
    before = [bits(a) for a in arrays]
    with pytest.raises(error, match=message):
        run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight, out=out)
    assert [bits(a) for a in arrays] == before


def _head(batch: Batch, n: int) -> tuple[Array, Array | None]:
    return batch.target[:n], None if batch.weight is None else batch.weight[:n]


@pytest.mark.parametrize("prepared", [False, True], ids=["kernel", "prepared"])
@each_dtype
@each_loss
def test_wrong_outputs_are_refused_and_kept(case: Case, dtype: Any, prepared: bool, rng: np.random.Generator) -> None:
    """Both ways to the kernels refuse: with arrays that kernels read as they are, and with some that must be copied."""
    loss = case.make()
    for verb in VERBS[1:]:
        batch = draw(case, rng, (6, 5), dtype, True)
        if prepared:
            batch = Batch(np.asfortranarray(batch.z), batch.target, batch.weight)
        z = batch.z
        other = np.dtype(np.float32 if dtype == np.float64 else np.float64)
        locked = np.zeros_like(z)
        locked.flags.writeable = False
        wrong: list[tuple[Any, type[Exception], str]] = [
            (np.zeros((6, 5), other), TypeError, rf"out.*: got dtype {other}, wanted {dtype}"),
            (np.zeros((6, 5), np.int64), TypeError, r"out.*: got dtype int64"),
            (np.zeros((6, 5), dtype.newbyteorder(">")), TypeError, r"out.*: got dtype"),
            (np.zeros((6, 4), dtype), ValueError, r"out.*: got shape \(6, 4\), wanted \(6, 5\)"),
            (np.zeros((5, 6), dtype), ValueError, r"out.*: got shape \(5, 6\), wanted \(6, 5\)"),
            (np.zeros(30, dtype), ValueError, r"out.*: got shape \(30,\), wanted \(6, 5\)"),
            (np.zeros((1, 6, 5), dtype), ValueError, r"out.*: got shape \(1, 6, 5\)"),
            (locked, ValueError, r"out.*: got a read-only array, wanted a writeable one"),
            ([[0.0] * 5] * 6, TypeError, r"out.*: got list, wanted a"),
            (memoryview(bytearray(z.nbytes)), TypeError, r"out.*: got memoryview, wanted a"),
            (3.0, TypeError, r"out.*: got float, wanted a"),
        ]
        for out, error, message in wrong:
            if verb == "grad_and_hess":
                refused(loss, verb, batch, (out, np.zeros_like(z)), error, message)
                refused(loss, verb, batch, (np.zeros_like(z), out), error, message)
            else:
                refused(loss, verb, batch, out, error, message)
        if verb == "grad_and_hess":
            one = np.zeros_like(z)
            for pair in (one, (one,), (one, one.copy(), one.copy()), [one, one.copy()]):
                refused(loss, verb, batch, pair, TypeError, r"out: got .*, wanted a tuple of two arrays")
            refused(loss, verb, batch, (one, one), ValueError, r"out\[1\]: got memory that overlaps out\[0\]")
            refused(loss, verb, batch, (z, z), ValueError, r"out\[1\]: got memory that overlaps")
        else:
            pair = (np.zeros_like(z), np.zeros_like(z))
            refused(loss, verb, batch, pair, TypeError, r"out: got tuple, wanted a")


@each_dtype
@each_loss
def test_outputs_that_overlap_the_predictions_in_part_are_refused(
    case: Case, dtype: Any, rng: np.random.Generator
) -> None:
    loss = case.make()
    for verb in VERBS[1:]:
        rows, columns = 6, 5
        batch = draw(case, rng, (rows, columns), dtype, True)
        n = rows * columns
        memory = np.zeros(3 * n, dtype)
        z = memory[n : 2 * n].reshape(rows, columns)
        z[...] = batch.z
        moved = Batch(z, batch.target, batch.weight)

        def both(out: Array, message: str, batch: Batch = moved, verb: str = verb) -> None:
            if verb == "grad_and_hess":
                refused(loss, verb, batch, (out, np.zeros_like(batch.z)), ValueError, message)
                refused(loss, verb, batch, (np.zeros_like(batch.z), out), ValueError, message)
            else:
                refused(loss, verb, batch, out, ValueError, message)

        for shift in (-n + 1, -columns, -1, 1, columns, n - 1):
            both(memory[n + shift : 2 * n + shift].reshape(rows, columns), "out.*: got memory that overlaps z")
        # The same memory in another order is no exact alias.
        both(z[::-1], "out.*: got memory that overlaps z")
        square = Batch(memory[:25].reshape(5, 5), *_head(batch, 5))
        both(square.z.T, "out.*: got memory that overlaps z", square)
        # Memory that only touches is fine.
        for shift in (-n, n):
            out: Any = memory[n + shift : 2 * n + shift].reshape(rows, columns)
            run_verb(loss, verb, z, batch.target, out=(out, np.zeros_like(z)) if verb == "grad_and_hess" else out)
            np.testing.assert_array_equal(z, batch.z)


@each_dtype
@each_loss
def test_outputs_over_targets_or_weights_are_refused(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for verb in VERBS[1:]:
        batch = draw(case, rng, (6, 5), dtype, True)
        inputs: list[tuple[Batch, Array, str]] = []
        if case.pointwise:
            assert batch.weight is not None
            inputs.append((batch, batch.target, "y"))
            inputs.append((batch, batch.weight, "sample_weight"))
        else:
            y = np.full((6, 5), 0.2, dtype)
            inputs.append((Batch(batch.z, y, batch.weight), y, "target"))
            out = np.zeros((6, 5), dtype)
            labels = out.view(np.int64 if dtype.itemsize == 8 else np.int32).reshape(-1)[:6]
            inputs.append((Batch(batch.z, labels, batch.weight), out, "target"))
            inputs.append((Batch(batch.z, batch.target, out.reshape(-1)[3:9]), out, "sample_weight"))
        for given, out, name in inputs:
            message = rf"out.*: got memory that overlaps {name}, wanted separate memory"
            if verb == "grad_and_hess":
                refused(loss, verb, given, (out, np.zeros_like(out)), ValueError, message)
                refused(loss, verb, given, (np.zeros_like(out), out), ValueError, message)
                refused(loss, verb, given, (given.z, out), ValueError, message)
            else:
                refused(loss, verb, given, out, ValueError, message)


@each_dtype
def test_outputs_may_lie_over_the_callers_class_weights(dtype: Any) -> None:
    """The loss holds copies, so the caller's array of weights is memory like any other."""
    weight = np.ones(5, dtype)
    loss = lossk.CrossEntropy(weight=weight)
    out = loss.grad(np.zeros((1, 5), dtype), np.array([0]), out=weight.reshape(1, 5))
    np.testing.assert_allclose(out, [[-0.8, 0.2, 0.2, 0.2, 0.2]], rtol=1e-6)


@each_loss
def test_out_is_not_an_argument_of_the_value(case: Case, rng: np.random.Generator) -> None:
    batch = draw(case, rng, (6, 5), np.float64)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'out'"):
        case.make()(batch.z, batch.target, out=batch.z)


@each_dtype
@each_loss
def test_results_are_memory_of_their_own(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    """Inputs stay as they were, and results share memory with nothing."""
    loss = case.make()
    for shape in ((6, 5), (300, 400)):
        batch = draw(case, rng, shape, dtype, True)
        arrays = [a for a in (batch.z, batch.target, batch.weight) if a is not None]
        before = [bits(a) for a in arrays]
        made = [
            *loss.grad_and_hess(*arrays[:2], sample_weight=arrays[2]),
            loss.grad(*arrays[:2]),
            loss(*arrays[:2], reduction="none"),
        ]
        assert [bits(a) for a in arrays] == before
        for i, a in enumerate(made):
            assert a.flags.writeable
            assert a.flags.c_contiguous
            for b in (*arrays, *made[:i]):
                assert not np.shares_memory(a, b)


@pytest.mark.parametrize("entries", [0, 1, 3])
def test_a_pair_that_lies_about_its_length_is_refused(entries: int) -> None:
    class Two(tuple):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 2

    z, t = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    out = Two(np.zeros_like(z) for _ in range(entries))
    for loss, target in ((lossk.Huber(), z), (lossk.CrossEntropy(), t), (lossk.NLL(), t)):
        for given in (z, z.tolist(), z[:, ::-1]):  # what kernels read, and what is prepared
            with pytest.raises(TypeError, match=f"out: got a tuple of {entries}, wanted a tuple of two arrays"):
                loss.grad_and_hess(given, target, out=out)


def test_an_output_whose_elements_share_memory_is_refused() -> None:
    z, y = np.ones((3, 4)), np.zeros((3, 4))
    out = np.lib.stride_tricks.as_strided(np.zeros(4), (3, 4), (0, 8))
    for call in (lambda: lossk.Huber().grad(z, y, out=out), lambda: lossk.softmax(z, out=out)):
        with pytest.raises(ValueError, match="out: got an array whose elements share memory"):
            call()
    assert not out.any()


@each_loss
def test_products_go_to_arrays_in_the_byte_order_of_the_predictions(case: Case, rng: np.random.Generator) -> None:
    batch = draw(case, rng, (6, 5), np.dtype(np.float32))
    cotangent = rng.normal(size=case.sample_shape((6, 5))).astype(np.float32)
    want = case.make().vjp(batch.z, batch.target, cotangent)
    z = batch.z.astype(">f4")
    for out in (np.zeros_like(z), z):
        got = case.make().vjp(z, batch.target, cotangent, out=out)
        assert got is out
        np.testing.assert_array_equal(got, want)
