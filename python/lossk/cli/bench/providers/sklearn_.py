"""scikit-learn's `sklearn._loss`: fused Cython loops that return per-sample losses and unscaled gradients.

They skip the mean and the division of the gradient by it, and are given credit for that: the sum of the losses is taken
in the timed call, the gradient is scaled only when it is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn import _loss

from lossk.cli.bench.cases import FRESH, OUT, Case
from lossk.cli.bench.inputs import HUBER_DELTA, Array, Inputs
from lossk.cli.bench.providers import Build, Outcome, Runner


def _multinomial(case: Case) -> Any:
    return _loss.HalfMultinomialLoss(n_classes=case.shape[1])


def _squared(case: Case) -> Any:
    return _loss.HalfSquaredError()


def _absolute(case: Case) -> Any:
    return _loss.AbsoluteError()


def _huber(case: Case) -> Any:
    return _loss.HuberLoss(delta=HUBER_DELTA)


LOSSES: dict[str, Callable[[Case], Any]] = {
    "CrossEntropy": _multinomial,
    "SquaredError": _squared,
    "AbsoluteError": _absolute,
    "Huber": _huber,
}
FACTOR = {"SquaredError": 2.0}  # scikit-learn's is half of the squared error


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build scikit-learn's call for a case and mode."""
    if case.kernel not in LOSSES or case.dtype not in ("float32", "float64") or mode not in ("value", FRESH, OUT):
        return None
    loss, z, y = LOSSES[case.kernel](case), inputs.z, inputs.y.astype(inputs.z.dtype)
    factor = FACTOR.get(case.kernel, 1.0) / len(y)
    arguments = {"y_true": y, "raw_prediction": z, "n_threads": threads}
    if mode == "value":
        value = partial(loss.loss, **arguments)
        return Runner(lambda: value().sum(), lambda total: Outcome(float(total) * factor, None))
    if mode == OUT:
        arguments |= {"loss_out": np.empty_like(y), "gradient_out": np.empty_like(z)}
    both = partial(loss.loss_gradient, **arguments)

    def call() -> tuple[float, Array]:
        losses, grad = both()
        return losses.sum(), grad

    return Runner(call, lambda r: Outcome(float(r[0]) * factor, r[1] * factor))


PROVIDERS: dict[str, Build] = {"scikit-learn": build}
