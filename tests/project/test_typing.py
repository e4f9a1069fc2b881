"""What type checkers and tab completion see: results by reduction, wrong words refused, no names that are internal."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lossk
from lossk.activations import ACTIVATIONS
from lossk.optimizers import OPTIMIZERS
from tests.support.cases import CASES

ARRAY = r"numpy\.ndarray\[.*\]"
PAIR = rf"tuple\[{ARRAY}, {ARRAY}\]"
VERBS = {"grad", "value_and_grad", "grad_and_hess", "vjp", "reference"}


# A call, and what mypy reveals of it; None: an error.
CALLS = {
    "lossk.Huber()(z, z)": "float",
    'lossk.Huber()(z, z, reduction="sum", sample_weight=z)': "float",
    'lossk.Huber()(z, z, reduction="none")': ARRAY,
    "lossk.Huber()(z, z, reduction=either)": rf"float \| {ARRAY}",
    "lossk.Huber().grad(z, z, out=z)": ARRAY,
    "lossk.Huber().value_and_grad(z, z, out=z)": rf"tuple\[float, {ARRAY}\]",
    'lossk.Huber().value_and_grad(z, z, reduction="none")': PAIR,
    "lossk.GaussianNLL()(z, z, z)": "float",
    'lossk.GaussianNLL()(z, z, z, reduction="none")': ARRAY,
    "lossk.CrossEntropy()(z, t, axis=1)": "float",
    'lossk.NLL()(z, t, reduction="none")': ARRAY,
    "lossk.CrossEntropy()(z, t, stats=True)": "Any",
    "lossk.CrossEntropy().value_and_grad(z, t, out=z)": rf"tuple\[float, {ARRAY}\]",
    'lossk.MultiMargin().value_and_grad(z, t, reduction="none")': PAIR,
    "lossk.LinearCrossEntropy()(z, z, t)": "float",
    'lossk.LinearCrossEntropy()(z, z, t, reduction="none")': ARRAY,
    'lossk.Huber()(z, z, reduction="average")': None,
    'lossk.Huber().grad(z, z, reduction="average")': None,
    'lossk.GaussianNLL().grad(z, z, z, wrt="mean")': None,
    'lossk.CrossEntropy()(z, t, reduction="batchmean")': None,
    'lossk.CrossEntropy().vjp(z, t, z, reduction="mean")': None,
    'lossk.LinearCrossEntropy().value_and_grad(z, z, t, reduction="average")': None,
    "lossk.Huber()(z, z, out=z)": None,
    "lossk.MSELoss": None,
    'lossk.Huber("1")': None,
    "lossk.Huber(1, 2)": None,
}


def test_results_are_typed_by_reduction_and_wrong_words_are_type_errors(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: types are not checked")
    head = [
        "from typing import Any, Literal",
        "import numpy as np, lossk",
        "z: np.ndarray[Any, np.dtype[np.float32]]; t: np.ndarray[Any, np.dtype[np.int64]]",
        'either: Literal["mean", "none"]',
    ]
    (tmp_path / "calls.py").write_text("\n".join([*head, *(f"reveal_type({call})" for call in CALLS)]))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "calls.py"]
    env, home = {**os.environ}, Path(lossk.__file__).parents[1]
    if home.name != "site-packages":  # where mypy looks by itself, and wants not to be sent
        env["MYPYPATH"] = str(home)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    for number, (call, wanted) in enumerate(CALLS.items(), len(head) + 1):
        said = "\n".join(re.findall(rf"^calls\.py:{number}: (.*)$", done.stdout, re.MULTILINE))
        if wanted is None:
            assert "error: " in said, f"{call}: {said or done.stdout}"
        else:
            assert re.fullmatch(f'note: Revealed type is "{wanted}"', said), f"{call}: {said or done.stdout}"


def test_tab_completion_of_a_loss_offers_its_fields_and_verbs_alone() -> None:
    made = [case.plain() for case in CASES] + [cls() for cls in ACTIVATIONS.values()]
    for thing in (*made, lossk.LinearCrossEntropy(), lossk.softmax, lossk.log_softmax, lossk.logsumexp):
        fields = {field.name for field in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
        extra = {name for name in dir(thing) if not name.startswith("_")} - fields - VERBS
        assert extra <= ({"derivative"} if type(thing) in ACTIVATIONS.values() else set()), (thing, extra)


def test_no_optimizer_offers_what_tests_are_drawn_from() -> None:
    for cls in OPTIMIZERS.values():
        assert not {"variants", "kernel", "draw"} & set(dir(cls)), cls


def test_tab_completion_of_the_package_offers_its_public_names_alone() -> None:
    assert {name for name in dir(lossk) if not name.startswith("_")} == set(lossk.__all__)
