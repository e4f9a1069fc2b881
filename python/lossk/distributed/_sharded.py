"""Optimizers whose state is split over ranks: each steps its share of the parameters, and all get the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array
from ..optimizers import Optimizer
from ._agreement import agree
from ._gradients import BUCKET_BYTES
from ._group import Wait, as_group

ALIGNMENT = 1024  # elements of which a share is a multiple: whole cache lines of every parameter and its state


class Share(NamedTuple):
    """Elements [start, stop) of a parameter, flat."""

    tensor: int
    start: int
    stop: int


class ShardedOptimizer:
    """An optimizer whose state is split over the ranks of a group (ZeRO, stage 1).

    All parameters together are cut into one share a rank. In a step each rank updates its share, in buckets, and sends
    the result of one bucket while it works on the next. The result has the bits of one process, but for
    `stochastic_rounding`, which draws by the place in a share.

    Parameters
    ----------
    optimizer : type
        `lossk.AdamW` or another optimizer that updates every element by itself.
    params : sequence of ndarray
        Parameters, C-contiguous, of the same shapes and dtypes on all ranks.
    group
        As in `as_group`.
    bucket_bytes : int
        Bytes of parameters that a rank sends at once.
    **options
        Of the optimizer: `lr` and so on.

    Raises
    ------
    RankError
        Where ranks disagree about parameters or options.

    References
    ----------
    Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models".

    Examples
    --------
    >>> import numpy as np, lossk
    >>> from lossk.distributed import ShardedOptimizer, SingleProcess
    >>> p = np.ones(3)
    >>> ShardedOptimizer(lossk.SGD, [p], SingleProcess(), lr=0.5).step([np.ones(3)])
    >>> p
    array([0.5, 0.5, 0.5])
    """

    def __init__(
        self,
        optimizer: type[Optimizer],
        params: Sequence[Array],
        group: Any = None,
        *,
        bucket_bytes: int = BUCKET_BYTES,
        **options: Any,
    ) -> None:
        self.group = as_group(group)

        def prepare() -> tuple[list[Array], dict[str, Any]]:
            flat = []
            for i, p in enumerate(params):
                if not (p.flags.c_contiguous and p.flags.writeable):
                    raise TypeError(
                        f"params[{i}]: got a strided or read-only array, wanted a contiguous, writeable one"
                    )
                flat.append(p.reshape(-1))
            made = optimizer(list(params), **options)  # checks what is shared out below
            told = [f"{p.dtype}{list(p.shape)}" for p in params]
            return flat, {"parameters": ", ".join(told)[:500], "count": len(told), "optimizer": repr(made)[:300]}

        self._flat = agree(self.group, prepare)
        self._shapes = [(p.shape, p.dtype) for p in params]
        total = sum(p.size for p in self._flat)
        units = -(-total // ALIGNMENT)
        bounds = [min(total, units * r // self.group.size * ALIGNMENT) for r in range(self.group.size + 1)]
        # Of every rank: its buckets, each some shares.
        self._buckets = [list(self._cut(a, b, bucket_bytes)) for a, b in pairwise(bounds)]
        own = self._buckets[self.group.rank]
        self._optimizers = [optimizer(self._views(self._flat, bucket), **options) for bucket in own]

    def _cut(self, first: int, last: int, nbytes: int) -> Iterator[list[Share]]:
        """Cut elements [first, last) of all parameters into buckets of one dtype."""
        begin, bucket, held = 0, list[Share](), 0
        for index, p in enumerate(self._flat):
            start, stop = max(0, first - begin), min(p.size, last - begin)
            begin += p.size
            step = max(ALIGNMENT, nbytes // p.itemsize // ALIGNMENT * ALIGNMENT)
            for at in range(start, stop, step):
                share = Share(index, at, min(stop, at + step))
                size = (share.stop - share.start) * p.itemsize
                if bucket and (held + size > nbytes or self._flat[bucket[0].tensor].dtype != p.dtype):
                    yield bucket
                    bucket, held = [], 0
                bucket.append(share)
                held += size
        if bucket:
            yield bucket

    @staticmethod
    def _views(flat: Sequence[Array], bucket: Sequence[Share]) -> list[Array]:
        return [flat[share.tensor][share.start : share.stop] for share in bucket]

    def _nbytes(self, bucket: Sequence[Share]) -> int:
        return sum((share.stop - share.start) * self._flat[share.tensor].itemsize for share in bucket)

    @property
    def lr(self) -> float:
        """The learning rate; set it on all ranks."""
        return self._optimizers[0].lr if self._optimizers else float("nan")

    @lr.setter
    def lr(self, value: float) -> None:
        for optimizer in self._optimizers:
            optimizer.lr = value

    def step(
        self,
        grads: Sequence[Array],
        *,
        grad_scale: float | None = None,
        num_threads: int | None = None,
        gather: bool = True,
    ) -> None:
        """Update the parameters in place, on all ranks.

        Parameters
        ----------
        grads : sequence of ndarray
            One gradient a parameter, summed up over ranks (`sum_gradients`); only this rank's share is read.
        grad_scale : float, optional
            Divisor of all gradients.
        num_threads : int, optional
            Threads of this call.
        gather : bool
            Send each bucket as soon as it is updated. Else `gather` has to be called before the parameters are used.
        """
        shapes = [(g.shape, g.dtype) for g in grads]
        if shapes != self._shapes:
            raise ValueError(f"grads: got {shapes}, wanted {self._shapes}, the shapes and dtypes of the parameters")
        flat = [np.ascontiguousarray(g).reshape(-1) for g in grads]
        options = {} if grad_scale is None else {"grad_scale": grad_scale}

        def update(number: int) -> None:
            own = self._buckets[self.group.rank]
            if number < len(own):
                self._optimizers[number].step(self._views(flat, own[number]), num_threads=num_threads, **options)

        self._each_bucket(update, gather)

    def gather(self) -> None:
        """Give every rank's share to all."""
        self._each_bucket(lambda number: None, True)

    def _each_bucket(self, update: Callable[[int], None], gather: bool) -> None:
        """Update a bucket while the one before is on its way."""
        pending: Wait | None = None
        for number in range(max(map(len, self._buckets))):
            update(number)
            if not gather or self.group.size == 1:
                continue
            wait = self.group.all_gather(self._packed(number))
            if pending is not None:
                self._take(number - 1, pending())
            pending = wait
        if pending is not None:
            self._take(number, pending())

    def _packed(self, number: int) -> Array:
        """Return the bytes of this rank's bucket of that number, as many as any rank's."""
        own = self._buckets[self.group.rank]
        most = max(self._nbytes(buckets[number]) for buckets in self._buckets if number < len(buckets))
        sent, at = np.empty(most, np.uint8), 0
        for view in self._views(self._flat, own[number] if number < len(own) else []):
            sent[at : at + view.nbytes] = view.view(np.uint8)
            at += view.nbytes
        return sent

    def _take(self, number: int, gathered: Array) -> None:
        """Write what other ranks sent to their shares."""
        for rank, buckets in enumerate(self._buckets):
            if rank == self.group.rank or number >= len(buckets):
                continue
            at = 0
            for view in self._views(self._flat, buckets[number]):
                view.view(np.uint8)[...] = gathered[rank, at : at + view.nbytes]
                at += view.nbytes

    def state_dict(self) -> dict[str, Any]:
        """Return this rank's state, which belongs to its rank and to the number of ranks."""
        layout: dict[str, Any] = {"rank": self.group.rank, "size": self.group.size}
        for number, optimizer in enumerate(self._optimizers):
            layout |= {f"{number}.{key}": value for key, value in optimizer.state_dict().items()}
        return layout

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned on this rank, of as many ranks."""
        for name, wanted in (("rank", self.group.rank), ("size", self.group.size)):
            if state.get(name) != wanted:
                raise ValueError(f"state[{name!r}]: got {state.get(name)!r}, wanted {wanted}")
        parts: list[dict[str, Any]] = [{} for _ in self._optimizers]
        for key, value in state.items():
            number, _, name = key.partition(".")
            if name and number.isdigit() and int(number) < len(parts):
                parts[int(number)][name] = value
            elif key not in ("rank", "size"):
                raise ValueError(f"state: got the unknown entry {key!r}")
        before = [optimizer.state_dict() for optimizer in self._optimizers]
        try:
            for optimizer, part in zip(self._optimizers, parts, strict=True):
                optimizer.load_state_dict(part)
        except ValueError:
            for optimizer, old in zip(self._optimizers, before, strict=True):
                optimizer.load_state_dict(old)
            raise
