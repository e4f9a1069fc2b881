"""Calls of losses: of samples, of rows, of pairs and triplets, of a linear layer."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import lossk
from lossk.losses import LOSSES, PAIR_LOSSES, PointwiseLoss
from tests.fuzz.arrays import (
    FLOATS,
    INTEGERS,
    SPECIAL,
    Array,
    Rng,
    chance,
    draw_labels,
    draw_shape,
    pick,
    with_specials,
)
from tests.fuzz.calls import Call, real
from tests.support.arrays import NAN
from tests.support.tolerances import grad_atol, rounding, value_atol

# Infinite ones would meet derivatives that float32 rounds to 0.
COTANGENTS = (NAN, 0.0, -0.0, 80.0)
VERBS = ("__call__", "grad", "value_and_grad", "grad_and_hess", "vjp")
VERBS_OF_PAIRS = ("__call__", "grad", "value_and_grad", "vjp")


def made(rng: Rng, cls: Any) -> Any:
    """Return an object of a class: a variant whose numbers are changed now and then, to sixty-fourths."""
    given = dict(pick(rng, cls._variants))
    numbers = {f.name: getattr(cls(**given), f.name) for f in dataclasses.fields(cls)}
    for name, value in numbers.items():
        if type(value) is float and value and chance(rng, 0.2):
            changed = {**given, name: round(value * rng.uniform(0.5, 2.0) * 64) / 64}
            try:
                cls(**changed)
            except ValueError:
                continue
            given = changed
    return cls(**given)


def draw_options(
    rng: Rng, verb: Callable[..., Any], reference: Callable[..., Any], ignore_nan: bool = True
) -> dict[str, Any]:
    """Draw those options that the verb has: those it shares with the reference."""
    draw: dict[str, Callable[[], Any]] = {
        "reduction": lambda: pick(rng, ("mean", "sum", "none")),
        "normalizer": lambda: pick(rng, (None, None, 0.5, 7, 1e3)),
        "ignore_nan": lambda: chance(rng, 0.3),
        "check": lambda: chance(rng, 0.8),
        "wrt": lambda: pick(rng, ("z", "var", "both")),
    }
    known = set(inspect.signature(verb).parameters) & set(inspect.signature(reference).parameters)
    options = {name: make() for name, make in draw.items() if name in known and chance(rng, 0.6)}
    if options.get("reduction", "mean") != "mean" and chance(rng, 0.95):
        options.pop("normalizer", None)
    return options


def draw_weight(rng: Rng, shape: tuple[int, ...], dtype: Any) -> Array:
    weight = rng.uniform(0.25, 2.0, size=shape)
    weight[rng.random(size=shape) < pick(rng, (0, 0, 0.3))] = 0
    return weight.astype(pick(rng, (dtype, *FLOATS[:2])))


def of_verb(verb: str, of_gradients: int = 1) -> Callable[[Any], list[Any]]:
    """Return what a verb returns out of (value, gradients ..., second derivative)."""

    def choose(parts: Any) -> list[Any]:
        value, *derivatives = parts
        gradients = derivatives[:of_gradients]
        return {
            "__call__": [value],
            "grad": gradients,
            "vjp": gradients,
            "value_and_grad": [value, *gradients],
            "grad_and_hess": derivatives,
        }[verb]

    return choose


def referred(loss: Any, verb: str, gradients: int, samples: tuple[int, ...] = ()) -> Callable[..., list[Any]]:
    """Return the reference of a verb: that of the loss, whose value and derivatives it gives."""

    def reference(**given: Any) -> list[Any]:
        cotangent = given.pop("cotangent", None)
        if verb == "vjp":
            weight = given.pop("sample_weight", None)
            factor = real("cotangent", cotangent, samples)
            if weight is not None:  # a sample does not count where either is 0
                weight = real("sample_weight", weight, samples)
                factor = np.where((factor != 0) & (weight != 0), factor * weight, 0.0)
            given |= {"sample_weight": factor, "reduction": "none"}
        parts = loss.reference(**given, derivatives=True)
        value, *rest = parts
        rest = list(rest[0]) if rest and isinstance(rest[0], tuple) else rest
        return of_verb(verb, gradients)((value, *(r for r in rest if r is not None)))

    return reference


def sizes(a: Any) -> Array:
    """Return the sizes of those entries that are finite, 0 for the others."""
    a = np.abs(np.asarray(a, np.float64))
    return np.where(np.isfinite(a), a, 0.0)


def scale_of(loss: Any, arrays: dict[str, Any], options: dict[str, Any]) -> float:
    """Return what a reduction multiplies the sum of the samples by."""
    if options.get("reduction", "mean") != "mean":
        return 1.0
    if options.get("normalizer"):
        return 1.0 / float(options["normalizer"])
    total, mean = (loss.reference(**arrays, **{**options, "reduction": r}) for r in ("sum", "mean"))
    return float(np.nan_to_num(abs(mean / total) if total else 1.0, nan=1.0, posinf=1.0))


def slack_of_loss(loss: Any, verb: str, gradients: int) -> Callable[..., list[Any]]:
    """Return absolute errors: of sums those of their terms, of derivatives a share of the weight."""

    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        dtype = np.dtype(np.float32 if eps > 1e-10 else np.float64)
        given = {name: a for name, a in arrays.items() if name != "cotangent"}
        # Unchecked: without its cotangent of 0, a sample would count.
        unchecked = {"check": False} if "check" in inspect.signature(loss.reference).parameters else {}
        each_way = {**options, **unchecked, "reduction": "none", "normalizer": None}
        each, *parts = loss.reference(**given, **each_way, derivatives=True)
        parts = list(parts[0]) if isinstance(parts[0], tuple) else parts
        with np.errstate(all="ignore"):
            scale = scale_of(loss, given, options) if verb != "vjp" else 1.0
            factors = [arrays[name] for name in ("sample_weight", "cotangent") if arrays.get(name) is not None]
            largest = max(1.0, float(np.prod([np.max(sizes(f), initial=1.0) for f in factors]))) * scale
        value, grad, hess = 0.0, 0.0, 0.0
        if "z" in arrays and "target" not in arrays and "var" not in arrays:
            spread = rounding(loss, np.asarray(arrays["z"], np.float64), np.asarray(arrays["y"]), None, dtype)
            value, grad, hess = (np.nan_to_num(s, posinf=0.0, neginf=0.0) for s in spread)
        if "var" in arrays:  # log(v) / 2 and r**2 / (2 v), of some units each, may cancel
            v = np.maximum(np.asarray(arrays["var"], np.float64), loss.eps)
            r = np.asarray(arrays["z"], np.float64) - np.asarray(arrays["y"], np.float64)
            value = 2 * eps * sizes(np.abs(np.log(v)) + r * r / v + loss.full)
        value = value_atol(loss, dtype) + value
        if "anchor" in arrays:  # a difference of distances, of which powers may have vanished
            distance = max(float(np.max(sizes(a), initial=0.0)) for a in given.values() if a is not None)
            value += 8 * eps * distance * np.shape(arrays["anchor"])[-1] ** (1 / loss.p)
            value += float(np.finfo(dtype).tiny) ** (1 / loss.p)
        if verb == "vjp" or options.get("reduction", "mean") == "none":
            of_value = value * largest
        else:
            of_terms = (8 if dtype == np.float32 else 4500) * eps * float(np.sum(sizes(each))) * scale
            of_value = 1e-36 + of_terms + float(np.mean(value)) * np.size(each) * largest
        # Of rows that are nearly 0 the gradient of a cosine is large, and cancels; so do those of distances.
        lengths = [np.sqrt(np.square(sizes(arrays[n])).sum(-1)) for n in ("x1", "x2") if np.ndim(arrays.get(n))]
        derivative = 3 * grad_atol(loss, dtype) + sum(
            20 * eps / max(1e-6, float(np.min(n, initial=1.0, where=n > 0))) for n in lengths
        )
        derivative += 20 * eps if "anchor" in arrays else 0.0
        of_parts = [float(np.max(sizes(part), initial=0.0)) * scale * ("y" not in arrays) for part in parts]
        others = [(derivative + (grad, hess, 0.0)[i]) * largest + 20 * eps * size for i, size in enumerate(of_parts)]
        return of_verb(verb, gradients)((of_value, *others))

    return slack


def samples(rng: Rng) -> Call:
    """A loss of single samples, of two arrays or three."""
    cls = pick(rng, [c for c in LOSSES.values() if issubclass(c, PointwiseLoss)])
    loss, dtype = made(rng, cls), pick(rng, FLOATS)
    shape, verb = draw_shape(rng), pick(rng, VERBS)
    drawn = cls._draw(rng, shape, np.float64)
    names = ("z", "y", cls._third)
    arrays = {name: _of_type(rng, a, dtype, name != "z") for name, a in zip(names[: len(drawn)], drawn, strict=True)}
    return _finished(rng, loss, cls, verb, arrays, shape, dtype)


def _of_type(rng: Rng, a: Array, dtype: Any, may_differ: bool) -> Array:
    """Return numbers in a type, now and then in another one, of integers too."""
    a = np.asarray(a)
    other = pick(rng, (*FLOATS, *INTEGERS[:-1])) if may_differ and chance(rng, 0.1) else dtype
    if other in FLOATS:
        return with_specials(rng, a.astype(dtype)).astype(other)
    return a.astype(other if other.kind == "i" or np.min(a, initial=0) >= 0 else np.int8)


def _finished(
    rng: Rng,
    loss: Any,
    cls: Any,
    verb: str,
    arrays: dict[str, Any],
    samples: tuple[int, ...],
    dtype: Any,
    axis: dict[str, int] | None = None,
    classes: int = 0,
) -> Call:
    function = getattr(loss, verb)
    options = {**draw_options(rng, function, loss.reference), **(axis or {})}
    if verb == "vjp":
        arrays["cotangent"] = with_specials(
            rng,
            np.asarray(rng.normal(size=samples)).astype(dtype),
            COTANGENTS if np.size(arrays.get("z", ())) != np.prod(samples) or "y" in arrays else SPECIAL[3:5],
        )
        options.pop("reduction", None)
    if chance(rng, 0.4):
        arrays["sample_weight"] = draw_weight(rng, samples, dtype)
    both = options.get("wrt") == "both"
    like = ("z", "z") if verb == "grad_and_hess" or both else ("z",)
    if verb == "__call__":
        like, both = (), False
    gradients = 2 if both else 1
    what = f"{loss!r}.{verb}"
    return Call(
        what,
        function,
        arrays,
        options,
        referred(loss, verb, gradients, samples),
        slack_of_loss(loss, verb, gradients),
        like,
        classes,
    )


def _target(rng: Rng, loss: Any, drawn: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return labels or probabilities, as a loss of rows takes them; `drawn` is what it drew itself."""
    if drawn.ndim == len(shape):
        return drawn.astype(dtype) if drawn.dtype.kind == "f" else drawn
    bent = getattr(loss, "focal_gamma", 0) or getattr(loss, "poly_epsilon", 0)
    if loss._takes_probabilities and not bent and chance(rng, 0.25):
        share = rng.exponential(size=shape) * (rng.random(size=shape) < 0.7)
        return (share / np.maximum(share.sum(axis=-1, keepdims=True), 1e-3)).astype(pick(rng, (dtype, *FLOATS)))
    return draw_labels(rng, shape[:-1], shape[-1], getattr(loss, "ignore_index", None))


ROW_LOSSES = tuple(c for c in LOSSES.values() if not issubclass(c, PointwiseLoss))


def rows(rng: Rng, losses: tuple[Any, ...] = ROW_LOSSES, verbs: tuple[str, ...] = VERBS) -> Call:
    """A loss of rows with labels or probabilities, over any axis."""
    cls = pick(rng, losses)
    loss, dtype = made(rng, cls), pick(rng, FLOATS)
    shape = draw_shape(rng, pick(rng, (1, 2, 2, 2, 3)))
    classes, verb = shape[-1], pick(rng, verbs)
    if "weight" in {f.name for f in dataclasses.fields(cls)} and chance(rng, 0.2) and classes:
        loss = dataclasses.replace(loss, weight=rng.uniform(0, 2, classes) * (rng.random(classes) < 0.9))
    z, target = cls._draw(rng, shape if classes else (*shape[:-1], 1), np.float64)
    z, target = z[..., :classes], target[..., :classes] if np.ndim(target) == len(shape) else target
    target = _target(rng, loss, np.asarray(target), shape, dtype)
    axis = int(rng.integers(-len(shape), len(shape))) if chance(rng, 0.3) else -1
    is_label = np.ndim(target) < len(shape)
    z = with_specials(rng, z.astype(dtype))
    z, target = np.moveaxis(z, -1, axis), target if is_label else np.moveaxis(target, -1, axis)
    return _finished(
        rng,
        loss,
        cls,
        verb,
        {"z": z, "target": target},
        shape[:-1],
        dtype,
        {"axis": axis} if axis != -1 or chance(rng, 0.1) else {},
        classes if is_label else 0,
    )


def pairs(rng: Rng) -> Call:
    """A loss of pairs or triplets."""
    cls = pick(rng, list(PAIR_LOSSES.values()))
    loss, dtype, verb = made(rng, cls), pick(rng, FLOATS), pick(rng, VERBS_OF_PAIRS)
    shape = draw_shape(rng, pick(rng, (1, 2, 2, 2, 3)))
    drawn = [a.astype(dtype) for a in cls._draw(rng, shape, np.float64)]
    names = (*cls._inputs, "y")
    arrays: dict[str, Any] = {n: with_specials(rng, a) for n, a in zip(names, drawn, strict=False)}
    samples = shape if cls._single else shape[:-1]
    call = _finished(rng, loss, cls, verb, arrays, samples, dtype)
    many = len(cls._inputs)
    call.undecided = None if cls._single else of_rows(loss)
    call.like = cls._inputs if verb != "__call__" else ()
    call.reference, call.slack = referred(loss, verb, many, samples), slack_of_loss(loss, verb, many)
    return call


def of_rows(loss: Any) -> Callable[[dict[str, Any], Any], Any]:
    """Return where gradients may be anything: in rows of vectors whose distances are not finite, or may vanish."""

    def undecided(arrays: dict[str, Any], result: Any) -> Any:
        vectors = [np.asarray(arrays[n], np.float64) for n in loss._inputs]
        rows = [~np.isfinite(a).all(axis=-1, keepdims=True) for a in vectors]
        if "anchor" in arrays:
            wide = np.result_type(np.asarray(arrays["anchor"]).dtype, np.float32)
            for i, k in ((0, 1), (0, 2), (1, 2)):
                largest = np.abs(vectors[i] - vectors[k] + loss.eps).max(axis=-1, keepdims=True)
                rows.append((largest > 0) & (largest**loss.p < np.finfo(wide).tiny))
        return np.any(rows, axis=0) if np.ndim(result) == rows[0].ndim else np.False_

    return undecided


LINEAR = ({}, {}, {"label_smoothing": 0.2, "z_loss": 1e-2}, {"softcap": 4.0, "ignore_index": 3}, {"ignore_index": None})


def linear(rng: Rng, verbs: tuple[str, ...] = VERBS_OF_PAIRS) -> Call:
    """A linear layer with cross-entropy."""
    n, d, c = (pick(rng, (1, 2, 3, 7, 13, 33, 70)) for _ in range(3))
    loss = lossk.LinearCrossEntropy(**pick(rng, LINEAR), chunk_bytes=1 << 20)
    dtype, verb = pick(rng, FLOATS), pick(rng, verbs)
    samples = (n,) if chance(rng, 0.8) else (n, pick(rng, (1, 2, 3)))
    arrays: dict[str, Any] = {
        "x": with_specials(rng, rng.normal(size=(*samples, d)).astype(dtype)),
        "w": with_specials(rng, (rng.normal(size=(c, d)) / 4).astype(dtype)),
        "target": draw_labels(rng, samples, c, loss.ignore_index),
    }
    if chance(rng, 0.5):
        arrays["bias"] = rng.normal(size=c).astype(dtype)
    call = _finished(rng, loss, type(loss), verb, arrays, samples, dtype, None, c)
    call.like = () if verb == "__call__" else ("x", "w", *(("bias",) if "bias" in arrays else ()))
    call.reference = referred(loss, verb, 3, samples)
    call.slack, call.widens, call.free_outputs = slack_of_linear(loss, verb, samples), False, False
    return call


def slack_of_linear(loss: Any, verb: str, samples: tuple[int, ...]) -> Callable[..., list[Any]]:
    """Return absolute errors of products of the largest result; of 16 bits they are rounded, dz before a product."""

    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        units = 45_000 if eps < 1e-10 else 256 if eps < 1e-5 else 4
        wanted = referred(loss, verb, 3, samples)(**arrays, **options)
        factor = units * eps * max(1.0, *(float(np.max(sizes(arrays[n]), initial=0.0)) for n in ("x", "w")))
        return [factor * max(0.03, float(np.max(sizes(w), initial=0.0))) for w in wanted]

    return slack
