"""Calls of functions: activations, gates, softmax and its kin, information."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import lossk
from lossk import information
from lossk.activations import ACTIVATIONS, GATED
from tests.fuzz.arrays import FLOATS, SPECIAL, Array, Rng, chance, draw_shape, pick, with_specials
from tests.fuzz.calls import Call, real
from tests.fuzz.losses import COTANGENTS, made


def drawn(rng: Rng, shape: tuple[int, ...], dtype: Any, cotangent: bool = False) -> Array:
    a = np.asarray(rng.normal(scale=1.0 if cotangent else 3.0, size=shape)).astype(dtype)
    return with_specials(rng, a, COTANGENTS if cotangent else SPECIAL)


def about(*factors: float) -> Callable[..., list[Any]]:
    """Return slack in units of the smallest normal number and, by a factor, of the sizes of the arguments."""

    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        tiny = float(np.finfo(np.float32 if eps > 1e-10 else np.float64).tiny)
        size = 1.0
        for a in arrays.values():
            finite = np.abs(np.asarray(a, np.float64))
            size = max(size, float(np.max(finite, initial=0.0, where=np.isfinite(finite))))
        return [3000 * tiny + factor * eps * size for factor in factors]

    return slack


def activation(rng: Rng) -> Call:
    """An activation: value, derivative or what is passed back."""
    act, dtype = made(rng, pick(rng, list(ACTIVATIONS.values()))), pick(rng, FLOATS)
    shape, verb = draw_shape(rng), pick(rng, ("__call__", "derivative", "vjp"))
    arrays = {"x": drawn(rng, shape, dtype)}
    if verb == "vjp":
        arrays["cotangent"] = drawn(rng, shape, pick(rng, (dtype, dtype, *FLOATS)), True)

    def reference(x: Any, cotangent: Any = None) -> list[Any]:
        act(x)  # raises where it does
        value, derivative = act.reference(x)
        if verb != "vjp":
            return [value if verb == "__call__" else derivative]
        with np.errstate(all="ignore"):
            return [derivative * real("cotangent", cotangent, value.shape)]

    return Call(
        f"{act!r}.{verb}", getattr(act, verb), arrays, {}, reference, about(20.0), ("x",), converted=("cotangent",)
    )


def gate(rng: Rng) -> Call:
    """An activation of an array and its gates, or slopes."""
    cls = pick(rng, list(GATED.values()))
    act, dtype, verb = made(rng, cls), pick(rng, FLOATS), pick(rng, ("__call__", "vjp"))
    shape = draw_shape(rng, pick(rng, (1, 2, 2, 3)))
    parameters = list(inspect.signature(cls.vjp).parameters)[1:]
    arrays = {"x": drawn(rng, shape, dtype)}
    result = shape
    if "axis" in {f for f in ("axis",) if hasattr(act, f)} and "slope" not in parameters:
        doubled = list(shape)
        doubled[act.axis] *= 2
        arrays["x"] = drawn(rng, tuple(doubled), dtype)
    if "gate" in parameters:
        arrays["gate"] = drawn(rng, shape, dtype)
    if "slope" in parameters:
        has_axis = -len(shape) <= act.axis < len(shape)
        arrays["slope"] = drawn(
            rng, (shape[act.axis],) if has_axis and chance(rng, 0.6) else pick(rng, ((), (1,))), dtype
        )
    if verb == "vjp":
        arrays["cotangent"] = drawn(rng, result, dtype, True)

    def reference(**given: Any) -> list[Any]:
        shape = act(**{name: a for name, a in given.items() if name != "cotangent"}).shape  # raises where it does
        if verb == "vjp":
            given["cotangent"] = real("cotangent", given["cotangent"], shape)
        parts = act.reference(**given)
        return [parts[0]] if verb == "__call__" else list(parts[1:])

    many = 1 if verb == "__call__" or ("gate" not in parameters and "slope" not in parameters) else 2
    slack = slack_of_gate(verb, many)
    return Call(f"{act!r}.{verb}", getattr(act, verb), arrays, {}, reference, slack, converted=("slope",))


def slack_of_gate(verb: str, many: int) -> Callable[..., list[Any]]:
    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        size = 1.0
        for a in arrays.values():
            finite = np.abs(np.asarray(a, np.float64))
            size *= max(1.0, float(np.max(finite, initial=0.0, where=np.isfinite(finite))))
        terms = np.size(arrays["x"]) if "slope" in arrays and verb == "vjp" else 1
        return [20 * eps * size, 20 * eps * size * terms][:many]

    return slack


FUNCTIONS = (lossk.softmax, lossk.log_softmax, lossk.logsumexp)


def row_function(rng: Rng) -> Call:
    """softmax, log_softmax or logsumexp, or what they pass back."""
    function, dtype, verb = pick(rng, FUNCTIONS), pick(rng, FLOATS), pick(rng, ("__call__", "vjp"))
    shape = draw_shape(rng, pick(rng, (1, 2, 2, 3)))
    axis = int(rng.integers(-len(shape), len(shape))) if chance(rng, 0.4) else -1
    options = {"axis": axis} if axis != -1 or chance(rng, 0.3) else {}
    arrays = {"x": drawn(rng, shape, dtype)}
    without = tuple(np.delete(shape, axis))
    if verb == "vjp":
        arrays["cotangent"] = drawn(rng, without if function is lossk.logsumexp else shape, dtype, True)

    def reference(x: Any, cotangent: Any = None, axis: Any = -1) -> list[Any]:
        function(x, axis=axis)  # raises where it does
        return [reference_of_rows(function, verb, np.asarray(x, np.float64), cotangent, axis)]

    like = ("x",) if verb == "vjp" or function is not lossk.logsumexp else ()
    return Call(f"{function!r}.{verb}", getattr(function, verb), arrays, options, reference, slack_of_rows(axis), like)


def reference_of_rows(function: Any, verb: str, x: Array, cotangent: Any, axis: int) -> Array:
    """Return the function, or what it passes back, from its formula; a row with NaN or +infinity is NaN."""
    with np.errstate(all="ignore"):
        largest = x.max(axis=axis, keepdims=True) if x.shape[axis] else np.full(np.delete(x.shape, axis), -np.inf)
        poisoned = np.isnan(x).any(axis=axis, keepdims=True) | (x == np.inf).any(axis=axis, keepdims=True)
        d = x - largest
        lse = largest + np.log(np.exp(d).sum(axis=axis, keepdims=True))
        lse = np.where(poisoned, np.nan, np.where(largest == -np.inf, -np.inf, lse))
        p = np.where(poisoned | (largest == -np.inf), np.nan, np.exp(d) / np.exp(d).sum(axis=axis, keepdims=True))
        log_p = np.where(np.isnan(p), np.nan, d - np.log(np.exp(d).sum(axis=axis, keepdims=True)))
        if verb == "__call__":
            by_name = {lossk.softmax: p, lossk.log_softmax: log_p, lossk.logsumexp: np.squeeze(lse, axis)}
            return np.asarray(by_name[function])
        c = real("cotangent", cotangent, lse.squeeze(axis).shape if function is lossk.logsumexp else x.shape)
        if function is lossk.logsumexp:
            return np.where(np.expand_dims(c, axis) == 0, 0.0, p * np.expand_dims(c, axis))
        if function is lossk.log_softmax:
            return np.asarray(c - p * c.sum(axis=axis, keepdims=True))
        return np.asarray(p * (c - (p * c).sum(axis=axis, keepdims=True)))


def slack_of_rows(axis: int) -> Callable[..., list[Any]]:
    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        tiny = float(np.finfo(np.float32 if eps > 1e-10 else np.float64).tiny)
        x = np.asarray(arrays["x"], np.float64)
        c = np.abs(np.asarray(arrays.get("cotangent", 1.0), np.float64))
        size = float(np.sum(c, where=np.isfinite(c)))
        terms = float(np.max(np.abs(x), initial=1.0, where=np.isfinite(x)))
        return [tiny + 8 * eps * max(size, terms, 1.0)]

    return slack


def informed(rng: Rng) -> Call:
    """A function of probabilities."""
    name = pick(rng, information.__all__)
    function = getattr(information, name)
    shape = draw_shape(rng, pick(rng, (1, 2, 2)), 600)
    takes = [n for n in inspect.signature(function).parameters if n in ("p", "q")]
    arrays = {n: rng.dirichlet(np.ones(max(1, shape[-1])), size=shape[:-1]) for n in takes}
    dtype = pick(rng, FLOATS)
    arrays = {n: a.astype(dtype) for n, a in arrays.items()}
    options: dict[str, Any] = {"base": pick(rng, (2, 10, None))} if chance(rng, 0.5) else {}
    if "normalize" in inspect.signature(function).parameters:
        options["normalize"] = False

    def reference(p: Any, q: Any = None, base: Any = None, normalize: bool = False) -> list[Any]:
        function(**{n: a for n, a in (("p", p), ("q", q)) if n in takes}, **options)  # raises where it does
        p, q = (None if a is None else np.asarray(a, np.float64) for a in (p, q))
        unit = 1.0 if base is None else np.log(base)
        with np.errstate(all="ignore"):
            if name == "information":
                return [-np.log(p) / unit]
            entropy = -np.where(p > 0, p * np.log(p), 0.0).sum(axis=-1)
            crossed = entropy if q is None else -np.where(p > 0, p * np.log(q), 0.0).sum(axis=-1)
        return [{"entropy": entropy, "cross_entropy": crossed, "kl_divergence": crossed - entropy}[name] / unit]

    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        return [1e-12]

    return Call(name, function, arrays, options, reference, slack)
