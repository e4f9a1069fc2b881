"""The caches of the machine that a run was made on, read from what ``lossk info`` says of it."""

from __future__ import annotations

import re

DEFAULT = {2: 1 << 20, 3: 32 << 20}  # bytes, where the machine does not tell


def cache_bytes(facts: dict[str, str], level: int) -> int:
    """Return the size of a cache in bytes."""
    found = re.search(rf"L{level} (\d+)K", facts.get("caches", ""))
    return int(found[1]) << 10 if found else DEFAULT[level]
