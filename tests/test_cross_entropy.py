"""Softmax cross-entropy: every option, class count and special value of SEMANTICS.md; softmax and its relatives."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from support import (
    REDUCTIONS,
    TOLERANCE,
    VERBS,
    Array,
    Batch,
    assert_close,
    assert_matches_reference,
    bits,
    each_dtype,
    grad_atol,
    run_verb,
    value_atol,
)

import lossk

IGNORED = -100

# Around few_classes (64), row_block (512) and row_chunk (16384).
FEW = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64)
MANY = (65, 66, 100, 127, 128, 129, 511, 512, 513, 1000, 1023, 1024, 1025, 1537, 5003)
HUGE = (16383, 16384, 16385, 33000, 50257)

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class weights": {"weight": True},
    "smoothing": {"label_smoothing": 0.1},
    "smoothing and weights": {"label_smoothing": 0.25, "weight": True},
    "smoothing of all": {"label_smoothing": 1.0},
    "z_loss": {"z_loss": 0.01},
    "softcap": {"softcap": 6.0},
    "everything": {"label_smoothing": 0.3, "weight": True, "z_loss": 0.02, "softcap": 10.0},
}
each_option = pytest.mark.parametrize("option", OPTIONS)


def make(option: str, classes: int, rng: np.random.Generator) -> lossk.CrossEntropy:
    """Build the loss of an option; class weights hold a zero where there are several classes."""
    kwargs = dict(OPTIONS[option])
    if kwargs.get("weight"):
        weight = rng.uniform(0.25, 2.0, size=classes).astype(np.float32)  # exact in both dtypes
        weight[classes // 2 : classes // 2 + (classes > 3)] = 0
        kwargs["weight"] = weight
    return lossk.CrossEntropy(**kwargs)


def draw_labels(rng: np.random.Generator, rows: tuple[int, ...], classes: int, ignored: float = 0.2) -> Array:
    """Draw labels, a share of them ignored, but never all."""
    t = rng.integers(0, classes, size=rows)
    t[rng.random(size=rows) < ignored] = IGNORED
    t.reshape(-1)[0] = 0
    return t


def draw_probabilities(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Draw rows that sum to 1, with exact zeros."""
    y = rng.exponential(size=shape) * (rng.random(size=shape) < 0.7)
    y[..., 0] += 0.1
    return (y / y.sum(axis=-1, keepdims=True)).astype(dtype)


def draw_batch(rng: np.random.Generator, rows: int, classes: int, dtype: Any, weighted: bool = False) -> Batch:
    z = rng.normal(scale=3.0, size=(rows, classes)).astype(dtype)
    weight = rng.uniform(0.25, 2.0, size=rows).astype(dtype) if weighted else None
    return Batch(z, draw_labels(rng, (rows,), classes), weight)


def rows_for(classes: int) -> int:
    """So many rows that registers of rows are full, partly full and several, yet the whole is quick."""
    return 37 if classes <= 129 else 5 if classes <= 5003 else 2


# ---- every option, every class count ------------------------------------------------------------------------------


@each_option
@each_dtype
@pytest.mark.parametrize("counts", [FEW, MANY, HUGE], ids=["few", "many", "huge"])
def test_labels(counts: tuple[int, ...], dtype: Any, option: str, isa: str, rng: np.random.Generator) -> None:
    for classes in counts:
        batch = draw_batch(rng, rows_for(classes), classes, dtype, weighted=classes % 2 == 1)
        verbs = ("value", "value_and_grad", "grad_and_hess") if classes < 5000 else ("value_and_grad", "grad_and_hess")
        assert_matches_reference(make(option, classes, rng), batch, dtype, verbs, note=f"{option} {isa}")


@each_option
@each_dtype
def test_probabilities(dtype: Any, option: str, isa: str, rng: np.random.Generator) -> None:
    for classes in (1, 2, 3, 8, 10, 33, 64, 65, 100, 513, 1000, 1025, 16385):
        rows = min(rows_for(classes), 19)
        weight = rng.uniform(0.25, 2.0, size=rows).astype(dtype) if classes % 2 == 1 else None
        z = rng.normal(scale=3.0, size=(rows, classes)).astype(dtype)
        batch = Batch(z, draw_probabilities(rng, (rows, classes), dtype), weight)
        assert_matches_reference(
            make(option, classes, rng), batch, dtype, ("value_and_grad", "grad_and_hess"), note=isa
        )


@each_dtype
def test_row_counts(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Rows around the register widths and around the pieces that threads share out."""
    loss = lossk.CrossEntropy(label_smoothing=0.1)
    for rows in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65):
        for classes in (2, 7, 70):
            assert_matches_reference(loss, draw_batch(rng, rows, classes, dtype), dtype, ("value_and_grad",))
    for rows, classes in ((8191, 2), (8193, 2), (1639, 10), (257, 64), (253, 65), (33, 513)):
        assert_matches_reference(loss, draw_batch(rng, rows, classes, dtype), dtype, ("value_and_grad",))


@each_dtype
def test_few_classes_do_not_depend_on_place(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """A row's loss and gradient are what they are alone, over the logits, weighed by 1, or one by one: to the bit."""
    loss = lossk.CrossEntropy(ignore_index=IGNORED)
    for classes in FEW:
        z = rng.normal(scale=5.0, size=(71, classes)).astype(dtype)
        z[rng.random(size=z.shape) < 0.02] = -np.inf
        t = draw_labels(rng, (71,), classes)
        grad = loss.grad(z, t, reduction="sum")
        each, again = loss.value_and_grad(z, t, reduction="none")
        assert bits(again) == bits(grad), classes
        assert bits(loss.grad(z, t, reduction="sum", sample_weight=np.ones(71, dtype))) == bits(grad), classes
        for i in (0, 1, 31, 32, 70):
            own, own_grad = loss.value_and_grad(z[i : i + 1], t[i : i + 1], reduction="none")
            assert bits(own) == bits(each[i : i + 1]), (classes, i)
            assert bits(own_grad) == bits(grad[i : i + 1]), (classes, i)
        assert bits(loss.grad(z, t, reduction="sum", out=z)) == bits(grad), classes


def test_hand_checked_value() -> None:
    """The formulas of SEMANTICS.md, written out once more for three classes."""
    z = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0], [2.0, 2.0, 2.0]])
    t = np.array([2, 0, IGNORED])
    w, e, zl = np.array([0.5, 2.0, 3.0]), 0.3, 0.05
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    lse = np.log(np.exp(z).sum(axis=1))
    lp = z - lse[:, None]
    total, grad = 0.0, np.zeros_like(z)
    for i in (0, 1):
        total += (1 - e) * w[t[i]] * -lp[i, t[i]] + e / 3 * sum(w[c] * -lp[i, c] for c in range(3)) + zl * lse[i] ** 2
        for k in range(3):
            grad[i, k] = (1 - e) * w[t[i]] * (p[i, k] - (k == t[i])) + e / 3 * (p[i, k] * w.sum() - w[k])
            grad[i, k] += 2 * zl * lse[i] * p[i, k]
    divisor = w[2] + w[0]
    loss = lossk.CrossEntropy(weight=w, label_smoothing=e, z_loss=zl)
    value, got = loss.value_and_grad(z, t)
    assert value == pytest.approx(total / divisor, rel=1e-13)
    np.testing.assert_allclose(got, grad / divisor, rtol=1e-13, atol=1e-16)
    assert loss.reference(z, t) == pytest.approx(total / divisor, rel=1e-13)


def test_hand_checked_softcap() -> None:
    z, t = np.array([[4.0, -1.0, 0.5]]), np.array([1])
    capped = 2 * np.tanh(z / 2)
    want, got = lossk.CrossEntropy()(capped, t), lossk.CrossEntropy(softcap=2.0)(z, t)
    assert got == pytest.approx(want, rel=1e-14)


# ---- labels -------------------------------------------------------------------------------------------------------

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


def test_labels_must_be_integers_of_the_right_shape(rng: np.random.Generator) -> None:
    z, ce = rng.normal(size=(4, 3)), lossk.CrossEntropy()
    with pytest.raises(ValueError, match=r"target: got labels of shape \(3,\), wanted \(4,\)"):
        ce(z, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"target: got labels of shape \(4, 1\), wanted \(4,\)"):
        ce(z, np.zeros((4, 1), int))
    with pytest.raises(ValueError, match=r"target: got labels of shape \(4, 3\), wanted \(4,\)"):
        ce(z, np.zeros((4, 3), int))
    with pytest.raises((TypeError, ValueError), match=r"target: got .* of shape \(4,\), wanted .*integers"):
        ce(z, np.zeros(4))
    with pytest.raises(TypeError, match=r"target: got dtype bool"):
        ce(z, np.zeros(4, bool))
    with pytest.raises((TypeError, ValueError), match=r"target: got .*\(4, 2\)"):
        ce(z, np.zeros((4, 2)))


# ---- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan, np.inf, -1e-300])
def test_smoothing_outside_0_1_is_an_error(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing: got .*, wanted a number in \[0, 1\]"):
        lossk.CrossEntropy(label_smoothing=smoothing)


def test_ignore_index_and_probabilities_exclude_each_other(rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(4, 3)), draw_probabilities(rng, (4, 3), np.float64)
    for ignored in (0, 1, 255):
        with pytest.raises(ValueError, match=f"ignore_index: got {ignored}, wanted a negative one"):
            lossk.CrossEntropy(ignore_index=ignored)(z, y)
        with pytest.raises(ValueError, match=f"ignore_index: got {ignored}, wanted a negative one"):
            lossk.CrossEntropy(ignore_index=ignored)(z, y.tolist())
    assert np.isfinite(lossk.CrossEntropy(ignore_index=-7)(z, y))


def test_class_weights_need_one_weight_a_class(rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(4, 3)).astype(np.float32), np.zeros(4, int)
    for wrong in (np.ones(2), np.ones(4)):
        with pytest.raises(ValueError, match=r"weight: got shape .*, wanted \(3,\)"):
            lossk.CrossEntropy(weight=wrong)(z, t)
    with pytest.raises((TypeError, ValueError), match=r"weight: got .*\(1, 3\)"):
        lossk.CrossEntropy(weight=np.ones((1, 3)))
    # Later changes to the caller's array do not reach the loss.
    weight = np.array([1.0, 2.0, 3.0])
    loss = lossk.CrossEntropy(weight=weight)
    before = loss(z, t, reduction="sum")
    weight[:] = 100
    assert loss(z, t, reduction="sum") == before


# ---- axis, shapes, lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [True, False], ids=["labels", "probabilities"])
@each_dtype
def test_axis(dtype: Any, labels: bool, rng: np.random.Generator) -> None:
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


def test_bad_label_is_named_in_the_callers_axes() -> None:
    t = np.zeros((2, 4), int)
    t[1, 2] = 3
    with pytest.raises(IndexError, match=r"target\[1, 2\]: got 3, wanted a label in \[0, 3\)"):
        lossk.CrossEntropy()(np.zeros((2, 3, 4)), t, axis=1)


def test_one_row_without_leading_axes(rng: np.random.Generator) -> None:
    z = rng.normal(size=7)
    for t in (3, np.int8(3), np.array(3)):
        value, grad = lossk.CrossEntropy().value_and_grad(z, t)
        assert value == pytest.approx(np.log(np.exp(z).sum()) - z[3], rel=1e-13)
        assert grad.shape == (7,)
    assert lossk.CrossEntropy()(z, 3, reduction="none").shape == ()


def test_lists(rng: np.random.Generator) -> None:
    ce = lossk.CrossEntropy()
    assert ce([[2.0, 0.0]], [0]) == ce(np.array([[2.0, 0.0]]), np.array([0]))
    assert ce([[2, 0]], [[0, 1]]) == ce(np.array([[2.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert ce([[2, 0]], [[0.25, 0.75]]) == ce(np.array([[2.0, 0.0]]), np.array([[0.25, 0.75]]))


# ---- RowStats -----------------------------------------------------------------------------------------------------


def log_sum_exp(z: Array) -> Array:
    z = z.astype(np.float64)
    largest = z.max(axis=-1, keepdims=True)
    result: Array = (largest + np.log(np.exp(z - largest).sum(axis=-1, keepdims=True)))[..., 0]
    return result


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


# ---- special values -----------------------------------------------------------------------------------------------

# Few classes; many; several blocks; several chunks. In all of them classes 0, 1 and 2 exist.
SPECIAL_CLASSES = (3, 17, 64, 65, 700, 17_000)
each_count = pytest.mark.parametrize("classes", SPECIAL_CLASSES)


def rows_around(row: Array, dtype: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """The row among ordinary ones, so that a value that leaks into its neighbours shows. Row 1 is the special one."""
    z = rng.normal(size=(3, row.size)).astype(dtype)
    z[1] = row
    return z, np.zeros(3, int)


def run_rows(loss: lossk.CrossEntropy, z: Array, t: Array) -> tuple[Array, Array]:
    """Per-row losses and gradients; the neighbours must be what they are on their own."""
    value, grad = loss.value_and_grad(z, t, reduction="none")
    own_value, own_grad = loss.value_and_grad(z[[0, 2]], t[[0, 2]], reduction="none")
    np.testing.assert_allclose(value[[0, 2]], own_value, rtol=1e-6)
    np.testing.assert_allclose(grad[[0, 2]], own_grad, rtol=1e-5, atol=1e-7)
    in_place = z.copy()
    value_again, _ = loss.value_and_grad(in_place, t, reduction="none", out=in_place)
    np.testing.assert_array_equal(value_again, value)
    np.testing.assert_array_equal(in_place, grad)
    return value, grad


@each_count
@each_dtype
def test_minus_infinity_elsewhere(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    """Finite loss, gradient 0 there; with smoothing the loss is infinite and gradients stay finite."""
    row = rng.normal(size=classes).astype(dtype)
    for at in {1, 2, classes - 1}:
        z, t = rows_around(row, dtype, rng)
        z[1, at] = -np.inf
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        others = np.delete(z[1].astype(np.float64), at)
        want = log_sum_exp(others[None])[0] - float(z[1, 0])
        assert value[1] == pytest.approx(want, rel=1e-6)
        assert grad[1, at] == 0.0
        assert np.isfinite(grad).all()
        value, grad = run_rows(lossk.CrossEntropy(label_smoothing=0.1), z, t)
        assert value[1] == np.inf
        assert np.isfinite(grad).all()
        assert grad[1, at] == pytest.approx(-0.1 / classes, rel=1e-6)


@each_count
@each_dtype
def test_zero_times_infinity_is_zero(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    """A class of weight 0, or of probability 0, costs nothing even at -infinity."""
    z, t = rows_around(rng.normal(size=classes), dtype, rng)
    z[1, 2] = -np.inf
    weight = np.ones(classes)
    weight[2] = 0
    loss = lossk.CrossEntropy(weight=weight, label_smoothing=0.1)
    value, grad = run_rows(loss, z, t)
    assert_close(value, loss.reference(z, t, reduction="none"), 1e-6, 0, "weighted")
    assert np.isfinite(value).all()
    assert np.isfinite(grad).all()
    value, grad = run_rows(lossk.CrossEntropy(weight=weight), z, np.full_like(t, 2))
    assert not value.any(), "the label's own term"
    assert not grad.any(), "the label's own term"
    y = np.zeros((3, classes), dtype)
    y[:, 0] = 1
    value, grad = run_rows(lossk.CrossEntropy(), z, y)
    assert_close(value, lossk.CrossEntropy()(z, t, reduction="none"), 1e-6, 1e-7, "probabilities")
    assert np.isfinite(value).all()
    assert np.isfinite(grad).all()
    assert grad[1, 2] == 0


@each_count
@each_dtype
def test_minus_infinity_at_the_target(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    """Loss +infinity, gradient -1 at the target and the softmax elsewhere."""
    z, t = rows_around(rng.normal(size=classes), dtype, rng)
    for at in {0, 2, classes - 1}:
        t[1] = at
        z[1, at] = -np.inf
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == np.inf
        assert grad[1, at] == pytest.approx(-1, rel=float(np.finfo(dtype).eps))
        p = np.exp(z[1].astype(np.float64) - log_sum_exp(z[1][None])[0])
        p[at] = -1
        np.testing.assert_allclose(grad[1], p, rtol=1e-5, atol=1e-9)
        z[1, at] = 0.5
        assert (
            lossk.CrossEntropy()(np.where(np.arange(classes) == at, -np.inf, z).astype(dtype), np.full(3, at)) == np.inf
        )


@pytest.mark.parametrize("poison", ["all -inf", "+inf", "+inf at the target", "nan", "nan at the target", "both inf"])
@each_count
@each_dtype
def test_poisoned_rows_are_nan_and_only_they(
    dtype: Any, classes: int, poison: str, isa: str, rng: np.random.Generator
) -> None:
    row = rng.normal(size=classes).astype(dtype)
    if poison == "all -inf":
        row[:] = -np.inf
    elif poison == "both inf":
        row[[1, -1]] = -np.inf, np.inf
    else:
        row[0 if "target" in poison else -1] = np.inf if "inf" in poison else np.nan
    z, t = rows_around(row, dtype, rng)
    y = np.full((3, classes), 1 / classes, dtype)
    for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(label_smoothing=0.1, z_loss=1e-3)):
        for target in (t, y):
            value, grad = run_rows(loss, z, target)
            assert np.isnan(value[1])
            assert np.isnan(grad[1]).all()
            assert np.isnan(loss(z, target))
            _, hess = loss.grad_and_hess(z, target)
            assert np.isnan(hess[1]).all()
            assert np.isfinite(hess[[0, 2]]).all()
            _, want, _ = loss.reference(z, target, reduction="none", derivatives=True)
            assert np.isnan(want[1]).all(), "the reference agrees"


@each_count
@each_dtype
def test_huge_logits_do_not_overflow(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    for big in (1e4, 3.4e38, float(np.finfo(dtype).max)):
        row = np.zeros(classes, dtype)
        row[0] = big
        z, t = rows_around(row, dtype, rng)
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == 0.0
        assert not grad[1].any()
        t[1] = 1
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == dtype.type(big)
        assert lossk.CrossEntropy()(z[1:2], t[1:2]) == float(dtype.type(big))
        assert grad[1, 0] == 1.0
        assert grad[1, 1] == -1.0
        assert not grad[1, 2:].any()
        z[1] = -dtype.type(big)
        z[1, 1] = 0
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == 0.0
        assert not grad[1].any()
        z[1] = dtype.type(big)
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        np.testing.assert_allclose(value[1], np.log(classes), rtol=1e-6)
        np.testing.assert_allclose(grad[1, 2:], 1 / classes, rtol=1e-5)
        z[1] = -dtype.type(big)
        value, _ = run_rows(lossk.CrossEntropy(label_smoothing=0.5), z, t)
        np.testing.assert_allclose(value[1], np.log(classes), rtol=1e-6)
        np.testing.assert_array_equal(lossk.logsumexp(z)[1:2], [-dtype.type(big) + dtype.type(np.log(classes))])


@each_dtype
def test_leading_run_of_minus_infinity(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """A running maximum that starts at -infinity must not poison what follows."""
    for classes, run in itertools.product(
        (10, 64, 70, 600, 1300, 40_000), (1, 9, 63, 69, 512, 599, 1025, 17_000, 39_999)
    ):
        if run >= classes:
            continue
        z, t = rows_around(rng.normal(size=classes), dtype, rng)
        z[1, :run] = -np.inf
        t[:] = classes - 1
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        want = log_sum_exp(z[1:2, run:])[0] - float(z[1, -1])
        assert value[1] == pytest.approx(want, rel=1e-6, abs=1e-7)
        assert not grad[1, :run].any()
        assert np.isfinite(grad).all()
        np.testing.assert_allclose(lossk.logsumexp(z)[1], log_sum_exp(z[1:2, run:])[0], rtol=1e-6, atol=1e-6)


@each_count
@each_dtype
def test_ignored_rows_are_exactly_0_whatever_they_hold(
    dtype: Any, classes: int, isa: str, rng: np.random.Generator
) -> None:
    z = rng.normal(size=(9, classes)).astype(dtype)
    for i, poison in ((1, np.nan), (3, np.inf), (5, -np.inf), (7, np.finfo(dtype).max)):
        z[i] = poison
    t = np.zeros(9, int)
    t[1::2] = IGNORED
    weight = np.ones(9, dtype)
    weight[1::2] = np.nan
    for loss in (
        lossk.CrossEntropy(),
        lossk.CrossEntropy(label_smoothing=0.2, z_loss=0.1),
        lossk.CrossEntropy(softcap=5.0, weight=rng.uniform(0.5, 1, size=classes)),
    ):
        for reduction, sample_weight in itertools.product(REDUCTIONS, (None, weight)):
            arguments: dict[str, Any] = {"reduction": reduction, "sample_weight": sample_weight}
            value, grad = loss.value_and_grad(z, t, **arguments)
            _, hess = loss.grad_and_hess(z, t, **arguments)
            assert bits(grad[1::2]) == bits(np.zeros((4, classes), dtype)), "exact 0, not -0"
            assert bits(hess[1::2]) == bits(np.zeros((4, classes), dtype))
            assert np.isfinite(grad).all()
            own = None if sample_weight is None else weight[::2]
            want = loss(z[::2], t[::2], reduction=reduction, sample_weight=own)
            if reduction == "none":
                np.testing.assert_array_equal(value[1::2], 0.0)
                value = value[::2]
            np.testing.assert_allclose(value, want, rtol=1e-6)
            _, grad_of_stats, stats = loss.value_and_grad(z, t, stats=True, **arguments)
            assert bits(grad_of_stats[1::2]) == bits(grad[1::2])
            assert not stats.correct[1::2].any()


@each_count
@each_dtype
def test_all_rows_ignored(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(7, classes)).astype(dtype), np.full(7, IGNORED)
    for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(weight=np.ones(classes), label_smoothing=0.1)):
        for run in (loss.value_and_grad, lambda *a, loss=loss, **k: loss.reference(*a, derivatives=True, **k)[:2]):
            mean, grad = run(z, t)
            assert np.isnan(mean)
            np.testing.assert_array_equal(grad, 0.0)
            total, grad = run(z, t, reduction="sum")
            assert total == 0.0
            np.testing.assert_array_equal(grad, 0.0)
            each, grad = run(z, t, reduction="none")
            np.testing.assert_array_equal(each, np.zeros(7))
            np.testing.assert_array_equal(grad, 0.0)
        _, hess = loss.grad_and_hess(z, t)
        np.testing.assert_array_equal(hess, 0.0)


@each_count
@each_dtype
def test_all_weights_zero(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(5, classes)).astype(dtype), np.array([0, 0, IGNORED, 0, 0])
    weight = np.ones(classes)
    weight[0] = 0
    for loss, sample_weight in (
        (lossk.CrossEntropy(weight=weight), None),
        (lossk.CrossEntropy(), np.zeros(5, dtype)),
    ):
        value, grad = loss.value_and_grad(z, t, sample_weight=sample_weight)
        assert np.isnan(value)
        assert np.isnan(grad[[0, 1, 3, 4]]).all()
        np.testing.assert_array_equal(grad[2], 0.0)
        assert loss(z, t, sample_weight=sample_weight, reduction="sum") == 0.0
        np.testing.assert_array_equal(loss.grad(z, t, sample_weight=sample_weight, reduction="sum"), 0.0)
        want, want_grad, _ = loss.reference(z, t, sample_weight=sample_weight, derivatives=True)
        assert np.isnan(want)
        np.testing.assert_array_equal(np.isnan(want_grad), np.isnan(grad))


@each_dtype
def test_confident_predictions_keep_their_digits(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """p[t] - 1 and the loss are relatively accurate where p[t] is all but 1."""
    rtol = TOLERANCE[np.dtype(dtype)].grad
    for classes in (2, 5, 64, 65, 700, 17_000):
        for gap in (2.0, 10.0, 20.0, 40.0, 60.0):
            z, t = rows_around(rng.normal(size=classes), dtype, rng)
            for at in {0, 1, classes - 1}:
                row = np.where(np.arange(classes) == at, gap + 3, rng.normal(size=classes)).astype(dtype)
                z[1], t[1] = row, at
                d = row.astype(np.float64) - float(row[at])
                others = np.delete(np.exp(d), at).sum()
                value, grad = lossk.CrossEntropy().value_and_grad(z, t, reduction="none")
                _, hess = lossk.CrossEntropy().grad_and_hess(z, t, reduction="none")
                miss = others / (1 + others)
                np.testing.assert_allclose(grad[1, at], -miss, rtol=rtol, err_msg=f"{classes} {gap} {at}")
                np.testing.assert_allclose(hess[1, at], miss / (1 + others), rtol=rtol)
                np.testing.assert_allclose(value[1], np.log1p(others), rtol=rtol, err_msg=f"{classes} {gap} {at}")
                total = lossk.CrossEntropy()(z[1:2], t[1:2])
                np.testing.assert_allclose(total, np.log1p(others), rtol=rtol)


@each_dtype
def test_one_class(dtype: Any, isa: str) -> None:
    z = np.array([[3.0], [-700.0], [0.0], [np.finfo(dtype).max]], dtype)
    for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(label_smoothing=0.4)):
        for target in (np.zeros(4, int), np.ones((4, 1), dtype)):
            value, grad, stats = loss.value_and_grad(z, target, stats=True)
            assert value == 0.0
            # With smoothing the shares .6 and .4 are rounded before they are added.
            assert (np.abs(grad) <= (np.finfo(dtype).eps if loss.label_smoothing else 0.0)).all()
            np.testing.assert_array_equal(stats.lse, z[:, 0])
            assert stats.correct.all()
            np.testing.assert_array_equal(loss.grad_and_hess(z, target)[1], 0.0)
    np.testing.assert_array_equal(lossk.softmax(z), 1.0)
    np.testing.assert_array_equal(lossk.log_softmax(z), 0.0)


def test_no_class_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"z: got shape \(4, 0\), wanted at least one class"):
        lossk.CrossEntropy()(np.zeros((4, 0)), np.zeros(4, int))


@each_dtype
def test_softcap_saturates(dtype: Any, isa: str) -> None:
    """Logits far beyond the cap: finite loss, gradients 0."""
    for classes in (3, 100, 1100):
        z, t = np.zeros((2, classes), dtype), np.array([0, 1])
        z[:, 0] = np.finfo(dtype).max
        loss = lossk.CrossEntropy(softcap=20.0)
        value, grad = loss.value_and_grad(z, t, reduction="none")
        total = np.exp(20.0) + classes - 1
        np.testing.assert_allclose(value, [np.log1p((classes - 1) * np.exp(-20.0)), np.log(total)], rtol=2e-5)
        np.testing.assert_array_equal(grad[:, 0], 0.0)
        assert grad[1, 1] == pytest.approx(1 / total - 1, rel=1e-6)


@each_dtype
def test_softcap_of_infinities(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """tanh(infinity) is 1: capped logits are finite, wherever the infinities lie."""
    loss, tolerance = lossk.CrossEntropy(softcap=5.0), TOLERANCE[np.dtype(dtype)]
    for classes in (3, 64, 70, 600, 1300, 20_000, 40_000):
        for sign, run in itertools.product((-1, 1), (1, classes // 2, classes - 1, classes)):
            for at_the_end in (False, True):
                z, t = rows_around(rng.normal(size=classes), dtype, rng)
                z[1, classes - run if at_the_end else 0 :][:run] = sign * np.inf
                value, grad = run_rows(loss, z, t)
                want, want_grad, _ = loss.reference(z, t, reduction="none", derivatives=True)
                assert np.isfinite(want).all()
                assert_close(value, want, tolerance.value, value_atol(loss, dtype), f"{classes} {sign} {run}")
                assert_close(grad, want_grad, tolerance.grad, grad_atol(loss, dtype), f"{classes} {sign} {run}")


# ---- softmax, log_softmax, logsumexp ------------------------------------------------------------------------------


def softmax64(x: Array) -> Array:
    result: Array = np.exp(x.astype(np.float64) - log_sum_exp(x)[..., None])
    return result


@each_dtype
def test_row_functions(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    tolerance = TOLERANCE[np.dtype(dtype)]
    for classes in (*FEW, *MANY, 16385, 33000):
        x = rng.normal(scale=5.0, size=(rows_for(classes), classes)).astype(dtype)
        lse = log_sum_exp(x)
        assert_close(lossk.softmax(x), softmax64(x), tolerance.grad, 0, f"softmax of {classes}")
        # x - max - log(sum): roundings of numbers as large as the logits
        atol = float(4 * np.finfo(dtype).eps * np.abs(x).max())
        assert_close(lossk.log_softmax(x), x.astype(np.float64) - lse[:, None], 0, atol, f"log_softmax of {classes}")
        assert_close(lossk.logsumexp(x), lse, 0, atol, f"logsumexp of {classes}")
        assert lossk.softmax(x).dtype == lossk.log_softmax(x).dtype == lossk.logsumexp(x).dtype == dtype


@each_dtype
def test_row_functions_on_any_axis_into_any_output(dtype: Any, rng: np.random.Generator) -> None:
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


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
@each_dtype
def test_row_function_in_place_large(dtype: Any, function: str, isa: str, rng: np.random.Generator) -> None:
    for shape in ((1000, 7), (3, 700), (2, 40_000)):
        x = rng.normal(size=shape).astype(dtype)
        want = getattr(lossk, function)(x)
        assert getattr(lossk, function)(x, out=x) is x
        assert bits(x) == bits(want)


@each_count
@each_dtype
def test_row_functions_of_special_values(dtype: Any, classes: int, isa: str) -> None:
    rows: dict[str, Array] = {}
    for name, at_0, elsewhere in (
        ("all -inf", -np.inf, -np.inf),
        ("one +inf", np.inf, 0.0),
        ("one nan", np.nan, 0.0),
        ("one finite", 2.0, -np.inf),
        ("huge", 1e4, -1e4),
        ("largest", 3.4e38, -3.4e38),
        ("all largest", 3.4e38, 3.4e38),
    ):
        row = np.full(classes, elsewhere, dtype)
        row[0] = at_0
        rows[name] = row
    x = np.array(list(rows.values()), dtype)
    p, lp, lse = (dict(zip(rows, f(x), strict=True)) for f in (lossk.softmax, lossk.log_softmax, lossk.logsumexp))
    for name in ("all -inf", "one +inf", "one nan"):
        assert np.isnan(p[name]).all(), name
        assert np.isnan(lp[name]).all(), name
    assert lse["all -inf"] == -np.inf
    assert np.isnan(lse["one nan"])
    assert lse["one +inf"] == np.inf or np.isnan(lse["one +inf"])
    for name in ("one finite", "huge", "largest"):
        assert p[name][0] == 1.0, name
        assert not p[name][1:].any(), name
        assert lp[name][0] == 0.0, name
        assert lse[name] == rows[name][0], name
    assert (lp["one finite"][1:] == -np.inf).all()
    assert (lp["huge"][1:] == -2e4).all()
    np.testing.assert_allclose(p["all largest"], 1 / classes, rtol=1e-6)
    np.testing.assert_allclose(lp["all largest"], -np.log(classes), rtol=1e-6)


def test_row_functions_empty_and_wrong() -> None:
    for function in (lossk.softmax, lossk.log_softmax):
        assert function(np.zeros((0, 3))).shape == (0, 3)
        with pytest.raises(ValueError, match=r"got a 0-dimensional array"):
            function(np.array(1.0))
        with pytest.raises(TypeError, match=r"x: got dtype int64"):
            function(np.zeros(3, np.int64))
        with pytest.raises(TypeError, match=r"out: got dtype float32, wanted float64"):
            function(np.zeros(3), out=np.zeros(3, np.float32))
        x = np.zeros(10)
        with pytest.raises(ValueError, match=r"out: got memory that overlaps"):
            function(x[:-1], out=x[1:])
    assert lossk.logsumexp(np.zeros((0, 3))).shape == (0,)


CHANGING = """
import ctypes, mmap, os, sys, threading, time
import numpy as np
import lossk
weighted, rows, classes = sys.argv[1] == "weighted", 16_384, 3
size, libc = rows * 8, ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
start = libc.mmap(None, size + mmap.PAGESIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
libc.mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0)  # behind the labels nothing can be read
t = np.ctypeslib.as_array((ctypes.c_int64 * rows).from_address(start))
t[:] = 0

def change():
    while True:
        t[-1 if not weighted else slice(None, None, 7)] = 1 << 40
        t[:] = 0

threading.Thread(target=change, daemon=True).start()
loss = lossk.CrossEntropy(weight=np.ones(classes) if weighted else None)
z, end, calls = np.zeros((rows, classes), np.float32), time.monotonic() + 1.5, 0
while time.monotonic() < end:
    try:
        loss(z, t, num_threads=1)
    except IndexError:
        pass
    calls += 1
print(calls, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["plain", "weighted"])
def test_labels_that_another_thread_changes_do_no_harm(how: str) -> None:
    """Any result or IndexError will do; a crash would not."""
    done = subprocess.run([sys.executable, "-c", CHANGING, how], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


@pytest.mark.parametrize("classes", [2, 3, 10, 64, 100])
def test_losses_as_large_as_numbers_have_a_finite_mean(classes: int, isa: str) -> None:
    z = np.zeros((600, classes), np.float32)
    z[:, 1] = -3e38
    assert lossk.CrossEntropy()(z, np.ones(600, int)) == pytest.approx(3e38, rel=1e-6)


def test_few_rows_add_up_alike_with_any_number_of_threads(rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(130, 32_768)).astype(np.float32), rng.integers(0, 32_768, 130)
    values = {lossk.CrossEntropy()(z, t, num_threads=n) for n in (1, 2, 64, 130)}
    assert len(values) == 1


def test_bfloat16_probabilities_have_no_label_to_ignore() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")
    y = np.full((2, 4), 0.25, ml_dtypes.bfloat16)
    with pytest.raises(ValueError, match=r"ignore_index: got 2, wanted a negative one"):
        lossk.CrossEntropy(ignore_index=2)(np.zeros((2, 4), ml_dtypes.bfloat16), y)
