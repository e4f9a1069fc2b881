"""lossk.torch under torch.compile with its own backend, inductor: the values and gradients of eager mode."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lossk.torch as ours

COMPILERS = (os.environ.get("CXX", "g++"), "g++", "clang++")
pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)),
    reason=f"no C++ compiler ({', '.join(dict.fromkeys(COMPILERS))}): inductor was not tested",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled headers may be found again, but no graph of an earlier run."""
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture(autouse=True)
def inductor(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no processes that outlive the test
    torch._dynamo.reset()
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, which inductor itself uses
        yield
    torch._dynamo.reset()


def of_rows(z: Any, t: Any, y: Any, w: Any) -> Any:
    """What is before and after a loss is inductor's; the losses are lossk's operators in its code."""
    logits = 2 * z - z.mean(1, keepdim=True)
    value = ours.cross_entropy(logits, t, label_smoothing=0.1) + ours.cross_entropy(logits, y).exp()
    return value + (ours.nll_loss(ours.log_softmax(logits, 1), t, reduction="none") * w[: len(z), 0]).sum()


def of_samples(z: Any, t: Any, y: Any, w: Any) -> Any:
    value = ours.huber_loss(z.sin(), y, delta=0.3) + ours.mse_loss(z * 3, y, reduction="sum").log()
    each = ours.binary_cross_entropy_with_logits(z, y, reduction="none", pos_weight=w[0, : z.shape[1]])
    return value + (each * each).mean() + ours.softmax(z, 0).square().sum()


def of_a_layer(z: Any, t: Any, y: Any, w: Any) -> Any:
    return 2 * ours.linear_cross_entropy(z.tanh(), w, t) + ours.linear_cross_entropy(z, w.exp(), t, softcap=3.0)


def modules(z: Any, t: Any, y: Any, w: Any) -> Any:
    return (
        ours.CrossEntropyLoss(ignore_index=3)(z + 1, t) + ours.HuberLoss()(z, y) + ours.KLDivLoss(reduction="sum")(z, y)
    )


@pytest.mark.parametrize("step", [of_rows, of_samples, of_a_layer, modules], ids=lambda f: f.__name__)
def test_inductor_gives_what_eager_mode_gives(step: Any) -> None:
    """In one graph, forward and backward."""
    rows, classes = 9, 21
    z, w = torch.randn(rows, classes), torch.rand(classes + 2, classes)
    t, y = torch.randint(0, classes, (rows,)), torch.rand(rows, classes).softmax(1)
    found = []
    for function in (torch.compile(step, fullgraph=True), step):
        leaves = [a.clone().requires_grad_() for a in (z, w)]
        value = function(leaves[0], t, y, leaves[1] if step is of_a_layer else w)
        value.backward()
        found.append([value.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert len(found[0]) == (3 if step is of_a_layer else 2)
    torch.testing.assert_close(*found)


def test_inductor_works_without_gradients_and_with_other_shapes() -> None:
    """A graph for shapes that are not known beforehand."""
    step = torch.compile(ours.cross_entropy, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for shape in ((4, 7), (5, 9), (3, 6, 2)):
            z, t = torch.randn(shape), torch.randint(0, shape[1], shape[:1] + shape[2:])
            torch.testing.assert_close(step(z, t), ours.cross_entropy(z, t))
