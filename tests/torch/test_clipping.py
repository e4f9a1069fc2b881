"""lossk.torch.clip_grad_norm_ against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lossk.torch as lt
from tests.support.torch_optim import TOLERANCE, assert_close, give_gradients, parameters

pytestmark = pytest.mark.usefixtures("torch_seed")


@pytest.mark.parametrize("dtype", [*TOLERANCE, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e9])
def test_clipped_gradients_are_torchs(dtype: Any, max_norm: float) -> None:
    ours = parameters(dtype)
    theirs = [torch.nn.Parameter(p.detach().double()) for p in ours]
    give_gradients(ours, seed=1, skip=2)
    for p, q in zip(ours, theirs, strict=True):
        q.grad = None if p.grad is None else p.grad.double().clone()
    got = lt.clip_grad_norm_(iter(ours), max_norm)
    want = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    tolerance = TOLERANCE.get(dtype, torch.finfo(dtype).eps)
    assert got.shape == ()
    assert got.dtype is (dtype if dtype is torch.float64 else torch.float32)
    assert_close([got], [want], 1e-6)
    there = [i for i, p in enumerate(ours) if p.grad is not None]
    assert_close([ours[i].grad for i in there], [theirs[i].grad for i in there], tolerance)


def test_what_lossk_does_not_clip_is_torchs() -> None:
    for norm_type in (1.0, float("inf")):
        p, q = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
        p.grad, q.grad = torch.arange(4.0), torch.arange(4.0)
        assert lt.clip_grad_norm_(p, 1.0, norm_type) == torch.nn.utils.clip_grad_norm_(q, 1.0, norm_type)
        assert_close([p.grad], [q.grad])
    p, q = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    p.grad, q.grad = torch.tensor([float("inf"), 1.0]), torch.tensor([float("inf"), 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        lt.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [float("inf"), 1.0]
    assert lt.clip_grad_norm_([p], 1.0) == torch.nn.utils.clip_grad_norm_([q], 1.0)
    torch.testing.assert_close(p.grad, q.grad, equal_nan=True)
    assert lt.clip_grad_norm_([], 1.0) == 0
    with pytest.warns(UserWarning, match="empty generator"):
        assert lt.clip_grad_norm_((x for x in ()), 1.0) == 0
    of_sparse: list[list[float] | None] = []
    for clip in (lt.clip_grad_norm_, torch.nn.utils.clip_grad_norm_):
        p.grad = torch.ones(2).to_sparse()
        try:
            of_sparse.append([float(clip([p], 1.0)), *p.grad.to_dense().tolist()])
        except NotImplementedError:  # torch up to 2.13 clips no sparse gradients, and neither does lossk then
            of_sparse.append(None)
    assert of_sparse[0] == of_sparse[1]
    q.grad = torch.ones(2)
    p.grad = q.grad  # one tensor twice: scaled twice, as torch does
    norm = lt.clip_grad_norm_([p, q], 1.0)
    assert float(norm) == pytest.approx(2)
    torch.testing.assert_close(p.grad, torch.full((2,), 0.25))
