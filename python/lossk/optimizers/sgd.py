"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from .._parameters import at_least_0, boolean, finite
from ._base import Array64, Optimizer, optimizer
from ._tensors import Arrays


@optimizer
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, in place, as PyTorch or as Keras defines it.

    ``style="torch"``, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        b = momentum * b + (1 - dampening) * d      (b = d at a parameter's first step)
        p -= lr * (d + momentum * b if nesterov else b)

    ``style="keras"``, with decoupled weight decay::

        m = momentum * m - lr * g
        p -= lr * weight_decay * p
        p += momentum * m - lr * g if nesterov else m

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    momentum, dampening, weight_decay : float
        At least 0; dampening is torch's alone.
    nesterov, maximize : bool
        Nesterov's momentum; climb instead of descending.
    style : {"torch", "keras"}
        Whose definition of momentum and weight decay.
    master_weights : bool
        Update float32 copies of parameters of 16 bits; see `lossk.optimizers.Optimizer`.
    stochastic_rounding : int, optional
        Seed of the rounding of parameters of 16 bits; see `lossk.optimizers.Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above; nesterov needs momentum above 0 and, in torch's style, no dampening.

    References
    ----------
    ``torch.optim.SGD``; ``keras.optimizers.SGD``; Sutskever et al., "On the importance of initialization and
    momentum in deep learning", 2013.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0])
    >>> sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     _ = sgd.step([np.array([1.0])])
    >>> p.round(6)
    array([0.71])
    """

    _variants = (
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01, "maximize": True},
        {"momentum": 0.9, "style": "keras"},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "style": "keras"},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        maximize: bool = False,
        style: str = "torch",
        *,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "momentum": at_least_0("momentum", momentum),
            "dampening": finite("dampening", dampening),
            "nesterov": boolean("nesterov", nesterov),
            "weight_decay": at_least_0("weight_decay", weight_decay),
            "maximize": boolean("maximize", maximize),
            "style": style,
        }
        if style not in ("torch", "keras"):
            raise ValueError(f"style: got {style!r}, wanted 'torch' or 'keras'")
        if style == "keras" and dampening != 0:
            raise ValueError(f"dampening: got {dampening}, wanted 0 in Keras' style, which has none")
        if nesterov and style == "torch" and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov: got momentum {momentum} and dampening {dampening}, wanted momentum above 0 and no dampening"
            )
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _form(self) -> str:
        return f"SGD, {self._options['style']} style"

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        if self._options["style"] == "keras":
            return "sgd_keras", ("momentum_buffer",)
        return ("sgd_momentum", ("momentum_buffer",)) if self._options["momentum"] else ("sgd", ())

    _independent_from = 2

    def _formula(self, t: int) -> tuple[float, ...]:
        o = self._options
        return self._lr, o["momentum"], o["dampening"], o["weight_decay"], o["nesterov"], t == 1

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        o, lr, b = self._options, self._lr, state.get("momentum_buffer")
        if o["style"] == "keras":
            m = state["momentum_buffer"] = o["momentum"] * b - lr * g
            return p - lr * o["weight_decay"] * p + (o["momentum"] * m - lr * g if o["nesterov"] else m)
        d = g + o["weight_decay"] * p
        if b is not None:
            b = state["momentum_buffer"] = d if t == 1 else o["momentum"] * b + (1 - o["dampening"]) * d
            d = d + o["momentum"] * b if o["nesterov"] else b
        return p - lr * d
