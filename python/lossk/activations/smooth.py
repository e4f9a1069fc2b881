"""Smooth activations: sigmoids, and units that a distribution function gates."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ._base import Activation, Float64, activation
from ._normal import logistic, normal_cdf

__all__ = ["GELU", "Mish", "SiLU", "Sigmoid", "Softsign", "Tanh", "Tanhshrink"]

# The series of (x - tanh(x)) / x^3 in x^2, from the highest power on.
TANHSHRINK = (
    -18888466084 / 194896477400625,
    443861162 / 1856156927625,
    -6404582 / 10854718875,
    929569 / 638512875,
    -21844 / 6081075,
    1382 / 155925,
    -62 / 2835,
    17 / 315,
    -2 / 15,
    1 / 3,
)


@activation
class Sigmoid(Activation):
    """Logistic function ``1 / (1 + exp(-x))``; its derivative is ``s (1 - s)``.

    Neither overflows, and the derivative does not cancel where ``s`` is near 1. Largest errors in float32: 1.9 ULP,
    derivative 3.5 ULP.

    References
    ----------
    ``scipy.special.expit``; ``torch.sigmoid``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Sigmoid()(np.array([0.0, np.log(3.0)]))
    array([0.5 , 0.75])
    """

    _kernel: ClassVar[str] = "sigmoid"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        small = np.exp(-np.abs(x))
        value = np.where(x < 0, small, 1.0) / (1 + small)
        return value, small / (1 + small) ** 2


@activation
class Tanh(Activation):
    """Hyperbolic tangent; its derivative is ``1 - tanh(x)**2``, without cancellation.

    Largest errors in float32: 1 ULP, derivative 3.5 ULP.

    References
    ----------
    ``numpy.tanh``; ``torch.tanh``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Tanh().derivative(np.array([0.0, 20.0]))
    array([1.0000000e+00, 1.6993417e-17])
    """

    _kernel: ClassVar[str] = "tanh"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        small = np.exp(-2 * np.abs(x))
        return np.tanh(x), 4 * small / (1 + small) ** 2


@activation
class GELU(Activation):
    """Gaussian error linear unit ``x Phi(x)``, with ``Phi`` the distribution function of the normal distribution.

    Its derivative is ``Phi(x) + x phi(x)``. Far to the left `Phi` comes from its own tail, so that values keep their
    relative accuracy where PyTorch's ``1 + erf`` cancels. Largest errors in float32: 7 ULP, derivative 9 ULP of the
    larger of the result and 1/8 near its zero at -0.75.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh" replaces ``Phi(x)`` by ``(1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2``.

    Raises
    ------
    ValueError, TypeError
        If `approximate` is neither.

    References
    ----------
    ``torch.nn.functional.gelu``; Hendrycks, Gimpel 2016.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.GELU()(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.1587,  0.    ,  1.9545])
    """

    _kernel: ClassVar[str] = "gelu"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"approximate": "tanh"})

    approximate: str = "none"

    def _check(self) -> None:
        if not isinstance(self.approximate, str):
            raise TypeError(f"approximate: got {self.approximate!r}, wanted 'none' or 'tanh'")
        if self.approximate not in ("none", "tanh"):
            raise ValueError(f"approximate: got {self.approximate!r}, wanted 'none' or 'tanh'")

    def _kernel_of(self) -> str:
        return "gelu" if self.approximate == "none" else "gelu_tanh"

    def _numbers(self) -> tuple[float, ...]:
        return ()

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        if self.approximate == "none":
            cdf = normal_cdf(x)
            inside = np.clip(x, -40, 40)
            return np.maximum(x, -40) * cdf, cdf + inside * np.exp(-inside * inside / 2) / np.sqrt(2 * np.pi)
        inside = np.clip(x, -40, 40)
        v = np.sqrt(8 / np.pi) * (inside + 0.044715 * inside**3)
        slope = np.sqrt(8 / np.pi) * (1 + 3 * 0.044715 * inside**2)
        s = logistic(v)
        return np.maximum(x, -40) * s, s * (1 + inside * slope * logistic(-v))


@activation
class SiLU(Activation):
    """Sigmoid linear unit, or swish, ``x s`` with ``s = 1 / (1 + exp(-x))``; its derivative is ``s (1 + x (1 - s))``.

    Largest errors in float32: 2.8 ULP, derivative 5 ULP of the larger of the result and 1/8 near its zero at -1.28.

    References
    ----------
    ``torch.nn.functional.silu``; Elfwing, Uchibe, Doya 2018.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.SiLU()(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.2689,  0.    ,  1.7616])
    """

    _kernel: ClassVar[str] = "silu"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        inside = np.clip(x, -1e30, 1e30)
        s = logistic(x)
        return np.maximum(x, -1e30) * s, s * (1 + inside * logistic(-x))


@activation
class Mish(Activation):
    """Mish: ``x tanh(log(1 + exp(x)))``.

    Its derivative is ``t + x (1 - t**2) / (1 + exp(-x))`` with ``t`` the hyperbolic tangent, computed without
    cancellation. Largest errors in float32: 5 ULP, derivative 9 ULP of the larger of the result and 1/8 near its zero
    at -1.19.

    References
    ----------
    ``torch.nn.functional.mish``; Misra 2020.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Mish()(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.3034,  0.    ,  1.944 ])
    """

    _kernel: ClassVar[str] = "mish"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        e = np.exp(-np.abs(x))
        whole = np.where(x < 0, 2 + 2 * e + e * e, 1 + 2 * e + 2 * e * e)
        t = np.where(x < 0, e * (2 + e), 1 + 2 * e) / whole
        slope = 4 * (1 + e) * np.where(x < 0, e, e * e) / whole**2
        return np.maximum(x, -1e30) * t, t + np.clip(x, -1e30, 1e30) * slope


@activation
class Softsign(Activation):
    """Softsign ``x / (1 + |x|)``; its derivative is ``1 / (1 + |x|)**2``.

    Largest errors in float32: 1.5 ULP, derivative 3.5 ULP.

    References
    ----------
    ``torch.nn.functional.softsign``; Turian, Bergstra, Bengio 2009.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Softsign()(np.array([-np.inf, 0.0, 3.0])).round(4)
    array([-1.  ,  0.  ,  0.75])
    """

    _kernel: ClassVar[str] = "softsign"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        inside = np.clip(x, -1e30, 1e30)
        return inside / (1 + np.abs(inside)), 1 / (1 + np.abs(x)) ** 2


@activation
class Tanhshrink(Activation):
    """The rest of the hyperbolic tangent, ``x - tanh(x)``; its derivative is ``tanh(x)**2``.

    It does not cancel near 0, where it is about ``x**3 / 3``. Largest errors in float32: 5 ULP, derivative 3 ULP.

    References
    ----------
    ``torch.nn.functional.tanhshrink``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Tanhshrink()(np.array([0.001, 1.0]))
    array([3.33333200e-10, 2.38405844e-01])
    """

    _kernel: ClassVar[str] = "tanhshrink"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        # Where the difference would cancel, the series, whose next term is below 1e-16.
        square = np.minimum(x * x, 0.0625)
        series = np.zeros_like(square)
        for coefficient in TANHSHRINK:
            series = series * square + coefficient
        return np.where(np.abs(x) <= 0.25, x * x * x * series, x - np.tanh(x)), np.tanh(x) ** 2
