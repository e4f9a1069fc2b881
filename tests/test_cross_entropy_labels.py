"""Labels of cross-entropy: every integer type, bad ones and changing ones; and what RowStats says of rows."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from support import TOLERANCE, VERBS, Batch, assert_close, assert_matches_reference, bits, each_dtype, run_verb
from support_rows import IGNORED, draw_labels, draw_probabilities, log_sum_exp

import lossk
from lossk.losses import LOSSES

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "q", "Q", ">i4", ">u2", "intp")


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("classes", [5, 100])
def test_labels_of_every_integer_type(classes: int, integer: str, isa: str, rng: np.random.Generator) -> None:
    z = rng.normal(size=(40, classes))
    t = rng.integers(0, classes, size=40)
    signed = np.dtype(integer).kind == "i"
    ignored = -1 if signed else 3  # unsigned labels can only ignore a class
    t[[0, 7]] = ignored
    loss = lossk.CrossEntropy(ignore_index=ignored)
    value, grad = loss.value_and_grad(z, t.astype(integer))
    want, want_grad = loss.value_and_grad(z, t)
    assert value == want == pytest.approx(loss.reference(z, t), rel=1e-13)
    assert bits(grad) == bits(want_grad)
    assert not grad[[0, 7]].any()
    assert grad[t != ignored].any(axis=1).all()


@pytest.mark.parametrize("classes", [3, 100])
def test_ignore_index_may_be_a_class(classes: int, isa: str, rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(50, classes)), rng.integers(0, classes, size=50)
    t[:20] = 1
    weight = rng.uniform(size=classes)
    loss = lossk.CrossEntropy(ignore_index=1, weight=weight)
    assert_matches_reference(loss, Batch(z, t, None), np.float64)
    chosen = t != 1
    plain = lossk.CrossEntropy(weight=weight)
    assert loss(z, t) == pytest.approx(plain(z[chosen], t[chosen]), rel=1e-14)
    # Some other negative number is then an error.
    t[3] = -100
    with pytest.raises(IndexError, match=r"target\[3\]: got -100"):
        loss(z, t)


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


@pytest.mark.parametrize(("integer", "bad"), LABELS_OUT_OF_RANGE)
@pytest.mark.parametrize("verb", VERBS)
def test_label_out_of_range_names_row_and_value_and_writes_nothing(
    verb: str, integer: str, bad: int, isa: str, rng: np.random.Generator
) -> None:
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
def test_the_first_bad_label_of_many_is_named(dtype: Any, rng: np.random.Generator) -> None:
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


@each_dtype
def test_bad_label_with_strided_out(dtype: Any) -> None:
    memory = np.full((6, 10), 7, dtype)
    out = memory[:, ::2]
    with pytest.raises(IndexError, match=r"target\[4\]: got 5"):
        lossk.CrossEntropy().grad(np.zeros((6, 5), dtype), np.array([0, 1, 2, 3, 5, 9]), out=out)
    assert (memory == 7).all()


def test_bad_label_is_named_in_the_callers_axes() -> None:
    t = np.zeros((2, 4), int)
    t[1, 2] = 3
    with pytest.raises(IndexError, match=r"target\[1, 2\]: got 3, wanted a label in \[0, 3\)"):
        lossk.CrossEntropy()(np.zeros((2, 3, 4)), t, axis=1)


def test_labels_must_be_integers_of_the_right_shape(rng: np.random.Generator) -> None:
    z, ce = rng.normal(size=(4, 3)), lossk.CrossEntropy()
    with pytest.raises(ValueError, match=r"target: got int64 of shape \(3,\), wanted integer labels of shape \(4,\)"):
        ce(z, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"target: got int64 of shape \(4, 1\), .*: target\.ravel\(\)$"):
        ce(z, np.zeros((4, 1), int))
    with pytest.raises(ValueError, match=r"target: got int64 of shape \(4, 3\), .*: target\.argmax\(-1\)"):
        ce(z, np.zeros((4, 3), int))
    with pytest.raises(ValueError, match=r"target\[1\]: got 0.5, wanted an integer"):
        ce(z, np.array([0.0, 0.5, 1.0, 2.0]))
    with pytest.raises(TypeError, match=r"target: got dtype bool"):
        ce(z, np.zeros(4, bool))
    with pytest.raises(
        ValueError, match=r"target: got float64 of shape \(4, 2\), wanted .* probabilities of shape \(4, 3\)$"
    ):
        ce(z, np.zeros((4, 2)))


CHANGING = """
import ctypes, mmap, os, sys, threading, time
import numpy as np
import lossk
from lossk.losses import LOSSES
how, kind, rows, classes = sys.argv[1], np.dtype(sys.argv[2]), 16_384, 3
weighted = how == "weighted"
size, libc = rows * kind.itemsize, ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
start = libc.mmap(None, size + mmap.PAGESIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
libc.mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0)  # behind the labels nothing can be read
t = np.frombuffer((ctypes.c_char * size).from_address(start), kind)
t[:] = 0
bad = np.iinfo(kind).max

def change():
    while True:
        t[-1 if not weighted else slice(None, None, 7)] = bad
        t[:] = 0

threading.Thread(target=change, daemon=True).start()
loss = {
    "plain": lossk.CrossEntropy(),
    "weighted": lossk.CrossEntropy(weight=np.ones(classes)),
    "MultiMargin": lossk.MultiMargin(),
    "NLL": lossk.NLL(ignore_index=None),
}[how]
z, end, calls = np.zeros((rows, classes), np.float32), time.monotonic() + 0.8, 0
while time.monotonic() < end:
    try:
        loss(z, t, num_threads=1)
    except IndexError:
        pass
    calls += 1
print(calls, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["i8", "i1"])
@pytest.mark.parametrize("how", ["plain", "weighted", "MultiMargin", "NLL"])
def test_labels_that_another_thread_changes_do_no_harm(how: str, kind: str) -> None:
    """Any result or IndexError will do; a crash would not."""
    done = subprocess.run([sys.executable, "-c", CHANGING, how, kind], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


# ---- RowStats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("verb", VERBS)
@each_dtype
def test_stats(dtype: Any, verb: str, softcap: float | None, isa: str, rng: np.random.Generator) -> None:
    loss = lossk.CrossEntropy(softcap=softcap)
    for classes in (1, 2, 10, 64, 65, 512, 513, 1025, 2050, 16385, 33000):
        rows = 23 if classes < 5000 else 6
        z = rng.normal(scale=4.0, size=(rows, classes)).astype(dtype)
        t = draw_labels(rng, (rows,), classes)
        largest = z.argmax(axis=1)
        t[::2] = largest[::2]
        t[1] = IGNORED
        result = run_verb(loss, verb, z, t, stats=True)
        stats = result[-1]
        assert isinstance(stats, lossk.RowStats)
        assert stats.lse.dtype == dtype
        assert stats.correct.dtype == np.bool_
        assert stats.lse.shape == stats.correct.shape == (rows,)
        capped = z if softcap is None else softcap * np.tanh(z.astype(np.float64) / softcap)
        rtol = TOLERANCE[np.dtype(dtype)].value
        assert_close(stats.lse, log_sum_exp(capped), rtol, rtol, f"lse of {classes} classes")
        np.testing.assert_array_equal(stats.correct, t == largest, err_msg=f"{classes} classes")
        plain = run_verb(loss, verb, z, t)
        assert [bits(x) for x in result[:-1]] == [bits(x) for x in plain], "stats change nothing else"


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("classes", [3, 64, 65, 600, 1100, 40_000])
@each_dtype
def test_stats_break_ties_as_argmax_does(
    dtype: Any, classes: int, softcap: float | None, isa: str, rng: np.random.Generator
) -> None:
    rows = 60 if classes < 5000 else 8
    z = rng.integers(0, 3, size=(rows, classes)).astype(dtype)
    z[0] = 0
    z[1] = -np.inf
    z[1, classes // 2] = z[1, -1] = 1
    first = z.argmax(axis=1)
    last = classes - 1 - z[:, ::-1].argmax(axis=1)
    loss = lossk.CrossEntropy(softcap=softcap)
    _, stats = loss(z, first, stats=True)
    assert stats.correct.all()
    _, stats = loss(z, last, stats=True)
    np.testing.assert_array_equal(stats.correct, first == last)


def test_stats_of_rows_with_nan_or_alone_infinite(isa: str) -> None:
    for classes in (4, 100, 1100):
        z = np.zeros((4, classes), np.float32)
        z[0, 2] = np.nan
        z[1] = -np.inf
        z[2, 1] = np.inf
        z[3, 3] = 2
        _, stats = lossk.CrossEntropy()(z, np.array([2, 0, 1, 3]), stats=True)
        assert not stats.correct[0]
        assert stats.correct[3]
        assert np.isnan(stats.lse[0])
        assert stats.lse[1] == -np.inf


@each_dtype
def test_stats_with_probabilities(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """The label is then the first largest probability."""
    for classes in (2, 10, 64, 65, 600, 20_000):
        rows = 30 if classes < 5000 else 5
        z = rng.normal(size=(rows, classes)).astype(dtype)
        y = draw_probabilities(rng, z.shape, dtype)
        y[::2] = lossk.softmax(4 * z[::2])
        _, grad, stats = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(z, y, stats=True)
        assert grad.shape == z.shape
        rtol = TOLERANCE[np.dtype(dtype)].value
        assert_close(stats.lse, log_sum_exp(z), rtol, rtol, "lse")
        np.testing.assert_array_equal(stats.correct, z.argmax(axis=1) == y.argmax(axis=1), err_msg=f"{classes} classes")


@each_dtype
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"softcap": 5.0}, {"z_loss": 1e-3}], ids=str)
def test_rows_with_nan_probabilities_are_never_correct(dtype: Any, options: dict[str, float], isa: str) -> None:
    for classes in (2, 10, 64, 65, 1100, 20_000):
        predicted = sorted({0, classes // 2, classes - 1})
        z = np.zeros((len(predicted), classes), dtype)
        z[range(len(predicted)), predicted] = 3
        y = lossk.softmax(z)
        for at in range(0, classes, max(1, classes // 7)):
            holed = y.copy()
            holed[:, at] = np.nan
            for target, wanted in ((y, True), (holed, False)):
                loss, stats = lossk.CrossEntropy(**options)(z, target, reduction="none", stats=True)
                assert (np.isnan(loss) == (not wanted)).all()
                assert (stats.correct == wanted).all(), f"{classes} classes, NaN at {at}"


# ---- no label is ignored ------------------------------------------------------------------------------------------

IGNORING = (lossk.CrossEntropy, lossk.NLL, lossk.LinearCrossEntropy)


@pytest.mark.parametrize("cls", IGNORING, ids=lambda cls: cls.__name__)
def test_none_ignores_no_label(cls: Any, isa: str, rng: np.random.Generator) -> None:
    loss, usual = cls(ignore_index=None), cls()
    z, w = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)
    arrays = (z, w) if cls is lossk.LinearCrossEntropy else (z,)
    t = np.array([0, 3, 2, 1, 0])
    for verb in ("__call__", "reference"):
        assert getattr(loss, verb)(*arrays, t) == getattr(usual, verb)(*arrays, t)
    assert loss.value_and_grad(*arrays, t)[0] == usual.value_and_grad(*arrays, t)[0]
    assert bits(loss(*arrays, t, stats=True)[1].lse) == bits(usual(*arrays, t, stats=True)[1].lse)
    for bad in (-100, -1, -(2**63), 7):
        t[3] = bad
        for call in (loss, loss.grad):
            with pytest.raises(IndexError, match=rf"target\[3\]: got {bad}, wanted a label in \[0, \d\)$"):
                call(*arrays, t)
    assert "ignore_index=None" in repr(loss)
    assert pickle.loads(pickle.dumps(loss)) == loss != usual


def test_every_loss_that_ignores_labels_is_tried_with_none() -> None:
    assert {cls for cls in LOSSES.values() if "ignore_index" in vars(cls)} < set(IGNORING)


def test_none_goes_with_probabilities(rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4), size=5)
    assert lossk.CrossEntropy(ignore_index=None)(z, y) == lossk.CrossEntropy()(z, y)
