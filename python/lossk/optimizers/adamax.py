"""Adamax."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import two_betas
from ._tensors import Arrays


@optimizer
class Adamax(Optimizer):
    """Adamax: Adam with the largest gradient so far, which fades, in place of the root mean square, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d
        u = max(beta2 * u, abs(d) + eps)
        p -= lr / (1 - beta1**t) * m / u

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    betas : (float, float)
        How much of the average and of the largest gradient a step keeps, in [0, 1).
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
    ``torch.optim.Adamax``; Kingma and Ba, "Adam: a method for stochastic optimization", 2015.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.Adamax([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1])
    """

    _variants = (
        {},
        {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.05, "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "betas": two_betas(betas),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "adamax", ("exp_avg", "exp_inf")

    def _formula(self, t: int) -> tuple[float, ...]:
        b1, b2 = self._options["betas"]
        return self._lr / (1 - b1**t), b1, b2, self._options["eps"], self._options["weight_decay"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        b1, b2 = self._options["betas"]
        d = g + self._options["weight_decay"] * p
        m = state["exp_avg"] = b1 * state["exp_avg"] + (1 - b1) * d
        u = state["exp_inf"] = np.maximum(b2 * state["exp_inf"], np.abs(d) + self._options["eps"])
        return p - self._lr / (1 - b1**t) * m / u
