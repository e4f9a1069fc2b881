"""The loss of causal language models, and where transformers has it."""

from __future__ import annotations

import contextlib
import sys
import types
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import theirs

pytestmark = pytest.mark.usefixtures("torch_put_back")


def causal_lm(logits: Any, labels: Any, count: Any = None, ignored: int = -100) -> Any:
    """The loss as transformers documents it: float32 logits, labels moved by one."""
    rows, target = logits[..., :-1, :].float().flatten(0, -2), labels[..., 1:].flatten()
    loss = theirs.cross_entropy(rows, target, ignore_index=ignored, reduction="mean" if count is None else "sum")
    return loss if count is None else loss / count


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("count", [None, 7, torch.tensor(7)], ids=str)
def test_the_loss_is_that_of_transformers(dtype: Any, count: Any) -> None:
    z, labels = torch.randn(2, 5, 11).to(dtype).requires_grad_(), torch.randint(0, 11, (2, 5))
    labels[0, 2] = -100
    loss = ours.causal_lm_loss(z, labels, vocab_size=11, num_items_in_batch=count)
    want = causal_lm(z, labels, count)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, want, rtol=1e-5, atol=1e-6)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(*(torch.autograd.grad(v, z)[0] for v in (loss, want)), rtol=tolerance, atol=1e-4)


def test_transformers_is_given_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the module is imported, its function and the entries of its table are replaced, and put back."""

    def original() -> None:
        """Stand in for transformers' function."""

    name = "transformers.loss.loss_utils"
    module = types.ModuleType(name)
    module.ForCausalLMLoss = original  # type: ignore[attr-defined]
    module.LOSS_MAPPING = {"ForCausalLM": original, "ForMaskedLM": print}  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "transformers", raising=False)  # it would import more, which takes this
    monkeypatch.setitem(sys.modules, name, module)
    with ours.installed():
        assert module.ForCausalLMLoss is ours.causal_lm_loss
        assert module.LOSS_MAPPING["ForCausalLM"] is ours.causal_lm_loss
        assert module.LOSS_MAPPING["ForMaskedLM"] is print
    assert module.ForCausalLMLoss is original
    assert module.LOSS_MAPPING["ForCausalLM"] is original


def test_transformers_own_table_has_it() -> None:
    utils = pytest.importorskip("transformers.loss.loss_utils", reason="transformers is not installed")
    z, labels = torch.randn(2, 5, 11).bfloat16(), torch.randint(0, 11, (2, 5))
    want = utils.ForCausalLMLoss(z, labels, 11)
    with ours.installed():
        torch.testing.assert_close(utils.LOSS_MAPPING["ForCausalLM"](z, labels, 11), want, rtol=1e-5, atol=1e-6)


def test_a_model_of_transformers_has_the_same_gradients() -> None:
    """A small GPT-2, as it is: loss and gradients are those it has without lossk, and lossk computes them."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    tokens = torch.randint(0, 50, (2, 9))
    found = []
    for context in (contextlib.nullcontext(), ours.installed()):
        model.zero_grad()
        with context:
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert loss.grad_fn.name() == "LinearFunctionBackward"
    torch.testing.assert_close(*found)
