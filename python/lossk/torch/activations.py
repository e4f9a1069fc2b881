"""Activations with the names and signatures of torch.nn.functional.

Contiguous tensors on the CPU of float32, float64, float16 and (where ml_dtypes is installed) bfloat16 go to lossk's
kernels without a copy, and so do their gradients. Everything else goes to torch's own function: other layouts,
``inplace=True``, transforms of torch.func, and compilation, as compilers fuse torch's activations with what is around
them, which is also why `install` leaves them alone. Second derivatives are torch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from .. import activations as _ours
from .._arrays import Array
from ._exchange import array_of
from ._explain import stand_aside
from ._tensors import FLOATS, REFUSALS, is_plain, tensor_of, torch_decides

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
]

_theirs: dict[str, Any] = {name: getattr(torch.nn.functional, name) for name in __all__}
_gelu = _theirs["gelu"]
_theirs["gelu"] = lambda input, approximate: _gelu(input, approximate=approximate)


class ActivationFunction(torch.autograd.Function):
    """An activation in the graph, which saves its arguments: one tensor, or one and its slopes."""

    @staticmethod
    def forward(ctx: Any, name: str, made: Any, options: tuple[Any, ...], *tensors: Any) -> Any:
        """Return the function of the tensors."""
        ctx.of = name, made, options
        ctx.save_for_backward(*tensors)
        return tensor_of(made(*map(array_of, tensors)))

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients with respect to the tensors."""
        name, made, options = ctx.of
        tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        if not torch.is_grad_enabled():
            try:
                arrays: list[Array] = [array_of(t) for t in (*tensors, upstream.contiguous())]
                found = made.vjp(*arrays)
                grads = found if isinstance(found, tuple) else (found,)
                return None, None, None, *(tensor_of(g) if w else None for g, w in zip(grads, wanted, strict=True))
            except RuntimeError:  # a batch of upstream gradients, under vmap: torch's operations know it
                pass
        stand_aside(name, "derivatives that can be differentiated again (create_graph=True)")
        with torch.enable_grad():
            views = [t.view_as(t) if w else t for t, w in zip(tensors, wanted, strict=True)]
            value = _theirs[name](*views, *options)
        again = torch.is_grad_enabled()
        of = [view for view, w in zip(views, wanted, strict=True) if w]
        computed = iter(torch.autograd.grad(value, of, upstream, create_graph=again))
        return None, None, None, *(next(computed) if w else None for w in wanted)


def _evaluate(
    name: str, make: Callable[..., Any], tensors: tuple[Any, ...], options: tuple[Any, ...] = (), inplace: bool = False
) -> Any:
    """Return an activation of tensors, by kernels where they can and by torch where not.

    Options are torch's, in its order; `make` makes an activation of them.
    """
    why = "inplace=True" if inplace else _why_not(tensors)
    detail: Any = None
    if not why:
        try:
            made = _made(make, *options)
            if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
                return ActivationFunction.apply(name, made, options, *tensors)
            return tensor_of(made(*map(array_of, tensors)))
        except REFUSALS as error:
            why, detail = "arguments that lossk refuses", error
    stand_aside(name, why, detail)
    return _theirs[name](*tensors, *options, *((True,) if inplace else ()))


@functools.lru_cache(maxsize=64, typed=True)
def _made(make: Callable[..., Any], *options: Any) -> Any:
    return make(*options)


def _why_not(tensors: tuple[Any, ...]) -> str:
    """Return why this is torch's to compute or to refuse; "" where lossk can."""
    if torch.compiler.is_compiling():
        return "compilation, which fuses torch's own"
    if decides := torch_decides():
        return decides
    if torch.is_autocast_enabled("cpu"):
        return "autocast, which chooses types"
    for t in tensors:
        if not (is_plain(t) and t.dtype is tensors[0].dtype and t.dtype in FLOATS):
            return "no plain tensors on the CPU of one type that kernels know"
        if not t.is_contiguous() or t.numel() == 0 or t.is_neg():
            return "no contiguous tensors, or no numbers"
    return ""


def _softplus(beta: float, threshold: float) -> Any:
    # Beyond so much torch's is linear, which is exact to the last place from the default on.
    if threshold < 20:
        raise ValueError(f"threshold: got {threshold}, wanted at least 20")
    return _ours.Softplus(beta)


def relu(input: Any, inplace: bool = False) -> Any:
    """Return the rectifier: `lossk.ReLU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _evaluate("relu", _ours.ReLU, (input,), inplace=inplace)


def relu6(input: Any, inplace: bool = False) -> Any:
    """Return the rectifier of at most 6: `lossk.ReLU6`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.relu6(torch.tensor([-1.0, 7.0]))
    tensor([0., 6.])
    """
    return _evaluate("relu6", _ours.ReLU6, (input,), inplace=inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """Return the leaky rectifier: `lossk.LeakyReLU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.leaky_relu(torch.tensor([-1.0, 2.0]), 0.25)
    tensor([-0.2500,  2.0000])
    """
    return _evaluate("leaky_relu", _ours.LeakyReLU, (input,), (negative_slope,), inplace=inplace)


def prelu(input: Any, weight: Any) -> Any:
    """Return the leaky rectifier of learned slopes: `lossk.PReLU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.prelu(torch.tensor([-1.0, 2.0]), torch.tensor([0.25]))
    tensor([-0.2500,  2.0000])
    """
    return _evaluate("prelu", _ours.PReLU, (input, weight))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """Return the exponential linear unit: `lossk.ELU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.elu(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return _evaluate("elu", _ours.ELU, (input,), (alpha,), inplace=inplace)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """Return the continuously differentiable ELU: `lossk.CELU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.celu(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return _evaluate("celu", _ours.CELU, (input,), (alpha,), inplace=inplace)


def selu(input: Any, inplace: bool = False) -> Any:
    """Return the scaled ELU: `lossk.SELU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.selu(torch.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    return _evaluate("selu", _ours.SELU, (input,), inplace=inplace)


def gelu(input: Any, approximate: str = "none") -> Any:
    """Return the Gaussian error linear unit: `lossk.GELU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.gelu(torch.tensor([-10.0, 1.0]))  # torch gives 0 for the first
    tensor([-7.6199e-23,  8.4134e-01])
    """
    return _evaluate("gelu", _ours.GELU, (input,), (approximate,))


def silu(input: Any, inplace: bool = False) -> Any:
    """Return the sigmoid linear unit: `lossk.SiLU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.silu(torch.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """
    return _evaluate("silu", _ours.SiLU, (input,), inplace=inplace)


def mish(input: Any, inplace: bool = False) -> Any:
    """Return Mish: `lossk.Mish`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.mish(torch.tensor([-1.0, 2.0]))
    tensor([-0.3034,  1.9440])
    """
    return _evaluate("mish", _ours.Mish, (input,), inplace=inplace)


def sigmoid(input: Any) -> Any:
    """Return the logistic function: `lossk.Sigmoid`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.sigmoid(torch.tensor([0.0]))
    tensor([0.5000])
    """
    return _evaluate("sigmoid", _ours.Sigmoid, (input,))


def tanh(input: Any) -> Any:
    """Return the hyperbolic tangent: `lossk.Tanh`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.tanh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return _evaluate("tanh", _ours.Tanh, (input,))


def logsigmoid(input: Any) -> Any:
    """Return the logarithm of the logistic function: `lossk.LogSigmoid`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.logsigmoid(torch.tensor([0.0]))
    tensor([-0.6931])
    """
    return _evaluate("logsigmoid", _ours.LogSigmoid, (input,))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Return the smooth rectifier, not linear beyond `threshold`, which is at least 20: `lossk.Softplus`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.softplus(torch.tensor([0.0]))
    tensor([0.6931])
    """
    return _evaluate("softplus", _softplus, (input,), (beta, threshold))


def softsign(input: Any) -> Any:
    """Return softsign: `lossk.Softsign`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.softsign(torch.tensor([3.0]))
    tensor([0.7500])
    """
    return _evaluate("softsign", _ours.Softsign, (input,))


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """Return numbers moved towards 0: `lossk.Softshrink`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.softshrink(torch.tensor([0.25, 2.0]))
    tensor([0.0000, 1.5000])
    """
    return _evaluate("softshrink", _ours.Softshrink, (input,), (lambd,))


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """Return numbers, small ones replaced by 0: `lossk.Hardshrink`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.hardshrink(torch.tensor([0.25, 2.0]))
    tensor([0., 2.])
    """
    return _evaluate("hardshrink", _ours.Hardshrink, (input,), (lambd,))


def tanhshrink(input: Any) -> Any:
    """Return `input` less its hyperbolic tangent: `lossk.Tanhshrink`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.tanhshrink(torch.tensor([1e-3]))  # torch cancels
    tensor([3.3333e-10])
    """
    return _evaluate("tanhshrink", _ours.Tanhshrink, (input,))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """Return numbers within bounds: `lossk.Hardtanh`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.hardtanh(torch.tensor([-2.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """
    return _evaluate("hardtanh", _ours.Hardtanh, (input,), (min_val, max_val), inplace=inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """Return a sigmoid of three lines: `lossk.Hardsigmoid`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.hardsigmoid(torch.tensor([-4.0, 0.0]))
    tensor([0.0000, 0.5000])
    """
    return _evaluate("hardsigmoid", _ours.Hardsigmoid, (input,), inplace=inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """Return a swish of lines and a parabola: `lossk.Hardswish`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.hardswish(torch.tensor([-4.0, 1.0]))
    tensor([0.0000, 0.6667])
    """
    return _evaluate("hardswish", _ours.Hardswish, (input,), inplace=inplace)


def glu(input: Any, dim: int = -1) -> Any:
    """Return one half of `input` times the sigmoid of the other: `lossk.GLU`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.glu(torch.tensor([2.0, 0.0]))
    tensor([1.])
    """
    return _evaluate("glu", _ours.GLU, (input,), (dim,))
