"""Guarded memory: losses touch nothing outside their arrays, whatever their size, type and options."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np

import lossk
from lossk import _core
from tests.support.arrays import bits, each_dtype, in_turn
from tests.support.cases import VERBS, Batch, Case, draw, draw_gaussian, each_case, each_loss
from tests.support.memory import ENDS, ODD_SIZES, guarded, outputs, run_into
from tests.support.narrow import each_narrow, narrow_batch
from tests.support.sources import ROOT

OUTSIDE = """
import ctypes, os, signal
import numpy as np
from tests.support.memory import guarded

for at, outside in (("start", lambda a: a.ctypes.data - 4), ("end", lambda a: a.ctypes.data + a.nbytes)):
    for access in (lambda p: ctypes.string_at(p, 4), lambda p: ctypes.memset(p, 0, 4)):
        a = guarded(np.ones(7, np.float32), at)
        assert a.sum() == 7
        child = os.fork()
        if child == 0:
            access(outside(a))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV)
"""


def test_the_guard_ends_a_process_that_leaves_the_array() -> None:
    """Reading or writing one element before or behind a guarded array: else every test below would prove nothing."""
    done = subprocess.run([sys.executable, "-c", OUTSIDE], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True"] * 4, done.stderr


@in_turn("at", ENDS)
@each_dtype
@each_case
def test_losses_stay_inside_their_arrays(case: Case, dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in [(n,) for n in ODD_SIZES] if case.pointwise else [s for n in ODD_SIZES for s in ((n, 3), (3, n))]:
        batch = draw(case, rng, shape, dtype, True)
        z, target, weight = (guarded(np.asarray(a), at) for a in (batch.z, batch.target, batch.weight))
        own, out = guarded(batch.z, at), (guarded(batch.z, at), guarded(batch.z, at))
        for a in (z, target, weight):
            a.flags.writeable = False
        for verb in VERBS:
            want = run_into(loss, verb, batch, outputs(verb, batch.z, np.zeros_like))
            into = out if verb == "grad_and_hess" else out[0]
            assert run_into(loss, verb, Batch(z, target, weight), into) == want, verb
            if verb != "value":  # in place
                own[...] = batch.z
                into = (own, out[1]) if verb == "grad_and_hess" else own
                assert run_into(loss, verb, Batch(own, target, weight), into) == want, verb


@in_turn("at", ENDS)
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


@in_turn("at", ENDS)
@each_dtype
def test_functions_and_sums_stay_inside(dtype: Any, at: str, isa: str) -> None:
    for n in ODD_SIZES:
        x, out = guarded(np.full(n, 0.5, dtype), at), guarded(np.zeros(n, dtype), at)
        for name in _core.functions():
            _core.function(name, x, out)
            assert (out == out[0]).all()
        assert _core.twin([x], [out], False, 1) is not None


@each_narrow
@each_loss
@in_turn("end", ["start", "end"])
def test_losses_of_16_bits_stay_inside(isa: str, case: Case, dtype: Any, end: str) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 5, 15, 17, 31, 513):
        z, target, _ = narrow_batch(case, rng, n, dtype, False)
        out = guarded(z, end)
        case.make().value_and_grad(guarded(z, end), guarded(target, end), out=out)


def test_a_repeated_variance_is_not_read_past_its_end(isa: str, rng: np.random.Generator) -> None:
    for columns in (1, 3, 70, 1001):
        z, y, var = draw_gaussian(rng, (29, columns), np.float32)
        row = guarded(var[0])
        want = lossk.GaussianNLL().grad(z, y, np.broadcast_to(row, z.shape).copy())
        assert bits(lossk.GaussianNLL().grad(z, y, row)) == bits(want)
