"""Losses are values: frozen, equal by parameters, copied, pickled, shown; and parameters that are refused."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.activations import ACTIVATIONS
from lossk.losses import LOSSES
from tests.support.cases import CASES, Case, each_case

WRONG_PARAMETERS: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("Huber", {"delta": 0.0}, ValueError),
    ("Huber", {"delta": -1.0}, ValueError),
    ("Huber", {"delta": np.inf}, ValueError),
    ("Huber", {"delta": 10**400}, ValueError),
    ("Huber", {"delta": np.nan}, ValueError),
    ("Huber", {"delta": "1"}, TypeError),
    ("Huber", {"delta": None}, TypeError),
    ("Huber", {"delta": True}, TypeError),
    ("Huber", {"delta": np.ones(3)}, TypeError),
    ("Hinge", {"margin": np.inf}, ValueError),
    ("Hinge", {"margin": np.nan}, ValueError),
    ("Hinge", {"margin": [1.0]}, TypeError),
    ("SquaredHinge", {"margin": -np.inf}, ValueError),
    ("HingeEmbedding", {"margin": np.nan}, ValueError),
    ("SmoothL1", {"beta": -0.5}, ValueError),
    ("SmoothL1", {"beta": "1"}, TypeError),
    ("PseudoHuber", {"delta": 0.0}, ValueError),
    ("PseudoHuber", {"delta": None}, TypeError),
    ("Quantile", {"q": 0.0}, ValueError),
    ("Quantile", {"q": 1.0}, ValueError),
    ("Quantile", {"q": np.nan}, ValueError),
    ("EpsilonInsensitive", {"epsilon": -0.1}, ValueError),
    ("SquaredEpsilonInsensitive", {"epsilon": np.inf}, ValueError),
    ("SquaredLogarithmicError", {"eps": 0.0}, ValueError),
    ("AbsolutePercentageError", {"eps": -1.0}, ValueError),
    ("PoissonNLL", {"log_input": 1}, TypeError),
    ("PoissonNLL", {"full": None}, TypeError),
    ("PoissonNLL", {"eps": -1e-8}, ValueError),
    ("GaussianNLL", {"full": "yes"}, TypeError),
    ("GaussianNLL", {"eps": 0.0}, ValueError),
    ("Tweedie", {"power": np.inf}, ValueError),
    ("Tweedie", {"power": [1.5]}, TypeError),
    ("BinaryCrossEntropy", {"label_smoothing": -0.1}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"label_smoothing": 1.5}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": -1.0}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": [1.0, np.nan]}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": [1.0, -2.0]}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": []}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": "2"}, TypeError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": None}, TypeError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": True}, TypeError),
    ("Focal", {"alpha": 1.5}, ValueError),
    ("Focal", {"alpha": None}, TypeError),
    ("Focal", {"gamma": -0.5}, ValueError),
    ("Focal", {"gamma": np.inf}, ValueError),
    ("CrossEntropy", {"label_smoothing": -0.5}, ValueError),
    ("CrossEntropy", {"label_smoothing": -1e-300}, ValueError),
    ("CrossEntropy", {"label_smoothing": 1.1}, ValueError),
    ("CrossEntropy", {"label_smoothing": np.nan}, ValueError),
    ("CrossEntropy", {"label_smoothing": np.inf}, ValueError),
    ("CrossEntropy", {"label_smoothing": "0.1"}, TypeError),
    ("CrossEntropy", {"z_loss": -1e-4}, ValueError),
    ("CrossEntropy", {"z_loss": np.inf}, ValueError),
    ("CrossEntropy", {"softcap": 0.0}, ValueError),
    ("CrossEntropy", {"softcap": -30.0}, ValueError),
    ("CrossEntropy", {"softcap": np.inf}, ValueError),
    ("CrossEntropy", {"softcap": 10**400}, ValueError),
    ("CrossEntropy", {"softcap": "30"}, TypeError),
    ("CrossEntropy", {"ignore_index": 1.5}, TypeError),
    ("CrossEntropy", {"ignore_index": True}, TypeError),
    ("CrossEntropy", {"ignore_index": 2**63}, ValueError),
    ("CrossEntropy", {"weight": 2.0}, TypeError),
    ("CrossEntropy", {"weight": ["a", "b"]}, TypeError),
    ("NLL", {"ignore_index": 1.5}, TypeError),
    ("NLL", {"weight": 2.0}, TypeError),
    ("MultiMargin", {"p": 3}, ValueError),
    ("MultiMargin", {"p": True}, ValueError),
    ("MultiMargin", {"p": "1"}, ValueError),
    ("MultiMargin", {"margin": np.nan}, ValueError),
    ("MultiMargin", {"weight": [[1.0]]}, TypeError),
    ("KLDivergence", {"log_target": 1}, TypeError),
    ("MultiLabelSoftMargin", {"weight": 2.0}, TypeError),
    ("Dice", {"smooth": -1.0}, ValueError),
    ("Tversky", {"alpha": -0.5}, ValueError),
    ("Tversky", {"beta": np.nan}, ValueError),
    ("Tversky", {"smooth": "1"}, TypeError),
    ("CrossEntropy", {"focal_gamma": -1.0}, ValueError),
    ("CrossEntropy", {"poly_epsilon": np.inf}, ValueError),
]


@each_case
def test_losses_are_frozen(case: Case) -> None:
    loss = case.plain()
    for field in dataclasses.fields(loss):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(loss, field.name, 0.5)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(loss, field.name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.anything = 1


@each_case
def test_losses_compare_hash_pickle_and_copy(case: Case) -> None:
    loss, twin = case.plain(), case.plain()
    assert loss is not twin
    assert loss == twin
    assert hash(loss) == hash(twin)
    assert {loss: 1}[twin] == 1
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(loss, protocol))
        assert again == loss
        assert hash(again) == hash(loss)
        assert repr(again) == repr(loss)
    assert copy.copy(loss) == copy.deepcopy(loss) == loss
    assert loss != "loss"
    assert loss != None  # noqa: E711


def test_different_losses_differ() -> None:
    losses = [case.plain() for case in CASES]
    losses += [lossk.CrossEntropy(weight=w) for w in ([1.0, 2.0], [2.0, 1.0], [1.0, 2.0, 3.0])]
    for i, a in enumerate(losses):
        for b in losses[:i]:
            assert a != b
    assert len(set(losses)) == len(losses)
    assert lossk.Hinge() != lossk.SquaredHinge(), "equal parameters do not make different classes equal"


def test_equal_parameters_of_other_types_are_equal() -> None:
    assert lossk.Huber(1) == lossk.Huber(1.0) == lossk.Huber(np.float32(1)) == lossk.Huber(delta=np.int64(1))
    assert len({lossk.Huber(1), lossk.Huber(1.0), lossk.Huber(np.float64(1))}) == 1
    weighted = [
        lossk.CrossEntropy(weight=w) for w in ([1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float32))
    ]
    assert len(set(weighted)) == 1
    assert weighted[0] == weighted[3]


@each_case
def test_repr_evaluates_to_the_loss(case: Case) -> None:
    loss = case.plain()
    assert eval(repr(loss), dict(vars(lossk))) == loss
    for name in case.kwargs:
        assert f"{name}=" in repr(loss)


def test_a_loss_with_class_weights_is_a_value_too(rng: np.random.Generator) -> None:
    loss = lossk.CrossEntropy(weight=[0.5, 2.0, 1.0], label_smoothing=0.1)
    again = pickle.loads(pickle.dumps(loss))
    assert again == loss
    assert hash(again) == hash(loss)
    assert eval(repr(loss), {**vars(lossk), "array": np.array}) == loss
    z, t = rng.normal(size=(9, 3)).astype(np.float32), rng.integers(0, 3, size=9)
    assert again(z, t) == loss(z, t)
    with pytest.raises(ValueError, match="read-only"):
        loss.weight[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        again.weight[0] = 7


@pytest.mark.parametrize(("name", "kwargs", "error"), WRONG_PARAMETERS, ids=str)
def test_wrong_parameters_say_what_was_got_and_wanted(
    name: str, kwargs: dict[str, Any], error: type[Exception]
) -> None:
    ((parameter, _),) = kwargs.items()
    wanted = r"a number in \[0, 1\]" if parameter == "label_smoothing" else ".*"
    with pytest.raises(error, match=rf"(?s)^{parameter}: got .*, wanted {wanted}"):
        getattr(lossk, name)(**kwargs)


def test_wrong_parameters_are_tried_for_every_class_that_has_some() -> None:
    tried = {name for name, _, _ in WRONG_PARAMETERS}
    with_parameters = {cls.__name__ for cls in LOSSES.values() if dataclasses.fields(cls)}  # type: ignore[arg-type]
    assert with_parameters <= tried, f"add wrong parameters of {sorted(with_parameters - tried)}"


@each_case
def test_unknown_parameters_are_refused(case: Case) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        type(case.plain())(**case.kwargs, colour="red")


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
