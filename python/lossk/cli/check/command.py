"""``lossk check``: compare, print the table, exit with 1 on a miss."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import lossk
from lossk.cli.check.errors import Error, Measure, kernels
from lossk.cli.tables import output, say, table

Row = tuple[str, str, str, Error]


def dtypes() -> dict[str, Any]:
    """Return the types to check; bfloat16 where ml_dtypes is installed."""
    found: dict[str, Any] = {"float64": np.float64, "float32": np.float32, "float16": np.float16}
    if find_spec("ml_dtypes"):
        found["bfloat16"] = import_module("ml_dtypes").bfloat16
    return found


def worst(measure: Measure, dtype: Any, seed: int) -> Error | None:
    """Return the error that uses most of its tolerance; None where the kernel does not take the type."""
    return max(measure(dtype, np.random.default_rng(seed)), key=lambda e: e.share, default=None)


def measure_all(chosen: dict[str, Measure], seed: int, advance: Callable[[str], None]) -> list[Row]:
    """Go through ISAs, kernels and types; leaves the ISA as it was."""
    before = lossk.isa()
    rows = []
    try:
        for isa in lossk.available_isas():
            lossk.set_isa(isa)
            for name, measure in chosen.items():
                advance(f"{isa}  {name}")
                for text, dtype in dtypes().items():
                    if (error := worst(measure, dtype, seed)) is not None:
                        rows.append((name, text, isa, error))
    finally:
        lossk.set_isa(before)
    return rows


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    numbers = ("error", "allowed")
    headings = ("verdict", "kernel", "dtype", "ISA", "worst in", *numbers)
    shown = table(headings, right=numbers, whole=("verdict", "dtype", "ISA", *numbers))
    for name, dtype, isa, error in rows:
        verdict = "ok" if error.share <= 1 else "[bold red]MISS[/]"
        shown.add_row(verdict, name, dtype, isa, error.quantity, f"{error.error:.1e}", f"{error.tolerance:.0e}")
    console.print(shown)


def check(
    names: Annotated[list[str] | None, typer.Argument(help="Globs on the names of kernels; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the inputs.")] = 0,
    misses: Annotated[bool, typer.Option("--misses", help="Print only what is out of tolerance.")] = False,
) -> None:
    """Compare every kernel, on every ISA of this CPU, with plain float64 NumPy; exit with 1 where one is off."""
    patterns = [name.lower() for name in names or ("*",)]
    chosen = {name: m for name, m in kernels().items() if any(fnmatch.fnmatch(name.lower(), p) for p in patterns)}
    if not chosen:
        raise typer.BadParameter(f"got {' '.join(names or ())}, wanted globs on {', '.join(kernels())}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(chosen) * len(lossk.available_isas()))

        def advance(text: str) -> None:
            progress.update(task, description=text, advance=1)

        rows = measure_all(chosen, seed, advance)
    missed = [row for row in rows if row[-1].share > 1]
    console = output()
    show(missed if misses else rows, console)
    say(console, f"{len(rows) - len(missed)} of {len(rows)} within tolerance, on {', '.join(lossk.available_isas())}")
    raise typer.Exit(1 if missed else 0)
