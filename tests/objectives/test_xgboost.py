"""Objectives in XGBoost: as good as its own, the same where they are the same, and what its users ran into."""

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

xgboost = library("xgboost")
THREADS = {"nthread": 1}


def train(objective: Any, x: Any, y: Any, w: Any = None, rounds: int = 100, **params: Any) -> Any:
    """Train natively from the init score; returns margins."""
    s, _ = start(objective, y, w)
    base = [float(v) for v in s] if np.ndim(s) else s
    data = xgboost.DMatrix(x, y, weight=w)
    return xgboost.train({"base_score": base, **THREADS, **params}, data, rounds, obj=objective).predict(
        data, output_margin=True
    )


def train_own(name: str, x: Any, y: Any, w: Any = None, rounds: int = 100, **params: Any) -> Any:
    data = xgboost.DMatrix(x, y, weight=w)
    return xgboost.train({"objective": name, **THREADS, **params}, data, rounds).predict(data)


SAME = {
    "reg:squarederror": lossk.SquaredError(),
    "count:poisson": lossk.PoissonNLL(),
    "reg:gamma": lossk.Gamma(),
    "reg:tweedie": lossk.Tweedie(1.5),
}


@pytest.mark.parametrize("name", SAME)
def test_regression_is_that_of_its_own_objective(name: str) -> None:
    x, y = friedman()
    objective = objectives.xgboost(SAME[name])
    z = train(objective, x, y)
    assert largest(objective.inverse_link(z), train_own(name, x, y)) < 1e-5


def test_squared_errors_are_the_same_with_weights() -> None:
    x, y = friedman()
    w = weights(len(y))
    assert np.array_equal(
        train(objectives.xgboost(lossk.SquaredError()), x, y, w), train_own("reg:squarederror", x, y, w)
    )


def test_true_hessians_are_those_of_its_pseudo_huber() -> None:
    x, y = friedman()
    objective = objectives.xgboost(lossk.PseudoHuber(1.0), hessian="true")
    own = train_own("reg:pseudohubererror", x, y, rounds=3, base_score=14.0)
    data = xgboost.DMatrix(x, y)
    z = xgboost.train({"base_score": 14.0, **THREADS}, data, 3, obj=objective).predict(data)
    assert largest(z, own) < 1e-5


@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_are_those_of_its_own_objective(weighted: bool) -> None:
    x, y = classes("breast_cancer")
    w = weights(len(y)) if weighted else None
    objective = objectives.xgboost(lossk.BinaryCrossEntropyWithLogits())
    z = train(objective, x, y, w)
    assert largest(objective.inverse_link(z), train_own("binary:logistic", x, y, w)) < 1e-5


@pytest.mark.parametrize("name", ["iris", "wine", "digits"])
def test_several_classes_are_those_of_its_own_objective(name: str) -> None:
    x, y = classes(name)
    w = weights(len(y))
    objective = objectives.xgboost(lossk.CrossEntropy())
    params = {"num_class": int(y.max()) + 1, "rounds": 30}
    z = train(objective, x, y, w, **params)
    assert largest(objective.inverse_link(z), train_own("multi:softprob", x, y, w, **params)) < 1e-5


OWN = {
    lossk.AbsoluteError(): ("reg:absoluteerror", {}),
    lossk.SmoothL1(0.0): ("reg:absoluteerror", {}),
    lossk.Quantile(0.5): ("reg:quantileerror", {"quantile_alpha": 0.5}),
    lossk.PseudoHuber(1.0): ("reg:pseudohubererror", {}),
    lossk.Huber(1.0): ("reg:absoluteerror", {}),
    lossk.LogCosh(): ("reg:absoluteerror", {}),
}


@pytest.mark.parametrize("loss", OWN, ids=repr)
def test_robust_losses_train_as_well_as_its_own(loss: Any) -> None:
    x, y = friedman()
    name, params = OWN[loss]
    z = train(objectives.xgboost(loss), x, y)
    own = np.abs(train_own(name, x, y, **params) - y).mean()
    assert np.abs(z - y).mean() <= 1.05 * own


@pytest.mark.parametrize("q", [0.1, 0.9])
def test_quantiles_train_as_well_as_its_own(q: float) -> None:
    x, y = friedman()
    loss = lossk.Quantile(q)
    z = train(objectives.xgboost(loss), x, y)
    assert loss(z, y) <= 1.05 * loss(train_own("reg:quantileerror", x, y, quantile_alpha=q), y)


@pytest.mark.parametrize(
    "loss",
    [lossk.Focal(), lossk.Hinge(), lossk.SquaredHinge(), lossk.Logistic(), lossk.Exponential()],
    ids=repr,
)
def test_two_classes_are_learned(loss: Any) -> None:
    x, y = classes("breast_cancer")
    objective = objectives.xgboost(loss)
    z = train(objective, x, y, rounds=50)
    metric = objective.metric()
    assert metric.value(z, y) < 0.25 * metric.value(np.full(len(y), objective.init_score(y)), y)
    assert ((z > 0) == y).mean() > 0.97


def test_classifiers_of_scikit_learns_interface() -> None:
    """XGBClassifier has links of its own; its predictions are probabilities and classes."""
    for name, loss in (("breast_cancer", lossk.BinaryCrossEntropyWithLogits()), ("iris", lossk.CrossEntropy())):
        x, y = classes(name)
        w = weights(len(y))
        objective = objectives.xgboost(loss)
        options = {"n_estimators": 200, "n_jobs": 1, "base_score": 0.5, "early_stopping_rounds": 5}
        model = xgboost.XGBClassifier(objective=objective, eval_metric=objective.metric(), **options)
        data = {"sample_weight": w[::2], "eval_set": [(x[1::2], y[1::2])], "sample_weight_eval_set": [w[1::2]]}
        model.fit(x[::2], y[::2], **data, verbose=False)
        own = xgboost.XGBClassifier(**options).fit(x[::2], y[::2], **data, verbose=False)
        assert model.best_iteration == own.best_iteration < 199
        assert largest(model.predict_proba(x), own.predict_proba(x)) < 1e-5
        assert np.array_equal(model.predict(x), own.predict(x))


def test_regressors_of_scikit_learns_interface(tmp_path: Path) -> None:
    x, y = friedman(600)
    objective = objectives.xgboost(lossk.Huber(2.0))
    options = {"n_estimators": 40, "n_jobs": 1, "base_score": objective.init_score(y)}
    model = xgboost.XGBRegressor(objective=objective, **options)
    assert cross_val_score(model, x, y, cv=3).min() > 0.6
    model.fit(x, y, sample_weight=weights(len(y)))
    model.save_model(tmp_path / "model.ubj")
    again = xgboost.XGBRegressor()
    again.load_model(tmp_path / "model.ubj")
    for other in (again, pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.predict(x), model.predict(x))


def test_cross_validation_and_early_stopping() -> None:
    x, y = friedman(600)
    objective = objectives.xgboost(lossk.LogCosh())
    params = {"base_score": objective.init_score(y), "disable_default_eval_metric": True, **THREADS}
    found = xgboost.cv(
        params,
        xgboost.DMatrix(x, y),
        60,
        nfold=3,
        obj=objective,
        custom_metric=objective.metric(lossk.AbsoluteError()),
        early_stopping_rounds=5,
        as_pandas=False,
    )
    values = found["test-AbsoluteError-mean"]
    assert values[-1] < 0.6 * values[0]


def test_training_goes_on_where_it_ended() -> None:
    x, y = friedman(500)
    data, params = xgboost.DMatrix(x, y), {"base_score": 14.0, **THREADS}
    for loss in (lossk.SquaredError(), lossk.AbsoluteError()):
        objective = objectives.xgboost(loss)
        whole = xgboost.train(params, data, 20, obj=objective)
        half = xgboost.train(params, data, 10, obj=objective)
        both = xgboost.train(params, data, 10, obj=objective, xgb_model=half)
        assert np.array_equal(both.predict(data), whole.predict(data))


def test_several_targets() -> None:
    x, y = friedman(500)
    both = np.stack([y, -2 * y], axis=1)
    objective = objectives.xgboost(lossk.SquaredError())
    options = {"n_estimators": 20, "n_jobs": 1, "base_score": 0.0}
    z = xgboost.XGBRegressor(objective=objective, **options).fit(x, both).predict(x)
    assert largest(z, xgboost.XGBRegressor(**options).fit(x, both).predict(x)) < 1e-5


# ---- what users ran into ------------------------------------------------------------------------------------------


def test_3037_robust_losses_train() -> None:
    """Where residuals are large, second derivatives are nearly 0 and nothing is learned."""
    x = np.arange(100.0)[:, None]
    y = 4 * x[:, 0]
    data = xgboost.DMatrix(x, y)
    for loss in (lossk.PseudoHuber(), lossk.LogCosh(), lossk.Huber(), lossk.AbsoluteError(), lossk.Quantile(0.5)):
        z = {
            hessian: xgboost.train(THREADS, data, 100, obj=objectives.xgboost(loss, hessian=hessian)).predict(data)
            for hessian in ("boosting", "true")
        }
        assert np.abs(z["boosting"] - y).mean() < 4.0, loss
        assert not np.abs(z["true"] - y).mean() < 50.0, loss


def test_9089_derivatives_are_float32_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = classes("iris")
    objective, got = objectives.xgboost(lossk.CrossEntropy()), []
    from xgboost import core

    original = core._grad_arrinf

    def spy(array: Any, n: int) -> Any:
        got.append((array.dtype, array.shape, array.flags.c_contiguous))
        return original(array, n)

    monkeypatch.setattr(core, "_grad_arrinf", spy)
    xgboost.train({"num_class": 3, **THREADS}, xgboost.DMatrix(x, y), 2, obj=objective)
    assert got == [(np.dtype(np.float32), (150, 3), True)] * 4


def test_errors_come_before_training() -> None:
    x, y = classes("iris")
    objective = objectives.xgboost(lossk.CrossEntropy())
    with pytest.raises(ValueError, match="is num_class set"):
        xgboost.train({}, xgboost.DMatrix(x, y), 1, obj=objective)
    with pytest.raises(IndexError, match=r"target\[100\]: got 2"):
        xgboost.train({"num_class": 2}, xgboost.DMatrix(x, y), 1, obj=objective)
