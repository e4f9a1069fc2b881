"""Objectives in LightGBM: as good as its own, the same where they are the same, and what its users ran into."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score

import lossk
from lossk import objectives
from tests.support.objectives import classes, friedman, largest, library, start, weights

lightgbm = library("lightgbm")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Cannot compute class probabilities:UserWarning"),
    pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated"),
]
QUIET = {"verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True}


def train(objective: Any, x: Any, y: Any, w: Any = None, rounds: int = 100, **params: Any) -> tuple[Any, Any]:
    """Train natively from the init score; returns the booster and margins."""
    s, each = start(objective, y, w)
    data = lightgbm.Dataset(x, y, weight=w, init_score=each)
    booster = lightgbm.train({"objective": objective, **QUIET, **params}, data, rounds)
    return booster, booster.predict(x) + s


def train_own(name: str, x: Any, y: Any, w: Any = None, rounds: int = 100, **params: Any) -> Any:
    data = lightgbm.Dataset(x, y, weight=w)
    return lightgbm.train({"objective": name, **QUIET, **params}, data, rounds).predict(x)


SAME = {
    "regression": lossk.SquaredError(),
    "poisson": lossk.PoissonNLL(),
    "gamma": lossk.Gamma(),
    "tweedie": lossk.Tweedie(1.5),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_regression_is_that_of_its_own_objective(name: str, weighted: bool) -> None:
    x, y = friedman()
    w = weights(len(y)) if weighted else None
    objective = objectives.lightgbm(SAME[name])
    _, z = train(objective, x, y, w)
    assert largest(objective.inverse_link(z), train_own(name, x, y, w)) < 1e-5


@pytest.mark.parametrize("weighted", [False, True])
def test_classes_are_those_of_its_own_objective(weighted: bool) -> None:
    for data, name, loss, params in (
        ("breast_cancer", "binary", lossk.BinaryCrossEntropyWithLogits(), {}),
        ("breast_cancer", "cross_entropy", lossk.BinaryCrossEntropy(), {}),
        ("digits", "multiclass", lossk.CrossEntropy(), {"num_class": 10}),
        ("iris", "multiclass", lossk.CrossEntropy(), {"num_class": 3}),
    ):
        x, y = classes(data)
        w = weights(len(y)) if weighted else None
        objective = objectives.lightgbm(loss)
        _, z = train(objective, x, y, w, rounds=30, **params)
        assert largest(objective.inverse_link(z), train_own(name, x, y, w, rounds=30, **params)) < 1e-5, name


def test_weights_of_classes_are_sample_weights() -> None:
    x, y = classes("iris")
    weight = np.array([1.0, 3.0, 0.5])
    objective = objectives.lightgbm(lossk.CrossEntropy(weight=weight))
    _, z = train(objective, x, y, rounds=20, num_class=3)
    own = train_own("multiclass", x, y, weight[y], rounds=20, num_class=3)
    assert largest(objective.inverse_link(z), own) < 1e-5


# Training MAE of 100 trees on Friedman 1. Its own, or the squared error's where it has none.
OWN = {
    lossk.AbsoluteError(): ("l1", {}),
    lossk.SmoothL1(0.0): ("l1", {}),
    lossk.Quantile(0.5): ("quantile", {"alpha": 0.5}),
    lossk.Huber(1.0): ("huber", {"alpha": 1.0}),
    lossk.SmoothL1(1.0): ("huber", {"alpha": 1.0}),
    lossk.PseudoHuber(1.0): ("huber", {"alpha": 1.0}),
    lossk.LogCosh(): ("huber", {"alpha": 1.0}),
}


@pytest.mark.parametrize("loss", OWN, ids=repr)
def test_robust_losses_train_as_well_as_its_own(loss: Any) -> None:
    x, y = friedman()
    name, params = OWN[loss]
    _, z = train(objectives.lightgbm(loss), x, y)
    own = np.abs(train_own(name, x, y, **params) - y).mean()
    assert np.abs(z - y).mean() <= 1.05 * own


@pytest.mark.parametrize("q", [0.1, 0.9])
def test_quantiles_train_as_well_as_its_own(q: float) -> None:
    x, y = friedman()
    loss = lossk.Quantile(q)
    _, z = train(objectives.lightgbm(loss), x, y)
    assert loss(z, y) <= 1.05 * loss(train_own("quantile", x, y, alpha=q), y)


@pytest.mark.parametrize("loss", [lossk.LogCosh(), lossk.PseudoHuber(), lossk.AbsoluteError()], ids=repr)
def test_true_hessians_do_not_train(loss: Any) -> None:
    """What the choice of Hessians is for (XGBoost #3037 is the same)."""
    x, y = friedman()
    _, z = train(objectives.lightgbm(loss, hessian="true"), x, y)
    _, better = train(objectives.lightgbm(loss), x, y)
    assert np.abs(z - y).mean() > 3 * np.abs(better - y).mean()


TWO_CLASSES = [
    lossk.BinaryCrossEntropyWithLogits(pos_weight=2.0),
    lossk.Focal(),
    lossk.Hinge(),
    lossk.SquaredHinge(),
    lossk.Logistic(),
    lossk.Exponential(),
]


@pytest.mark.parametrize("loss", TWO_CLASSES, ids=repr)
def test_two_classes_are_learned(loss: Any) -> None:
    x, y = classes("breast_cancer")
    objective = objectives.lightgbm(loss)
    s, _ = start(objective, y)
    _, z = train(objective, x, y, rounds=50)
    metric = objective.metric()
    assert metric.value(z, y) < 0.25 * metric.value(np.full(len(y), s), y)
    assert ((z > 0) == y).mean() > 0.97


def test_scikit_learns_interface_with_early_stopping_weights_and_named_classes(tmp_path: Path) -> None:
    x, y = classes("iris")
    named, w = np.array(["setosa", "versicolor", "virginica"])[y], weights(len(y))
    objective = objectives.lightgbm(lossk.CrossEntropy(label_smoothing=0.05))
    s, each = start(objective, y, w)
    model = lightgbm.LGBMClassifier(objective=objective, n_estimators=300, **QUIET)
    model.fit(
        x[::2],
        named[::2],
        sample_weight=w[::2],
        init_score=each[::2],
        eval_set=[(x[1::2], named[1::2])],
        eval_sample_weight=[w[1::2]],
        eval_init_score=[each[1::2]],
        eval_metric=[objective.metric(), objective.metric(lossk.CrossEntropy(), name="ce")],
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )
    assert 0 < model.best_iteration_ < 300
    assert {"CrossEntropy", "ce"} <= set(model.evals_result_["valid_0"])
    z = model.predict(x) + s
    assert (model.classes_[z.argmax(axis=1)] == named).mean() > 0.9
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(x), model.predict(x))
    model.booster_.save_model(tmp_path / "model.txt")
    again = lightgbm.Booster(model_file=tmp_path / "model.txt")
    assert largest(again.predict(x), model.predict(x)) < 1e-12


def test_cross_validation_and_grids() -> None:
    x, y = friedman(500)
    objective = objectives.lightgbm(lossk.Huber(2.0))
    model = lightgbm.LGBMRegressor(objective=objective, n_estimators=40, **QUIET)
    assert cross_val_score(model, x, y, cv=3).min() > 0.6
    losses = [objectives.lightgbm(lossk.AbsoluteError()), objective]
    grid = GridSearchCV(model, {"objective": losses}, cv=2).fit(x, y)
    assert grid.best_params_["objective"] in losses
    found = lightgbm.cv(
        {"objective": objective, **QUIET},
        lightgbm.Dataset(x, y),
        30,
        nfold=3,
        stratified=False,
        feval=objective.metric(lossk.AbsoluteError()),
        callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )
    values = found["valid AbsoluteError-mean"]
    assert values[-1] < 0.5 * values[0]


def test_training_goes_on_where_it_ended() -> None:
    x, y = friedman(500)
    for loss in (lossk.Gamma(), lossk.AbsoluteError()):
        params = {"objective": objectives.lightgbm(loss), **QUIET}
        whole = lightgbm.train(params, lightgbm.Dataset(x, y), 20)
        half = lightgbm.train(params, lightgbm.Dataset(x, y, free_raw_data=False), 10)
        both = lightgbm.train(params, lightgbm.Dataset(x, y, free_raw_data=False), 10, init_model=half)
        assert largest(both.predict(x), whole.predict(x)) < 1e-9


# ---- what users ran into ------------------------------------------------------------------------------------------


def test_1308_and_4659_the_layout_of_several_classes() -> None:
    """Gradients in the wrong order of classes and rows train a model of noise."""
    x, y = classes("digits")
    objective = objectives.lightgbm(lossk.CrossEntropy())
    _, z = train(objective, x, y, rounds=10, num_class=10)
    assert (z.argmax(axis=1) == y).mean() > 0.95
    data = lightgbm.Dataset(x, y).construct()
    margins = np.random.default_rng(0).normal(size=(10, len(y))).T
    g, _ = objective(margins, data)
    assert g.shape == margins.shape
    assert np.shares_memory(g, g.ravel(order="F"))
    np.testing.assert_allclose(g, lossk.CrossEntropy().grad(margins, y, reduction="sum"), rtol=1e-5, atol=1e-7)


def test_1230_the_base_score() -> None:
    """LightGBM starts objectives of others at 0: with the init score, one tree is already as good as its own."""
    x, y = friedman()
    objective = objectives.lightgbm(lossk.SquaredError())
    _, z = train(objective, x, y + 1000, rounds=1)
    assert largest(z, train_own("regression", x, y + 1000, rounds=1)) < 1e-9
    without = lightgbm.train({"objective": objective, **QUIET}, lightgbm.Dataset(x, y + 1000), 1).predict(x)
    assert np.abs(without - y - 1000).mean() > 100


def test_2052_predictions_are_margins() -> None:
    x, y = classes("breast_cancer")
    objective = objectives.lightgbm(lossk.BinaryCrossEntropyWithLogits())
    _, z = train(objective, x, y, rounds=30)
    assert z.min() < 0
    assert z.max() > 1
    p = objective.inverse_link(z)
    assert ((p > 0) & (p < 1)).all()
    assert largest(p, train_own("binary", x, y, rounds=30)) < 1e-9
    with pytest.raises(ValueError, match="got probabilities, wanted margins"):
        lightgbm.train(
            {"objective": "multiclass", "num_class": 3, **QUIET},
            lightgbm.Dataset(*classes("iris")),
            3,
            valid_sets=[lightgbm.Dataset(*classes("iris"))],
            feval=objectives.lightgbm(lossk.CrossEntropy()).metric(),
        )


def test_errors_come_before_training() -> None:
    x, y = classes("iris")
    params = {"objective": objectives.lightgbm(lossk.CrossEntropy()), **QUIET}
    with pytest.raises(ValueError, match="is num_class set"):
        lightgbm.train(params, lightgbm.Dataset(x, y), 1)
    with pytest.raises(IndexError, match=r"target\[100\]: got 2"):
        lightgbm.train({**params, "num_class": 2}, lightgbm.Dataset(x, y), 1)
