"""Objectives in CatBoost: as good as its own, the same where they are the same."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

import lossk
from lossk import objectives
from tests.support.objectives import classes, friedman, largest, library, start, weights

catboost = library("catboost")
QUIET = {
    "verbose": 0,
    "allow_writing_files": False,
    "thread_count": 1,
    "learning_rate": 0.1,
    "leaf_estimation_method": "Newton",
    "bootstrap_type": "No",
}


def regressor(objective: Any, trees: int = 100, **options: Any) -> Any:
    options = {**QUIET, "iterations": trees, "eval_metric": objective.metric(), **options}
    return catboost.CatBoostRegressor(loss_function=objective, **options)


def train(objective: Any, x: Any, y: Any, w: Any = None, **options: Any) -> Any:
    """Train from the init score; returns margins."""
    s, each = start(objective, y, w)
    model = regressor(objective, **options).fit(catboost.Pool(x, y, weight=w, baseline=each))
    return model.predict(x, prediction_type="RawFormulaVal") + s


@pytest.mark.parametrize("weighted", [False, True])
def test_squared_errors_and_two_classes_are_those_of_its_own_objectives(weighted: bool) -> None:
    (x, y), trees = friedman(), 50
    w = weights(len(y)) if weighted else None
    own = catboost.CatBoostRegressor(**{**QUIET, "iterations": trees}).fit(x, y, sample_weight=w).predict(x)
    assert largest(train(objectives.catboost(lossk.SquaredError()), x, y, w, trees=trees), own) < 1e-5
    x, y = classes("breast_cancer")
    w = weights(len(y)) if weighted else None
    objective = objectives.catboost(lossk.BinaryCrossEntropyWithLogits())
    options = {**QUIET, "iterations": trees, "leaf_estimation_iterations": 1}
    ours = catboost.CatBoostClassifier(loss_function=objective, eval_metric=objective.metric(), **options)
    model = catboost.CatBoostClassifier(**options).fit(x, y, sample_weight=w)
    z = ours.fit(x, y, sample_weight=w).predict(x, prediction_type="RawFormulaVal")
    assert largest(objective.inverse_link(z), model.predict_proba(x)[:, 1]) < 1e-5


def test_several_classes_are_those_of_its_own_objective() -> None:
    x, y = classes("iris")
    objective = objectives.catboost(lossk.CrossEntropy())
    options = {**QUIET, "iterations": 20, "classes_count": 3, "leaf_estimation_backtracking": "No"}
    ours = catboost.CatBoostClassifier(loss_function=objective, eval_metric=objective.metric(), **options).fit(x, y)
    own = catboost.CatBoostClassifier(loss_function="MultiClass", **options).fit(x, y)
    z, right = (model.predict(x, prediction_type="RawFormulaVal") for model in (ours, own))
    assert largest(z, right) < 1e-5


OWN = {
    lossk.AbsoluteError(): "MAE",
    lossk.Quantile(0.5): "Quantile:alpha=0.5",
    lossk.Huber(1.0): "Huber:delta=1",
    lossk.LogCosh(): "LogCosh",
    lossk.PoissonNLL(): "Poisson",
}


@pytest.mark.parametrize("loss", OWN, ids=repr)
def test_losses_train_as_well_as_its_own(loss: Any) -> None:
    x, y = friedman()
    objective = objectives.catboost(loss)
    z = objective.inverse_link(train(objective, x, y, leaf_estimation_iterations=5))
    options = {k: v for k, v in QUIET.items() if k != "leaf_estimation_method"}
    model = catboost.CatBoostRegressor(loss_function=OWN[loss], iterations=100, **options).fit(x, y)
    own = model.predict(x, prediction_type="Exponent" if OWN[loss] == "Poisson" else "RawFormulaVal")
    assert np.abs(z - y).mean() <= 1.05 * np.abs(own - y).mean()


def test_scikit_learns_tools_early_stopping_files_and_training_that_goes_on(tmp_path: Path) -> None:
    x, y = friedman(500)
    objective = objectives.catboost(lossk.Huber(2.0))
    assert cross_val_score(regressor(objective, 40), x, y, cv=3).min() > 0.5
    model = regressor(objective, 2000, early_stopping_rounds=5)
    model.fit(x[::2], y[::2], eval_set=(x[1::2], y[1::2]), sample_weight=weights(250))
    assert 0 < model.tree_count_ < 2000
    model.save_model(str(tmp_path / "model.cbm"))
    again = catboost.CatBoostRegressor().load_model(str(tmp_path / "model.cbm"))
    for other in (again, pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.predict(x), model.predict(x))
    more = regressor(objective, 5).fit(x, y, init_model=model)
    assert more.tree_count_ == model.tree_count_ + 5


def test_errors_name_what_is_wanted() -> None:
    x, y = friedman(100)
    with pytest.raises(Exception, match="wanted a number from 0 to 1"):
        regressor(objectives.catboost(lossk.Focal()), 2).fit(x, y)
