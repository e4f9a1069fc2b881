"""Do all ranks ask for the same? One exchange of fixed size, after which all of them raise, or none."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .._arrays import Array
from ._group import Group

T = TypeVar("T")
BYTES = 1024  # of what a rank says


class RankError(RuntimeError):
    """Raised on every rank where arguments are wrong on one, or are not the same on all.

    Examples
    --------
    >>> from lossk.distributed import RankError
    >>> issubclass(RankError, RuntimeError)
    True
    """


def agree(group: Group, prepare: Callable[[], tuple[T, dict[str, Any]]]) -> T:
    """Return what `prepare` returns, once all ranks have come to the same facts.

    `prepare` checks a rank's own arguments, and returns what it makes of them and the facts that all ranks share. What
    it raises is raised there, and told on the other ranks as a `RankError`.
    """
    failure: Exception | None = None
    try:
        made, facts = prepare()
        message = _message(facts)
    except Exception as error:
        failure, facts = error, {"error": ascii(f"{type(error).__name__}: {error}")[1:400]}
        message = _message(facts)
    said = group.all_gather(message)()
    if failure is not None:
        raise failure
    heard = [json.loads(bytes(row).rstrip(b"\0")) for row in said]
    for rank, other in enumerate(heard):
        if "error" in other:
            raise RankError(f"rank {rank} raised {other['error']}")
    for rank, other in enumerate(heard):
        for name in facts:
            if other.get(name) != heard[0].get(name):
                raise RankError(
                    f"{name}: got {heard[0].get(name)} on rank 0 and {other.get(name)} on rank {rank}, "
                    "wanted the same on all ranks"
                )
    return made


def _message(facts: dict[str, Any]) -> Array:
    text = json.dumps(facts, default=str).encode()
    if len(text) > BYTES:
        raise ValueError(f"arguments: their description takes {len(text)} bytes, wanted at most {BYTES}")
    return np.frombuffer(bytearray(text.ljust(BYTES, b"\0")), np.uint8)


def text_digest(value: object) -> str:
    """Return a short name for what a value prints as."""
    return f"{zlib.crc32(repr(value).encode()):08x}"


def digest(array: Array | None) -> str:
    """Return a short name for an array's contents."""
    return "none" if array is None else f"{zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data):08x}"
