"""What optimizers have in common: parameters and their state, the step of all of them, copies, the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, allocated, arithmetic, empty
from .._parameters import at_least_0, boolean, positive
from . import _state
from ._options import norm_limit, seed_of
from ._plan import APPLIED, StepResult, make_plan
from ._tensors import (
    Arrays,
    Gradients,
    check_apart,
    check_gradients_apart,
    check_writeable_floats,
    gradients_in_order,
    is_plain,
    name,
    plain_gradient,
    unpack,
)

Array64 = NDArray[np.float64]

# Every optimizer by its name: what tests and the command `lossk` go through.
OPTIMIZERS: dict[str, type[Optimizer]] = {}

_Class = TypeVar("_Class", bound="type[Optimizer]")


def optimizer(cls: _Class) -> _Class:
    """Enter a class in the catalogue."""
    OPTIMIZERS[cls.__name__] = cls
    return cls


def _buffer_of(p: Array) -> Array:
    return empty("copy of a parameter", p.shape, p.dtype.newbyteorder("="))


class Optimizer:
    """Parameters, their state, and the update of both.

    Parameters of 16 bits (float16, and bfloat16 of ml_dtypes) are updated in float32 arithmetic with float32 state,
    and rounded to nearest once a step. That loses updates below half a unit of the parameter; two options keep them:
    `master_weights` holds float32 parameters as state and updates those, the parameters being their rounding (what
    others write to a parameter after the first step is lost at the next); `stochastic_rounding`, a seed, rounds up or
    down at random so that the expected result is exact. The random numbers are a hash of seed, parameter, step and
    element: they depend neither on threads nor on anything drawn before.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.ones(2, np.float16)
    >>> sgd = lossk.SGD([p], lr=1.0, master_weights=True)
    >>> for _ in range(10):
    ...     result = sgd.step([np.full(2, 1e-4, np.float16)])
    >>> p
    array([0.999, 0.999], dtype=float16)
    """

    # Constructor arguments besides the parameters that tests and the command `lossk check` go through.
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    # From this step of a parameter on its formula depends on lr and options alone; None: it always depends on the step.
    _independent_from: int | None = None

    def __init__(
        self, params: Arrays, lr: float, options: dict[str, Any], master_weights: bool, stochastic_rounding: int | None
    ) -> None:
        self._options = {
            **options,
            "master_weights": boolean("master_weights", master_weights),
            "stochastic_rounding": seed_of(stochastic_rounding),
        }
        if master_weights and stochastic_rounding is not None:
            raise ValueError("stochastic_rounding: got a seed, wanted None with master_weights, which lose nothing")
        self._keys, self._params = unpack("params", params)
        self._check_parameters()
        self._state: list[list[Array]] = []
        self._steps = [0] * len(self._params)
        self._plan: _core.UpdatePlan | None = None
        self._turn = _core.Turn()  # of steps, and of what looks at state or replaces it
        self.lr = lr

    @property
    def lr(self) -> float:
        """The learning rate; set it between steps to follow a schedule."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        lr = at_least_0("lr", value)
        if lr != getattr(self, "_lr", None):
            self._lr = lr
            self._lr_version = object()  # what kernels know of formulas belongs to it

    def __repr__(self) -> str:
        options = {"lr": self._lr, **self._options}
        shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return f"{type(self).__name__}({len(self._params)} parameters, {shown})"

    # ---- what an optimizer defines -------------------------------------------------------------------------------

    def _kernel(self) -> tuple[str, tuple[str, ...]]:
        """Return the kernel's name and the names of its slots of state, in its order."""
        raise NotImplementedError

    def _formula(self, t: int) -> tuple[float, ...]:
        """Return the parameters of the kernel for the t-th step of a parameter, t = 1, 2, ..."""
        raise NotImplementedError

    def _reference(self, p: Array64, g: Array64, state: dict[str, Array64], t: int) -> Any:
        """Return p after its t-th step, along g (negated where it climbs); `state` is updated."""
        raise NotImplementedError

    def _start(self, slot: str) -> float | None:
        """Return what a slot of state is filled with before the first step; None: it is a copy of the parameter."""
        return 0.0

    def _fresh(self, slot: str, p: Array, dtype: Any) -> Array:
        start = self._start(slot)
        make = (lambda: np.array(p, dtype, order="C")) if start is None else (lambda: np.full(p.shape, start, dtype))
        return allocated(f"state {slot}", p.shape, dtype, make)

    def _form(self) -> str:
        """Return what a state belongs to: the optimizer, and its style where there are several."""
        return type(self).__name__

    # ---- the step ------------------------------------------------------------------------------------------------

    def step(
        self,
        grads: Gradients,
        *,
        max_norm: float | None = None,
        grad_scale: float | None = None,
        num_threads: int | None = None,
    ) -> StepResult:
        """Update the parameters in place.

        Parameters
        ----------
        grads : list or dict of ndarray
            One gradient a parameter, of its shape and dtype, any strides; None leaves the parameter as it is.
            Gradients are read only.
        max_norm : float, optional
            Clip: where the norm ``n`` of all gradients as one vector is larger, they are multiplied by
            ``max_norm / (n + 1e-6)`` on their way into the update.
        grad_scale : float, optional
            Divisor of all gradients: the factor that the loss was scaled with.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        StepResult
            ``applied`` and ``grad_norm``. With `max_norm` or `grad_scale` a step whose norm is not finite is skipped:
            parameters and state stay as they were, and ``applied`` is False. Without either no norm is taken.

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above; nothing has been updated then.
        RuntimeError
            If another thread is in a step of this optimizer, or saves or loads its state.
        """
        if type(grads) is not list or self._keys is not None or len(grads) != len(self._params):
            grads = gradients_in_order(self._keys, len(self._params), grads)
        scale = -1.0 if self._options["maximize"] else 1.0
        guarded = False
        if grad_scale is not None:
            scale /= positive("grad_scale", grad_scale)
            guarded = True
        if max_norm is not None:
            max_norm = norm_limit(max_norm)
            guarded = True
        rule = (self._formula, self._lr_version, self._independent_from)
        rest = (self._steps, *rule, scale, guarded, max_norm, num_threads)
        done = None if self._plan is None else _core.step(self._plan, grads, *rest)
        if done is None:
            done = self._turn.run("step", self._step_prepared, list(grads), rest)
        return APPLIED if done is True else StepResult(*done)

    def _step_prepared(self, gradients: list[Any], rest: tuple[Any, ...]) -> Any:
        """Make a step for which arrays must be looked at, or copied where kernels cannot work on them as they are.

        Python's part ends with the call of the step: what comes after it may be interrupted.
        """
        plan, self._plan = self._plan, None
        if plan is None or not plan.holds():
            plan = self._prepare()
        check_gradients_apart(self._keys, gradients, self._params)
        plain = [plain_gradient(name("grads", self._keys, i), g) for i, g in enumerate(gradients)]
        done = _core.step_prepared(plan, plain, *rest)
        assert done is not None, "plain gradients are accepted or refused"
        # Until a first step was made, state begins anew from the parameters as they are then.
        if any(self._steps):
            self._plan = plan
        return done

    def _check_parameters(self) -> None:
        names = [name("params", self._keys, i) for i in range(len(self._params))]
        for own, p in zip(names, self._params, strict=True):
            check_writeable_floats(own, p)
            for option in ("master_weights", "stochastic_rounding"):
                if self._options[option] not in (False, None) and p.dtype.itemsize != 2:
                    raise TypeError(f"{own}: got dtype {p.dtype}, wanted float16 or bfloat16 with {option}")
        check_apart(names, self._params)

    def _prepare(self) -> _core.UpdatePlan:
        """Check all arrays as they are now; parameters that kernels cannot work on as they are get a buffer each."""
        self._check_parameters()
        kernel, slots = self._kernel()
        if not any(self._steps):
            self._state = [self._fresh_state(p, slots) for p in self._params]
        work = [np.asarray(p) if is_plain(p) else _buffer_of(p) for p in self._params]
        masters = [own[len(slots)] if self._options["master_weights"] else None for own in self._state]
        rest = (masters, self._options["stochastic_rounding"], self._keys, self._turn)
        return make_plan(kernel, self._params, work, self._state, *rest)

    def _fresh_state(self, p: Array, slots: Sequence[str]) -> list[Array]:
        state = [self._fresh(slot, p, arithmetic(p.dtype)) for slot in slots]
        return [*state, np.array(p, np.float32, order="C")] if self._options["master_weights"] else state

    def reference(self, p: ArrayLike, grads: Sequence[ArrayLike]) -> tuple[Array64, dict[str, Array64]]:
        """Return what a parameter becomes after steps with these gradients, and its state: the specification.

        The formula in plain float64 NumPy, from a fresh state, at the present learning rate; the optimizer's own
        parameters and state are not touched.
        """
        value = np.array(p, np.float64)
        state = {slot: self._fresh(slot, value, np.float64) for slot in self._kernel()[1]}
        sign = -1.0 if self._options["maximize"] else 1.0
        for t, g in enumerate(grads, 1):
            value = self._reference(value, sign * np.asarray(g, np.float64), state, t)
        return value, state

    # ---- state ---------------------------------------------------------------------------------------------------

    def _slots(self) -> tuple[str, ...]:
        return self._kernel()[1] + (("master_weight",) if self._options["master_weights"] else ())

    def _label(self, i: int) -> str:
        return self._keys[i] if self._keys is not None else str(i)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all state as a flat dict of arrays and numbers, ready for ``numpy.savez`` and pickle.

        Raises
        ------
        RuntimeError
            If another thread is in a step of this optimizer, or loads its state.
        """
        state: dict[str, Any] = self._turn.run("state_dict", self._copied_state)
        return state

    def _copied_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"form": self._form(), "lr": self._lr}
        for i in range(len(self._params)):
            state[f"steps.{self._label(i)}"] = self._steps[i]
            for slot, array in zip(self._slots(), self._state[i] if any(self._steps) else (), strict=False):
                state[f"{slot}.{self._label(i)}"] = array.copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state that `state_dict` returned, of an optimizer of the same parameters and options.

        Raises
        ------
        ValueError
            If an entry is missing, unknown or of another shape or dtype; nothing has changed then.
        TypeError
            If it is no mapping.
        RuntimeError
            If another thread is in a step of this optimizer, or saves or loads its state.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: got {type(state).__name__}, wanted a mapping, as state_dict returns it")
        self._turn.run("load_state_dict", self._take_state, dict(state))

    def _take_state(self, state: dict[str, Any]) -> None:
        for entry in ("lr", "form"):
            if entry not in state:
                raise ValueError(f"state: got no entry {entry!r}")
        lr = at_least_0("lr", _state.number(state.pop("lr")))
        if (form := str(state.pop("form"))) != self._form():
            raise ValueError(f"state['form']: got {form!r}, wanted {self._form()!r}")
        labels = [self._label(i) for i in range(len(self._params))]
        steps = [_state.step_count(f"steps.{label}", state) for label in labels]
        wanted = [(p.shape, arithmetic(p.dtype)) for p in self._params]
        arrays = _state.take_arrays(state, self._slots(), labels, wanted, any(steps))
        if state:
            raise ValueError(f"state: got unknown entries {sorted(state)}")
        # At once: an interrupt comes before or after.
        self.__dict__.update(_lr=lr, _lr_version=object(), _steps=steps, _state=arrays, _plan=None)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = self._turn.run("copy", dict, self.__dict__)
        del state["_turn"]
        return state | {"_plan": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _turn=_core.Turn())

    def __copy__(self) -> Optimizer:
        """Return an optimizer of the same parameters with a state of its own."""
        other: Optimizer = self._turn.run("copy", self._copied)
        return other

    def _copied(self) -> Optimizer:
        other = object.__new__(type(self))
        other.__setstate__({**self.__dict__, "_plan": None})
        other._options, other._params, other._steps = dict(self._options), list(self._params), list(self._steps)
        other._state = [[array.copy() for array in own] for own in self._state]
        return other
