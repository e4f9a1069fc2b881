"""Linear regression with any pointwise loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context

from .._arrays import Array
from ._base import LinearModel, Task
from ._descent import Samples
from ._losses import REGRESSION, check_targets, chosen, has_log_link


class LinearRegressor(RegressorMixin, LinearModel):
    """Linear regression with any loss of numbers: ``mean(loss(z, y)) + penalty`` with ``z = X @ coef_ + intercept_``.

    The mean goes by `sample_weight`; the penalty of ``w = coef_`` is ``alpha * sum(|w|)`` ("l1"),
    ``alpha / 2 * sum(w**2)`` ("l2") or the first times `l1_ratio` and the second times ``1 - l1_ratio`` ("elasticnet").
    Predictions are ``z``, or with a loss of logarithms (`PoissonNLL`, `Gamma`, `Tweedie`) ``exp(z)``.

    Steps are about `learning_rate_init` long whatever the units: scale `X` (``StandardScaler``), and `y` unless the
    link is logarithmic (``TransformedTargetRegressor``).

    Parameters
    ----------
    loss : lossk.Loss or str
        A pointwise loss of numbers: `Huber`, `Quantile`, `PoissonNLL` ...; or its name with its defaults, "huber".
    optimizer : str, class or callable
        "adam", "adamw", "sgd" (with Nesterov's momentum of 0.9), "rmsprop", "adagrad", "lion"; a class of
        `lossk.optimizers`; or what makes one from a list of parameters, ``functools.partial(lossk.AdamW, lr=0.01)``,
        whose learning rate is used then.
    learning_rate : {"adaptive", "constant", "invscaling", "cosine"}
        "adaptive": a fifth each time the loss stops falling, down to a thousandth; "invscaling": the first one, divided
        by ``(1 + epochs)**power_t``; "cosine": down to 0 at `max_iter` epochs, all of which are made.
    learning_rate_init : float
        The first learning rate, above 0.
    power_t : float
        Exponent of "invscaling", at least 0.
    batch_size : int, optional
        Samples of a step; None: all of them, which are not copied then.
    max_iter : int
        The largest number of epochs.
    tol : float, optional
        The loss has stopped falling when it has not fallen by `tol` times that of the first epoch in
        `n_iter_no_change` epochs; None: never.
    n_iter_no_change : int, optional
        See `tol`; None: as many epochs as make 1,000 steps, at least 2 and at most 20.
    penalty : {"l2", "l1", "elasticnet"}, optional
        As above; with "l1" coefficients become exactly 0.
    alpha, l1_ratio : float
        As above; `alpha` at least 0, `l1_ratio` in [0, 1].
    fit_intercept : bool
        Whether there is an intercept; it has no penalty.
    shuffle : bool
        Draw the samples of batches anew each epoch, by copies of a batch; else batches are slices, without a copy.
    early_stopping : bool
        Hold out samples, stop when their loss has stopped falling, and keep the coefficients of the best epoch.
    validation_fraction : float
        The share of held-out samples, in (0, 1).
    warm_start : bool
        Begin `fit` with the coefficients there are.
    random_state : int, RandomState, optional
        Of shuffling and of the samples held out.
    verbose : bool or int
        Draw a progress bar on stderr.

    Attributes
    ----------
    coef_, intercept_ : ndarray (n_features,) and (1,)
        Coefficients and intercept, of the dtype of `X`.
    loss_curve_ : list of float
        Of each epoch, the mean loss of its batches before their steps, and the penalty after the last.
    validation_curve_ : list of float
        With `early_stopping`, the mean loss of the samples held out after each epoch.
    n_iter_ : int
        The number of epochs.
    n_features_in_, feature_names_in_
        Number of features; their names where `X` has any.

    Raises
    ------
    ValueError, TypeError
        From `fit` and `partial_fit`, where a parameter is not as above, targets are outside the loss's domain, or the
        loss is no longer finite.

    Warns
    -----
    ConvergenceWarning
        From `fit`, if the loss still falls at `max_iter` epochs.

    References
    ----------
    ``sklearn.linear_model.SGDRegressor``, ``HuberRegressor``, ``QuantileRegressor``, ``PoissonRegressor``.

    Examples
    --------
    >>> import numpy as np, lossk, lossk.sklearn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = X @ [1.0, -2.0] + 3.0
    >>> y[:10] += 100.0  # outliers
    >>> model = lossk.sklearn.LinearRegressor(loss=lossk.Huber(), alpha=0).fit(X, y)
    >>> bool(np.allclose(model.coef_, [1.0, -2.0], atol=0.1))
    True
    """

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know of the model."""
        tags = super().__sklearn_tags__()
        loss = REGRESSION[self.loss]() if isinstance(self.loss, str) and self.loss in REGRESSION else self.loss
        tags.target_tags.positive_only = has_log_link(loss)
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array_like or CSR matrix (n_samples, n_features)
            Samples, float64 or float32 (else converted to float64); not copied where rows are contiguous.
        y : array_like (n_samples,)
            Targets, from the domain of the loss.
        sample_weight : array_like (n_samples,), optional
            Factor of each sample's loss, at least 0; the mean divides by their sum.

        Returns
        -------
        LinearRegressor
            The model itself.
        """
        return self._learn(X, y, sample_weight, partial=False)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegressor:
        """Go on by one epoch over these samples; parameters and result are those of `fit`.

        The state of the optimizer is kept from call to call; an adaptive learning rate is constant here.
        """
        return self._learn(X, y, sample_weight, partial=True)

    def _learn(self, x: Any, y: Any, sample_weight: Any, partial: bool) -> LinearRegressor:
        loss: Any = chosen(self, self.loss, REGRESSION)
        first = not (partial and hasattr(self, "coef_"))
        x, y, w = self._checked(x, y, sample_weight, first, y_numeric=True)
        y = y.astype(x.dtype).reshape(-1, 1)
        check_targets(loss, y)
        self._fit(Samples(x, y, w), Task(loss, None, 1.0, 1), x.dtype, partial)
        self.coef_ = self.coef_[0]
        return self

    def predict(self, X: Any) -> Array:
        """Return predictions (n_samples,) of samples `X`: scores, or with a log link their exponentials."""
        scores = self._scores(X)[:, 0]
        return np.exp(scores) if has_log_link(chosen(self, self.loss, REGRESSION)) else scores
