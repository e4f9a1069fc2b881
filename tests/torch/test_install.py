"""lossk under torch.nn.functional: everything put back exactly, nested, in threads; who sees calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import INSTALLED, installed_functions, theirs

pytestmark = pytest.mark.usefixtures("torch_put_back")


def is_installed() -> bool:
    states = {getattr(theirs, name) is getattr(ours, name) for name in INSTALLED}
    assert len(states) == 1, "some names are lossk's, some torch's"
    return states.pop()


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


ORIGINALS = installed_functions()
# Tables as users make them, before lossk is installed.
HANDLED = {function: lambda *args, **kwargs: "mine" for function in ORIGINALS.values()}


def calls() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """How each function is called with a first input."""
    y = torch.rand(4, 3).softmax(1)
    t = torch.tensor([0, 1, 2, 0])
    for name in INSTALLED:
        further: Any = {
            "gaussian_nll_loss": (y, 0.5),
            "linear_cross_entropy": (torch.ones(5, 3), t),
            "ctc_loss": (t[1:3], (4,), (2,)),
            "softmax": (1,),
            "log_softmax": (1,),
            "margin_ranking_loss": (y, torch.ones(4, 3)),
            "cosine_embedding_loss": (y, torch.ones(4)),
            **dict.fromkeys(("triplet_margin_loss", "triplet_margin_with_distance_loss"), (y, 2 * y)),
            "multilabel_margin_loss": (t[:, None].expand(4, 3),),
            **dict.fromkeys(("cross_entropy", "nll_loss", "multi_margin_loss"), (t,)),
        }.get(name, (y,))
        options = {"reduction": "sum"} if name == "kl_div" else {}
        yield name, lambda z, name=name, further=further, options=options: getattr(theirs, name)(z, *further, **options)


def test_functions_are_installed_and_put_back() -> None:
    for _ in range(2):
        ours.install()
        assert is_installed()
    ours.uninstall()
    assert not is_installed()
    ours.uninstall()


def test_blocks_nest() -> None:
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


def test_threads_may_install_at_once() -> None:
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


def test_installed_functions_compile() -> None:
    torch._dynamo.reset()
    z, t = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    with ours.installed():
        step = torch.compile(lambda z: theirs.cross_entropy(z, t), fullgraph=True, backend="aot_eager")
        loss = step(z)
    torch.testing.assert_close(loss, theirs.cross_entropy(z, t))


def test_classes_and_modes_see_torchs_functions() -> None:
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


def test_modules_show_torchs_functions() -> None:
    with ours.installed():
        assert torch.nn.MSELoss()(Duck(), torch.zeros(1)) == "mine"
        assert ours.MSELoss()(Duck(), torch.zeros(1)) == "mine"
        assert ours.Softmax(0)(Duck()) == "mine"
