"""What ranks tell each other about rows: the sums of pieces of classes, in as few bytes as they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._arrays import Array, arithmetic
from ._group import Wait

if TYPE_CHECKING:
    from ._cross_entropy import VocabParallelCrossEntropy


def exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """By the package's own function, so that no library's version changes a bit."""
    result = np.empty_like(x)
    _core.function("exp", np.ascontiguousarray(x), result)
    return result


def typed(weights: tuple[Array, Array], dtype: np.dtype[Any]) -> Array:
    """Return class weights in the type of the arithmetic."""
    return weights[int(arithmetic(dtype) == np.float64)]


def in_order(parts: Sequence[Array]) -> Array:
    """Add up arrays one after the other."""
    total = np.array(parts[0])
    for part in parts[1:]:
        total += part
    return total


class Wire:
    """How sums travel: the fields of a record, and what is put into them."""

    def __init__(self, layer: VocabParallelCrossEntropy, dtype: np.dtype[Any], targets: bool, stats: bool) -> None:
        self.layer = layer
        wide = arithmetic(dtype)
        fields: list[tuple[str, Any]] = [("reference", wide), ("logit_t", wide), ("sum", np.float64)]
        if targets or layer.loss.label_smoothing > 0:
            fields += [("linear", np.float64), ("mass", np.float64)]
        if stats:
            fields += [("top", wide), ("largest", np.int64)]
        self.record = np.dtype(fields)
        shards = layer.shards
        self.pieces = shards.pieces if layer.equal_bits else [min(1, n) for n in shards.pieces]
        self.most = max(self.pieces)

    def send(self, chunks: Array) -> Wait:
        """Begin to gather the sums of all ranks; (rows, most pieces of a rank), padded with empty ones."""
        if not self.layer.equal_bits and chunks.shape[1] > 1:
            chunks = _merged(chunks)
        sent = np.zeros((len(chunks), self.most), self.record)
        own = sent[:, : chunks.shape[1]]
        for name in self.record.names or ():
            own[name] = chunks[name]
        # The reference is rounded to what is sent of it.
        with np.errstate(invalid="ignore", over="ignore"):
            moved = chunks["reference"] - own["reference"].astype(np.float64)
            own["sum"] = chunks["sum"] * exp(moved)
            if "linear" in (self.record.names or ()):
                own["linear"] = chunks["linear"] + np.where(chunks["mass"] != 0, chunks["mass"] * moved, 0.0)
            if "largest" in (self.record.names or ()):
                own["largest"] += self.layer.shards.first
        return self.layer.group.all_gather(sent)

    def receive(self, gathered: Array) -> Array:
        """Return the chunks of whole rows from (ranks, rows, most pieces)."""
        parts = [part[:, :n] for part, n in zip(gathered, self.pieces, strict=True) if n]
        known = np.concatenate(parts, axis=1)
        chunks = np.zeros(known.shape, _core.softmax_chunk)
        for name in self.record.names or ():
            chunks[name] = known[name]
        return chunks


def _merged(chunks: Array) -> Array:
    """Add up the pieces of each row."""
    one = np.zeros((len(chunks), 1), chunks.dtype)
    reference = chunks["reference"].max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        shift = chunks["reference"] - reference
        one["reference"] = reference
        one["sum"] = (chunks["sum"] * exp(shift)).sum(axis=1, keepdims=True)
        moved = np.where(chunks["mass"] != 0, chunks["linear"] + chunks["mass"] * shift, 0.0)
        one["linear"] = moved.sum(axis=1, keepdims=True)
    one["mass"] = chunks["mass"].sum(axis=1, keepdims=True)
    one["logit_t"] = chunks["logit_t"].sum(axis=1, keepdims=True)
    first = chunks["top"].argmax(axis=1)[:, None]
    one["top"] = np.take_along_axis(chunks["top"], first, 1)
    one["largest"] = np.take_along_axis(chunks["largest"], first, 1)
    return one
