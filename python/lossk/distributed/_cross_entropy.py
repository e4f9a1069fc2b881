"""Cross-entropy of logits whose classes are split over processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, Output, arithmetic, floats, is_integer, weights_like
from .._keywords import Reduction, Value
from .._linear._problem import counting, integer_labels
from .._runtime import get_num_threads
from ..losses import RowStats
from ..losses._targets import labels_or_probabilities
from ..losses.cross_entropy import CrossEntropy
from ._agreement import agree, digest
from ._group import Wait, as_group
from ._shards import Shards
from ._sums import Wire, typed

# Rows of a piece: as many as this memory holds the sums of, or as have so many logits. Either way a piece is work of
# milliseconds, behind which an exchange hides: one by gloo takes .6 ms between two processes of one machine.
SUMS_BYTES = 256 << 10
LOGITS = 1 << 22


class Problem(NamedTuple):
    """Checked arguments of a call, rows flat: logits (N, c), labels (N) of all classes or probabilities (N, c)."""

    z: Array
    shape: tuple[int, ...]
    labels: NDArray[np.int64] | None
    target: Array | None
    row_weight: Array | None
    reduction: str
    divisor: float
    threads: int


class VocabParallelCrossEntropy:
    r"""`CrossEntropy` of logits whose classes are split over the ranks of a group.

    Each rank holds the logits of consecutive classes, for all rows. For a row and each piece of 16,384 classes two
    numbers and the label's logit are exchanged: the sum of exponentials, relative to a reference. Value and gradient
    take two passes over a rank's own logits, and memory for a few numbers a row.

    Making one is collective, as are its calls: all ranks make them in the same order, with the same options and
    targets.

    Parameters
    ----------
    group
        A process group of ``torch.distributed``, a communicator of ``mpi4py``, or anything that `Group` describes; None
        as in `as_group`.
    classes : int
        How many classes this rank holds; `shard` says how to cut them.
    weight : array_like (C,), optional
        Weights of all classes, those of other ranks as well.
    ignore_index, label_smoothing, z_loss, softcap, focal_gamma, poly_epsilon
        As in `CrossEntropy`.
    equal_bits : bool
        Results have the same bits for any number of ranks, where these begin at multiples of 16,384 classes, as
        `shard` cuts them. Else the pieces of a rank are added up before the exchange: one piece a rank.
    check : bool
        Compare the arguments of all ranks in each call, by one exchange of a kilobyte, and raise on all where they
        differ or where one of them raises. Without it they have to be right.

    Raises
    ------
    RankError
        Where ranks disagree about options, dtype, shapes or targets, and where another rank raises.
    IndexError
        Where a label is in no shard: on all ranks, with its row and value.
    TypeError, ValueError
        Where an argument is not as described.

    Notes
    -----
    For float32, a rank sends 16 bytes for a row and piece: the reference and the label's logit in float32, the sum in
    float64; 24 for float64. Smoothing and probabilities as targets take 16 bytes more, `stats` 12 to 16 more.

    References
    ----------
    Shoeybi et al. 2019, "Megatron-LM"; ``torch.distributed.tensor.parallel.loss_parallel``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> from lossk.distributed import SingleProcess, VocabParallelCrossEntropy
    >>> z, labels = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), np.array([2, 2])
    >>> loss = VocabParallelCrossEntropy(SingleProcess(), classes=3)
    >>> bool(np.isclose(loss(z, labels), lossk.CrossEntropy()(z, labels)))
    True
    """

    def __init__(
        self,
        group: Any,
        classes: int,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        softcap: float | None = None,
        focal_gamma: float = 0.0,
        poly_epsilon: float = 0.0,
        equal_bits: bool = True,
        check: bool = True,
    ) -> None:
        self.group, self.check, self.equal_bits = as_group(group), check, equal_bits

        def prepare() -> tuple[CrossEntropy, dict[str, Any]]:
            if not is_integer(classes) or classes < 0:
                raise ValueError(f"classes: got {classes!r}, wanted how many this rank holds, 0 or more")
            loss = CrossEntropy(weight, ignore_index, label_smoothing, z_loss, softcap, focal_gamma, poly_epsilon)
            return loss, {"options": repr(loss)[:400], "weight": digest(loss.weight), "equal_bits": equal_bits}

        self.loss = agree(self.group, prepare)
        self.shards = Shards(self.group, int(classes), self.loss.weight)

    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
    ) -> Any:
        """Return the loss, the same on all ranks.

        Parameters
        ----------
        z : array_like of float32, float64, float16 or bfloat16, shape (..., c)
            Logits of this rank's classes.
        target : array_like of integers, shape (...), or of numbers, shape (..., c)
            Labels, counted over the classes of all ranks; or the probabilities of this rank's classes.
        sample_weight, reduction, normalizer, num_threads
            As for `CrossEntropy`.
        stats : bool
            Also return `RowStats`; only with labels.
        """
        problem = self._prepare(z, target, sample_weight, reduction, normalizer, num_threads, stats)
        value, row_stats = _Call(self, problem, None, stats).run()
        return (value, row_stats) if stats else value

    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
    ) -> Any:
        """Return the loss and its gradient with respect to this rank's logits.

        `out` is where the gradient goes: a C-contiguous array of the shape and dtype of `z`, or `z` itself. Other
        parameters are those of calling the loss; with `stats` the `RowStats` come last.
        """
        problem = self._prepare(z, target, sample_weight, reduction, normalizer, num_threads, stats, out)
        grad = np.empty(problem.shape + problem.z.shape[-1:], problem.z.dtype) if out is None else out
        value, row_stats = _Call(self, problem, grad.reshape(problem.z.shape), stats).run()
        return (value, grad, row_stats) if stats else (value, grad)

    def grad(self, z: ArrayLike, target: ArrayLike, **options: Any) -> Array:
        """Return the gradient of `value_and_grad`, whose keywords these are."""
        result: Array = self.value_and_grad(z, target, **options)[1]
        return result

    # ---- arguments ----------------------------------------------------------------------------------------------

    def _prepare(self, *arguments: Any) -> Problem:
        return agree(self.group, lambda: self._checked(*arguments)) if self.check else self._checked(*arguments)[0]

    def _checked(
        self,
        z: ArrayLike,
        target: ArrayLike,
        sample_weight: ArrayLike | None,
        reduction: Reduction,
        normalizer: float | None,
        num_threads: int | None,
        stats: bool,
        out: Array | None = None,
    ) -> tuple[Problem, dict[str, Any]]:
        """Return the problem, and what all ranks have to have in common."""
        logits = floats("z", z, "target", target)
        own, total = self.shards.last - self.shards.first, self.shards.total
        if logits.ndim == 0 or logits.shape[-1] != own:
            raise ValueError(f"z: got shape {logits.shape}, wanted (..., {own}), the classes of this rank")
        shape = logits.shape[:-1]
        y = labels_or_probabilities(target, logits.shape, logits.ndim - 1, True, logits.dtype)
        weight = None if sample_weight is None else weights_like("sample_weight", sample_weight, logits)
        if weight is not None and weight.shape != shape:
            raise ValueError(f"sample_weight: got shape {weight.shape}, wanted {shape}, one weight a row")
        labelled = y.dtype.kind in "iu"
        if stats and not labelled:
            raise ValueError("stats: got True with probabilities, wanted labels, which every rank knows")
        # The kernel checks these, labels of all classes and options among them, on no logits at all.
        options: dict[str, Any] = {"reduction": reduction, "normalizer": normalizer, "num_threads": num_threads}
        none = np.empty((0, total), logits.dtype)
        self.loss(none, np.empty(0, np.int64) if labelled else none, **options)
        if out is not None:
            others = {name: a for name, a in (("target", y), ("sample_weight", weight)) if a is not None}
            Output("out", out, np.asarray(z), others)
            if not out.flags.c_contiguous:
                raise ValueError("out: got a strided array, wanted a C-contiguous one")
        if not labelled:
            _check_probabilities(y, weight)
        labels, divisor = None, float(np.prod(shape)) if weight is None else float(weight.sum(dtype=np.float64))
        if labelled:
            labels, divisor = self._labels(y, shape, weight, logits.dtype)
        if normalizer is not None:
            divisor = normalizer = float(normalizer)
        facts = {
            "shape of rows": list(shape),
            "dtype": str(logits.dtype),
            "targets": "labels" if labelled else "probabilities",
            "reduction": reduction,
            "normalizer": normalizer,
            "stats": bool(stats),
            "labels": digest(labels),
            "sample_weight": digest(weight),
        }
        threads = get_num_threads() if num_threads is None else int(num_threads)
        flat = logits.reshape(-1, own) if own else logits.reshape(int(np.prod(shape)), 0)
        weight = None if weight is None else weight.reshape(-1)
        probabilities = None if labelled else y.reshape(flat.shape)
        return Problem(flat, shape, labels, probabilities, weight, reduction, divisor, threads), facts

    def _labels(
        self, labels: Array, shape: tuple[int, ...], weight: Array | None, dtype: np.dtype[Any]
    ) -> tuple[NDArray[np.int64], float]:
        """Return labels, -1 where a row does not count, and the weight of the rows that count."""
        total, ignored = self.shards.total, self.loss.ignore_index
        labels = integer_labels(labels, shape, total, ignored)
        counts = counting(labels, ignored)
        kept = np.where(counts, labels.astype(np.int64), -1)  # widened first: unsigned types have no -1
        if weight is not None:
            counts &= weight.reshape(-1) != 0
        weights = np.ones(int(np.count_nonzero(counts)))
        if weight is not None:
            weights = weights * weight.reshape(-1)[counts]
        if self.loss._weights is not None:
            weights = weights * typed(self.loss._weights, dtype)[kept[counts]]
        return kept, float(weights.sum())


def _check_probabilities(y: Array, weight: Array | None) -> None:
    """Raise where a probability of a row that counts is below 0."""
    outside = y < 0
    if weight is not None:
        outside &= (weight != 0)[..., None]
    if outside.any():
        at = np.unravel_index(int(np.argmax(outside)), y.shape)
        index = ", ".join(str(int(i)) for i in at)
        raise ValueError(f"target[{index}]: got {y[at]}, wanted a probability, at least 0")


class _Call:
    """One call: rows go by in pieces, the same on all ranks.

    A piece is reduced, its sums are exchanged while the next is reduced, and then it is written. Both passes read the
    logits and take their exponentials: what an exchange lasts is longer than caches keep them.
    """

    def __init__(self, layer: VocabParallelCrossEntropy, problem: Problem, grad: Array | None, stats: bool) -> None:
        self.layer, self.problem, self.grad = layer, problem, grad
        shards, wide = layer.shards, arithmetic(problem.z.dtype)
        self.wire = Wire(layer, problem.z.dtype, problem.target is not None, stats)
        with np.errstate(divide="ignore"):
            self.scale = 1.0 if problem.reduction != "mean" else float(np.divide(1.0, problem.divisor))
        self.losses = np.zeros(len(problem.z))
        self.lse = np.full(len(problem.z), np.nan, wide) if stats else None
        self.correct = np.zeros(len(problem.z), np.bool_) if stats else None
        weights = layer.loss._weights
        self.class_weight = None if weights is None else typed(weights, wide)
        first, last, labels = shards.first, shards.last, problem.labels
        own = None
        if labels is not None:  # past the last class where the label is another rank's
            inside = (labels >= first) & (labels < last)
            own = np.where(inside, labels - first, np.where(labels < 0, -1, last - first))
        row_bytes = _core.softmax_shard_row_bytes(shards.largest)
        self.step = max(SUMS_BYTES // row_bytes, LOGITS // max(1, shards.largest))
        self.step = max(1, min(self.step, len(problem.z)))
        self.shard = _core.SoftmaxShard(
            z=problem.z,
            row_classes=shards.total,
            options=layer.loss._options,
            labels=own,
            target=problem.target,
            class_weight=None if self.class_weight is None else self.class_weight[first:last],
            row_weight=problem.row_weight,
            grad=grad,
            lse=self.lse,
            correct=self.correct,
            slots=2 * self.step,
        )

    def run(self) -> tuple[Value, RowStats | None]:
        """Go over the rows."""
        rows = len(self.problem.z)
        sent: tuple[int, Wait] | None = None
        for begin in range(0, rows, self.step):
            end = min(rows, begin + self.step)
            chunks = self.shard.reduce(begin, end, self.problem.threads)
            wait = self.wire.send(chunks)
            if sent is not None:
                self._finish(*sent)
            sent = begin, wait
        if sent is not None:
            self._finish(*sent)
        return self._results()

    def _finish(self, begin: int, wait: Wait) -> None:
        """Take the sums of all ranks; write the gradients."""
        chunks = self.wire.receive(wait())
        end = begin + len(chunks)
        arguments = (chunks, self.problem.labels, self.class_weight, self.scale)
        self.losses[begin:end] = self.shard.normalise(begin, *arguments)
        if self.grad is not None:
            self.shard.write(begin, end, self.problem.threads)

    def _results(self) -> tuple[Value, RowStats | None]:
        """Return the value and the statistics."""
        shape, wide = self.problem.shape, arithmetic(self.problem.z.dtype)
        known = None
        if self.lse is not None and self.correct is not None:
            known = RowStats(self.lse.reshape(shape), self.correct.reshape(shape))
        if self.problem.reduction == "none":
            return self.losses.astype(wide).reshape(shape), known
        total = self.losses.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.divide(total, self.problem.divisor) if self.problem.reduction == "mean" else total
        return float(value), known
