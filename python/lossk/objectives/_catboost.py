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

    def _factor(self, classes: int) -> float:
        return 1.0

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """Return first and second derivatives of the negative loss, in two columns."""
        z = np.asarray(approxes, np.float64)
        return -np.stack(self.grad_and_hess(z, targets, weights), axis=1)

    def calc_ders_multi(self, approxes: Any, target: float, weight: float) -> tuple[Array, Array]:
        """Return the gradient of a row's negative loss, and its Hessian, a matrix."""
        z = np.asarray(approxes, np.float64)[None]
        g, h = self.grad_and_hess(z, np.array([target]), None if weight is None else np.array([weight]))
        return -g[0], np.diag(-h[0])

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
    """Return a loss as an objective of CatBoost."""
    return CatBoost(loss, hessian=hessian, min_hessian=min_hessian, num_threads=num_threads)
