"""lossk.torch by its names: signatures, modules, documentation, examples."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pickle
import pkgutil
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.sources import ROOT
from tests.support.torch import Draw, theirs

MODULES: dict[str, tuple[dict[str, Any], Any]] = {
    "CrossEntropyLoss": ({"weight": torch.rand(3), "label_smoothing": 0.1}, "labels"),
    "NLLLoss": ({"ignore_index": 1}, "labels"),
    "MultiMarginLoss": ({"p": 2}, "labels"),
    "MultiLabelMarginLoss": ({}, "lists"),
    "MultiLabelSoftMarginLoss": ({"weight": torch.rand(3)}, "uniform"),
    "MarginRankingLoss": ({"margin": 0.5}, "normal"),
    "CosineEmbeddingLoss": ({"margin": 0.25}, "normal"),
    "TripletMarginLoss": ({"p": 1, "swap": True}, "normal"),
    "TripletMarginWithDistanceLoss": ({"margin": 0.5, "swap": True}, "normal"),
    "KLDivLoss": ({"reduction": "batchmean"}, "uniform"),
    "MSELoss": ({"reduction": "sum"}, "normal"),
    "L1Loss": ({}, "normal"),
    "HuberLoss": ({"delta": 0.5}, "normal"),
    "SmoothL1Loss": ({"beta": 0.5}, "normal"),
    "SoftMarginLoss": ({}, "signs"),
    "HingeEmbeddingLoss": ({"margin": 0.5}, "signs"),
    "BCELoss": ({"weight": torch.rand(3)}, "uniform"),
    "BCEWithLogitsLoss": ({"pos_weight": torch.rand(3)}, "uniform"),
    "PoissonNLLLoss": ({"full": True}, "uniform"),
    "GaussianNLLLoss": ({"full": True}, "normal"),
    "Softmax": ({"dim": 1}, None),
    "LogSoftmax": ({"dim": 0}, None),
    "LinearCrossEntropyLoss": ({"in_features": 3, "num_classes": 3, "bias": True}, "labels"),
}


pytestmark = pytest.mark.usefixtures("torch_seed")


@pytest.mark.parametrize("name", [n for n in ours.functional.__all__ if hasattr(theirs, n)])
def test_signatures_are_torchs(name: str) -> None:
    """torch's parameters, in its order and with its defaults; lossk's own come after, by keyword."""
    mine = list(inspect.signature(getattr(ours, name)).parameters.values())
    for got, want in zip(mine, inspect.signature(getattr(theirs, name)).parameters.values(), strict=False):
        assert (got.name, got.default, got.kind) == (want.name, want.default, want.kind)
    extra = mine[len(inspect.signature(getattr(theirs, name)).parameters) :]
    assert all(p.kind is p.KEYWORD_ONLY for p in extra)


@pytest.mark.parametrize("name", [name for name in ours.modules.__all__ if name != "CTCLoss"])  # see test_ctc.py
def test_modules_are_torchs(name: str) -> None:
    options, target = MODULES[name]
    mine, other = getattr(ours, name)(**options), getattr(torch.nn, name)(**options)
    assert isinstance(mine, type(other))
    assert repr(mine) == repr(other)
    other.load_state_dict(mine.state_dict())
    draw = Draw(1, 4, 3)
    inputs = [draw.uniform().float()] + ([] if target is None else [getattr(draw, target)()])
    thirds = {"GaussianNLLLoss": draw.uniform, "MarginRankingLoss": draw.signs, "TripletMarginLoss": draw.normal}
    thirds["TripletMarginWithDistanceLoss"] = draw.normal
    thirds["CosineEmbeddingLoss"] = lambda: draw.signs()[:, 0]
    inputs += [thirds[name]()] if name in thirds else []
    inputs = [t.float() if t.is_floating_point() else t for t in inputs]
    torch.testing.assert_close(mine(*inputs), other(*inputs))
    if target is not None and len(inputs) == 2:
        torch.testing.assert_close(mine(input=inputs[0], target=inputs[1]), other(*inputs))
    torch.testing.assert_close(pickle.loads(pickle.dumps(mine))(*inputs), other(*inputs))


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages(ours.__path__, "lossk.torch.")])
def test_docstring_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    with_examples = (
        ".bernoulli",
        ".likelihood",
        ".margin",
        ".regression",
        ".rows",
        "modules",
        "_softmax",
        "_linear",
        "_install",
        "_transformers",
    )
    assert results.attempted or not name.endswith(with_examples)
    assert not results.failed


def test_public_names_are_documented() -> None:
    page = (ROOT / "docs/guide/torch.md").read_text(encoding="utf-8")
    for name in ours.__all__:
        assert inspect.getdoc(getattr(ours, name)), name
        assert f"`{name}`" in page, name
    assert set(ours.functional.__all__) <= set(ours.__all__)
