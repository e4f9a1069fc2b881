"""Calls of losses whose classes are split over processes, in a group of one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import lossk
from lossk.distributed import SingleProcess, VocabParallelCrossEntropy, VocabParallelLinearCrossEntropy
from tests.fuzz import losses
from tests.fuzz.arrays import Rng, chance
from tests.fuzz.calls import Call

VERBS = ("__call__", "grad", "value_and_grad")


def _of_shards(rng: Rng, call: Call, cls: Any, classes: int, held: Callable[[dict[str, Any]], tuple[int, ...]]) -> Call:
    """Return the call of a loss as one of its class of split classes; `held`: how many classes arrays have."""
    loss = call.function.__self__  # type: ignore[attr-defined]
    known = {f.name for f in dataclasses.fields(loss)} - {"filter_eps"}
    split = cls(SingleProcess(), classes, **{n: getattr(loss, n) for n in known}, equal_bits=chance(rng, 0.7))
    function = getattr(split, call.function.__name__)
    options = {name: given for name, given in call.options.items() if name != "check"}

    def reference(**given: Any) -> list[Any]:
        if held(given) != (classes,):
            raise ValueError(f"got {held(given)} classes, wanted the {classes} that this rank was made for")
        return call.reference(**given)

    what = f"{cls.__name__} as {call.what}"
    return dataclasses.replace(call, what=what, function=function, options=options, reference=reference)


def split_rows(rng: Rng) -> Call:
    """Cross-entropy of labels or probabilities."""
    while True:
        call = losses.rows(rng, (lossk.CrossEntropy,), VERBS)
        if "axis" not in call.options and (classes := call.arrays["z"].shape[-1]) > 0:
            call.free_outputs = False
            return _of_shards(rng, call, VocabParallelCrossEntropy, classes, lambda given: np.shape(given["z"])[-1:])


def split_linear(rng: Rng) -> Call:
    """A linear layer with cross-entropy."""
    call = losses.linear(rng, VERBS)
    call.takes_out = False
    classes = len(call.arrays["w"])
    return _of_shards(rng, call, VocabParallelLinearCrossEntropy, classes, lambda given: np.shape(given["w"])[:1])
