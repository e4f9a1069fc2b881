"""The sources of lossk: files, what they include, their text without comments."""

from __future__ import annotations

import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CPP = ROOT / "src" / "cpp"
PYTHON = ROOT / "python" / "lossk"


def folder(file: Path) -> str:
    """The folder of a source file, or its name if it lies directly in src/cpp."""
    return file.relative_to(CPP).parts[0]


def sources() -> list[Path]:
    return sorted(p for p in CPP.rglob("*") if p.suffix in (".hpp", ".cpp", ".h", ".cc"))


@functools.cache
def code(file: Path) -> str:
    """The text without comments (strings stay)."""
    text = re.sub(r"/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", text)


def includes(file: Path) -> list[Path]:
    found = []
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', code(file), re.MULTILINE):
        candidates = [(file.parent / name).resolve(), (CPP / name).resolve()]
        found.append(next((c for c in candidates if c.exists()), candidates[0]))
    return found


def system_includes(file: Path) -> set[str]:
    return set(re.findall(r"^\s*#\s*include\s+<([^>]+)>", code(file), re.MULTILINE))


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def modules() -> list[Path]:
    return sorted(PYTHON.rglob("*.py"))
