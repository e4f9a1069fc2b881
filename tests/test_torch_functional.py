"""lossk.torch: every argument as in torch, gradients of all orders, operators, memory, and what falls through."""

from __future__ import annotations

import doctest
import gc
import importlib
import inspect
import itertools
import pickle
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: lossk.torch was not tested")
pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed: lossk.torch was not tested in bfloat16")

import lossk.torch as ours  # noqa: E402

theirs = torch.nn.functional

# Of a gradient's or a value's error, relative to the larger of 1 and the number; half a unit in the last place for
# the rounding of 16 bits, and as much again for that of weights.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}
REDUCTIONS = ("mean", "sum", "none")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(5)


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


def close(got: Any, want: Any, dtype: Any, what: str) -> None:
    assert got.dtype == dtype, what
    assert got.shape == want.shape, what
    wide = got.double()
    largest = max(1.0, float(want.abs().max())) if want.numel() else 1.0
    torch.testing.assert_close(
        wide, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * largest, equal_nan=True, msg=what
    )


@each_case
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_values_and_gradients(name: str, draw: Any, options: dict[str, Any], dtype: Any) -> None:
    """Against torch in float64, on the same rounded numbers."""
    shapes = [(7, 5), (40, 70)] if name == "multi_margin_loss" else [(7, 5), (2, 3, 4, 2), (40, 70)]
    reductions = (*REDUCTIONS, "batchmean") if name == "kl_div" else REDUCTIONS
    for i, (shape, reduction) in enumerate(itertools.product(shapes, reductions)):
        if len(shape) > 2 and name == "binary_cross_entropy_with_logits":
            continue  # its weights are along the last axis
        tensors = cast(draw(Draw(i, *shape)), dtype)
        value, grad = run(getattr(ours, name), tensors, {**options, "reduction": reduction})
        want, want_grad = run(getattr(theirs, name), cast(tensors, torch.float64), {**options, "reduction": reduction})
        close(value, want, dtype, f"value {shape} {reduction}")
        close(grad, want_grad, dtype, f"gradient {shape} {reduction}")


def test_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases above reach lossk, not torch, wherever lossk has the loss."""
    from lossk.torch._losses import LOSSES

    for loss in LOSSES.values():
        monkeypatch.setattr(loss, "original", lambda *_, **__: pytest.fail("torch's function ran"))
    for name, draw, options in CASES:
        for reduction in ("mean", "sum") if name == "kl_div" else REDUCTIONS:
            run(getattr(ours, name), draw(Draw(0, 7, 5)), {**options, "reduction": reduction})


@pytest.mark.parametrize("name", [n for n in ours.functional.__all__ if hasattr(theirs, n)])
def test_signatures(name: str) -> None:
    """torch's parameters, in its order and with its defaults; lossk's own come after, by keyword."""
    mine = list(inspect.signature(getattr(ours, name)).parameters.values())
    for got, want in zip(mine, inspect.signature(getattr(theirs, name)).parameters.values(), strict=False):
        assert (got.name, got.default, got.kind) == (want.name, want.default, want.kind)
    extra = mine[len(inspect.signature(getattr(theirs, name)).parameters) :]
    assert all(p.kind is p.KEYWORD_ONLY for p in extra)


def test_unbatched_and_legacy_arguments() -> None:
    z, t = torch.randn(5, dtype=torch.double), torch.tensor(2)
    for name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        for reduction in REDUCTIONS:
            got, want = (
                run(getattr(f, name), {"input": z, "target": t}, {"reduction": reduction}) for f in (ours, theirs)
            )
            close(got[0], want[0], torch.float64, name)
            close(got[1], want[1], torch.float64, name)
    y = torch.rand(5, dtype=torch.double)
    for size_average, reduce in itertools.product((None, True, False), repeat=2):
        options = {"size_average": size_average, "reduce": reduce}
        for name in ("mse_loss", "soft_margin_loss", "kl_div", "binary_cross_entropy_with_logits"):
            got, want = (run(getattr(f, name), {"input": z, "target": y}, options) for f in (ours, theirs))
            close(got[0], want[0], torch.float64, name)


@pytest.mark.parametrize("integer", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_labels_of_every_integer_type(integer: Any) -> None:
    z, t = torch.randn(6, 4, dtype=torch.double), torch.tensor([0, 1, 2, 3, 0, 1])
    assert ours.cross_entropy(z, t.to(integer)) == ours.cross_entropy(z, t)
    assert ours.nll_loss(z, t.to(integer)) == ours.nll_loss(z, t)


# ---- layouts ------------------------------------------------------------------------------------------------------


def layouts(z: Any) -> Iterator[tuple[str, Any]]:
    yield "transposed", z.t().contiguous().t()
    yield "every other", torch.stack((z, z), -1)[..., 0]
    yield "expanded", z[:1].expand(z.shape)
    yield "one column", z[:, :1].expand(z.shape)
    yield "empty", z[:0]
    yield "offset", torch.cat((z[:1], z))[1:]


OF_TWO = (
    *("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "soft_margin_loss", "hinge_embedding_loss"),
    *("poisson_nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "cross_entropy"),
)


@pytest.mark.parametrize("name", [*OF_TWO, "nll_loss", "multi_margin_loss", "gaussian_nll_loss"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_layouts(name: str, reduction: str) -> None:
    """Of the prediction, and of the target too where it is like it."""
    base = torch.rand(6, 4, dtype=torch.double)
    for what, z in layouts(base):
        if (name, reduction, what) == ("multi_margin_loss", "mean", "empty"):
            continue  # torch's value is whatever was in its memory
        y = torch.rand(6, 4, dtype=torch.double)
        others = [dict(layouts(y))[what] if what in ("transposed", "every other", "empty") else y[: len(z)]]
        if name in ("nll_loss", "multi_margin_loss"):
            others = [torch.arange(12).remainder(4)[::2][: len(z)]]
        elif name == "gaussian_nll_loss":
            others.append(torch.rand(1, 4, dtype=torch.double).expand(z.shape))
        grads = []
        for f in (ours, theirs):
            leaf = z.detach().requires_grad_()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = getattr(f, name)(leaf, *others, reduction=reduction)
            (value.sum()).backward()
            grads.append((value.detach(), leaf.grad))
        close(grads[0][0], grads[1][0], torch.float64, what)
        close(grads[0][1], grads[1][1], torch.float64, what)


def test_classes_on_axis_1_and_channels_last() -> None:
    z, t = torch.randn(2, 5, 3, 4, dtype=torch.double), torch.randint(0, 5, (2, 3, 4))
    for layout in (torch.contiguous_format, torch.channels_last):
        for reduction in REDUCTIONS:
            tensors = {"input": z.contiguous(memory_format=layout), "target": t}
            got, want = (run(f.cross_entropy, tensors, {"reduction": reduction}) for f in (ours, theirs))
            close(got[0], want[0], torch.float64, reduction)
            close(got[1], want[1], torch.float64, reduction)


def test_zero_copy() -> None:
    """Results are the kernel's memory, inputs are the tensor's."""
    from lossk._arrays import array_of
    from lossk.torch._tensors import tensor_of

    for dtype in TOLERANCE:
        z = torch.randn(4, 3).to(dtype).requires_grad_()
        array = array_of(z)
        assert array.ctypes.data == z.data_ptr()
        back = tensor_of(array)
        assert (back.data_ptr(), back.dtype) == (z.data_ptr(), dtype)


# ---- gradients ----------------------------------------------------------------------------------------------------


@each_case
def test_gradcheck(name: str, draw: Any, options: dict[str, Any]) -> None:
    tensors = draw(Draw(3, 4, 3))
    z = tensors.pop("input").requires_grad_()
    reductions = ("batchmean", "sum") if name == "kl_div" else ("mean", "none")
    for reduction in reductions:
        function = lambda z, r=reduction: getattr(ours, name)(z, **tensors, **options, reduction=r)  # noqa: E731
        assert torch.autograd.gradcheck(function, z)
        if name not in ("l1_loss", "huber_loss", "smooth_l1_loss", "hinge_embedding_loss", "multi_margin_loss"):
            assert torch.autograd.gradgradcheck(function, z)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "gaussian_nll_loss"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_targets_and_variances_that_require_grad(name: str, reduction: str) -> None:
    draw = Draw(11, 5, 3)
    tensors = [draw.normal(), draw.normal()] + ([draw.uniform()] if name == "gaussian_nll_loss" else [])
    for wanted in itertools.product((False, True), repeat=len(tensors)):
        if not any(wanted):
            continue
        found = []
        for f in (ours, theirs):
            leaves = [t.clone().requires_grad_(w) for t, w in zip(tensors, wanted, strict=True)]
            getattr(f, name)(*leaves, reduction=reduction).sum().mul(3).backward()
            found.append([leaf.grad for leaf in leaves])
        for got, want in zip(*found, strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                close(got, want, torch.float64, f"{name} {wanted}")


def test_gradients_that_lossk_does_not_have_are_torch_s() -> None:
    draw = Draw(12, 5, 3)
    z, p, w = draw.normal(), draw.probabilities(), draw.uniform()
    for function, inputs in (
        (lambda f, z, p: f.cross_entropy(z, p), (z, p)),
        (lambda f, z, p: f.kl_div(z, p, reduction="sum"), (z, p)),
        (lambda f, z, w: f.mse_loss(z, p, weight=w), (z, w)),
    ):
        found = []
        for f in (ours, theirs):
            leaves = [t.clone().requires_grad_() for t in inputs]
            function(f, *leaves).backward()
            found.append([leaf.grad for leaf in leaves])
        for got, want in zip(*found, strict=True):
            close(got, want, torch.float64, "gradient")


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.125, 1024.0, -3.0, 0.0])
def test_upstream_gradients(dtype: Any, scale: float) -> None:
    draw = Draw(13, 6, 50)
    for name, target in (("cross_entropy", draw.labels(-100)), ("mse_loss", draw.normal())):
        tensors = cast({"input": draw.normal(), "target": target}, dtype)
        _, grad = run(getattr(ours, name), tensors, {}, scale)
        _, want = run(getattr(theirs, name), cast(tensors, torch.float64), {}, scale)
        close(grad, want, dtype, name)


def test_loss_scaling_keeps_small_gradients_of_float16() -> None:
    z, t = torch.zeros(64, 2000, dtype=torch.float16, requires_grad=True), torch.zeros(64, dtype=torch.long)
    (ours.cross_entropy(z, t) * 4096).backward()
    assert z.grad[0, 1].item() == pytest.approx(4096 / 64 / 2000, rel=1e-3)


def test_backward_twice_and_accumulation() -> None:
    z, y = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    loss = ours.mse_loss(z, y)
    loss.backward(retain_graph=True)
    first = z.grad
    kept = first.clone()
    (again,) = torch.autograd.grad(loss, z, retain_graph=True)
    assert torch.equal(again, kept)
    assert torch.equal(first, kept), "a gradient that was handed out changed"
    (2 * loss).backward()
    torch.testing.assert_close(z.grad, 3 * kept)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@pytest.mark.parametrize("weight", [None, torch.ones(50)], ids=["common", "weighted"])
def test_the_gradient_is_handed_over(weight: Any) -> None:
    """AccumulateGrad takes the tensor that the forward pass made, without a copy."""
    z, t = torch.randn(9, 50, requires_grad=True), torch.arange(9)
    loss = ours.cross_entropy(z, t, weight)
    (kept,) = loss.grad_fn.kept
    address = kept.data_ptr()
    del kept
    loss.backward()
    assert z.grad.data_ptr() == address


def test_negated_views() -> None:
    """Tensors that stand for the negative of what their memory holds."""
    z, y = torch._neg_view(torch.randn(6, 4)), torch._neg_view(torch.rand(6, 4))
    for name in ("mse_loss", "cross_entropy", "huber_loss"):
        for target in (y, y.resolve_neg()):
            got, want = (run(getattr(f, name), {"input": z, "target": target}, {}) for f in (ours, theirs))
            torch.testing.assert_close(got, want)
    leaf = z.detach().requires_grad_()
    ours.mse_loss(leaf, y).backward(torch._neg_view(torch.tensor(1.0)))
    torch.testing.assert_close(leaf.grad, -2 / 24 * (z - y))


def test_a_graph_that_is_let_go_is_freed() -> None:
    """No cycle keeps value and gradient until a collection."""
    gc.collect()
    gc.disable()
    try:
        loss = ours.huber_loss(torch.zeros(9, requires_grad=True), torch.ones(9))
        kept = weakref.ref(loss.grad_fn.kept[0])
        del loss
        assert kept() is None
    finally:
        gc.enable()


def test_changed_inputs_are_noticed() -> None:
    z, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    loss = ours.mse_loss(z * 1, y, reduction="none").sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_batches_of_upstream_gradients() -> None:
    z, t = torch.randn(4, 3, dtype=torch.double, requires_grad=True), torch.tensor([0, 1, 2, 0])
    for reduction in ("mean", "none"):
        found = []
        for f in (ours, theirs):
            value = f.cross_entropy(z, t, reduction=reduction)
            upstream = torch.arange(2.0 * value.numel(), dtype=torch.double).reshape(2, *value.shape)
            found += torch.autograd.grad(value, z, upstream, is_grads_batched=True)
        torch.testing.assert_close(*found)


# ---- in place -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_inplace(dtype: Any, scale: float) -> None:
    z, t = torch.randn(6, 40).to(dtype).requires_grad_(), torch.arange(6)
    (scale * ours.cross_entropy(z * 1, t)).backward()
    want, z.grad = z.grad, None
    logits = z * 1
    loss = ours.cross_entropy(logits, t, inplace=True)
    (scale * loss).backward(retain_graph=True)
    assert torch.equal(z.grad, want)
    assert torch.equal(logits, want), "the gradient is where the logits were"
    with pytest.raises(RuntimeError, match="inplace=True"):
        loss.backward()


def test_inplace_is_noticed() -> None:
    z, t = torch.randn(6, 40, requires_grad=True), torch.arange(6)
    with pytest.raises(RuntimeError, match="leaf"):
        ours.cross_entropy(z, t, inplace=True)
    logits = z.tanh()  # whose backward pass needs its result
    loss = ours.cross_entropy(logits, t, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.no_grad():
        logits = z * 1
        ours.cross_entropy(logits, t, inplace=True)
    assert torch.equal(logits, z)
    with pytest.raises(IndexError):
        ours.cross_entropy(z * 1, t + 100, inplace=True)


# ---- what is torch's own ------------------------------------------------------------------------------------------


def test_errors_are_torch_s() -> None:
    z, t, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), torch.rand(4, 3)
    for name, arguments, options in (
        ("cross_entropy", (z, t + 1), {}),
        ("cross_entropy", (z, t[:3]), {}),
        ("cross_entropy", (z, t), {"label_smoothing": 1.5}),
        ("cross_entropy", (z, t), {"reduction": "average"}),
        ("cross_entropy", (z, t), {"weight": torch.ones(4)}),
        ("cross_entropy", (z, t.float()), {}),
        ("cross_entropy", (z, y), {"ignore_index": 1}),
        ("nll_loss", (z, t - 1), {}),
        ("multi_margin_loss", (z, t), {"p": 3}),
        ("multi_margin_loss", (z, t + 1), {}),
        ("binary_cross_entropy", (z, y), {}),
        ("binary_cross_entropy", (y, 2 * y + 1), {}),
        ("binary_cross_entropy", (y, y[:2]), {}),
        ("binary_cross_entropy_with_logits", (z, y[:2]), {}),
        ("huber_loss", (z, y), {"delta": -1.0}),
        ("huber_loss", (z, y), {"weight": torch.ones(4)}),
        ("smooth_l1_loss", (z, y), {"beta": -1.0}),
        ("gaussian_nll_loss", (z, y, -y), {}),
        ("gaussian_nll_loss", (z, y, y[:, :2]), {}),
        ("gaussian_nll_loss", (z, y, -1.0), {}),
        ("mse_loss", (z, torch.rand(5)), {}),
        ("softmax", (z, 2), {}),
        ("softmax", (z, True), {}),
        ("log_softmax", (z, 1), {"dtype": "cpu"}),
        ("nll_loss", (z, t), {"ignore_index": None}),
        ("cross_entropy", (z, t), {"ignore_index": None}),
        ("cross_entropy", (z, t), {"ignore_index": 1.0}),
        ("linear_cross_entropy", (z, torch.ones(5, 4), t), {}),
        ("linear_cross_entropy", (z, torch.ones(2, 3), t), {}),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)) as want:
                pytest.fail(f"{name} took {getattr(theirs, name)(*arguments, **options)}")
            with pytest.raises(type(want.value)):
                getattr(ours, name)(*arguments, **options)


def outcome(function: Any, tensors: dict[str, Any], options: dict[str, Any]) -> Any:
    """Return value and gradient, or the class of the error."""
    try:
        return run(function, tensors, options)
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        return type(error)


def odd_cases() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name in ("mse_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy", "poisson_nll_loss", "kl_div"):
        for shape in ((), (0,), (1,), (3, 0), (0, 3), (2, 3), (1, 1, 1)):
            for reduction in (*REDUCTIONS, "average"):
                yield name, {"input": torch.rand(shape), "target": torch.rand(shape)}, {"reduction": reduction}
        for target in (torch.rand(2, 3).double(), torch.randint(0, 2, (2, 3)), torch.rand(3)):
            yield name, {"input": torch.rand(2, 3), "target": target}, {}
    for name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        for shape, labels in (
            *(((3,), ()), ((2, 3), (2,)), ((2, 3, 0), (2, 0)), ((2, 3, 4), (2, 4)), ((0,), ()), ((2, 0), (2,))),
            *(((2, 1), (2,)), ((2, 3), (2, 1)), ((2, 3), ()), ((3,), (1,)), ((), ())),
        ):
            for reduction, label in itertools.product(REDUCTIONS, (0, 5, -100)):
                tensors = {"input": torch.randn(shape), "target": torch.full(labels, label)}
                if not (label == -100 and reduction == "mean"):  # lossk's gradient is 0 where torch's is NaN
                    yield name, tensors, {"reduction": reduction}
                weight = torch.zeros(shape[0] if len(shape) == 1 else (*shape, 1, 1)[1])
                if reduction != "mean":
                    yield name, {**tensors, "weight": weight}, {"reduction": reduction}
    for shape in ((3,), (2, 3), (0, 3), (2, 3, 4), (2, 0), ()):
        for reduction, options in itertools.product(REDUCTIONS, ({}, {"label_smoothing": 0.1}, {"ignore_index": 1})):
            tensors = {"input": torch.randn(shape), "target": torch.rand(shape)}
            yield "cross_entropy", tensors, {"reduction": reduction, **options}
    for shape in ((2, 3), (3,), (1,), (), (2, 1), (4,)):
        weight = torch.rand(shape)
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "huber_loss"):
            yield name, {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "weight": weight}, {}
            yield name, {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "weight": weight.double()}, {}
        for sign in (1, -1):
            tensors = {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "pos_weight": sign * weight}
            yield "binary_cross_entropy_with_logits", tensors, {}
        yield "gaussian_nll_loss", {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "var": weight}, {}
    for delta in (float("inf"), 1e-40, 0, 2, True):
        yield "huber_loss", {"input": torch.rand(4), "target": torch.rand(4)}, {"delta": delta}


def test_odd_inputs() -> None:
    """Shapes, types and options at the border: torch's results, or its errors."""
    for name, tensors, options in odd_cases():
        got, want = (outcome(getattr(f, name), tensors, options) for f in (ours, theirs))
        what = f"{name} {[(k, tuple(t.shape), t.dtype) for k, t in tensors.items()]} {options}"
        if isinstance(want, type) or isinstance(got, type):
            assert got is want, what
        else:
            torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-5, atol=1e-6, msg=what)


def test_broadcasting_and_mixed_types() -> None:
    z, y = torch.randn(4, 3, dtype=torch.double, requires_grad=True), torch.randn(3, dtype=torch.double)
    for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"):
        with pytest.warns(UserWarning, match="target size"):
            got = getattr(ours, name)(z, y)
        with pytest.warns(UserWarning, match="target size"):
            assert torch.equal(got, getattr(theirs, name)(z, y))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ours.mse_loss(z, y.float()).dtype == theirs.mse_loss(z, y.float()).dtype
    var = torch.rand(4, 1, dtype=torch.double, requires_grad=True)
    for v in (var, var[:, 0], 0.5):
        found = []
        for f in (ours, theirs):
            leaves = [z] if isinstance(v, float) else [z, var]
            found.append(torch.autograd.grad(f.gaussian_nll_loss(z, z.detach() + 1, v), leaves))
        for got, want in zip(*found, strict=True):
            close(got, want, torch.float64, "variance")


def test_subclasses_and_other_devices() -> None:
    class Mine(torch.Tensor):
        pass

    z, y = torch.randn(4, 3), torch.rand(4, 3)
    assert type(ours.mse_loss(z.as_subclass(Mine), y)) is Mine
    assert ours.mse_loss(z.to("meta"), y.to("meta")).device.type == "meta"
    assert ours.softmax(z.to("meta"), 1).device.type == "meta"
    torch.testing.assert_close(ours.mse_loss(z.to(torch.complex64).real, y), theirs.mse_loss(z, y))
    with pytest.raises(NotImplementedError):
        theirs.softmax(z.to_sparse(), 1)
    with pytest.raises(NotImplementedError):
        ours.softmax(z.to_sparse(), 1)


@pytest.mark.parametrize("name", ["mse_loss", "softmax"])
def test_transforms_of_torch_func(name: str) -> None:
    from torch.func import grad, hessian, jvp, vmap

    z, y = torch.randn(4, 3, dtype=torch.double), torch.randn(3, dtype=torch.double)

    def found(module: Any) -> list[Any]:
        def total(z: Any) -> Any:
            return getattr(module, name)(z, y if name == "mse_loss" else 0).square().sum()

        return [grad(total)(z[0]), hessian(total)(z[0]), vmap(total)(z), jvp(total, (z[0],), (z[1],))]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which torch itself uses
        torch.testing.assert_close(found(ours), found(theirs))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(z, torch.ones_like(z))
        assert torch.autograd.forward_ad.unpack_dual(ours.mse_loss(dual, z)).tangent is not None


def test_meta_modes_see_torch_s_operations() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    z = torch.randn(4, 3)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert type(ours.mse_loss(z, z)) is not torch.Tensor
    with FlopCounterMode(display=False), torch.device("cpu"):
        assert ours.mse_loss(z, z) == 0


def test_autocast() -> None:
    """16 bits give a float32 loss, as torch's own do; the gradient comes back in 16 bits."""
    for name, draw, options in CASES[:: max(1, len(CASES) // 20)]:
        tensors = cast(draw(Draw(1, 7, 5)), torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            value, grad = run(getattr(ours, name), tensors, {**options, "reduction": "sum"})
            want, want_grad = run(getattr(theirs, name), tensors, {**options, "reduction": "sum"})
        assert value.dtype == want.dtype, name
        assert grad.dtype == want_grad.dtype, name
        torch.testing.assert_close(value, want, rtol=1e-5 if want.dtype == torch.float32 else 2e-2, atol=1e-4)
        torch.testing.assert_close(grad, want_grad, rtol=2e-2, atol=2e-2)


def test_no_grad_keeps_nothing() -> None:
    z, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    with torch.no_grad():
        assert ours.mse_loss(z, y).grad_fn is None
    with torch.inference_mode():
        torch.testing.assert_close(ours.cross_entropy(z, y.softmax(1)), theirs.cross_entropy(z, y.softmax(1)))
    assert ours.mse_loss(z.detach(), y).grad_fn is None


# ---- torch's defects ----------------------------------------------------------------------------------------------


def test_supersets() -> None:
    """What SEMANTICS lists: results that torch gives as NaN or infinity."""
    z = torch.tensor([[0.0, float("nan")], [0.0, 0.0]], requires_grad=True)
    ours.cross_entropy(z, torch.tensor([-100, 1])).backward()
    assert torch.equal(z.grad, torch.tensor([[0.0, 0.0], [0.5, -0.5]]))
    infinite = torch.tensor([float("inf"), -float("inf")])
    assert torch.equal(
        ours.binary_cross_entropy_with_logits(infinite, torch.tensor([1.0, 0.0]), reduction="none"), torch.zeros(2)
    )
    assert ours.soft_margin_loss(torch.tensor([1000.0]), torch.tensor([-1.0])) == 1000
    logits = torch.tensor([[0.0, -float("inf")]])
    assert ours.cross_entropy(logits, torch.tensor([[1.0, 0.0]])) == 0
    assert ours.kl_div(logits, torch.tensor([[1.0, 0.0]]), reduction="sum") == 0


# ---- softmax ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_softmax(name: str, dtype: Any) -> None:
    for shape in ((5,), (4, 7), (2, 3, 5)):
        for dim in range(-len(shape), len(shape)):
            z = Draw(1, *shape).normal().to(dtype)
            c = torch.linspace(-1, 1, z.numel()).reshape(shape).to(dtype)
            found = []
            for f, x, cotangent in ((ours, z, c), (theirs, z.double(), c.double())):
                leaf = x.clone().requires_grad_()
                result = getattr(f, name)(leaf, dim)
                result.backward(cotangent)
                found.append((result.detach(), leaf.grad))
            tolerance = 4 * TOLERANCE[dtype]
            for got, want in zip(*found, strict=True):
                assert got.dtype == dtype
                torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_options(name: str) -> None:
    f, g = getattr(ours, name), getattr(theirs, name)
    z = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: f(z, 0), z)
    assert torch.autograd.gradgradcheck(lambda z: f(z, 1), z)
    integers = torch.arange(6).reshape(2, 3)
    torch.testing.assert_close(f(integers, 1, dtype=torch.float64), g(integers, 1, dtype=torch.float64))
    assert f(z, 1, dtype=torch.float32).dtype == torch.float32
    assert f(torch.zeros(0, 3), 1).shape == (0, 3)
    assert f(torch.tensor(1.0), 0) == g(torch.tensor(1.0), 0)
    with pytest.warns(UserWarning, match="dim"):
        torch.testing.assert_close(f(z), g(z, 1))


# ---- a linear layer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("wanted", [(True, True, True), (True, False, False), (False, True, False)])
def test_linear_cross_entropy(reduction: str, wanted: tuple[bool, ...]) -> None:
    draw = Draw(2, 9, 6)
    tensors = [draw.normal(), draw.normal(11, 6), draw.normal(11)]
    target = torch.tensor([0, 1, -100, 3, 4, 5, 6, 10, 0])
    for options in ({}, {"label_smoothing": 0.1}, {"weight": draw.uniform(shape=11)}, {"ignore_index": 4}):
        labels = torch.where(target == -100, options.get("ignore_index", -100), target)
        found = []
        for f in (ours, theirs):
            leaves = [t.clone().requires_grad_(w) for t, w in zip(tensors, wanted, strict=True)]
            x, w, b = leaves
            value = f.linear_cross_entropy(x, w, labels, linear_bias=b, reduction=reduction, **options)
            value.sum().mul(2).backward(retain_graph=f is ours)
            found.append([value.detach(), *(leaf.grad for leaf in leaves)])
        for got, want in zip(*found, strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                close(got, want, torch.float64, f"{options}")


def test_linear_cross_entropy_of_other_inputs() -> None:
    x, w, t = torch.randn(6, 4), torch.randn(5, 4, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 0])
    want = theirs.cross_entropy(theirs.linear(x, w), t)
    torch.testing.assert_close(ours.linear_cross_entropy(x, w, t), want)
    torch.testing.assert_close(ours.linear_cross_entropy(x[0], w, t[0]), theirs.linear_cross_entropy(x[0], w, t[0]))
    p = torch.rand(6, 5).softmax(1)
    torch.testing.assert_close(ours.linear_cross_entropy(x, w, p), theirs.linear_cross_entropy(x, w, p))
    half = ours.linear_cross_entropy(x.bfloat16(), w.bfloat16(), t)
    torch.testing.assert_close(half.float(), want, rtol=2e-2, atol=2e-2)
    capped = ours.linear_cross_entropy(x, w, t, softcap=2.0, z_loss=0.1)
    z = 2 * torch.tanh(theirs.linear(x, w) / 2)
    torch.testing.assert_close(capped, theirs.cross_entropy(z, t) + 0.1 * z.logsumexp(1).square().mean())
    narrow = ours.linear_cross_entropy(x.bfloat16(), w.bfloat16(), t, softcap=2.0, z_loss=0.1)
    torch.testing.assert_close(narrow.float(), capped, rtol=2e-2, atol=2e-2)
    with pytest.raises(ValueError, match="softcap"):
        ours.linear_cross_entropy(x, w, p, softcap=2.0)
    with pytest.raises(RuntimeError, match="second derivatives of linear_cross_entropy are not implemented"):
        torch.autograd.grad(ours.linear_cross_entropy(x, w, t), w, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_linear_cross_entropy_of_16_bits(dtype: Any, reduction: str) -> None:
    """Against torch in float64 on the same rounded numbers, whatever comes from above."""
    draw = Draw(2, 40, 16)
    layer = [(t / 4).to(dtype) for t in (draw.normal(), draw.normal(70, 16), draw.normal(70))]
    target, weight = torch.arange(40), draw.uniform(shape=70).to(dtype)
    target[3] = -100
    for options, scale in (({}, 1.0), ({"weight": weight, "label_smoothing": 0.1}, -3.0), ({}, 0.0)):
        found = []
        for f, to in ((ours, dtype), (theirs, torch.float64)):
            leaves = [t.to(to, copy=True).requires_grad_() for t in layer]
            given = {k: v.to(to) if torch.is_tensor(v) else v for k, v in options.items()}
            value = f.linear_cross_entropy(*leaves[:2], target, linear_bias=leaves[2], reduction=reduction, **given)
            (value.sum() * scale).backward()
            found.append([value.detach(), *(leaf.grad for leaf in leaves)])
        for got, want in zip(*found, strict=True):
            close(got, want, dtype, f"{options}")


def test_linear_cross_entropy_keeps_small_gradients_of_float16() -> None:
    """With the loss scaled up, none of them is lost."""
    x, w = torch.zeros(64, 8, dtype=torch.float16), torch.zeros(2000, 8, dtype=torch.float16, requires_grad=True)
    x[0] = 2**-6
    (ours.linear_cross_entropy(x, w, torch.zeros(64, dtype=torch.long)) * 2.0**15).backward()
    assert w.grad[1, 0].item() == pytest.approx(2.0**15 / 64 / 2000 / 64, rel=1e-3)
    x.zero_(), w.requires_grad_(False)
    value = ours.linear_cross_entropy(x.requires_grad_(), w, torch.full((64,), -100))
    value.backward()
    assert value.isnan()
    assert not x.grad.any()


# ---- modules ------------------------------------------------------------------------------------------------------

MODULES: dict[str, tuple[dict[str, Any], Any]] = {
    "CrossEntropyLoss": ({"weight": torch.rand(3), "label_smoothing": 0.1}, "labels"),
    "NLLLoss": ({"ignore_index": 1}, "labels"),
    "MultiMarginLoss": ({"p": 2}, "labels"),
    "KLDivLoss": ({"reduction": "batchmean"}, "uniform"),
    "MSELoss": ({"reduction": "sum"}, "normal"),
    "L1Loss": ({}, "normal"),
    "HuberLoss": ({"delta": 0.5}, "normal"),
    "SmoothL1Loss": ({"beta": 0.5}, "normal"),
    "SoftMarginLoss": ({}, "signs"),
    "HingeEmbeddingLoss": ({"margin": 0.5}, "signs"),
    "BCELoss": ({"weight": torch.rand(3)}, "uniform"),
    "BCEWithLogitsLoss": ({"pos_weight": torch.rand(3)}, "uniform"),
    "PoissonNLLLoss": ({"full": True}, "uniform"),
    "GaussianNLLLoss": ({"full": True}, "normal"),
    "Softmax": ({"dim": 1}, None),
    "LogSoftmax": ({"dim": 0}, None),
    "LinearCrossEntropyLoss": ({"in_features": 3, "num_classes": 3, "bias": True}, "labels"),
}


@pytest.mark.parametrize("name", ours.modules.__all__)
def test_modules(name: str) -> None:
    options, target = MODULES[name]
    mine, other = getattr(ours, name)(**options), getattr(torch.nn, name)(**options)
    assert isinstance(mine, type(other))
    assert repr(mine) == repr(other)
    other.load_state_dict(mine.state_dict())
    draw = Draw(1, 4, 3)
    inputs = [draw.uniform().float()] + ([] if target is None else [getattr(draw, target)()])
    inputs += [draw.uniform()] if name == "GaussianNLLLoss" else []
    inputs = [t.float() if t.is_floating_point() else t for t in inputs]
    torch.testing.assert_close(mine(*inputs), other(*inputs))
    if target is not None and len(inputs) == 2:
        torch.testing.assert_close(mine(input=inputs[0], target=inputs[1]), other(*inputs))
    torch.testing.assert_close(pickle.loads(pickle.dumps(mine))(*inputs), other(*inputs))


# ---- operators and compilers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES}))
def test_compile_does_not_break_the_graph(name: str) -> None:
    torch._dynamo.reset()
    for _, draw, options in [case for case in CASES if case[0] == name][:2]:
        for reduction in ("sum", "none"):
            tensors = draw(Draw(1, 4, 3))
            every = {**options, "reduction": reduction}
            compiled = torch.compile(getattr(ours, name), fullgraph=True, backend="aot_eager")
            value, grad = run(compiled, tensors, every, 2.0)
            want, want_grad = run(getattr(theirs, name), tensors, every, 2.0)
            close(value, want, torch.float64, reduction)
            close(grad, want_grad, torch.float64, reduction)


def test_compile_of_the_rest() -> None:
    """Means, shapes that are not known yet, and a linear layer."""
    torch._dynamo.reset()
    draw = Draw(4, 6, 4)
    y, t, w, b = draw.probabilities(), draw.labels(-100), draw.normal(4, 4), draw.normal(4)

    def step(f: Any, z: Any, w: Any) -> Any:
        image, pixels = z[:, :, None].expand(-1, -1, 3), t[:, None].expand(-1, 3)
        value = (
            f.kl_div(z, y) + f.huber_loss(z, y) + f.cross_entropy(image, pixels) + f.log_softmax(z, 0).square().sum()
        )
        linear = (
            f.linear_cross_entropy(z, w, t, linear_bias=b) + f.linear_cross_entropy(z, w, t, reduction="none").sum()
        )
        return value + linear

    z = draw.normal().requires_grad_()
    w.requires_grad_()
    compiled = torch.compile(lambda z, w: step(ours, z, w), fullgraph=True, dynamic=True, backend="aot_eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [torch.autograd.grad(f(z, w), (z, w)) for f in (compiled, lambda z, w: step(theirs, z, w))]
    torch.testing.assert_close(*found)


def test_compile_of_legacy_arguments() -> None:
    z, y = torch.rand(4, 3), torch.rand(4, 3)
    for size_average, reduce in itertools.product((None, True, False), repeat=2):
        torch._dynamo.reset()
        options = {"size_average": size_average, "reduce": reduce}
        step = torch.compile(lambda z, o=options: ours.mse_loss(z, y, **o), fullgraph=True, backend="aot_eager")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.testing.assert_close(step(z), theirs.mse_loss(z, y, **options))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_compile_of_a_variance(reduction: str) -> None:
    """torch's own breaks the graph here."""
    torch._dynamo.reset()
    draw = Draw(4, 6, 4)
    inputs = [t.requires_grad_() for t in (draw.normal(), draw.normal(), draw.uniform())]
    compiled = torch.compile(ours.gaussian_nll_loss, fullgraph=True, backend="aot_eager")
    found = [
        torch.autograd.grad(f(*inputs, reduction=reduction).sum() * 3, inputs)
        for f in (compiled, theirs.gaussian_nll_loss)
    ]
    torch.testing.assert_close(*found)


def test_compiled_graphs_hold_the_operators() -> None:
    torch._dynamo.reset()
    seen: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    z, t = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])

    def step(z: Any) -> Any:
        value = ours.cross_entropy(z, t) + ours.huber_loss(z, z.detach(), reduction="none").sum()
        with torch.no_grad():
            value = value + ours.mse_loss(z, z.detach())
        return value + ours.softmax(z, 1).sum() + ours.modules.L1Loss()(z, z.detach())

    torch.compile(step, fullgraph=True, backend=backend)(z).backward()
    assert {"lossk.loss_and_grad", "lossk.loss", "lossk.row_function"} <= {s.removesuffix(".default") for s in seen}


def test_second_derivatives_of_compiled_losses_are_refused() -> None:
    z, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    for reduction in ("mean", "none"):
        operator = torch.ops.lossk.loss_and_grad if reduction == "mean" else torch.ops.lossk.loss
        value = operator(z, y, None, None, "mse_loss", [], reduction)
        value = value[0] if isinstance(value, tuple) else value
        with pytest.raises(RuntimeError, match="second derivatives of the compiled mse_loss are not implemented"):
            torch.autograd.grad(value.sum(), z, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_operators(dtype: Any) -> None:
    """torch's own checks: schema, fake tensors, autograd, dynamic shapes."""
    z, y = torch.randn(4, 3).to(dtype).requires_grad_(), torch.randn(4, 3).to(dtype)
    image, t = torch.randn(2, 3, 4).to(dtype).requires_grad_(), torch.randint(0, 3, (2, 4))
    lossk_ops = torch.ops.lossk
    for reduction in ("mean", "none"):
        torch.library.opcheck(lossk_ops.loss, (z, y, None, None, "huber_loss", [1.0], reduction))
        torch.library.opcheck(lossk_ops.loss, (image, t, None, None, "cross_entropy", [-100.0, 0.1], reduction))
    torch.library.opcheck(lossk_ops.loss_and_grad, (z, y, None, None, "huber_loss", [1.0], "mean"))
    torch.library.opcheck(lossk_ops.loss_and_grad, (image, t, None, None, "cross_entropy", [-100.0, 0.1], "mean"))
    x, w, labels = (torch.randn(4, 3), torch.randn(5, 3), torch.tensor([0, 1, -100, 4]))
    options = [-100.0, 0.1, 0.0, 0.0, 2.0**26]
    for wrt in ("none", "x", "all"):
        leaves = (x.requires_grad_(wrt != "none"), w.requires_grad_(wrt == "all"))
        torch.library.opcheck(lossk_ops.linear_cross_entropy, (*leaves, None, labels, None, options, "mean", wrt))
    var = y.detach().abs().requires_grad_()
    torch.library.opcheck(lossk_ops.loss, (z, y, var, None, "gaussian_nll_loss", [0.0, 1e-6], "mean"))
    torch.library.opcheck(lossk_ops.loss_vjp, (z.detach(), y, None, None, "huber_loss", [1.0], y))
    for dim in (0, 1):
        torch.library.opcheck(lossk_ops.row_function, (image, "softmax", dim))
        torch.library.opcheck(lossk_ops.row_function_vjp, (image.detach(), image.detach(), "log_softmax", dim))


# ---- memory -------------------------------------------------------------------------------------------------------

MEMORY = """
import sys
import torch
import lossk, lossk.torch

def status(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))

class Logits(torch.autograd.Function):  # no leaf, and without memory of their own
    @staticmethod
    def forward(ctx, x):
        return z.view_as(z)
    @staticmethod
    def backward(ctx, g):
        return g[0, :1]

z, t = torch.ones(256, 131072), torch.zeros(256, dtype=torch.long)  # 128 MiB
lossk.torch.cross_entropy(torch.zeros(2, 8, requires_grad=True), t[:2]).backward()
open("/proc/self/clear_refs", "w").write("5")  # forget the peak
before = status("VmRSS")
if sys.argv[1] == "inplace":
    lossk.torch.cross_entropy(Logits.apply(torch.ones(1, requires_grad=True)), t, inplace=True).backward()
else:
    lossk.torch.cross_entropy(z.requires_grad_(), t).backward()
print(status("VmHWM") - before)
"""


MEMORY_OF_A_LAYER = (
    MEMORY[: MEMORY.index("class Logits")]
    + """
rows, features, classes, dtype = 2048, 64, 40_000, getattr(torch, sys.argv[1])  # logits of 156 MiB in 16 bits
x, w = torch.ones(rows, features, dtype=dtype), torch.zeros(classes, features, dtype=dtype).requires_grad_()
t = torch.zeros(rows, dtype=torch.long)
for rows in (64, 2048):  # first what BLAS keeps for itself
    w.grad = None
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    lossk.torch.linear_cross_entropy(x[:rows], w, t[:rows], chunk_bytes=16 << 20).backward()
print(status("VmHWM") - before)
"""
)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_memory_of_a_layer(dtype: str) -> None:
    """The gradient, and chunks."""
    command = [sys.executable, "-c", MEMORY_OF_A_LAYER, dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    gradient = 40_000 * 64 * (4 if dtype == "float32" else 2) / 2**20
    assert float(done.stdout) < gradient + 16 + 4


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
@pytest.mark.parametrize(("mode", "buffers"), [("fresh", 1), ("inplace", 0)])
def test_memory(mode: str, buffers: int) -> None:
    """One gradient and nothing else of the size of the logits; in place not even that."""
    done = subprocess.run([sys.executable, "-c", MEMORY, mode], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) == pytest.approx(128 * buffers, abs=16)


# ---- examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["functional", "modules", "_softmax", "_linear", "_install", "_transformers"])
def test_docstring_examples_run(module: str) -> None:
    found = importlib.import_module(f"lossk.torch.{module}")
    results = doctest.testmod(found, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted
    assert not results.failed


def test_public_names_are_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "torch.md").read_text(encoding="utf-8")
    for name in ours.__all__:
        assert inspect.getdoc(getattr(ours, name)), name
        assert f"`{name}`" in page, name
    assert set(ours.functional.__all__) <= set(ours.__all__)
