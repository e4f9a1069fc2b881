"""lossk.torch.linear_cross_entropy: values and gradients as torch's, inputs that are torch's own, 16 bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lossk.torch as ours
from lossk import LinearCrossEntropy
from tests.support.torch import REDUCTIONS, Draw, close, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("wanted", [(True, True, True), (True, False, False), (False, True, False)])
def test_a_layer_is_torchs(reduction: str, wanted: tuple[bool, ...]) -> None:
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


def test_other_inputs_are_torchs() -> None:
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
    with pytest.raises(RuntimeError, match="second derivatives of linear_cross_entropy with z_loss are not impl"):
        torch.autograd.grad(ours.linear_cross_entropy(x, w, t, z_loss=0.1), w, create_graph=True)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "weight": torch.rand(5, dtype=torch.float64)}])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_second_derivatives_are_torchs(options: dict[str, Any], reduction: str) -> None:
    draw = Draw(2, 6, 4)
    layer = [t.requires_grad_() for t in (draw.normal(), draw.normal(5, 4), draw.normal(5))]
    target, found = torch.tensor([0, 1, -100, 3, 4, 0]), []
    z = 2 * torch.tanh(theirs.linear(*layer) / 2)
    for value in (
        ours.linear_cross_entropy(
            *layer[:2], target, linear_bias=layer[2], reduction=reduction, softcap=2.0, **options
        ),
        theirs.cross_entropy(z, target, reduction=reduction, **options),
    ):
        first = torch.autograd.grad(value.square().sum(), layer, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), layer))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_layer_of_16_bits_is_rounded_once(dtype: Any, reduction: str) -> None:
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


def test_products_are_as_precise_as_torch_is_asked_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, asked = Draw(3, 40, 16), list[str]()
    x, w, target = draw.normal().float(), draw.normal(70, 16).float(), torch.arange(40)

    def noted(*arguments: Any, precision: Any, **options: Any) -> LinearCrossEntropy:
        asked.append(precision)
        return LinearCrossEntropy(*arguments, precision=precision, **options)

    monkeypatch.setattr("lossk.torch._linear.LinearCrossEntropy", noted)
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high", "medium"):
            torch.set_float32_matmul_precision(precision)
            leaf = w.clone().requires_grad_()
            ours.linear_cross_entropy(x, leaf, target).backward()
            assert asked[-1] == precision
            own = LinearCrossEntropy(precision=precision).grad(x.numpy(), w.numpy(), target.numpy())
            assert torch.equal(leaf.grad, torch.from_numpy(own[1]))
    finally:
        torch.set_float32_matmul_precision(before)


def test_small_gradients_of_float16_are_kept() -> None:
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


def test_a_batch_of_upstream_gradients() -> None:
    x, w = torch.randn(6, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    t, above = torch.arange(6) % 5, torch.tensor([1.0, 2.0, -0.5])
    for reduction in ("mean", "sum"):
        got, want = (
            torch.autograd.grad(
                f.linear_cross_entropy(x, w, t, reduction=reduction), (x, w), above, is_grads_batched=True
            )
            for f in (ours, theirs)
        )
        torch.testing.assert_close(got, want)
    loss = ours.linear_cross_entropy(x, w, t, reduction="none")
    with pytest.raises(RuntimeError, match=r"linear_cross_entropy: got a batch of upstream gradients .* one at a time"):
        torch.autograd.grad(loss, (x, w), torch.ones(2, 6), is_grads_batched=True)
