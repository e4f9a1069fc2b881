"""Descent along gradients of mini-batches: samples, epochs, when to stop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._arrays import Array, take_rows
from .._profile import last_level_cache
from ..optimizers import Optimizer
from ._objective import Objective, Penalty
from ._schedules import FACTOR, SMALLEST_SHARE, Plateau, patience, rate, show

# What rows are copied to, a call for all of it: a part of the L2 of any CPU, which batches are read from soon after.
BUFFER_BYTES = 1 << 18


class Samples(NamedTuple):
    """Rows x (n, D), their targets y, and their weights (n,), which have a mean of 1."""

    x: Any
    y: Array
    w: Array | None

    def batches(self, size: int, order: Array | None, buffer: Array | None) -> Iterator[Samples]:
        """Yield batches, views of x, or of copies of rows in an order: as many at once as the buffer holds."""
        x, y, w = self
        if order is not None:
            y, w = y[order], None if w is None else w[order]
        held = size if buffer is None else len(buffer)
        # What the caches hold, one thread copies sooner than another wakes.
        threads = 1 if buffer is not None and x.nbytes <= last_level_cache() else None
        for first in range(0, len(y), held):
            some: Any = slice(first, first + held)
            if order is None:
                rows = x[some]
            elif buffer is None:
                rows = x[order[some]]
            else:
                rows = buffer[: len(y) - first]
                take_rows(rows, x, order[some], threads)
            for start in range(0, rows.shape[0], size):
                part: Any = slice(first + start, first + start + size)
                batch = rows if held == size else rows[start : start + size]
                yield Samples(batch, y[part], None if w is None else w[part])


class Descent:
    """Epochs of a model: batches, steps, learning rates, curves."""

    def __init__(self, model: Any, objective: Objective, optimizer: Optimizer, rows: int, seed: int) -> None:
        self._model, self._objective, self._optimizer = model, objective, optimizer
        self._rows, self._seed, self._lr = rows, seed, optimizer.lr
        share = {"l1": 1.0, "elasticnet": model.l1_ratio}.get(model.penalty, 0.0)
        alpha = 0.0 if model.penalty is None else model.alpha
        self._penalty = Penalty(alpha * share, alpha * (1 - share))

    def epochs(
        self,
        samples: Samples,
        held_out: Samples | None,
        curves: tuple[list[float], list[float]],
        at: int,
        partial: bool,
    ) -> int:
        """Descend; `curves`, of training and validation, grow. Returns the number of epochs."""
        model, params = self._model, self._objective.params
        plateau = Plateau(model.tol, model.n_iter_no_change or patience(len(samples.y), self._rows))
        best = [p.copy() for p in params]
        last = 1 if partial else model.max_iter
        done, stopped = 0, partial
        adaptive = self._lr
        for done in range(1, last + 1):
            curves[0].append(self._epoch(samples, at + done - 1))
            watched = curves[0][-1]
            if held_out is not None:
                watched = self._mean_loss(held_out)
                curves[1].append(watched)
            if not np.isfinite(curves[0][-1] + watched):
                raise ValueError(
                    f"Floating-point overflow: the loss is {curves[0][-1]} after epoch {at + done}. "
                    "Scale the data with StandardScaler, or lower learning_rate_init."
                )
            if plateau.improved(watched) and held_out is not None:
                best = [p.copy() for p in params]
            if not partial and plateau.reached() and (held_out is not None or model.learning_rate != "cosine"):
                stopped = model.learning_rate != "adaptive" or self._lr * FACTOR < adaptive * SMALLEST_SHARE
                self._lr *= FACTOR if model.learning_rate == "adaptive" else 1.0
            if model.verbose:
                show(at + done, at + last, watched, self._optimizer.lr, stopped or done == last)
            if stopped:
                break
        if held_out is not None:
            for p, kept in zip(params, best, strict=True):
                p[...] = kept
        if not stopped and model.tol is not None and model.learning_rate != "cosine":
            warnings.warn(
                f"Maximum number of iterations ({last}) reached and the loss still falls: raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return done

    def _epoch(self, samples: Samples, epoch: int) -> float:
        """Go once through the samples; returns their mean loss on the way and the penalty at the end."""
        model, objective, weights = self._model, self._objective, self._objective.params[0]
        n, total = len(samples.y), 0.0
        order = buffer = None
        if model.shuffle and self._rows < n:
            order = np.random.default_rng((self._seed, epoch)).permutation(n)
            if isinstance(samples.x, np.ndarray) and samples.x.flags.c_contiguous:
                batches = max(1, BUFFER_BYTES // max(1, self._rows * samples.x[0].nbytes))
                buffer = np.empty((batches * self._rows, samples.x.shape[1]), samples.x.dtype)
        for i, (x, y, w) in enumerate(samples.batches(self._rows, order, buffer)):
            self._optimizer.lr = self._lr * rate(
                model.learning_rate, epoch + i * self._rows / n, model.max_iter, model.power_t
            )
            total += objective.value_and_grads(x, y, w) * len(y)
            self._penalty.pull(weights, objective.grads[0])
            self._optimizer.step(objective.grads)
            self._penalty.project(weights)
        return total / n + self._penalty.value(weights)

    def _mean_loss(self, samples: Samples) -> float:
        batches = samples.batches(self._rows, None, None)
        totals = (self._objective.value_and_grads(*batch) * len(batch.y) for batch in batches)
        return sum(totals) / (len(samples.y) if samples.w is None else float(samples.w.sum(dtype=np.float64)))
