"""Optimizers: in-place updates of lists or dicts of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from . import _core
from ._arrays import FLOATS, Array, contiguous, is_integer
from ._families import at_least_0, check_number

Arrays: TypeAlias = Sequence[Array] | Mapping[str, Array]
Gradients: TypeAlias = Sequence[Array | None] | Mapping[str, Array | None]


class Optimizer:
    """Parameters, their state, and the update of both."""

    # Names of the state arrays, in the order of the kernel's slots.
    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Arrays, lr: float) -> None:
        if isinstance(params, np.ndarray) or not isinstance(params, Sequence | Mapping):
            raise TypeError(f"params: got {type(params).__name__}, wanted a list or a dict of arrays")
        self._keys: tuple[str, ...] | None = tuple(params) if isinstance(params, Mapping) else None
        for key in self._keys or ():
            if not isinstance(key, str):
                raise TypeError(f"params: got the key {key!r}, wanted strings")
        arrays = list(params.values()) if isinstance(params, Mapping) else list(params)
        self._params = [self._checked_parameter(self._name("params", i), p) for i, p in enumerate(arrays)]
        for i, p in enumerate(self._params):
            for j in range(i):
                if np.may_share_memory(p, self._params[j]):
                    raise ValueError(f"{self._name('params', i)}: got memory that overlaps {self._name('params', j)}")
        self._state: list[list[Array]] = []
        self._steps = [0] * len(self._params)
        self.lr = lr

    @staticmethod
    def _checked_parameter(name: str, p: object) -> Array:
        if not isinstance(p, np.ndarray) or isinstance(p, np.ma.MaskedArray):
            raise TypeError(f"{name}: got {type(p).__name__}, wanted a NumPy array to update in place")
        if p.dtype not in FLOATS:
            raise TypeError(f"{name}: got dtype {p.dtype}, wanted {' or '.join(d.name for d in FLOATS)}")
        if not p.flags.writeable:
            raise ValueError(f"{name}: got a read-only array, wanted a writeable one")
        if p.size and any(stride == 0 and length > 1 for stride, length in zip(p.strides, p.shape, strict=True)):
            raise ValueError(f"{name}: got a broadcast array, wanted one with memory of its own")
        return p

    def _name(self, what: str, i: int) -> str:
        return f"{what}[{self._keys[i]!r}]" if self._keys else f"{what}[{i}]"

    @property
    def lr(self) -> float:
        """The learning rate; set it between steps to follow a schedule."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = at_least_0("lr", value)

    def _kernel(self) -> tuple[str, tuple[float, ...]]:
        """Return the kernel's name and its parameters for the coming step."""
        raise NotImplementedError

    def _form(self) -> str:
        """Return what a state belongs to: the optimizer, and its style where there are several."""
        return type(self).__name__

    def _gradients(self, grads: Gradients) -> list[Array | None]:
        if self._keys is not None:
            if not isinstance(grads, Mapping) or set(grads) != set(self._keys):
                got = sorted(map(str, grads)) if isinstance(grads, Mapping) else type(grads).__name__
                raise ValueError(f"grads: got {got}, wanted a dict with the keys {sorted(self._keys)}")
            ordered: list[Any] = [grads[key] for key in self._keys]
        else:
            if isinstance(grads, np.ndarray | Mapping) or not isinstance(grads, Sequence):
                raise TypeError(f"grads: got {type(grads).__name__}, wanted a list of arrays")
            ordered = list(grads)
            if len(ordered) != len(self._params):
                raise ValueError(f"grads: got {len(ordered)} arrays, wanted {len(self._params)}")
        for i, g in enumerate(ordered):
            if g is not None and (not isinstance(g, np.ndarray) or isinstance(g, np.ma.MaskedArray)):
                raise TypeError(f"{self._name('grads', i)}: got {type(g).__name__}, wanted a NumPy array or None")
        return ordered

    def step(self, grads: Gradients, *, num_threads: int | None = None) -> None:
        """Update the parameters in place.

        Parameters
        ----------
        grads : list or dict of ndarray
            One gradient a parameter, of its shape and dtype, any strides; None leaves the parameter as it is.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Raises
        ------
        TypeError, ValueError
            Where a gradient is not as above; nothing has been updated then.
        """
        gradients = self._gradients(grads)
        name, parameters = self._kernel()
        index, slots = _core.optimizer_kernels()[name]
        if not self._state:
            self._state = [[np.zeros(p.shape, p.dtype) for _ in self.slots[:slots]] for p in self._params]
        rest = (self._state, self._steps, self._keys, num_threads)
        if not _core.update(index, parameters, self._params, gradients, *rest):
            # Strided arrays: the kernel works on contiguous copies of them, and parameters are written back.
            for i, (p, g) in enumerate(zip(self._params, gradients, strict=True)):
                if g is not None and not p.flags.writeable:
                    raise ValueError(f"{self._name('params', i)}: got a read-only array, wanted a writeable one")
            params = [contiguous(p, p.dtype) for p in self._params]
            copies = [None if g is None else self._contiguous_gradient(i, g) for i, g in enumerate(gradients)]
            if not _core.update(index, parameters, params, copies, *rest):
                raise TypeError("params: got arrays that cannot be made contiguous")
            for own, p in zip(self._params, params, strict=True):
                if p is not own:
                    own[...] = p
        self._steps = [n + (g is not None) for n, g in zip(self._steps, gradients, strict=True)]

    def _contiguous_gradient(self, i: int, g: Array) -> Array:
        for j, p in enumerate(self._params):
            if np.may_share_memory(g, p):
                own, other = self._name("grads", i), self._name("params", j)
                raise ValueError(f"{own}: got memory that overlaps {other}, wanted separate memory")
        return contiguous(g, g.dtype)

    def _label(self, i: int) -> str:
        return self._keys[i] if self._keys else str(i)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all state as a flat dict of arrays and numbers, ready for ``numpy.savez`` and pickle."""
        state: dict[str, Any] = {"form": self._form(), "lr": self._lr}
        for i in range(len(self._params)):
            state[f"steps.{self._label(i)}"] = self._steps[i]
            for slot, array in zip(self.slots, self._state[i] if self._state else [], strict=False):
                state[f"{slot}.{self._label(i)}"] = array.copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state that `state_dict` returned, of an optimizer of the same parameters.

        Raises
        ------
        ValueError
            If an entry is missing, unknown or of another shape; nothing has changed then.
        """
        state = dict(state)
        lr = at_least_0("lr", _number(state.pop("lr", self._lr)))
        if (form := str(state.pop("form", self._form()))) != self._form():
            raise ValueError(f"state['form']: got {form!r}, wanted {self._form()!r}")
        count = range(len(self._params))
        steps = [_step_count(f"steps.{self._label(i)}", state) for i in count]
        held = [slot for slot in self.slots if any(f"{slot}.{self._label(i)}" in state for i in count)]
        needed = _core.optimizer_kernels()[self._kernel()[0]][1]
        if any(steps) and len(held) < needed:
            raise ValueError(f"state: got no entry {self.slots[len(held)]!r}, which this optimizer needs")
        arrays = [[np.array(_take(state, f"{slot}.{self._label(i)}"), order="C") for slot in held] for i in count]
        if state:
            raise ValueError(f"state: got unknown entries {sorted(state)}")
        for i, own in enumerate(arrays):
            for slot, array in zip(held, own, strict=True):
                if array.shape != self._params[i].shape or array.dtype != self._params[i].dtype:
                    raise ValueError(
                        f"state[{slot + '.' + self._label(i)!r}]: got {array.dtype} of shape {array.shape}, wanted "
                        f"{self._params[i].dtype} of shape {self._params[i].shape}"
                    )
        self._lr, self._steps, self._state = lr, steps, arrays if held else []


def _take(state: dict[str, Any], name: str) -> Any:
    if name not in state:
        raise ValueError(f"state: got no entry {name!r}")
    return state.pop(name)


def _number(value: Any) -> Any:
    """Return a number out of the 0-dimensional array that ``numpy.load`` made of it."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _step_count(name: str, state: dict[str, Any]) -> int:
    n = _number(_take(state, name))
    if not is_integer(n) or not 0 <= n < 2**63:
        raise ValueError(f"state[{name!r}]: got {n!r}, wanted a number of steps")
    return int(n)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, in place, as PyTorch or as Keras defines it.

    ``style="torch"``, with ``g`` the gradient (negated if `maximize`)::

        d = g + weight_decay * p
        b = momentum * b + (1 - dampening) * d      (b = d at a parameter's first step)
        p -= lr * (d + momentum * b if nesterov else b)

    ``style="keras"``, with decoupled weight decay::

        m = momentum * m - lr * g
        p -= lr * weight_decay * p
        p += momentum * m - lr * g if nesterov else m

    Parameters
    ----------
    params : list or dict of ndarray
        Parameters, float32 or float64, any strides, updated in place by `step`.
    lr : float
        Learning rate, at least 0; the attribute `lr` may be set between steps.
    momentum, dampening, weight_decay : float
        At least 0; dampening is torch's alone.
    nesterov, maximize : bool
        Nesterov's momentum; climb instead of descending.
    style : {"torch", "keras"}
        Whose definition of momentum and weight decay.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above; nesterov needs momentum above 0 and, in torch's style, no dampening.

    References
    ----------
    ``torch.optim.SGD``; ``keras.optimizers.SGD``; Sutskever et al., "On the importance of initialization and
    momentum in deep learning", 2013.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p = np.array([1.0])
    >>> sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    >>> sgd.step([np.array([1.0])])
    >>> sgd.step([np.array([1.0])])
    >>> p.round(6)
    array([0.71])
    """

    slots = ("momentum_buffer",)

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        maximize: bool = False,
        style: str = "torch",
    ) -> None:
        self._momentum = at_least_0("momentum", momentum)
        self._dampening = check_number("dampening", dampening, "a finite number", lambda x: abs(x) < float("inf"))
        self._weight_decay = at_least_0("weight_decay", weight_decay)
        self._nesterov, self._maximize, self._style = bool(nesterov), bool(maximize), style
        if style not in ("torch", "keras"):
            raise ValueError(f"style: got {style!r}, wanted 'torch' or 'keras'")
        if style == "keras" and dampening != 0:
            raise ValueError(f"dampening: got {dampening}, wanted 0 in Keras' style, which has none")
        if nesterov and style == "torch" and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov: got momentum {momentum} and dampening {dampening}, wanted momentum above 0 and no dampening"
            )
        super().__init__(params, lr)

    def _form(self) -> str:
        return f"SGD, {self._style} style"

    def __repr__(self) -> str:
        return (
            f"SGD({len(self._params)} parameters, lr={self._lr}, momentum={self._momentum}, "
            f"dampening={self._dampening}, nesterov={self._nesterov}, weight_decay={self._weight_decay}, "
            f"maximize={self._maximize}, style={self._style!r})"
        )

    def _kernel(self) -> tuple[str, tuple[float, ...]]:
        parameters = (self._lr, self._momentum, self._dampening, self._weight_decay, self._nesterov, self._maximize)
        torch_name = "sgd_momentum" if self._momentum else "sgd"
        name = "sgd_keras" if self._style == "keras" else torch_name
        return name, tuple(float(x) for x in parameters)
