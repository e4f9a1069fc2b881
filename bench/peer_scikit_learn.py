"""scikit-learn's `sklearn._loss`: fused loops that return losses of samples and unscaled gradients.

They get credit for what they need not do: the gradient is divided by the number of samples only when it is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn import _loss

from lossk.cli.bench.cases import FRESH, OUT, Case
from lossk.cli.bench.kernels import Build, Inputs, Outcome, Runner

LOSSES: dict[str, Callable[[], Any]] = {
    "SquaredError": _loss.HalfSquaredError,
    "AbsoluteError": _loss.AbsoluteError,
    "Huber": partial(_loss.HuberLoss, delta=1.0),
}


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build scikit-learn's call for a case and mode."""
    losses = LOSSES | {"CrossEntropy": lambda: _loss.HalfMultinomialLoss(n_classes=case.shape[1])}
    if case.kernel not in losses or mode not in ("value", FRESH, OUT):
        return None
    loss, z, y = losses[case.kernel](), inputs[0], inputs[1].astype(case.dtype)
    factor = (2 if case.kernel == "SquaredError" else 1) / len(y)
    out = {"loss_out": np.empty_like(y), "gradient_out": np.empty_like(z)} if mode == OUT else {}

    def call() -> Outcome:
        if mode == "value":
            return loss.loss(y, z, n_threads=threads).sum(), None
        values, grad = loss.loss_gradient(y, z, n_threads=threads, **out)
        return values.sum(), grad

    return Runner(call, finish=lambda found: tuple(None if part is None else part * factor for part in found))


PROVIDERS: dict[str, Build] = {"scikit-learn": build}
