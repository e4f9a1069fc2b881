"""Strides of what lossk.torch returns: torch's, of losses, gradients and softmax, eager and compiled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import CASES, Draw, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")


SHAPE = (2, 5, 3, 4)
# The two tensors that torch differentiates most losses by; and one case of each function, with and without weights.
DIFFERENTIATED = {"mse_loss": 2, "l1_loss": 2, "huber_loss": 2, "smooth_l1_loss": 2, "gaussian_nll_loss": 3}
FUNCTIONS = {(case[0], len(case[1](Draw(1, 4, 3)))): case for case in CASES if not case[0].startswith("multi")}
ROW_FUNCTIONS = [
    (name, lambda draw: {"input": draw.normal()}, {"dim": dim})
    for dim in (0, 1, 3)
    for name in ("softmax", "log_softmax")
]


def sliced(t: Any) -> Any:
    return torch.stack([t, t], -1)[..., 0]


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda t: t,
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t,
    "transposed": lambda t: t.transpose(-1, -2).contiguous().transpose(-1, -2) if t.dim() > 1 else t,
    "expanded": lambda t: t[:1].expand(t.shape),
    "sliced": sliced,
}


def strides(t: Any) -> tuple[int, ...]:
    """Return the strides that mean something."""
    return tuple(step for step, n in zip(t.stride(), t.shape, strict=True) if n > 1)


def outcome(function: Any, name: str, tensors: dict[str, Any], options: dict[str, Any], upstream: Any) -> Any:
    """Return the result and all gradients that torch has, or None where torch itself fails."""
    views = {key: t.detach().as_strided(t.shape, t.stride()) for key, t in tensors.items()}
    leaves = [t.requires_grad_() for t in list(views.values())[: DIFFERENTIATED.get(name, 1)]]
    value = function(**views, **options)
    above = torch.ones_like(value) if value.dim() == 0 else upstream(torch.ones(value.shape, dtype=value.dtype))
    try:
        return [value.detach(), *torch.autograd.grad(value, leaves, above)]
    except RuntimeError as error:
        if "grad_input must be contiguous" not in str(error):
            raise
        return None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "draw", "options"), [*FUNCTIONS.values(), *ROW_FUNCTIONS])
def test_strides_are_torchs(name: str, draw: Any, options: dict[str, Any], layout: str) -> None:
    reductions = [{}] if "softmax" in name else [{"reduction": "mean"}, {"reduction": "none"}]
    for reduction, alike, above in itertools.product(reductions, (True, False), ("contiguous", "transposed")):
        if name == "kl_div":
            reduction = {"reduction": "batchmean" if alike else "sum"}  # the others are torch's, or warn
        tensors = draw(Draw(1, *SHAPE))
        tensors = {k: LAYOUTS[layout](t) if alike or k == "input" else t for k, t in tensors.items()}
        got, want = (
            outcome(getattr(f, name), name, tensors, {**options, **reduction}, LAYOUTS[above]) for f in (ours, theirs)
        )
        if want is not None:
            assert [*map(strides, got)] == [*map(strides, want)], (reduction, alike, above)
            torch.testing.assert_close(got, want, equal_nan=True)


def test_a_view_of_a_result_is_as_easy_as_torchs() -> None:
    z, t = torch.randn(2, 5, 4, 4, requires_grad=True), torch.zeros(2, 4, 4, dtype=torch.long)
    with ours.installed():
        assert theirs.softmax(z, dim=1).view(2, -1).shape == (2, 80)
        (grad,) = torch.autograd.grad(theirs.cross_entropy(z, t), z)
    assert grad.view(-1).shape == (160,)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["cross_entropy", "log_softmax", "huber_loss", "binary_cross_entropy"])
def test_compiled_strides_are_torchs(name: str, layout: str) -> None:
    z, t = LAYOUTS[layout](torch.rand(SHAPE)), torch.zeros(2, 3, 4, dtype=torch.long)
    y = z.clone(memory_format=torch.preserve_format)
    options: dict[str, Any] = {"dim": 1} if name == "log_softmax" else {"reduction": "none"}
    if name != "log_softmax":
        options["target"] = t if name == "cross_entropy" else y
    torch._dynamo.reset()
    compiled = torch.compile(
        getattr(ours, name), fullgraph=True, backend="aot_eager", dynamic=layout == "channels last"
    )
    found = []
    for function in (compiled, getattr(theirs, name)):
        leaf = z.as_strided(z.shape, z.stride()).requires_grad_()
        value = function(leaf, **options)
        found.append([strides(value), strides(torch.autograd.grad(value, leaf, torch.ones_like(value))[0])])
    assert found[0] == found[1]


@pytest.mark.parametrize("transposed", ["x", "w", "neither"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_strides_of_a_layer_are_torchs(transposed: str, reduction: str) -> None:
    x, w, t = torch.randn(6, 4), torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 4, 0])
    x, w = (LAYOUTS["transposed"](a) if name == transposed else a for name, a in (("x", x), ("w", w)))
    found = []
    for f in (ours, theirs):
        leaves = [a.as_strided(a.shape, a.stride()).requires_grad_() for a in (x, w)]
        value = f.linear_cross_entropy(*leaves, t, reduction=reduction)
        found.append([*map(strides, torch.autograd.grad(value.sum(), leaves))])
    assert found[0] == found[1]
