"""Machines side by side: ``python tools/machines_page.py lossk-bench/results.json`` adds one to bench/machines/.

Its medians of ``lossk bench --suite machine`` become ``CPU.json``; the documentation makes a page of all of them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from lossk.cli.bench.markdown import duration
from lossk.cli.bench.results import Results, read_json

FOLDER = Path(__file__).parents[1] / "bench/machines"
LOW = 0.8  # fractions of the limit below this are marked
STREAMED, STORED = "lossk streamed", "lossk stored"

INTRODUCTION = """# Machines

Made from `bench/machines/`, one file a machine, each written on it by

    lossk bench --suite machine && python tools/machines_page.py lossk-bench/results.json

which takes under four minutes and is welcome from any machine. [Benchmarks](benchmarks.md) says how it measures.

**Cells**: time; fraction of the memory limit (the faster of the ordinary and the streaming twin), and behind a slash of
the arithmetic limit (the same kernel on data in L1) where that takes longer, **bold** where the larger is below .80;
largest error against float64.
"""

CHOICES = """
## What lossk chooses, and what else there is

Time of a choice over that of lossk's own: above 1 where lossk chose well, below .97 (bold) where it did not. *Streamed*
and *stored* are results written by non-temporal and by ordinary stores; other columns are instruction sets that give
the same bits.
"""


def condensed(results: Results) -> dict[str, Any]:
    """Keep of a run what the page shows: medians, fractions, errors."""
    rows = []
    for case in results.cases:
        for entry in case.entries:
            if (
                entry.time is None
                or entry.provider.split()[0] != "lossk"
                or entry.provider.endswith(results.facts["isa"])
            ):
                continue
            rows.append(
                {
                    "case": case.name,
                    "mode": entry.mode,
                    "provider": entry.provider,
                    "seconds": float(f"{entry.time.p50:.4g}"),
                    "fraction": entry.fraction and round(entry.fraction, 3),
                    "arithmetic": entry.arithmetic and round(entry.arithmetic, 3),
                    "ratio": round(entry.ratios[entry.mode], 3) if entry.ratios else None,
                    "error": entry.array_error if entry.array_error is not None else entry.value_error,
                }
            )
    return {"facts": results.facts, "created": results.created, "command": results.command, "rows": rows}


def name_of(facts: dict[str, str]) -> str:
    """Name a machine's file after its CPU, its kind and how many there are."""
    words = f"{facts['cpu']} {facts['cpu kind']} {facts['cores']} cores".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def _title(facts: dict[str, str]) -> str:
    """Name a machine for people."""
    return f"{facts['cpu']} ({facts['cpu kind']}), {facts['cores']} cores"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    fractions = [row[name] for name in ("fraction", "arithmetic") if row[name] is not None]
    shown = " / ".join(f"{fraction:.2f}".lstrip("0") for fraction in fractions)
    if fractions and max(fractions) < LOW:
        shown = f"**{shown}**"
    return f"{duration(row['seconds'])}, {shown}, {row['error'] or 0:.0e}".replace("0e+00", "0")


def _table(headings: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows))


def _choice(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return ""
    shown = f"{row['ratio']:.2f}"
    return f"**{shown}**" if row["ratio"] < 0.97 else shown


def measured() -> dict[str, dict[str, Any]]:
    """Return the machines so far, by the names of their files."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def render(machines: dict[str, dict[str, Any]]) -> str:
    """Render the page."""
    found = {
        name: {(row["case"], row["mode"], row["provider"]): row for row in machine["rows"]}
        for name, machine in machines.items()
    }
    keys = dict.fromkeys((case, mode) for rows in found.values() for case, mode, _ in rows)
    names = list(machines)
    own = [[case, mode, *(_cell(found[name].get((case, mode, "lossk"))) for name in names)] for case, mode in keys]
    titles = {name: _title(machine["facts"]) for name, machine in machines.items()}
    parts = [INTRODUCTION, _table(["case", "mode", *titles.values()], own), CHOICES]
    for name in names:
        isas = {p for *_, p in found[name] if p not in ("lossk", STREAMED, STORED)}
        providers = [STREAMED, STORED, *sorted(isas)]
        rows = []
        for case, mode in keys:
            cells = [found[name].get((case, mode, provider)) for provider in providers]
            if any(cells):
                rows.append([case, mode, *(_choice(cell) if cell else "" for cell in cells)])
        facts = ", ".join(f"{key} {text}" for key, text in machines[name]["facts"].items() if text != "not installed")
        parts += [f"### {titles[name]}\n", f"{facts}; {machines[name]['created']}.\n"]
        parts += [_table(["case", "mode", *(p.removeprefix("lossk ") for p in providers)], rows), ""]
    return "\n".join(parts)


def main() -> None:
    """Command line: results of runs."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        results = read_json(Path(argument))
        file = FOLDER / f"{name_of(results.facts)}.json"
        file.write_text(json.dumps(condensed(results), indent=1) + "\n", encoding="utf-8")
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
