"""lossk.torch in torch's graph: gradients of all orders, backward passes again and in batches, results in place."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import pytest
from support_torch import CASES, REDUCTIONS, TOLERANCE, Draw, cast, close, each_case, run, theirs, torch

import lossk.torch as ours

checkpoint = torch.utils.checkpoint.checkpoint
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


EVEN = ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "gaussian_nll_loss"]


@pytest.mark.parametrize("name", EVEN)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_inputs_that_depend_on_one_another(name: str, reduction: str) -> None:
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


def test_targets_that_depend_on_the_prediction() -> None:
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
def test_jacobians_in_one_pass(create_graph: bool) -> None:
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


# ---- checkpointing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_checkpointing(reduction: str, dtype: Any) -> None:
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


def test_checkpointing_of_softmax_and_a_layer() -> None:
    z, w, t = torch.randn(4, 3, requires_grad=True), torch.randn(3, 3), torch.tensor([0, 1, 2, 0])
    for function in (
        lambda z: ours.log_softmax(z, 1).square().sum(),
        lambda z: ours.linear_cross_entropy(z, w, t, reduction="none").square().sum(),
    ):
        (want,) = torch.autograd.grad(function(z), z)
        (got,) = torch.autograd.grad(checkpoint(function, z, use_reentrant=False), z)
        assert torch.equal(got, want)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
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
