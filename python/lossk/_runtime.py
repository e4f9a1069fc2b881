"""Threads, instruction sets, versions: what runs, and on how many threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import is_integer

_PEERS = ("ml_dtypes", "torch", "jax", "scikit-learn", "numba", "threadpoolctl")


def get_num_threads() -> int:
    """Return the number of threads that a call uses unless its ``num_threads`` says otherwise.

    Returns
    -------
    int
        The value of the enclosing `threads` block, else of `set_num_threads`, else of the environment variable
        ``LOSSK_NUM_THREADS``, else of ``OMP_NUM_THREADS``, else the number of cores this process may use, or as many
        as the CPU quota of its control groups (a container's limit) grants, rounded up, if those are fewer. However
        many are asked for, no more threads run than 4 a core, or 16.

    Examples
    --------
    >>> import lossk
    >>> lossk.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the number of threads for the whole process. Results do not depend on it, to the bit.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    ValueError
        If `n` is not an integer from 1 to 4096.

    Examples
    --------
    >>> import lossk
    >>> before = lossk.get_num_threads()
    >>> lossk.set_num_threads(1)
    >>> lossk.get_num_threads()
    1
    >>> lossk.set_num_threads(before)
    """
    _core.set_num_threads(n)


class threads:  # noqa: N801 - a context manager, used like a function
    """Context manager: calls of this thread use `n` threads inside the block.

    Parameters
    ----------
    n : int
        At least 1.

    Examples
    --------
    >>> import lossk
    >>> with lossk.threads(1):
    ...     lossk.get_num_threads()
    1
    """

    def __init__(self, n: int) -> None:
        if not is_integer(n) or not 1 <= n <= 4096:
            raise ValueError(f"n: got {n!r}, wanted an integer from 1 to 4096")
        self._n = int(n)
        self._before: list[int] = []

    def __enter__(self) -> threads:
        self._before.append(_core.set_own_threads(self._n))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _core.set_own_threads(self._before.pop())


def isa() -> str:
    """Return the name of the instruction set whose kernels run.

    Returns
    -------
    str
        One of `available_isas`. The environment variable ``LOSSK_ISA`` chooses it at import, `set_isa` later.

    Examples
    --------
    >>> import lossk
    >>> lossk.isa() in lossk.available_isas()
    True
    """
    return _core.isa()


def available_isas() -> list[str]:
    """Return the instruction sets that this build has kernels for and this CPU can run, best first.

    Returns
    -------
    list of str
        Of ``"x86-64-v4"`` (AVX-512), ``"x86-64-v3"`` (AVX2 and FMA), ``"base"`` (SSE2), ``"neon"``.

    Examples
    --------
    >>> import lossk
    >>> len(lossk.available_isas()) >= 1
    True
    """
    return _core.available_isas()


def set_isa(name: str) -> None:
    """Choose the instruction set whose kernels run, for the whole process.

    Parameters
    ----------
    name : str
        One of `available_isas`.

    Raises
    ------
    ValueError
        If this CPU or build has no such kernels.

    Examples
    --------
    >>> import lossk
    >>> lossk.set_isa(lossk.available_isas()[0])
    """
    _core.set_isa(name)


def _cpu_model() -> str:
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _cache_sizes() -> str:
    base = "/sys/devices/system/cpu/cpu0/cache"
    sizes = []
    try:
        for entry in sorted(os.listdir(base)):
            if not entry.startswith("index"):
                continue
            facts = []
            for name in ("level", "type", "size"):
                with open(f"{base}/{entry}/{name}", encoding="utf-8") as file:
                    facts.append(file.read().strip())
            if facts[1] != "Instruction":
                sizes.append(f"L{facts[0]} {facts[2]}")
    except OSError:
        pass
    return ", ".join(sizes) or "unknown"


def _installed(package: str) -> str:
    import importlib.metadata  # slow to import, and seldom needed

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """Gather what a bug report or a benchmark must say: versions, CPU, instruction sets, threads."""
    import platform  # slow to import, and seldom needed

    from . import _profile

    _profile.load()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    facts = {
        "lossk": sys.modules[__package__].__version__,
        "python": f"{platform.python_version()} ({sys.implementation.name})",
        "numpy": np.__version__,
        "compiler": _core.compiler(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": str(cores),
        "cpu kind": " ".join(map(str, _core.cpu_kind())).strip() or "unknown",
        "caches": _cache_sizes(),
        "usable cache": _core.last_level_cache_source(),
        "isa": isa(),
        "float32 products": _core.linear_unit(np.empty(0, np.float32), 3),
        "bfloat16 products": _core.linear_unit(np.empty(0, np.float32), 1),
        "available isas": ", ".join(available_isas()),
        "cpu quota": "none" if (quota := _core.cpu_quota()) is None else f"{quota:g} cores",
        "profile": _profile.source,
        "threads": str(get_num_threads()),
        "threads come from": _core.threads_source(),
        "parallel runtime": _core.parallel_runtime(),
    }
    return facts | {package: _installed(package) for package in _PEERS}


def show_versions() -> None:
    """Print versions, CPU, instruction sets and threads, for bug reports.

    Examples
    --------
    >>> import lossk
    >>> lossk.show_versions()  # doctest: +ELLIPSIS
    lossk             ...
    """
    for name, value in versions().items():
        print(f"{name:<17} {value}")


def twin(
    reads: Sequence[NDArray[np.generic]],
    writes: Sequence[NDArray[np.generic]],
    *,
    stream: bool = False,
    num_threads: int | None = None,
) -> float:
    """Run a bandwidth twin: the memory streams of a kernel without its arithmetic.

    Parameters
    ----------
    reads, writes : sequences of ndarray
        Up to 3 and 2 C-contiguous arrays of one size in bytes. What is written is the sum of what was read, as
        float32; an array may stand in both, as in an in-place update.
    stream : bool
        Use streaming (non-temporal) stores; the arrays must then be aligned to 64 bytes.
    num_threads : int, optional
        As in every call.

    Returns
    -------
    float
        A checksum, so that nothing can be optimised away.
    """
    return _core.twin(list(reads), list(writes), stream, num_threads)
