"""Importing lossk: clean, light, and without any change of the process."""

from __future__ import annotations

import numpy as np
import pytest

import lossk
from tests.support.processes import python


def test_the_import_is_clean_and_light() -> None:
    """No warnings, only NumPy besides the standard library, no optional layer, no floating-point mode changed."""
    code = """
import sys
import numpy as np
before = set(sys.modules)
import lossk
new = {name.split(".")[0] for name in set(sys.modules) - before}
assert new <= {"lossk", "numpy"} | set(sys.stdlib_module_names), new
loaded = {name for name in sys.modules if name.startswith("lossk.")}
assert not loaded & {"lossk.cli", "lossk.torch", "lossk.objectives", "lossk.distributed", "lossk.sklearn"}, loaded
tiny = np.array([1e-40, 2e-40], np.float32)
assert (tiny / 2 > 0).all()
lossk.Huber()(np.ones(100_000), np.zeros(100_000), num_threads=2)
assert (tiny / 2 > 0).all()
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_the_import_changes_no_environment() -> None:
    done = python(
        "import os; a = dict(os.environ); import lossk; lossk.set_num_threads(2); assert dict(os.environ) == a"
    )
    assert done.returncode == 0, done.stderr


def test_versions_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lossk.show_versions()
    text = capsys.readouterr().out
    for fact in ("lossk", "numpy", np.__version__, "isa", lossk.isa(), "threads", "compiler", "cpu"):
        assert fact in text
