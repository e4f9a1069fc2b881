"""What all losses have in common: the catalogue, and how their references are weighted and reduced."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import Array, float64, targets_like, weights_like
from .._keywords import Value
from .._parameters import Frozen, dataclass_transform

Reference = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

# Every loss with a kernel, by the kernel's name: what tests and benchmarks go through.
LOSSES: dict[str, type[Loss]] = {}

_Class = TypeVar("_Class", bound="Loss")


@dataclass_transform(frozen_default=True, eq_default=False)
def loss(cls: type[_Class]) -> type[_Class]:
    """Make a class a frozen dataclass and enter it in the catalogue."""
    LOSSES[cls._kernel] = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    return cls


class Loss(Frozen):
    """A loss: its fields define it, its calls take arrays."""

    # The kernel's name in src/cpp/registry.hpp.
    _kernel: ClassVar[str]
    # Further kernels of the class.
    _also: ClassVar[tuple[str, ...]] = ()
    # Constructor arguments that tests and benchmarks go through.
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)


# ---- references -------------------------------------------------------------------------------------------------


def reference_inputs(z: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return predictions and targets in float64, of one shape as kernels want them."""
    z64 = float64("z", z)
    y64 = targets_like(y, z64)
    if y64.shape != z64.shape:
        raise ValueError(f"y: got shape {y64.shape}, wanted {z64.shape}, the shape of z")
    return z64, y64


def weighted_reference(
    parts: Reference,
    sample_weight: ArrayLike | None,
    reduction: str,
    normalizer: float | None,
    derivatives: bool,
    known: NDArray[np.bool_] | None = None,
) -> Value:
    """Weight and reduce the reference of a pointwise loss, of samples that are `known`."""
    w = np.ones_like(parts[0]) if sample_weight is None else float64("sample_weight", sample_weight)
    w = w if known is None else np.where(known, w, 0.0)
    with np.errstate(invalid="ignore"):
        value, grad, hess = (np.where(w != 0, w * part, 0.0) for part in parts)
    divisor = float(w.sum()) if normalizer is None else normalizer
    return reduce_reference(reduction, value, (grad, hess), divisor, derivatives, w != 0)


def product_of_weights(z: Array, cotangent: Any, sample_weight: Any, shape: tuple[int, ...]) -> Array:
    """Return upstream gradient times sample weight, in the type of the arithmetic on `z`; 0 where either is."""
    upstream = weights_like("cotangent", cotangent, z)
    if upstream.shape != shape:
        raise ValueError(f"cotangent: got shape {upstream.shape}, wanted {shape}, one entry a sample")
    if sample_weight is None:
        return upstream
    weight = weights_like("sample_weight", sample_weight, z)
    if weight.shape != shape:
        raise ValueError(f"sample_weight: got shape {weight.shape}, wanted {shape}, one weight a sample")
    counts = (upstream != 0) & (weight != 0)
    return np.multiply(upstream, weight, out=np.zeros_like(upstream), where=counts)


def reduce_reference(
    reduction: str,
    value: Array,
    derivatives: tuple[Array, ...],
    divisor: float,
    with_derivatives: bool,
    counts: Any = True,
) -> Value:
    """Reduce per-sample values and scale derivatives as the kernels do; exact 0 where a sample does not count."""
    total: Value
    if reduction == "none":
        total, scale = value, 1.0
    elif reduction == "sum":
        total, scale = float(value.sum()), 1.0
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            total, scale = float(np.divide(value.sum(), divisor)), float(np.divide(1.0, divisor))
    if not with_derivatives:
        return total
    with np.errstate(invalid="ignore"):
        return (total, *(np.where(counts, d * scale, 0.0) for d in derivatives))
