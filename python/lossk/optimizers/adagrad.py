"""Adagrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._tensors import Arrays


@optimizer
class Adagrad(Optimizer):
    """Adagrad: gradients divided by the root of the sum of all their squares, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        s += d**2                                   (at first initial_accumulator_value)
        p -= lr / (1 + (t - 1) * lr_decay) * d / (sqrt(s) + eps)

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    lr_decay, weight_decay, initial_accumulator_value, eps : float
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
    ``torch.optim.Adagrad``; Duchi et al., "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.Adagrad([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1])
    """

    _variants = (
        {},
        {"lr_decay": 0.1, "initial_accumulator_value": 0.5},
        {"weight_decay": 0.05, "eps": 1e-4, "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "lr_decay": at_least_0("lr_decay", lr_decay),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "initial_accumulator_value": at_least_0("initial_accumulator_value", initial_accumulator_value),
            "eps": at_least_0("eps", eps),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)
        self._independent_from = None if lr_decay else 1

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "adagrad", ("sum",)

    def _start(self, slot: str) -> float:
        return float(self._options["initial_accumulator_value"])

    def _rate(self, t: int) -> float:
        return self._lr / (1 + (t - 1) * float(self._options["lr_decay"]))

    def _formula(self, t: int) -> tuple[float, ...]:
        return self._rate(t), self._options["eps"], self._options["weight_decay"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        d = g + self._options["weight_decay"] * p
        s = state["sum"] = state["sum"] + d**2
        return p - self._rate(t) * d / (np.sqrt(s) + self._options["eps"])
