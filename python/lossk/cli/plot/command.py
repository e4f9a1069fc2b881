"""``lossk plot``: draw the pictures and write one PNG each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import matplotlib
import typer
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossk.cli.plot import descent, information, layers, losses  # noqa: F401  (they register their pictures)
from lossk.cli.plot.style import PICTURES

matplotlib.use("Agg")  # commands write files: no window opens, no display is needed

NAMES = ", ".join(PICTURES)


def plot(
    names: Annotated[list[str] | None, typer.Argument(help=f"Pictures to draw, of {NAMES}; all by default.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the PNGs.")] = Path("lossk-plots"),
    dpi: Annotated[int, typer.Option(min=30, max=600, help="Dots per inch.")] = 130,
) -> None:
    """Draw losses, entropies, activations and descents from lossk's own kernels, one PNG each."""
    unknown = [name for name in names or () if name not in PICTURES]
    if unknown:
        raise typer.BadParameter(f"got {', '.join(unknown)}, wanted one of {NAMES}")
    chosen = names or list(PICTURES)
    output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    written = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("drawing", total=len(chosen))
        for name in chosen:
            progress.update(task, description=name)
            path = output / f"{name}.png"
            figure = PICTURES[name]()
            figure.savefig(path, dpi=dpi)
            plt.close(figure)
            written.append(path)
            progress.advance(task)
    for path in written:
        print(f"wrote {path}")
