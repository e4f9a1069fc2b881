"""The examples of the guide and of the README run, and so do the tutorials, which assert their numbers."""

from __future__ import annotations

import doctest
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
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


@pytest.mark.skipif(sys.platform != "linux", reason="the workflow that publishes runs GNU's sed, on Linux")
def test_links_of_the_published_readme_are_whole(tmp_path: Path) -> None:
    workflow = ROOT / ".github/workflows/wheels.yml"
    if not workflow.exists():
        pytest.skip("an sdist has no workflows")
    (script,) = re.findall(r"- run: \|\n((?: +(?:here|sed|-e).*\n)+)", workflow.read_text(encoding="utf-8"))
    shutil.copy(README, tmp_path)
    names = {"GITHUB_REPOSITORY": "owner/name", "GITHUB_SHA": "0a1b", "PATH": os.environ["PATH"]}
    subprocess.run(["bash", "-euc", textwrap.dedent(script)], cwd=tmp_path, env=names, check=True)
    published = (tmp_path / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", published)
    assert "https://github.com/owner/name/raw/0a1b/docs/limits.png" in links
    assert all(link.startswith("https://") for link in links), links
    assert re.sub(r"\]\([^)]+\)", "", published) == re.sub(r"\]\([^)]+\)", "", README.read_text(encoding="utf-8"))
