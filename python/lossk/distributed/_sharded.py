"""Optimizers whose state is split over ranks: each steps its share of the parameters, and all get the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array
from .._parameters import at_least_0, positive
from ..optimizers import LAMB, Optimizer, StepResult
from ..optimizers._averages import Averaging
from ..optimizers._options import norm_limit
from ..optimizers._plan import APPLIED
from ._agreement import agree, text_digest
from ._gradients import BUCKET_BYTES, check_plain, global_norm, positive_integer
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
        `lossk.AdamW` or another optimizer that updates every element by itself: not `LAMB`, which takes norms of whole
        tensors, nor those with averages, `ASGD` and the schedule-free ones.
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
        Where ranks disagree about parameters or options, or one of them raises.

    References
    ----------
    Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models".

    Examples
    --------
    >>> import numpy as np, lossk
    >>> from lossk.distributed import ShardedOptimizer, SingleProcess
    >>> p = np.ones(3)
    >>> ShardedOptimizer(lossk.SGD, [p], SingleProcess(), lr=0.5).step([np.ones(3)])
    StepResult(applied=True, grad_norm=None)
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

        def prepare() -> tuple[tuple[list[Array], float], dict[str, Any]]:
            given: Any = optimizer
            if not (isinstance(given, type) and issubclass(given, Optimizer)):
                raise TypeError(f"optimizer: got {optimizer!r}, wanted a class such as lossk.AdamW")
            if issubclass(optimizer, LAMB | Averaging):
                wanted = "one that updates every element by itself, without averages"
                raise TypeError(f"optimizer: got {optimizer.__name__}, wanted {wanted}")
            if not isinstance(params, list | tuple):
                raise TypeError(f"params: got {type(params).__name__}, wanted a list of arrays")
            for i, p in enumerate(params):
                check_plain(f"params[{i}]", p)
            made = optimizer(list(params), **options)  # checks what is shared out below
            facts = {"parameters": text_digest([(p.dtype, p.shape) for p in params]), "count": len(params)}
            facts |= {"optimizer": repr(made)[:300], "bucket_bytes": positive_integer("bucket_bytes", bucket_bytes)}
            return ([p.reshape(-1) for p in params], made.lr), facts

        self._flat, self._lr = agree(self.group, prepare)
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
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = at_least_0("lr", value)
        for optimizer in self._optimizers:
            optimizer.lr = value

    def step(
        self,
        grads: Sequence[Array],
        *,
        max_norm: float | None = None,
        grad_scale: float | None = None,
        num_threads: int | None = None,
        gather: bool = True,
    ) -> StepResult:
        """Update the parameters in place, on all ranks.

        Parameters
        ----------
        grads : sequence of ndarray
            One gradient a parameter, summed up over ranks (`sum_gradients`); only this rank's share is read.
        max_norm, grad_scale : float, optional
            As in `lossk.optimizers.Optimizer.step`: clip, and divide; the norm is that of all shares together.
        num_threads : int, optional
            Threads of this call.
        gather : bool
            Send each bucket as soon as it is updated. Else `gather` has to be called before the parameters are used.

        Returns
        -------
        StepResult
            As of `lossk.optimizers.Optimizer.step`, the same on all ranks: where the norm is not finite, none of them
            has updated anything.
        """
        flat, limit, scale = agree(self.group, lambda: self._checked(grads, max_norm, grad_scale))
        result = APPLIED
        if limit is not None or scale is not None:
            own = [view for bucket in self._buckets[self.group.rank] for view in self._views(flat, bucket)]
            norm = global_norm(self.group, own) / (scale or 1.0)
            result = StepResult(bool(np.isfinite(norm)), norm)
            if not result.applied:
                return result
            factor = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))
            scale = (scale or 1.0) / factor if factor > 0 else None
            flat = flat if factor > 0 else [np.zeros_like(g) for g in flat]
        options = {} if scale is None else {"grad_scale": scale}

        def update(number: int) -> None:
            own = self._buckets[self.group.rank]
            if number < len(own):
                self._optimizers[number].step(self._views(flat, own[number]), num_threads=num_threads, **options)

        self._each_bucket(update, gather)
        return result

    def _checked(
        self, grads: Sequence[Array], max_norm: float | None, grad_scale: float | None
    ) -> tuple[tuple[list[Array], float | None, float | None], dict[str, Any]]:
        """Return flat gradients and numbers of a step, and what all ranks have to have in common."""
        given: Any = grads
        shapes = [(g.shape, g.dtype) if isinstance(g, np.ndarray) else type(g).__name__ for g in given]
        if shapes != self._shapes:
            raise ValueError(f"grads: got {shapes}, wanted {self._shapes}, the shapes and dtypes of the parameters")
        limit = None if max_norm is None else norm_limit(max_norm)
        scale = None if grad_scale is None else positive("grad_scale", grad_scale)
        flat = [np.ascontiguousarray(g).reshape(-1) for g in grads]
        return (flat, limit, scale), {"lr": self._lr, "max_norm": limit, "grad_scale": scale}

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
