"""Arrays as torch's tensors over the same memory, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lossk.cli.bench.inputs import Array


def tensor(array: Array) -> Any:
    """Share an array's memory; bfloat16 by way of its bits, which NumPy hands on."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(result: Any) -> Array:
    """Return the tensor's numbers; bfloat16 as float32."""
    array: Array = (result.float() if result.dtype == torch.bfloat16 else result).detach().numpy()
    return array
