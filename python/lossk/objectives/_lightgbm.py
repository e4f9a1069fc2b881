"""Objectives and metrics of LightGBM: margins of float64, one class after another in memory."""

from __future__ import annotations

from typing import Any, ClassVar

from .._arrays import Array
from ._objective import Metric, Objective


class LightGBM(Objective):
    """An objective of LightGBM; see `lightgbm`."""

    _class_major: ClassVar[bool] = True

    def _factor(self, classes: int) -> float:
        return classes / max(1, classes - 1)

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[Array, Array]:
        """Return derivatives: of (margin, Dataset), or of (label, margin, weight) as scikit-learn's interface has it."""
        if hasattr(second, "get_label"):
            return self.grad_and_hess(first, second.get_label(), second.get_weight())
        return self.grad_and_hess(second, first, weight)

    def metric(self, loss: Any = None, name: str | None = None) -> LightGBMMetric:
        """Return the weighted mean of the loss, or of another, as a metric: ``feval=``, or ``eval_metric=`` of `fit`."""
        return LightGBMMetric(self.loss if loss is None else loss, name)


class LightGBMMetric(Metric):
    """A metric of LightGBM."""

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[str, float, bool]:
        """Return name, value, and that lower is better."""
        if hasattr(second, "get_label"):
            return self.__name__, self.value(first, second.get_label(), second.get_weight()), False
        return self.__name__, self.value(second, first, weight), False


def lightgbm(
    loss: Any, *, hessian: str = "boosting", min_hessian: float | None = None, num_threads: int | None = None
) -> LightGBM:
    """Return a loss as an objective of LightGBM."""
    return LightGBM(loss, hessian=hessian, min_hessian=min_hessian, num_threads=num_threads)
