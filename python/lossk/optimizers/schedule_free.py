"""Schedule-free SGD and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean, check_number
from ._averages import Averaging
from ._base import Array64, optimizer
from ._options import two_betas
from ._tensors import Arrays


class _ScheduleFree(Averaging):
    """What both have in common: rates, the weights of the average, and how far to go."""

    def _start(self, slot: str) -> float | None:
        return None if slot == "z" else 0.0

    def _beta(self) -> float:
        """Return how far gradients are taken from z."""
        raise NotImplementedError

    def _warm(self, t: int) -> float:
        return min(1.0, t / float(self._options["warmup_steps"] or t))

    def _rate(self, t: int) -> float:
        return float(self._lr * self._warm(t))

    def _weight(self, t: int) -> float:
        return float(t ** self._options["r"] * self._warm(t) ** self._options["weight_lr_power"])

    _total = 0, 0.0  # the last sum of weights that was asked for, and of how many

    def _share(self, t: int) -> float:
        """Return the t-th weight's share of the sum so far, which goes on from the last that was asked for."""
        last, total = self._total if self._total[0] <= t else (0, 0.0)
        for i in range(last + 1, t + 1):
            total += self._weight(i)
        self._total = t, total
        return self._weight(t) / total

    def _moved(self, p: Array64, d: Array64, state: dict[str, Array64], t: int) -> Array64:
        share, rate, z = self._share(t), self._rate(t), state["z"]
        state["z"] = z - rate * d
        return p + share * (z - p) - rate * (1 - self._beta() * (1 - share)) * d

    def _average(self, p: Any, state: dict[str, Any]) -> Any:
        return p + (1 - 1 / self._beta()) * (state["z"] - p)


@optimizer
class ScheduleFreeSGD(_ScheduleFree):
    """Schedule-free SGD: momentum by averaging, in place.

    A parameter is where gradients are taken, between a sequence ``z`` of plain steps, at first ``p``, and its average
    ``x``; no learning rate needs to fall. At its t-th step, with ``g`` the gradient (negated if `maximize`)::

        rate = lr * min(1, t / warmup_steps)
        share = w[t] / (w[1] + ... + w[t])          with w[t] = t**r * min(1, t / warmup_steps)**weight_lr_power
        d = g + weight_decay * p
        p += share * (z - p) - rate * (1 - momentum * (1 - share)) * d
        z -= rate * d

    ``x = p + (1 - 1 / momentum) * (z - p)`` is what has been learned: `averaged` returns it, and between `eval` and
    `train` it stands in the place of the parameters. What `lr` is set to later is no part of the weights ``w``.

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    momentum : float
        How far gradients are taken from ``z``, in (0, 1).
    warmup_steps : int or float
        How many steps the learning rate rises; at least 0.
    r, weight_lr_power : float
        At least 0: how much more later steps, and those of larger rates, weigh in the average.
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
    ``schedulefree.SGDScheduleFree``; Defazio et al., "The road less scheduled", 2024.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0])
    >>> sgd = lossk.ScheduleFreeSGD([p], lr=0.1)
    >>> for _ in range(3):
    ...     _ = sgd.step([2 * p])
    >>> p.round(4), sgd.averaged()[0].round(4)
    (array([0.631]), array([0.6459]))
    """

    _variants = (
        {},
        {"momentum": 0.5, "weight_decay": 0.05, "warmup_steps": 3, "maximize": True},
        {"r": 1.0, "weight_lr_power": 0.0},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: float = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "momentum": _inside("momentum", momentum),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "warmup_steps": at_least_0("warmup_steps", warmup_steps),
            "r": at_least_0("r", r),
            "weight_lr_power": at_least_0("weight_lr_power", weight_lr_power),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "schedule_free_sgd", ("z",)

    def _formula(self, t: int) -> tuple[float, ...]:
        rate, share = self._rate(t), self._share(t)
        return rate, share, rate * (1 - self._beta() * (1 - share)), self._options["weight_decay"]

    def _beta(self) -> float:
        return float(self._options["momentum"])

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        return self._moved(p, g + self._options["weight_decay"] * p, state, t)


@optimizer
class ScheduleFreeAdamW(_ScheduleFree):
    """Schedule-free AdamW: the momentum of Adam by averaging, in place.

    A parameter is where gradients are taken, between a sequence ``z`` of plain steps, at first ``p``, and its average
    ``x``; no learning rate needs to fall. At its t-th step, with ``g`` the gradient (negated if `maximize`)::

        rate = lr * min(1, t / warmup_steps)
        share = w[t] / (w[1] + ... + w[t])          with w[t] = t**r * min(1, t / warmup_steps)**weight_lr_power
        v = beta2 * v + (1 - beta2) * g**2
        d = g / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        p += share * (z - p) - rate * (1 - beta1 * (1 - share)) * d
        z -= rate * d

    ``x = p + (1 - 1 / beta1) * (z - p)`` is what has been learned: `averaged` returns it, and between `eval` and
    `train` it stands in the place of the parameters. What `lr` is set to later is no part of the weights ``w``.

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    betas : (float, float)
        How far gradients are taken from ``z``, in (0, 1), and how much of the average of squares a step keeps, in
        [0, 1).
    eps : float
        At least 0.
    warmup_steps : int or float
        How many steps the learning rate rises; at least 0.
    r, weight_lr_power : float
        At least 0: how much more later steps, and those of larger rates, weigh in the average.
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
    ``schedulefree.AdamWScheduleFree``; Defazio et al., "The road less scheduled", 2024.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0])
    >>> adamw = lossk.ScheduleFreeAdamW({"w": p}, lr=0.1)
    >>> for _ in range(3):
    ...     _ = adamw.step({"w": 2 * p})
    >>> adamw.eval()  # p is now the average, to predict with
    >>> p.round(4)
    array([0.8061])
    >>> adamw.train()
    """

    _variants = (
        {},
        {"betas": (0.5, 0.9), "eps": 1e-4, "weight_decay": 0.05, "warmup_steps": 3, "maximize": True},
        {"r": 1.0, "weight_lr_power": 0.0},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: float = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "betas": (_inside("betas[0]", two_betas(betas)[0]), two_betas(betas)[1]),
            "eps": at_least_0("eps", eps),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "warmup_steps": at_least_0("warmup_steps", warmup_steps),
            "r": at_least_0("r", r),
            "weight_lr_power": at_least_0("weight_lr_power", weight_lr_power),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "schedule_free_adamw", ("z", "exp_avg_sq")

    def _formula(self, t: int) -> tuple[float, ...]:
        rate, share, b2 = self._rate(t), self._share(t), self._options["betas"][1]
        root = math.sqrt(1 - b2**t)
        back = rate * (1 - self._beta() * (1 - share))
        return rate, share, back, self._options["weight_decay"], b2, root, self._options["eps"] * root

    def _beta(self) -> float:
        return float(self._options["betas"][0])

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        o, b2 = self._options, self._options["betas"][1]
        v = state["exp_avg_sq"] = b2 * state["exp_avg_sq"] + (1 - b2) * g**2
        d = g / (np.sqrt(v / (1 - b2**t)) + o["eps"]) + o["weight_decay"] * p
        return self._moved(p, d, state, t)


def _inside(what: str, value: object) -> float:
    return check_number(what, value, "a number in (0, 1)", lambda x: 0 < x < 1)
