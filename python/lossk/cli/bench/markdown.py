"""The results as Markdown, for a page."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console

from lossk.cli.bench.report import print_results
from lossk.cli.bench.results import Results
from lossk.cli.tables import UNLIMITED


def render_markdown(results: Results) -> str:
    """Return the tables, what they were measured on, and the rows that lossk loses."""
    page = io.StringIO()
    print_results(results, Console(file=page, width=UNLIMITED), box.MARKDOWN)
    return page.getvalue()
