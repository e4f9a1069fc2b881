"""Softmax cross-entropy of a linear layer's outputs, without ever holding all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import FLOATS, Array, as_array, contiguous, floats, is_integer, share_memory, weights_like
from ._families import Frozen, Value, dataclass_transform
from ._rows import RowStats
from .cross_entropy import CrossEntropy

Gradients = tuple[Array, Array, Array | None]

SMALLEST_CHUNK = 1 << 20
# With fewer features than this the products are cheap and memory is not: chunks are kept in the cache.
FEW_FEATURES = 128
CACHED_CHUNK = 8 << 20
ROWS_WORTH_A_PRODUCT = 256


@dataclass_transform(frozen_default=True, eq_default=False)
def _frozen(cls: type[LinearCrossEntropy]) -> type[LinearCrossEntropy]:
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)


@_frozen
class LinearCrossEntropy(Frozen):
    r"""Cross-entropy of ``z = x @ w.T + bias``, the last layer of a language model or a recommender.

    The logits of all rows are never held at once: rows are taken in chunks, each of which is multiplied, turned into
    its gradient in place by the kernel of `CrossEntropy`, and multiplied again. Rows whose label is `ignore_index` are
    left out before the product. With ``dz`` the gradient of `CrossEntropy`::

        dx = dz @ w    dw = dz.T @ x    dbias = sum of the rows of dz

    The matrix products are NumPy's BLAS. Besides inputs and results at most `chunk_bytes` are allocated, whatever the
    number of rows and classes, and a few numbers a row and a class. The bits do not depend on lossk's thread count.

    Parameters
    ----------
    weight, ignore_index, label_smoothing, z_loss, softcap
        As in `CrossEntropy`.
    chunk_bytes : int
        Extra memory in bytes, at least 2**20, and room for a row of logits.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above.

    References
    ----------
    Wijmans et al. 2025, "Cut Your Losses in Large-Vocabulary Language Models"; Hsu et al. 2024, "Liger Kernel";
    ``torch.nn.functional.linear`` followed by ``cross_entropy``, whose results these are.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> rng = np.random.default_rng(0)
    >>> x, w = rng.normal(size=(6, 4)), rng.normal(size=(10, 4))
    >>> target = np.array([1, 2, 3, -100, 5, 6])
    >>> loss, (dx, dw, dbias) = lossk.LinearCrossEntropy().value_and_grad(x, w, target)
    >>> bool(np.isclose(loss, lossk.CrossEntropy()(x @ w.T, target)))
    True
    >>> dx.shape, dw.shape, dbias
    ((6, 4), (10, 4), None)
    """

    # The largest share of the memory that products of tiles of w take.
    _tile_share: ClassVar[int] = 8

    weight: Any = None
    ignore_index: int = -100
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    softcap: float | None = None
    chunk_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if not is_integer(self.chunk_bytes):
            raise TypeError(f"chunk_bytes: got {self.chunk_bytes!r}, wanted an integer, at least {SMALLEST_CHUNK}")
        if self.chunk_bytes < SMALLEST_CHUNK:
            raise ValueError(f"chunk_bytes: got {self.chunk_bytes}, wanted at least {SMALLEST_CHUNK}")
        options = (self.weight, self.ignore_index, self.label_smoothing, self.z_loss, self.softcap)
        loss = CrossEntropy(*options)
        for field in dataclasses.fields(loss):
            self._set(field.name, getattr(loss, field.name))
        self._set("_loss", loss)

    _loss: ClassVar[CrossEntropy]

    # ---- verbs --------------------------------------------------------------------------------------------------

    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        x : array_like of float32 or float64, shape (..., D)
            Inputs of the layer, one row a sample.
        w : array_like (C, D), of the dtype of `x`
            The layer's weights.
        target : array_like of integers, the shape of `x` without its last axis
            Labels.
        bias : array_like (C,), optional
            Added to the products.
        sample_weight, reduction, normalizer, num_threads
            As for `CrossEntropy`.
        stats : bool
            Also return `RowStats`; ignored rows have an lse of NaN.

        Returns
        -------
        float or ndarray
            With ``reduction="none"`` one loss a sample. With `stats` a pair.

        Raises
        ------
        TypeError, ValueError, IndexError
            Where an argument is not as above, before anything is written; a label out of range is an IndexError.
        """
        problem = self._problem(x, w, target, bias, sample_weight, reduction, normalizer)
        value, row_stats = self._run(problem, num_threads, stats, None)
        return (value, row_stats) if stats else value

    def value_and_grad(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
        wrt: str = "all",
        out: Any = None,
    ) -> Any:
        """Return the loss and its gradients ``(dx, dw, dbias)``, from one pass over chunks of rows.

        `dbias` is None without `bias`. With ``wrt="x"`` the gradients are `dx` alone, at two thirds of the work. With
        ``reduction="none"`` gradients are those of the sum. `out` holds arrays to write to, in the same form,
        C-contiguous and apart from the inputs. Other parameters are those of calling the loss; with `stats` the
        `RowStats` come last.
        """
        problem = self._problem(x, w, target, bias, sample_weight, reduction, normalizer)
        into = problem.outputs(wrt, out)
        value, row_stats = self._run(problem, num_threads, stats, into)
        gradients = into.dx if wrt == "x" else tuple(into)
        return (value, gradients, row_stats) if stats else (value, gradients)

    def grad(self, x: ArrayLike, w: ArrayLike, target: ArrayLike, bias: ArrayLike | None = None, **options: Any) -> Any:
        """Return the gradients of `value_and_grad`, whose keywords these are."""
        return self.value_and_grad(x, w, target, bias, **options)[1]

    def vjp(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        cotangent: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        num_threads: int | None = None,
        wrt: str = "all",
        out: Any = None,
    ) -> Any:
        """Return the gradients of the sum of the samples' losses times `cotangent`, which has one entry a sample."""
        problem = self._problem(x, w, target, bias, cotangent, "sum", None)
        if sample_weight is not None:
            weights: Any = self._problem(x, w, target, bias, sample_weight, "sum", None).row_weight
            problem = problem._replace(row_weight=np.asarray(problem.row_weight * weights))
        into = problem.outputs(wrt, out)
        self._run(problem, num_threads, False, into)
        return into.dx if wrt == "x" else tuple(into)

    def reference(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, in plain float64 NumPy; with ``derivatives=True`` gradients as well."""
        x64, w64 = np.asarray(x, np.float64), np.asarray(w, np.float64)
        z = x64 @ w64.T + (0.0 if bias is None else np.asarray(bias, np.float64))
        options: dict[str, Any] = {"sample_weight": sample_weight, "reduction": reduction, "normalizer": normalizer}
        value, dz, _ = self._loss.reference(z, target, derivatives=True, **options)
        if not derivatives:
            return value
        flat = dz.reshape(-1, dz.shape[-1])
        # An ignored row does not count whatever it holds.
        rows = np.where(np.asarray(target).reshape(-1, 1) != self.ignore_index, x64.reshape(-1, x64.shape[-1]), 0.0)
        return value, dz @ w64, flat.T @ rows, None if bias is None else flat.sum(axis=0)

    # ---- the way there ------------------------------------------------------------------------------------------

    def _problem(
        self, x: Any, w: Any, target: Any, bias: Any, sample_weight: Any, reduction: str, normalizer: float | None
    ) -> _Problem:
        """Check all inputs."""
        x, w = _float_rows("x", x), _float_rows("w", w)
        if w.dtype != x.dtype:
            raise TypeError(f"w: got dtype {w.dtype}, wanted {x.dtype}, the dtype of x")
        if w.ndim != 2 or w.shape[1] != x.shape[-1] or w.shape[0] == 0:
            raise ValueError(f"w: got shape {w.shape}, wanted (C, {x.shape[-1]}), as x has shape {x.shape}")
        bias = None if bias is None else weights_like("bias", bias, x)
        if bias is not None and bias.shape != w.shape[:1]:
            raise ValueError(f"bias: got shape {bias.shape}, wanted {w.shape[:1]}, one a class")
        if self.weight is not None and self.weight.shape != w.shape[:1]:
            raise ValueError(f"weight: got shape {self.weight.shape}, wanted {w.shape[:1]}, one weight a class")
        labels = self._labels(target, x.shape[:-1], w.shape[0])
        row_weight = None if sample_weight is None else weights_like("sample_weight", sample_weight, x)
        if row_weight is not None and row_weight.shape != labels.shape:
            raise ValueError(f"sample_weight: got shape {row_weight.shape}, wanted {labels.shape}, one weight a row")
        counts = labels.ravel() != self.ignore_index
        rows = None if counts.all() else np.flatnonzero(counts)
        # The kernel checks reduction and normalizer, on no rows at all.
        self._loss(
            np.empty((0, w.shape[0]), x.dtype), np.empty(0, np.int64), reduction=reduction, normalizer=normalizer
        )
        shape = labels.shape
        labels, row_weight = labels.ravel(), None if row_weight is None else row_weight.ravel()
        divisor = None
        if reduction == "mean":
            divisor = self._divisor(labels[counts], row_weight, counts) if normalizer is None else float(normalizer)
        return _Problem(x, w, bias, labels, row_weight, rows, shape, reduction, divisor)

    def _labels(self, target: Any, shape: tuple[int, ...], classes: int) -> NDArray[np.int64]:
        labels = as_array("target", target)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"target: got dtype {labels.dtype}, wanted integer labels")
        if labels.shape != shape:
            raise ValueError(f"target: got shape {labels.shape}, wanted {shape}, the shape of x without its last axis")
        bad = (labels != self.ignore_index) & ((labels < 0) | (labels >= classes))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            wanted = f"a label in [0, {classes}) or ignore_index ({self.ignore_index})"
            raise IndexError(f"target[{', '.join(map(str, at))}]: got {labels[at]}, wanted {wanted}")
        return labels.astype(np.int64)

    def _divisor(self, labels: Array, row_weight: Array | None, counts: Array) -> float:
        weights = np.ones(labels.size) if self.weight is None else self.weight[labels]
        return float((weights if row_weight is None else weights * row_weight[counts]).sum(dtype=np.float64))

    def _chunks(self, problem: _Problem) -> Iterator[slice]:
        """Cut the rows that count into chunks of nearly equal size, as large as the memory allows."""
        classes, features = problem.w.shape
        itemsize = problem.x.itemsize
        row_bytes = (classes + 2 * features) * itemsize  # logits, and a copy of x and dx where rows are left out
        room = self.chunk_bytes - self.chunk_bytes // self._tile_share
        if row_bytes > room:
            needed = row_bytes * self._tile_share // (self._tile_share - 1) + 1
            raise ValueError(f"chunk_bytes: got {self.chunk_bytes}, wanted at least {needed} for one row")
        largest = room // row_bytes
        if features < FEW_FEATURES:
            largest = min(largest, max(ROWS_WORTH_A_PRODUCT, CACHED_CHUNK // (classes * itemsize)))
        rows = problem.counted
        chunks = -(-rows // largest)
        for i in range(chunks):
            yield slice(i * rows // chunks, (i + 1) * rows // chunks)

    def _run(
        self, problem: _Problem, num_threads: int | None, stats: bool, into: _Outputs | None
    ) -> tuple[Value, RowStats | None]:
        chunks = list(self._chunks(problem))
        results = _Results(problem, stats)
        largest = max((chunk.stop - chunk.start for chunk in chunks), default=0)
        memory = np.empty(largest * problem.w.shape[0], problem.x.dtype)
        tile_bytes = self.chunk_bytes // self._tile_share
        if into is not None:
            into.clear(problem)
        for i, chunk in enumerate(chunks):
            x, labels, row_weight = problem.rows_of(chunk)
            z = memory[: len(x) * problem.w.shape[0]].reshape(len(x), -1)
            np.matmul(x, problem.w.T, out=z)
            if problem.bias is not None:
                z += problem.bias
            options = {**problem.scale(), "sample_weight": row_weight, "num_threads": num_threads, "stats": stats}
            if into is None:
                answer = self._loss(z, labels, **options)
                results.add(chunk, *(answer if stats else (answer, None)))
                continue
            answer = self._loss.value_and_grad(z, labels, out=z, **options)
            results.add(chunk, answer[0], answer[2] if stats else None)
            into.add(problem, chunk, x, z, tile_bytes, first=i == 0)
        return results.value(), results.stats


class _Problem(NamedTuple):
    """Checked inputs of a call: labels and weights flat, and which rows count (None: all)."""

    x: Array
    w: Array
    bias: Array | None
    labels: NDArray[np.int64]
    row_weight: Array | None
    rows: NDArray[np.intp] | None
    shape: tuple[int, ...]
    reduction: str
    divisor: float | None

    @property
    def flat_x(self) -> Array:
        return self.x.reshape(-1, self.x.shape[-1])

    @property
    def counted(self) -> int:
        return self.labels.size if self.rows is None else self.rows.size

    def at(self, chunk: slice) -> Any:
        """Where the rows of a chunk are among all rows."""
        return chunk if self.rows is None else self.rows[chunk]

    def rows_of(self, chunk: slice) -> tuple[Array, Array, Array | None]:
        at = self.at(chunk)
        return self.flat_x[at], self.labels[at], None if self.row_weight is None else self.row_weight[at]

    def scale(self) -> dict[str, Any]:
        """How a chunk is to be reduced, so that values and gradients of chunks can be added up."""
        if self.reduction != "mean":
            return {"reduction": self.reduction}
        positive = self.divisor is not None and 0 < self.divisor < np.inf
        return {"reduction": "mean", "normalizer": self.divisor} if positive else {"reduction": "sum"}

    def outputs(self, wrt: str, out: Any) -> _Outputs:
        """Return what gradients are written to: the user's arrays, checked, or fresh ones."""
        if wrt not in ("all", "x"):
            raise ValueError(f"wrt: got {wrt!r}, wanted 'all' or 'x'")
        likes: list[Array | None] = [self.x] if wrt == "x" else [self.x, self.w, self.bias]
        if out is None:
            fresh: list[Any] = [None if like is None else np.empty(like.shape, like.dtype) for like in likes]
            return _Outputs(*fresh)
        if wrt == "all" and (not isinstance(out, tuple) or len(out) != 3):
            raise TypeError(f"out: got {type(out).__name__}, wanted a tuple of three: dx, dw, and dbias or None")
        given = (out,) if wrt == "x" else out
        names = ("out",) if wrt == "x" else ("out[0]", "out[1]", "out[2]")
        for name, array, like in zip(names, given, likes, strict=True):
            self._check_output(name, array, like)
        for i, name in enumerate(names):
            for other in range(i):
                if given[i] is not None and given[other] is not None and share_memory(given[i], given[other]):
                    raise ValueError(f"{name}: got memory that overlaps {names[other]}, wanted separate memory")
        return _Outputs(*given)

    def _check_output(self, name: str, out: Any, like: Array | None) -> None:
        if like is None:
            if out is not None:
                raise TypeError(f"{name}: got {type(out).__name__}, wanted None, as there is no bias")
            return
        if not isinstance(out, np.ndarray):
            raise TypeError(f"{name}: got {type(out).__name__}, wanted a NumPy array to write to")
        if out.dtype != like.dtype:
            raise TypeError(f"{name}: got dtype {out.dtype}, wanted {like.dtype}")
        if out.shape != like.shape:
            raise ValueError(f"{name}: got shape {out.shape}, wanted {like.shape}")
        if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
            raise ValueError(f"{name}: got a strided or read-only array, wanted a C-contiguous, writeable one")
        for input_name, array in (("x", self.x), ("w", self.w), ("bias", self.bias)):
            if array is not None and share_memory(out, array):
                raise ValueError(f"{name}: got memory that overlaps {input_name}, wanted separate memory")


class _Outputs(NamedTuple):
    """Gradients, None where they are not wanted."""

    dx: Array
    dw: Array | None = None
    dbias: Array | None = None

    def clear(self, problem: _Problem) -> None:
        """Zero what rows that do not count leave untouched; NaN where a mean divides by 0."""
        nothing = np.nan if problem.divisor is not None and problem.counted and not problem.divisor > 0 else 0.0
        if problem.rows is not None or nothing != 0.0:
            self.dx[...] = 0.0
        for gradient in (self.dw, self.dbias):
            if gradient is not None:
                gradient[...] = nothing

    def add(self, problem: _Problem, chunk: slice, x: Array, dz: Array, tile_bytes: int, first: bool) -> None:
        """Add a chunk of rows: their dx, and their share of dw and dbias."""
        if problem.divisor is not None and not problem.divisor > 0:
            dz[...] = np.nan
        flat = self.dx.reshape(-1, self.dx.shape[-1])
        if problem.rows is None:
            np.matmul(dz, problem.w, out=flat[chunk])
        else:
            flat[problem.at(chunk)] = np.matmul(dz, problem.w)
        if self.dbias is not None:
            np.add(self.dbias, dz.sum(axis=0), out=self.dbias)
        if self.dw is None:
            return
        if first:
            np.matmul(dz.T, x, out=self.dw)
            return
        rows = max(1, tile_bytes // max(1, x.shape[1] * x.itemsize))
        room = np.empty((min(rows, len(self.dw)), x.shape[1]), x.dtype)
        for start in range(0, len(self.dw), rows):
            part = self.dw[start : start + rows]
            part += np.matmul(dz[:, start : start + rows].T, x, out=room[: len(part)])


class _Results:
    """The value of a call, and its statistics, put together from chunks."""

    def __init__(self, problem: _Problem, stats: bool) -> None:
        self.problem = problem
        rows = problem.labels.size
        self.total = 0.0
        self.each = np.zeros(rows, problem.x.dtype) if problem.reduction == "none" else None
        self._lse = np.full(rows, np.nan, problem.x.dtype) if stats else None
        self._correct = np.zeros(rows, np.bool_) if stats else None

    def add(self, chunk: slice, value: Any, stats: RowStats | None) -> None:
        at = self.problem.at(chunk)
        if self.each is not None:
            self.each[at] = value
        else:
            self.total += value
        if stats is not None and self._lse is not None and self._correct is not None:
            self._lse[at], self._correct[at] = stats.lse, stats.correct

    def value(self) -> Value:
        if self.each is not None:
            return self.each.reshape(self.problem.shape)
        divisor = self.problem.divisor
        return float("nan") if divisor is not None and not divisor > 0 else self.total

    @property
    def stats(self) -> RowStats | None:
        if self._lse is None or self._correct is None:
            return None
        return RowStats(self._lse.reshape(self.problem.shape), self._correct.reshape(self.problem.shape))


def _float_rows(name: str, value: Any) -> Array:
    array = floats(name, value)
    if array.dtype not in FLOATS:
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted float32 or float64, which BLAS multiplies")
    if array.ndim == 0:
        raise ValueError(f"{name}: got a 0-dimensional array, wanted shape (..., D)")
    return contiguous(array, array.dtype)
