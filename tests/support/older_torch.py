"""Takes from torch what older releases do not have: a plugin of pytest, for `tests/torch/test_older_releases.py`."""

from __future__ import annotations

import torch

# Of 2.13, where 2.6 has none of them.
del torch.Tensor.__dlpack_c_exchange_api__
del torch.nn.functional.linear_cross_entropy
del torch.nn.LinearCrossEntropyLoss
is_exporting = torch.compiler.is_exporting
del torch.compiler.is_exporting

import lossk.torch  # noqa: E402

torch.compiler.is_exporting = is_exporting  # which torch itself calls
assert not hasattr(lossk.torch, "LinearCrossEntropyLoss")
