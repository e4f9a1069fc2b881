"""Put a benchmark run into README.md: ``python tools/readme_table.py README.md results.json [picture.png]``.

The text between ``<!-- results -->`` and ``<!-- /results -->`` becomes a table of twelve cases, each in the mode in
which a peer comes closest, and what they were measured on. The picture of the same run is drawn where one is asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossk.cli.bench.markdown import duration, error, percent
from lossk.cli.bench.results import CaseResult, Entry, Results, read_json
from lossk.cli.plot.limits import draw_limits

BEGIN, END = "<!-- results -->", "<!-- /results -->"

CASES = (
    ("CrossEntropy", "1024x32000"),
    ("CrossEntropy", "512x128256"),
    ("CrossEntropy", "65536x10"),
    ("CrossEntropy", "1000000x2"),
    ("CrossEntropy", "8192x1000"),
    ("Huber", "2^25"),
    ("Hinge", "2^25"),
    ("Huber", "16"),
    ("SGD", "2^25"),
    ("AdamW", "2^25"),
    ("SGD", "100 x 10000"),
    ("AdamW", "100 x 10000"),
)
HEAD = """| kernel | shape | time | of the limit | fastest peer | error |
| --- | --- | --- | --- | --- | --- |"""
NOTE = """\
*Of the limit*: what the same memory streams take without arithmetic, or the arithmetic without memory where that is
longer, over lossk's time; above 100 %, that met a slower moment of a shared machine. *Fastest peer*: in this mode, and
how much faster lossk is (bold: lossk loses). *Error*: the largest against float64."""


def closest(case: CaseResult) -> tuple[Entry, Entry]:
    """Return lossk and a peer in the mode where lossk is least ahead. Raises ValueError where no peer was measured."""
    ours = {entry.mode: entry for entry in case.entries if entry.provider == "lossk" and entry.time}
    peers = [e for e in case.entries if e.ratio and e.mode in ours and e.provider != "numpy: one ufunc"]
    if peers:
        peer = min(peers, key=lambda entry: entry.ratio or 0)
        return ours[peer.mode], peer
    raise ValueError(f"{case.name}: no peer was measured in a mode of lossk's")


def row(case: CaseResult) -> str:
    """Return a case as a row of the table."""
    ours, peer = closest(case)
    assert ours.time is not None, "`closest` finds what was measured"
    ratio = f"{peer.ratio:.3g}x" if (peer.ratio or 0) >= 1 else f"**{peer.ratio:.2g}x**"
    cells = (f"{case.kernel} {ours.mode}", case.shape, duration(ours.time.p50), percent(ours.best_fraction))
    return "| " + " | ".join((*cells, f"{peer.provider}, {ratio}", error(ours))) + " |"


def render(results: Results) -> str:
    """Return table, explanation and provenance. Raises ValueError where a case is missing."""
    threads = max((case.threads for case in results.cases), default=1)
    found = {
        (case.kernel, case.shape): case
        for case in results.cases
        if (case.threads, case.dtype) == (threads, "float32")
        and " with " not in case.name
        and case.goal in ("value+grad", "step")
    }
    if missing := [" ".join(case) for case in CASES if case not in found]:
        raise ValueError(f"the run lacks {', '.join(missing)} in float32 with {threads} threads")
    facts = results.facts
    libraries = ("lossk", "numpy", "torch", "jax", "scikit-learn", "numba")
    versions = ", ".join(f"{name} {facts[name]}" for name in libraries if name in facts)
    measured = (
        f"Measured on {results.created[:10]}: {facts['cpu']}, {facts['isa']}, {threads} threads, float32; "
        f"{versions}; medians of {results.settings['rounds']} rounds in random order, one process per peer; "
        f"`{results.command}`."
    )
    return "\n".join((HEAD, *(row(found[case]) for case in CASES), "", NOTE, "", measured))


def replace_between(page: str, table: str) -> str:
    """Return the page with `table` between the markers. Raises ValueError unless both occur once, in order."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs one {BEGIN} followed by one {END}")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{table.strip()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Command line: the page, the results, and where the picture goes."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python tools/readme_table.py README.md results.json [picture.png]")
    page = Path(sys.argv[1])
    try:
        results = read_json(Path(sys.argv[2]))
        changed = replace_between(page.read_text(encoding="utf-8"), render(results))
    except (OSError, ValueError) as error:
        raise SystemExit(f"readme_table: {error}") from error
    for picture in sys.argv[3:]:
        draw_limits(results, Path(picture))
    page.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
