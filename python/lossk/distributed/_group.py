"""Groups of processes: the little that is asked of an engine, and adapters for torch.distributed and mpi4py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .._arrays import Array

Wait = Callable[[], Array]  # ends a collective operation that was begun, and returns its result


@runtime_checkable
class Group(Protocol):
    """What `lossk.distributed` asks of an engine; anything that has these four will do.

    Operations are collective: every rank calls the same ones in the same order. They begin at once; what they return
    is called to end them, and gives the result.

    Attributes
    ----------
    rank, size : int
        This process's number, from 0 on, and how many there are.

    Examples
    --------
    >>> from lossk.distributed import Group, SingleProcess
    >>> isinstance(SingleProcess(), Group)
    True
    """

    rank: int
    size: int

    def all_gather(self, array: Array, /) -> Wait:
        """Begin to gather arrays of one shape and dtype: (size, ...), in the order of the ranks."""
        ...

    def all_reduce(self, array: Array, /) -> Wait:
        """Begin to add up C-contiguous arrays of float32 or float64, each in its place."""
        ...


class SingleProcess:
    """A group of one, which needs no engine.

    Examples
    --------
    >>> import numpy as np
    >>> from lossk.distributed import SingleProcess
    >>> SingleProcess().all_gather(np.arange(2))()
    array([[0, 1]])
    """

    rank, size = 0, 1

    def all_gather(self, array: Array, /) -> Wait:
        """Return the array, as the only one."""
        return lambda: array[None]

    def all_reduce(self, array: Array, /) -> Wait:
        """Return the array."""
        return lambda: array


class TorchGroup:
    """A process group of ``torch.distributed``; the default group without one.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        On the CPU: of gloo or MPI.

    Notes
    -----
    A rank that ends leaves the others with the engine's error, at the latest after the group's timeout
    (``init_process_group(timeout=)``).

    Examples
    --------
    Under ``torchrun``::

        torch.distributed.init_process_group("gloo")
        group = lossk.distributed.TorchGroup()
    """

    def __init__(self, group: Any = None) -> None:
        import torch.distributed as dist

        if not dist.is_initialized():
            raise RuntimeError("group: torch.distributed has no process group, wanted init_process_group() before")
        self._dist, self._group = dist, group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise ValueError("group: got one that this process is no member of")

    def all_gather(self, array: Array, /) -> Wait:
        """Gather the bytes of arrays, whatever their dtype."""
        import torch

        own = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        gathered = np.empty((self.size, *array.shape), array.dtype)
        if own.numel() == 0:
            return lambda: gathered
        parts = list(torch.from_numpy(gathered.reshape(self.size, -1).view(np.uint8)))
        work = self._dist.all_gather(parts, own, group=self._group, async_op=True)

        def wait() -> Array:
            work.wait()
            return gathered

        return wait

    def all_reduce(self, array: Array, /) -> Wait:
        """Add up in the order of the engine's choice, which depends on the number of ranks."""
        import torch

        work = self._dist.all_reduce(torch.from_numpy(array), group=self._group, async_op=True)

        def wait() -> Array:
            work.wait()
            return array

        return wait


class MpiGroup:
    """A communicator of ``mpi4py``.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm
        ``MPI.COMM_WORLD``, say.

    Notes
    -----
    When a rank ends, ``mpiexec`` ends the others.

    Examples
    --------
    Under ``mpiexec``::

        group = lossk.distributed.MpiGroup(mpi4py.MPI.COMM_WORLD)
    """

    def __init__(self, communicator: Any) -> None:
        self._communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()

    def all_gather(self, array: Array, /) -> Wait:
        """Gather the bytes of arrays, whatever their dtype."""
        own = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        gathered = np.empty((self.size, *array.shape), array.dtype)
        request = self._communicator.Iallgather(own, gathered.reshape(-1).view(np.uint8))

        def wait(own: Array = own) -> Array:
            request.Wait()
            return gathered

        return wait

    def all_reduce(self, array: Array, /) -> Wait:
        """Add up in the order of the engine's choice."""
        from mpi4py import MPI

        request = self._communicator.Iallreduce(MPI.IN_PLACE, array)

        def wait() -> Array:
            request.Wait()
            return array

        return wait


def as_group(group: Any) -> Group:
    """Return the group that the user means.

    Parameters
    ----------
    group : Group, torch.distributed.ProcessGroup, mpi4py.MPI.Comm, or None
        None: the default group of ``torch.distributed`` where that has been initialised, else this process alone.

    Raises
    ------
    TypeError
        If it is something else.

    Examples
    --------
    >>> from lossk.distributed import SingleProcess, as_group
    >>> as_group(SingleProcess()).size
    1
    """
    if isinstance(group, Group):
        return group
    if hasattr(group, "Iallgather"):
        return MpiGroup(group)
    engine = _torch_distributed()
    if group is None:
        return TorchGroup() if engine is not None and engine.is_initialized() else SingleProcess()
    if engine is not None and isinstance(group, engine.ProcessGroup):
        return TorchGroup(group)
    wanted = "a ProcessGroup of torch.distributed, a communicator of mpi4py, or what lossk.distributed.Group describes"
    raise TypeError(f"group: got {type(group).__name__}, wanted {wanted}")


def _torch_distributed() -> Any:
    """Return ``torch.distributed`` where torch has been imported."""
    import sys

    torch = sys.modules.get("torch")
    engine = getattr(torch, "distributed", None)
    return engine if engine is not None and engine.is_available() else None
