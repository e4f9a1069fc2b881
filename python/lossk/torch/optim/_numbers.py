"""Optimizers whose state has numbers beside the tensors, which a step reads and replaces: as torch has them."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch.optim.optimizer import _get_scalar_dtype

from ... import optimizers
from ..._arrays import Array


class Numbered(Protocol):
    """What an optimizer has whose formula depends on numbers of the state."""

    numbers: ClassVar[tuple[str, ...]]

    def start(self) -> tuple[float, ...]:
        """Return the numbers before the first step."""

    def with_numbers(self, t: int, *numbers: Any) -> tuple[tuple[float, ...], tuple[Any, ...]]:
        """Return the kernel's parameters of the t-th step, and the numbers after it."""


class NAdam(optimizers.NAdam):
    """NAdam with the product of momenta in its state, so that `betas` may change between steps."""

    numbers = ("mu_product",)

    def start(self) -> tuple[float, ...]:
        """Return the product of no momenta."""
        return (1.0,)

    def with_numbers(self, t: int, product: Any) -> tuple[tuple[float, ...], tuple[Any, ...]]:
        """Return the kernel's parameters; the product is rounded at each step to the type that it is kept in."""
        product = product * type(product)(self._momentum(t))
        return self._formula_from(t, float(product)), (product,)


class ASGD(optimizers.ASGD):
    """ASGD with a step's rate and share of the average in its state, computed at the end of the step before."""

    numbers = ("eta", "mu")

    def start(self) -> tuple[float, ...]:
        """Return rate and share of the first step."""
        return self._lr, 1.0

    def with_numbers(self, t: int, rate: Any, share: Any) -> tuple[tuple[float, ...], tuple[Any, ...]]:
        """Return the kernel's parameters, and rate and share of the next step, at the present learning rate."""
        return self._formula_from(float(rate), float(share)), (self._rate(t + 1), self._share(t + 1))


NAMES = {"step", *NAdam.numbers, *ASGD.numbers}


def start_of(formula: Any) -> dict[str, float]:
    """Return the numbers of a state before the first step."""
    return dict(zip(formula.numbers, formula.start(), strict=True)) if hasattr(formula, "numbers") else {}


def block_of(name: str, states: list[dict[str, Any]]) -> Array:
    """Return a number of each state in one array, whose elements the states' tensors become.

    It has the type that torch gives such numbers, or a wider one of those that are there.
    """
    values = [torch.as_tensor(own[name]) for own in states]
    wide = torch.float64 in (_get_scalar_dtype(), *(v.dtype for v in values))
    block = torch.tensor([float(v) for v in values], dtype=torch.float64 if wide else torch.float32)
    for own, element in zip(states, block.unbind(), strict=True):
        own[name] = element
    array: Array = block.numpy()
    return array


def with_numbers(formula: Numbered, counts: Array, blocks: list[Array]) -> list[tuple[Any, Any]]:
    """Return the kernel's parameters of each tensor's next step, and the numbers after it.

    They are computed once for all tensors that have made as many steps and have the same numbers.
    """
    ways = list(zip(counts, *blocks, strict=True))
    found = {way: formula.with_numbers(int(way[0]) + 1, *way[1:]) for way in dict.fromkeys(ways)}
    return [found[way] for way in ways]
