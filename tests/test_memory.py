"""Memory: nothing is touched outside arrays, at any alignment."""

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

ODD_SIZES = (1, 2, 3, 5, 7, 9, 15, 17, 31, 33, 63, 65, 129, 513, 1025)
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
        object.__setattr__(inside, "_weights", tuple(guarded(w, at) for w in loss._weights or ()))
        object.__setattr__(inside, "_bound", inside._bind())
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
    options = [OPTIMIZERS[name]._variants[-1]]
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
