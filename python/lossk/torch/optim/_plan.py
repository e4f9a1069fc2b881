"""The tensors of one parameter group: which of them kernels update, their state, and one step of all of these."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter, is_
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import increment_version
from torch.optim.optimizer import _get_scalar_dtype

from ..._arrays import Array
from ...optimizers import Optimizer
from ...optimizers._plan import make_plan, step_at, step_by_each
from ...optimizers._tensors import check_apart
from .._exchange import array_of
from .._tensors import FLOATS, HALVES, is_plain
from ._numbers import NAMES, block_of, start_of, with_numbers

_data_ptr, _is_contiguous = torch.Tensor.data_ptr, torch.Tensor.is_contiguous
PLAIN = {torch.Tensor, torch.nn.Parameter}
_is_neg, _numel, _dtype = torch.Tensor.is_neg, torch.Tensor.numel, attrgetter("dtype")


def memory_order(p: Any) -> tuple[int, ...] | None:
    """Return the order of a tensor's axes in which it is contiguous; None where there is none."""
    if p.is_contiguous():
        return tuple(range(p.ndim))
    order = tuple(sorted(range(p.ndim), key=lambda axis: -p.stride(axis)))
    return order if p.permute(order).is_contiguous() else None


def fits(p: Any, g: Any) -> bool:
    """Tell whether kernels can update this parameter along this gradient."""
    return (
        is_plain(p)
        and is_plain(g)
        and p.dtype in FLOATS
        and g.dtype is p.dtype
        and g.shape == p.shape
        and not (p.is_neg() or g.is_neg() or p.is_inference())
        and memory_order(p) is not None
    )


def state_type(p: Any) -> Any:
    """Return the type that kernels want state in: that of the arithmetic."""
    return torch.float32 if p.dtype in HALVES else p.dtype


def narrow_state(p: Any, own: dict[str, Any]) -> None:
    """Give a parameter of 16 bits the state that torch's step wants: of the parameter's type."""
    for slot, tensor in own.items():
        if slot not in NAMES and torch.is_tensor(tensor) and tensor.dtype is torch.float32:
            own[slot] = tensor.to(p.dtype)


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))


class GroupPlan:
    """One group's parameters that have a gradient now: `mine` for kernels, `theirs` for torch; `idle` have none.

    State that is missing is made as torch makes it; the formula says what it begins with. Tensors are looked at closely
    once; before each step, `holds` and `gradients` tell cheaply whether all of them are what they were.
    """

    def __init__(self, group: dict[str, Any], state: Any, formula: Optimizer) -> None:
        self.params = list(group["params"])
        there = [p for p in self.params if p.grad is not None]
        self.idle = [p for p in self.params if p.grad is None]
        distinct = len(set(map(id, self.params))) == len(self.params)
        self.mine = [p for p in there if distinct and fits(p, p.grad)]
        taken = set(map(id, self.mine))
        self.theirs = [p for p in there if id(p) not in taken]
        self.kernel, self.slots = formula._kernel()
        self.types = list(map(_dtype, self.mine))
        self.sizes = list(map(_numel, self.mine))
        self.orders = [memory_order(p) for p in self.mine]
        arrays = [self._array(i, p) for i, p in enumerate(self.mine)]
        check_apart([f"params[{i}]" for i in range(len(arrays))], arrays)
        self.states = [state[p] for p in self.mine] if self.slots else []
        self.first: list[int] = []  # parameters whose state has been made just now
        try:
            slots = [self._take_state(i, formula) for i in range(len(arrays))]
            self.core = make_plan(self.kernel, arrays, arrays, slots)
        except (KeyError, TypeError, ValueError):
            self.forget_first()
            raise
        self.counts = self._take_counts()
        self.numbers = [block_of(name, self.states) for name in getattr(formula, "numbers", ())]
        self.all_states = list(state.values())
        self.entries = self._entries()
        self.places = self._places()
        self.contiguous = all(self.places[2])

    # ---- state ---------------------------------------------------------------------------------------------------

    def _array(self, i: int, tensor: Any) -> Array:
        """Return a tensor's memory, its axes in the order that makes the i-th parameter contiguous."""
        array: Array = array_of(tensor).transpose(self.orders[i])
        return array

    def _take_state(self, i: int, formula: Optimizer) -> list[Array]:
        """Return the arrays of a parameter's state, whose tensors get its strides and the type of the arithmetic."""
        if not self.slots:
            return []
        p, own = self.mine[i], self.states[i]
        if all(own.get(slot) is None for slot in self.slots):
            self._make_state(p, own, formula)
            self.first.append(i)
        for slot in self.slots:
            tensor = own[slot]
            if tensor.dtype is not state_type(p) or tensor.stride() != p.stride() or not is_plain(tensor):
                own[slot] = torch.empty_like(p, dtype=state_type(p), requires_grad=False).copy_(tensor)
        return [self._array(i, own[slot]) for slot in self.slots]

    def _make_state(self, p: Any, own: dict[str, Any], formula: Optimizer) -> None:
        if self.counted:
            own["step"] = torch.tensor(0.0, dtype=_get_scalar_dtype())
        own.update(start_of(formula))
        for slot in self.slots:
            start = formula._start(slot)
            assert start is not None, "torch's optimizers have no state that begins as the parameter"
            own[slot] = torch.full_like(p, start, dtype=state_type(p), requires_grad=False)

    @property
    def counted(self) -> bool:
        """Whether the state counts steps; where it does not, a first step is one that finds no state."""
        return not self.kernel.startswith("sgd")

    def _take_counts(self) -> Array:
        """Return the numbers of steps so far: one array, of which the state's tensors become elements."""
        if not self.counted:
            counts = np.ones(len(self.mine))
            counts[self.first] = 0
            return counts
        return block_of("step", self.states)

    def forget_first(self) -> None:
        """Remove state that was made for a step that did not happen."""
        for i in self.first:
            self.states[i].clear()

    # ---- is everything as it was? --------------------------------------------------------------------------------

    def _entries(self) -> list[Any]:
        return list(chain.from_iterable(own.values() for own in self.states))

    def _places(self) -> tuple[list[int], list[int], list[bool]]:
        return (
            list(map(_data_ptr, self.mine)),
            list(map(_data_ptr, self.entries)),
            list(map(_is_contiguous, self.mine)),
        )

    def holds(self, group: dict[str, Any], state: Any) -> bool:
        """Tell whether parameters and state are the tensors that they were, and where they were, and no more."""
        return (
            _same(group["params"], self.params)
            and all(p.grad is None for p in self.idle)
            and (not self.slots or _same(list(state.values()), self.all_states))
            and _same(self._entries(), self.entries)
            and self._places() == self.places
        )

    def gradients(self) -> list[Any] | None:
        """Return the gradients, as kernels read them; None where one is of another kind than before."""
        grads = [p.grad for p in self.mine]
        there, types, sizes = grads, self.types, self.sizes
        if NoneType in set(map(type, grads)):
            kept = [i for i, g in enumerate(grads) if g is not None]
            there, types, sizes = [grads[i] for i in kept], [types[i] for i in kept], [sizes[i] for i in kept]
        if not (set(map(type, there)) <= PLAIN and list(map(_dtype, there)) == types):
            return None
        try:
            if any(map(_is_neg, there)) or list(map(_numel, there)) != sizes:
                return None
            if all(map(_is_contiguous, there)) and self.contiguous:
                return grads
            return [g if g is None else self._in_order(i, g) for i, g in enumerate(grads)]
        except RuntimeError:  # sparse tensors have no strides
            return None

    def _in_order(self, i: int, g: Any) -> Any:
        """Return a gradient whose memory is in the order of its parameter's."""
        p = self.mine[i]
        return g if g.stride() == p.stride() else torch.empty_like(p, requires_grad=False).copy_(g)

    # ---- the step ------------------------------------------------------------------------------------------------

    def step(self, formula: Optimizer, grads: list[Any], scale: float) -> None:
        """Update parameters and state along gradients times `scale`, those that are there."""
        if NoneType in set(map(type, grads)):
            addresses = [g if g is None else g.data_ptr() for g in grads]
            changed = [p for p, g in zip(self.mine, grads, strict=True) if g is not None]
        else:
            addresses, changed = list(map(_data_ptr, grads)), self.mine
        if self.numbers:
            self._step_with_numbers(formula, addresses, scale)
        else:
            step_at(self.core, addresses, self.counts, formula, scale)
        self.first = []
        # Autograd is told, so that a graph that has saved a parameter refuses to use it.
        increment_version(changed)

    def _step_with_numbers(self, formula: Any, addresses: list[int | None], scale: float) -> None:
        found = with_numbers(formula, self.counts, self.numbers)
        step_by_each(self.core, addresses, self.counts, [parameters for parameters, _ in found], scale)
        there = np.array([address is not None for address in addresses])
        for k, block in enumerate(self.numbers):
            np.copyto(block, np.array([after[k] for _, after in found], block.dtype), where=there)
