"""Activations of straight pieces."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._parameters import at_least_0, finite
from ._base import Activation, Float64, activation

__all__ = ["Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "ReLU", "ReLU6", "Softshrink"]


def clipped(x: Float64, low: float, high: float) -> tuple[Float64, Float64]:
    """Return `x` between two bounds, and the derivative of that."""
    return np.minimum(np.maximum(x, low), high), np.where(np.isnan(x), x, (x > low) & (x < high))


@activation
class ReLU(Activation):
    """Rectifier ``max(0, x)``; its derivative is 1 where ``x > 0``, 0 elsewhere.

    References
    ----------
    ``torch.nn.functional.relu``; Nair, Hinton 2010.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.ReLU()(np.array([-2.0, 3.0]))
    array([0., 3.])
    """

    _kernel: ClassVar[str] = "relu"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        return np.maximum(x, 0.0), np.where(np.isnan(x), x, x > 0)


@activation
class LeakyReLU(Activation):
    """Leaky rectifier: ``x`` where ``x > 0``, ``negative_slope x`` elsewhere; its derivative is 1 or `negative_slope`.

    Parameters
    ----------
    negative_slope : float
        Slope for ``x <= 0``.

    Raises
    ------
    ValueError, TypeError
        If `negative_slope` is not a finite number.

    References
    ----------
    ``torch.nn.functional.leaky_relu``; Maas, Hannun, Ng 2013.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.LeakyReLU(0.1)(np.array([-2.0, 3.0]))
    array([-0.2,  3. ])
    """

    _kernel: ClassVar[str] = "leaky_relu"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"negative_slope": 0.25})

    negative_slope: float = 0.01

    def _check(self) -> None:
        self._set("negative_slope", finite("negative_slope", self.negative_slope))

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        slope = np.where(x > 0, 1.0, self.negative_slope)
        return x * slope, np.where(np.isnan(x), x, slope)


@activation
class ReLU6(Activation):
    """Rectifier of at most 6: ``min(max(0, x), 6)``; its derivative is 1 where ``0 < x < 6``, 0 elsewhere.

    References
    ----------
    ``torch.nn.functional.relu6``; Krizhevsky 2010.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.ReLU6()(np.array([-2.0, 3.0, 7.0]))
    array([0., 3., 6.])
    """

    _kernel: ClassVar[str] = "hardtanh"

    def _numbers(self) -> tuple[float, ...]:
        return 0.0, 6.0, 0.0, 1.0

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        return clipped(x, 0.0, 6.0)


@activation
class Hardtanh(Activation):
    """`x` between `min_val` and `max_val`, which it does not leave; its derivative is 1 between them, 0 elsewhere.

    Parameters
    ----------
    min_val, max_val : float
        Smallest and largest value.

    Raises
    ------
    ValueError, TypeError
        If they are not finite numbers, the first below the second.

    References
    ----------
    ``torch.nn.functional.hardtanh``; Collobert 2004.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Hardtanh(-1.0, 2.0)(np.array([-2.0, 0.5, 3.0]))
    array([-1. ,  0.5,  2. ])
    """

    _kernel: ClassVar[str] = "hardtanh"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"min_val": -0.5, "max_val": 2.0})

    min_val: float = -1.0
    max_val: float = 1.0

    def _check(self) -> None:
        self._set("min_val", finite("min_val", self.min_val))
        self._set("max_val", finite("max_val", self.max_val))
        if self.min_val >= self.max_val:
            raise ValueError(f"max_val: got {self.max_val}, wanted a finite number above min_val, {self.min_val}")

    def _numbers(self) -> tuple[float, ...]:
        return self.min_val, self.max_val, 0.0, 1.0

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        return clipped(x, self.min_val, self.max_val)


@activation
class Hardsigmoid(Activation):
    """A sigmoid of three lines: ``min(max(x + 3, 0), 6) / 6``; its derivative is 1/6 where ``-3 < x < 3``, 0 elsewhere.

    Largest errors in float32: 1.5 ULP.

    References
    ----------
    ``torch.nn.functional.hardsigmoid``; Howard et al. 2019.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Hardsigmoid()(np.array([-4.0, 0.0, 1.0])).round(4)
    array([0.    , 0.5   , 0.6667])
    """

    _kernel: ClassVar[str] = "hardtanh"

    def _numbers(self) -> tuple[float, ...]:
        return 0.0, 6.0, -3.0, 1 / 6

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        return clipped(x + 3, 0.0, 6.0)[0] / 6, clipped(x, -3.0, 3.0)[1] / 6


@activation
class Hardswish(Activation):
    """A swish of lines and a parabola: ``x min(max(x + 3, 0), 6) / 6``.

    Its derivative is 0 up to -3, 1 from 3 on, ``x / 3 + 1/2`` between. Largest errors in float32: 2.5 ULP,
    derivative 3 ULP of the larger of the result and 1/8.

    References
    ----------
    ``torch.nn.functional.hardswish``; Howard et al. 2019.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Hardswish()(np.array([-4.0, -1.0, 4.0])).round(4)
    array([ 0.    , -0.3333,  4.    ])
    """

    _kernel: ClassVar[str] = "hardswish"

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        value = np.where(x <= -3, 0.0, x * (np.minimum(x + 3, 6.0) / 6))
        return value, np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5))


@activation
class Softshrink(Activation):
    """`x` moved by `lambd` towards 0, where it stays; the derivative is 1 where ``|x| > lambd``, 0 elsewhere.

    Parameters
    ----------
    lambd : float
        How far; at least 0.

    Raises
    ------
    ValueError, TypeError
        If `lambd` is not a finite number, at least 0.

    References
    ----------
    ``torch.nn.functional.softshrink``; Donoho 1995.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Softshrink()(np.array([-2.0, 0.25, 1.0]))
    array([-1.5,  0. ,  0.5])
    """

    _kernel: ClassVar[str] = "shrink"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"lambd": 1.25})

    lambd: float = 0.5

    def _check(self) -> None:
        self._set("lambd", at_least_0("lambd", self.lambd))

    def _numbers(self) -> tuple[float, ...]:
        return self.lambd, self.lambd

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        far = np.abs(x) > self.lambd
        return np.where(np.abs(x) <= self.lambd, 0.0, x - np.sign(x) * self.lambd), np.where(np.isnan(x), x, far)


@activation
class Hardshrink(Activation):
    """`x` where ``|x| > lambd``, 0 elsewhere; the derivative is 1 or 0.

    Parameters
    ----------
    lambd : float
        The largest size that becomes 0; at least 0.

    Raises
    ------
    ValueError, TypeError
        If `lambd` is not a finite number, at least 0.

    References
    ----------
    ``torch.nn.functional.hardshrink``; Donoho, Johnstone 1994.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.Hardshrink()(np.array([-2.0, 0.25, 1.0]))
    array([-2.,  0.,  1.])
    """

    _kernel: ClassVar[str] = "shrink"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"lambd": 1.25})

    lambd: float = 0.5

    def _check(self) -> None:
        self._set("lambd", at_least_0("lambd", self.lambd))

    def _numbers(self) -> tuple[float, ...]:
        return self.lambd, 0.0

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        far = np.abs(x) > self.lambd
        return np.where(np.abs(x) <= self.lambd, 0.0, x), np.where(np.isnan(x), x, far)
