"""The examples of the guide and of the README run, and so do the tutorials, which assert their numbers."""

from __future__ import annotations

import doctest
import re
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [DOCS / "index.md", *sorted((DOCS / "guide").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_a_page_run(page: Path) -> None:
    if page.stem == "sklearn":
        pytest.importorskip("sklearn")
    blocks = re.findall(r"^```python\n(>>> .*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


def test_tutorials_run_and_are_listed() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    parts = ("losses", "information", "descent", "layers")
    pages = [page for part in parts for page in (ROOT / "examples" / part).glob("*.py")]
    listed = re.findall(r"\(\.\./gallery/(\w+/\w+)\.rst\)", (DOCS / "guide/tutorials.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(f"{page.parent.name}/{page.stem}" for page in pages)
    for page in pages:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")  # a page with a slider
            runpy.run_path(str(page))
        assert plt.get_fignums(), f"{page.stem} draws nothing"
        plt.close("all")


def test_the_readme_runs() -> None:
    (block,) = re.findall(
        r"^```python\n(import numpy.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["result"].applied
