"""The state of lossk.torch.optim: dicts both ways between torch and lossk, copies, 16 bits."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from tests.support.torch_optim import (
    assert_close,
    copies,
    give_gradients,
    kernels,
    one_of_each,
    parameters,
    plain,
    runs_on_kernels,
)

pytestmark = pytest.mark.usefixtures("torch_seed")


@one_of_each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("way", ["torch to lossk", "lossk to torch", "lossk to lossk"])
def test_state_dicts_are_interchangeable(name: str, options: dict[str, Any], dtype: Any, way: str) -> None:
    """Three steps by one, three by the other: as six by the second alone, within the rounding of 16-bit state."""
    make_first, make_second = {
        "torch to lossk": (plain, kernels),
        "lossk to torch": (kernels, plain),
        "lossk to lossk": (kernels, kernels),
    }[way]
    first, alone = parameters(dtype), None
    alone = copies(first)
    a, b = make_first(name, first, options), make_first(name, alone, options)
    for step in range(3):
        give_gradients(first, alone, seed=step)
        a.step()
        b.step()
    c = make_second(name, first, {**options, "lr": 1.0})
    c.load_state_dict(pickle.loads(pickle.dumps(a.state_dict())))
    assert c.param_groups[0]["lr"] == options["lr"]
    for step in range(3, 6):
        give_gradients(first, alone, seed=step)
        c.step()
        b.step()
    if way == "lossk to lossk":
        assert_close(first, alone, 0.0)
    else:
        assert_close(first, alone, 2e-6 if dtype is torch.float32 else 4 * torch.finfo(dtype).eps)
    if make_second is plain:
        assert all(t.dtype is dtype for own in c.state.values() for slot, t in own.items() if slot != "step")


def test_copies_go_on_alike() -> None:
    """Optimizers copied, or saved and read again, together with their parameters."""
    ours = parameters()
    optimizer = kernels("Adam", ours, {"lr": 0.1, "amsgrad": True})
    for step in range(2):
        give_gradients(ours, seed=step)
        optimizer.step()
    pairs = [copy.deepcopy((ours, optimizer)), pickle.loads(pickle.dumps((ours, optimizer))), (ours, optimizer)]
    for params, own in pairs:
        for step in range(2, 4):
            give_gradients(params, seed=step)
            own.step()
        assert runs_on_kernels(own)
        assert_close(params, pairs[0][0], 0.0)


def test_16_bit_state_is_narrowed_for_torch_and_widened_again() -> None:
    (p,) = parameters(torch.bfloat16, ((64,),))
    (q,) = copies([p])
    a, b = kernels("Adam", [p], {"lr": 0.1}), plain("Adam", [q], {"lr": 0.1})
    for step in range(6):
        give_gradients([p], [q], seed=step)
        a.param_groups[0]["foreach"] = step in (2, 3) or None
        a.step()
        b.step()
        wanted = torch.bfloat16 if step in (2, 3) else torch.float32
        assert a.state[p]["exp_avg"].dtype is wanted
    assert_close([p], [q], 8 * torch.finfo(torch.bfloat16).eps)


def test_parameters_without_gradient_have_no_state() -> None:
    ours = parameters(shapes=((3,), (4,), (5,)))
    theirs = copies(ours)
    pair = [make("Adam", p, {"lr": 0.1}) for make, p in ((kernels, ours), (plain, theirs))]
    for step, skip in enumerate((1, 1, None, 0, 1)):
        give_gradients(ours, theirs, seed=step, skip=skip)
        for optimizer in pair:
            optimizer.step()
        assert len(pair[0].state) == len(pair[1].state)
        assert_close(ours, theirs)
        counts = [[float(own["step"]) for own in optimizer.state.values()] for optimizer in pair]
        assert counts[0] == counts[1]
    for optimizer in pair:
        optimizer.zero_grad()
        optimizer.step()
    assert_close(ours, theirs)
