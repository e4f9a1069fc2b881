"""Plans: the arrays of an optimizer as the binding keeps them; what steps come to, and those along addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import _core
from .._arrays import Array

if TYPE_CHECKING:
    from ._base import Optimizer


class StepResult(NamedTuple):
    """What a step came to.

    Attributes
    ----------
    applied : bool
        False where the step was skipped because the norm of the gradients was not finite: neither parameters nor
        state have changed then.
    grad_norm : float or None
        The norm of all gradients as one vector, divided by `grad_scale`, before clipping; None where the step was
        given neither `max_norm` nor `grad_scale`, and took no norm.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0])
    >>> lossk.SGD([p], lr=0.1).step([np.array([np.inf])], grad_scale=1024.0)
    StepResult(applied=False, grad_norm=inf)
    >>> p
    array([1.])
    """

    applied: bool
    grad_norm: float | None


# What most steps come to.
APPLIED = StepResult(True, None)


def make_plan(
    kernel: str,
    params: list[Array],
    work: list[Array],
    slots: list[list[Array]],
    masters: list[Array | None] | None = None,
    seed: int | None = None,
    keys: tuple[str, ...] | None = None,
    turn: _core.Turn | None = None,
) -> _core.UpdatePlan:
    """Return the plan of steps of a kernel, by its name, over these arrays."""
    index, _ = _core.optimizer_kernels[kernel]
    return _core.UpdatePlan(
        index, params, work, slots, masters or [None] * len(params), seed, keys, turn or _core.Turn()
    )


def step_at(
    plan: _core.UpdatePlan, addresses: list[int | None], counts: Array, formula: Optimizer, scale: float
) -> None:
    """Make a step along gradients given by their addresses, which the caller has checked, and count it in `counts`."""
    steps = counts.astype(np.int64).tolist()
    rule = (formula._formula, formula._lr_version, formula._independent_from)
    _core.step_at(plan, addresses, steps, *rule, scale, False, None, None, counts)


def step_by_each(
    plan: _core.UpdatePlan,
    addresses: list[int | None],
    counts: Array,
    parameters: list[tuple[float, ...]],
    scale: float,
) -> None:
    """Do the same, with the kernel's parameters for each tensor given."""
    places = list(range(len(parameters)))
    rule = (lambda place: parameters[place - 1], object(), None)
    _core.step_at(plan, addresses, places, *rule, scale, False, None, None, counts)
