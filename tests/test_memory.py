"""Memory: nothing is touched outside arrays, at any alignment; a wrong `out` is refused before it is written to."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import (
    VERBS,
    Array,
    Batch,
    Case,
    assert_surroundings_kept,
    at_offset,
    bits,
    draw,
    each_case,
    each_dtype,
    each_loss,
    guarded,
    results_past_caches,
    run_verb,
)

import lossk
from lossk import _core
from lossk.optimizers import OPTIMIZERS

ODD_SIZES = (1, 2, 3, 5, 7, 8, 9, 13, 15, 17, 31, 33, 63, 65, 127, 129, 511, 513, 1025)
ENDS = ("start", "end")


def outputs(verb: str, z: Array, make: Callable[[Array], Array]) -> Any:
    """What to pass as `out`, from memory that `make` chooses."""
    if verb == "value":
        return None
    return (make(z), make(z)) if verb == "grad_and_hess" else make(z)


def run_into(loss: Any, verb: str, batch: Batch, out: Any, **options: Any) -> list[bytes]:
    extra = {} if verb == "value" else {"out": out}
    result = run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight, **options, **extra)
    return [bits(x) for x in result]


# ---- guard pages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize("access", ["read", "write"])
def test_the_guard_guards(at: str, access: str) -> None:
    """One element before or behind a guarded array kills the process: else every test below would prove nothing."""
    outside = {"start": "a.ctypes.data - 4", "end": "a.ctypes.data + a.nbytes"}[at]
    act = {"read": "ctypes.string_at(p, 4)", "write": "ctypes.memset(p, 0, 4)"}[access]
    code = (
        "import ctypes, sys, numpy as np\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from support import guarded\n"
        f"a = guarded(np.ones(7, np.float32), {at!r}); assert a.sum() == 7; p = {outside}; {act}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGSEGV, done.stderr


@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize("verb", VERBS)
@each_dtype
@each_case
def test_losses_stay_inside(case: Case, dtype: Any, verb: str, at: str, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    shapes = [(n,) for n in ODD_SIZES] if case.pointwise else [s for n in ODD_SIZES for s in ((n, 3), (3, n))]
    for shape in shapes:
        batch = draw(case, rng, shape, dtype, True)
        assert batch.weight is not None
        want = run_into(loss, verb, batch, outputs(verb, batch.z, np.zeros_like))
        z, target, weight = (guarded(np.asarray(a), at) for a in (batch.z, batch.target, batch.weight))
        for a in (z, target, weight):
            a.flags.writeable = False
        inside = Batch(z, target, weight)
        assert run_into(loss, verb, inside, outputs(verb, z, lambda a: guarded(np.zeros_like(a), at))) == want
        if verb != "value":  # in place
            z = guarded(batch.z, at)
            out = (z, guarded(batch.z, at)) if verb == "grad_and_hess" else z
            assert run_into(loss, verb, Batch(z, target, weight), out) == want


@pytest.mark.parametrize("at", ENDS)
@each_dtype
@each_case
def test_losses_stay_inside_across_chunks(case: Case, dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((16_385,), (40_001,)) if case.pointwise else ((2, 16_385), (1, 33_001), (8193, 2), (33, 1025)):
        batch = draw(case, rng, shape, dtype, True)
        z, target, weight = (guarded(np.asarray(a), at) for a in (batch.z, batch.target, batch.weight))
        for threads in (1, 3):
            want = run_into(loss, "value_and_grad", batch, np.zeros_like(batch.z))
            out = guarded(np.zeros_like(z), at)
            assert run_into(loss, "value_and_grad", Batch(z, target, weight), out, num_threads=threads) == want


@pytest.mark.parametrize("at", ENDS)
@each_dtype
def test_cross_entropy_options_stay_inside(dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    """Class weights, probabilities, label types, and the statistics' own arrays."""
    for classes in (1, 3, 7, 63, 65, 129, 513, 1025, 16_385):
        rows = 5
        z = guarded(rng.normal(size=(rows, classes)).astype(dtype), at)
        y = guarded(np.full((rows, classes), 1 / classes, dtype), at)
        loss = lossk.CrossEntropy(weight=rng.random(size=classes), label_smoothing=0.1)
        # The loss keeps its weights in arrays of its own: put them where a read past their end shows.
        inside = lossk.CrossEntropy(weight=loss.weight, label_smoothing=0.1)
        object.__setattr__(inside, "_weights", {k: guarded(v, at) for k, v in loss._weights.items()})
        for target in (
            y,
            *(guarded(rng.integers(0, min(classes, 100), size=rows).astype(i), at) for i in ("i1", "u2", "i8")),
        ):
            for verb in VERBS:
                got = run_verb(inside, verb, z, target, stats=True)
                want = run_verb(loss, verb, z.copy(), np.array(target), stats=True)
                assert [bits(x) for x in got] == [bits(x) for x in want]


@pytest.mark.parametrize("at", ENDS)
@each_dtype
def test_row_functions_stay_inside(dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    for n in (*ODD_SIZES, 16_385):
        for shape in ((3, n), (n, 3)):
            x = guarded(rng.normal(size=shape).astype(dtype), at)
            for function in (lossk.softmax, lossk.log_softmax):
                want = function(x.copy())
                out = guarded(np.zeros_like(x), at)
                assert bits(function(x, out=out)) == bits(want)
                own = guarded(x, at)
                assert bits(function(own, out=own)) == bits(want)
            assert bits(lossk.logsumexp(x)) == bits(lossk.logsumexp(x.copy()))


@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_stay_inside(name: str, dtype: str, at: str, isa: str, rng: np.random.Generator) -> None:
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    options = [OPTIMIZERS[name].variants[-1]]
    if dtype.endswith("16"):
        options += [{"master_weights": True}, {"stochastic_rounding": 1}]
    for option, n in itertools.product(options, (*ODD_SIZES, 16_385)):
        start, grad = rng.normal(size=n).astype(kind), rng.normal(size=n).astype(kind)
        plain, inside = start.copy(), guarded(start, at)
        ours, theirs = (OPTIMIZERS[name]([p], **option) for p in (inside, plain))
        theirs.step([grad], max_norm=1.0)
        ours.step([guarded(grad, at)], max_norm=1.0)
        ours._state, ours._plan = [[guarded(s, at) for s in own] for own in ours._state], None
        theirs.step([grad], max_norm=1.0)
        ours.step([guarded(grad, at)], max_norm=1.0)
        assert bits(inside) == bits(plain)
        assert [bits(s) for s in ours._state[0]] == [bits(s) for s in theirs._state[0]]
        clipped, clipped_inside = grad.copy(), guarded(grad, at)
        assert lossk.clip_grad_norm([clipped_inside], 0.5) == lossk.clip_grad_norm([clipped], 0.5)
        assert bits(clipped_inside) == bits(clipped)


@pytest.mark.parametrize("at", ENDS)
@each_dtype
def test_functions_and_sums_stay_inside(dtype: Any, at: str, isa: str) -> None:
    for n in ODD_SIZES:
        x, out = guarded(np.full(n, 0.5, dtype), at), guarded(np.zeros(n, dtype), at)
        for name in _core.functions():
            _core.function(name, x, out)
            assert (out == out[0]).all()
        assert _core.twin([x], [out], False, 1) is not None


@pytest.mark.parametrize("function", ["CrossEntropy", "softmax", "log_softmax"])
@each_dtype
def test_long_rows_past_the_caches_stay_inside(dtype: Any, function: str, isa: str, rng: np.random.Generator) -> None:
    """Rows of several blocks, whose last one ends before a cache line does, in it, or behind it; and of one block."""
    for classes in (1023, 1025, 1039, 2048, 2049, 2050, 2054, 2063, 2065, 3079, 3100):
        z, labels = rng.normal(size=(5, classes)).astype(dtype), np.array([0, classes - 1, -100, 1, 1024 % classes])

        def call(out: Array | None, z: Array = z, labels: Array = labels) -> Array:
            if function == "CrossEntropy":
                return lossk.CrossEntropy().grad(z, labels, out=out)
            result: Array = getattr(lossk, function)(z, out=out)
            return result

        want = call(None)
        for offset in range(64 // dtype.itemsize):
            out = at_offset(z, offset)
            with results_past_caches():
                call(out)
            assert bits(out) == bits(want), (classes, offset)
            assert_surroundings_kept(out)


# ---- alignment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("past", [False, True], ids=["cached", "streamed"])
@each_dtype
@each_loss
def test_every_alignment(case: Case, dtype: Any, past: bool, isa: str, rng: np.random.Generator) -> None:
    """The same bits, with weights and without, in the caches and past them, and nothing written around results."""
    loss = case.make()
    per_line = 64 // dtype.itemsize
    for shape in ((77,), (1091,)) if case.pointwise else ((9, 5), (3, 71), (2, 515)):
        weighted = draw(case, rng, shape, dtype, True)
        assert weighted.weight is not None
        for verb, batch in itertools.product(VERBS, (weighted, Batch(weighted.z, weighted.target, None))):
            want = run_into(loss, verb, batch, outputs(verb, batch.z, np.zeros_like))
            for offset in range(per_line):
                weight = None if batch.weight is None else at_offset(batch.weight, (offset * 3) % per_line)
                moved = Batch(at_offset(batch.z, offset), batch.target, weight)
                out = outputs(verb, batch.z, lambda a, offset=offset: at_offset(a, (offset * 5 + 1) % per_line))
                with results_past_caches() if past else contextlib.nullcontext():
                    assert run_into(loss, verb, moved, out) == want, (verb, offset)
                for written in () if out is None else out if isinstance(out, tuple) else (out,):
                    assert_surroundings_kept(written)
        if case.pointwise:
            moved = Batch(weighted.z, at_offset(weighted.target, 3), weighted.weight)
            assert run_into(loss, "value", moved, None) == run_into(loss, "value", weighted, None)


# ---- outputs that are refused -------------------------------------------------------------------------------------


def refused(loss: Any, verb: str, batch: Batch, out: Any, error: type[Exception], message: str) -> None:
    """The call raises, and neither inputs nor outputs have changed."""
    given = (batch.z, batch.target, batch.weight, *(out if isinstance(out, tuple) else (out,)))
    arrays = [a for a in given if isinstance(a, np.ndarray)]
    before = [bits(a) for a in arrays]
    with pytest.raises(error, match=message):
        run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight, out=out)
    assert [bits(a) for a in arrays] == before


@pytest.mark.parametrize("prepared", [False, True], ids=["kernel", "prepared"])
@pytest.mark.parametrize("verb", VERBS[1:])
@each_dtype
@each_loss
def test_wrong_out(case: Case, dtype: Any, verb: str, prepared: bool, rng: np.random.Generator) -> None:
    """Both ways to the kernels refuse: with arrays that kernels read as they are, and with some that must be copied."""
    loss = case.make()
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


@pytest.mark.parametrize("verb", VERBS[1:])
@each_dtype
@each_loss
def test_partial_overlap(case: Case, dtype: Any, verb: str, rng: np.random.Generator) -> None:
    loss = case.make()
    rows, columns = 6, 5
    batch = draw(case, rng, (rows, columns), dtype, True)
    n = rows * columns
    memory = np.zeros(3 * n, dtype)
    z = memory[n : 2 * n].reshape(rows, columns)
    z[...] = batch.z
    moved = Batch(z, batch.target, batch.weight)

    def both(out: Array, message: str, batch: Batch = moved) -> None:
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


def _head(batch: Batch, n: int) -> tuple[Array, Array | None]:
    return batch.target[:n], None if batch.weight is None else batch.weight[:n]


@pytest.mark.parametrize("verb", VERBS[1:])
@each_dtype
@each_loss
def test_out_over_target_or_weight(case: Case, dtype: Any, verb: str, rng: np.random.Generator) -> None:
    loss = case.make()
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
def test_out_over_the_class_weights(dtype: Any) -> None:
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
def test_results_are_fresh_memory(case: Case, dtype: Any, rng: np.random.Generator) -> None:
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


@each_loss
def test_subclasses_of_ndarray(case: Case, rng: np.random.Generator) -> None:
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


def test_large_results_reuse_the_pages_of_released_ones() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2000)).astype(np.float32)  # 4.8 MB: above smallest_pages
    first = lossk.softmax(z)
    expected, address = first.copy(), first.ctypes.data
    assert address % (2 << 20) == 0, "results with pages of their own start on a huge page"
    view = first[1:]
    del first
    assert lossk.softmax(z).ctypes.data != address, "a view still holds the pages"
    assert np.array_equal(view, expected[1:])
    del view
    addresses = {lossk.softmax(z).ctypes.data for _ in range(20)}
    assert len(addresses) <= 4
    again = lossk.softmax(z)
    assert np.array_equal(again, expected)
    again += 1  # writeable like any array
    assert np.array_equal(again, expected + 1)
