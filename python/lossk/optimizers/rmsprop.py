"""RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import fraction
from ._tensors import Arrays


@optimizer
class RMSprop(Optimizer):
    """RMSprop: gradients divided by the root of their running mean square, in place.

    With ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        v = alpha * v + (1 - alpha) * d**2
        a = alpha * a + (1 - alpha) * d             (centered; else a = 0)
        r = d / (sqrt(v - a**2) + eps)
        b = momentum * b + r
        p -= lr * b

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    alpha : float
        How much of the averages a step keeps, in [0, 1).
    eps, weight_decay, momentum : float
        At least 0.
    centered, maximize : bool
        Divide by the root of the variance; climb instead of descending.
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
    ``torch.optim.RMSprop``; Hinton, "Neural networks for machine learning", lecture 6, 2012; centered: Graves,
    "Generating sequences with recurrent neural networks", 2013.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.RMSprop([p], lr=0.01).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1])
    """

    _variants = (
        {},
        {"momentum": 0.9},
        {"centered": True, "weight_decay": 0.05},
        {"momentum": 0.9, "centered": True, "alpha": 0.9, "eps": 1e-4, "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "alpha": fraction("alpha", alpha),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "momentum": at_least_0("momentum", momentum),
            "centered": boolean("centered", centered),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        name, slots = "rmsprop", ["square_avg"]
        if self._options["centered"]:
            name += "_centered"
        if self._options["momentum"]:
            name += "_momentum"
            slots.append("momentum_buffer")
        return name, (*slots, "grad_avg") if self._options["centered"] else tuple(slots)

    _independent_from = 1

    def _formula(self, t: int) -> tuple[float, ...]:
        o = self._options
        return self._lr, o["alpha"], o["eps"], o["weight_decay"], o["momentum"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        o = self._options
        d = g + o["weight_decay"] * p
        v = state["square_avg"] = o["alpha"] * state["square_avg"] + (1 - o["alpha"]) * d**2
        if o["centered"]:
            a = state["grad_avg"] = o["alpha"] * state["grad_avg"] + (1 - o["alpha"]) * d
            v = v - a**2
        b = d / (np.sqrt(v) + o["eps"])
        if o["momentum"]:
            b = state["momentum_buffer"] = o["momentum"] * state["momentum_buffer"] + b
        return p - self._lr * b
