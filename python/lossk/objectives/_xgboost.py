"""Objectives and metrics of XGBoost: margins of float32, one row after another in memory."""

from __future__ import annotations

from typing import Any

from .._arrays import Array
from ._hessians import Rule
from ._objective import Metric, Objective


class XGBoost(Objective):
    """An objective of XGBoost; see `xgboost`."""

    def _softmax(self, rule: Rule, classes: int) -> Rule:
        return rule._replace(factor=2.0, floor=1e-6 if self.min_hessian is None else rule.floor)

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return derivatives: of (margin, DMatrix), or of (label, margin) as scikit-learn's interface has it."""
        if hasattr(second, "get_label"):
            return self.grad_and_hess(first, second.get_label(), _weights(second))
        return self.grad_and_hess(second, first, sample_weight)

    def metric(self, loss: Any = None, name: str | None = None) -> XGBoostMetric:
        """Return the weighted mean of the loss, or of another, as a metric: ``custom_metric=`` or ``eval_metric=``."""
        return XGBoostMetric(self.loss if loss is None else loss, name)


class XGBoostMetric(Metric):
    """A metric of XGBoost."""

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> Any:
        """Return name and value of (margin, DMatrix), or the value of (label, margin)."""
        if hasattr(second, "get_label"):
            return self.__name__, self.value(first, second.get_label(), _weights(second))
        return self.value(second, first, sample_weight)


def _weights(data: Any) -> Array | None:
    weights: Array = data.get_weight()
    return weights if weights.size else None


def xgboost(
    loss: Any, *, hessian: str = "boosting", min_hessian: float | None = None, num_threads: int | None = None
) -> XGBoost:
    """Return a loss as an objective of XGBoost.

    For margins ``z``, labels ``y`` and weights ``w`` it gives ``scale w dloss/dz`` and a Hessian that trains, in
    float32 of the shape of the margins: (n,), (n, C), or (n, targets) for a pointwise loss. Kernels read XGBoost's
    margins and write what it reads, without a copy. Results are those of its own objectives where the Hessian is the
    same: ``reg:squarederror`` (half the `SquaredError`), ``count:poisson``, ``reg:gamma``, ``reg:tweedie``,
    ``binary:logistic``, ``multi:softprob`` (whose Hessian is ``2 p (1 - p)``); with ``hessian="true"``
    ``reg:pseudohubererror``, too.

    It is ``obj=`` of ``xgboost.train`` and ``xgboost.cv``, and ``objective=`` of ``XGBRegressor`` and
    ``XGBClassifier``. Give ``init_score`` as ``base_score`` (``XGBClassifier`` wants ``inverse_link`` of it where there
    are two classes). Predictions of ``train`` and ``XGBRegressor`` are margins:
    ``objective.inverse_link(booster.predict(data))``.

    Parameters
    ----------
    loss : Loss
        A pointwise loss or `CrossEntropy`, of margins. `BinaryCrossEntropy` and `PoissonNLL` of means are taken through
        sigmoid and exp; targets of `Hinge` and its like may be 0 and 1.
    hessian : {"boosting", "true"}
        ``"boosting"``: what trains (the guide's table); ``"true"``: the loss's own second derivative.
    min_hessian : float, optional
        Lower bound of a sample's Hessian, times its weight; 1e-16 by default, of cross-entropy 1e-6 as in XGBoost.
    num_threads : int, optional
        Threads of a call; by default `get_num_threads`. Results do not depend on it.

    Returns
    -------
    XGBoost
        A callable with ``metric(loss=None, name=None)``, ``init_score(label, sample_weight=None, *, num_class=None)``,
        ``inverse_link(margin)`` and ``grad_and_hess(margin, label, sample_weight=None)``; it can be pickled.

    Raises
    ------
    TypeError, ValueError, IndexError
        If an argument is not as above; while training, before anything is computed, where margins do not have the shape
        of labels, or labels are outside the loss's domain or the classes. The message says what was got and wanted.

    References
    ----------
    Chen, Guestrin, "XGBoost: A Scalable Tree Boosting System", 2016; XGBoost, ``src/objective/``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> objective = lossk.objectives.xgboost(lossk.LogCosh())
    >>> label, margin = np.array([0.0, 1.0, 5.0]), np.array([0.5, 0.5, 0.5], np.float32)
    >>> g, h = objective(label, margin)  # called so by XGBRegressor; xgboost.train has obj(margin, DMatrix)
    >>> g.round(3), h.round(3)
    (array([ 0.462, -0.462, -1.   ], dtype=float32), array([0.924, 0.924, 0.222], dtype=float32))
    >>> round(objective.metric()(label, margin), 4)
    1.3491
    """
    return XGBoost(loss, hessian=hessian, min_hessian=min_hessian, num_threads=num_threads)
