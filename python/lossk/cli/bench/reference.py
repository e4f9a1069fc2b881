"""The float64 result that every provider is compared with: lossk's own `reference`, plain NumPy.

The loss value is taken over the whole input, in blocks of rows; the gradient at the sampled rows or elements only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import lossk
from lossk.cli.bench.cases import OPTIMIZER_OPTIONS, Case
from lossk.cli.bench.inputs import (
    HINGE_MARGIN,
    HUBER_DELTA,
    Array,
    Inputs,
    make_inputs,
    sample,
)
from lossk.cli.bench.providers import CHECKED_STEPS, Outcome

BLOCK = 1 << 22  # elements that are held in float64 at a time
PARAMETERS = {"Huber": (HUBER_DELTA,), "Hinge": (HINGE_MARGIN,), "SquaredHinge": (HINGE_MARGIN,)}


def loss_of(kernel: str) -> Any:
    """Return the loss object that a kernel's name stands for."""
    return getattr(lossk, kernel)(*PARAMETERS.get(kernel, ()))


def _loss(case: Case, inputs: Inputs) -> Outcome:
    loss, z, y = loss_of(case.kernel), inputs.z, inputs.y
    step = max(1, BLOCK // (z.size // len(z)))
    blocks = (slice(start, start + step) for start in range(0, len(z), step))
    value = sum(float(loss.reference(*(a[b] for a in (z, y, *inputs.more)), reduction="sum")) for b in blocks) / len(z)
    if case.goal == "value":
        return Outcome(value, None)
    places = sample(case)
    taken = (a[places] for a in (z, y, *inputs.more))
    grad = loss.reference(*taken, reduction="sum", derivatives=True)[1]
    return Outcome(value, np.asarray(grad) / len(z))


def _row_map(case: Case, inputs: Inputs) -> Outcome:
    x = inputs.z[sample(case)].astype(np.float64)
    shifted = x - x.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return Outcome(None, np.exp(logs) if case.kernel == "softmax" else logs)


def _steps(case: Case, inputs: Inputs) -> Outcome:
    p, g = (arrays[0][sample(case)].astype(np.float64) for arrays in (inputs.params, inputs.grads))
    optimizer = getattr(lossk, case.kernel)([p], **OPTIMIZER_OPTIONS[case.kernel])
    return Outcome(None, optimizer.reference(p, [g] * CHECKED_STEPS)[0])


def expected(case: Case, seed: int) -> Outcome:
    """Value over the whole input and array at the sampled places, in float64."""
    inputs = make_inputs(case, seed)
    if case.kind == "optimizer":
        return _steps(case, inputs)
    return _row_map(case, inputs) if case.kind == "row map" else _loss(case, inputs)


@dataclass(frozen=True)
class Errors:
    """What separates a result from the expected one; None where there is nothing to compare.

    value: relative error of the loss; array: largest absolute error over the largest magnitude, at the sampled places.
    """

    value: float | None
    array: float | None


def errors(value: float | None, array: Array | None, wanted: Outcome) -> Errors:
    """Compare one provider's result with the expected one; what a provider does not return has no error."""
    value_error = array_error = None
    if value is not None and wanted.value is not None:
        value_error = abs(value - wanted.value) / max(abs(wanted.value), np.finfo(np.float64).tiny)
    if array is not None and wanted.array is not None:
        scale = max(float(np.abs(wanted.array).max()), np.finfo(np.float64).tiny)
        array_error = float(np.abs(array.astype(np.float64) - wanted.array).max()) / scale
    return Errors(value_error, array_error)
