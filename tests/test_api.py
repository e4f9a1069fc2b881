"""The public face: names, docstrings with running examples, frozen losses, parameters, instruction sets, imports."""

from __future__ import annotations

import ast
import copy
import dataclasses
import doctest
import importlib
import inspect
import os
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import CASES, VERBS, Case, each_case

import lossk
from lossk import _core
from lossk.losses import LOSSES, Loss

ROOT = Path(__file__).parent.parent
PACKAGE = Path(lossk.__file__).parent


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with warnings as errors."""
    inherited = {k: v for k, v in os.environ.items() if k != "LOSSK_ISA"}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=60, check=False)


# ---- names and docstrings -----------------------------------------------------------------------------------------


def test_all_is_complete() -> None:
    public = {n for n, v in vars(lossk).items() if not n.startswith("_") and not inspect.ismodule(v)}
    modules = {name for name in lossk.__all__ if inspect.ismodule(getattr(lossk, name))}
    assert public == set(lossk.__all__) - modules
    assert modules <= {"information"}
    assert len(lossk.__all__) == len(set(lossk.__all__))


def test_the_catalogue_is_public() -> None:
    for cls in LOSSES.values():
        assert getattr(lossk, cls.__name__) is cls
        assert cls.__name__ in lossk.__all__


def test_version_is_that_of_the_project() -> None:
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


def modules() -> list[str]:
    return [
        "lossk",
        *(m.name for m in pkgutil.walk_packages([str(PACKAGE)], "lossk.") if not m.name.endswith("__main__")),
    ]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name: str) -> None:
    # Optional layers want packages of their own; every other module must import.
    optional = name.startswith(("lossk.cli", "lossk.torch", "lossk.objectives", "lossk.distributed"))
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
        "lossk.activations",
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


# ---- losses are values --------------------------------------------------------------------------------------------


@each_case
def test_losses_are_frozen(case: Case) -> None:
    loss = case.plain()
    for field in dataclasses.fields(loss):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(loss, field.name, 0.5)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(loss, field.name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.anything = 1


@each_case
def test_losses_compare_hash_pickle_and_copy(case: Case) -> None:
    loss, twin = case.plain(), case.plain()
    assert loss is not twin
    assert loss == twin
    assert hash(loss) == hash(twin)
    assert {loss: 1}[twin] == 1
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(loss, protocol))
        assert again == loss
        assert hash(again) == hash(loss)
        assert repr(again) == repr(loss)
    assert copy.copy(loss) == copy.deepcopy(loss) == loss
    assert loss != "loss"
    assert loss != None  # noqa: E711


def test_different_losses_differ() -> None:
    losses = [case.plain() for case in CASES]
    losses += [lossk.CrossEntropy(weight=w) for w in ([1.0, 2.0], [2.0, 1.0], [1.0, 2.0, 3.0])]
    for i, a in enumerate(losses):
        for b in losses[:i]:
            assert a != b
    assert len(set(losses)) == len(losses)
    assert lossk.Hinge() != lossk.SquaredHinge(), "equal parameters do not make different classes equal"


def test_equal_parameters_of_other_types_are_equal() -> None:
    assert lossk.Huber(1) == lossk.Huber(1.0) == lossk.Huber(np.float32(1)) == lossk.Huber(delta=np.int64(1))
    assert len({lossk.Huber(1), lossk.Huber(1.0), lossk.Huber(np.float64(1))}) == 1
    weighted = [
        lossk.CrossEntropy(weight=w) for w in ([1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float32))
    ]
    assert len(set(weighted)) == 1
    assert weighted[0] == weighted[3]


@each_case
def test_repr_evaluates_to_the_loss(case: Case) -> None:
    loss = case.plain()
    assert eval(repr(loss), dict(vars(lossk))) == loss
    for name in case.kwargs:
        assert f"{name}=" in repr(loss)


def test_weighted_loss_is_a_value_too(rng: np.random.Generator) -> None:
    loss = lossk.CrossEntropy(weight=[0.5, 2.0, 1.0], label_smoothing=0.1)
    again = pickle.loads(pickle.dumps(loss))
    assert again == loss
    assert hash(again) == hash(loss)
    assert eval(repr(loss), {**vars(lossk), "array": np.array}) == loss
    z, t = rng.normal(size=(9, 3)).astype(np.float32), rng.integers(0, 3, size=9)
    assert again(z, t) == loss(z, t)
    with pytest.raises(ValueError, match="read-only"):
        loss.weight[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        again.weight[0] = 7


# ---- parameters ---------------------------------------------------------------------------------------------------

WRONG_PARAMETERS: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("Huber", {"delta": 0.0}, ValueError),
    ("Huber", {"delta": -1.0}, ValueError),
    ("Huber", {"delta": np.nan}, ValueError),
    ("Huber", {"delta": "1"}, TypeError),
    ("Huber", {"delta": None}, TypeError),
    ("Huber", {"delta": True}, TypeError),
    ("Huber", {"delta": np.ones(3)}, TypeError),
    ("Hinge", {"margin": np.inf}, ValueError),
    ("Hinge", {"margin": np.nan}, ValueError),
    ("Hinge", {"margin": [1.0]}, TypeError),
    ("SquaredHinge", {"margin": -np.inf}, ValueError),
    ("HingeEmbedding", {"margin": np.nan}, ValueError),
    ("SmoothL1", {"beta": -0.5}, ValueError),
    ("SmoothL1", {"beta": "1"}, TypeError),
    ("PseudoHuber", {"delta": 0.0}, ValueError),
    ("PseudoHuber", {"delta": None}, TypeError),
    ("Quantile", {"q": 0.0}, ValueError),
    ("Quantile", {"q": 1.0}, ValueError),
    ("Quantile", {"q": np.nan}, ValueError),
    ("PoissonNLL", {"log_input": 1}, TypeError),
    ("PoissonNLL", {"full": None}, TypeError),
    ("PoissonNLL", {"eps": -1e-8}, ValueError),
    ("GaussianNLL", {"full": "yes"}, TypeError),
    ("GaussianNLL", {"eps": 0.0}, ValueError),
    ("Tweedie", {"power": np.inf}, ValueError),
    ("Tweedie", {"power": [1.5]}, TypeError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": -1.0}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": [1.0, np.nan]}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": [1.0, -2.0]}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": []}, ValueError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": "2"}, TypeError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": None}, TypeError),
    ("BinaryCrossEntropyWithLogits", {"pos_weight": True}, TypeError),
    ("Focal", {"alpha": 1.5}, ValueError),
    ("Focal", {"alpha": None}, TypeError),
    ("Focal", {"gamma": -0.5}, ValueError),
    ("Focal", {"gamma": np.inf}, ValueError),
    ("CrossEntropy", {"label_smoothing": -0.5}, ValueError),
    ("CrossEntropy", {"label_smoothing": 1.5}, ValueError),
    ("CrossEntropy", {"label_smoothing": "0.1"}, TypeError),
    ("CrossEntropy", {"z_loss": -1e-4}, ValueError),
    ("CrossEntropy", {"z_loss": np.inf}, ValueError),
    ("CrossEntropy", {"softcap": 0.0}, ValueError),
    ("CrossEntropy", {"softcap": -30.0}, ValueError),
    ("CrossEntropy", {"softcap": "30"}, TypeError),
    ("CrossEntropy", {"ignore_index": 1.5}, TypeError),
    ("CrossEntropy", {"ignore_index": True}, TypeError),
    ("CrossEntropy", {"ignore_index": 2**63}, ValueError),
    ("CrossEntropy", {"weight": 2.0}, TypeError),
    ("CrossEntropy", {"weight": ["a", "b"]}, TypeError),
    ("NLL", {"ignore_index": 1.5}, TypeError),
    ("NLL", {"weight": 2.0}, TypeError),
    ("MultiMargin", {"p": 3}, ValueError),
    ("MultiMargin", {"p": True}, ValueError),
    ("MultiMargin", {"p": "1"}, ValueError),
    ("MultiMargin", {"margin": np.nan}, ValueError),
    ("MultiMargin", {"weight": [[1.0]]}, TypeError),
    ("KLDivergence", {"log_target": 1}, TypeError),
]


@pytest.mark.parametrize(("name", "kwargs", "error"), WRONG_PARAMETERS, ids=str)
def test_wrong_parameters_say_what_was_got_and_wanted(
    name: str, kwargs: dict[str, Any], error: type[Exception]
) -> None:
    ((parameter, _),) = kwargs.items()
    with pytest.raises(error, match=rf"(?s)^{parameter}: got .*, wanted .*"):
        getattr(lossk, name)(**kwargs)


def test_wrong_parameters_are_tried_for_every_class_that_has_some() -> None:
    tried = {name for name, _, _ in WRONG_PARAMETERS}
    with_parameters = {cls.__name__ for cls in LOSSES.values() if dataclasses.fields(cls)}  # type: ignore[arg-type]
    assert with_parameters <= tried, f"add wrong parameters of {sorted(with_parameters - tried)}"


@each_case
def test_unknown_parameters_are_refused(case: Case) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        type(case.plain())(**case.kwargs, colour="red")


# ---- instruction sets ---------------------------------------------------------------------------------------------


def test_unknown_instruction_set() -> None:
    before = lossk.isa()
    for wrong in ("avx1024", "", "BASE"):
        with pytest.raises(ValueError, match=rf"got '{wrong}', this CPU has '.*base"):
            lossk.set_isa(wrong)
    assert lossk.isa() == before
    with pytest.raises(TypeError):
        lossk.set_isa(3)  # type: ignore[arg-type]


def test_available_isas_end_with_the_base() -> None:
    assert lossk.available_isas()[-1] in ("base", "neon")
    assert len(set(lossk.available_isas())) == len(lossk.available_isas())


@pytest.mark.parametrize("name", lossk.available_isas())
def test_environment_chooses_the_instruction_set(name: str) -> None:
    done = python("import lossk; print(lossk.isa(), lossk._core.register_bytes())", LOSSK_ISA=name)
    assert done.returncode == 0, done.stderr
    got, width = done.stdout.split()
    assert got == name
    assert int(width) == {"base": 16, "neon": 16, "x86-64-v3": 32, "x86-64-v4": 64}[name]


def test_the_best_instruction_set_is_the_default() -> None:
    for environment in ({}, {"LOSSK_ISA": ""}):
        done = python("import lossk; print(lossk.isa())", **environment)
        assert done.stdout.strip() == lossk.available_isas()[0], done.stderr


def test_environment_with_an_unknown_instruction_set_fails_at_import() -> None:
    done = python("import lossk", LOSSK_ISA="avx1024")
    assert done.returncode == 1, "an error, not a crash"
    assert re.search(r"LOSSK_ISA: got 'avx1024', this CPU has '", done.stderr)


# ---- import -------------------------------------------------------------------------------------------------------


def test_import_is_clean_and_light() -> None:
    """No warnings, nothing but NumPy beside the standard library, no optional layer, no floating-point mode changed."""
    code = """
import sys
import numpy as np
before = set(sys.modules)
import lossk
new = {name.split(".")[0] for name in set(sys.modules) - before}
assert new <= {"lossk", "numpy"} | set(sys.stdlib_module_names), new
loaded = {name for name in sys.modules if name.startswith("lossk.")}
assert not loaded & {"lossk.cli", "lossk.torch", "lossk.objectives", "lossk.distributed"}, loaded
tiny = np.array([1e-40, 2e-40], np.float32)
assert (tiny / 2 > 0).all()
lossk.Huber()(np.ones(100_000), np.zeros(100_000), num_threads=2)
assert (tiny / 2 > 0).all()
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_import_changes_no_environment() -> None:
    done = python(
        "import os; a = dict(os.environ); import lossk; lossk.set_num_threads(2); assert dict(os.environ) == a"
    )
    assert done.returncode == 0, done.stderr


def test_show_versions(capsys: pytest.CaptureFixture[str]) -> None:
    lossk.show_versions()
    text = capsys.readouterr().out
    for fact in ("lossk", "numpy", np.__version__, "isa", lossk.isa(), "threads", "compiler", "cpu"):
        assert fact in text


def test_references_refuse_what_kernels_refuse() -> None:
    z, y = np.zeros((3, 4)), np.zeros((3, 4))
    for loss, target in ((lossk.Huber(), y), (lossk.CrossEntropy(), np.zeros(3, int)), (lossk.NLL(), np.zeros(3, int))):
        for options in ({"reduction": "sum", "normalizer": 2.0}, {"normalizer": 0.0}, {"normalizer": float("nan")}):
            for call in (loss, loss.reference):
                with pytest.raises(ValueError, match="normalizer: got"):
                    call(z, target, **options)


@pytest.mark.parametrize("make", [lambda x: lossk.Huber(delta=x), lambda x: lossk.CrossEntropy(softcap=x)])
@pytest.mark.parametrize("value", [10**400, float("inf"), -1, 0])
def test_parameters_out_of_range_are_refused(make: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"got .*, wanted"):
        make(value)


def test_an_output_whose_elements_share_memory_is_refused() -> None:
    z, y = np.ones((3, 4)), np.zeros((3, 4))
    out = np.lib.stride_tricks.as_strided(np.zeros(4), (3, 4), (0, 8))
    for call in (lambda: lossk.Huber().grad(z, y, out=out), lambda: lossk.softmax(z, out=out)):
        with pytest.raises(ValueError, match="out: got an array whose elements share memory"):
            call()
    assert not out.any()
