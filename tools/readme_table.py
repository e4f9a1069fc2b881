"""Put the table of a benchmark run into a Markdown file: ``python tools/readme_table.py README.md results.json``.

The text between ``<!-- results -->`` and ``<!-- /results -->`` is replaced by what ``lossk bench --markdown`` prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossk.cli.bench.markdown import render_markdown
from lossk.cli.bench.results import read_json

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def replace_between(page: str, table: str) -> str:
    """Return the page with `table` between the markers. Raises ValueError unless both occur once, in order."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs one {BEGIN} followed by one {END}")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{table.strip()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Command line: the page, then the results."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python tools/readme_table.py README.md results.json")
    page, results = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        changed = replace_between(page.read_text(encoding="utf-8"), render_markdown(read_json(results)))
    except (OSError, ValueError) as error:
        raise SystemExit(f"readme_table: {error}") from error
    page.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
