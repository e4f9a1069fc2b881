"""Put a benchmark run into a Markdown file: ``python tools/readme_table.py README.md results.json [picture.png]``.

The text between ``<!-- results -->`` and ``<!-- /results -->`` is replaced by what ``lossk bench --markdown`` prints,
with a picture of the same run, where one is asked for, drawn and linked above it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossk.cli.bench.limits_figure import draw_limits
from lossk.cli.bench.markdown import render_markdown
from lossk.cli.bench.results import read_json

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def replace_between(page: str, table: str) -> str:
    """Return the page with `table` between the markers. Raises ValueError unless both occur once, in order."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs one {BEGIN} followed by one {END}")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{table.strip()}\n{END}{rest.split(END)[1]}"


def picture_link(page: Path, picture: Path) -> str:
    """Return the Markdown that shows the picture in the page."""
    place = picture.resolve().relative_to(page.resolve().parent)
    return f"![Fraction of the memory limit that six kernels and their fastest peers reach]({place.as_posix()})\n\n"


def main() -> None:
    """Command line: the page, the results, and where the picture goes."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python tools/readme_table.py README.md results.json [picture.png]")
    page, *pictures = Path(sys.argv[1]), *map(Path, sys.argv[3:])
    try:
        results = read_json(Path(sys.argv[2]))
        links = "".join(picture_link(page, picture) for picture in pictures)
        changed = replace_between(page.read_text(encoding="utf-8"), links + render_markdown(results))
    except (OSError, ValueError) as error:
        raise SystemExit(f"readme_table: {error}") from error
    for picture in pictures:
        draw_limits(results, picture)
    page.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
