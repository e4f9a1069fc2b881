"""Parameters of losses, activations and optimizers: checked, and frozen in objects that they define."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, as_array, is_integer
from ._names import call_text

if TYPE_CHECKING:
    from typing_extensions import Self
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Callable[[Any], Any]:
        """Tell type checkers what a decorator does; nothing at run time (typing has it from Python 3.11 on)."""
        return lambda function: function


def check_number(name: str, value: object, wanted: str, accept: Callable[[float], bool]) -> float:
    """Return a parameter of a loss or an optimizer as a float, or say what was got and what is wanted."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: got {value!r}, wanted {wanted}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond float64
        number = float("inf")
    if not accept(number):
        raise ValueError(f"{name}: got {value!r}, wanted {wanted}")
    return number


# Parameters are as float32 can multiply and divide by them; beyond, formulas would give NaN.
SMALLEST, LARGEST = 1e-30, 1e30
_POSITIVE = f"a finite number above 0, from {SMALLEST} to {LARGEST}"
_FINITE = f"a finite number, at most {LARGEST} in size"
_AT_LEAST_0 = f"a finite number, at least 0, at most {LARGEST}"


def positive(name: str, value: object) -> float:
    """Check that a parameter is a number above 0 that float32 can divide by."""
    return check_number(name, value, _POSITIVE, lambda x: SMALLEST <= x <= LARGEST)


def finite(name: str, value: object) -> float:
    """Check that a parameter is a finite number."""
    return check_number(name, value, _FINITE, lambda x: abs(x) <= LARGEST)


def boolean(name: str, value: object) -> bool:
    """Check that a parameter is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: got {value!r}, wanted True or False")
    return bool(value)


def at_least_0(name: str, value: object) -> float:
    """Check that a parameter is a finite number, at least 0."""
    if type(value) is float and 0 <= value <= LARGEST:  # as schedules set it every step
        return value
    return check_number(name, value, _AT_LEAST_0, lambda x: 0 <= x <= LARGEST)


class Frozen:
    """What its fields define: frozen, hashable, picklable, equal where class and parameters are."""

    def __new__(cls, *parameters: object, **named: object) -> Self:
        """Refuse arrays in the place of parameters: those are for the verbs."""
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        if sum(map(_is_array, parameters)) > sum(field.type == "Any" for field in fields):
            wanted = ", ".join(field.name for field in fields) or "nothing"
            raise TypeError(f"{cls.__name__}: got arrays, wanted {wanted}; arrays go to lossk.{call_text(cls)}")
        return super().__new__(cls)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _key(self) -> tuple[object, ...]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = (getattr(self, field.name) for field in fields)
        return tuple((v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = ", ".join(f"{field.name}={_shown(getattr(self, field.name))}" for field in fields)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Frozen):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __reduce__(self) -> tuple[Callable[..., Frozen], tuple[object, ...]]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return _rebuild, (type(self), {field.name: getattr(self, field.name) for field in fields})


def _is_array(value: object) -> bool:
    return isinstance(value, list | tuple) or (hasattr(value, "__array__") and not isinstance(value, np.generic))


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size <= 16 else f"<{value.size} weights>"
    return repr(value)


def _rebuild(cls: type[Frozen], fields: dict[str, object]) -> Frozen:
    return cls(**fields)


def constant_array(name: str, value: ArrayLike) -> tuple[Array, Array]:
    """Return read-only copies of an array parameter, for arithmetic in float32 and in float64."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted real numbers")
    copies = np.array(array, dtype=np.float32), np.array(array, dtype=np.float64)
    for copy in copies:
        copy.flags.writeable = False
    return copies


def label(name: str, value: object) -> int:
    """Check that a parameter is an integer of 64 bits."""
    if not is_integer(value):
        raise TypeError(f"{name}: got {value!r}, wanted an integer")
    if not -(2**63) <= value < 2**63:  # type: ignore[operator]
        raise ValueError(f"{name}: got {value}, wanted a 64-bit integer")
    return int(value)  # type: ignore[call-overload, no-any-return]


def class_weights(weight: ArrayLike) -> tuple[Array, Array]:
    """Return read-only copies of one weight a class, for arithmetic in float32 and in float64."""
    array = as_array("weight", weight)
    if array.dtype.kind not in "fiu" or array.ndim != 1:
        raise TypeError(f"weight: got dtype {array.dtype} and shape {array.shape}, wanted one real number a class")
    return constant_array("weight", array)
