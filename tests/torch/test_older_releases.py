"""lossk.torch on a torch without the names that older releases do not have."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import python

FILES = ("test_functional", "test_clipping")
OPTIONS = ["-q", "-k", "not compile", "-p", "tests.support.older_torch"]


def test_what_older_releases_have_works() -> None:
    names = [str(Path(__file__).parent / f"{name}.py") for name in FILES]
    done = python(
        "import sys, pytest; raise SystemExit(pytest.main(sys.argv[1:]))",
        *OPTIONS,
        *names,
        warn="default",
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout
