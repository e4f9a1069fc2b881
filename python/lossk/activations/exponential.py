"""Activations of an exponential to the left: linear units, and the softplus."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._parameters import finite, positive
from ._base import Activation, Float64, activation

__all__ = ["CELU", "ELU", "SELU", "LogSigmoid", "Softplus"]


@activation
class SELU(Activation):
    """Scaled exponential linear unit: ``s x`` where ``x > 0``, ``s a (exp(x) - 1)`` elsewhere.

    ``s = 1.0507009873554805`` and ``a = 1.6732632423543772`` keep mean 0 and variance 1. The derivative is ``s`` or
    ``s a exp(x)``. Largest errors in float32: 4 ULP.

    References
    ----------
    ``torch.nn.functional.selu``; Klambauer, Unterthiner, Mayr, Hochreiter 2017.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.SELU()(np.array([-np.inf, 0.0, 1.0])).round(4)
    array([-1.7581,  0.    ,  1.0507])
    """

    _kernel: ClassVar[str] = "selu"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
        below = np.minimum(x, 0.0)
        value = np.where(x > 0, scale * x, scale * alpha * np.expm1(below))
        return value, np.where(x > 0, scale, scale * alpha * np.exp(below))


@activation
class ELU(Activation):
    """Exponential linear unit: ``x`` where ``x > 0``, ``alpha (exp(x) - 1)`` elsewhere.

    Its derivative is 1 or ``alpha exp(x)``. Largest errors in float32: 2.5 ULP, derivative 2 ULP.

    Parameters
    ----------
    alpha : float
        Minus the value that is approached far to the left.

    Raises
    ------
    ValueError, TypeError
        If `alpha` is not a finite number.

    References
    ----------
    ``torch.nn.functional.elu``; Clevert, Unterthiner, Hochreiter 2016.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.ELU()(np.array([-np.inf, -1.0, 2.0])).round(4)
    array([-1.    , -0.6321,  2.    ])
    """

    _kernel: ClassVar[str] = "elu"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"alpha": 0.75})

    alpha: float = 1.0

    def _check(self) -> None:
        self._set("alpha", finite("alpha", self.alpha))

    def _numbers(self) -> tuple[float, ...]:
        return self.alpha, 1.0

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        below = np.minimum(x, 0.0)
        value = np.where(x > 0, x, self.alpha * np.expm1(below))
        return value, np.where(x > 0, 1.0, self.alpha * np.exp(below))


@activation
class CELU(Activation):
    """Continuously differentiable ELU: ``x`` where ``x > 0``, ``alpha (exp(x / alpha) - 1)`` elsewhere.

    Its derivative is 1 or ``exp(x / alpha)``. Largest errors in float32 for ``alpha=1``: 2.5 ULP, derivative 2 ULP;
    others add the rounding of ``x / alpha``.

    Parameters
    ----------
    alpha : float
        Minus the value that is approached far to the left; above 0.

    Raises
    ------
    ValueError, TypeError
        If `alpha` is not a finite number above 0.

    References
    ----------
    ``torch.nn.functional.celu``; Barron 2017.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.CELU(2.0)(np.array([-np.inf, -1.0, 2.0])).round(4)
    array([-2.    , -0.7869,  2.    ])
    """

    _kernel: ClassVar[str] = "elu"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"alpha": 2.0})

    alpha: float = 1.0

    def _check(self) -> None:
        self._set("alpha", positive("alpha", self.alpha))

    def _numbers(self) -> tuple[float, ...]:
        return self.alpha, self.alpha

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        below = np.minimum(x, 0.0) / self.alpha
        value = np.where(x > 0, x, self.alpha * np.expm1(below))
        return value, np.where(x > 0, 1.0, np.exp(below))


@activation
class Softplus(Activation):
    """Smooth rectifier ``log(1 + exp(beta x)) / beta``; its derivative is ``sigmoid(beta x)``.

    Exact where PyTorch, beyond its threshold, is linear. Largest errors in float32 for ``beta=1``: 2.1 ULP, derivative
    1.9 ULP; other `beta` add the rounding of ``beta x``.

    Parameters
    ----------
    beta : float
        Above 0; the larger, the closer to the rectifier.

    Raises
    ------
    ValueError, TypeError
        If `beta` is not a finite number above 0.

    References
    ----------
    ``torch.nn.functional.softplus``; Dugas et al. 2001.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Softplus()(np.array([-1000.0, 0.0, 1000.0])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+03])
    """

    _kernel: ClassVar[str] = "softplus"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"beta": 4.0})

    beta: float = 1.0

    def _check(self) -> None:
        self._set("beta", positive("beta", self.beta))

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        small = np.exp(-np.abs(self.beta * x))
        value = np.maximum(x, 0.0) + np.log1p(small) / self.beta
        return value, np.where(x < 0, small, 1.0) / (1 + small)


@activation
class LogSigmoid(Activation):
    """Logarithm of the logistic function, ``-log(1 + exp(-x))``; its derivative is ``1 / (1 + exp(x))``.

    Computed by `Softplus`, without cancellation: largest errors in float32 are 2.1 ULP, derivative 1.9 ULP.

    References
    ----------
    ``torch.nn.functional.logsigmoid``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.LogSigmoid()(np.array([-1000.0, 0.0])).round(4)
    array([-1.000e+03, -6.931e-01])
    """

    _kernel: ClassVar[str] = "softplus"

    def _numbers(self) -> tuple[float, ...]:
        return (-1.0,)  # the beta of softplus

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        small = np.exp(-np.abs(x))
        return np.minimum(x, 0.0) - np.log1p(small), np.where(x < 0, 1.0, small) / (1 + small)
