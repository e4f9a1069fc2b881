"""Tables of all commands: nothing is cut off, at 80 columns and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

TEXT_WIDTH = 120  # columns of running text where the output is not a terminal
UNLIMITED = 10_000


def output() -> Console:
    """Return a console as wide as the terminal; in a pipe or a file, lines of tables are as long as they are."""
    console = Console()
    return console if console.is_terminal else Console(width=UNLIMITED)


def say(console: Console, text: str, style: str = "") -> None:
    """Print running text, in lines that people read."""
    console.print(Text(text, style), width=min(console.width, TEXT_WIDTH))


def table(headings: Sequence[str], right: Sequence[str] = (), whole: Sequence[str] = (), title: str = "") -> Table:
    """Return an empty table: columns named in `right` are numbers; those in `whole` stay in one piece, others fold."""
    made = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    made.padding, made.show_edge = (0, 1, 0, 0), False
    for heading in headings:
        widest_word = max(map(len, heading.split()), default=0)
        justify: JustifyMethod = "right" if heading in right else "left"
        made.add_column(heading, justify=justify, min_width=widest_word, no_wrap=heading in whole, overflow="fold")
    return made
