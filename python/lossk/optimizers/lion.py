"""Lion."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import two_betas
from ._tensors import Arrays


@optimizer
class Lion(Optimizer):
    """Lion: steps of one length along the sign of an average of gradients, in place.

    With ``g`` the gradient (negated if `maximize`)::

        p -= lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)
        m = beta2 * m + (1 - beta2) * g

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    betas : (float, float)
        How much of the average the step and the average itself keep, in [0, 1).
    weight_decay : float
        At least 0.
    maximize : bool
        Climb instead of descending.
    master_weights : bool
        Update float32 copies of parameters of 16 bits; see `lossk.optimizers.Optimizer`.
    stochastic_rounding : int, optional
        Seed of the rounding of parameters of 16 bits; see `lossk.optimizers.Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", 2023.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0, 0.0])
    >>> lossk.Lion([p], lr=0.1).step([np.array([0.5, 1e-3, 0.0])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1,  0. ])
    """

    _variants = ({}, {"betas": (0.8, 0.9), "weight_decay": 0.05}, {"maximize": True})

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "betas": two_betas(betas),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "lion", ("exp_avg",)

    _independent_from = 1

    def _formula(self, t: int) -> tuple[float, ...]:
        return self._lr, *self._options["betas"], 1 - self._lr * self._options["weight_decay"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        b1, b2 = self._options["betas"]
        m = state["exp_avg"]
        state["exp_avg"] = b2 * m + (1 - b2) * g
        return p - self._lr * (np.sign(b1 * m + (1 - b1) * g) + self._options["weight_decay"] * p)
