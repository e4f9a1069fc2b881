"""Objectives and metrics of LightGBM: margins of float64, one class after another in memory."""

from __future__ import annotations

from typing import Any, ClassVar

from .._arrays import Array
from ._hessians import Rule
from ._objective import Metric, Objective


class LightGBM(Objective):
    """An objective of LightGBM; see `lightgbm`."""

    _class_major: ClassVar[bool] = True

    def _softmax(self, rule: Rule, classes: int) -> Rule:
        return rule._replace(factor=classes / max(1, classes - 1))

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[Array, Array]:
        """Return derivatives: of (margin, Dataset), or of (label, margin, weight) as ``LGBMModel`` has it."""
        if hasattr(second, "get_label"):
            return self.grad_and_hess(first, second.get_label(), second.get_weight())
        return self.grad_and_hess(second, first, weight)

    def metric(self, loss: Any = None, name: str | None = None) -> LightGBMMetric:
        """Return the weighted mean of the loss, or of another, as a metric: ``feval=``, ``eval_metric=`` of `fit`."""
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
    """Return a loss as an objective of LightGBM.

    For margins ``z``, labels ``y`` and weights ``w`` it gives ``scale w dloss/dz`` and a Hessian that trains, in
    float32 of the layout that LightGBM reads without a copy: (n,), or (n, C) with one class after another in memory.
    Arithmetic is that of LightGBM's margins, float64, and so results are those of its own objectives where the Hessian
    is the same: ``regression`` (half the `SquaredError`), ``poisson``, ``gamma``, ``tweedie``, ``binary``,
    ``cross_entropy``, ``multiclass`` (whose Hessian is ``C / (C - 1) p (1 - p)``).

    It is the parameter ``objective`` of ``lightgbm.train`` and ``lightgbm.cv`` and that of ``LGBMRegressor`` and
    ``LGBMClassifier``. Give ``init_score`` of rows to the Dataset (or to ``fit``) and add it to predictions, which are
    margins: ``objective.inverse_link(booster.predict(x) + s)``.

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
    LightGBM
        A callable with ``metric(loss=None, name=None)``, ``init_score(label, sample_weight=None, *, num_class=None)``,
        ``inverse_link(margin)`` and ``grad_and_hess(margin, label, sample_weight=None)``; it can be pickled.

    Raises
    ------
    TypeError, ValueError, IndexError
        If an argument is not as above; while training, before anything is computed, where margins do not have the shape
        of labels, or labels are outside the loss's domain or the classes. The message says what was got and wanted.

    References
    ----------
    J. H. Friedman, "Greedy Function Approximation", 2001; LightGBM, ``src/objective/``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> objective = lossk.objectives.lightgbm(lossk.CrossEntropy())
    >>> label = np.array([0, 2, 2, 1])
    >>> s = objective.init_score(label)  # lightgbm.Dataset(x, label, init_score=np.tile(s, (len(label), 1)))
    >>> objective.inverse_link(s).round(3)
    array([0.25, 0.25, 0.5 ])
    >>> g, h = objective(label, np.tile(s, (4, 1)))  # called so by LGBMClassifier
    >>> g[0], h[0], g.flags.f_contiguous
    (array([-0.75,  0.25,  0.5 ], dtype=float32), array([0.28125, 0.28125, 0.375  ], dtype=float32), True)
    """
    return LightGBM(loss, hessian=hessian, min_hessian=min_hessian, num_threads=num_threads)
