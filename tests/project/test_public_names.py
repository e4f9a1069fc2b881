"""The public face: names, docstrings with running examples, verbs, names of other libraries."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import lossk
from lossk import _core
from lossk.losses import LOSSES, Loss
from tests.support.cases import VERBS
from tests.support.sources import ROOT

PACKAGE = Path(lossk.__file__).parent


def modules() -> list[str]:
    """All but lossk.torch, whose examples run in tests/torch."""
    files = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    names = [".".join(file.parts).removesuffix(".__init__") for file in files]
    return [name for name in names if not name.startswith("lossk.torch") and not name.endswith("__main__")]


def test_all_is_complete() -> None:
    public = {n for n, v in vars(lossk).items() if not n.startswith("_") and not inspect.ismodule(v)}
    modules = {name for name in lossk.__all__ if inspect.ismodule(getattr(lossk, name))}
    assert public == set(lossk.__all__) - modules
    assert modules <= {"information"}
    assert len(lossk.__all__) == len(set(lossk.__all__))


def test_the_version_is_that_of_the_project() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    stated = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert stated is not None
    assert lossk.__version__ == stated[1]


@pytest.mark.parametrize("name", lossk.__all__)
def test_public_names_are_documented(name: str) -> None:
    doc = inspect.getdoc(getattr(lossk, name))
    assert doc, f"{name} has no docstring"
    first = doc.split("\n")[0]
    assert first.endswith((".", ":")), f"{name}: the first line is no sentence: {first!r}"
    assert re.search(r"^Examples\n-+\n>>> ", doc, re.MULTILINE), f"{name}: the docstring has no Examples section"


@pytest.mark.parametrize("cls", LOSSES.values(), ids=lambda cls: cls.__name__)
def test_losses_are_documented(cls: type[Loss]) -> None:
    doc = inspect.getdoc(cls)
    assert doc is not None
    assert re.search(r"^References\n-+\n", doc, re.MULTILINE), f"{cls.__name__}: the docstring names no source"
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        assert re.search(rf"\b{field.name}\b.* : ", doc), f"{cls.__name__}: the docstring does not explain {field.name}"
    for verb in ("__call__", "grad", "value_and_grad", "grad_and_hess", "vjp", "reference"):
        assert inspect.getdoc(getattr(cls, verb)), f"{cls.__name__}.{verb} has no docstring"


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str) -> None:
    # Optional layers want packages of their own; every other module must import.
    optional = name.startswith(("lossk.cli", "lossk.objectives", "lossk.distributed", "lossk.sklearn"))
    module = pytest.importorskip(name, exc_type=ModuleNotFoundError) if optional else importlib.import_module(name)
    before = lossk.isa(), lossk.get_num_threads()
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0
    assert (lossk.isa(), lossk.get_num_threads()) == before


def test_docstring_examples_are_there_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = (
        "lossk.losses.regression",
        "lossk.losses.margin",
        "lossk.losses.rows",
        "lossk.losses.cross_entropy",
        "lossk.activations.smooth",
        "lossk.activations.gated",
        "lossk.row_functions",
        "lossk.information",
        "lossk.optimizers",
        "lossk._runtime",
    )
    for name in names:
        examples = [e for test in finder.find(importlib.import_module(name)) for e in test.examples]
        assert len(examples) >= 2, name


def test_the_stub_of_the_compiled_module_is_complete() -> None:
    tree = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    stubs = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    stubs |= {ast.unparse(node.target) for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert stubs == {name for name in dir(_core) if not name.startswith("_")}
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("cls", LOSSES.values(), ids=lambda cls: cls.__name__)
def test_verbs_take_what_the_contract_says(cls: type[Loss]) -> None:
    for verb in VERBS:
        parameters = inspect.signature(cls.__call__ if verb == "value" else getattr(cls, verb)).parameters
        wanted = ["sample_weight", "reduction", "normalizer", "num_threads", *([] if verb == "value" else ["out"])]
        for name in wanted:
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY, (verb, name)
        assert parameters["reduction"].default == "mean"
    assert "cotangent" in inspect.signature(cls.vjp).parameters  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("cross_entropy", "lossk.CrossEntropy()(z, target)"),
        ("CategoricalCrossentropy", "lossk.CrossEntropy()(z, target)"),
        ("log_loss", "lossk.CrossEntropy()(z, target)"),
        ("nll_loss", "lossk.NLL()(z, target)"),
        ("MSELoss", "lossk.SquaredError()(z, y)"),
        ("mean_absolute_error", "lossk.AbsoluteError()(z, y)"),
        ("BCEWithLogitsLoss", "lossk.BinaryCrossEntropyWithLogits()(z, y)"),
        ("gaussian_nll_loss", "lossk.GaussianNLL()(z, y, var)"),
        ("hubr", "lossk.Huber()(z, y)"),
        ("relu", "lossk.ReLU()(x)"),
        ("Softmax", "lossk.softmax"),
        ("adam", "lossk.Adam"),
        ("fused_linear_cross_entropy", "lossk.LinearCrossEntropy()(x, w, target)"),
        ("entropy", "lossk.information.entropy(p)"),
        ("kl_divergence", "lossk.information.kl_divergence(p, q)"),
        ("surprisal", "lossk.information.information(p)"),
    ],
)
def test_a_name_of_another_library_is_answered_with_ours(name: str, call: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(lossk, name)
    assert str(caught.value) == f"module 'lossk' has no attribute {name!r}: is {call} meant?"


@pytest.mark.parametrize("name", ["maxout", "xyz", "_meaning"])
def test_a_name_like_none_of_ours_gets_no_advice(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(lossk, name)
    assert str(caught.value) == f"module 'lossk' has no attribute {name!r}"


def test_every_name_that_is_answered_is_public() -> None:
    from lossk._names import KNOWN

    assert set(KNOWN) <= set(lossk.__all__)
    theirs = [word for words in KNOWN.values() for word in words.split()]
    assert len(set(theirs)) == len(theirs), "a name means one thing"
