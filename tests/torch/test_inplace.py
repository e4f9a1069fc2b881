"""lossk.torch with inplace=True: the gradient where the logits were, and who notices."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import theirs

pytestmark = pytest.mark.usefixtures("torch_seed")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_gradient_overwrites_the_logits(dtype: Any, scale: float) -> None:
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


def test_overwritten_logits_are_noticed() -> None:
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


@pytest.mark.parametrize(
    "view",
    [
        lambda w: w.view(-1, 4),
        lambda w: w.flatten(0, 1),
        lambda w: w[0],
        lambda w: w.reshape(-1, 4),
        lambda w: w.float().view(-1, 4).contiguous(),
        lambda w: w.transpose(0, 1)[0].view_as(w[:, 0]),
        lambda w: w.unbind(0)[1],
    ],
)
def test_views_of_leaves_are_not_overwritten(view: Any) -> None:
    w = torch.nn.Parameter(torch.randn(2, 3, 4))
    before, rows = w.detach().clone(), view(w)
    with pytest.raises(RuntimeError, match=r"cross_entropy: input: got a view of a leaf .* inplace=True"):
        ours.cross_entropy(rows, torch.zeros(len(rows), dtype=torch.long), inplace=True)
    assert torch.equal(w, before)


def test_leaves_that_are_views_are_not_overwritten() -> None:
    h = torch.randn(12).view(3, 4).requires_grad_()
    before = h.detach().clone()
    with pytest.raises(RuntimeError, match=r"cross_entropy: input: got a leaf that .* inplace=True"):
        ours.cross_entropy(h, torch.tensor([0, 1, 2]), inplace=True)
    assert torch.equal(h, before)


def test_one_of_several_views_may_be_overwritten() -> None:
    z, t = torch.randn(6, 10, requires_grad=True), torch.arange(6) % 5
    logits, _ = (z * 1).chunk(2, 1)
    (got,) = torch.autograd.grad(ours.cross_entropy(logits, t, inplace=True), z)
    torch.testing.assert_close(got, torch.autograd.grad(theirs.cross_entropy(z[:, :5], t), z)[0])


@pytest.mark.parametrize("look", [lambda h: h, lambda h: h.view(-1, 5)])
def test_overwritten_logits_are_of_no_further_use(look: Any) -> None:
    w, x, t = torch.randn(5, 4, requires_grad=True), torch.randn(6, 4), torch.arange(6) % 5
    (want,) = torch.autograd.grad(ours.cross_entropy(x @ w.T, t), w)

    logits = look(x @ w.T)
    (got,) = torch.autograd.grad(ours.cross_entropy(logits, t, inplace=True), w)
    torch.testing.assert_close(got, want)

    logits = look(x @ w.T)
    first = ours.cross_entropy(logits, t, inplace=True)
    second = ours.cross_entropy(logits, t, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (first + second).backward()
    logits = look(x @ w.T)
    loss = ours.cross_entropy(logits, t, inplace=True)
    with torch.no_grad():
        logits.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("look", [lambda h: h, lambda h: h.view(-1, 5)])
def test_a_term_of_overwritten_logits_is_noticed(look: Any) -> None:
    w, x, t = torch.randn(5, 4, requires_grad=True), torch.randn(6, 4), torch.arange(6) % 5
    logits = look(x @ w.T)
    loss = ours.cross_entropy(logits, t, inplace=True) + logits.logsumexp(1).mean()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_inplace_is_refused_where_gradients_are_computed_backward_and_of_negative_views() -> None:
    z, t = torch.randn(6, 4, requires_grad=True), torch.arange(6) % 4
    negative = torch._neg_view(z * 1)
    for logits, reduction, words in (
        (z * 1, "none", r"cross_entropy: inplace: got True with reduction='none', .* wanted False"),
        (z.half() * 1, "mean", r"cross_entropy: inplace: got True with float16, .* wanted False"),
        (
            negative,
            "mean",
            r"cross_entropy: input: got a negative view with inplace=True, wanted input.resolve_neg\(\)",
        ),
    ):
        before = logits.detach().clone()
        with pytest.raises(RuntimeError, match=words):
            ours.cross_entropy(logits, t, reduction=reduction, inplace=True)
        assert torch.equal(logits, before)
        with torch.no_grad():
            ours.cross_entropy(logits, t, reduction=reduction, inplace=True)
