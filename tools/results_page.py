"""Write the results page and its pictures: ``python tools/results_page.py results.json [later.json ...] [page.md]``.

What later runs measured again takes the place of the first run's, and the page says so. Notes on misses are read from
misses.md beside the page. Fails where a missed target has no note, or a note no miss.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossk.cli.bench.growth_figure import draw_growth
from lossk.cli.bench.limits_figure import draw_limits
from lossk.cli.bench.notes import read_notes
from lossk.cli.bench.results import read_json
from lossk.cli.bench.results_page import render_page

PAGE = Path(__file__).parents[1] / "bench" / "RESULTS.md"


def main() -> None:
    """Command line: the results, then the page."""
    files = [Path(argument) for argument in sys.argv[1:]]
    page = files.pop() if files and files[-1].suffix == ".md" else PAGE
    if not files:
        raise SystemExit("usage: python tools/results_page.py results.json [later.json ...] [page.md]")
    try:
        results, *again = (read_json(file) for file in files)
        for later in again:
            results.take_over(later)
        rendered = render_page(results, read_notes(page.parent / "misses.md"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"results_page: {error}") from error
    page.write_text(rendered, encoding="utf-8")
    draw_limits(results, page.parent / "limits.png")
    if results.growth:
        draw_growth(results, page.parent / "growth.png")


if __name__ == "__main__":
    main()
