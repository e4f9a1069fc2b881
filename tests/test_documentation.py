"""The pages of docs/: their examples run, and every public name has its place in the reference."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "index.md", *sorted((DOCS / "guide").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_a_page_run(page: Path) -> None:
    blocks = re.findall(r"^```python\n(>>> .*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


@pytest.mark.parametrize(
    ("module", "page"),
    [
        ("lossk", "index.rst"),
        ("lossk.information", "information.rst"),
        ("lossk.torch", "torch.rst"),
        ("lossk.torch.optim", "torch_optim.rst"),
    ],
)
def test_every_public_name_is_in_the_reference(module: str, page: str) -> None:
    public = pytest.importorskip(module, exc_type=ModuleNotFoundError)
    names = {name for name in public.__all__ if not isinstance(getattr(public, name), ModuleType)}
    listed = re.findall(r"^   (\w+)$", (DOCS / "reference" / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert names == set(listed) - {"information", "torch", "torch_optim"}
