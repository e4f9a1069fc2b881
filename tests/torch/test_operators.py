"""lossk.torch as operators of torch.library, and what compilers make of them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import CASES, REDUCTIONS, Draw, close, run, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")

# opcheck of torch 2.14 looks at the gradients of what it has computed.
without_warnings_of_torch = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that:UserWarning")


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


def test_means_unknown_shapes_and_layers_compile() -> None:
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


def test_legacy_arguments_compile() -> None:
    z, y = torch.rand(4, 3), torch.rand(4, 3)
    for size_average, reduce in ((None, None), (False, None), (True, True), (None, False), (False, True)):
        torch._dynamo.reset()
        options = {"size_average": size_average, "reduce": reduce}
        step = torch.compile(lambda z, o=options: ours.mse_loss(z, y, **o), fullgraph=True, backend="aot_eager")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.testing.assert_close(step(z), theirs.mse_loss(z, y, **options))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_variance_compiles(reduction: str) -> None:
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


@without_warnings_of_torch
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_operators_pass_torchs_checks(dtype: Any) -> None:
    """torch's own checks: schema, fake tensors, autograd, dynamic shapes."""
    z, y = torch.randn(4, 3).to(dtype).requires_grad_(), torch.randn(4, 3).to(dtype)
    image, t = torch.randn(2, 3, 4).to(dtype).requires_grad_(), torch.randint(0, 3, (2, 4))
    lossk_ops = torch.ops.lossk
    for reduction in ("mean", "none"):
        torch.library.opcheck(lossk_ops.loss, (z, y, None, None, "huber_loss", [1.0], reduction))
        torch.library.opcheck(lossk_ops.loss, (image, t, None, None, "cross_entropy", [-100.0, 0.1], reduction))
    torch.library.opcheck(lossk_ops.loss_and_grad, (z, y, None, None, "huber_loss", [1.0], "mean"))
    torch.library.opcheck(lossk_ops.loss_and_grad, (image, t, None, None, "cross_entropy", [-100.0, 0.1], "mean"))
    var = y.detach().abs().requires_grad_()
    torch.library.opcheck(lossk_ops.loss, (z, y, var, None, "gaussian_nll_loss", [0.0, 1e-6], "mean"))
    torch.library.opcheck(lossk_ops.loss_vjp, (z.detach(), y, None, None, "huber_loss", [1.0], y))
    for dim in (0, 1):
        torch.library.opcheck(lossk_ops.row_function, (image, "softmax", dim))
        torch.library.opcheck(lossk_ops.row_function_vjp, (image.detach(), image.detach(), "log_softmax", dim))


@without_warnings_of_torch
@pytest.mark.parametrize("wrt", ["none", "x", "all"])
def test_the_operator_of_a_layer_passes_torchs_checks(wrt: str) -> None:
    x, w, labels = (torch.randn(4, 3), torch.randn(5, 3), torch.tensor([0, 1, -100, 4]))
    options = [-100.0, 0.1, 0.0, 0.0, 2.0**26, 0.0]
    leaves = (x.requires_grad_(wrt != "none"), w.requires_grad_(wrt == "all"))
    torch.library.opcheck(torch.ops.lossk.linear_cross_entropy, (*leaves, None, labels, None, options, "mean", wrt))


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "mse_loss", "gaussian_nll_loss", "log_softmax"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_compiled_types_under_autocast_are_torchs(name: str, dtype: Any) -> None:
    z, t = torch.randn(6, 4).to(dtype), torch.arange(6) % 4
    arguments: dict[str, Any] = {"log_softmax": {"dim": 1}, "cross_entropy": {"target": t}, "nll_loss": {"target": t}}
    options = arguments.get(name, {"target": z.flip(0)}) | ({"var": z.abs() + 1} if name == "gaussian_nll_loss" else {})

    def step(f: Any, z: Any) -> Any:
        with torch.autocast("cpu", dtype):
            return getattr(f, name)(z, **options)

    torch._dynamo.reset()
    compiled = torch.compile(lambda z: step(ours, z), fullgraph=True, backend="aot_eager")
    found = []
    for function in (compiled, lambda z: step(ours, z), lambda z: step(theirs, z)):
        leaf = z.detach().requires_grad_()
        value = function(leaf)
        found.append([value.detach(), torch.autograd.grad(value.sum(), leaf)[0]])
    for got in found[:2]:
        torch.testing.assert_close(got, found[2], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["cross_entropy", "mse_loss", "gaussian_nll_loss"])
def test_compiled_gradients_of_sixteen_bits_are_those_of_eager_mode(name: str, dtype: Any) -> None:
    """Scaled before they are rounded, so that loss scaling keeps small ones."""
    z = torch.randn(64, 100).to(dtype)
    t = torch.arange(64) if name == "cross_entropy" else z.flip(0)
    leaves = [z.requires_grad_(), *([(z.detach().abs() + 1).requires_grad_()] if name == "gaussian_nll_loss" else [])]
    torch._dynamo.reset()
    compiled = torch.compile(getattr(ours, name), fullgraph=True, backend="aot_eager")
    found = [
        torch.autograd.grad(f(leaves[0], t, *leaves[1:]).float() * 3000, leaves)
        for f in (compiled, getattr(ours, name))
    ]
    for got, want in zip(*found, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("strict", [True, False])
def test_exported_programs_do_without_lossk(strict: bool) -> None:
    """Also where something was compiled before."""
    z, t, w = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]), torch.randn(4, 3)

    class Model(torch.nn.Module):
        def forward(self, z: Any, t: Any) -> Any:
            value = theirs.cross_entropy(z, t) + theirs.mse_loss(z, z + 1) + theirs.softmax(z, 1).sum()
            return value + theirs.linear_cross_entropy(z, w, t) + theirs.gaussian_nll_loss(z, z + 1, 0.5)

    torch._dynamo.reset()
    torch.compile(ours.cross_entropy, backend="aot_eager")(z, t)
    with ours.installed(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own
        program = torch.export.export(Model(), (z, t), strict=strict)
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.cross_entropy_loss.default" in called
    assert not any("lossk" in target for target in called)
    torch.testing.assert_close(program.module()(z, t), Model()(z, t))


def test_graphs_say_what_went_to_torch() -> None:
    torch._dynamo.reset()
    ours.explain(reset=True)
    z = torch.randn(4, 3)
    step = torch.compile(lambda z: ours.mse_loss(z, z.double()), fullgraph=True, backend="aot_eager")
    for _ in range(2):
        step(z)
    assert list(ours.explain(reset=True).values()) == [1]
