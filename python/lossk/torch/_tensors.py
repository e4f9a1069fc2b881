"""Tensors as arrays and arrays as tensors, over the same memory; and which tensors kernels may touch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

from .._arrays import Array
from ._exchange import BFLOAT16, PLAIN, number_of, number_tensor

# Types that kernels read, and labels.
FLOATS = {torch.float32, torch.float64, torch.float16} | ({torch.bfloat16} if BFLOAT16 is not None else set())
HALVES = {torch.float16, torch.bfloat16}
INTEGERS = {getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}
# Errors of kernels that leave the word to torch, which takes the arguments or refuses them in its own way.
REFUSALS = (TypeError, ValueError, RuntimeError)

_transforms_are_active = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack
_function_mode_is_active = torch._C._is_torch_function_mode_enabled
_is_tracing = torch._C._is_tracing


def is_plain(tensor: Any) -> bool:
    """Tell whether this is a dense tensor on the CPU, of no subclass."""
    return type(tensor) in PLAIN and tensor.is_cpu and tensor.layout is torch.strided


def torch_decides() -> str:
    """Return what is on that gives torch's operations another meaning; "" where nothing is.

    Transforms of torch.func, modes, tracing or forward-mode derivatives: they see operations of torch, not of NumPy.
    """
    if _transforms_are_active():
        return "a transform of torch.func"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives"
    if _is_tracing():
        return "tracing"
    if _modes() > 0 or (_function_mode_is_active() and not _only_default_devices()):
        return "a mode that sees torch's operations"
    return ""


def _only_default_devices() -> bool:
    """Tell whether the modes that see functions say no more than where new tensors are made."""
    stack = range(torch._C._len_torch_function_stack())
    return all(type(torch._C._get_function_stack_at(i)) is DeviceContext for i in stack)


def factor_of(upstream: Any) -> float | None:
    """Return an upstream gradient of one number; None of a batch of them, under vmap."""
    factor: float | None = number_of(upstream)  # in a tenth of the time
    if factor is not None:
        return factor
    try:
        return float(upstream.item())
    except RuntimeError:
        return None


def tensor_of(array: Array) -> Any:
    """Return the memory of an ndarray as a tensor."""
    if array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def value_tensor(value: Any, dtype: Any) -> Any:
    """Return a loss, a float or an array of one a sample, as a tensor of this type."""
    if type(value) is float:
        tensor = number_tensor(value, dtype is torch.float32)
    else:
        tensor = torch.from_numpy(value if isinstance(value, np.ndarray) else np.array(value))
    return tensor if tensor.dtype is dtype else tensor.to(dtype)
