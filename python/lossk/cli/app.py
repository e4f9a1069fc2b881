"""The list of commands. A new command is a module with one typed function, and one line here."""

from __future__ import annotations

import typer

from lossk.cli.bench.command import bench
from lossk.cli.check.command import check
from lossk.cli.info import info
from lossk.cli.plot.command import plot

app = typer.Typer(
    name="lossk",
    help="Loss, activation and optimizer kernels for CPUs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(info)
app.command()(check)
app.command()(bench)
app.command()(plot)
