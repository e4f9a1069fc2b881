"""CTC in lossk.torch: values and gradients as in torch, and what goes to torch."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import REDUCTIONS, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")


def draw(times: int, samples: int, classes: int, most: int, dtype: Any) -> tuple[Any, ...]:
    logits = 2 * torch.randn(times, samples, classes, dtype=torch.float64)
    targets = torch.randint(1, classes, (samples, most))
    lengths = torch.randint(0, most + 1, (samples,))
    return logits.log_softmax(-1).to(dtype), targets, torch.randint(most, times + 1, (samples,)), lengths


def run(function: Any, log_probs: Any, *others: Any, scale: float = 1.0, **options: Any) -> list[Any]:
    leaf = log_probs.detach().clone().requires_grad_()
    value = function(leaf, *others, **options)
    upstream = scale * torch.linspace(0.5, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
    value.backward(upstream, retain_graph=True)
    first = leaf.grad.clone()
    leaf.grad = None
    value.backward(upstream)
    torch.testing.assert_close(leaf.grad, first, rtol=1e-5, atol=1e-7, equal_nan=True)
    return [value.detach(), first]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_values_and_gradients_are_torchs(dtype: Any) -> None:
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}.get(dtype, 4 * torch.finfo(dtype).eps)
    shapes = ((12, 4, 5, 5), (50, 3, 29, 20), (9, 2, 3, 0))
    for shape, reduction, zero_infinity, scale in itertools.product(shapes, REDUCTIONS, (False, True), (1.0, 2.0)):
        log_probs, *others = draw(*shape, dtype)
        options = {"reduction": reduction, "zero_infinity": zero_infinity, "scale": scale}
        ours.explain(reset=True)
        got = run(ours.ctc_loss, log_probs, *others, **options)
        assert not ours.explain()
        want = run(theirs.ctc_loss, log_probs.double(), *others, **options)
        for a, b in zip(got, want, strict=True):
            assert a.dtype is dtype
            torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_ways_to_say_targets_and_lengths() -> None:
    log_probs, targets, times, lengths = draw(20, 4, 6, 5, torch.float32)
    want = theirs.ctc_loss(log_probs, targets, times, lengths)
    packed = torch.cat([row[:n] for row, n in zip(targets, lengths, strict=True)])
    ours.explain(reset=True)
    for target in (targets, packed, targets.int()):
        for as_lengths in (lambda t: t, lambda t: tuple(t.tolist()), lambda t: t.int()):
            got = ours.ctc_loss(log_probs, target, as_lengths(times), as_lengths(lengths))
            torch.testing.assert_close(got, want)
    assert not ours.explain()


def test_gradients_pass_torchs_check() -> None:
    logits, *others = draw(6, 2, 4, 2, torch.float64)
    logits.requires_grad_()
    for reduction in REDUCTIONS:

        def function(x: Any, reduction: str = reduction) -> Any:
            return ours.ctc_loss(x.log_softmax(-1), *others, reduction=reduction)

        assert torch.autograd.gradcheck(function, logits)


def test_the_module_is_torchs() -> None:
    arguments = draw(20, 4, 6, 5, torch.float64)
    options = {"blank": 0, "reduction": "sum", "zero_infinity": True}
    mine, other = ours.CTCLoss(**options), torch.nn.CTCLoss(**options)
    assert isinstance(mine, torch.nn.CTCLoss)
    assert repr(mine) == repr(other)
    torch.testing.assert_close(mine(*arguments), other(*arguments))


def test_the_rest_is_torchs() -> None:
    log_probs, targets, times, lengths = draw(20, 4, 6, 5, torch.float32)
    ours.explain(reset=True)
    one = (log_probs[:, 0], targets[0, : lengths[0]], times[:1], lengths[:1])
    torch.testing.assert_close(ours.ctc_loss(*one), theirs.ctc_loss(*one))
    compiled = torch.compile(ours.ctc_loss, backend="eager")
    torch.testing.assert_close(
        compiled(log_probs, targets, times, lengths), theirs.ctc_loss(log_probs, targets, times, lengths)
    )
    with pytest.raises(RuntimeError):
        ours.ctc_loss(log_probs, targets, times + 100, lengths)
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        ours.ctc_loss(log_probs, targets, times, lengths, reduction="median")
    assert sum(ours.explain(reset=True).values()) >= 3
