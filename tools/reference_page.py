"""Writes docs/reference.md, the page of every public name, from the docstrings; ``--check`` compares it.

A name without a docstring, or a class or function whose docstring lacks an example that runs, is an error.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import lossk

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
HEAD = """# Reference

Every public name, from its docstring (made by `python tools/reference_page.py`). The formulas are also in each class's
`reference`, in plain float64 NumPy.
"""
SECTIONS = "Parameters|Returns|Raises|References|Examples|Attributes|Notes|Yields"
# Verbs are documented once, where their class family defines them.
VERBS = ("__call__", "grad", "value_and_grad", "grad_and_hess", "vjp", "derivative", "reference", "step")


def to_markdown(docstring: str) -> str:
    """Turn a NumPy-style docstring into Markdown: sections in bold, parameters as a list, examples as code."""
    lines, section, code = [], "", False
    source = inspect.cleandoc(docstring).splitlines()
    for i, line in enumerate(source):
        following = source[i + 1] if i + 1 < len(source) else ""
        if re.fullmatch(SECTIONS, line) and set(following) == {"-"}:
            lines += ["", f"**{line}**", ""]
            section = line
        elif section and line and set(line) == {"-"}:
            continue
        elif section == "Examples":
            if line and not code:
                lines.append("```python")
                code = True
            lines.append(line)
        elif section in ("Parameters", "Returns", "Raises", "Attributes") and line and not line.startswith(" "):
            lines.append(f"- `{line.replace('`', '')}`  ")
        else:
            lines.append(re.sub("``(.+?)``", r"`\1`", re.sub("::$", ":", line)))
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)) + ("\n```" if code else "")


def signature(value: Any) -> str:
    """Return the signature as users read it: without annotations, which the text explains."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name != "self"]
    return str(inspect.Signature(plain))


def entry(name: str, value: Any, level: int) -> str:
    """Return the text of one public name."""
    docstring = inspect.getdoc(value)
    if not docstring:
        raise SystemExit(f"{name}: has no docstring")
    if ">>>" not in docstring and (inspect.isclass(value) or inspect.isfunction(value)) and level == 3:
        raise SystemExit(f"{name}: its docstring has no example")
    title = f"{'#' * level} `{name}{signature(value) if callable(value) else ''}`"
    return f"{title}\n\n{to_markdown(docstring)}\n"


def families(module: ModuleType) -> dict[type, list[str]]:
    """Return the classes that define verbs which public classes inherit, with the names of those verbs."""
    found: dict[type, list[str]] = {}
    for name in module.__all__:
        value = getattr(module, name)
        for base in inspect.getmro(value)[1:] if inspect.isclass(value) else ():
            own = [verb for verb in VERBS if verb in vars(base) and vars(base)[verb].__doc__]
            if own and base.__module__.startswith("lossk"):
                found[base] = own
    return found


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, "## Names\n"]
    modules = [name for name in lossk.__all__ if isinstance(getattr(lossk, name), ModuleType)]
    names = sorted((n for n in lossk.__all__ if n not in modules and not n.startswith("__")), key=str.lower)
    parts += [entry(f"lossk.{name}", getattr(lossk, name), 3) for name in names]
    for name in modules:
        module = getattr(lossk, name)
        parts.append(f"## lossk.{name}\n")
        parts += [entry(f"lossk.{name}.{inner}", getattr(module, inner), 3) for inner in module.__all__]
    parts.append("## Verbs\n\nWhat the classes above inherit.\n")
    for base, verbs in families(lossk).items():
        parts.append(f"### of every `{base.__name__}`\n")
        parts += [entry(verb, vars(base)[verb], 4) for verb in verbs]
    return "\n".join(parts)


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is out of date")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("docs/reference.md is out of date: run python tools/reference_page.py")


if __name__ == "__main__":
    main()
