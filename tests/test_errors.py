"""Errors that help: they name the argument, whatever library it comes from, and say what was probably meant."""

from __future__ import annotations

import pytest

import lossk

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
        ("linear", "lossk.LinearCrossEntropy()(x, w, target)"),
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
