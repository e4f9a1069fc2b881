"""lossk.torch.optim against torch's own: steps, groups, hooks, and what torch must do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lossk.torch as lt
from tests.support.arrays import in_turn
from tests.support.torch_optim import (
    TOLERANCE,
    assert_close,
    copies,
    each_case,
    give_gradients,
    kernels,
    parameters,
    plain,
    runs_on_kernels,
)

pytestmark = pytest.mark.usefixtures("torch_seed")


@each_case
@in_turn("dtype", TOLERANCE)
def test_steps_are_torchs(name: str, options: dict[str, Any], dtype: Any) -> None:
    ours = parameters(dtype)
    theirs = copies(ours)
    a, b = kernels(name, ours, options), plain(name, theirs, options)
    for step in range(4):
        give_gradients(ours, theirs, seed=step, skip=3 if step == 2 else None)
        a.step()
        b.step()
        assert runs_on_kernels(a)
    assert_close(ours, theirs)
    saved, wanted = a.state_dict(), b.state_dict()
    assert saved["state"].keys() == wanted["state"].keys()
    for i, own in wanted["state"].items():
        assert own.keys() == saved["state"][i].keys()
        for slot, tensor in own.items():
            assert saved["state"][i][slot].dtype == tensor.dtype
            assert_close([saved["state"][i][slot]], [tensor])
    assert [g.keys() for g in saved["param_groups"]] == [g.keys() for g in wanted["param_groups"]]


@each_case
@in_turn("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_updated_in_float32(name: str, options: dict[str, Any], dtype: Any) -> None:
    """What float32 steps, rounded once a step, give; the same gradients."""
    ours = parameters(dtype)
    wide = [torch.nn.Parameter(p.detach().float()) for p in ours]
    a, b = kernels(name, ours, options), plain(name, wide, options)
    for step in range(3):
        give_gradients(ours, seed=step)
        for p, w in zip(ours, wide, strict=True):
            w.grad = p.grad.float()
        a.step()
        b.step()
        for p, w in zip(ours, wide, strict=True):
            w.data.copy_(w.data.to(dtype))
            assert_close([p], [w], torch.finfo(dtype).eps)
            w.data.copy_(p.data)
        assert runs_on_kernels(a)
    assert all(t.dtype is torch.float32 for own in a.state.values() for t in own.values())


@pytest.mark.parametrize("name", ["NAdam", "ASGD"])
def test_numbers_of_the_state_remember_what_options_were(name: str) -> None:
    """NAdam's product of momenta under betas that change, ASGD's rates under a schedule; several counts."""
    ours = parameters()
    theirs = copies(ours)
    a, b = kernels(name, ours, {"lr": 0.1}), plain(name, theirs, {"lr": 0.1})
    schedules = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5) for optimizer in (a, b)]
    for step in range(6):
        give_gradients(ours, theirs, seed=step, skip=(3, 5, None)[step % 3])
        for optimizer, schedule in zip((a, b), schedules, strict=True):
            if name == "NAdam":
                optimizer.param_groups[0]["betas"] = (0.9 - 0.1 * step, 0.99)
            optimizer.step()
            schedule.step()
        assert runs_on_kernels(a)
    assert_close(ours, theirs)
    for p, q in zip(ours, theirs, strict=True):
        assert_close(list(a.state[p].values()), list(b.state[q].values()))


def test_groups_have_options_of_their_own_and_may_be_added() -> None:
    ours = parameters()
    theirs = copies(ours)
    pair = [
        make("AdamW", [{"params": p[:2]}, {"params": p[2:4], "weight_decay": 0.5, "lr": 0.1}], {"lr": 0.01})
        for make, p in ((kernels, ours), (plain, theirs))
    ]
    for step in range(6):
        give_gradients(ours, theirs, seed=step)
        if step == 3:
            for optimizer, p in zip(pair, (ours, theirs), strict=True):
                optimizer.add_param_group({"params": p[4:], "betas": (0.5, 0.5), "maximize": True})
                optimizer.param_groups[0]["amsgrad"] = False
        for optimizer in pair:
            optimizer.step()
    assert_close(ours, theirs)
    assert len(pair[0]._plans) == 3


def test_schedulers_closures_and_hooks_are_called() -> None:
    ours = parameters()
    theirs = copies(ours)
    seen: list[str] = []
    losses = []
    for make, params in ((kernels, ours), (plain, theirs)):
        optimizer = make("SGD", params, {"lr": 0.1, "momentum": 0.9})
        optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
        optimizer.register_step_post_hook(lambda *_: seen.append("after"))
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)

        def closure(params: Any = params, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = sum((p**2).sum() for p in params)
            loss.backward()
            return loss

        for _ in range(5):
            loss = optimizer.step(closure)
            schedule.step()
        losses.append(float(loss.detach()))
    assert_close(ours, theirs)
    assert losses[0] == pytest.approx(losses[1])
    assert seen == ["before", "after"] * 10


def test_sparse_gradients_are_torchs() -> None:
    def make(optim: Any) -> tuple[Any, Any]:
        torch.manual_seed(2)
        model = torch.nn.Sequential(torch.nn.Embedding(7, 3, sparse=True), torch.nn.Linear(3, 2))
        return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    (model, a), (same, b) = make(lt.optim), make(torch.optim)
    for _ in range(3):
        for m, optimizer in ((model, a), (same, b)):
            optimizer.zero_grad()
            m(torch.tensor([1, 2, 2])).square().sum().backward()
            optimizer.step()
    assert_close(list(model.parameters()), list(same.parameters()))
    p = torch.nn.Parameter(torch.zeros(3))
    q = torch.nn.Parameter(torch.zeros(3))
    p.grad, q.grad = torch.ones(3), torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="Adam does not support sparse gradients"):
        lt.optim.Adam([p, q]).step()
    assert not p.any()


@pytest.mark.parametrize(
    "options",
    [{"foreach": True}, {"fused": True}, {"differentiable": True}, {"lr": torch.tensor(0.1)}, {"betas": (0.5, 0.0)}],
    ids=str,
)
def test_options_that_are_torchs(options: dict[str, Any]) -> None:
    options = {"lr": 0.1, **options}
    ours = parameters()
    theirs = copies(ours)
    a, b = lt.optim.Adam(ours, **options), torch.optim.Adam(theirs, **options)
    for step in range(3):
        give_gradients(ours, theirs, seed=step)
        if options.get("differentiable"):
            with torch.no_grad():
                for optimizer in (a, b):
                    optimizer.defaults["differentiable"] = False
        a.step()
        b.step()
    assert_close(ours, theirs)


def test_a_grad_scaler_skips_and_unscales() -> None:
    """A gradient that is not finite skips the step, momentum included; scales are divided out."""
    results = []
    for make in (kernels, plain):
        (p,) = parameters(shapes=((5,),))
        with torch.no_grad():
            p.copy_(torch.arange(5.0))
        optimizer = make("SGD", [p], {"lr": 0.1, "momentum": 0.9})
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for factor in (1.0, float("inf"), 2.0):
            optimizer.zero_grad()
            scaler.scale((p * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        results.append([p, optimizer.state[p]["momentum_buffer"]])
    assert_close(*results)
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.full((2,), 8.0)
    optimizer = lt.optim.SGD([p], lr=1.0)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(1.0)
    optimizer.step()
    assert not p.any()
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert p.tolist() == [-2.0, -2.0]


def test_errors_are_torchs() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="Invalid learning rate"):
        lt.optim.SGD([p], lr=-1.0)
    with pytest.raises(ValueError, match="empty parameter list"):
        lt.optim.Adam([])
    p.grad = torch.ones(3)
    optimizer = lt.optim.RMSprop([p])
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(KeyError, match="momentum_buffer"):
        optimizer.step()


def test_betas_may_be_in_a_list_that_changes() -> None:
    own = parameters()
    other = copies(own)
    ours, theirs = lt.optim.Adam(own, lr=0.01), torch.optim.Adam(other, lr=0.01)
    for optimizer in (ours, theirs):
        optimizer.param_groups[0]["betas"] = [0.9, 0.999]
    for step in range(4):
        give_gradients(own, other, seed=step)
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["betas"][0] = 0.9 if step < 2 else 0.1
            optimizer.step()
    for p, q in zip(own, other, strict=True):
        torch.testing.assert_close(p, q, rtol=2e-6, atol=2e-6)


def test_an_interrupted_step_is_counted_where_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes as soon as the kernels are through: parameter, state and number of steps belong together."""
    from lossk.torch.optim import _plan

    class Interrupt(BaseException):
        pass

    def interrupted(*arguments: Any) -> None:
        made(*arguments)
        raise Interrupt

    p = torch.nn.Parameter(torch.ones(4))
    p.grad = torch.ones(4)
    adam, made = lt.optim.Adam([p], lr=0.1), _plan.step_at
    monkeypatch.setattr(_plan, "step_at", interrupted)
    with pytest.raises(Interrupt):
        adam.step()
    assert (p != 1).all()
    assert adam.state[p]["step"] == 1
