"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import two_betas
from ._tensors import Arrays


@optimizer
class Adam(Optimizer):
    """Adam: steps along a running average of the gradient, divided by the root of that of its square, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2          (amsgrad: the largest v so far is used below)
        p -= lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    betas : (float, float)
        How much of each average a step keeps, in [0, 1).
    eps, weight_decay : float
        At least 0.
    amsgrad, maximize : bool
        Divide by the largest average so far; climb instead of descending.
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
    ``torch.optim.Adam``; Kingma and Ba, "Adam: a method for stochastic optimization", 2015; Reddi et al., "On the
    convergence of Adam and beyond", 2018.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.Adam([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1])
    """

    _variants = (
        {},
        {"amsgrad": True},
        {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.05, "maximize": True},
        {"amsgrad": True, "weight_decay": 0.05},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "betas": two_betas(betas),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "amsgrad": boolean("amsgrad", amsgrad),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        averages = ("exp_avg", "exp_avg_sq")
        return ("adam_amsgrad", (*averages, "max_exp_avg_sq")) if self._options["amsgrad"] else ("adam", averages)

    def _decay(self) -> tuple[float, float]:
        """Return the weight decay in the gradient, and the factor of the parameter."""
        return self._options["weight_decay"], 1.0

    def _formula(self, t: int) -> tuple[float, ...]:
        b1, b2 = self._options["betas"]
        root = math.sqrt(1 - b2**t)
        return (self._lr * root / (1 - b1**t), b1, b2, self._options["eps"] * root, *self._decay())

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        b1, b2 = self._options["betas"]
        coupled, shrink = self._decay()
        d = g + coupled * p
        m = state["exp_avg"] = b1 * state["exp_avg"] + (1 - b1) * d
        v = state["exp_avg_sq"] = b2 * state["exp_avg_sq"] + (1 - b2) * d**2
        if "max_exp_avg_sq" in state:
            v = state["max_exp_avg_sq"] = np.maximum(state["max_exp_avg_sq"], v)
        return shrink * p - self._lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + self._options["eps"])


@optimizer
class AdamW(Adam):
    """Adam with decoupled weight decay, in place.

    As `Adam`, but the decay is no part of the gradient: ``d = g``, and ``p *= 1 - lr * weight_decay`` comes first.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize, master_weights, stochastic_rounding
        As `Adam` has them.
    weight_decay : float
        At least 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

    References
    ----------
    ``torch.optim.AdamW``; Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.AdamW([p], lr=0.1, weight_decay=0.5).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.85, -1.05])
    """

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            master_weights=master_weights,
            stochastic_rounding=stochastic_rounding,
        )

    def _decay(self) -> tuple[float, float]:
        return 0.0, 1 - self._lr * self._options["weight_decay"]
