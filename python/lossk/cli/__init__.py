"""The ``lossk`` command. Importing this package imports nothing that is not in the standard library.

``main`` is the entry point of the console script and of ``python -m lossk``. One module (or package) per command;
``app`` is the list of commands. typer, rich and matplotlib come with the extra ``lossk[cli]``.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

MISSING_EXTRA = "lossk: the command line needs extra packages: pip install 'lossk[cli]'"


def main() -> None:
    """Run the command line; without typer or rich say in one line what to install, and exit with 1."""
    if find_spec("typer") is None or find_spec("rich") is None:
        print(MISSING_EXTRA, file=sys.stderr)
        raise SystemExit(1)
    from lossk.cli.app import app

    app()


__all__ = ["MISSING_EXTRA", "main"]
