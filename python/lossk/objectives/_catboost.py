"""Objectives and metrics of CatBoost: what it maximises, a block or a row at a time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import lossk

from .._arrays import Array
from ._objective import Metric, Objective


class CatBoost(Objective):
    """An objective of CatBoost; see `catboost`."""

    no_jit: ClassVar[bool] = True  # CatBoost would have Numba compile the methods

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """Return first and second derivatives of the negative loss, in two columns."""
        z = np.asarray(approxes, np.float64)
        return -np.stack(self.grad_and_hess(z, targets, weights), axis=1)

    def calc_ders_multi(self, approxes: Any, target: float, weight: float | None) -> tuple[Array, Array]:
        """Return the gradient of a row's negative loss, and its Hessian, a matrix."""
        z = np.asarray(approxes, np.float64)[None]
        g, h = self.grad_and_hess(z, np.array([target]), None if weight is None else np.array([weight]))
        loss: Any = self.loss
        if self.hessian == "true" or loss.z_loss or loss.softcap is not None or loss.focal_gamma or loss.poly_epsilon:
            return -g[0], np.diag(-h[0])
        p = np.asarray(lossk.softmax(z))[0]
        slope = h[0].sum() / max(float((p * (1 - p)).sum()), 1e-30)
        return -g[0], slope * (np.outer(p, p) - np.diag(p))

    def metric(self, loss: Any = None, name: str | None = None) -> CatBoostMetric:
        """Return the weighted mean of the loss, or of another, as a metric: ``eval_metric=``."""
        return CatBoostMetric(self.loss if loss is None else loss, name)


class CatBoostMetric(Metric):
    """A metric of CatBoost."""

    no_jit: ClassVar[bool] = True

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """Return the sum of losses and the sum of weights."""
        z = np.stack([np.asarray(a) for a in approxes], axis=1)
        z = z if isinstance(self.loss, lossk.CrossEntropy) else z[:, 0]
        total = float(len(z)) if weight is None else float(np.sum(weight))
        return self.value(z, target, weight) * total, total

    def is_max_optimal(self) -> bool:
        """Tell that lower is better."""
        return False

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the mean."""
        return error / weight if weight else error


def catboost(
    loss: Any, *, hessian: str = "boosting", min_hessian: float | None = None, num_threads: int | None = None
) -> CatBoost:
    """Return a loss as an objective of CatBoost.

    For margins ``z``, labels ``y`` and weights ``w`` it gives ``-scale w dloss/dz`` and a negative Hessian that trains,
    as CatBoost maximises: of blocks of rows, or for `CrossEntropy` of one row at a time, with the whole matrix, as
    CatBoost asks for it (slow: many thousand rows want another library).

    It is ``loss_function=`` of ``CatBoostRegressor`` and ``CatBoostClassifier``, with
    ``eval_metric=objective.metric()``, which CatBoost wants as well; with `CrossEntropy`, ``classes_count=`` too.
    ``leaf_estimation_iterations=5`` refits leaves by that many steps, as `AbsoluteError` and `Quantile` want it, whose
    corner is as wide as the residuals of a block are. Give
    ``init_score`` as the Pool's ``baseline`` and add it to predictions, which are
    ``predict(x, prediction_type="RawFormulaVal")``.

    Parameters
    ----------
    loss : Loss
        A pointwise loss or `CrossEntropy`, of margins. `BinaryCrossEntropy` and `PoissonNLL` of means are taken through
        sigmoid and exp; targets of `Hinge` and its like may be 0 and 1.
    hessian : {"boosting", "true"}
        ``"boosting"``: what trains (the guide's table); ``"true"``: the loss's own second derivative.
    min_hessian : float, optional
        Lower bound of a sample's Hessian, times its weight; 1e-16 by default.
    num_threads : int, optional
        Threads of a call; by default `get_num_threads`. Results do not depend on it.

    Returns
    -------
    CatBoost
        A callable with ``metric(loss=None, name=None)``, ``init_score(label, sample_weight=None, *, num_class=None)``,
        ``inverse_link(margin)`` and ``grad_and_hess(margin, label, sample_weight=None)``; it can be pickled.

    Raises
    ------
    TypeError, ValueError, IndexError
        If an argument is not as above; while training, before anything is computed, where margins do not have the shape
        of labels, or labels are outside the loss's domain or the classes. The message says what was got and wanted.

    References
    ----------
    Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features", 2018; CatBoost's documentation,
    "Custom objective function".

    Examples
    --------
    >>> import numpy as np, lossk
    >>> objective = lossk.objectives.catboost(lossk.BinaryCrossEntropyWithLogits())
    >>> objective.calc_ders_range(np.zeros(2), np.array([0.0, 1.0]), None)  # called so by CatBoost
    array([[-0.5 , -0.25],
           [ 0.5 , -0.25]], dtype=float32)
    """
    return CatBoost(loss, hessian=hessian, min_hessian=min_hessian, num_threads=num_threads)
