"""The float64 result that every provider is compared with: lossk's own `reference`, plain NumPy.

The loss value is taken over the whole input, in blocks of rows; the gradient at the sampled rows or elements only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import lossk
from lossk.cli.bench.cases import OPTIMIZER_OPTIONS, Case, Kind
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


OPTION_ARGUMENTS: dict[str, dict[str, float]] = {
    "smoothing": {"label_smoothing": 0.1},
    "softcap": {"softcap": 30.0},
    "z_loss": {"z_loss": 1e-4},
}
LINEAR_LOGITS = 1 << 28  # beyond so many logits a layer's loss and dw are not compared, only dx


def loss_of(case: Case) -> Any:
    """Return the loss object that a case stands for."""
    arguments: dict[str, Any] = dict(OPTION_ARGUMENTS.get(case.option, {}))
    if case.option == "class weights":
        arguments["weight"] = np.random.default_rng(0).uniform(0.5, 1.5, case.shape[1])
    return getattr(lossk, case.kernel)(*PARAMETERS.get(case.kernel, ()), **arguments)


def _divisor(loss: Any, inputs: Inputs) -> float:
    """Return what a mean divides by: the weight of the samples that count."""
    weights = np.asarray(inputs.keywords.get("sample_weight", np.ones(len(inputs.z))), np.float64)
    if inputs.y.ndim == inputs.z.ndim or not hasattr(loss, "ignore_index"):
        return float(weights.sum())
    counts = inputs.y != loss.ignore_index
    if loss.weight is not None:
        weights = weights * loss.weight[np.where(counts, inputs.y, 0)]
    return float(weights[counts].sum())


def _loss(case: Case, inputs: Inputs) -> Outcome:
    loss, z = loss_of(case), inputs.z
    divisor, step = _divisor(loss, inputs), max(1, BLOCK // (z.size // len(z)))

    def of(part: Any, **options: Any) -> Any:
        arrays = (array[part] for array in (z, inputs.y, *inputs.more))
        keywords = {name: array[part] for name, array in inputs.keywords.items()}
        return loss.reference(*arrays, **keywords, reduction="sum", **options)

    value = sum(float(of(slice(start, start + step))) for start in range(0, len(z), step)) / divisor
    if case.goal == "value":
        return Outcome(value, None)
    return Outcome(value, np.asarray(of(sample(case), derivatives=True)[1]) / divisor)


def _linear(case: Case, inputs: Inputs) -> Outcome:
    """Return loss, dx of the sampled rows, and dw of their labels; the last two from blocks of logits."""
    (rows, features, classes), places, y = case.shape, sample(case), inputs.y
    x, w = inputs.z.astype(np.float64), inputs.more[0].astype(np.float64)
    picked = np.unique(y[places], return_inverse=True)
    value, dw = 0.0, np.zeros((len(picked[0]), features))
    whole = rows * classes <= LINEAR_LOGITS
    step = max(1, BLOCK // classes)
    for start in range(0, rows if whole else 0, step):
        part = slice(start, start + step)
        p, lse = _softmax(x[part] @ w.T)
        labels = y[part]
        value += float((lse - (x[part] * w[labels]).sum(axis=1)).sum())
        dw += (p[:, picked[0]] - (labels[:, None] == picked[0])).T @ x[part]
    p, _ = _softmax(x[places] @ w.T)
    p[np.arange(len(places)), y[places]] -= 1
    dx = p @ w
    return Outcome(value / rows if whole else None, np.concatenate([dx, dw[picked[1]]] if whole else [dx]) / rows)


def _softmax(z: Any) -> tuple[Any, Any]:
    """Return softmax and log-sum-exp of rows; `z` is overwritten."""
    top = z.max(axis=1, keepdims=True)
    np.exp(z - top, out=z)
    mass = z.sum(axis=1, keepdims=True)
    return np.divide(z, mass, out=z), np.log(mass[:, 0]) + top[:, 0]


def _map(case: Case, inputs: Inputs) -> Outcome:
    places = sample(case)
    x = inputs.z[places].astype(np.float64)
    if case.kind == "activation":
        value, derivative = getattr(lossk, case.kernel)().reference(x)
        return Outcome(None, derivative * inputs.y[places] if case.goal == "vjp" else value)
    p, lse = _softmax(x.copy())
    return Outcome(None, p if case.kernel == "softmax" else x - lse[:, None])


def _steps(case: Case, inputs: Inputs) -> Outcome:
    p, g = (arrays[0][sample(case)].astype(np.float64) for arrays in (inputs.params, inputs.grads))
    optimizer = getattr(lossk, case.kernel)([p], **OPTIMIZER_OPTIONS[case.kernel])
    return Outcome(None, optimizer.reference(p, [g] * CHECKED_STEPS)[0])


def expected(case: Case, seed: int) -> Outcome:
    """Value over the whole input and array at the sampled places, in float64."""
    compute: dict[Kind, Callable[[Case, Inputs], Outcome]] = {
        "optimizer": _steps,
        "linear": _linear,
        "row map": _map,
        "activation": _map,
    }
    return compute.get(case.kind, _loss)(case, make_inputs(case, seed))


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
        array = array[: len(wanted.array)]  # of a large layer only dx is known
        scale = max(float(np.abs(wanted.array).max()), np.finfo(np.float64).tiny)
        array_error = float(np.abs(array.astype(np.float64) - wanted.array).max()) / scale
    return Errors(value_error, array_error)
