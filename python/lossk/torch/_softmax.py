"""Softmax and log-softmax in torch's graph."""

from __future__ import annotations

from typing import Any

import torch

from ..row_functions import log_softmax as _log_softmax
from ..row_functions import softmax as _softmax
from ._exchange import array_of, is_exporting
from ._explain import stand_aside
from ._layout import grads_as_torch_s, result_as_torch_s
from ._operators import new_operator, refuse_second
from ._originals import Original
from ._tensors import FLOATS, REFUSALS, is_plain, tensor_of, torch_decides

FUNCTIONS = {"softmax": _softmax, "log_softmax": _log_softmax}
ORIGINALS = {name: Original(name) for name in FUNCTIONS}


def _forward(z: Any, name: str, dim: int) -> Any:
    return result_as_torch_s(tensor_of(FUNCTIONS[name](array_of(z), axis=dim)), _formula, (name, dim), (z,))


def _backward(result: Any, upstream: Any, name: str, dim: int) -> Any:
    grad = FUNCTIONS[name]._vjp_of_result(array_of(result), array_of(upstream), dim)
    return grads_as_torch_s((tensor_of(grad),), _formula, (name, dim), (result,), upstream)[0]


def _formula(z: Any, name: str, dim: int) -> Any:
    return ORIGINALS[name].function(z, dim)


operator = new_operator("row_function", _forward, "(Tensor z, str name, int dim) -> Tensor")
vjp_operator = new_operator(
    "row_function_vjp", _backward, "(Tensor result, Tensor upstream, str name, int dim) -> Tensor"
)
operator.register_fake(lambda z, *given: result_as_torch_s(z.new_empty(z.shape), _formula, given, (z,)))
vjp_operator.register_fake(
    lambda p, upstream, *given: grads_as_torch_s((p.new_empty(p.shape),), _formula, given, (p,), upstream)[0]
)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.function, ctx.dim = inputs
    ctx.save_for_backward(output)


def _traced_backward(ctx: Any, upstream: Any) -> Any:
    refuse_second(ctx.function)
    return vjp_operator(*ctx.saved_tensors, upstream, ctx.function, ctx.dim), None, None


operator.register_autograd(_traced_backward, setup_context=_save)


class RowFunctionFunction(torch.autograd.Function):
    """A function of rows in the graph, which saves its result as torch does."""

    @staticmethod
    def forward(ctx: Any, z: Any, name: str, dim: int) -> Any:
        """Return the function of `z`."""
        result = _forward(z, name, dim)
        ctx.function, ctx.dim = name, dim
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradient with respect to `z`."""
        (result,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            stand_aside(ctx.function, "derivatives that can be differentiated again (create_graph=True)")
            return _differentiable(result, upstream, ctx.function, ctx.dim), None, None
        try:
            return _backward(result, upstream, ctx.function, ctx.dim), None, None
        except RuntimeError:  # a batch of upstream gradients, under vmap: torch's operations know it
            return _differentiable(result, upstream, ctx.function, ctx.dim), None, None


def _differentiable(result: Any, upstream: Any, name: str, dim: int) -> Any:
    """Return the gradient by operations of torch, which have derivatives of their own."""
    if name == "softmax":
        return result * (upstream - (result * upstream).sum(dim, keepdim=True))
    return upstream - result.exp() * upstream.sum(dim, keepdim=True)


def _evaluate(name: str, z: Any, dim: int | None, stacklevel: int, dtype: Any) -> Any:
    compiling = torch.compiler.is_compiling()
    why, detail = _why_not(z, dim, dtype, compiling), None
    if not why:
        rows = z if dtype is None else z.to(dtype)
        dim = dim % rows.dim()
        if compiling:
            return operator(rows, name, dim)
        try:
            if torch.is_grad_enabled() and rows.requires_grad:
                return RowFunctionFunction.apply(rows, name, dim)
            return _forward(rows, name, dim)
        except REFUSALS as error:
            why, detail = "arguments that lossk refuses", error
    stand_aside(name, why, detail)
    return ORIGINALS[name]((z,), z, dim, stacklevel + 2, dtype)


def _why_not(z: Any, dim: Any, dtype: Any, compiling: bool) -> str:
    """Return why this is torch's to compute or to refuse; "" where lossk can."""
    if not compiling and (decides := torch_decides()):
        return decides
    if not is_plain(z):
        return "no plain tensor on the CPU"
    if (z.dtype if dtype is None else dtype) not in FLOATS:
        return "a type that kernels do not know"
    if type(dim) is not int or not -z.dim() <= dim < z.dim() or z.numel() == 0:
        return "a dimension that is not there, or no numbers"
    return "export" if compiling and is_exporting() else ""


def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """Return the softmax along `dim`: `lossk.softmax`.

    Parameters
    ----------
    input : Tensor
        Logits; converted to `dtype` first, where that is given.
    dim : int, optional
        The axis that sums to 1; None lets torch choose, with its warning.

    References
    ----------
    ``torch.nn.functional.softmax``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.softmax(torch.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return _evaluate("softmax", input, dim, _stacklevel, dtype)


def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """Return the logarithm of the softmax along `dim`: `lossk.log_softmax`; arguments are those of `softmax`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.log_softmax(torch.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    return _evaluate("log_softmax", input, dim, _stacklevel, dtype)
