"""Memory that lossk.torch.optim works in: other layouts, shared, moved, released."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch

import lossk.torch as lt
from tests.support.torch_optim import (
    assert_close,
    copies,
    give_gradients,
    kernels,
    parameters,
    plain,
    runs_on_kernels,
)

pytestmark = pytest.mark.usefixtures("torch_seed")


def test_memory_that_moves_is_noticed() -> None:
    """Parameters and state that point elsewhere, are replaced or transposed, and gradients in other layouts."""
    ours = parameters(shapes=((4, 4), (3, 5), (6,)))
    theirs = copies(ours)
    pair = [make("Adam", p, {"lr": 0.1}) for make, p in ((kernels, ours), (plain, theirs))]
    for step in range(8):
        give_gradients(ours, theirs, seed=step)
        for optimizer, params in zip(pair, (ours, theirs), strict=True):
            p, q, r = params
            if step == 1:
                p.data = p.data.clone()
            if step == 2:
                optimizer.state[q]["exp_avg"] = optimizer.state[q]["exp_avg"] * 2
            if step == 3:
                r.data, r.grad = r.data[:4].clone(), r.grad[:4].clone()
                optimizer.state.pop(r)
            if step >= 4:
                r.grad = r.grad[:4] if r.grad is not None else None
                p.grad = p.grad.t()
                q.grad = q.grad.t().contiguous().t()
            if step == 5:
                optimizer.state[p]["exp_avg_sq"].data = optimizer.state[p]["exp_avg_sq"].data.clone()
                optimizer.state[p]["step"] = torch.tensor(7.0)
            if step == 6:
                optimizer.state.clear()
        for optimizer in pair:
            optimizer.step()
        assert_close(ours, theirs)
    assert runs_on_kernels(pair[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_permuted_axes_are_updated_as_they_lie(dtype: Any) -> None:
    """Parameters whose axes are permuted are updated as they lie; those with gaps are torch's."""

    def make() -> list[Any]:
        torch.manual_seed(1)
        images = torch.randn(2, 3, 4, 5).to(dtype).contiguous(memory_format=torch.channels_last)
        return [torch.nn.Parameter(t) for t in (torch.randn(5, 4).to(dtype).t(), images)] + [
            torch.nn.Parameter(torch.randn(6, 6).to(dtype)[:, ::2]),
        ]

    ours, wide = make(), [torch.nn.Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in make()]
    a, b = kernels("AdamW", ours, {"lr": 0.1}), plain("AdamW", wide, {"lr": 0.1})
    for step in range(3):
        give_gradients(ours, wide, seed=step)
        a.step()
        b.step()
    assert_close(ours, wide, 2e-6 if dtype is torch.float32 else 8 * torch.finfo(dtype).eps)
    plan = a._plans[0]
    assert [len(plan.mine), len(plan.theirs)] == [2, 1]
    assert ours[1].is_contiguous(memory_format=torch.channels_last)


def test_shared_memory_is_torchs() -> None:
    """A parameter given twice, views of one tensor, and a gradient that is its parameter."""
    base = torch.arange(6.0)
    results = []
    for make in (kernels, plain):
        own = base.clone()
        p, q = torch.nn.Parameter(own[:4]), torch.nn.Parameter(own[2:])
        p.grad, q.grad = torch.ones(4), torch.ones(4)
        make("SGD", [p, q], {"lr": 0.5, "momentum": 0.9, "dampening": 0.5}).step()
        r = torch.nn.Parameter(base.clone())
        r.grad = r.data
        optimizer = make("SGD", [r], {"lr": 0.5, "momentum": 0.9, "dampening": 0.5})
        for _ in range(2):
            optimizer.step()
        results.append([own, r])
    assert_close(*results)


def test_a_saved_graph_notices_the_step() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    y = (p**2).sum()
    p.grad = torch.ones(3)
    lt.optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_memory_is_released() -> None:
    """A plan holds tensors of its own optimizer only."""
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = lt.optim.Adam([p])
    optimizer.step()
    buffer = optimizer.state[p]["exp_avg"].numpy()
    assert np.isfinite(buffer).all()
    del optimizer
    gc.collect()
    assert np.isfinite(buffer).all()
