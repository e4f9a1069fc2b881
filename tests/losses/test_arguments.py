"""Wrong arguments of losses: the error names the argument, what was got and what was wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype
from tests.support.cases import VERBS, Case, draw, each_loss, run_verb
from tests.support.rows import LOGITS


@each_dtype
@each_loss
def test_wrong_arguments_say_what_was_got_and_wanted(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (6, 5), dtype, True)
    z, target, weight = batch.z, batch.target, batch.weight
    assert weight is not None
    wrong: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (ValueError, r"got .*\(4.*wanted .*\(6", (z, target[:4]), {}),
        (ValueError, r"sample_weight: got shape .*, wanted", (z, target), {"sample_weight": weight[:4]}),
        (ValueError, r"sample_weight: got shape .*, wanted", (z, target), {"sample_weight": 2.0}),
        (
            ValueError,
            r"reduction: got 'average', wanted 'mean', 'sum' or 'none'",
            (z, target),
            {"reduction": "average"},
        ),
        (ValueError, r"reduction: got None, wanted", (z, target), {"reduction": None}),
        (ValueError, r"num_threads: got 0, wanted an integer from 1", (z, target), {"num_threads": 0}),
        (ValueError, r"num_threads: got 1.5, wanted an integer", (z, target), {"num_threads": 1.5}),
        (ValueError, r"num_threads: got -3, wanted an integer", (z, target), {"num_threads": -3}),
        (
            TypeError,
            r"z: got dtype int64, wanted float32, float64, float16 or bfloat16",
            (z.astype(np.int64), target),
            {},
        ),
        (TypeError, r"z: got dtype (longdouble|float128), wanted", (z.astype(np.longdouble), target), {}),
        (TypeError, r"z: got dtype complex128, wanted", (z.astype(np.complex128), target), {}),
        (TypeError, r"z: got .*, wanted", (None, target), {}),
        (TypeError, r"(y|target): got .*, wanted", (z, None), {}),
        (TypeError, r"(y|target): got .*, wanted", (z, target.astype(np.complex128)), {}),
        (TypeError, r"z: got a masked array", (np.ma.masked_array(z), target), {}),
        (TypeError, r"sample_weight: got .*, wanted", (z, target), {"sample_weight": weight.astype("U8")}),
    ]
    for verb in VERBS:
        for error, message, args, kwargs in wrong:
            for copy in (z.copy(), None):
                extra: dict[str, Any] = {}
                if copy is not None and verb != "value":
                    extra["out"] = (copy, copy.copy()) if verb == "grad_and_hess" else copy
                with pytest.raises(error, match=message):
                    run_verb(loss, verb, *args, **kwargs, **extra)
                if copy is not None:
                    np.testing.assert_array_equal(copy, z)


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


def test_exchanged_arguments_are_noticed() -> None:
    labels = np.array([0, 1, 2])
    for loss in (lossk.CrossEntropy(), lossk.NLL()):
        for swapped in (labels, labels.tolist()):
            with pytest.raises((TypeError, ValueError), match="are z and target exchanged"):
                loss(swapped, LOGITS)
    with pytest.raises(TypeError, match="are z and y exchanged"):
        lossk.Huber()(labels, LOGITS[:, 0])
    with pytest.raises(TypeError, match="are z and y exchanged"):
        lossk.GaussianNLL()(labels, LOGITS[:, 0], np.ones(3))


def test_a_column_beside_a_vector_is_told_to_reshape() -> None:
    with pytest.raises(ValueError, match=r"y: got shape \(3, 1\), wanted \(3,\), .*y\.reshape\(3,\)$"):
        lossk.Huber()(np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"y: got shape \(4, 3\), wanted \(3, 4\), the shape of z$"):
        lossk.Huber()(np.zeros((3, 4)), np.zeros((4, 3)))
