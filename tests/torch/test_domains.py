"""Targets outside a loss's domain: lossk.torch checks what torch checks, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import lossk.torch as ours

theirs = torch.nn.functional
Z = torch.tensor([[0.3, -0.2, 1.5], [0.1, 0.7, -1.0]], dtype=torch.float64)
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
OUTSIDE = {
    "soft_margin_loss": LABELS,
    "hinge_embedding_loss": LABELS,
    "poisson_nll_loss": -LABELS,
    "binary_cross_entropy_with_logits": 3 * LABELS - 1,
    "kl_div": LABELS - 0.25,
    "cross_entropy": LABELS - 0.25,
}


def value_and_grad(call: Callable[..., Any], y: Any, reduction: str) -> tuple[Any, Any]:
    z = Z.to(y.dtype).clone().requires_grad_()
    value = call(z, y, reduction=reduction)
    value.sum().backward()
    return value.detach(), z.grad


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_torch_does_not_check_is_computed(name: str) -> None:
    ours.explain(reset=True)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        y = OUTSIDE[name].to(dtype)
        for reduction in ("mean", "sum", "none"):
            if name == "kl_div" and reduction != "sum":
                continue  # torch warns of its mean; by elements it is torch's own
            for pair in zip(*(value_and_grad(getattr(of, name), y, reduction) for of in (ours, theirs)), strict=True):
                rtol = 2e-2 if dtype is torch.bfloat16 else 1e-5
                torch.testing.assert_close(*pair, rtol=rtol, atol=rtol, equal_nan=True)
    assert ours.explain() == {}


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's, of vmap
@pytest.mark.parametrize("name", OUTSIDE)
def test_nor_where_it_is_compiled_or_transformed(name: str) -> None:
    y, call, reference = OUTSIDE[name], getattr(ours, name), getattr(theirs, name)
    torch._dynamo.reset()
    compiled = torch.compile(lambda z, y: call(z, y, reduction="sum"), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(Z, y), reference(Z, y, reduction="sum"), equal_nan=True)
    z = Z.clone().requires_grad_()
    compiled(z, y).backward()
    torch.testing.assert_close(z.grad, value_and_grad(reference, y, "sum")[1])
    got = torch.func.vmap(lambda z, y: call(z[None], y[None], reduction="sum"))(Z, y)
    torch.testing.assert_close(got.sum(), reference(Z, y, reduction="sum"), equal_nan=True)
    torch._dynamo.reset()


def test_what_torch_checks_is_torch_s_error() -> None:
    share = Z.sigmoid()
    for of in (ours, theirs):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            of.binary_cross_entropy(share + 1, share)  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="var has negative entry"):
            of.gaussian_nll_loss(Z, Z, -share)  # type: ignore[attr-defined]
