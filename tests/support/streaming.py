"""Last-level caches of another size, so that results of any size are streamed, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import lossk


@contextlib.contextmanager
def last_level_cache(nbytes: int) -> Iterator[None]:
    """The last-level cache is taken to be so large."""
    before = lossk._core.last_level_cache()
    lossk._core.pretend_last_level_cache(nbytes)
    try:
        yield
    finally:
        lossk._core.pretend_last_level_cache(before)


def streamed_results() -> contextlib.AbstractContextManager[None]:
    """Results of any size are streamed, as large ones are, unless they are in place."""
    return last_level_cache(1)


def stored_results() -> contextlib.AbstractContextManager[None]:
    """No result is streamed."""
    return last_level_cache(2**60)
