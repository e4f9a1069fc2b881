"""Labels: every integer type, integers given as floats, those that are ignored, advice on what is no label."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.losses import LOSSES
from tests.support.arrays import bits
from tests.support.cases import Batch
from tests.support.rows import LABEL_LOSSES, LOGITS
from tests.support.tolerances import assert_matches_reference

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "q", "Q", ">i4", ">u2", "intp")


IGNORING = (lossk.CrossEntropy, lossk.NLL, lossk.LinearCrossEntropy)


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("classes", [5, 100])
def test_labels_may_have_any_integer_type(classes: int, integer: str, isa: str, rng: np.random.Generator) -> None:
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
    for other, labels in ((lossk.NLL(ignore_index=ignored), t), (lossk.MultiMargin(), np.abs(t))):
        assert other(z, labels.astype(integer)) == other(z, labels)


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


def test_targets_of_the_wrong_kind_are_refused(rng: np.random.Generator) -> None:
    z = rng.normal(size=(3, 5))
    for loss in (lossk.NLL(), lossk.MultiMargin()):
        for target in (np.abs(z), [[0.5] * 5] * 3):
            with pytest.raises(TypeError, match=r"target: got float64 of shape \(3, 5\), wanted integer labels"):
                loss(z, target)
        with pytest.raises(TypeError, match="target: got None, wanted integer labels"):
            loss(z, None)
        assert loss(z, [0, 1, 2]) == loss(z, np.array([0, 1, 2]))
    for loss in LABEL_LOSSES:
        with pytest.raises(ValueError, match=r"target: got int64 of shape \(4,\), wanted .* of shape \(3,\)"):
            loss(z, np.zeros(4, int))
    with pytest.raises(ValueError, match=r"target: got float64 of shape \(3, 2\), wanted .* of shape \(3, 5\)$"):
        lossk.CrossEntropy()(z, np.zeros((3, 2)))
    kl = lossk.KLDivergence()
    with pytest.raises(TypeError, match=r"target: got int64 of shape .*, wanted probabilities"):
        kl(z, np.array([0, 1, 2]))
    with pytest.raises(
        ValueError, match=r"target: got float64 of shape \(3, 4\), wanted probabilities of shape \(3, 5\)"
    ):
        kl(z, np.abs(z[:, :4]))
    one_hot = np.eye(5, dtype=int)[:3]
    assert kl(z, one_hot) == kl(z, one_hot.astype(float)) == kl(z, one_hot.tolist())


ONE_HOT = np.eye(4, dtype=int)[:3]


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (ONE_HOT, "target.argmax(-1) gives labels"),
        (ONE_HOT.astype(bool), "target.argmax(-1) gives labels"),
        (np.array([[0], [1], [2]]), ": target.ravel()"),
        (np.array([[0.0], [1.0], [2.0]]), ": target.ravel()"),
        (np.array([0, 1, 2], np.float16), "np.asarray(target).astype(int)"),
        (np.array([0, 1, 2], object), "np.asarray(target).astype(int)"),
        (np.array([0.0, 1.5, 2.0]), "target[1]: got 1.5, wanted an integer"),
        (np.array([0.0, 1.5, 2.0]), "target.astype(int)"),
        (np.array([0.0, 1.0, np.nan]), "target[2]: got nan, wanted an integer"),
        (np.array([0.0, np.inf, 1.0], np.float32), "target[1]: got inf, wanted an integer"),
        (np.array([0.0, 1e30, 1.0]), "target[1]: got 1e+30, wanted an integer of 64 bits"),
        (["cat", "dog", "cat"], "np.unique(target, return_inverse=True)[1]"),
        (np.array(["cat", "dog", "cat"], object), "np.unique(target, return_inverse=True)[1]"),
        ([0, 1, None], "one that is missing may be ignore_index"),
    ],
    ids=str,
)
def test_what_is_no_label_gets_advice(target: Any, advice: str) -> None:
    for loss in LABEL_LOSSES:
        with pytest.raises((TypeError, ValueError)) as caught:
            loss(LOGITS, target)
        assert str(caught.value).startswith("target")
        assert "wanted " in str(caught.value)
        assert advice in str(caught.value)
    with pytest.raises((TypeError, ValueError)) as caught:
        lossk.LinearCrossEntropy()(LOGITS, LOGITS[:, :4].T @ LOGITS, target)
    assert advice in str(caught.value)


def test_float_scores_as_labels_are_sent_to_argmax() -> None:
    for loss in LABEL_LOSSES[1:]:
        with pytest.raises(TypeError, match=r"target\.argmax\(-1\) gives labels$"):
            loss(LOGITS, LOGITS)
    with pytest.raises(
        ValueError, match=r"target\.argmax\(-1\) gives labels, target\.astype\(z\.dtype\) probabilities$"
    ):
        lossk.CrossEntropy()(LOGITS, ONE_HOT)
    assert lossk.CrossEntropy()(LOGITS, ONE_HOT.astype(LOGITS.dtype)) == pytest.approx(
        lossk.CrossEntropy()(LOGITS, ONE_HOT.argmax(-1))
    )


def test_bools_are_the_labels_0_and_1() -> None:
    t = np.array([True, False, True])
    for loss in LABEL_LOSSES:
        for given in (t, t.tolist(), np.array([1, 9, 0, 9, 1, 9], bool)[::2] != [False, True, False]):
            want = np.asarray(given).astype(int)
            value, grad = loss.value_and_grad(LOGITS, given)
            assert value == loss(LOGITS, want) == loss.reference(LOGITS, given)
            np.testing.assert_array_equal(grad, loss.grad(LOGITS, want))
    assert lossk.CrossEntropy(ignore_index=1)(LOGITS, t) == lossk.CrossEntropy(ignore_index=1)(LOGITS, t.astype(int))
    linear, w = lossk.LinearCrossEntropy(), np.ones((4, 4))
    assert linear(LOGITS, w, t) == linear(LOGITS, w, t.astype(int)) == pytest.approx(linear.reference(LOGITS, w, t))
    with pytest.raises(IndexError, match=r"target\[0\]: got (True|1), wanted a label in \[0, 1\)"):
        lossk.CrossEntropy()(LOGITS[:, :1], t)


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f4"])
def test_integral_float_labels_are_labels(kind: Any) -> None:
    t = np.array([3, 0, 2])
    for loss in LABEL_LOSSES:
        given = t.astype(kind)
        for reduction in ("mean", "sum", "none"):
            got, want = (loss.value_and_grad(LOGITS, labels, reduction=reduction) for labels in (given, t))
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1], want[1])
        assert loss.reference(LOGITS, given) == loss.reference(LOGITS, t)
        assert loss(LOGITS.T, given[[1, 1, 2, 2]], axis=-1) == loss(LOGITS.T, t[[1, 1, 2, 2]])
    assert lossk.CrossEntropy(ignore_index=0)(LOGITS, t.astype(kind)) == lossk.CrossEntropy(ignore_index=0)(LOGITS, t)
    linear = lossk.LinearCrossEntropy()
    assert linear(LOGITS, np.ones((4, 4)), t.astype(kind)) == linear(LOGITS, np.ones((4, 4)), t)
    for loss in LABEL_LOSSES:
        with pytest.raises(IndexError, match=r"target\[2\]: got 4, wanted a label in \[0, 4\)"):
            loss(LOGITS, np.array([0, 1, 4]).astype(kind))
