"""lossk.torch: every loss with its options, values and gradients by a function, closeness."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import lossk.torch as ours

theirs = torch.nn.functional
INSTALLED = ours.functional.__all__

# Of a gradient's or a value's error, relative to the larger of 1 and the number; half a unit in the last place for
# the rounding of 16 bits, and as much again for that of weights.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}
REDUCTIONS = ("mean", "sum", "none")


class Draw:
    """Random inputs in float64, the same for the same number."""

    def __init__(self, seed: int, *shape: int) -> None:
        self.rng = np.random.default_rng([5, seed])
        self.shape = shape

    def normal(self, *shape: int) -> Any:
        return torch.from_numpy(np.asarray(self.rng.normal(scale=2, size=shape or self.shape)))

    def uniform(self, low: float = 0.05, high: float = 0.95, shape: Any = None) -> Any:
        return torch.from_numpy(np.asarray(self.rng.uniform(low, high, size=self.shape if shape is None else shape)))

    def signs(self) -> Any:
        return self.uniform(-1, 1).sign()

    def labels(self, ignored: int | None = None) -> Any:
        rows, classes = self.shape[:1] + self.shape[2:], self.shape[1]
        labels = torch.from_numpy(self.rng.integers(0, classes, size=rows))
        if ignored is not None:
            labels.reshape(-1)[0] = ignored
        return labels

    def lists(self) -> Any:
        """Lists of labels that end at -1, of any length."""
        order = self.rng.permuted(np.broadcast_to(np.arange(self.shape[1]), self.shape[:2]), axis=1)
        order[np.arange(self.shape[1]) >= self.rng.integers(0, self.shape[1] + 1, (self.shape[0], 1))] = -1
        return torch.from_numpy(order)

    def probabilities(self) -> Any:
        return self.normal().softmax(1)


# A case: the function's name, how to draw its tensors (the first is differentiated), and its options.
Case = tuple[str, Callable[[Draw], dict[str, Any]], dict[str, Any]]


def pair(z: Callable[[Draw], Any], y: Callable[[Draw], Any], **more: Callable[[Draw], Any]) -> Callable[[Draw], Any]:
    return lambda draw: {"input": z(draw), "target": y(draw), **{k: f(draw) for k, f in more.items()}}


def cases() -> Iterator[Case]:
    normal, labels = Draw.normal, Draw.labels
    two = pair(normal, normal)
    weighted = pair(normal, normal, weight=Draw.uniform)
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        yield name, two, {}
        yield name, weighted, {}
    yield "huber_loss", weighted, {"delta": 0.5}
    for beta in (0.0, 0.5, 2.0):
        yield "smooth_l1_loss", two, {"beta": beta}
    yield "soft_margin_loss", pair(normal, Draw.signs), {}
    for margin in (1.0, 0.25):
        yield "hinge_embedding_loss", pair(normal, Draw.signs), {"margin": margin}
    counts: Callable[[Draw], Any] = lambda draw: draw.uniform(0, 5).floor()  # noqa: E731
    for log_input, full in itertools.product((True, False), repeat=2):
        yield "poisson_nll_loss", pair(Draw.uniform, counts), {"log_input": log_input, "full": full, "eps": 1e-3}
    for full, eps in ((False, 1e-6), (True, 0.5)):
        yield "gaussian_nll_loss", pair(normal, normal, var=Draw.uniform), {"full": full, "eps": eps}
    for shape in (lambda s: s, lambda s: s[1:], lambda s: (s[0], *(1,) * (len(s) - 1))):
        weights = lambda draw, shape=shape: draw.uniform(shape=shape(draw.shape))  # noqa: E731
        yield "binary_cross_entropy", pair(Draw.uniform, Draw.uniform, weight=weights), {}
        yield "binary_cross_entropy_with_logits", pair(normal, Draw.uniform, weight=weights), {}
    yield "binary_cross_entropy", pair(Draw.uniform, Draw.uniform), {}
    for shape in (lambda s: (), lambda s: (1,), lambda s: s[-1:], lambda s: s):
        weights = lambda draw, shape=shape: draw.uniform(0.5, 3, shape(draw.shape))  # noqa: E731
        yield "binary_cross_entropy_with_logits", pair(normal, Draw.uniform, pos_weight=weights), {}
    yield "binary_cross_entropy_with_logits", pair(normal, Draw.uniform), {}
    per_class: Callable[[Draw], Any] = lambda draw: draw.uniform(0.1, 2, draw.shape[1:2])  # noqa: E731
    for smoothing in (0.0, 0.2):
        options = {"label_smoothing": smoothing}
        yield "cross_entropy", pair(normal, labels), options
        yield "cross_entropy", pair(normal, lambda d: d.labels(-100), weight=per_class), options
        yield "cross_entropy", pair(normal, lambda d: d.labels(1)), {**options, "ignore_index": 1}
        yield "cross_entropy", pair(normal, Draw.probabilities), options
        yield "cross_entropy", pair(normal, Draw.probabilities, weight=per_class), options
    log_p: Callable[[Draw], Any] = lambda draw: draw.normal().log_softmax(1)  # noqa: E731
    yield "nll_loss", pair(log_p, labels), {}
    yield "nll_loss", pair(log_p, lambda d: d.labels(1), weight=per_class), {"ignore_index": 1}
    yield "kl_div", pair(log_p, Draw.probabilities), {}
    yield "kl_div", pair(log_p, log_p), {"log_target": True}
    for p, margin in ((1, 1.0), (2, 0.5)):
        yield "multi_margin_loss", pair(normal, labels), {"p": p, "margin": margin}
        yield "multi_margin_loss", pair(normal, labels, weight=per_class), {"p": p}

    # Of one or two axes, and so not among those that are tried with more.
    yield "multilabel_margin_loss", pair(normal, Draw.lists), {}
    yield "multilabel_soft_margin_loss", pair(normal, Draw.uniform), {}
    yield "multilabel_soft_margin_loss", pair(normal, Draw.uniform, weight=lambda d: d.uniform(shape=d.shape[-1:])), {}


CASES = list(cases())

each_case = pytest.mark.parametrize(
    ("name", "draw", "options"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)


def cast(tensors: dict[str, Any], dtype: Any) -> dict[str, Any]:
    return {key: t.to(dtype) if t.is_floating_point() else t for key, t in tensors.items()}


def run(function: Any, tensors: dict[str, Any], options: dict[str, Any], scale: float = 1.0) -> tuple[Any, Any]:
    """Return value and gradient, the latter for an upstream gradient that differs from sample to sample."""
    z = tensors["input"].detach().clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = function(z, **{k: t for k, t in tensors.items() if k != "input"}, **options)
    upstream = torch.ones_like(value) if value.dim() == 0 else torch.linspace(0.5, 2, value.numel()).to(value)
    value.backward(scale * upstream.reshape(value.shape))
    return value.detach(), z.grad


def _clamp_has_gradient_at_bound() -> bool:
    z = torch.zeros(1, requires_grad=True)
    z.clamp(min=0).sum().backward()
    assert z.grad is not None
    return bool(z.grad.item() == 1)


# Up to 2.13 torch's clamp passes a gradient on at its bound, as lossk does, from 2.14 on none: both are subgradients of
# the corner that hinges have there.
CORNERS_ALIKE = _clamp_has_gradient_at_bound()


def away_from(corner: Any, gradient: Any) -> Any:
    """The gradient, 0 at the corner where torch may have another one there."""
    return gradient if CORNERS_ALIKE else gradient.masked_fill(corner, 0)


def close(got: Any, want: Any, dtype: Any, what: str) -> None:
    assert got.dtype == dtype, what
    assert got.shape == want.shape, what
    wide = got.double()
    largest = max(1.0, float(want.abs().max())) if want.numel() else 1.0
    torch.testing.assert_close(
        wide, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * largest, equal_nan=True, msg=what
    )


def tensor(a: Any) -> Any:
    """A copy of an array."""
    return torch.from_numpy(np.ascontiguousarray(a).copy())


def installed_functions() -> dict[str, Any]:
    """What torch.nn.functional has by the names that lossk replaces."""
    return {name: getattr(theirs, name) for name in INSTALLED}
