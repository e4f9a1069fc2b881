"""NumPy as a careful user writes it: whole-array operations, few temporaries, buffers reused where the mode allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lossk.cli.bench.cases import FRESH, IN_PLACE, MAP_FRESH, TO_OUT, Case
from lossk.cli.bench.inputs import HINGE_MARGIN, HUBER_DELTA, LEARNING_RATE, MOMENTUM, Array, Inputs
from lossk.cli.bench.providers import ONE_UFUNC, Build, Outcome, Runner


def _cross_entropy_value(z: Array, y: Array) -> float:
    shifted = z - z.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(y)), y]
    np.exp(shifted, out=shifted)
    return float((np.log(shifted.sum(axis=1)) - picked).mean())


def _cross_entropy(z: Array, y: Array, out: Array) -> tuple[float, Array]:
    rows = np.arange(len(y))
    np.subtract(z, z.max(axis=1, keepdims=True), out=out)
    picked = out[rows, y]
    np.exp(out, out=out)
    total = out.sum(axis=1, keepdims=True)
    np.multiply(out, 1 / (total * len(y)), out=out)
    out[rows, y] -= 1 / len(y)
    return float((np.log(total[:, 0]) - picked).mean()), out


def _softmax(x: Array, out: Array) -> Array:
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out *= 1 / out.sum(axis=-1, keepdims=True)
    return out


def _log_softmax(x: Array, out: Array) -> Array:
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    out -= np.log(np.exp(out).sum(axis=-1, keepdims=True))
    return out


def _squared_error(z: Array, y: Array, out: Array, tmp: Array) -> float:
    np.subtract(z, y, out=out)
    value = np.vdot(out, out) / z.size
    out *= 2 / z.size
    return float(value)


def _absolute_error(z: Array, y: Array, out: Array, tmp: Array) -> float:
    np.subtract(z, y, out=out)
    value = np.abs(out, out=tmp).mean()
    np.sign(out, out=out)
    out *= 1 / z.size
    return float(value)


def _huber(z: Array, y: Array, out: Array, tmp: Array) -> float:
    np.subtract(z, y, out=tmp)
    np.clip(tmp, -HUBER_DELTA, HUBER_DELTA, out=out)
    value = (np.vdot(out, tmp) - 0.5 * np.vdot(out, out)) / z.size  # c*r - c*c/2 with c = clip(r)
    out *= 1 / z.size
    return float(value)


def _hinge(z: Array, y: Array, out: Array, tmp: Array) -> float:
    np.multiply(z, y, out=tmp)
    np.subtract(HINGE_MARGIN, tmp, out=tmp)
    np.maximum(tmp, 0, out=tmp)
    np.sign(tmp, out=out)
    out *= y
    out *= -1 / z.size
    return float(tmp.mean())


def _squared_hinge(z: Array, y: Array, out: Array, tmp: Array) -> float:
    np.multiply(z, y, out=out)
    np.subtract(HINGE_MARGIN, out, out=out)
    np.maximum(out, 0, out=out)
    value = np.vdot(out, out) / z.size
    out *= y
    out *= -2 / z.size
    return float(value)


POINTWISE: dict[str, Callable[[Array, Array, Array, Array], float]] = {
    "SquaredError": _squared_error,
    "AbsoluteError": _absolute_error,
    "Huber": _huber,
    "Hinge": _hinge,
    "SquaredHinge": _squared_hinge,
}


def _pair(result: Any) -> Outcome:
    return Outcome(result[0], result[1])


def _rows(case: Case, mode: str, inputs: Inputs) -> Runner:
    z, y = inputs.z, inputs.y
    if mode == "value":
        return Runner(partial(_cross_entropy_value, z, y), lambda value: Outcome(value, None))
    if mode == FRESH:
        return Runner(lambda: _cross_entropy(z, y, np.empty_like(z)), _pair)
    if mode == IN_PLACE:
        work = z.copy()
        return Runner(partial(_cross_entropy, work, y, work), _pair, prepare=partial(np.copyto, work, z))
    return Runner(partial(_cross_entropy, z, y, np.empty_like(z)), _pair)


def _row_map(case: Case, mode: str, inputs: Inputs) -> Runner:
    function, x = {"softmax": _softmax, "log_softmax": _log_softmax}[case.kernel], inputs.z
    call = (lambda: function(x, np.empty_like(x))) if mode == MAP_FRESH else partial(function, x, np.empty_like(x))
    return Runner(call, lambda array: Outcome(None, array))


def _pointwise(case: Case, mode: str, inputs: Inputs) -> Runner:
    function, z, y = POINTWISE[case.kernel], inputs.z, inputs.y
    if mode == FRESH:

        def fresh() -> tuple[float, Array]:
            out = np.empty_like(z)
            return function(z, y, out, np.empty_like(z)), out

        return Runner(fresh, _pair)
    out, tmp = np.empty_like(z), np.empty_like(z)
    return Runner(partial(function, z, y, out, tmp), lambda value: Outcome(value, out))


def _sgd(inputs: Inputs) -> Runner:
    params, grads = inputs.params, inputs.grads
    moments = [np.zeros_like(p) for p in params]
    scratch = [np.empty_like(p) for p in params]

    def step() -> None:
        for p, g, m, tmp in zip(params, grads, moments, scratch, strict=True):
            np.multiply(m, MOMENTUM, out=m)
            np.add(m, g, out=m)
            np.multiply(m, LEARNING_RATE, out=tmp)
            np.subtract(p, tmp, out=p)

    return Runner(step, lambda _: Outcome(None, params[0]))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build NumPy's call for a case and mode; one thread whatever is asked, apart from BLAS dot products."""
    if case.dtype not in ("float32", "float64"):
        return None  # NumPy's loops over bfloat16 convert every number by itself; nobody would write that
    if case.kind == "optimizer":
        return _sgd(inputs) if case.kernel == "SGD" else None
    if case.kind == "pointwise":
        return _pointwise(case, mode, inputs) if case.kernel in POINTWISE else None
    if case.kind == "row map":
        return _row_map(case, mode, inputs)
    return _rows(case, mode, inputs) if case.kernel == "CrossEntropy" else None


def build_ufunc(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """One NumPy ufunc with `out=` on as many elements: a yardstick for a call's fixed cost, not the same result."""
    if mode not in TO_OUT or case.size > 1024:
        return None
    a, b, c = (np.ones_like(inputs.z) for _ in range(3))
    return Runner(partial(np.add, a, b, out=c))


PROVIDERS: dict[str, Build] = {"numpy": build, ONE_UFUNC: build_ufunc}
