"""The list of commands. A new command is a module with one typed function, and one line here."""

from __future__ import annotations

from typing import Annotated

import typer

import lossk
from lossk.cli.bench.command import bench
from lossk.cli.check.command import check
from lossk.cli.info import info
from lossk.cli.plot.command import plot
from lossk.cli.tune import tune

app = typer.Typer(
    name="lossk",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lossk {lossk.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Loss, activation and optimizer kernels for CPUs."""


app.command()(info)
app.command()(check)
app.command()(bench)
app.command()(plot)
app.command()(tune)
