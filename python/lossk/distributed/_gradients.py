"""Data parallel: what a mean divides by, sums of gradients over ranks, and their norm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import Array, arithmetic, as_array, is_integer
from .._parameters import label
from ..optimizers._options import norm_limit
from ..optimizers._tensors import check_apart, check_writeable_floats
from ..optimizers.clip import clip_grad_norm as clip_one
from ._agreement import agree, text_digest
from ._group import Group, Wait, as_group
from ._sums import in_order

PIECE = 1 << 16  # elements whose squares are added up apart
BUCKET_BYTES = 25 << 20  # of gradients that travel together: DistributedDataParallel's default


def token_count(targets: Sequence[ArrayLike], group: Any = None, *, ignore_index: int | None = -100) -> int:
    """Return how many labels count, over all ranks and accumulation steps: the `normalizer` of each of their losses.

    Parameters
    ----------
    targets : sequence of array_like of integers
        This rank's labels of every accumulation step that one optimizer step follows.
    group
        As in `as_group`.
    ignore_index : int, optional
        The label that does not count.

    Returns
    -------
    int
        The same on all ranks.

    Notes
    -----
    The mean over a batch is the sum of the parts' means with this normalizer, and the gradient the sum of the parts'
    gradients: ranks and steps with few tokens weigh as much as those have. See transformers#34191.

    Examples
    --------
    >>> import numpy as np
    >>> from lossk.distributed import SingleProcess, token_count
    >>> token_count([np.array([1, 2, -100]), np.array([-100, 3, -100])], SingleProcess())
    3
    """
    made = as_group(group)

    def prepare() -> tuple[int, dict[str, Any]]:
        ignored, own = None if ignore_index is None else label("ignore_index", ignore_index), 0
        for number, target in enumerate(targets):
            labels = as_array(f"targets[{number}]", target)
            if labels.dtype.kind not in "iu":
                raise TypeError(f"targets[{number}]: got dtype {labels.dtype}, wanted integer labels")
            own += labels.size if ignored is None else int(np.count_nonzero(labels != ignored))
        return own, {"ignore_index": ignored}

    return int(made.all_gather(np.array([agree(made, prepare)], np.int64))().sum())


def sum_gradients(
    gradients: Sequence[Sequence[Array]],
    group: Any = None,
    *,
    equal_bits: bool = False,
    bucket_bytes: int = BUCKET_BYTES,
) -> list[Array]:
    """Return the sums of gradients over parts of a batch and over ranks.

    Parameters
    ----------
    gradients : sequence of sequences of ndarray
        For each part of this rank's share of the batch one C-contiguous gradient a parameter, float32 or float64. Ranks
        hold consecutive parts, the first rank the first.
    group
        As in `as_group`.
    equal_bits : bool
        Gather the gradients of every part and add them up in the order of the parts: the same bits for any number of
        ranks that share the same parts, for as many times the traffic as there are parts. Every rank has as many
        parts. Else a rank's parts are added up first, and the engine adds up the ranks.
    bucket_bytes : int
        Gradients travel together in buckets of about so many bytes; a bucket is on its way while the next is filled.

    Returns
    -------
    list of ndarray
        One sum a parameter, the same on all ranks.

    Examples
    --------
    >>> import numpy as np
    >>> from lossk.distributed import SingleProcess, sum_gradients
    >>> sum_gradients([[np.ones(2)], [np.full(2, 3.0)]], SingleProcess())
    [array([4., 4.])]
    """
    made = as_group(group)

    def prepare() -> tuple[list[tuple[tuple[int, ...], Any]], dict[str, Any]]:
        nbytes = positive_integer("bucket_bytes", bucket_bytes)
        if not isinstance(gradients, list | tuple) or not gradients or not len(gradients[0]):
            raise ValueError("gradients: got none, wanted at least one part with a gradient for each parameter")
        for number, part in enumerate(gradients):
            for i, g in enumerate(part):
                if not isinstance(g, np.ndarray) or g.dtype not in (np.float32, np.float64):
                    told = g.dtype if isinstance(g, np.ndarray) else type(g).__name__
                    raise TypeError(f"gradients[{number}][{i}]: got {told}, wanted an array of float32 or float64")
            if [(g.shape, g.dtype) for g in part] != [(g.shape, g.dtype) for g in gradients[0]]:
                raise ValueError(f"gradients[{number}]: got other shapes or dtypes than gradients[0], wanted the same")
        shapes = [(g.shape, g.dtype) for g in gradients[0]]
        facts = {"shapes of gradients": text_digest(shapes), "bucket_bytes": nbytes, "equal_bits": bool(equal_bits)}
        return shapes, facts | ({"number of parts": len(gradients)} if equal_bits else {})

    sums = [np.empty(shape, dtype) for shape, dtype in agree(made, prepare)]
    pending: list[tuple[list[int], Wait]] = []
    for bucket in _buckets(sums, bucket_bytes):
        flat = [np.concatenate([part[i].reshape(-1) for i in bucket]) for part in gradients]
        wait = made.all_gather(np.stack(flat)) if equal_bits else made.all_reduce(in_order(flat))
        pending.append((bucket, wait))
    for bucket, wait in pending:
        result = wait()
        total = in_order(list(result.reshape(-1, result.shape[-1]))) if equal_bits else result
        start = 0
        for i in bucket:
            sums[i][...] = total[start : start + sums[i].size].reshape(sums[i].shape)
            start += sums[i].size
    return sums


def _buckets(arrays: Sequence[Array], nbytes: int) -> Iterator[list[int]]:
    """Cut arrays, by their numbers, into runs of one dtype and about so many bytes."""
    bucket: list[int] = []
    for i, array in enumerate(arrays):
        full = sum(arrays[j].nbytes for j in bucket) + array.nbytes > nbytes
        if bucket and (full or arrays[bucket[0]].dtype != array.dtype):
            yield bucket
            bucket = []
        bucket.append(i)
    if bucket:
        yield bucket


def clip_grad_norm(gradients: Sequence[Array | None], max_norm: float, group: Any = None) -> float:
    """Scale gradients whose parts lie on several ranks, in place, so that their norm over all is at most `max_norm`.

    Parameters
    ----------
    gradients : sequence of ndarray
        This rank's parts: C-contiguous, writeable; None stands for one that is not there.
    max_norm : float
        The largest norm, at least 0; infinity only measures.
    group
        As in `as_group`.

    Returns
    -------
    float
        The norm before, in float64, the same on all ranks.

    Notes
    -----
    Squares are added up by pieces of 65,536 elements, and the pieces' sums without rounding. So the norm has the same
    bits for any number of ranks, if parts begin at multiples of that.

    Examples
    --------
    >>> import numpy as np
    >>> from lossk.distributed import SingleProcess, clip_grad_norm
    >>> g = np.array([3.0, 4.0])
    >>> clip_grad_norm([g], 1.0, SingleProcess()), g.round(3)
    (5.0, array([0.6, 0.8]))
    """
    made = as_group(group)

    def prepare() -> tuple[tuple[float, list[Array]], dict[str, Any]]:
        limit = norm_limit(max_norm)
        names, there = [], []
        for i, g in enumerate(gradients):
            if g is not None:
                names.append(f"gradients[{i}]")
                check_plain(names[-1], g)
                check_writeable_floats(names[-1], g, "scale")
                there.append(g.reshape(-1))
        check_apart(names, there)
        return (limit, there), {"max_norm": limit}

    limit, flat = agree(made, prepare)
    norm = global_norm(made, flat)
    if norm > limit and np.isfinite(norm):
        factor = limit / (norm + 1e-6)
        for g in flat:  # by pieces, as 16 bits would round the factor
            for first in range(0, g.size, PIECE):
                piece = g[first : first + PIECE]
                piece[...] = (piece.astype(arithmetic(g.dtype)) * factor).astype(g.dtype)
    return norm


def check_plain(name: str, array: Any) -> None:
    """Raise where this is no array that can be written as it is."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: got {type(array).__name__}, wanted a NumPy array")
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise TypeError(f"{name}: got a strided or read-only array, wanted a C-contiguous, writeable one")


def positive_integer(name: str, value: object) -> int:
    """Return a parameter that is a positive integer."""
    if not is_integer(value) or value < 1:  # type: ignore[operator]
        raise ValueError(f"{name}: got {value!r}, wanted a positive integer")
    return int(value)  # type: ignore[call-overload, no-any-return]


def global_norm(made: Group, flat: Sequence[Array]) -> float:
    """Return the norm of arrays over all ranks."""
    squares = [clip_one([g[first : first + PIECE]], np.inf) ** 2 for g in flat for first in range(0, g.size, PIECE)]
    counts = made.all_gather(np.array([len(squares)], np.int64))()[:, 0]
    sent = np.zeros(int(counts.max()))
    sent[: len(squares)] = squares
    gathered = made.all_gather(sent)().reshape(-1)
    return math.sqrt(math.fsum(gathered)) if np.isfinite(gathered).all() else float(gathered.sum())
