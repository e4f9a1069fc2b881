"""What activations have in common: the calls, and the catalogue."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, Output, float64, floats, floats_like
from .._parameters import Frozen, dataclass_transform

# What a kernel gives, numbered as map in src/cpp/base/types.hpp.
VALUE, DERIVATIVE, VJP = range(3)

Float64 = NDArray[np.float64]

# Every activation by its name: what tests, benchmarks and the reference page go through.
ACTIVATIONS: dict[str, type[Activation]] = {}

_Class = TypeVar("_Class", bound="Activation")


@dataclass_transform(frozen_default=True, eq_default=False)
def activation(cls: type[_Class]) -> type[_Class]:
    """Make a class a frozen dataclass and enter it in the catalogue."""
    ACTIVATIONS[cls.__name__] = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
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
        self._set("_index", _core.activation_kernels[self._kernel_of()])
        self._set("_parameters", self._numbers())

    def _check(self) -> None:
        """Raise where a parameter is not what the formula wants."""

    def _kernel_of(self) -> str:
        """Return the kernel's name, where it depends on the parameters."""
        return self._kernel

    def _numbers(self) -> tuple[float, ...]:
        """Return the parameters of the kernel: the fields, unless one kernel computes several activations."""
        return tuple(float(getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]

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
