"""Losses of the registry as cases of tests: their variants, sizes, drawn batches, verbs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossk
from lossk._arrays import as_array
from lossk.losses import LOSSES, Loss, PointwiseLoss
from tests.support.arrays import Array

REDUCTIONS = ("mean", "sum", "none")

# Around register widths, tiles and blocks (512) and chunks (16384).
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 511, 513, 1025)
LARGE_SIZES = (16383, 16384, 16385, 40001)


class GaussianOfTwo(lossk.GaussianNLL):
    """GaussianNLL as a loss of two arrays, for what all losses are tested for: the variance is |y|, an exact number."""


def _with_variance(verb: str) -> Callable[..., Any]:
    def call(self: Any, z: Any, y: Any, *others: Any, **options: Any) -> Any:
        return getattr(lossk.GaussianNLL, verb)(self, z, y, np.abs(as_array("y", y)), *others, **options)

    return call


for _verb in ("__call__", "grad", "value_and_grad", "grad_and_hess", "vjp", "reference"):
    setattr(GaussianOfTwo, _verb, _with_variance(_verb))

# Where a loss takes z and y from, if not from all numbers.
DOMAINS = {"binary_cross_entropy": (0.0, 1.0)}

STAND_INS: dict[str, type[Loss]] = {"gaussian_nll": GaussianOfTwo}


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss of the registry with the constructor arguments of one of its variants."""

    kernel: str
    variant: int

    @property
    def kwargs(self) -> dict[str, Any]:
        return LOSSES[self.kernel]._variants[self.variant]

    def plain(self) -> Any:
        return LOSSES[self.kernel](**self.kwargs)

    def make(self) -> Any:
        """The loss, as one of two arrays."""
        return STAND_INS.get(self.kernel, LOSSES[self.kernel])(**self.kwargs)

    @property
    def pointwise(self) -> bool:
        return issubclass(LOSSES[self.kernel], PointwiseLoss)

    def shapes(self, n: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of predictions with n elements; for row losses n rows and n classes."""
        return ((n,),) if self.pointwise else ((3, n), (n, 3)) if n < 5000 else ((2, n),)

    def sample_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if self.pointwise else shape[:-1]

    def __str__(self) -> str:
        arguments = ",".join(f"{name}={value}" for name, value in self.kwargs.items())
        return f"{LOSSES[self.kernel].__name__}({arguments})"


CASES = tuple(Case(kernel, i) for kernel, cls in LOSSES.items() for i in range(len(cls._variants)))
FIRST_CASES = tuple(case for case in CASES if case.variant == 0)

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_pointwise_case = pytest.mark.parametrize("case", [c for c in CASES if c.pointwise], ids=str)
each_row_case = pytest.mark.parametrize("case", [c for c in CASES if not c.pointwise], ids=str)
each_loss = pytest.mark.parametrize("case", FIRST_CASES, ids=str)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Arrays of one call."""

    z: Array
    target: Array
    weight: Array | None


def draw(case: Case, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, weighted: bool = False) -> Batch:
    z, target = LOSSES[case.kernel]._draw(rng, shape, dtype)[:2]
    weight = rng.uniform(0.25, 2.0, size=case.sample_shape(shape)).astype(dtype) if weighted else None
    return Batch(z, target, weight)


def run_verb(loss: Any, verb: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """What a verb returns, as a tuple; "value" is calling the loss."""
    result = loss(*args, **kwargs) if verb == "value" else getattr(loss, verb)(*args, **kwargs)
    return result if isinstance(result, tuple) else (result,)


VERBS = ("value", "grad", "value_and_grad", "grad_and_hess")


def run_batch(loss: Any, batch: Batch, verb: str) -> tuple[Any, ...]:
    return run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight)


def draw_gaussian(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array, Array]:
    z, y, var = lossk.GaussianNLL._draw(rng, shape, dtype)
    return z, y, var
