"""Labels out of range: named with their row, before anything is written; labels that change meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import bits, each_dtype
from tests.support.cases import VERBS, run_verb
from tests.support.processes import python
from tests.support.rows import draw_rows, each_labelled

LABELS_OUT_OF_RANGE: list[tuple[str, int]] = [
    ("i8", 5),
    ("i8", -1),
    ("i8", -101),
    ("i8", 2**62),
    ("i8", -(2**63)),
    ("u8", 2**63),
    ("u8", 2**64 - 1),
    ("u8", 2**64 - 100),  # the bits of -100
    ("u8", 5),
    ("i1", -128),
    ("i1", 127),
    ("u1", 156),  # the bits of -100
    ("u1", 255),
    ("u2", 65436),
    ("u4", 2**32 - 100),
    ("i4", -(2**31)),
    ("i4", 2**31 - 1),
]


CHANGING = """
import ctypes, mmap, os, sys, threading, time
import numpy as np
import lossk
from lossk.losses import LOSSES
kind, rows, classes = np.dtype(sys.argv[1]), 16_384, 3
size, libc = rows * kind.itemsize, ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
start = libc.mmap(None, size + mmap.PAGESIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
libc.mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0)  # behind the labels nothing can be read
t = np.frombuffer((ctypes.c_char * size).from_address(start), kind)
t[:] = 0
bad, which = np.iinfo(kind).max, -1

def change():
    while True:
        t[which] = bad
        t[:] = 0

threading.Thread(target=change, daemon=True).start()
z = np.zeros((rows, classes), np.float32)
weighted = lossk.CrossEntropy(weight=np.ones(classes))
for loss in (lossk.CrossEntropy(), weighted, lossk.MultiMargin(), lossk.NLL(ignore_index=None)):
    which = slice(None, None, 7) if loss is weighted else -1
    end, calls = time.monotonic() + 0.4, 0
    while time.monotonic() < end:
        try:
            loss(z, t, num_threads=1)
        except IndexError:
            pass
        calls += 1
    print(loss, calls, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("integer", "bad"), LABELS_OUT_OF_RANGE)
def test_a_label_out_of_range_is_named_and_nothing_written(
    integer: str, bad: int, isa: str, rng: np.random.Generator
) -> None:
    for verb in VERBS:
        loss = lossk.CrossEntropy()
        for at, rows in ((0, 1), (13, 40), (39, 40)):
            z, t = rng.normal(size=(rows, 5)), np.zeros(rows, integer)
            t[at] = bad
            message = rf"target\[{at}\]: got {bad}, wanted a label in \[0, 5\) or ignore_index \(-100\)"
            before = z.copy()
            with pytest.raises(IndexError, match=message):
                run_verb(loss, verb, z, t)
            if verb == "value":
                continue
            out = np.full_like(z, 7)
            pair: Any = (out, np.full_like(z, 7)) if verb == "grad_and_hess" else out
            with pytest.raises(IndexError, match=message):
                run_verb(loss, verb, z, t, out=pair)
            assert (out == 7).all()
            in_place: Any = (z, np.full_like(z, 7)) if verb == "grad_and_hess" else z
            with pytest.raises(IndexError, match=message):
                run_verb(loss, verb, z, t, out=in_place)
            np.testing.assert_array_equal(z, before)


@each_dtype
def test_the_first_bad_label_of_many_is_named(dtype: Any) -> None:
    """Also past the chunks in which threads check labels, and when other axes lead."""
    z, t = np.zeros((50_000, 2), dtype), np.zeros(50_000, np.int16)
    t[[49_999, 33_333, 40_000]] = 9
    for threads in (1, 2, 7):
        with pytest.raises(IndexError, match=r"target\[33333\]: got 9, wanted a label in \[0, 2\)"):
            lossk.CrossEntropy().grad(z, t, out=z, num_threads=threads)
    assert not z.any()
    labels = np.zeros((4, 3, 5), int)
    labels[2, 1, 3] = labels[3, 0, 0] = -1
    with pytest.raises(IndexError, match=r"target\[2, 1, 3\]: got -1"):
        lossk.CrossEntropy()(np.zeros((4, 3, 5, 6), dtype), labels)
    with pytest.raises(IndexError, match=r"target\[2, 1, 3\]: got -1"):
        lossk.CrossEntropy()(np.zeros((4, 6, 3, 5), dtype), labels, axis=1)


@each_dtype
def test_a_bad_label_leaves_a_strided_output_alone(dtype: Any) -> None:
    memory = np.full((6, 10), 7, dtype)
    out = memory[:, ::2]
    with pytest.raises(IndexError, match=r"target\[4\]: got 5"):
        lossk.CrossEntropy().grad(np.zeros((6, 5), dtype), np.array([0, 1, 2, 3, 5, 9]), out=out)
    assert (memory == 7).all()


@pytest.mark.parametrize("kind", ["i8", "i1"])
def test_labels_that_another_thread_changes_do_no_harm(kind: str) -> None:
    """Any result or IndexError will do; a crash would not."""
    done = python(CHANGING, kind)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert len(done.stdout.splitlines()) == 4


@each_labelled
def test_labels_out_of_range_of_other_losses_are_named(
    name: str, kwargs: dict[str, Any], isa: str, rng: np.random.Generator
) -> None:
    loss = getattr(lossk, name)(**kwargs)
    batch = draw_rows(name, rng, (3, 4, 5), np.float64)
    for bad in (5, -1, 2**40, -(2**63)):
        t = batch.target.copy()
        t[1, 2] = bad
        z, out = batch.z.copy(), np.full_like(batch.z, 7.0)
        with pytest.raises(IndexError, match=rf"target\[1, 2\]: got {bad}, wanted a label in \[0, 5\)"):
            loss.value_and_grad(z, t, out=out)
        with pytest.raises(IndexError, match=r"target\[1, 2\]"):
            loss.grad(z, t, out=z, stats=True)
        assert bits(out) == bits(np.full_like(out, 7.0))
        assert bits(z) == bits(batch.z)
        assert batch.target.shape == loss(batch.z, batch.target, reduction="none").shape


@pytest.mark.parametrize("kind", ["i8", "i4", "i2", "i1"])
def test_without_an_ignore_index_every_negative_label_is_refused(kind: str, isa: str) -> None:
    lowest = np.iinfo(kind).min
    for loss in (lossk.NLL(ignore_index=None), lossk.MultiMargin()):
        for bad in (-100, -1, lowest):
            t = np.array([0, 1, bad, 2], kind)
            with pytest.raises(IndexError, match=rf"target\[2\]: got {bad}, wanted a label in \[0, 3\)$"):
                loss(np.zeros((4, 3)), t)
