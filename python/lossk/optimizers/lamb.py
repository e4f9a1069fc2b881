"""LAMB."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._parameters import at_least_0, boolean
from ._base import Array64, Optimizer, optimizer
from ._options import two_betas
from ._tensors import Arrays


@optimizer
class LAMB(Optimizer):
    """LAMB: Adam whose move is scaled, tensor by tensor, to the norm of the tensor, in place.

    At a parameter's t-th step, with ``g`` the gradient (negated if `maximize`)::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        r = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        p -= lr * norm(p) / norm(r) * r

    Where a norm is 0 or not finite the factor is `lr` alone. Norms are sums in float64, the same for any number of
    threads; they take a pass of their own over parameters and state.

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
    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.LAMB([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1])
    """

    _variants = (
        {},
        {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
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
        return "lamb", ("exp_avg", "exp_avg_sq")

    def _formula(self, t: int) -> tuple[float, ...]:
        b1, b2 = self._options["betas"]
        root = math.sqrt(1 - b2**t)
        return self._lr, root / (1 - b1**t), b1, b2, self._options["eps"] * root, self._options["weight_decay"]

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        b1, b2 = self._options["betas"]
        m = state["exp_avg"] = b1 * state["exp_avg"] + (1 - b1) * g
        v = state["exp_avg_sq"] = b2 * state["exp_avg_sq"] + (1 - b2) * g**2
        r = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + self._options["eps"]) + self._options["weight_decay"] * p
        sizes = np.linalg.norm(p), np.linalg.norm(r)
        trust = sizes[0] / sizes[1] if sizes[0] > 0 and sizes[1] > 0 and np.isfinite(sizes).all() else 1.0
        return p - self._lr * trust * r
