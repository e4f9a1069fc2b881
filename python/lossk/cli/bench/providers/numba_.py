"""numba: the loops a user would write, without fastmath (the results shall be the same kind of result).

Loops over few elements are compiled serially: waking numba's threads would take longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numba
import numpy as np

from lossk.cli.bench.cases import FRESH, IN_PLACE, MAP_FRESH, Case
from lossk.cli.bench.inputs import HINGE_MARGIN, HUBER_DELTA, LEARNING_RATE, MOMENTUM, Array, Inputs
from lossk.cli.bench.providers import Build, Outcome, Runner

Formula = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def _squared_error(z: Any, y: Any, one: Any, parameter: Any) -> tuple[Any, Any]:
    r = z - y
    return r * r, r + r


def _absolute_error(z: Any, y: Any, one: Any, parameter: Any) -> tuple[Any, Any]:
    r = z - y
    return abs(r), np.sign(r)


def _huber(z: Any, y: Any, one: Any, parameter: Any) -> tuple[Any, Any]:
    r = z - y
    c = min(max(r, -parameter), parameter)
    return c * (r - one / (one + one) * c), c


def _hinge(z: Any, y: Any, one: Any, parameter: Any) -> tuple[Any, Any]:
    h = parameter - y * z
    return (h, -y) if h > 0 else (one - one, one - one)


def _squared_hinge(z: Any, y: Any, one: Any, parameter: Any) -> tuple[Any, Any]:
    h = max(parameter - y * z, one - one)
    return h * h, -(one + one) * y * h


POINTWISE: dict[str, tuple[Formula, float]] = {
    "SquaredError": (_squared_error, 0.0),
    "AbsoluteError": (_absolute_error, 0.0),
    "Huber": (_huber, HUBER_DELTA),
    "Hinge": (_hinge, HINGE_MARGIN),
    "SquaredHinge": (_squared_hinge, HINGE_MARGIN),
}


SERIAL_BELOW = 1 << 14  # elements


@cache
def _compiled(function: Callable[..., Any], parallel: bool) -> Callable[..., Any]:
    """Compile a loop, once for all modes and shapes."""
    compiled: Callable[..., Any] = numba.njit(parallel=parallel)(function)
    return compiled


@cache
def _pointwise_loop(formula: Formula, parallel: bool) -> Callable[..., Any]:
    inner = numba.njit(inline="always")(formula)

    def loop(z: Array, y: Array, out: Array, one: Any, parameter: Any) -> Any:
        total, scale = 0.0, z.dtype.type(1.0 / z.size)
        for i in numba.prange(z.size):
            value, grad = inner(z[i], y[i], one, parameter)
            total += value
            out[i] = grad * scale
        return total / z.size

    return _compiled(loop, parallel)


def _cross_entropy_value(z: Array, y: Array) -> Any:
    rows, classes = z.shape
    total = 0.0
    for i in numba.prange(rows):
        top = z[i].max()
        mass = 0.0
        for j in range(classes):
            mass += math.exp(z[i, j] - top)
        total += math.log(mass) - (z[i, y[i]] - top)
    return total / rows


def _cross_entropy(z: Array, y: Array, out: Array) -> Any:
    rows, classes = z.shape
    total = 0.0
    for i in numba.prange(rows):
        top = z[i].max()
        picked = z[i, y[i]] - top
        mass = 0.0
        for j in range(classes):
            out[i, j] = math.exp(z[i, j] - top)
            mass += out[i, j]
        scale = z.dtype.type(1.0 / (mass * rows))
        for j in range(classes):
            out[i, j] *= scale
        out[i, y[i]] -= 1.0 / rows
        total += math.log(mass) - picked
    return total / rows


def _softmax(x: Array, out: Array) -> None:
    for i in numba.prange(x.shape[0]):
        top = x[i].max()
        mass = 0.0
        for j in range(x.shape[1]):
            out[i, j] = math.exp(x[i, j] - top)
            mass += out[i, j]
        scale = x.dtype.type(1.0 / mass)
        for j in range(x.shape[1]):
            out[i, j] *= scale


def _log_softmax(x: Array, out: Array) -> None:
    for i in numba.prange(x.shape[0]):
        top = x[i].max()
        mass = 0.0
        for j in range(x.shape[1]):
            mass += math.exp(x[i, j] - top)
        shift = x.dtype.type(top + math.log(mass))
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - shift


def _sgd(p: Array, g: Array, m: Array, lr: Any, mu: Any) -> None:
    for i in numba.prange(p.size):
        m[i] = mu * m[i] + g[i]
        p[i] -= lr * m[i]


def _is_worth_threads(case: Case) -> bool:
    return case.size >= SERIAL_BELOW


def _rows(case: Case, mode: str, inputs: Inputs) -> Runner:
    z, y = inputs.z, inputs.y
    if mode == "value":
        value = _compiled(_cross_entropy_value, _is_worth_threads(case))
        return Runner(partial(value, z, y), lambda v: Outcome(float(v), None))
    loop = _compiled(_cross_entropy, _is_worth_threads(case))
    return _writing(lambda source, out: loop(source, y, out), mode, z)


def _writing(loop: Callable[[Array, Array], Any], mode: str, z: Array) -> Runner:
    """Run ``loop(z, out) -> value`` with the destination that the mode asks for."""
    if mode in (FRESH, MAP_FRESH):

        def fresh() -> tuple[Any, Array]:
            out = np.empty_like(z)
            return loop(z, out), out

        return Runner(fresh, lambda r: Outcome(r[0], r[1]))
    if mode == IN_PLACE:
        work = z.copy()
        call, prepare, out = partial(loop, work, work), partial(np.copyto, work, z), work
        return Runner(call, lambda value: Outcome(value, out), prepare)
    out = np.empty_like(z)
    return Runner(partial(loop, z, out), lambda value: Outcome(value, out))


def _pointwise(case: Case, mode: str, inputs: Inputs) -> Runner:
    formula, parameter = POINTWISE[case.kernel]
    loop, dtype = _pointwise_loop(formula, _is_worth_threads(case)), inputs.z.dtype.type
    y, one, last = inputs.y, dtype(1), dtype(parameter)
    return _writing(lambda z, out: loop(z, y, out, one, last), mode, inputs.z)


def _optimizer(inputs: Inputs) -> Runner:
    parallel = inputs.params[0].size >= SERIAL_BELOW
    loop, dtype = _compiled(_sgd, parallel), inputs.params[0].dtype.type
    moments = [np.zeros_like(p) for p in inputs.params]
    lr, mu = dtype(LEARNING_RATE), dtype(MOMENTUM)

    def step() -> None:
        for p, g, m in zip(inputs.params, inputs.grads, moments, strict=True):
            loop(p, g, m, lr, mu)

    return Runner(step, lambda _: Outcome(None, inputs.params[0]))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build numba's call for a case and mode."""
    if case.dtype not in ("float32", "float64"):
        return None
    numba.set_num_threads(threads)
    if case.kind == "optimizer":
        return _optimizer(inputs) if case.kernel == "SGD" else None
    if case.kind == "pointwise":
        return _pointwise(case, mode, inputs) if case.kernel in POINTWISE else None
    if case.kind == "row map":
        function = {"softmax": _softmax, "log_softmax": _log_softmax}[case.kernel]
        return _writing(_compiled(function, _is_worth_threads(case)), mode, inputs.z)
    return _rows(case, mode, inputs) if case.kernel == "CrossEntropy" else None


PROVIDERS: dict[str, Build] = {"numba": build}
