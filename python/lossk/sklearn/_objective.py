"""The loss of a batch of linear scores and its gradients, and the penalty of weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .._arrays import Array
from ._losses import ROWS


def product(a: Any, b: Array, out: Array) -> Array:
    """Return ``a @ b`` in `out`; `a` may be sparse."""
    if isinstance(a, np.ndarray):
        return np.matmul(a, b, out=out)
    out[...] = a @ b
    return out


class Objective:
    """The mean loss of batches of up to `rows` scores ``z = x @ weights + intercept``, and its gradients.

    Shapes: x (n, D), weights (D, C), intercept (C,), z (n, C). Targets y are numbers (n, 1), or labels (n,) of a loss
    of rows, or labels whose targets are rows of `table` (classes, C). A loss of rows has two classes where C is 1: the
    score of the first is 0.
    """

    def __init__(
        self, loss: Any, weights: Array, intercept: Array | None, rows: int, table: Array | None, divisor: float
    ) -> None:
        dtype, columns = weights.dtype, weights.shape[1]
        self._loss, self._weights, self._intercept, self._table, self._divisor = (
            loss,
            weights,
            intercept,
            table,
            divisor,
        )
        self.params = [weights] if intercept is None else [weights, intercept]
        self.grads = [np.empty_like(p) for p in self.params]
        self._z, self._ones = np.empty((rows, columns), dtype), np.ones(rows, dtype)
        self._targets = np.empty((rows, columns), dtype)
        # Scores of two classes, and their gradients.
        self._pairs = np.zeros((2, rows, 2), dtype) if isinstance(loss, ROWS) and columns == 1 else None

    def value_and_grads(self, x: Any, y: Array, w: Array | None) -> float:
        """Return the mean loss of a batch, weights w (n,) included; its gradients are in `grads` then."""
        n = x.shape[0]
        z = product(x, self._weights, self._z[:n])
        if self._intercept is not None:
            z += self._intercept
        value, dz = self._of_scores(z, y, w)
        product(x.T, dz, self.grads[0])
        if self._intercept is not None:
            np.matmul(self._ones[:n], dz, out=self.grads[1])
        return value

    def _of_scores(self, z: Array, y: Array, w: Array | None) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to the scores, which it may overwrite."""
        n = len(z)
        value_and_grad = partial(self._loss.value_and_grad, normalizer=n * self._divisor, check=False)
        if self._pairs is not None:
            scores, grads = self._pairs[:, :n]
            scores[:, 1:] = z
            value, _ = value_and_grad(scores, y, sample_weight=w, out=grads)
            z[...] = grads[:, 1:]
            return value, z
        if not isinstance(self._loss, ROWS):
            if self._table is not None:
                y = self._table.take(y, axis=0, out=self._targets[:n], mode="clip")
            w = None if w is None else np.repeat(w, z.shape[1]).reshape(z.shape)
        return value_and_grad(z, y, sample_weight=w, out=z)  # type: ignore[no-any-return]


class Penalty:
    """``l1 * sum(|w|) + l2 / 2 * sum(w**2)`` of weights.

    L1 keeps each weight on one side of 0 during a step, so that weights become exactly 0 (Andrew, Gao, "Scalable
    training of L1-regularized log-linear models", 2007): `pull` makes the gradient that of the penalised loss, the
    smallest one at 0, and `project` sets to 0 what the step brought to the other side.
    """

    def __init__(self, l1: float, l2: float) -> None:
        self._l1, self._l2 = l1, l2
        self._side: Any = None  # of 0, where each weight may be after the step

    def value(self, w: Array) -> float:
        """Return the penalty of weights."""
        w = w.astype(np.float64)
        return float(self._l1 * np.abs(w).sum() + self._l2 / 2 * (w * w).sum())

    def pull(self, w: Array, dw: Array) -> None:
        """Add the penalty's gradient to that of the loss."""
        if self._l2:
            dw += self._l2 * w
        if self._l1:
            side = np.sign(w)
            smallest = np.sign(dw) * np.maximum(np.abs(dw) - self._l1, 0)
            np.copyto(dw, np.where(side == 0, smallest, dw + self._l1 * side))
            self._side = np.where(side == 0, -np.sign(dw), side)

    def project(self, w: Array) -> None:
        """Bring weights back to the side of 0 that they were on before the step."""
        if self._l1:
            w[w * self._side <= 0] = 0
