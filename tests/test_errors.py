"""Errors that help: they name the argument, whatever library it comes from, and say what was probably meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import CASES

import lossk
from lossk.activations import ACTIVATIONS

# ---- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("cross_entropy", "lossk.CrossEntropy()(z, target)"),
        ("CategoricalCrossentropy", "lossk.CrossEntropy()(z, target)"),
        ("log_loss", "lossk.CrossEntropy()(z, target)"),
        ("nll_loss", "lossk.NLL()(z, target)"),
        ("MSELoss", "lossk.SquaredError()(z, y)"),
        ("mean_absolute_error", "lossk.AbsoluteError()(z, y)"),
        ("BCEWithLogitsLoss", "lossk.BinaryCrossEntropyWithLogits()(z, y)"),
        ("gaussian_nll_loss", "lossk.GaussianNLL()(z, y, var)"),
        ("hubr", "lossk.Huber()(z, y)"),
        ("relu", "lossk.ReLU()(x)"),
        ("Softmax", "lossk.softmax"),
        ("adam", "lossk.Adam"),
        ("fused_linear_cross_entropy", "lossk.LinearCrossEntropy()(x, w, target)"),
        ("entropy", "lossk.information.entropy(p)"),
        ("kl_divergence", "lossk.information.kl_divergence(p, q)"),
    ],
)
def test_a_name_of_another_library_is_answered_with_ours(name: str, call: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(lossk, name)
    assert str(caught.value) == f"module 'lossk' has no attribute {name!r}: is {call} meant?"


@pytest.mark.parametrize("name", ["elu", "gelu", "xyz", "_meaning"])
def test_a_name_like_none_of_ours_gets_no_advice(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(lossk, name)
    assert str(caught.value) == f"module 'lossk' has no attribute {name!r}"


def test_every_name_that_is_answered_is_public() -> None:
    from lossk._names import KNOWN

    assert set(KNOWN) <= set(lossk.__all__)
    theirs = [word for words in KNOWN.values() for word in words.split()]
    assert len(set(theirs)) == len(theirs), "a name means one thing"


# ---- arrays of other libraries ------------------------------------------------------------------------------------


class Foreign:
    """An array of a library whose own reading fails as it likes."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.error


class ForeignTensor(Foreign):
    """The same, of a library that speaks DLPack, on a device that it cannot name."""

    def __dlpack__(self, **_: Any) -> Any:
        raise self.error

    def __dlpack_device__(self) -> Any:
        raise self.error


class Bits:
    """An array of a type that DLPack does not know, and NumPy does."""

    def __dlpack__(self, **_: Any) -> Any:
        raise TypeError("no bits over DLPack")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1.0, 2.0, 3.0])


UNREADABLE = [
    *(
        kind(error("their words"))
        for kind in (Foreign, ForeignTensor)
        for error in (RuntimeError, TypeError, ValueError)
    ),
    [[0.0], [1.0, 2.0], [3.0]],
    (i for i in range(3)),
    {1.0, 2.0},
    object(),
]


def arguments_of_every_kind(x: Any) -> list[tuple[str, Any]]:
    """Calls with `x` as one of their arguments, by the argument's name."""
    z, t, w = np.zeros((3, 4)), np.zeros(3, int), np.zeros((4, 4))
    huber, ce, linear = lossk.Huber(), lossk.CrossEntropy(), lossk.LinearCrossEntropy()
    return [
        ("z", lambda: huber(x, z)),
        ("y", lambda: huber.grad(z, x)),
        ("y", lambda: huber.reference(z, x)),
        ("sample_weight", lambda: huber.value_and_grad(z, z, sample_weight=x)),
        ("cotangent", lambda: huber.vjp(z, z, x)),
        ("var", lambda: lossk.GaussianNLL()(z, z, x)),
        ("pos_weight", lambda: lossk.BinaryCrossEntropyWithLogits(pos_weight=x)),
        ("z", lambda: ce(x, t)),
        ("target", lambda: ce(z, x)),
        ("target", lambda: ce.reference(z, x)),
        ("target", lambda: lossk.NLL().grad_and_hess(z, x)),
        ("target", lambda: lossk.KLDivergence()(z, x)),
        ("sample_weight", lambda: ce(z, t, sample_weight=x)),
        ("cotangent", lambda: ce.vjp(z, t, x)),
        ("weight", lambda: lossk.CrossEntropy(weight=x)),
        ("x", lambda: linear(x, w, t)),
        ("w", lambda: linear(z, x, t)),
        ("target", lambda: linear(z, w, x)),
        ("target", lambda: linear.reference(z, w, x)),
        ("bias", lambda: linear(z, w, t, x)),
        ("x", lambda: lossk.ReLU()(x)),
        ("x", lambda: lossk.ReLU().reference(x)),
        ("cotangent", lambda: lossk.Tanh().vjp(z, x)),
        ("x", lambda: lossk.softmax(x)),
        ("cotangent", lambda: lossk.logsumexp.vjp(z, x)),
        ("p", lambda: lossk.information.entropy(x)),
        ("q", lambda: lossk.information.cross_entropy([1.0], x)),
    ]


@pytest.mark.parametrize("value", UNREADABLE, ids=lambda value: type(value).__name__)
def test_what_numpy_cannot_read_is_named_by_its_argument(value: Any) -> None:
    for name, call in arguments_of_every_kind(value):
        with pytest.raises(TypeError, match=rf"(?s)^{name}: got an? .*wanted "):
            call()


def test_what_dlpack_cannot_tell_is_read_as_an_array() -> None:
    assert lossk.SquaredError()(Bits(), np.zeros(3)) == pytest.approx(14 / 3)


def test_a_tensor_that_needs_a_gradient_is_sent_to_lossk_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: there are no tensors")
    z, one = torch.zeros(3, 4, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    for call in (lambda: lossk.CrossEntropy()(z, [0, 1, 2]), lambda: lossk.CrossEntropy()(z.detach(), [one] * 3)):
        with pytest.raises(TypeError, match=r"lossk\.torch has losses of tensors that need a gradient"):
            call()
    with pytest.raises(TypeError, match=r"^target: got a Tensor"):
        lossk.CrossEntropy()(z.detach(), torch.empty(3, dtype=torch.long, device="meta"))


# ---- targets ------------------------------------------------------------------------------------------------------

Z = np.random.default_rng(0).normal(size=(3, 4))
ONE_HOT = np.eye(4, dtype=int)[:3]
LABEL_LOSSES = (lossk.CrossEntropy(), lossk.NLL(), lossk.MultiMargin())


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (ONE_HOT, "target.argmax(-1) gives labels"),
        (ONE_HOT.astype(bool), "target.argmax(-1) gives labels"),
        (np.array([[0], [1], [2]]), ": target.ravel()"),
        (np.array([[0.0], [1.0], [2.0]]), ": target.ravel()"),
        (np.array([True, False, True]), "np.asarray(target).astype(int)"),
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
            loss(Z, target)
        assert str(caught.value).startswith("target")
        assert "wanted " in str(caught.value)
        assert advice in str(caught.value)
    with pytest.raises((TypeError, ValueError)) as caught:
        lossk.LinearCrossEntropy()(Z, Z[:, :4].T @ Z, target)
    assert advice in str(caught.value)


def test_float_scores_as_labels_are_sent_to_argmax() -> None:
    for loss in LABEL_LOSSES[1:]:
        with pytest.raises(TypeError, match=r"target\.argmax\(-1\) gives labels$"):
            loss(Z, Z)
    with pytest.raises(
        ValueError, match=r"target\.argmax\(-1\) gives labels, target\.astype\(z\.dtype\) probabilities$"
    ):
        lossk.CrossEntropy()(Z, ONE_HOT)
    assert lossk.CrossEntropy()(Z, ONE_HOT.astype(Z.dtype)) == pytest.approx(
        lossk.CrossEntropy()(Z, ONE_HOT.argmax(-1))
    )


def test_classes_on_another_axis_are_found() -> None:
    z, t = np.random.default_rng(1).normal(size=(2, 3, 5)), np.zeros((2, 5), int)
    for loss in LABEL_LOSSES:
        with pytest.raises(ValueError, match=r"axis=1, if those are the classes of z$"):
            loss(z, t)
        loss(z, t, axis=1)
    with pytest.raises(ValueError, match=r"target\.argmax\(-2\) gives labels"):
        lossk.CrossEntropy()(z, np.zeros((2, 3, 5), int), axis=1)


def test_exchanged_arguments_are_noticed() -> None:
    labels = np.array([0, 1, 2])
    for loss in (lossk.CrossEntropy(), lossk.NLL()):
        for swapped in (labels, labels.tolist()):
            with pytest.raises((TypeError, ValueError), match="are z and target exchanged"):
                loss(swapped, Z)
    with pytest.raises(TypeError, match="are z and y exchanged"):
        lossk.Huber()(labels, Z[:, 0])
    with pytest.raises(TypeError, match="are z and y exchanged"):
        lossk.GaussianNLL()(labels, Z[:, 0], np.ones(3))


def test_a_column_beside_a_vector_is_told_to_reshape() -> None:
    with pytest.raises(ValueError, match=r"y: got shape \(3, 1\), wanted \(3,\), .*y\.reshape\(3,\)$"):
        lossk.Huber()(np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"y: got shape \(4, 3\), wanted \(3, 4\), the shape of z$"):
        lossk.Huber()(np.zeros((3, 4)), np.zeros((4, 3)))


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f4"])
def test_integral_float_labels_are_labels(kind: Any) -> None:
    t = np.array([3, 0, 2])
    for loss in LABEL_LOSSES:
        given = t.astype(kind)
        for reduction in ("mean", "sum", "none"):
            got, want = (loss.value_and_grad(Z, labels, reduction=reduction) for labels in (given, t))
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1], want[1])
        assert loss.reference(Z, given) == loss.reference(Z, t)
        assert loss(Z.T, given[[1, 1, 2, 2]], axis=-1) == loss(Z.T, t[[1, 1, 2, 2]])
    assert lossk.CrossEntropy(ignore_index=0)(Z, t.astype(kind)) == lossk.CrossEntropy(ignore_index=0)(Z, t)
    linear = lossk.LinearCrossEntropy()
    assert linear(Z, np.ones((4, 4)), t.astype(kind)) == linear(Z, np.ones((4, 4)), t)
    for loss in LABEL_LOSSES:
        with pytest.raises(IndexError, match=r"target\[2\]: got 4, wanted a label in \[0, 4\)"):
            loss(Z, np.array([0, 1, 4]).astype(kind))


def test_a_number_is_the_target_of_every_sample() -> None:
    z = np.array([[0.5, -2.0], [3.0, 0.25]], np.float32)
    for number in (0.0, 1, True, np.float64(0.5), np.int8(1)):
        full = np.full(z.shape, number, z.dtype)
        for loss in (lossk.Huber(), lossk.BinaryCrossEntropyWithLogits(), lossk.PoissonNLL()):
            np.testing.assert_array_equal(loss.value_and_grad(z, number)[1], loss.value_and_grad(z, full)[1])
            assert loss(z, number) == loss(z, full)
            assert loss.reference(z, number) == loss.reference(z, full)
        assert lossk.GaussianNLL()(z, number, np.abs(z)) == lossk.GaussianNLL()(z, full, np.abs(z))


@pytest.mark.parametrize("y", [np.array(0.0), [0.0], np.zeros(1), np.zeros((1, 2)), np.zeros((2, 1))], ids=repr)
def test_nothing_but_a_number_broadcasts(y: Any) -> None:
    for call in (lossk.Huber(), lossk.Huber().grad, lossk.Huber().reference):
        with pytest.raises(ValueError, match=r"y: got shape .*, wanted \(2, 2\)"):
            call(np.ones((2, 2)), y)


# ---- constructors -------------------------------------------------------------------------------------------------


def test_arrays_given_to_a_constructor_are_sent_to_the_call() -> None:
    z, t = np.zeros((3, 4)), np.zeros(3, int)
    for cls in (*{type(case.plain()): None for case in CASES}, lossk.LinearCrossEntropy):
        for given in ((z, t), (z.tolist(), t.tolist())):
            with pytest.raises(
                TypeError, match=rf"^{cls.__name__}: got arrays, .* lossk\.{cls.__name__}\(\)\(\w+, \w+"
            ):
                cls(*given)
    for cls in ACTIVATIONS.values():
        with pytest.raises(TypeError, match=rf"arrays go to lossk\.{cls.__name__}\(\)\(x\)$"):
            cls(z)
    assert lossk.CrossEntropy([1.0, 2.0]).weight.tolist() == [1.0, 2.0], "class weights are an array"
