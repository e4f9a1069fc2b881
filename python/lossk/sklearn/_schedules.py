"""Learning rates over epochs, when to stop, and the bar that shows both."""

from __future__ import annotations

import math
import sys

RATES = ("constant", "invscaling", "cosine", "adaptive")
SMALLEST_SHARE, FACTOR = 0.001, 0.2  # of an adaptive rate: its end, and each step down


def rate(kind: str, epoch: float, max_iter: int, power_t: float) -> float:
    """Return the share of the first learning rate after so many epochs, which may be fractions."""
    if kind == "invscaling":
        return float((1 + epoch) ** -power_t)
    if kind == "cosine":
        return (1 + math.cos(math.pi * min(epoch / max_iter, 1))) / 2
    return 1.0


def patience(samples: int, rows: int) -> int:
    """Return how many epochs make 1,000 steps of so many rows, at least 2 and at most 20."""
    return min(max(1000 * rows // samples, 2), 20)


class Plateau:
    """Tells when a loss has not fallen by `tol` times its first value for `patience` epochs in a row."""

    def __init__(self, tol: float | None, patience: int) -> None:
        self._tol, self._patience, self._waited = tol, patience, 0
        self._first: float | None = None
        self.best = math.inf

    def improved(self, loss: float) -> bool:
        """Take the loss of an epoch; return whether it is the best one so far."""
        if self._first is None:
            self._first = abs(loss)
        enough = loss < self.best - (self._tol or 0.0) * self._first
        self._waited = 0 if enough else self._waited + 1
        better, self.best = loss < self.best, min(loss, self.best)
        return better

    def reached(self) -> bool:
        """Return whether the loss has stopped falling; if so, wait anew."""
        if self._tol is None or self._waited < self._patience:
            return False
        self._waited = 0
        return True


def show(epoch: int, max_iter: int, loss: float, lr: float, last: bool) -> None:
    """Draw the progress bar on stderr, over the one before."""
    width = 24
    filled = width * epoch // max_iter
    text = f"epoch {epoch}/{max_iter} [{'#' * filled:{width}}] loss {loss:.6g} learning rate {lr:.3g}"
    print(f"\r{text:100}", end="\n" if last else "", file=sys.stderr, flush=True)
