"""Adadelta."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import fraction
from ._tensors import Arrays


@optimizer
class Adadelta(Optimizer):
    """Adadelta: gradients times the root of the mean square of past moves, divided by that of gradients, in place.

    With ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        v = rho * v + (1 - rho) * d**2
        move = sqrt(u + eps) / sqrt(v + eps) * d
        u = rho * u + (1 - rho) * move**2
        p -= lr * move

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    rho : float
        How much of the averages a step keeps, in [0, 1).
    eps, weight_decay : float
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
    ``torch.optim.Adadelta``; Zeiler, "Adadelta: an adaptive learning rate method", 2012.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.Adadelta([p]).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9968, -1.001 ])
    """

    _variants = (
        {},
        {"rho": 0.5, "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "rho": fraction("rho", rho),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "adadelta", ("square_avg", "acc_delta")

    _independent_from = 1

    def _formula(self, t: int) -> tuple[float, ...]:
        o = self._options
        return self._lr, o["rho"], o["eps"], o["weight_decay"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        o = self._options
        d = g + o["weight_decay"] * p
        v = state["square_avg"] = o["rho"] * state["square_avg"] + (1 - o["rho"]) * d**2
        move = np.sqrt(state["acc_delta"] + o["eps"]) / np.sqrt(v + o["eps"]) * d
        state["acc_delta"] = o["rho"] * state["acc_delta"] + (1 - o["rho"]) * move**2
        return p - self._lr * move
