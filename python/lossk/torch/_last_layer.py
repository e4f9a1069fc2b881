"""The last layer of a causal language model of transformers: its loss from hidden states, logits only when read.

While a model's ``forward`` runs with labels, its last layer gives `Logits`, a tensor without memory. transformers' loss
takes from it what the logits would be made of; whatever else is done with it is done with the logits themselves.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
import types
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from ._explain import stand_aside
from ._linear import NAME, How, evaluate, why_not
from ._tensors import FLOATS, REFUSALS, is_plain, torch_decides

MODELS = "transformers.modeling_utils"
OPT_OUT = "install(last_layer=False) has logits computed at once"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_plain = torch._C.DisableTorchFunctionSubclass


def _of_tensor(*names: str) -> set[Any]:
    return {getattr(torch.Tensor, name) for name in names}


# What tells of a tensor without its numbers: methods, and attributes.
_LOOKS = _of_tensor("size", "dim", "ndimension", "numel", "nelement", "element_size", "is_floating_point", "is_complex")
_LOOKS |= _of_tensor("get_device", "__len__", "__hash__") | {torch.is_floating_point, torch.is_complex, torch.numel}
_ATTRIBUTES = "shape ndim dtype device layout is_cpu is_cuda is_mps is_meta is_sparse is_quantized is_nested is_leaf"
_LOOKS |= {getattr(torch.Tensor, name).__get__ for name in (*_ATTRIBUTES.split(), "requires_grad", "grad_fn")}
_TIMES, _BY = _of_tensor("mul", "__mul__", "__rmul__") | {torch.mul}, _of_tensor("div", "__truediv__") | {torch.div}
_TANH, _FLOAT, _SAME = _of_tensor("tanh") | {torch.tanh}, _of_tensor("float"), _of_tensor("contiguous")
_OF_GRADIENTS = _of_tensor("retain_grad", "register_hook")


@dataclass
class Source:
    """What logits are made of: the layer, then `steps`, functions with further arguments.

    For the loss, steps are the layer's outputs times `scale`, then ``softcap * tanh(z / softcap)``.
    """

    hidden: Any
    weight: Any
    bias: Any
    dtype: Any
    grad: bool
    versions: tuple[Any, ...]
    steps: tuple[tuple[Any, tuple[Any, ...]], ...] = ()
    scale: float = 1.0
    softcap: float | None = None
    found: Any = None
    had_loss: bool = False

    def read(self) -> Any:
        """Return the logits, in the graph that they would have been in."""
        if self.found is None:
            with torch.inference_mode(self.hidden.is_inference()), torch.set_grad_enabled(self.grad):
                self.found = self.computed(self.hidden, self.weight, self.bias)
        return self.found

    def numbers(self) -> Any:
        """Return the logits below the graph, where none of their operations would be in it."""
        if self.found is None and self.grad:
            return self.computed(self.hidden, self.weight, self.bias)
        return self.read().detach()

    def computed(self, *layer: Any) -> Any:
        """Return the logits of hidden states, weight and bias: those of the source, or views of them."""
        if self.versions != _versions(self.hidden, self.weight, self.bias):
            raise RuntimeError(
                "lossk.torch: logits: got a first look at them after the last layer's weights or inputs have changed, "
                f"wanted one before the optimizer's step; {OPT_OUT}"
            )
        with _no_autocast():
            found = torch.nn.functional.linear(*self.typed(*layer))
            for function, arguments in self.steps:
                found = function(found, *arguments)
        return found

    def typed(self, *layer: Any) -> list[Any]:
        """Return tensors in the type that the layer computes in, which autocast may have chosen."""
        return [t if t is None else t.to(self.dtype) for t in layer]

    def after(self, function: Any, arguments: tuple[Any, ...]) -> Source | None:
        """Return what a function of the logits is made of; None where the loss does not know the function."""
        if self.found is not None or not all(type(a) in (int, float) for a in arguments):
            return None
        changed: dict[str, Any] = {}
        if function in _TANH and self.softcap is None:
            changed = {"softcap": 1.0}
        elif (function in _TIMES or function in _BY) and len(arguments) == 1:
            number = arguments[0]
            if number <= 0:
                return None
            factor = 1 / number if function in _BY else float(number)
            changed = {"scale": self.scale * factor, "softcap": self.softcap and self.softcap * factor}
        elif function not in _FLOAT:
            return None
        grad = self.grad and torch.is_grad_enabled()
        return replace(self, steps=(*self.steps, (function, arguments)), grad=grad, **changed)

    def loss(self, target: Any, ignore_index: int, how: How) -> Any:
        """Return the loss of labels, one a row, from the hidden states; None where it takes the logits."""
        if self.found is not None:
            return None
        with _no_autocast():
            x, w, bias = self.typed(self.hidden, self.weight, self.bias)
            x = x.reshape(-1, x.shape[-1])
            # A cap is a multiplication by its inverse and by itself, which may leave a trace of rounding.
            if abs(self.scale - 1) > 1e-12:
                x, bias = x * self.scale, None if bias is None else bias * self.scale
            layer, detail = (x, w, bias), None
            why = why_not(*layer, target, None, how.reduction)
            if not why:
                try:
                    value = evaluate(layer, target, None, (ignore_index, 0.0, 0.0, self.softcap, 64 << 20, 0.0), how)
                    self.had_loss = True
                    return value
                except REFUSALS as error:
                    why, detail = "arguments that lossk refuses", error
        stand_aside(NAME, why, detail)
        return None


def _versions(*tensors: Any) -> tuple[Any, ...]:
    return tuple(None if t is None or t.is_inference() else t._version for t in tensors)


def _no_autocast() -> Any:
    return torch.autocast("cpu", enabled=False)


class Logits(torch.Tensor):
    """Logits that are computed when something reads them."""

    source: Source

    @staticmethod
    def of(source: Source, dtype: Any) -> Any:
        """Return logits of a source."""
        if source.grad:
            logits = _Later.apply(source.hidden, source.weight, source.bias, source, dtype)
        else:
            logits = _without_memory(source, dtype)
        logits.source = source
        return logits

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch: on the logits, unless it only looks at their form, or the loss knows it."""
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func in _LOOKS:
            with _plain():
                return func(*args, **kwargs)
        if type(first) is Logits and not kwargs:
            with _plain():
                dtype = first.dtype
            if (func in _SAME and len(args) == 1) or (func in _FLOAT and dtype is torch.float32):
                return first if first.source.found is None else func(first.source.found)
            source = first.source.after(func, args[1:])
            if source is not None:
                return Logits.of(source, torch.float32 if func in _FLOAT else dtype)
            if func in _OF_GRADIENTS and first.source.had_loss:
                raise RuntimeError(
                    f"lossk.torch: logits: got {func.__name__}, wanted no gradient with respect to logits, which the "
                    f"loss does not go through; {OPT_OUT}"
                )
        args, kwargs = tree_map_only(Logits, lambda t: t.source.read(), (args, kwargs))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operator on the logits, for those who come to it past ``__torch_function__``."""
        args, kwargs = tree_map_only(Logits, lambda t: t.source.numbers(), (args, kwargs or {}))
        return func(*args, **kwargs)


def _without_memory(source: Source, dtype: Any) -> Any:
    shape = (*source.hidden.shape[:-1], len(source.weight))
    return torch.Tensor._make_wrapper_subclass(Logits, shape, dtype=dtype, device=source.hidden.device)


class _Later(torch.autograd.Function):
    """Logits in the graph, for functions of C++ that take the tensor as it is."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, source: Source, dtype: Any) -> Any:
        """Return logits."""
        ctx.source = source
        return _without_memory(source, dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the layer's gradients."""
        source, wanted, again = ctx.source, ctx.needs_input_grad[:3], torch.is_grad_enabled()
        with torch.enable_grad():  # of views, so that no path from one to another is on the way
            views = [t if t is None else t.view_as(t) for t in (source.hidden, source.weight, source.bias)]
            logits = source.computed(*views)
        asked = [t for t, want in zip(views, wanted, strict=True) if want]
        grads = iter(torch.autograd.grad(logits, asked, upstream, create_graph=again))
        return *(next(grads) if want else None for want in wanted), None, None


# ---- where a model asks for them ------------------------------------------------------------------------------------


class Postponed:
    """The ``forward`` of a layer that gives `Logits` to the thread that is in the ``with`` block."""

    def __init__(self, head: Any) -> None:
        self.head, self.thread = head, threading.get_ident()

    def __enter__(self) -> None:
        self.head.__dict__["forward"] = self

    def __exit__(self, *_: object) -> None:
        self.head.__dict__.pop("forward", None)

    def __call__(self, hidden: Any) -> Any:
        source = _source(self.head, hidden) if threading.get_ident() == self.thread else None
        return torch.nn.Linear.forward(self.head, hidden) if source is None else Logits.of(source, source.dtype)


def _source(head: Any, hidden: Any) -> Source | None:
    weight, bias = head.weight, head.bias
    tensors = [t for t in (hidden, weight, bias) if t is not None]
    if torch_decides() or not all(is_plain(t) and t.dtype in FLOATS for t in tensors) or hidden.dim() < 2:
        return None
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    else:
        dtype = hidden.dtype
        if any(t.dtype is not dtype for t in tensors):
            return None
    if dtype not in FLOATS or hidden.shape[-1] != weight.shape[1] or not (hidden.numel() and weight.numel()):
        return None
    grad = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return Source(hidden, weight, bias, dtype, grad, _versions(hidden, weight, bias))


def _has_hooks(layer: Any) -> bool:
    """Tell whether a call of the layer is more than its forward."""
    of_all = vars(torch.nn.modules.module)
    return any((layer._compiled_call_impl, *(getattr(layer, name) or of_all["_global" + name] for name in _HOOKS)))


def _head(model: Any, loss: Any) -> Any:
    """Return the model's last layer where it is a linear one that nobody listens to; else None."""
    if getattr(model, "loss_function", None) is not loss:
        return None
    head = None
    with contextlib.suppress(AttributeError, NotImplementedError):
        head = model.get_output_embeddings()
    if head is None or isinstance(getattr(head, "forward", None), Postponed):  # by a caller, or another thread
        return None
    if type(head) is not torch.nn.Linear or type(head.weight) is not torch.nn.Parameter:
        why = "a last layer that is not torch.nn.Linear itself"
    elif hasattr(model, "_get_fsdp_state"):  # which hooks itself into the gradients of outputs
        why = "FSDP"
    elif _has_hooks(head):
        why = "a last layer with hooks, or compiled by itself"
    elif "forward" in vars(head):
        why = "a last layer whose forward was replaced"
    else:
        return head
    stand_aside("last_layer", why)
    return None


class Models:
    """The classes of transformers' models, whose ``forward`` postpones logits for the loss while this is on."""

    def __init__(self, loss: Any) -> None:
        self.loss, self.on = loss, False
        # What was replaced: class and name; what was there, what is there now.
        self._replaced: dict[tuple[Any, str], tuple[Any, Any]] = {}

    def update(self, wanted: bool) -> None:
        """Replace the methods of all classes, and of those that will be defined; or put everything back."""
        self.on = wanted
        while self._replaced and not wanted:
            (place, name), (before, now) = self._replaced.popitem()
            if vars(place).get(name) is now:  # else someone else has replaced it since
                setattr(place, name, before)
        base = getattr(sys.modules.get(MODELS), "PreTrainedModel", None)
        if wanted and base is not None:
            self._replace_all(base)

    def _replace_all(self, base: Any) -> None:
        before = vars(base).get("__init_subclass__")
        if isinstance(before, classmethod) and (base, "__init_subclass__") not in self._replaced:

            @functools.wraps(before.__func__)
            def and_methods(cls: Any, **options: Any) -> None:
                before.__func__(cls, **options)
                if self.on:
                    self._replace(cls)

            now: Any = and_methods
            self._put(base, "__init_subclass__", before, classmethod(now))
        classes = [base]
        for cls in classes:
            classes += cls.__subclasses__()
        for cls in dict.fromkeys(classes):
            self._replace(cls)

    def _replace(self, cls: Any) -> None:
        forward = vars(cls).get("forward")
        if not isinstance(forward, types.FunctionType) or (cls, "forward") in self._replaced:
            return
        if "labels" not in inspect.signature(forward).parameters:
            return

        @functools.wraps(forward)
        def with_logits_postponed(model: Any, *args: Any, **kwargs: Any) -> Any:
            # A compiled model returns its logits, and so computes them.
            if torch.compiler.is_compiling() or not self.on or kwargs.get("labels") is None:
                return forward(model, *args, **kwargs)
            head = _head(model, self.loss)
            if head is None:
                return forward(model, *args, **kwargs)
            with Postponed(head):
                return forward(model, *args, **kwargs)

        self._put(cls, "forward", forward, with_logits_postponed)

    def _put(self, place: Any, name: str, before: Any, now: Any) -> None:
        setattr(place, name, now)
        self._replaced[place, name] = before, now
