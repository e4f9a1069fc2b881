"""What a verb of a loss is asked for, from the public method down to the kernel; and where results go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ._arrays import Array, Output

# Numbered as in src/cpp/base: verb of types.hpp, row_output of softmax.hpp.
VALUE, GRAD, VALUE_AND_GRAD, GRAD_AND_HESS = range(4)
LOSS, SOFTMAX, LOG_SOFTMAX = range(3)


class Request(NamedTuple):
    """A call of a verb, made once by the public method; `target` is what pointwise losses call y.

    Mostly a plain tuple of these fields in this order, as names take longer than a short kernel: `Fields`. What kernels
    (src/cpp/binding/request.cpp) are given may end after `num_threads`, verbs of samples end after `ignore_nan`.
    """

    verb: int
    z: Any
    target: Any
    third: Any = None
    sample_weight: Any = None
    reduction: str = "mean"
    normalizer: float | None = None
    num_threads: int | None = None
    out: Any = None
    check: bool = True
    ignore_nan: bool = False
    stats: bool = False
    axis: int = -1


# A request without names, and what takes it: a kernel with what the loss has of parameters and arrays.
Fields: TypeAlias = tuple[Any, ...]
Kernel: TypeAlias = Callable[[Fields], Any]
STATS = Request._fields.index("stats")


# ---- outputs of users -----------------------------------------------------------------------------------------------


def told_tuple(out: object) -> str:
    """Return what an error says of an `out` that is no tuple of the length wanted."""
    return f"a tuple of {tuple.__len__(out)}" if isinstance(out, tuple) else type(out).__name__


def prepare_outputs(
    verb: int, out: Any, z: Array, others: dict[str, Array], input_name: str = "z"
) -> tuple[Output, ...]:
    """Check a user's `out` for a call whose arrays must be prepared first."""
    if out is None or verb == VALUE:
        return ()
    if verb != GRAD_AND_HESS:
        return (Output("out", out, z, others, input_name),)
    if not isinstance(out, tuple) or tuple.__len__(out) != 2:
        raise TypeError(f"out: got {told_tuple(out)}, wanted a tuple of two arrays, one for each derivative")
    pair = Output("out[0]", out[0], z, others), Output("out[1]", out[1], z, others)
    if np.may_share_memory(out[0], out[1]):
        raise ValueError("out[1]: got memory that overlaps out[0], wanted separate memory")
    return pair


def fill_outputs(verb: int, outputs: tuple[Output, ...], result: Any) -> Any:
    """Put fresh results where the user wanted them; returns what the verb returns."""
    if not outputs:
        return result
    if verb == GRAD:
        return outputs[0].fill(result)
    if verb == VALUE_AND_GRAD:
        return result[0], outputs[0].fill(result[1])
    return outputs[0].fill(result[0]), outputs[1].fill(result[1])
