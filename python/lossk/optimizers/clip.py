"""Gradients clipped in place."""

from __future__ import annotations

import numpy as np

from .. import _core
from ._options import norm_limit
from ._tensors import Gradients, check_apart, check_writeable_floats, name, unpack


def clip_grad_norm(grads: Gradients, max_norm: float, *, num_threads: int | None = None) -> float:
    """Scale gradients in place so that their norm is at most `max_norm`, and return the norm that they had.

    With ``n`` the 2-norm of all gradients as one vector, they are multiplied by ``min(1, max_norm / (n + 1e-6))``.
    Where ``n`` is not finite they stay as they are. `lossk.optimizers.Optimizer.step` does the same with its
    `max_norm` on the way, in fewer passes over memory.

    Parameters
    ----------
    grads : list or dict of ndarray
        Gradients of any shapes, strides and supported dtypes; None stands for a gradient that is not there.
    max_norm : float
        The largest norm, at least 0; infinity only measures.
    num_threads : int, optional
        Threads of this call; the result does not depend on it.

    Returns
    -------
    float
        The norm before, accumulated in float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, a gradient is read-only, or two share memory; nothing has changed then.

    References
    ----------
    ``torch.nn.utils.clip_grad_norm_``; Pascanu et al., "On the difficulty of training recurrent neural networks", 2013.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> g = [np.array([3.0]), np.array([[4.0]])]
    >>> lossk.clip_grad_norm(g, max_norm=1.0)
    5.0
    >>> g[0].round(3), g[1].round(3)
    (array([0.6]), array([[0.8]]))
    """
    keys, arrays = unpack("grads", grads)
    limit = norm_limit(max_norm)
    norm = _core.clip_grad_norm(arrays, keys, limit, num_threads, None)
    if norm is not None:
        return norm
    there = [(name("grads", keys, i), g) for i, g in enumerate(arrays) if g is not None]
    for own, g in there:
        check_writeable_floats(own, g, "scale")
    check_apart([own for own, _ in there], [g for _, g in there])
    owners = [g for _, g in there]
    buffers = [np.array(g, dtype=g.dtype.newbyteorder("="), order="C") for g in owners]
    norm = _core.clip_grad_norm(buffers, None, limit, num_threads, owners)
    assert norm is not None, "buffers are contiguous"
    return norm
