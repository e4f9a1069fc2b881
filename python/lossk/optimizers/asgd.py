"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from .._parameters import at_least_0, boolean
from ._averages import Averaging
from ._base import Array64, optimizer
from ._tensors import Arrays


@optimizer
class ASGD(Averaging):
    """Averaged SGD: steps that become smaller, and the average of what the parameters were, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        rate = lr / (1 + lambd * lr * (t - 1)) ** alpha
        p = (1 - lambd * rate) * p - rate * d
        a += (p - a) / max(1, t - 1 - t0)

    `averaged` returns ``a``; between `eval` and `train` it stands in the place of the parameters.

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    lambd, alpha, t0, weight_decay : float
        At least 0: how fast steps become smaller, after how many steps averaging begins, and decay.
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
    ``torch.optim.ASGD``; Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0])
    >>> asgd = lossk.ASGD([p], lr=0.5, lambd=0.0, t0=0)
    >>> for g in (1.0, -1.0, 1.0):
    ...     _ = asgd.step([np.array([g])])
    >>> p, asgd.averaged()
    (array([0.5]), [array([0.75])])
    """

    _variants = (
        {},
        {"t0": 1.0, "lambd": 0.1, "alpha": 0.5},
        {"t0": 0.0, "weight_decay": 0.05, "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "lambd": at_least_0("lambd", lambd),
            "alpha": at_least_0("alpha", alpha),
            "t0": at_least_0("t0", t0),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "asgd", ("ax",)

    def _rate(self, t: int) -> float:
        o = self._options
        return float(self._lr / (1 + o["lambd"] * self._lr * (t - 1)) ** o["alpha"])

    def _share(self, t: int) -> float:
        return float(1 / max(1.0, t - 1 - self._options["t0"]))

    def _formula(self, t: int) -> tuple[float, ...]:
        return self._formula_from(self._rate(t), self._share(t))

    def _formula_from(self, rate: float, share: float) -> tuple[float, ...]:
        return rate, 1 - self._options["lambd"] * rate, share, self._options["weight_decay"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        rate = self._rate(t)
        d = g + self._options["weight_decay"] * p
        p = (1 - self._options["lambd"] * rate) * p - rate * d
        state["ax"] = state["ax"] + (p - state["ax"]) * self._share(t)
        return p

    def _average(self, p: Any, state: dict[str, Any]) -> Any:
        return state["ax"]
