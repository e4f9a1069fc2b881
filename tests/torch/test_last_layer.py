"""Models of transformers under lossk: the loss from hidden states, logits when something reads them."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lossk.torch as ours

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: its models' last layer was not tested"
)
pytestmark = pytest.mark.usefixtures("torch_put_back")

CLASSES = 200
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"vocab_size": CLASSES, "num_key_value_heads": 2, "pad_token_id": 0}
NO_DROPOUT = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
MODELS: dict[str, Callable[[], Any]] = {
    "Llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)),
    "GPT-2, tied": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=CLASSES, n_positions=16, n_embd=16, n_layer=1, n_head=2, **NO_DROPOUT)
    ),
    "Gemma 2, capped": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(head_dim=8, final_logit_softcapping=0.5, **SIZES)
    ),
    "Cohere, scaled": lambda: transformers.CohereForCausalLM(transformers.CohereConfig(logit_scale=0.3, **SIZES)),
    "Phi, with a bias": lambda: transformers.PhiForCausalLM(transformers.PhiConfig(**SIZES)),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own
        yield
    transformers.utils.logging.set_verbosity(before)


def new_model(name: str = "Llama") -> Any:
    torch.manual_seed(0)
    return MODELS[name]()


def batch() -> dict[str, Any]:
    tokens = torch.randint(1, CLASSES, (2, 12), generator=torch.Generator().manual_seed(1))
    return {"input_ids": tokens, "labels": tokens.masked_fill(torch.arange(12) % 5 == 3, -100)}


def step(model: Any, inputs: Any, context: Any) -> tuple[Any, list[Any]]:
    """Return a model's outputs and gradients."""
    model.zero_grad()
    with context:
        outputs = model(**inputs)
        outputs.loss.backward()
    return outputs, [p.grad for p in model.parameters() if p.grad is not None]


def is_lossk(outputs: Any) -> bool:
    return bool(outputs.loss.grad_fn.name() == "LinearFunctionBackward")


@pytest.mark.parametrize("more", [{}, {"num_items_in_batch": torch.tensor(17)}, {"num_items_in_batch": 17}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_losses_gradients_and_logits_are_the_models(name: str, more: dict[str, Any]) -> None:
    model, inputs = new_model(name), {**batch(), **more}
    want, want_grads = step(model, inputs, contextlib.nullcontext())
    got, grads = step(model, inputs, ours.installed())
    assert is_lossk(got)
    torch.testing.assert_close(got.loss, want.loss)
    torch.testing.assert_close(grads, want_grads, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(got.logits.detach(), want.logits.detach(), rtol=0, atol=1e-6)
    assert type(got.logits.detach()) is torch.Tensor


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_sixteen_bits_are_no_worse_than_torchs(name: str, autocast: bool) -> None:
    """Loss and gradient of the last layer, against the model in float64 on the same weights and hidden states."""
    model, inputs = new_model(name).to(torch.float32 if autocast else torch.bfloat16), batch()
    errors = []
    for context in (contextlib.nullcontext(), ours.installed()):
        states: list[Any] = []
        hook = model.base_model.register_forward_hook(lambda *a, states=states: states.append(a[2][0].detach()))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs, _ = step(model, inputs, context)
        hook.remove()
        assert outputs.loss.dtype == torch.float32
        layer = copy.deepcopy(model.get_output_embeddings()).bfloat16().double()
        z = layer(states[0].bfloat16().double())
        if cap := getattr(model.config, "final_logit_softcapping", None):
            z = cap * torch.tanh(z / cap)
        z = z * getattr(model.config, "logit_scale", 1)
        exact = torch.nn.functional.cross_entropy(z[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten())
        layer.zero_grad()
        exact.backward()
        found = [(outputs.loss, exact)]
        if not model.config.tie_word_embeddings:
            found.append((model.get_output_embeddings().weight.grad, layer.weight.grad))
        errors.append([((a.double() - b).norm() / b.norm()).item() for a, b in found])
    for theirs, mine in zip(*errors, strict=True):
        assert mine <= 1.1 * theirs + 1e-5, errors


def test_logits_are_there_for_whoever_reads_them() -> None:
    model, inputs = new_model(), batch()
    want = step(model, inputs, contextlib.nullcontext())[0].logits.detach()
    with ours.installed():
        logits = model(**inputs).logits
        assert isinstance(logits, torch.Tensor)
        assert (logits.shape, logits.dtype, len(logits), logits.requires_grad) == (want.shape, torch.float32, 2, True)
        assert logits.source.found is None, "looking at the form computed them"
        for read in (
            lambda z: z.detach(),
            lambda z: torch.from_numpy(z.detach().numpy()),
            lambda z: torch.stack([z])[0],
            lambda z: copy.deepcopy(z.detach()),
            lambda z: torch.ops.aten.clone(z),
            lambda z: z.float().contiguous()[:],
        ):
            torch.testing.assert_close(read(model(**inputs).logits).detach(), want, rtol=0, atol=0)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                outputs = model(**inputs)
            assert not outputs.logits.requires_grad
            assert torch.equal(torch.from_numpy(outputs.logits.numpy()), want)
            with mode():
                assert not (model(**inputs).logits * 2.0)[0].requires_grad
        changed = model(**inputs).logits
        changed.detach()[0] = 7.0
        assert (changed[0] == 7).all()


def test_gradients_through_logits_are_those_of_the_layer() -> None:
    class Square(torch.autograd.Function):
        """Takes tensors as they are, past ``__torch_function__``."""

        @staticmethod
        def forward(ctx: Any, z: Any) -> Any:
            ctx.save_for_backward(z)
            return z.square().sum()

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:
            return 2 * upstream * ctx.saved_tensors[0]

    model, inputs, found = new_model("Gemma 2, capped"), batch(), []
    for context, square in (
        (contextlib.nullcontext(), lambda z: z.square().sum()),
        (ours.installed(), lambda z: z.square().sum()),
        (ours.installed(), Square.apply),
    ):
        model.zero_grad()
        with context:
            outputs = model(**inputs)
            (outputs.loss + square(outputs.logits)).backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
    with ours.installed():
        logits = model(**inputs).logits
    with torch._C.DisableTorchFunctionSubclass():
        below = logits.clone()
    assert logits.sum().requires_grad
    torch.testing.assert_close(
        *(torch.autograd.grad(z.sum(), model.lm_head.weight, retain_graph=True)[0] for z in (below, logits))
    )


def test_what_logits_no_longer_have_is_said() -> None:
    model, inputs = new_model(), batch()
    with ours.installed():
        outputs = model(**inputs)
        for call in (outputs.logits.retain_grad, lambda: outputs.logits.register_hook(print)):
            with pytest.raises(RuntimeError, match=r"logits: got (retain_grad|register_hook), wanted no gradient"):
                call()
        with torch.no_grad():
            model.lm_head.weight.mul_(2)
        with pytest.raises(RuntimeError, match="wanted one before the optimizer's step"):
            outputs.logits.sum()
    with pytest.raises(TypeError, match="last_layer: got 1, wanted True or False"):
        ours.install(last_layer=1)  # type: ignore[arg-type]
    with ours.installed(last_layer=False):
        outputs = model(**inputs)
    assert type(outputs.logits) is torch.Tensor
    assert outputs.loss.grad_fn.name() == "LossFunctionBackward"


def test_second_derivatives_are_the_models() -> None:
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, attn_implementation="eager"))
    weights, found = list(model.parameters()), []
    for context in (contextlib.nullcontext(), ours.installed()):
        with context:
            first = torch.autograd.grad(model(**batch()).loss, weights, create_graph=True)
            found.append(torch.autograd.grad(sum(g.square().sum() for g in first), weights))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def hooked(model: Any) -> Any:
    model.lm_head.register_forward_hook(lambda *_: None)
    return model


def adapted(model: Any) -> Any:
    peft = pytest.importorskip("peft", reason="peft is not installed: a last layer with adapters was not tested")
    torch.manual_seed(1)
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["lm_head"], task_type="CAUSAL_LM"))


def offloaded(model: Any) -> Any:
    hooks = pytest.importorskip("accelerate.hooks", reason="accelerate is not installed: its hooks were not tested")
    hooks.add_hook_to_module(model.lm_head, hooks.ModelHook())
    return model


def with_own_loss(model: Any) -> Any:
    model.loss_function = lambda logits, labels, **_: logits.square().mean()
    return model


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (hooked, "a last layer with hooks, or compiled by itself"),
        (adapted, "a last layer that is not torch.nn.Linear itself"),
        (offloaded, "a last layer whose forward was replaced"),
        (with_own_loss, None),
    ],
)
def test_other_last_layers_are_called(change: Callable[[Any], Any], why: str | None) -> None:
    found = []
    ours.explain(reset=True)
    for context in (contextlib.nullcontext(), ours.installed()):
        model = change(new_model())
        outputs, grads = step(model, batch(), context)
        found.append([outputs.loss.detach(), outputs.logits.detach(), *grads])
    assert type(outputs.logits) is torch.Tensor
    torch.testing.assert_close(*found)
    assert [key for key in ours.explain() if "last_layer" in key] == ([f"last_layer: {why}"] if why else [])


def test_without_labels_nothing_changes() -> None:
    model, inputs = new_model().eval(), batch()
    tokens = inputs["input_ids"]
    want = model.generate(tokens, max_new_tokens=4, do_sample=False)
    with ours.installed():
        assert type(model(tokens).logits) is torch.Tensor
        assert torch.equal(model.generate(tokens, max_new_tokens=4, do_sample=False), want)
        with pytest.raises(ValueError, match="batch_size"):
            model(**inputs, logits_to_keep=3)
    assert "forward" not in vars(model.lm_head)


def test_models_compile() -> None:
    torch._dynamo.reset()
    model, inputs = new_model(), {**batch(), "use_cache": False}
    want, want_grads = step(model, inputs, contextlib.nullcontext())
    got, grads = step(torch.compile(model, backend="aot_eager", fullgraph=True), inputs, ours.installed())
    torch.testing.assert_close([got.loss, *grads], [want.loss, *want_grads])
    torch._dynamo.reset()
    model.model.compile(backend="aot_eager")  # the body alone: the loss is still from hidden states
    got, grads = step(model, inputs, ours.installed())
    assert is_lossk(got)
    torch.testing.assert_close([got.loss, *grads], [want.loss, *want_grads])


def test_all_classes_are_put_back() -> None:
    """Those that were defined meanwhile, too."""
    base, llama = transformers.PreTrainedModel, transformers.LlamaForCausalLM
    before = vars(base)["__init_subclass__"], llama.forward
    with ours.installed():
        assert llama.forward.__wrapped__ is before[1]

        class Mine(llama):  # type: ignore[misc, valid-type]
            """A model whose forward is its own."""

            def forward(self, input_ids: Any = None, labels: Any = None, **options: Any) -> Any:
                return super().forward(input_ids=input_ids, labels=labels, **options)

        torch.manual_seed(0)
        model = Mine(transformers.LlamaConfig(**SIZES))
        ours.explain(reset=True)
        assert is_lossk(model(**batch()))
        assert not ours.explain()
        kept = model.forward  # as accelerate keeps it
    assert (vars(base)["__init_subclass__"], llama.forward) == before
    assert not hasattr(Mine.forward, "__wrapped__")
    assert type(kept(**batch()).logits) is torch.Tensor


def test_threads_share_a_model() -> None:
    model, inputs, wrong = new_model(), batch(), []
    want = model(**inputs).loss.detach()

    def work(labels: bool) -> None:
        for _ in range(20):
            outputs = model(**inputs) if labels else model(inputs["input_ids"])
            if labels:
                wrong.extend([] if torch.allclose(outputs.loss, want) else [outputs.loss])
            else:
                wrong.extend([] if type(outputs.logits) is torch.Tensor else [outputs.logits])

    with ours.installed():
        threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert is_lossk(model(**inputs))
    assert "forward" not in vars(model.lm_head)


def test_a_transformers_whose_models_are_not_imported_yet_is_served() -> None:
    """It imports its modules late: its name in a script says nothing of them."""
    script = """
import transformers, lossk.torch
lossk.torch.install()
from transformers import LlamaConfig, LlamaForCausalLM
import torch
model = LlamaForCausalLM(LlamaConfig(**{}))
tokens = torch.ones(1, 4, dtype=torch.long)
print(model(input_ids=tokens, labels=tokens).loss.grad_fn.name())
"""
    command = [sys.executable, "-c", script.replace("{}", repr(SIZES))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["LinearFunctionBackward"], done.stderr[-2000:]


MEMORY = """
import sys, contextlib
import torch, transformers, lossk.torch

def status(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))

sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=50_000, num_key_value_heads=2, **sizes))
tokens = torch.ones(4, 128, dtype=torch.long)
with lossk.torch.installed() if sys.argv[1] == "lossk" else contextlib.nullcontext():
    for rows in (1, 4):
        open("/proc/self/clear_refs", "w").write("5")
        before = status("VmRSS")
        model(input_ids=tokens[:rows], labels=tokens[:rows]).loss.backward()
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
def test_a_step_takes_less_memory_by_the_logits() -> None:
    peaks = []
    for way in ("torch", "lossk"):
        done = subprocess.run([sys.executable, "-c", MEMORY, way], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(float(done.stdout.splitlines()[-1]))
    assert peaks[1] < peaks[0] - 4 * 128 * 50_000 * 4 / 2**20, peaks
