"""lossk.torch's activations: torch's values, gradients and signatures; what goes to torch; graphs, modes, layouts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import TOLERANCE, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in ours.activations.__all__ if name != "prelu"),
    ("celu", {"alpha": 2.0}),
    ("elu", {"alpha": 0.75}),
    ("gelu", {"approximate": "tanh"}),
    ("glu", {"dim": 0}),
    ("glu", {"dim": 1}),
    ("hardshrink", {"lambd": 1.25}),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("leaky_relu", {"negative_slope": 0.25}),
    ("prelu", {"weight": (1,)}),
    ("prelu", {"weight": (4,)}),
    ("softplus", {"beta": 3.0, "threshold": 50.0}),
    ("softshrink", {"lambd": 1.25}),
)
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=str)


def test_every_function_has_a_case() -> None:
    assert {name for name, _ in CASES} == set(ours.activations.__all__)


def run(function: Any, x: Any, options: dict[str, Any], create_graph: bool = False) -> list[Any]:
    """Return the value, and gradients with respect to the input and the weight, if there is one."""
    leaves = [x.detach().clone().requires_grad_()]
    keywords = dict(options)
    if "weight" in options:
        weight = torch.linspace(-0.5, 0.75, options["weight"][0], dtype=torch.float64).to(x.dtype)
        leaves.append(weight.requires_grad_())
        keywords["weight"] = leaves[1]
    value = function(leaves[0], **keywords)
    upstream = torch.linspace(0.5, 2, value.numel(), dtype=torch.float64).to(x.dtype).reshape(value.shape)
    return [value, *torch.autograd.grad(value, leaves, upstream, create_graph=create_graph)]


@each_case
def test_values_and_gradients_are_torchs(name: str, options: dict[str, Any]) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for shape in ((2, 4, 6), (6, 4), (4, 4, 2, 2)):
            x = (3 * torch.randn(shape, dtype=torch.float64)).to(dtype)
            ours.explain(reset=True)
            got = run(getattr(ours, name), x, options)
            assert not ours.explain(), name
            want = run(getattr(theirs, name), x.double(), options)
            for a, b in zip((t.detach() for t in got), (t.detach() for t in want), strict=True):
                assert a.dtype is dtype
                # A slope's gradient is a sum, and slopes were rounded.
                scale = max(1.0, float(b.abs().max()))
                rtol = max(TOLERANCE[dtype], 4e-8 if name == "hardsigmoid" else 0.0)  # torch's 1/6 is a float32
                torch.testing.assert_close(a.double(), b, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("name", ours.activations.__all__)
def test_signatures_are_torchs(name: str) -> None:
    try:
        wanted = inspect.signature(getattr(theirs, name)).parameters.values()
    except ValueError:  # of a builtin: its documentation has it
        shown = {
            "gelu": "input, approximate = 'none'",
            "hardshrink": "input, lambd=0.5",
            "logsigmoid": "input",
            "prelu": "input, weight",
            "softplus": "input, beta=1, threshold=20",
            "softshrink": "input, lambd=0.5",
        }[name]
        assert f"{name}({shown}) -> Tensor" in (getattr(theirs, name).__doc__ or "")
        wanted = inspect.signature(eval(f"lambda {shown}: None")).parameters.values()
    mine = inspect.signature(getattr(ours, name)).parameters.values()
    for got, want in zip(mine, wanted, strict=True):
        assert (got.name, got.default) == (want.name, want.default)


@each_case
def test_what_kernels_do_not_take_is_torchs(name: str, options: dict[str, Any]) -> None:
    x = torch.randn(6, 4)
    function, other = getattr(ours, name), getattr(theirs, name)
    keywords = {k: torch.full(v, 0.25) if k == "weight" else v for k, v in options.items()}
    ours.explain(reset=True)
    turned = x.t().contiguous().t()
    torch.testing.assert_close(function(turned, **keywords), other(turned, **keywords))
    assert sum(ours.explain(reset=True).values()) == 1
    if "inplace" in inspect.signature(function).parameters:
        a, b = x.clone(), x.clone()
        assert function(a, **keywords, inplace=True) is a
        torch.testing.assert_close(a, other(b, **keywords, inplace=True))
    if name != "prelu":
        in_batches = torch.func.vmap(lambda z: function(z, **{k: v for k, v in keywords.items() if k != "dim"}))
        plain = {k: v for k, v in keywords.items() if k != "dim"}
        torch.testing.assert_close(in_batches(x), torch.func.vmap(lambda z: other(z, **plain))(x))
    compiled = torch.compile(lambda z: function(z, **keywords), fullgraph=True, backend="aot_eager")
    torch._dynamo.reset()
    torch.testing.assert_close(compiled(x), other(x, **keywords))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert function(x, **keywords).dtype is other(x, **keywords).dtype


@each_case
def test_second_derivatives_are_torchs(name: str, options: dict[str, Any]) -> None:
    x = torch.randn(6, 4, dtype=torch.float64)
    got = run(getattr(ours, name), x, options, create_graph=True)
    want = run(getattr(theirs, name), x, options, create_graph=True)
    for a, b in zip(got[1:], want[1:], strict=True):
        torch.testing.assert_close(a, b)
        assert a.requires_grad == b.requires_grad


def test_wrong_arguments_are_torchs_to_refuse() -> None:
    x = torch.randn(3, 5)
    for call in (
        lambda f: f.glu(x),
        lambda f: f.glu(x, dim=7),
        lambda f: f.gelu(x, approximate="exact"),
        lambda f: f.prelu(x, torch.ones(3)),
        lambda f: f.softshrink(x, -1.0),
    ):
        with pytest.raises((RuntimeError, IndexError)) as wanted:
            call(theirs)
        with pytest.raises(type(wanted.value), match=r".") as got:
            call(ours)
        assert str(got.value).split("\n")[0] == str(wanted.value).split("\n")[0]


def test_tails_keep_their_digits() -> None:
    """Where torch's cancel."""
    x = torch.tensor([-10.0, -6.0])
    exact = theirs.gelu(x.double()[1:])
    torch.testing.assert_close(ours.gelu(x)[1:].double(), exact, rtol=1e-5, atol=0)
    assert ours.gelu(x)[0] == pytest.approx(-7.619853024160527e-23, rel=1e-6)
    assert ours.tanhshrink(torch.tensor([1e-3]))[0] == pytest.approx(3.33333200e-10, rel=1e-6)
