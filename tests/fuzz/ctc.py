"""Calls of CTC: sequences of any lengths, told or not, of labels in a row each or one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lossk
from tests.fuzz.arrays import FLOATS, INTEGERS, Rng, chance, pick, with_specials
from tests.fuzz.calls import Call, real
from tests.fuzz.losses import COTANGENTS, VERBS_OF_PAIRS, sizes

# What paths add up is finite, -infinity or NaN.
SPECIAL = (np.nan, -np.inf, 0.0, -80.0)


def ctc(rng: Rng) -> Call:
    """A verb of CTC."""
    times, samples, classes, most = (pick(rng, few) for few in ((1, 2, 5, 17), (0, 1, 2, 5), (2, 3, 9), (0, 1, 3, 8)))
    blank = int(rng.integers(classes))
    loss, verb = lossk.CTC(blank, zero_infinity=chance(rng, 0.5)), pick(rng, VERBS_OF_PAIRS)
    z = 2 * rng.normal(size=(times, samples, classes))
    z -= np.log(np.exp(z).sum(axis=-1, keepdims=True))
    labels = rng.integers(0, classes - 1, (samples, most))
    labels += labels >= blank
    integer = pick(rng, INTEGERS[:-1])
    arrays: dict[str, Any] = {"z": with_specials(rng, z.astype(pick(rng, FLOATS)), SPECIAL), "target": labels}
    lengths = rng.integers(0, most + 1, samples)
    if verb == "vjp":
        arrays["cotangent"] = with_specials(rng, rng.normal(size=samples).astype(pick(rng, FLOATS)), COTANGENTS)
    if chance(rng, 0.5):
        arrays["input_lengths"] = rng.integers(0, times + 1, samples).astype(integer)
    if chance(rng, 0.5):
        arrays["target_lengths"] = lengths.astype(integer)
        if chance(rng, 0.5):
            arrays["target"] = labels[np.arange(most) < lengths[:, None]]
    arrays["target"] = arrays["target"].astype(integer)
    options = {"reduction": pick(rng, ("mean", "sum", "none"))} if verb != "vjp" and chance(rng, 0.7) else {}
    like = () if verb == "__call__" else ("z",)
    function, reference = getattr(loss, verb), referred(loss, verb)
    return Call(f"{loss!r}.{verb}", function, arrays, options, reference, slack_of(loss, verb), like, classes)


def referred(loss: Any, verb: str) -> Callable[..., list[Any]]:
    def reference(cotangent: Any = None, **given: Any) -> list[Any]:
        if verb != "vjp":
            value, gradient = loss.reference(**given, derivatives=True)
            return {"__call__": [value], "grad": [gradient], "value_and_grad": [value, gradient]}[verb]
        _, gradient = loss.reference(**given, reduction="sum", derivatives=True)
        factor = real("cotangent", cotangent, gradient.shape[1:2])
        times = given.get("input_lengths")
        counts = np.arange(len(gradient))[:, None] < (np.full(len(factor), len(gradient)) if times is None else times)
        if loss.zero_infinity:
            counts = counts & (lossk.CTC(loss.blank).reference(**given, reduction="none") != np.inf)
        counts = counts & (factor != 0)
        with np.errstate(invalid="ignore"):
            return [np.where(counts[..., None], gradient * factor[:, None], 0.0)]

    return reference


def slack_of(loss: Any, verb: str) -> Callable[..., list[Any]]:
    """Return errors of sums of logarithms, a few units of the largest a time; a gradient's are those of exp(sum)."""

    def slack(arrays: dict[str, Any], options: dict[str, Any], eps: float) -> list[Any]:
        z = sizes(arrays["z"])
        units = 8 * eps * max(1, len(z)) * max(1.0, float(np.max(z, initial=0.0)))
        value, gradient = units * max(1, z.shape[1]), units
        gradient *= max(1.0, float(np.max(sizes(arrays.get("cotangent", 1.0)), initial=0.0)))
        return {"__call__": [value], "value_and_grad": [value, gradient]}.get(verb, [gradient])

    return slack
