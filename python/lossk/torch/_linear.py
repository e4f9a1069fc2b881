"""Cross-entropy of a linear layer in torch's graph, without holding its logits."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np
import torch

from .._linear import LinearCrossEntropy
from .._linear._problem import make_problem
from ._exchange import array_of, arrays_of, is_exporting
from ._explain import stand_aside
from ._layout import grads_as_torch_s
from ._operators import new_operator, refuse_second
from ._originals import Original
from ._tensors import FLOATS, HALVES, INTEGERS, REFUSALS, factor_of, is_plain, tensor_of, torch_decides, value_tensor

NAME = "linear_cross_entropy"
CROSS_ENTROPY = Original("cross_entropy")


def _of_all_logits(
    tensors: Any, x: Any, w: Any, target: Any, linear_bias: Any, weight: Any, options: Any = None, **how: Any
) -> Any:
    """Return what torch's function returns, for releases of torch that do not have it."""
    if how["ignore_index"] is None:
        del how["ignore_index"]
    logits = torch.nn.functional.linear(x, w, linear_bias)
    return CROSS_ENTROPY((logits, target, weight), logits, target, weight=weight, **how)


ORIGINAL: Any = Original(NAME) if hasattr(torch.nn.functional, NAME) else _of_all_logits


class How(NamedTuple):
    """How rows are reduced: `wide` gives a float32 loss of 16 bits, `normalizer` is the divisor of a mean."""

    reduction: Any
    wide: bool = False
    normalizer: float | None = None

    def dtype(self, x: Any) -> Any:
        """Return the type of the loss."""
        return torch.float32 if self.wide and x.dtype in HALVES else x.dtype

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments of lossk's loss."""
        return {"reduction": self.reduction, "normalizer": self.normalizer}


class LinearFunction(torch.autograd.Function):
    """The loss in the graph: gradients of everything that wants one are computed with the value, chunk by chunk.

    One number a sample keeps nothing, and nor does float16, where loss scaling saves small gradients only if the factor
    is inside.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, bias: Any, target: Any, loss: LinearCrossEntropy, how: How) -> Any:
        """Return the loss; keep the gradients."""
        ctx.loss, ctx.how, ctx.reduction, ctx.kept = loss, how, how.reduction, []
        ctx.save_for_backward(x, w, bias, target)
        if how.reduction == "none" or x.dtype is torch.float16:
            return _value(loss, x, w, bias, target, how)
        value, grads = _value_and_grads(ctx, x, w, target, bias)
        ctx.kept.append(grads)
        return value_tensor(value, how.dtype(x))

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`, for the inputs that want one."""
        x, w, bias, target = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            return *_by_torch(ctx, (x, w, bias), target, wanted, upstream), None, None, None
        grads = _gradients(ctx, x, w, bias, target, upstream)
        return (*(grad if want else None for grad, want in zip(grads, wanted, strict=True)), None, None, None)


def _by_torch(ctx: Any, layer: tuple[Any, ...], target: Any, wanted: Any, upstream: Any) -> list[Any]:
    """Return gradients that can be differentiated again (create_graph=True): with all logits, by torch."""
    loss, how = ctx.loss._loss, ctx.how
    if loss.z_loss:
        raise RuntimeError(
            f"lossk.torch: second derivatives of {NAME} with z_loss are not implemented: got create_graph=True and "
            f"{loss.z_loss}, wanted False or 0.0"
        )
    stand_aside(NAME, "derivatives that can be differentiated again (create_graph=True)")
    x, w, bias = (t if t is None else t.view_as(t) for t in layer)  # no path from one to another is on the way
    z = torch.nn.functional.linear(x, w, bias)
    z = z.to(how.dtype(x))
    if loss.softcap:
        z = loss.softcap * torch.tanh(z / loss.softcap)
    value = CROSS_ENTROPY.function(
        z,
        target.long(),
        None if loss.weight is None else torch.tensor(loss.weight, dtype=z.dtype),
        ignore_index=loss.ignore_index,
        reduction=how.reduction if how.normalizer is None else "sum",
        label_smoothing=loss.label_smoothing,
    )
    value = value if how.normalizer is None else value / how.normalizer
    places = [t for t, want in zip((x, w, bias), wanted, strict=True) if want]
    grads = iter(torch.autograd.grad(value, places, upstream, create_graph=True))
    return [next(grads) if want else None for want in wanted]


def _gradients(ctx: Any, x: Any, w: Any, bias: Any, target: Any, upstream: Any) -> tuple[Any, ...]:
    """Return the gradients times `upstream`."""
    if ctx.reduction == "none" or x.dtype is torch.float16:
        arrays, cotangent = arrays_of(x, w, target, bias), None
        with contextlib.suppress(RuntimeError):  # under vmap there is nothing to look at
            cotangent = array_of(upstream)
        if cotangent is None:
            raise RuntimeError(
                f"lossk.torch: {NAME}: got a batch of upstream gradients (is_grads_batched, vmap) with "
                "reduction='none' or in float16, wanted one at a time"
            )
        if ctx.reduction != "none":
            cotangent = _spread(ctx, arrays, cotangent)
        found = ctx.loss.vjp(*arrays[:3], cotangent, arrays[3], wrt=_wrt(ctx))
        above = upstream if ctx.reduction == "none" else None
        return grads_as_torch_s(_tensors(found), _formula, (ctx.reduction,), (x, w, bias, target), above)
    try:
        grads = ctx.kept.pop()
    except IndexError:
        _, grads = _value_and_grads(ctx, x, w, target, bias)
    factor = factor_of(upstream)
    if factor is None:
        ctx.kept.append(grads)
        return tuple(None if grad is None else grad * upstream for grad in grads)
    return tuple(grad if grad is None or factor == 1 else grad.mul_(factor) for grad in grads)


def _spread(ctx: Any, arrays: tuple[Any, ...], factor: Any) -> Any:
    """Return the factor of each sample's gradient, of that of the reduced loss."""
    x, w, target, bias = arrays
    divisor = 1.0
    if ctx.reduction == "mean":
        divisor = make_problem(ctx.loss._loss, x, w, target, bias, {}, "mean", ctx.how.normalizer, None).divisor or 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.broadcast_to(np.divide(float(factor), divisor), target.shape)


def _wrt(ctx: Any) -> str:
    return "all" if ctx.needs_input_grad[1] or ctx.needs_input_grad[2] else "x"


def _tensors(grads: Any) -> tuple[Any, Any, Any]:
    dx, dw, dbias = grads if isinstance(grads, tuple) else (grads, None, None)
    return tensor_of(dx), None if dw is None else tensor_of(dw), None if dbias is None else tensor_of(dbias)


def _value_and_grads(ctx: Any, x: Any, w: Any, target: Any, bias: Any) -> tuple[float, tuple[Any, ...]]:
    arrays = arrays_of(x, w, target, bias)
    value, grads = ctx.loss.value_and_grad(*arrays, **ctx.how.options, wrt=_wrt(ctx))
    return value, grads_as_torch_s(_tensors(grads), _formula, (ctx.reduction,), (x, w, bias, target))


def _value(loss: LinearCrossEntropy, x: Any, w: Any, bias: Any, target: Any, how: How) -> Any:
    return value_tensor(loss(*arrays_of(x, w, target, bias), **how.options), how.dtype(x))


def _formula(x: Any, w: Any, bias: Any, target: Any, reduction: str) -> Any:
    return ORIGINAL.function(x, w, target, linear_bias=bias, reduction=reduction)


def _loss(weight: Any, *numbers: Any) -> LinearCrossEntropy:
    """Return the loss of these options, multiplying as precisely as torch is asked to now."""
    weights = array_of(weight)
    if weights is not None and weights.dtype.kind != "f":  # bfloat16
        weights = weights.astype(np.float32)
    names = ("ignore_index", "label_smoothing", "z_loss", "softcap", "chunk_bytes", "filter_eps")
    options: dict[str, Any] = dict(zip(names, numbers, strict=True))
    return LinearCrossEntropy(weights, **options, precision=torch.get_float32_matmul_precision())


# ---- the operator ---------------------------------------------------------------------------------------------------


def _all_at_once(
    x: Any, w: Any, bias: Any, target: Any, weight: Any, options: list[float], reduction: Any, wrt: Any
) -> tuple[Any, Any, Any, Any]:
    """Return the value and the gradients `wrt`, "x", "all" or "none"; empty tensors for the others."""
    ignored, smoothing, z_loss, softcap, chunk_bytes, filter_eps = options
    loss = _loss(weight, int(ignored), smoothing, z_loss, softcap or None, int(chunk_bytes), filter_eps)
    arrays = arrays_of(x, w, target, bias)
    grads: Any = None, None, None
    if wrt == "none":
        value = loss(*arrays, reduction=reduction)
    else:
        value, found = loss.value_and_grad(*arrays, reduction=reduction, wrt=wrt)
        grads = grads_as_torch_s(_tensors(found), _formula, (reduction,), (x, w, bias, target))
    return value_tensor(value, x.dtype), *(x.new_empty(0) if grad is None else grad for grad in grads)


def _fake(x: Any, w: Any, bias: Any, target: Any, weight: Any, options: Any, reduction: str, wrt: str) -> Any:
    likes = (x if wrt != "none" else None, w if wrt == "all" else None, bias if wrt == "all" else None)
    value = x.new_empty(target.shape if reduction == "none" else ())
    found: Any = tuple(None if like is None else x.new_empty(like.shape) for like in likes)
    grads = grads_as_torch_s(found, _formula, (reduction,), (x, w, bias, target))
    return value, *(x.new_empty(0) if grad is None else grad for grad in grads)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*output[1:])


def _backward(ctx: Any, upstream: Any, *_: Any) -> Any:
    refuse_second(NAME)
    wanted = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)
    return *(grad * upstream if want else None for grad, want in wanted), *(None,) * 5


operator = new_operator(
    NAME,
    _all_at_once,
    "(Tensor x, Tensor w, Tensor? bias, Tensor target, Tensor? weight, float[] options, str reduction, str wrt) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)
operator.register_fake(_fake)
operator.register_autograd(_backward, setup_context=_save)


# ---- the function ---------------------------------------------------------------------------------------------------


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
    chunk_bytes: int = 64 << 20,
    filter_eps: float = 0.0,
) -> Any:
    """Return the cross-entropy of a linear layer's outputs with labels, never holding them: `lossk.LinearCrossEntropy`.

    Tensors with one row of features a label. Probabilities as targets, several labels a row and, compiled, float16 are
    torch's own, with all logits at once unless `options` says otherwise.

    Parameters
    ----------
    input : Tensor, shape (D,) or (N, D)
        Inputs of the layer.
    linear_weight, linear_bias : Tensor, shapes (C, D) and (C,)
        The layer.
    target : Tensor of integers, shape () or (N,)
        Labels.
    weight, reduction, ignore_index, label_smoothing
        As in `cross_entropy`.
    options : LinearCrossEntropyOptions, optional
        How torch would cut its chunks; lossk cuts its own.
    z_loss, softcap, chunk_bytes, filter_eps
        lossk's own: options of `lossk.LinearCrossEntropy`, whose `precision` is
        ``torch.get_float32_matmul_precision()``.

    Raises
    ------
    ValueError
        If `z_loss`, `softcap` or `filter_eps` is given with tensors that lossk does not take.
    IndexError, RuntimeError
        As in torch.

    References
    ----------
    ``torch.nn.functional.linear_cross_entropy``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> x, w = torch.ones(2, 3), torch.zeros(4, 3, requires_grad=True)
    >>> loss = lossk.torch.linear_cross_entropy(x, w, torch.tensor([0, 1]))
    >>> loss.backward()
    >>> loss.detach(), w.grad[:, 0]
    (tensor(1.3863), tensor([-0.2500, -0.2500,  0.2500,  0.2500]))
    """
    ignored = -100 if ignore_index is None else ignore_index
    layer = (input, linear_weight, linear_bias)
    every = (ignored, label_smoothing, z_loss, softcap, chunk_bytes, filter_eps)
    why, detail = why_not(*layer, target, weight, reduction), None
    if not why:
        if torch.compiler.is_compiling():
            return _traced(layer, target, weight, every, reduction)
        try:
            return evaluate(layer, target, weight, every, How(reduction))
        except REFUSALS as error:
            if (z_loss, softcap, filter_eps) != (0.0, None, 0.0):
                raise
            why, detail = "arguments that lossk refuses", error
    stand_aside(NAME, why, detail)
    if (z_loss, softcap, filter_eps) != (0.0, None, 0.0):
        raise ValueError(
            f"{NAME}: z_loss, softcap, filter_eps: got {z_loss}, {softcap} and {filter_eps}, wanted 0.0, None and 0.0, "
            f"as the call is torch's: {why}"
        )
    return ORIGINAL(
        (*layer, target, weight),
        input,
        linear_weight,
        target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
    )


def evaluate(layer: tuple[Any, Any, Any], target: Any, weight: Any, options: tuple[Any, ...], how: How) -> Any:
    """Return the loss of tensors that kernels take."""
    loss = _loss(weight, *options)
    if torch.is_grad_enabled() and _require_grad(*layer):
        return LinearFunction.apply(*layer, target, loss, how)
    return _value(loss, *layer, target, how)


def _traced(layer: tuple[Any, Any, Any], target: Any, weight: Any, options: tuple[Any, ...], reduction: str) -> Any:
    wrt = "none"
    if torch.is_grad_enabled() and _require_grad(*layer):
        wrt = "all" if _require_grad(*layer[1:]) else "x"
    numbers = [float(option or 0) for option in options]
    return operator(*layer, target, weight, numbers, reduction, wrt)[0]


def _require_grad(*tensors: Any) -> bool:
    return any(t is not None and t.requires_grad for t in tensors)


def why_not(x: Any, w: Any, bias: Any, target: Any, weight: Any, reduction: str) -> str:
    """Return why this is torch's to compute or to refuse; "" where lossk can."""
    compiling = torch.compiler.is_compiling()
    if not compiling and (decides := torch_decides()):
        return decides
    if not all(t is None or is_plain(t) for t in (x, w, bias, target, weight)):
        return "no plain tensors on the CPU"
    if x.dtype not in FLOATS or w.dtype is not x.dtype or target.dtype not in INTEGERS:
        return "types that kernels do not know, or that differ"
    per_class = all(t is None or (t.dtype is x.dtype and t.shape == w.shape[:1]) for t in (bias, weight))
    if not (x.dim() in (1, 2) and w.dim() == 2 and w.shape[1] == x.shape[-1] and target.shape == x.shape[:-1]):
        return "shapes other than one row of features a label"
    if not per_class or x.numel() == 0 or w.numel() == 0:
        return "a bias or weights that do not go with the classes, or no numbers"
    if weight is not None and weight.requires_grad:
        return "a gradient that kernels do not have"
    if torch.is_autocast_enabled("cpu"):
        return "autocast"
    return _why_no_operator(x, w, bias, reduction) if compiling else ""


def _why_no_operator(x: Any, w: Any, bias: Any, reduction: str) -> str:
    if is_exporting():
        return "export"
    # Gradients that depend on what comes from above are no operator's.
    wanted = torch.is_grad_enabled() and _require_grad(x, w, bias)
    if wanted and (reduction == "none" or x.dtype is torch.float16):
        return "a compiled gradient that depends on what comes from above"
    return ""
