"""What a fitted model offers, and how it fits into scikit-learn: probabilities, names, copies, searches, pictures."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lossk
from lossk.losses import LOSSES
from lossk.sklearn import LinearClassifier, LinearRegressor, LossCurveDisplay
from lossk.sklearn._losses import CLASSIFICATION, OTHERS, REGRESSION

FEW: dict[str, Any] = {"max_iter": 20, "tol": None, "random_state": 0}


@pytest.fixture
def iris() -> tuple[Any, Any]:
    X, y = load_iris(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), np.array(["setosa", "versicolor", "virginica"])[y]


def test_every_loss_has_a_model_or_is_known_to_have_none() -> None:
    without = {*OTHERS, lossk.NLL, lossk.KLDivergence}
    without |= {lossk.MultiLabelSoftMargin, lossk.MultiLabelMargin, lossk.Dice, lossk.Tversky}
    without |= {lossk.JensenShannonDivergence, lossk.JeffreysDivergence}
    assert {*CLASSIFICATION.values(), *REGRESSION.values()} == set(LOSSES.values()) - without
    assert not set(CLASSIFICATION) & set(REGRESSION)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_loss_of_classes_learns(name: str, classes: int, iris: Any) -> None:
    X, y = iris
    X, y = X[: 50 * classes], y[: 50 * classes]
    model = LinearClassifier(name, **FEW).fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0] or name == "perceptron"  # which begins at scores that cost 0
    assert model.score(X, y) > 0.7
    scores = model.decision_function(X)
    assert scores.shape == ((100,) if classes == 2 else (150, 3))
    assert model.classes_.tolist() == sorted(set(y))
    if not hasattr(model, "predict_proba"):
        assert name in ("hinge", "squared_hinge", "exponential", "multi_margin", "modified_huber", "perceptron")
        return
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    assert np.array_equal(model.predict_log_proba(X), np.log(p))


@pytest.mark.parametrize("name", REGRESSION)
def test_every_loss_of_numbers_learns(name: str, rng: np.random.Generator) -> None:
    X = rng.standard_normal((200, 3))
    y = np.exp(X @ [0.3, -0.2, 0.1] + 1)
    model = LinearRegressor(REGRESSION[name](), **{**FEW, "max_iter": 100}).fit(X, y)
    assert model.coef_.shape == (3,)
    assert model.intercept_.shape == (1,)
    assert model.score(X, y) > 0.8


def test_soft_capped_probabilities_are_those_of_the_loss(iris: Any) -> None:
    X, y = iris
    loss = lossk.CrossEntropy(softcap=2.0)
    model = LinearClassifier(loss, **FEW, alpha=0).fit(X, y)
    labels = np.searchsorted(model.classes_, y)
    value = -np.log(model.predict_proba(X)[np.arange(len(y)), labels]).mean()
    assert value == pytest.approx(loss(model.decision_function(X), labels))


def test_parameters_are_kept_as_they_are_given(iris: Any) -> None:
    loss = lossk.Focal(gamma=1.0)
    model = LinearClassifier(loss, **FEW)
    assert model.loss is loss
    assert clone(model).loss == loss
    assert model.fit(*iris).loss is loss
    assert "Focal(alpha=0.25, gamma=1.0)" in repr(model)


def test_a_copy_by_pickle_goes_on_with_the_same_bits(iris: Any) -> None:
    X, y = iris
    model = LinearClassifier("logistic", **FEW, optimizer="adam").partial_fit(X, y, classes=np.unique(y))
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(copy.partial_fit(X, y).coef_, model.partial_fit(X, y).coef_)


def test_a_search_over_a_pipeline(iris: Any) -> None:
    X, y = iris
    model = make_pipeline(StandardScaler(), LinearClassifier(**FEW))
    grid = {
        "linearclassifier__loss": [lossk.CrossEntropy(label_smoothing=0.1), "hinge"],
        "linearclassifier__alpha": [0, 1],
    }
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_params_["linearclassifier__alpha"] == 0
    assert search.best_score_ > 0.8


def test_names_of_features_are_kept(iris: Any) -> None:
    pandas = pytest.importorskip("pandas")
    X, y = iris
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = make_pipeline(StandardScaler(), LinearClassifier(**FEW)).set_output(transform="pandas").fit(frame, y)
    assert model[-1].feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model[-1].predict(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            LinearClassifier("huber"),
            "The 'loss' parameter of LinearClassifier must be .*CrossEntropy.* Got 'huber' instead",
        ),
        (LinearRegressor(lossk.Hinge()), "The 'loss' parameter of LinearRegressor must be .* Got Hinge"),
        (LinearRegressor(lossk.Huber), "Got <class 'lossk.*Huber'> instead"),
        (LinearRegressor(optimizer="newton"), "The 'optimizer' parameter of LinearRegressor must be .* Got 'newton'"),
        (LinearRegressor(alpha=-1), "The 'alpha' parameter of LinearRegressor must be .* Got -1 instead"),
        (LinearRegressor(batch_size=0), "The 'batch_size' parameter"),
        (LinearClassifier(lossk.CrossEntropy(weight=[1.0, 2.0])), "wanted weights of 3 classes"),
        (LinearClassifier(class_weight="even"), "The 'class_weight' parameter"),
    ],
)
def test_bad_parameters_are_named(model: Any, message: str) -> None:
    X, y = np.eye(6), np.array([0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


def test_bad_input_is_named(iris: Any) -> None:
    X, y = iris
    with pytest.raises(NotFittedError):
        LinearClassifier().predict(X)
    with pytest.raises(TypeError, match=r"optimizer: got .* wanted an optimizer of lossk"):
        LinearClassifier(optimizer=len).fit(X, y)
    with pytest.raises(ValueError, match="The number of classes has to be greater than one; got 1 class"):
        LinearClassifier().fit(X, np.zeros(150))
    with pytest.raises(ValueError, match=r"y: got 0\.0, wanted numbers above 0 for Gamma"):
        LinearRegressor("gamma").fit(X, np.zeros(150))
    with pytest.raises(ValueError, match=r"[Nn]egative values"):
        LinearClassifier().fit(X, y, np.full(150, -1.0))
    with pytest.raises(ValueError, match="class_weight: got 'balanced'"):
        LinearClassifier(class_weight="balanced").partial_fit(X, y, classes=np.unique(y))
    with pytest.raises(AttributeError, match="predict_proba"):
        LinearClassifier("hinge", **FEW).fit(X, y).predict_proba(X)


def test_curves_are_drawn(iris: Any) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    model = LinearClassifier(**FEW, early_stopping=True).fit(*iris)
    display = LossCurveDisplay.from_estimator(model, name="softmax", linewidth=3)
    train, held_out = display.lines_
    assert train.get_ydata().tolist() == model.loss_curve_
    assert held_out.get_ydata().tolist() == model.validation_curve_
    assert [line.get_label() for line in display.lines_] == ["softmax, training", "softmax, validation"]
    assert train.get_linewidth() == 3
    assert display.ax_.get_xlabel() == "epoch"
    again = LossCurveDisplay([1.0, 0.5]).plot(ax=display.ax_)
    assert again.ax_ is display.ax_
    assert len(again.lines_) == 1
    plt.close(display.figure_)
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(LinearClassifier())
