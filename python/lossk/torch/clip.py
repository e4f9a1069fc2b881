"""torch.nn.utils.clip_grad_norm_, by lossk's kernels."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..optimizers import clip_grad_norm
from ._exchange import array_of
from ._explain import stand_aside
from ._tensors import FLOATS, is_plain

_by_torch = torch.nn.utils.clip_grad_norm_


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale the gradients of parameters in place so that their norm is at most `max_norm`.

    ``torch.nn.utils.clip_grad_norm_``: with ``n`` the norm of all gradients as one vector they are multiplied by
    ``min(1, max_norm / (n + 1e-6))``, in two passes and without copies. What kernels do not take is torch's own doing:
    other norms, devices and types, ``foreach=True``, and norms that are not finite.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Whose gradients to clip; those without one are passed over.
    max_norm, norm_type, error_if_nonfinite, foreach
        As torch's function has them.

    Returns
    -------
    Tensor
        The norm before, of no dimension: float64 where all gradients are, else float32 (also of 16-bit gradients, whose
        norm torch rounds to 16 bits).

    Raises
    ------
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` is true.

    References
    ----------
    ``torch.nn.utils.clip_grad_norm_``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> p.grad = torch.tensor([3.0, 4.0])
    >>> lossk.torch.clip_grad_norm_([p], max_norm=1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    rest = (max_norm, norm_type, error_if_nonfinite, foreach)

    def by_torch(why: str) -> Any:
        stand_aside("clip_grad_norm_", why)
        return _by_torch(parameters, *rest)

    tensors = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    if not tensors:  # torch warns where this was a generator
        return by_torch("no parameters")
    parameters = tensors
    grads = [p.grad for p in parameters if p.grad is not None]
    if foreach or norm_type != 2 or not all(_fits(g) for g in grads):
        return by_torch("another norm, foreach, or gradients that kernels do not take")
    try:
        norm = clip_grad_norm([array_of(g) for g in grads], max_norm)
    except (TypeError, ValueError):
        return by_torch("gradients that share memory, or another argument that lossk refuses")
    if not math.isfinite(norm):
        return by_torch("a norm that is not finite")
    if norm + 1e-6 > max_norm:
        torch.autograd.graph.increment_version(grads)
    double = all(g.dtype is torch.float64 for g in grads)
    return torch.tensor(norm, dtype=torch.float64 if double else torch.float32, device="cpu")


def _fits(g: Any) -> bool:
    return is_plain(g) and g.dtype in FLOATS and not (g.is_neg() or g.is_inference())
