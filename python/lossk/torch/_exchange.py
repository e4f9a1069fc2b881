"""What older releases of torch lack: tensors as arrays over the same memory, and numbers as tensors, in C.

That is done by DLPack's table of functions. Without one ``torch.Tensor.numpy`` does the same in ten times the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch

from .. import _arrays
from .._arrays import Array

try:
    BFLOAT16: Any = np.dtype(import_module("ml_dtypes").bfloat16)
except ImportError:  # NumPy has no bfloat16 of its own: torch computes those tensors itself
    BFLOAT16 = None

# Older releases cannot tell.
is_exporting: Any = getattr(torch.compiler, "is_exporting", lambda: False)

# A subclass of Tensor may mean anything, so only these two classes are plain.
PLAIN = (torch.Tensor, torch.nn.Parameter)


def _array_of(tensor: Any) -> Any:
    """Return the memory of a tensor as an array; None of None."""
    if tensor is None:
        return None
    own = tensor.detach().resolve_neg()
    if tensor.dtype is torch.bfloat16 and BFLOAT16 is not None:
        return own.view(torch.int16).numpy().view(BFLOAT16)
    array = own.numpy()
    if array.dtype.kind not in "fiu":
        raise RuntimeError("got a tensor of a type that kernels do not read")
    return array


def _arrays_of(*tensors: Any) -> tuple[Any, ...]:
    return tuple(map(_array_of, tensors))


def _number_tensor(number: float, narrow: bool) -> Any:
    return torch.from_numpy(np.array(number, np.float32 if narrow else np.float64))


def _number_of(tensor: Any) -> float | None:
    """Return the number of a plain tensor of float32 or float64 without axes; None of any other."""
    if type(tensor) not in PLAIN or tensor.dim() != 0 or tensor.dtype not in (torch.float32, torch.float64):
        return None
    try:
        return float(tensor.item())
    except RuntimeError:  # under vmap
        return None


def _loss_of_pair(*_: Any) -> tuple[Any, Array] | None:
    return None  # the general way


array_of: Any = _array_of
arrays_of: Any = _arrays_of
number_tensor: Any = _number_tensor
number_of: Any = _number_of
loss_of_pair: Any = _loss_of_pair
if (table := getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)) is not None:
    _arrays.exchange_with(table, BFLOAT16, *PLAIN)
    array_of, arrays_of, loss_of_pair = _arrays.array_of, _arrays.arrays_of, _arrays.loss_of_pair
    number_tensor, number_of = _arrays.number_tensor, _arrays.number_of
