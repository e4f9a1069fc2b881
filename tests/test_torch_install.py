"""lossk under torch.nn.functional: everything put back exactly, nested, in threads, and under transformers."""

from __future__ import annotations

import contextlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: lossk.torch.install was not tested")

import lossk.torch as ours  # noqa: E402

NAMES = ours.functional.__all__
theirs = torch.nn.functional


def current() -> dict[str, Any]:
    return {name: getattr(theirs, name) for name in NAMES}


def is_installed() -> bool:
    states = {getattr(theirs, name) is getattr(ours, name) for name in NAMES}
    assert len(states) == 1, "some names are lossk's, some torch's"
    return states.pop()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    torch.manual_seed(5)
    before = current()
    yield
    assert current() == before


def test_install_and_uninstall() -> None:
    for _ in range(2):
        ours.install()
        assert is_installed()
    ours.uninstall()
    assert not is_installed()
    ours.uninstall()


def test_blocks() -> None:
    with ours.installed():
        with ours.installed():
            assert is_installed()
        assert is_installed()
        ours.uninstall()
        assert is_installed(), "the block goes on"
        ours.install()
    assert is_installed(), "installed for good meanwhile"
    ours.uninstall()
    with pytest.raises(KeyError), ours.installed():
        raise KeyError
    assert not is_installed()


def test_threads() -> None:
    inside, done = threading.Barrier(4), threading.Barrier(4)
    states = []

    def work() -> None:
        with ours.installed():
            inside.wait()
            states.append(is_installed())
        done.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == [True] * 4
    assert not is_installed()


def test_what_others_replace_meanwhile_stays() -> None:
    before = theirs.huber_loss
    ours.install()
    theirs.huber_loss = print
    ours.uninstall()
    assert theirs.huber_loss is print
    theirs.huber_loss = before


def test_a_script_gains_as_it_is() -> None:
    """Modules of torch.nn run lossk's operators, and what falls through does not come back."""
    z, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    losses = [torch.nn.MSELoss(), torch.nn.HuberLoss(), torch.nn.SmoothL1Loss(), torch.nn.CrossEntropyLoss()]
    before = [loss(z, y.softmax(1)) for loss in losses]
    with ours.installed():
        after = [loss(z, y.softmax(1)) for loss in losses]
        assert all(loss.grad_fn.name() == "LossFunctionBackward" for loss in after)
        assert theirs.mse_loss(z.double(), y).dtype == torch.float64  # torch's own
        assert theirs.cross_entropy(z[:0], y[:0]).isnan()
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        layer(torch.randn(1, 3, 8)).sum().backward()
    for a, b in zip(after, before, strict=True):
        torch.testing.assert_close(a, b)


def test_compile_while_installed() -> None:
    torch._dynamo.reset()
    z, t = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    with ours.installed():
        step = torch.compile(lambda z: theirs.cross_entropy(z, t), fullgraph=True, backend="aot_eager")
        loss = step(z)
    torch.testing.assert_close(loss, theirs.cross_entropy(z, t))


# ---- who sees calls -----------------------------------------------------------------------------------------------


class Duck:
    """Not a tensor; knows torch's functions."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return HANDLED[func](*args, **(kwargs or {})) if func in HANDLED else NotImplemented


class Subclass(torch.Tensor):
    """A tensor that writes down which functions it meets."""

    seen: list[Any] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


class Mode(torch.overrides.TorchFunctionMode):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


ORIGINALS = current()
# Tables as users make them, before lossk is installed.
HANDLED = {function: lambda *args, **kwargs: "mine" for function in ORIGINALS.values()}


def calls() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """How each function is called with a first input."""
    y = torch.rand(4, 3).softmax(1)
    t = torch.tensor([0, 1, 2, 0])
    for name in NAMES:
        further: Any = {
            "gaussian_nll_loss": (y, 0.5),
            "linear_cross_entropy": (torch.ones(5, 3), t),
            "softmax": (1,),
            "log_softmax": (1,),
            **dict.fromkeys(("cross_entropy", "nll_loss", "multi_margin_loss"), (t,)),
        }.get(name, (y,))
        options = {"reduction": "sum"} if name == "kl_div" else {}
        yield name, lambda z, name=name, further=further, options=options: getattr(theirs, name)(z, *further, **options)


def test_classes_and_modes_see_torch_s_functions() -> None:
    z = torch.rand(4, 3)
    for name, call in calls():
        want = call(z)
        with ours.installed():
            assert call(Duck()) == "mine", name
            Subclass.seen.clear()
            assert type(call(z.as_subclass(Subclass))) is Subclass
            assert Subclass.seen[0] is ORIGINALS[name], name
            with Mode() as mode:
                torch.testing.assert_close(call(z), want)
            assert ORIGINALS[name] in mode.seen, name
            assert getattr(ours, name) not in (*Subclass.seen, *mode.seen), name


def test_modules_show_torch_s_functions() -> None:
    with ours.installed():
        assert torch.nn.MSELoss()(Duck(), torch.zeros(1)) == "mine"
        assert ours.MSELoss()(Duck(), torch.zeros(1)) == "mine"
        assert ours.Softmax(0)(Duck()) == "mine"


# ---- transformers -------------------------------------------------------------------------------------------------


def causal_lm(logits: Any, labels: Any, count: Any = None, ignored: int = -100) -> Any:
    """The loss as transformers documents it: float32 logits, labels moved by one."""
    rows, target = logits[..., :-1, :].float().flatten(0, -2), labels[..., 1:].flatten()
    loss = theirs.cross_entropy(rows, target, ignore_index=ignored, reduction="mean" if count is None else "sum")
    return loss if count is None else loss / count


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("count", [None, 7, torch.tensor(7)], ids=str)
def test_causal_lm_loss(dtype: Any, count: Any) -> None:
    z, labels = torch.randn(2, 5, 11).to(dtype).requires_grad_(), torch.randint(0, 11, (2, 5))
    labels[0, 2] = -100
    loss = ours.causal_lm_loss(z, labels, vocab_size=11, num_items_in_batch=count)
    want = causal_lm(z, labels, count)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, want, rtol=1e-5, atol=1e-6)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(*(torch.autograd.grad(v, z)[0] for v in (loss, want)), rtol=tolerance, atol=1e-4)


def test_transformers_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the module is imported, its function and the entries of its table are replaced, and put back."""

    def original() -> None:
        """Stand in for transformers' function."""

    name = "transformers.loss.loss_utils"
    module = types.ModuleType(name)
    module.ForCausalLMLoss = original  # type: ignore[attr-defined]
    module.LOSS_MAPPING = {"ForCausalLM": original, "ForMaskedLM": print}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    with ours.installed():
        assert module.ForCausalLMLoss is ours.causal_lm_loss
        assert module.LOSS_MAPPING["ForCausalLM"] is ours.causal_lm_loss
        assert module.LOSS_MAPPING["ForMaskedLM"] is print
    assert module.ForCausalLMLoss is original
    assert module.LOSS_MAPPING["ForCausalLM"] is original


def test_transformers_itself() -> None:
    utils = pytest.importorskip("transformers.loss.loss_utils", reason="transformers is not installed")
    z, labels = torch.randn(2, 5, 11).bfloat16(), torch.randint(0, 11, (2, 5))
    want = utils.ForCausalLMLoss(z, labels, 11)
    with ours.installed():
        torch.testing.assert_close(utils.LOSS_MAPPING["ForCausalLM"](z, labels, 11), want, rtol=1e-5, atol=1e-6)


def test_a_model_of_transformers() -> None:
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
    assert loss.grad_fn.name() == "LossFunctionBackward"
    torch.testing.assert_close(*found)
