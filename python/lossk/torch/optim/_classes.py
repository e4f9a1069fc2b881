"""The classes: torch's, and which of lossk's optimizers has their formula."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ... import optimizers
from . import _numbers
from ._step import KernelStep


class SGD(KernelStep, torch.optim.SGD):
    """``torch.optim.SGD``, stepping with the kernels of `lossk.SGD`.

    Parameters
    ----------
    params, lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, fused
        As torch's class has them; the last three, where they are true, ask for torch's own step.

    References
    ----------
    ``torch.optim.SGD``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.SGD([p], lr=0.5).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.SGD
    options, lossks = ("momentum", "dampening", "nesterov", "weight_decay"), optimizers.SGD


class Adam(KernelStep, torch.optim.Adam):
    """``torch.optim.Adam``, stepping with the kernels of `lossk.Adam`.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, foreach, maximize, capturable, differentiable, fused, \
decoupled_weight_decay
        As torch's class has them; `foreach`, `capturable`, `differentiable` and `fused`, where they are true, ask for
        torch's own step.

    References
    ----------
    ``torch.optim.Adam``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.Adam([p], lr=0.5).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.Adam
    options: ClassVar[tuple[str, ...]] = ("betas", "eps", "weight_decay", "amsgrad", "decoupled_weight_decay")

    def like(self, group: dict[str, Any]) -> optimizers.Optimizer:
        """Return lossk's optimizer of these options, without parameters."""
        decoupled = group.get("decoupled_weight_decay", isinstance(self, torch.optim.AdamW))
        kind = optimizers.AdamW if decoupled else optimizers.Adam
        return kind([], group["lr"], *(group[option] for option in self.options[:4]))


# Of an older torch, whose Adam does not have this option and is no base of its AdamW.
_is_adam = issubclass(torch.optim.AdamW, torch.optim.Adam)
if not _is_adam:
    Adam.options = Adam.options[:4]


class AdamW(Adam if _is_adam else KernelStep, torch.optim.AdamW):  # type: ignore[misc]
    """``torch.optim.AdamW``, stepping with the kernels of `lossk.AdamW`.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, maximize, foreach, capturable, differentiable, fused
        As torch's class has them; the last four, where they are true, ask for torch's own step.

    References
    ----------
    ``torch.optim.AdamW``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.AdamW([p], lr=0.5, weight_decay=1.0).step()
    >>> p.data
    tensor([0., 1.])
    """

    torch_class = torch.optim.AdamW
    options = Adam.options
    like = Adam.like


class RMSprop(KernelStep, torch.optim.RMSprop):
    """``torch.optim.RMSprop``, stepping with the kernels of `lossk.RMSprop`.

    Parameters
    ----------
    params, lr, alpha, eps, weight_decay, momentum, centered, capturable, foreach, maximize, differentiable
        As torch's class has them; `capturable`, `foreach` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.RMSprop``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.RMSprop([p], lr=0.05).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.RMSprop
    options, lossks = ("alpha", "eps", "weight_decay", "momentum", "centered"), optimizers.RMSprop


class Adagrad(KernelStep, torch.optim.Adagrad):
    """``torch.optim.Adagrad``, stepping with the kernels of `lossk.Adagrad`.

    Parameters
    ----------
    params, lr, lr_decay, weight_decay, initial_accumulator_value, eps, foreach, maximize, differentiable, fused
        As torch's class has them; `foreach`, `differentiable` and `fused`, where they are true, ask for torch's own
        step.

    References
    ----------
    ``torch.optim.Adagrad``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.Adagrad([p], lr=0.5).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.Adagrad
    options, lossks = ("lr_decay", "weight_decay", "initial_accumulator_value", "eps"), optimizers.Adagrad


class Adadelta(KernelStep, torch.optim.Adadelta):
    """``torch.optim.Adadelta``, stepping with the kernels of `lossk.Adadelta`.

    Parameters
    ----------
    params, lr, rho, eps, weight_decay, foreach, capturable, maximize, differentiable
        As torch's class has them; `foreach`, `capturable` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.Adadelta``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.Adadelta([p], lr=1.0, eps=0.25).step()
    >>> p.data
    tensor([0.1548, 1.8452])
    """

    torch_class = torch.optim.Adadelta
    options, lossks = ("rho", "eps", "weight_decay"), optimizers.Adadelta


class Adamax(KernelStep, torch.optim.Adamax):
    """``torch.optim.Adamax``, stepping with the kernels of `lossk.Adamax`.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, foreach, maximize, differentiable, capturable
        As torch's class has them; `foreach`, `capturable` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.Adamax``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.Adamax([p], lr=0.5).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.Adamax
    options, lossks = ("betas", "eps", "weight_decay"), optimizers.Adamax


class RAdam(KernelStep, torch.optim.RAdam):
    """``torch.optim.RAdam``, stepping with the kernels of `lossk.RAdam`.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, decoupled_weight_decay, foreach, maximize, capturable, differentiable
        As torch's class has them; `foreach`, `capturable` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.RAdam``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.RAdam([p], lr=0.5).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.RAdam
    options, lossks = ("betas", "eps", "weight_decay", "decoupled_weight_decay"), optimizers.RAdam


class Rprop(KernelStep, torch.optim.Rprop):
    """``torch.optim.Rprop``, stepping with the kernels of `lossk.Rprop`.

    Parameters
    ----------
    params, lr, etas, step_sizes, capturable, foreach, maximize, differentiable
        As torch's class has them; `foreach`, `capturable` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.Rprop``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.Rprop([p], lr=0.5).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.Rprop
    options, lossks = ("etas", "step_sizes"), optimizers.Rprop


class NAdam(KernelStep, torch.optim.NAdam):
    """``torch.optim.NAdam``, stepping with the kernels of `lossk.NAdam`.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, foreach, maximize, capturable, \
differentiable
        As torch's class has them; `foreach`, `capturable` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.NAdam``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.NAdam([p], lr=0.5).step()
    >>> p.data
    tensor([0.4718, 1.5282])
    """

    torch_class = torch.optim.NAdam
    options, lossks = ("betas", "eps", "weight_decay", "momentum_decay", "decoupled_weight_decay"), _numbers.NAdam


class ASGD(KernelStep, torch.optim.ASGD):
    """``torch.optim.ASGD``, stepping with the kernels of `lossk.ASGD`.

    Parameters
    ----------
    params, lr, lambd, alpha, t0, weight_decay, foreach, maximize, differentiable, capturable
        As torch's class has them; `foreach`, `capturable` and `differentiable`, where they are true, ask for torch's
        own step.

    References
    ----------
    ``torch.optim.ASGD``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([1.0, -1.0])
    >>> lossk.torch.optim.ASGD([p], lr=0.5, lambd=0.0).step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    torch_class = torch.optim.ASGD
    options, lossks = ("lambd", "alpha", "t0", "weight_decay"), _numbers.ASGD
