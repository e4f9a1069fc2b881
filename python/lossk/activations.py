"""Activations: a function of each number, its derivative, and a cotangent times that."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import Array, Output, float64, floats, floats_like
from ._parameters import Frozen, dataclass_transform, finite, positive

__all__ = ["SELU", "LeakyReLU", "ReLU", "Sigmoid", "Softplus", "Tanh"]

# What a kernel gives, numbered as map in src/cpp/base/types.hpp.
VALUE, DERIVATIVE, VJP = range(3)

Float64 = NDArray[np.float64]

# Every activation, by the kernel's name: what tests, benchmarks and the reference page go through.
ACTIVATIONS: dict[str, type[Activation]] = {}

_Class = TypeVar("_Class", bound="Activation")


@dataclass_transform(frozen_default=True, eq_default=False)
def activation(cls: type[_Class]) -> type[_Class]:
    """Make a class a frozen dataclass and enter it in the catalogue."""
    ACTIVATIONS[cls._kernel] = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    return cls


class Activation(Frozen):
    """A function of numbers one by one: its fields define it, its calls take arrays."""

    # The kernel's name in src/cpp/registry.hpp.
    _kernel: ClassVar[str]
    # Constructor arguments that tests go through.
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    _index: int
    _parameters: tuple[float, ...]

    def __post_init__(self) -> None:
        self._check()
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        self._set("_index", _core.activation_kernels[self._kernel])
        self._set("_parameters", tuple(float(getattr(self, field.name)) for field in fields))

    def _check(self) -> None:
        """Raise where a parameter is not what the formula wants."""

    def __call__(self, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
        """Return the function of every number.

        Parameters
        ----------
        x : array_like of float32, float64, float16 or bfloat16, any shape
            Arguments.
        out : ndarray, optional
            Where to write: of the shape and dtype of `x`, `x` itself or separate memory.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        ndarray
            Like `x`; `out` where given. NaN gives NaN.

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above; nothing has been written then.
        """
        return self._run(VALUE, x, None, num_threads, out)

    def derivative(self, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
        """Return the derivative at every number; parameters, result and errors are those of calling the activation."""
        return self._run(DERIVATIVE, x, None, num_threads, out)

    def vjp(
        self, x: ArrayLike, cotangent: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
    ) -> Array:
        """Return `cotangent` times the derivative at `x`.

        `cotangent` has the shape of `x` and is converted to its dtype; `out` may be `x`, `cotangent` or separate
        memory. The rest is as in calling the activation.
        """
        return self._run(VJP, x, cotangent, num_threads, out)

    def reference(self, x: ArrayLike) -> tuple[Float64, Float64]:
        """Return (value, derivative) from the formula in plain float64 NumPy: the specification."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self._reference(float64("x", x))

    def _reference(self, x: Float64) -> tuple[Float64, Float64]:
        """Return value and derivative in float64."""
        raise NotImplementedError

    def _run(self, what: int, x: Any, cotangent: Any, threads: Any, out: Any) -> Array:
        result: Array = _core.activation(self._index, self._parameters, what, x, cotangent, threads, out)
        if result is not NotImplemented:
            return result
        given = x if isinstance(x, np.ndarray) else floats("x", x)
        others = {"cotangent": cotangent} if isinstance(cotangent, np.ndarray) and cotangent is not out else {}
        output = None if out is None else Output("out", out, given, others, "x")
        x = floats("x", given)
        cotangent = floats_like("cotangent", cotangent, x) if what == VJP else None
        result = _core.activation(self._index, self._parameters, what, x, cotangent, threads, None)
        return result if output is None else output.fill(result)


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
