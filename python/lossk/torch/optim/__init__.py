"""torch.optim's optimizers, stepping with lossk's kernels wherever they can.

The classes are subclasses of torch's of the same names: parameter groups, schedulers, hooks, closures and state dicts
are torch's, and so are results, but for rounding. All tensors of a group are updated in one pass, in place, without a
copy::

    >>> import torch, lossk.torch
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = lossk.torch.optim.AdamW(model.parameters(), lr=1e-3)
    >>> model(torch.ones(2, 3)).sum().backward()
    >>> optimizer.step()

Kernels take dense tensors on the CPU of float32, float64, float16 and bfloat16 (with ml_dtypes). Everything else is
done by torch's own step, parameter by parameter: sparse or complex gradients, other devices and subclasses of Tensor,
`differentiable`, `capturable`, ``foreach=True``, ``fused=True``, and options that are tensors.

Parameters of 16 bits are updated in float32 arithmetic, with state in float32: `state` and `state_dict` hold float32
tensors for them, where torch has 16 bits. Both load each other's state dicts: torch rounds what it loads, lossk widens
it, and takes over its own without rounding.
"""

from ._classes import ASGD, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop

__all__ = ["ASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop"]
