"""lossk.torch in torch's graph: gradients of all orders, backward passes again and in batches, checkpoints."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.arrays import in_turn
from tests.support.torch import CASES, REDUCTIONS, TOLERANCE, Draw, cast, close, each_case, run, theirs

checkpoint = torch.utils.checkpoint.checkpoint


EVEN = ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "gaussian_nll_loss"]


pytestmark = pytest.mark.usefixtures("torch_seed")


# Where second derivatives are 0, or torch has none.
FLAT = {
    *("l1_loss", "huber_loss", "smooth_l1_loss", "hinge_embedding_loss"),
    *("multi_margin_loss", "multilabel_margin_loss"),
}


@each_case
def test_gradients_pass_torchs_check(name: str, draw: Any, options: dict[str, Any]) -> None:
    tensors = draw(Draw(3, 4, 3))
    z = tensors.pop("input").requires_grad_()
    reductions = ("batchmean", "sum") if name == "kl_div" else ("mean", "none")
    for reduction in reductions:
        function = lambda z, r=reduction: getattr(ours, name)(z, **tensors, **options, reduction=r)  # noqa: E731
        assert torch.autograd.gradcheck(function, z)
        if name not in FLAT:
            assert torch.autograd.gradgradcheck(function, z)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "gaussian_nll_loss"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_targets_and_variances_have_gradients(name: str, reduction: str) -> None:
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


def test_gradients_that_lossk_does_not_have_are_torchs() -> None:
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


@in_turn("dtype", TOLERANCE)
@pytest.mark.parametrize("scale", [1.0, 0.125, 1024.0, -3.0, 0.0])
def test_upstream_gradients_are_multiplied(dtype: Any, scale: float) -> None:
    draw = Draw(13, 6, 50)
    for name, target in (("cross_entropy", draw.labels(-100)), ("mse_loss", draw.normal())):
        tensors = cast({"input": draw.normal(), "target": target}, dtype)
        _, grad = run(getattr(ours, name), tensors, {}, scale)
        _, want = run(getattr(theirs, name), cast(tensors, torch.float64), {}, scale)
        close(grad, want, dtype, name)


def test_backward_passes_are_repeated_and_accumulated() -> None:
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


def test_negated_views_are_read() -> None:
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


def test_upstream_gradients_come_in_batches() -> None:
    z, t = torch.randn(4, 3, dtype=torch.double, requires_grad=True), torch.tensor([0, 1, 2, 0])
    for reduction in ("mean", "none"):
        found = []
        for f in (ours, theirs):
            value = f.cross_entropy(z, t, reduction=reduction)
            upstream = torch.arange(2.0 * value.numel(), dtype=torch.double).reshape(2, *value.shape)
            found += torch.autograd.grad(value, z, upstream, is_grads_batched=True)
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", EVEN)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_inputs_may_depend_on_one_another(name: str, reduction: str) -> None:
    """Each path is counted once, whatever is to be differentiated again."""
    x = torch.rand(4, 3, dtype=torch.double, requires_grad=True)

    def total(f: Any, x: Any) -> Any:
        third = [x * x + 0.1] if name == "gaussian_nll_loss" else []
        return (getattr(f, name)(3 * x, x, *third, reduction=reduction) * 2).sum()

    found = []
    for f in (ours, theirs):
        (first,) = torch.autograd.grad(total(f, x), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        plain = torch.autograd.grad(total(f, x), x)[0]
        found.append([first, second, plain])
    torch.testing.assert_close(*found)


def test_targets_may_depend_on_the_prediction() -> None:
    """Of losses that are not even, the target goes to torch; the same tensor twice is two inputs."""
    x = torch.rand(4, 3, dtype=torch.double, requires_grad=True)
    for loss in (
        lambda f: f.mse_loss(x, x) + f.huber_loss(x, x.exp()),
        lambda f: f.binary_cross_entropy(x, x * x),
        lambda f: f.cross_entropy(x, x.softmax(1)),
        lambda f: f.kl_div(x.log_softmax(1), x.softmax(1), reduction="sum"),
        lambda f: f.softmax(x * f.log_softmax(x, 0), 1).square().sum(),
    ):
        found = [torch.autograd.grad(loss(f), x, create_graph=True)[0] for f in (ours, theirs)]
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("create_graph", [False, True])
def test_jacobians_are_made_in_one_pass(create_graph: bool) -> None:
    x, y = torch.rand(4, dtype=torch.double), torch.rand(4, dtype=torch.double)
    for loss in (
        lambda f, x: f.mse_loss(3 * x, x, reduction="none"),
        lambda f, x: f.gaussian_nll_loss(x, y, x * x, reduction="none"),
        lambda f, x: f.huber_loss(x, y),
        lambda f, x: f.softmax(x, 0),
    ):
        found = [
            torch.autograd.functional.jacobian(
                lambda x, f=f, loss=loss: loss(f, x), x, create_graph=create_graph, vectorize=True
            )
            for f in (ours, theirs)
        ]
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@in_turn("dtype", [torch.float64, torch.float16])
def test_checkpointed_losses_have_the_same_gradients(reduction: str, dtype: Any) -> None:
    """What was saved may be computed anew, and is looked at once: of every loss, also with a factor from above."""
    for name, draw, options in CASES:
        if name == "kl_div" and reduction != "sum":
            continue
        tensors = cast(draw(Draw(2, 4, 3)), dtype)
        z = tensors.pop("input").requires_grad_()
        if name == "gaussian_nll_loss":
            tensors["var"].requires_grad_()

        def total(a: Any, name: str = name, tensors: Any = tensors, options: Any = options) -> Any:
            return getattr(ours, name)(a * 1, **tensors, **options, reduction=reduction).sum()

        (want,) = torch.autograd.grad(total(z) * 3, z)
        (got,) = torch.autograd.grad(checkpoint(total, z, use_reentrant=False) * 3, z)
        assert torch.equal(got, want), name


def test_checkpointed_layers_have_the_same_gradients() -> None:
    z, w, t = torch.randn(4, 3, requires_grad=True), torch.randn(3, 3), torch.tensor([0, 1, 2, 0])
    for function in (
        lambda z: ours.log_softmax(z, 1).square().sum(),
        lambda z: ours.linear_cross_entropy(z, w, t, reduction="none").square().sum(),
    ):
        (want,) = torch.autograd.grad(function(z), z)
        (got,) = torch.autograd.grad(checkpoint(function, z, use_reentrant=False), z)
        assert torch.equal(got, want)


@in_turn("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("factor", [32768.0, -32768.0, 3.0])
def test_gradients_of_sixteen_bits_are_rounded_once(dtype: Any, factor: float) -> None:
    """After the factor: small ones are there, and all are the nearest numbers."""
    z, t = torch.randn(256, 1000).to(dtype).requires_grad_(), torch.arange(256)
    wide = z.detach().double().requires_grad_()
    (want,) = torch.autograd.grad(theirs.cross_entropy(wide, t) * factor, wide)
    (got,) = torch.autograd.grad(ours.cross_entropy(z, t).float() * factor, z)
    largest = 0.502 * torch.finfo(dtype).eps
    normal = want.abs() > torch.finfo(dtype).smallest_normal
    assert ((got - want).abs() <= largest * want.abs())[normal].all()
