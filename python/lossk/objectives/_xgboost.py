"""Objectives and metrics of XGBoost: margins of float32, one row after another in memory."""

from __future__ import annotations

from typing import Any

from .._arrays import Array
from ._objective import Metric, Objective


class XGBoost(Objective):
    """An objective of XGBoost; see `xgboost`."""

    def __init__(self, loss: Any, **options: Any) -> None:
        super().__init__(loss, **options)

    def _factor(self, classes: int) -> float:
        return 2.0

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
    """Return a loss as an objective of XGBoost."""
    return XGBoost(loss, hessian=hessian, min_hessian=min_hessian, num_threads=num_threads)
