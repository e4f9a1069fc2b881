"""Linear classification with losses of margins, logits, and rows of scores."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from .. import CrossEntropy, Logistic, Sigmoid, softmax
from .._arrays import Array
from ._base import LinearModel, Task
from ._descent import Samples
from ._losses import CLASSIFICATION, ROWS, LogitLoss, Loss, chosen


def _has_probabilities(model: LinearClassifier) -> bool:
    loss = CLASSIFICATION.get(model.loss) if isinstance(model.loss, str) else type(model.loss)
    if loss is not None and issubclass(loss, CrossEntropy | Logistic | LogitLoss):
        return True
    raise AttributeError(f"predict_proba: probabilities are not defined by loss={model.loss!r}")


class LinearClassifier(ClassifierMixin, LinearModel):
    """Linear classification with any loss of scores: ``mean(loss(X @ coef_.T + intercept_, y)) + penalty``.

    Losses of rows (`CrossEntropy`, `MultiMargin`) have a score a class; of two classes, the first one's is 0. Losses of
    two classes (`Hinge`, `Logistic`, `BinaryCrossEntropyWithLogits`, `Focal` ...) have one score for two classes, and
    for more the sum of the losses of each class against the rest. Penalties, and what to scale: see `LinearRegressor`.

    Parameters
    ----------
    loss : lossk.Loss or str
        A loss as above, or its name with its defaults, "cross_entropy".
    optimizer, learning_rate, learning_rate_init, power_t, batch_size, max_iter, tol, n_iter_no_change
        As `LinearRegressor` has them.
    penalty, alpha, l1_ratio, fit_intercept, shuffle, warm_start, random_state, verbose
        As `LinearRegressor` has them.
    early_stopping, validation_fraction
        As `LinearRegressor` has them; the samples held out have the classes' shares.
    class_weight : dict, "balanced", optional
        Factor of the weight of each class's samples; "balanced": by the inverse of how many there are.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        The labels, sorted.
    coef_, intercept_ : ndarray (n_scores, n_features) and (n_scores,)
        Coefficients and intercepts, of the dtype of `X`; `n_scores` is 1 for two classes, else `n_classes`.
    loss_curve_, validation_curve_, n_iter_, n_features_in_, feature_names_in_
        As `LinearRegressor` has them.

    Raises
    ------
    ValueError, TypeError
        From `fit` and `partial_fit`, where a parameter is not as above, there are fewer than two classes, or the loss
        is no longer finite.

    Warns
    -----
    ConvergenceWarning
        From `fit`, if the loss still falls at `max_iter` epochs.

    References
    ----------
    ``sklearn.linear_model.SGDClassifier``, ``LogisticRegression``; Rifkin, Klautau, "In Defense of One-Vs-All
    Classification", 2004.

    Examples
    --------
    >>> import lossk, lossk.sklearn
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> loss = lossk.CrossEntropy(label_smoothing=0.1)
    >>> model = lossk.sklearn.LinearClassifier(loss=loss, max_iter=20, learning_rate="cosine", random_state=0)
    >>> model.fit(X / 16, y).score(X / 16, y) > 0.95
    True
    >>> model.predict_proba(X[:1] / 16).shape
    (1, 10)
    """

    classes_: Array

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LinearModel._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        loss: Any = "cross_entropy",
        *,
        optimizer: Any = "adam",
        learning_rate: str = "adaptive",
        learning_rate_init: float = 0.05,
        power_t: float = 0.5,
        batch_size: int | None = 256,
        max_iter: int = 1000,
        tol: float | None = 1e-5,
        n_iter_no_change: int | None = None,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        shuffle: bool = True,
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int | bool = 0,
    ) -> None:
        super().__init__(
            loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            shuffle=shuffle,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearClassifier:
        """Fit the model.

        Parameters
        ----------
        X : array_like or CSR matrix (n_samples, n_features)
            Samples, float64 or float32 (else converted to float64); not copied where rows are contiguous.
        y : array_like (n_samples,)
            Labels of at least two classes, numbers or strings.
        sample_weight : array_like (n_samples,), optional
            Factor of each sample's loss, at least 0; the mean divides by their sum.

        Returns
        -------
        LinearClassifier
            The model itself.
        """
        return self._learn(X, y, sample_weight, None, partial=False)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> LinearClassifier:
        """Go on by one epoch over these samples; parameters and result are those of `fit`.

        `classes` (n_classes,) names all classes, in the first call at least. The state of the optimizer is kept from
        call to call; an adaptive learning rate is constant here.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight: got 'balanced', wanted a dict or None in partial_fit: not all labels are known"
            )
        if classes is None and not hasattr(self, "coef_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._learn(X, y, sample_weight, classes, partial=True)

    def _learn(self, x: Any, y: Any, sample_weight: Any, classes: Any, partial: bool) -> LinearClassifier:
        loss = chosen(self, self.loss, CLASSIFICATION)
        fitted = hasattr(self, "coef_")
        x, y, w = self._checked(x, y, sample_weight, not (partial and fitted))
        check_classification_targets(y)
        named = np.unique(y if classes is None else classes)
        if fitted and (partial or self.warm_start):
            if not np.array_equal(named, self.classes_) and not (partial and classes is None):
                raise ValueError(f"classes: got {named}, wanted those of the fit before, {self.classes_}")
            named = self.classes_
        if len(named) < 2:
            raise ValueError(f"The number of classes has to be greater than one; got {len(named)} class")
        labels = np.searchsorted(named, y).clip(max=len(named) - 1)
        if not np.array_equal(named[labels], y):
            raise ValueError(f"y: got labels {np.setdiff1d(y, named)}, wanted those of classes, {named}")
        w = self._weighed(w, y, labels, named, x.dtype)
        task = _task(loss, labels, w, len(named), x.dtype)
        self._fit(Samples(x, labels, w), task, x.dtype, partial, stratify=labels)
        self.classes_ = named
        return self

    def _weighed(self, w: Any, y: Array, labels: Array, classes: Array, dtype: Any) -> Any:
        """Return sample weights with those of their classes."""
        if self.class_weight is None:
            return w
        own = compute_class_weight(self.class_weight, classes=classes, y=y)[labels].astype(dtype)
        return own if w is None else own * w

    def decision_function(self, X: Any) -> Array:
        """Return scores of samples `X`: (n_samples,) of the second of two classes, else (n_samples, n_classes)."""
        scores = self._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """Return the classes (n_samples,) of the largest scores of samples `X`."""
        scores = self.decision_function(X)
        best: Array = self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]
        return best

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Return probabilities (n_samples, n_classes) of samples `X`.

        Softmax of the scores with `CrossEntropy`; sigmoids with losses of two classes, scaled to a sum of 1 where there
        are more. Other losses define none, and have no such method.
        """
        loss, scores = chosen(self, self.loss, CLASSIFICATION), self._scores(X)
        if isinstance(loss, CrossEntropy) and loss.softcap is not None:
            scores = loss.softcap * np.tanh(scores / loss.softcap)
        if isinstance(loss, CrossEntropy) and scores.shape[1] > 1:
            return softmax(scores)
        p = Sigmoid()(scores)
        if p.shape[1] == 1:
            return np.hstack([1 - p, p])
        p /= p.sum(axis=1, keepdims=True)
        return p

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))  # type: ignore[no-any-return]


def _task(loss: Loss, labels: Array, w: Array | None, classes: int, dtype: Any) -> Task:
    """Return one column for two classes, else one a class; losses of two classes take each class against the rest."""
    columns = 1 if classes == 2 else classes
    if isinstance(loss, ROWS):
        if loss.weight is not None and len(loss.weight) != classes:
            raise ValueError(f"loss: got {loss!r}, wanted weights of {classes} classes")
        weight = loss.weight if isinstance(loss, CrossEntropy) else None
        divisor = 1.0 if weight is None else float(np.average(weight[labels], weights=w))
        return Task(loss, None, divisor, columns)
    table = np.eye(classes, dtype=dtype)[:, -columns:]
    return Task(loss, np.ascontiguousarray(table if isinstance(loss, LogitLoss) else 2 * table - 1), 1.0, columns)
