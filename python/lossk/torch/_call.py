"""A call of a loss: what kernels compute of it, and the same by torch's operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .._arrays import Array
from .._request import GRAD, GRAD_AND_HESS, VALUE, VALUE_AND_GRAD
from ._exchange import array_of, arrays_of
from ._layout import Order, are_contiguous, grads_as_torch_s, result_as_torch_s, torch_orders
from ._losses import Arrays, TorchLoss
from ._tensors import HALVES, tensor_of, value_tensor


class Call(NamedTuple):
    """A loss with its options.

    `wide` gives a float32 loss of 16 bits, `normalizer` divides a sum.
    """

    loss: TorchLoss
    options: tuple[Any, ...]
    reduction: str
    wide: bool = False
    normalizer: float | None = None

    def by_torch(self, z: Any, y: Any, x: Any, w: Any) -> Any:
        """Return the loss from torch's own function, with its warnings and errors."""
        value = self.loss.by_torch(*self._widened(z, y, x, w), self.options, self.reduction)
        return value if self.normalizer is None else value / self.normalizer

    def formula(self, z: Any, y: Any, x: Any, w: Any) -> Any:
        """Return the loss of tensors that lossk takes from operations of torch, which can be differentiated."""
        value = self.loss.formula(*self._widened(z, y, x, w), self.options, self.reduction)
        return value if self.normalizer is None else value / self.normalizer

    def _widened(self, z: Any, y: Any, x: Any, w: Any) -> tuple[Any, Any, Any, Any]:
        if not self.wide:
            return z, y, x, w
        z, y, x, w = (t.float() if t is not None and t.dtype in HALVES else t for t in (z, y, x, w))
        return z, y, x, w

    def value(self, z: Any, y: Any, x: Any, w: Any) -> Any:
        """Return the loss."""
        value = self._tensor(self._run(VALUE, arrays_of(z, y, x, w)), z)
        if self.reduction != "none" or are_contiguous(z, y, x, w):
            return value
        return self.value_as_torch_s(value, z, y, x, w)

    def value_and_grad(self, z: Any, y: Any, x: Any, w: Any) -> tuple[Any, Any]:
        """Return the loss, reduced to a number, and its gradient from the same pass."""
        value, grad = self._run(VALUE_AND_GRAD, arrays_of(z, y, x, w))
        return self._tensor(value, z), self.grads_as_torch_s((tensor_of(grad),), z, y, x, w)[0]

    def overwrite(self, z: Any, y: Any, x: Any, w: Any) -> Any:
        """Return the loss, reduced to a number, and leave its gradient in `z`."""
        arrays = arrays_of(z, y, x, w)
        return self._tensor(self._run(VALUE_AND_GRAD, arrays, arrays[0])[0], z)

    def grads(self, z: Any, y: Any, x: Any, w: Any, upstream: Any, of_third: bool) -> tuple[Any, ...]:
        """Return the gradients with respect to `z` and, if wanted, the third input, times what comes from above."""
        arrays, verb = arrays_of(z, y, x, w), GRAD_AND_HESS if of_third else GRAD
        if self.reduction == "none":
            found = self._run(verb, arrays, cotangent=array_of(upstream))
        else:
            found = self._scaled(verb, arrays, upstream.item())
        grads = [tensor_of(grad) for grad in (found if of_third else (found,))]
        return self.grads_as_torch_s(grads, z, y, x, w, upstream if self.reduction == "none" else None)

    def value_as_torch_s(self, value: Any, *tensors: Any) -> Any:
        """Return losses of samples with torch's strides."""
        return result_as_torch_s(value, *self._formula, tensors)

    def grads_as_torch_s(
        self, grads: Sequence[Any], z: Any, y: Any, x: Any, w: Any, upstream: Any = None
    ) -> tuple[Any, ...]:
        """Return gradients with respect to `z` and, if there is a second, to `x`, with torch's strides."""
        if are_contiguous(z, y, x, w, upstream):
            return tuple([grad.contiguous() for grad in grads])
        of_inputs = [grads[0], None, *grads[1:]]
        return grads_as_torch_s(of_inputs, *self._formula, (z, y, x, w), upstream)[::2]

    def target_order(self, z: Any, y: Any, x: Any, w: Any, upstream: Any = None) -> Order | None:
        """Return the order of axes of the gradient with respect to the target of an even loss."""
        above = upstream if self.reduction == "none" else None
        if not self.loss.even or are_contiguous(z, y, x, w, above):
            return None
        return torch_orders(*self._formula, (z, y, x, w), (True, True), above)[2]

    @property
    def _formula(self) -> tuple[Any, tuple[Any, ...]]:
        """Return a function of the inputs, and its further arguments, for those who ask for torch's strides."""
        return _formula, (self.loss, self.options, self.reduction)

    def _scaled(self, verb: int, arrays: Arrays, factor: float) -> Any:
        """Return gradients times a factor, scaled before they are rounded: it may be there to keep those of 16 bits."""
        divisor, size = self.normalizer, abs(factor)
        if divisor is None:
            divisor = self.loss.divisor(arrays, self.options, self.reduction)
        if size > 0 and 0 < divisor / size < np.inf:
            found, factor = self._replace(normalizer=divisor / size)._run(verb, arrays), np.sign(factor)
        else:
            found = self._run(verb, arrays)
        if factor != 1:
            for grad in found if isinstance(found, tuple) else (found,):
                tensor_of(grad).mul_(float(factor))
        return found

    def _run(self, verb: int, arrays: Arrays, out: Array | None = None, cotangent: Array | None = None) -> Any:
        z, y, x, w = arrays
        reduction = self.reduction if self.normalizer is None else "mean"
        return self.loss.run((verb, z, y, x, w, reduction, self.normalizer, None, out), self.options, cotangent)

    def _tensor(self, value: Any, z: Any) -> Any:
        return value_tensor(value, torch.float32 if self.wide else z.dtype)


def _formula(z: Any, y: Any, x: Any, w: Any, loss: TorchLoss, options: tuple[Any, ...], reduction: str) -> Any:
    return loss.formula(z, y, x, w, options, reduction)
