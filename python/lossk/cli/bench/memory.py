"""Memory: what can be had, and the peak of a call. Linux only; elsewhere the answers are None."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_MEMINFO, _STATUS, _CLEAR = Path("/proc/meminfo"), Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what clear_refs takes to set the peak to the present resident size


def _field(path: Path, name: str) -> int | None:
    """Find ``name: 123 kB`` in a file of /proc, in bytes."""
    try:
        lines = (line.split() for line in path.read_text().splitlines())
    except OSError:
        return None
    return next((int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:"), None)


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping."""
    return _field(_MEMINFO, "MemAvailable")


def peak_of(call: Callable[[], Any]) -> tuple[Any, int | None]:
    """Run a call; return its result, and by how many bytes the resident memory rose at most."""
    try:
        _CLEAR.write_text(RESET_PEAK)
    except OSError:
        return call(), None
    before = _field(_STATUS, "VmRSS")
    result = call()
    peak = _field(_STATUS, "VmHWM")
    return result, None if before is None or peak is None else peak - before


def refuse_beyond_memory(nbytes: int, what: str) -> None:
    """Raise MemoryError where so many bytes are not free."""
    free = available_memory()
    if free is not None and nbytes > free:
        raise MemoryError(f"needs about {nbytes / 1e9:.0f} GB for {what}, {free / 1e9:.0f} GB are free")
