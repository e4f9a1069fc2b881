"""NAdam and RAdam: Adam with Nesterov momentum, and with a rectified start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import two_betas
from ._tensors import Arrays


class _Mixture(Optimizer):
    """What both have: a kernel, and weight decay in the gradient or apart from it."""

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "nadam", ("exp_avg", "exp_avg_sq")

    def _decay(self) -> tuple[float, float]:
        """Return the weight decay in the gradient, and the factor of the parameter."""
        rate = self._options["weight_decay"]
        return (0.0, 1 - self._lr * rate) if self._options["decoupled_weight_decay"] else (rate, 1.0)


@optimizer
class NAdam(_Mixture):
    """NAdam: Adam with Nesterov momentum, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        mu[t] = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
        along = (1 - mu[t]) / (1 - mu[1] ... mu[t]) * d + mu[t + 1] / (1 - mu[1] ... mu[t + 1]) * m
        p -= lr * along / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    betas : (float, float)
        How much of each average a step keeps, in [0, 1).
    eps, weight_decay, momentum_decay : float
        At least 0.
    decoupled_weight_decay : bool
        Whether the decay is no part of the gradient: ``p *= 1 - lr * weight_decay`` instead.
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
    ``torch.optim.NAdam``; Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.NAdam([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.8944, -1.1056])
    """

    _variants = (
        {},
        {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.05, "momentum_decay": 0.1, "maximize": True},
        {"decoupled_weight_decay": True, "weight_decay": 0.05},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "betas": two_betas(betas),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "momentum_decay": at_least_0("momentum_decay", momentum_decay),
            "decoupled_weight_decay": boolean("decoupled_weight_decay", decoupled_weight_decay),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _momentum(self, t: int) -> float:
        decay: float = 0.96 ** (t * self._options["momentum_decay"])
        return float(self._options["betas"][0]) * (1 - decay / 2)

    _product = 0, 1.0  # the last that was asked for, and of how many momenta

    def _momenta(self, t: int) -> float:
        """Return the product of the first t momenta: from that of t - 1 where it was the last to be asked for."""
        last, product = self._product if self._product[0] <= t else (0, 1.0)
        for i in range(last + 1, t + 1):
            product *= self._momentum(i)
        self._product = t, product
        return product

    def _shares(self, t: int, product: float) -> tuple[float, float]:
        """Return how much of the gradient and of the average there is in a move, from the product of the momenta."""
        now, then = self._momentum(t), self._momentum(t + 1)
        return (1 - now) / (1 - product), then / (1 - product * then)

    def _formula(self, t: int) -> tuple[float, ...]:
        return self._formula_from(t, self._momenta(t))

    def _formula_from(self, t: int, product: float) -> tuple[float, ...]:
        b1, b2 = self._options["betas"]
        of_gradient, of_average = self._shares(t, product)
        rate = self._lr * math.sqrt(1 - b2**t)
        eps = self._options["eps"] * math.sqrt(1 - b2**t)
        return (rate * of_gradient, rate * of_average, b1, b2, 1.0, eps, *self._decay())

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        b1, b2 = self._options["betas"]
        coupled, shrink = self._decay()
        d = g + coupled * p
        m = state["exp_avg"] = b1 * state["exp_avg"] + (1 - b1) * d
        v = state["exp_avg_sq"] = b2 * state["exp_avg_sq"] + (1 - b2) * d**2
        of_gradient, of_average = self._shares(t, self._momenta(t))
        along = of_gradient * d + of_average * m
        return shrink * p - self._lr * along / (np.sqrt(v / (1 - b2**t)) + self._options["eps"])


@optimizer
class RAdam(_Mixture):
    """RAdam: Adam whose division by the root mean square waits until its variance is known, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        end = 2 / (1 - beta2) - 1
        rho = end - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho))
        p -= lr * m / (1 - beta1**t) * r * sqrt(1 - beta2**t) / (sqrt(v) + eps)      where rho > 5, else
        p -= lr * m / (1 - beta1**t)

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
    decoupled_weight_decay : bool
        Whether the decay is no part of the gradient: ``p *= 1 - lr * weight_decay`` instead.
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
    ``torch.optim.RAdam``; Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.RAdam([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.95  , -1.0001])
    """

    _variants = (
        {},
        {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.05, "maximize": True},
        {"decoupled_weight_decay": True, "weight_decay": 0.05, "betas": (0.5, 0.7)},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "betas": two_betas(betas),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "decoupled_weight_decay": boolean("decoupled_weight_decay", decoupled_weight_decay),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _rectified(self, t: int) -> float | None:
        """Return the factor of a step that is divided by the root mean square; None of one that is not."""
        b2 = float(self._options["betas"][1])
        end = 2 / (1 - b2) - 1
        rho = end - 2 * t * b2**t / (1 - b2**t)
        if rho <= 5:
            return None
        return math.sqrt((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho) * (1 - b2**t))

    def _formula(self, t: int) -> tuple[float, ...]:
        b1, b2 = self._options["betas"]
        factor, rate = self._rectified(t), self._lr / (1 - b1**t)
        how = (rate, b1, b2, 0.0, 1.0) if factor is None else (rate * factor, b1, b2, 1.0, self._options["eps"])
        return (0.0, *how, *self._decay())

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        b1, b2 = self._options["betas"]
        coupled, shrink = self._decay()
        d = g + coupled * p
        m = state["exp_avg"] = b1 * state["exp_avg"] + (1 - b1) * d
        v = state["exp_avg_sq"] = b2 * state["exp_avg_sq"] + (1 - b2) * d**2
        factor = self._rectified(t)
        move = m / (1 - b1**t)
        return shrink * p - self._lr * (move if factor is None else move * factor / (np.sqrt(v) + self._options["eps"]))
