"""``lossk info``: what is installed, what the CPU can do, and what lossk uses of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich import box
from rich.table import Table


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Print versions, CPU, caches, instruction sets and threads."""
    from lossk import _runtime
    from lossk.cli.tables import output

    facts = _runtime.versions()
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column("what", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    for key, text in facts.items():
        table.add_row(key, text)
    output().print(table)
