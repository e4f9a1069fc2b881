"""lossk.torch.functional: values and gradients, arguments, layouts and labels as in torch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.arrays import in_turn
from tests.support.torch import CASES, REDUCTIONS, TOLERANCE, Draw, away_from, cast, close, each_case, run, theirs


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


pytestmark = pytest.mark.usefixtures("torch_seed")


@each_case
@in_turn("dtype", TOLERANCE)
def test_values_and_gradients_are_torchs(name: str, draw: Any, options: dict[str, Any], dtype: Any) -> None:
    """Against torch in float64, on the same rounded numbers."""
    flat = name.startswith("multi")  # losses that torch has of two axes, or lossk
    shapes = [(7, 5), (40, 70)] if flat else [(7, 5), (2, 3, 4, 2), (40, 70)]
    reductions = (*REDUCTIONS, "batchmean") if name == "kl_div" else REDUCTIONS
    for i, (shape, reduction) in enumerate(itertools.product(shapes, reductions)):
        if len(shape) > 2 and name == "binary_cross_entropy_with_logits":
            continue  # its weights are along the last axis
        tensors = cast(draw(Draw(i, *shape)), dtype)
        value, grad = run(getattr(ours, name), tensors, {**options, "reduction": reduction})
        want, want_grad = run(getattr(theirs, name), cast(tensors, torch.float64), {**options, "reduction": reduction})
        close(value, want, dtype, f"value {shape} {reduction}")
        if name == "hinge_embedding_loss":
            corner = tensors["input"] == options.get("margin", 1.0)
            grad, want_grad = away_from(corner, grad), away_from(corner, want_grad)
        close(grad, want_grad, dtype, f"gradient {shape} {reduction}")


def test_kernels_run_wherever_lossk_has_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases above reach lossk, not torch, wherever lossk has the loss."""
    from lossk.torch._losses import LOSSES

    for loss in LOSSES.values():
        monkeypatch.setattr(loss, "original", lambda *_, **__: pytest.fail("torch's function ran"))
    for name, draw, options in CASES:
        for reduction in ("mean", "sum") if name == "kl_div" else REDUCTIONS:
            run(getattr(ours, name), draw(Draw(0, 7, 5)), {**options, "reduction": reduction})


def test_unbatched_and_legacy_arguments_are_taken() -> None:
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


@pytest.mark.parametrize("name", [*OF_TWO, "nll_loss", "multi_margin_loss", "gaussian_nll_loss"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_layouts_do_not_change_results(name: str, reduction: str) -> None:
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


def test_nothing_is_copied() -> None:
    """Results are the kernel's memory, inputs are the tensor's."""
    from lossk.torch._exchange import array_of
    from lossk.torch._tensors import tensor_of

    for dtype in TOLERANCE:
        z = torch.randn(4, 3).to(dtype).requires_grad_()
        array = array_of(z)
        assert array.ctypes.data == z.data_ptr()
        back = tensor_of(array)
        assert (back.data_ptr(), back.dtype) == (z.data_ptr(), dtype)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@in_turn("dtype", TOLERANCE)
def test_softmax_is_torchs(name: str, dtype: Any) -> None:
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
def test_options_of_softmax_are_torchs(name: str) -> None:
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


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"])
def test_labels_may_have_any_integer_type(kind: str, compiled: bool) -> None:
    z, w, t = (
        torch.randn(5, 4, dtype=torch.double),
        torch.randn(4, 4, dtype=torch.double),
        torch.tensor([0, 1, 3, 2, 1]),
    )
    own = t.to(getattr(torch, kind))

    def steps(z: Any, t: Any) -> list[Any]:
        return [
            ours.cross_entropy(z, t, label_smoothing=0.1),
            ours.cross_entropy(z, t, ignore_index=1, reduction="none"),
            ours.nll_loss(z, t, w[0]),
            ours.multi_margin_loss(z, t),
            ours.linear_cross_entropy(z, w, t),
            ours.causal_lm_loss(z[None], t[None], 4),
        ]

    torch._dynamo.reset()
    function = torch.compile(steps, fullgraph=True, backend="aot_eager") if compiled else steps
    found = []
    for labels in (own, t):
        leaf = z.detach().requires_grad_()
        values = function(leaf, labels)
        total = sum(value.sum() for value in values)
        found.append([*(v.detach() for v in values), torch.autograd.grad(total, leaf)[0]])
    torch.testing.assert_close(*found)
    leaf = z.detach().requires_grad_()
    again = [torch.autograd.grad(ours.cross_entropy(leaf, y), leaf, create_graph=True)[0] for y in (own, t)]
    torch.testing.assert_close(*again)
    with pytest.raises(IndexError, match=r"target\[0\]: got 9"):
        ours.cross_entropy(z, (t + 9).to(own.dtype))
