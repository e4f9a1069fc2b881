"""lossk under transformers: Trainer, as it is, comes to the losses and weights that it comes to without lossk."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lossk.torch as ours

pytest.importorskip("accelerate", reason="accelerate is not installed: lossk under Trainer was not tested")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: lossk under Trainer was not tested"
)


TOKENS, CLASSES = 16, 200


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' and accelerate's own
        yield


def new_model() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=CLASSES, num_key_value_heads=2, pad_token_id=0, **sizes)
    )


def wrapped(model: Any, layer: str) -> Any:
    """Return the model with adapters of low rank: only they are trained, behind a wrapper."""
    peft = pytest.importorskip("peft", reason="peft is not installed: lossk under adapters was not tested")
    torch.manual_seed(1)
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=[layer], task_type="CAUSAL_LM"))


def trained(folder: Path, model: Any, metrics: Any = None, **options: Any) -> list[Any]:
    """Return the mean loss of a short training, the loss of an evaluation, and the weights."""
    tokens = torch.randint(1, CLASSES, (24, TOKENS), generator=torch.Generator().manual_seed(2))
    labels = tokens.masked_fill(torch.arange(24)[:, None] % 3 * 4 > torch.arange(TOKENS), -100)  # rows count unlike
    rows = [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels, strict=True)]
    arguments = transformers.TrainingArguments(
        str(folder),
        **{"per_device_train_batch_size": 4, "max_steps": 3, "learning_rate": 1e-2, "seed": 0, **options},
        **{"report_to": [], "use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"},
    )
    data = {"train_dataset": rows, "eval_dataset": rows[:8]}
    trainer = transformers.Trainer(model=model, args=arguments, **data, **(metrics or {}))
    loss, found = trainer.train().training_loss, trainer.evaluate()
    if metrics:
        assert found["eval_of"] == (8, TOKENS, CLASSES)
        return [loss, found["eval_sum"]]
    return [loss, found["eval_loss"], *(p.detach() for p in model.parameters())]


@pytest.mark.parametrize(("adapters", "batches"), [("", 1), ("", 2), ("q_proj", 2), ("lm_head", 2)])
def test_trainer_comes_to_the_same(tmp_path: Path, adapters: str, batches: int) -> None:
    importlib.import_module("transformers.trainer")  # which has imported the function before it is replaced
    found = []
    for context in (contextlib.nullcontext(), ours.installed()):
        with context:
            model = wrapped(new_model(), adapters) if adapters else new_model()
            found.append(trained(tmp_path, model, gradient_accumulation_steps=batches))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_evaluation_reads_logits(tmp_path: Path) -> None:
    """Metrics of predictions, and a loss with label smoothing, are those of the model as it is."""
    found, seen = [], []
    for context in (contextlib.nullcontext(), ours.installed()):
        with context:
            metrics = {"compute_metrics": lambda p: {"sum": float(abs(p.predictions).sum()), "of": p.predictions.shape}}
            found.append(trained(tmp_path, new_model(), metrics, label_smoothing_factor=0.1)[:2])
            seen.append(trained(tmp_path, new_model(), metrics, gradient_checkpointing=True)[:2])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert seen[1] == pytest.approx(seen[0], rel=1e-5)


def test_trainer_in_sixteen_bits_comes_to_the_same(tmp_path: Path) -> None:
    found = []
    for context in (contextlib.nullcontext(), ours.installed()):
        with context:
            found.append(trained(tmp_path, new_model(), bf16=True)[:2])
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_the_function_is_replaced_wherever_transformers_has_it() -> None:
    """In every module, those that are imported while lossk is installed among them, and put back in all of them."""
    utils = importlib.import_module("transformers.loss.loss_utils")
    trainer = importlib.import_module("transformers.trainer")
    original = utils.ForCausalLMLoss
    with ours.installed():
        assert trainer.ForCausalLMLoss is utils.ForCausalLMLoss is ours.causal_lm_loss
        assert utils.LOSS_MAPPING["ForCausalLM"] is trainer.ForCausalLMLoss
        late = type(sys)("transformers.imported_late")
        late.f = utils.ForCausalLMLoss  # type: ignore[attr-defined]
        sys.modules[late.__name__] = late
    try:
        assert late.f is trainer.ForCausalLMLoss is utils.ForCausalLMLoss is original
        assert original in utils.LOSS_MAPPING.values()
        assert ours.causal_lm_loss not in utils.LOSS_MAPPING.values()
    finally:
        del sys.modules[late.__name__]


def test_installing_again_takes_in_a_transformers_that_was_imported_since(monkeypatch: pytest.MonkeyPatch) -> None:
    utils = importlib.import_module("transformers.loss.loss_utils")
    trainer = importlib.import_module("transformers.trainer")
    original = utils.ForCausalLMLoss
    monkeypatch.delitem(sys.modules, utils.__name__)
    with ours.installed():
        assert trainer.ForCausalLMLoss is original
        monkeypatch.undo()
        with ours.installed():
            assert trainer.ForCausalLMLoss is utils.ForCausalLMLoss is ours.causal_lm_loss
    assert trainer.ForCausalLMLoss is utils.ForCausalLMLoss is original
