"""Rprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._parameters import boolean, check_number, positive
from ._base import Array64, Optimizer, optimizer
from ._tensors import Arrays


@optimizer
class Rprop(Optimizer):
    """Rprop: steps that grow while the gradient keeps its sign, and shrink where it changes, in place.

    Of the gradient only the sign counts, so that it is for whole batches. With ``g`` the gradient (negated if
    `maximize`), ``before`` that of the last step, ``size`` at first `lr`::

        s = sign(g * before)
        size = clip(size * (etas[1] if s > 0 else etas[0] if s < 0 else 1), *step_sizes)
        g = 0 if s < 0 else g
        p -= sign(g) * size

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters of float64, float32, float16 or bfloat16, any strides, updated in place by `step`.
    lr : float
        First step, at least 0; later values of the attribute `lr` count for parameters that have made none.
    etas : (float, float)
        The factor of a step after a change of sign, in (0, 1), and without one, above 1.
    step_sizes : (float, float)
        Smallest and largest step, above 0.
    maximize : bool
        Climb instead of descending.
    master_weights : bool
        Update float32 copies of parameters of 16 bits; see `lossk.optimizers.Optimizer`.
    stochastic_rounding : int, optional
        Seed of the rounding of parameters of 16 bits; see `lossk.optimizers.Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

    References
    ----------
    ``torch.optim.Rprop``; Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning", 1993.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0, -1.0])
    >>> lossk.Rprop([p], lr=0.1).step([np.array([0.5, 1e-3])])
    StepResult(applied=True, grad_norm=None)
    >>> p.round(4)
    array([ 0.9, -1.1])
    """

    _variants = (
        {},
        {"etas": (0.25, 2.0), "step_sizes": (0.01, 0.15), "maximize": True},
    )

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
        master_weights: bool = False,
        stochastic_rounding: int | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "etas": _etas(etas),
            "step_sizes": _step_sizes(step_sizes),
            "maximize": boolean("maximize", maximize),
        }
        super().__init__(params, lr, options, master_weights, stochastic_rounding)

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        return "rprop", ("prev", "step_size")

    _independent_from = 1

    def _start(self, slot: str) -> float:
        return self._lr if slot == "step_size" else 0.0

    def _formula(self, t: int) -> tuple[float, ...]:
        return (*self._options["etas"], *self._options["step_sizes"])

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        fade, grow = self._options["etas"]
        same = np.sign(g * state["prev"])
        factor = np.where(same > 0, grow, np.where(same < 0, fade, 1.0))
        size = state["step_size"] = np.clip(state["step_size"] * factor, *self._options["step_sizes"])
        along = state["prev"] = np.where(same < 0, 0.0, g)
        return p - np.sign(along) * size


def _pair(what: str, value: object, wanted: str) -> tuple[object, object]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{what}: got {value!r}, wanted {wanted}")
    return value[0], value[1]


def _etas(etas: object) -> tuple[float, float]:
    fade, grow = _pair("etas", etas, "two numbers, one in (0, 1), one above 1")
    return (
        check_number("etas[0]", fade, "a number in (0, 1)", lambda x: 0 < x < 1),
        check_number("etas[1]", grow, "a finite number above 1", lambda x: 1 < x < 1e30),
    )


def _step_sizes(sizes: object) -> tuple[float, float]:
    low, high = _pair("step_sizes", sizes, "two numbers above 0, the smaller first")
    smallest, largest = positive("step_sizes[0]", low), positive("step_sizes[1]", high)
    if smallest > largest:
        raise ValueError(f"step_sizes: got {sizes!r}, wanted two numbers above 0, the smaller first")
    return smallest, largest
