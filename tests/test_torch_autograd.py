"""lossk.torch in torch's graph: gradients of all orders, backward passes again and in batches, results in place."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import pytest
from support_torch import REDUCTIONS, TOLERANCE, Draw, cast, close, each_case, run, theirs, torch

import lossk.torch as ours

pytestmark = pytest.mark.usefixtures("torch_seed")

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
