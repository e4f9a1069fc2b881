"""What objectives have in common: arguments checked, derivatives in blocks of rows, buffers, metrics."""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import lossk

from .._arrays import Array
from .._parameters import at_least_0, check_number
from ..losses import Loss
from . import _hessians, _start

if TYPE_CHECKING:
    from typing_extensions import Self

# Bytes of a block of margins: with its gradients and Hessians 768 KiB, which an L2 of 1 MiB holds; a smaller L2 costs
# time alone.
BLOCK_BYTES = 2**18
# Elements for each further thread: about a millisecond's work (EPYC, Zen 4), against which starting a thread is little.
SERIAL = 2**18
FREE = 3  # references to a buffer that nobody holds: the pair's, a local one, and that of the count itself

HESSIANS = ("boosting", "true")


class Objective:
    """A loss as a library of boosted trees wants it; see the functions that make one."""

    # Are the library's margins one class after another in memory?
    _class_major: ClassVar[bool] = False

    def __init__(
        self, loss: Any, *, hessian: str = "boosting", min_hessian: float | None = None, num_threads: int | None = None
    ) -> None:
        self.loss: Loss = _start.on_margins(loss)
        if hessian not in HESSIANS:
            raise ValueError(f"hessian: got {hessian!r}, wanted 'boosting' or 'true'")
        if min_hessian is not None:
            at_least_0("min_hessian", min_hessian)
        if num_threads is not None:
            check_number("num_threads", num_threads, "an integer, at least 1", lambda n: n >= 1 and n == int(n))
        self.hessian, self.min_hessian, self.num_threads = hessian, min_hessian, num_threads
        rule = _hessians.rule_of(self.loss) if hessian == "boosting" else _hessians.Rule("true")
        self._rule = rule if min_hessian is None else rule._replace(floor=float(min_hessian))
        self._pair: tuple[Array, Array] | None = None

    def __repr__(self) -> str:
        options = (("hessian", self.hessian, "boosting"), ("min_hessian", self.min_hessian, None))
        changed = "".join(f", {name}={value!r}" for name, value, usual in options if value != usual)
        return f"lossk.objectives.{type(self).__name__.lower()}({self.loss!r}{changed})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pair": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing changes; `clone` of scikit-learn compares a copy's parameters by identity

    def init_score(self, label: Any, sample_weight: Any = None, *, num_class: int | None = None) -> Any:
        """Return the margin that costs least if every sample gets it: a float, for CrossEntropy one for each class.

        `label` and `sample_weight` have shape (n,); there are `num_class` classes, or as many as labels need.
        """
        w = None if sample_weight is None else np.asarray(sample_weight)
        return _start.best_constant(self.loss, _start.targets(self.loss, label), w, num_class)

    def inverse_link(self, margin: Any) -> Array:
        """Return what margins mean: probabilities, means (of logarithms), or themselves for regression losses."""
        return _start.inverse_link(self.loss, np.asarray(margin))

    def grad_and_hess(self, margin: Any, label: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return gradient and Hessian as the library gets them: float32, the shape of `margin`."""
        z, y, w = self._inputs(margin, label, sample_weight)
        g, h = self._outputs(z.shape)
        try:
            self._fill(z, y, w, g, h)
        except (IndexError, ValueError):
            self.loss(np.ascontiguousarray(z), y)  # type: ignore[operator]  # counts rows from the first on
            raise
        return g, h

    def _softmax(self, rule: _hessians.Rule, classes: int) -> _hessians.Rule:
        """Return the rule of cross-entropy, with what the library's own objective does to its Hessian."""
        return rule

    def _inputs(self, margin: Any, label: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        z = np.asarray(margin)
        if z.dtype.kind != "f":
            raise TypeError(f"margin: got dtype {z.dtype}, wanted a float")
        z = z if z.dtype in (np.float32, np.float64) else z.astype(np.float64)
        y = _start.targets(self.loss, label)
        rows = isinstance(self.loss, lossk.CrossEntropy)
        if rows and (z.ndim != 2 or y.ndim != 1 or len(y) != len(z)):
            advice = "; is num_class set?" if z.ndim == 1 else ""
            raise ValueError(
                f"margin: got shape {z.shape}, wanted ({y.size}, classes), as there are so many labels{advice}"
            )
        if not rows and z.size != y.size:
            raise ValueError(f"margin: got shape {z.shape}, wanted {y.shape}, one a label, for {self.loss!r}")
        given = getattr(self.loss, "pos_weight", 1.0)
        if isinstance(given, np.ndarray) and given.shape != z.shape[1:]:
            raise ValueError(f"loss: got pos_weight of shape {given.shape}, wanted {z.shape[1:]}, one a target")
        w = None if sample_weight is None else np.asarray(sample_weight)
        if w is not None and w.shape != z.shape[:1]:
            raise ValueError(f"sample_weight: got shape {w.shape}, wanted {z.shape[:1]}")
        if w is not None and not (w >= 0).all():
            raise ValueError("sample_weight: got a negative one or NaN, wanted numbers, at least 0")
        return z, y if rows else y.reshape(z.shape), w

    def _outputs(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return two arrays to write to: those of the round before, where nobody holds them any more."""
        stored = shape[::-1] if self._class_major else shape
        pair = self._pair
        free = pair is not None and pair[0].shape == stored and all(sys.getrefcount(a) <= FREE for a in pair)
        if pair is None or not free:
            self._pair = pair = (np.empty(stored, np.float32), np.empty(stored, np.float32))
        g, h = pair
        return (g.T, h.T) if self._class_major else (g, h)

    def _fill(self, z: Array, y: Array, w: Array | None, g: Array, h: Array) -> None:
        """Write the derivatives, a block of rows at a time."""
        rule = self._rule
        if isinstance(self.loss, lossk.CrossEntropy) and self.hessian == "boosting":
            rule = self._softmax(rule, z.shape[1])
        rule, width = _hessians.with_width(rule, z, y, w)
        rows = max(1, BLOCK_BYTES // max(1, z[:1].nbytes))
        threads = min(self.num_threads or lossk.get_num_threads(), 1 + z.size // SERIAL)
        loss: Any = self.loss
        labels = isinstance(loss, lossk.CrossEntropy)

        def work(first: int, last: int) -> None:
            buffers = self._buffers(rows, z)
            for i in range(first, last, rows):
                j = min(i + rows, last)
                zb, gb, hb = (z[i:j], g[i:j], h[i:j]) if buffers is None else (a[: j - i] for a in buffers)
                if buffers is not None:
                    zb[...] = z[i:j]
                yb = y[i:j] if labels else np.ascontiguousarray(y[i:j], zb.dtype)
                wb = None if w is None else np.ascontiguousarray(w[i:j], zb.dtype)
                spread = None if wb is None else wb.reshape(-1, *(1 for _ in z.shape[1:]))
                own = wb if spread is None or labels else np.ascontiguousarray(np.broadcast_to(spread, zb.shape))
                loss.grad_and_hess(zb, yb, sample_weight=own, reduction="sum", check=False, num_threads=1, out=(gb, hb))
                _hessians.apply(rule, loss, width, zb, yb, spread, gb, hb)
                if buffers is not None:
                    g[i:j], h[i:j] = gb, hb

        own, *others = itertools.pairwise([*(len(z) * t // threads // rows * rows for t in range(threads)), len(z)])
        if not others:
            return work(*own)
        with ThreadPoolExecutor(len(others)) as pool:
            rest = [pool.submit(work, *share) for share in others]
            work(*own)
            for done in rest:
                done.result()

    def _buffers(self, rows: int, z: Array) -> tuple[Array, Array, Array] | None:
        """Return arrays for a block where kernels cannot read or write those of the library; else None."""
        if not self._class_major and z.dtype == np.float32 and z.flags.c_contiguous:
            return None
        return tuple(np.empty((rows, *z.shape[1:]), z.dtype) for _ in range(3))  # type: ignore[return-value]


class Metric:
    """A loss as a metric of margins; see `metric` of objectives."""

    def __init__(self, loss: Any, name: str | None = None) -> None:
        self.loss: Any = _start.on_margins(loss)
        self.__name__ = name or type(self.loss).__name__

    def __repr__(self) -> str:
        return f"<metric {self.__name__}: the mean of {self.loss!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def value(self, margin: Any, label: Any, sample_weight: Any = None) -> float:
        """Return the weighted mean of the loss."""
        z, y = np.asarray(margin), _start.targets(self.loss, label)
        if isinstance(self.loss, lossk.CrossEntropy):
            if z.ndim != 2 or len(z) != len(y):
                raise ValueError(f"margin: got shape {z.shape}, wanted ({len(y)}, classes)")
            if z.size and (z >= 0).all() and np.allclose(z.sum(axis=1), 1, rtol=1e-4):
                raise ValueError("margin: got probabilities, wanted margins, which libraries pass with such objectives")
        elif z.size != y.size:
            raise ValueError(f"margin: got shape {z.shape}, wanted {y.shape}")
        else:
            y = y.reshape(z.shape)
        w = None if sample_weight is None else np.asarray(sample_weight)
        if w is not None and not isinstance(self.loss, lossk.CrossEntropy) and z.ndim > 1:
            w = np.broadcast_to(w[:, None], z.shape)
        return float(self.loss(z, y, sample_weight=w))
