"""``lossk bench``: measure, print, write ``results.json`` and the pictures."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import lossk
from lossk import _runtime
from lossk.cli.bench.cases import Case
from lossk.cli.bench.growth import MOST
from lossk.cli.bench.machine import cache_bytes
from lossk.cli.bench.markdown import render_markdown
from lossk.cli.bench.measure import Settings
from lossk.cli.bench.providers import PEERS, SLOW_TO_COMPILE, installed
from lossk.cli.bench.report import print_results
from lossk.cli.bench.results import Results, read_json, write_json
from lossk.cli.bench.run import Plan, run, version_of
from lossk.cli.bench.suites import MACHINE, QUICK, TABLE, select
from lossk.cli.bench.targets import cases_of, targets
from lossk.cli.tables import output as output_console

SUITES = ("table", "quick", "machine", "targets", "company", "growth")
QUICK_ROUNDS, ROUNDS = 5, 15
QUICK_SECONDS, SECONDS = 0.003, 0.010


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller cases, 5 rounds: under a minute.")] = False,
    suite: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(SUITES)}.")] = "table",
    output: Annotated[Path, typer.Option(help="Folder for results.json and the pictures.")] = Path("lossk-bench"),
    peers: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(PEERS)}; or none.")] = "",
    kernels: Annotated[str, typer.Option(help="Comma-separated globs or regular expressions on case names.")] = "",
    threads: Annotated[str, typer.Option(help="Comma-separated thread counts; all is lossk's default.")] = "all",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds per case; 15, with --quick 5.")] = None,
    budget: Annotated[float, typer.Option(min=0, help="Seconds for the rounds of a case, of which 3 are kept.")] = 0,
    most: Annotated[int, typer.Option(min=100_000, help="Elements that the suite growth goes up to.")] = MOST,
    seed: Annotated[int, typer.Option(help="Seed of the inputs and of the order within a round.")] = 0,
    source: Annotated[
        Path | None, typer.Option("--from", help="Show an earlier results.json; measure nothing.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the README's table instead of tables.")] = False,
) -> None:
    """Compare lossk with its limits and with every installed peer, interleaved in one run."""
    progress_console = Console(stderr=True)
    if source is not None:
        results = _read(source)
    else:
        suites = _suites("quick" if quick else suite)
        families, states = _families(peers, quick)
        cases = _cases(suites, kernels)
        plan = Plan(
            cases,
            families if cases else ["lossk"],
            states,
            _thread_counts(threads),
            growth=most if "growth" in suites else 0,
            company="company" in suites,
        )
        settings = Settings(
            rounds or (QUICK_ROUNDS if quick else ROUNDS),
            QUICK_SECONDS if quick else SECONDS,
            seed,
            budget or math.inf,
        )
        output.mkdir(parents=True, exist_ok=True)
        results = run(plan, settings, progress_console, lambda so_far: write_json(so_far, output / "results.json"))
    if markdown:
        print(render_markdown(results), end="")
    else:
        print_results(results, output_console())
    if source is None:
        _draw(results, output, progress_console)
    if results.lossk_failed:
        raise typer.Exit(1)


def _read(source: Path) -> Results:
    try:
        return read_json(source)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--from") from error


def _suites(suite: str) -> list[str]:
    names = [word for word in suite.split(",") if word]
    unknown = [name for name in names if name not in SUITES]
    if unknown or not names:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(SUITES)}", param_hint="--suite")
    return names


def _cases(suites: list[str], kernels: str) -> tuple[Case, ...]:
    lists = {"table": TABLE, "quick": QUICK, "machine": MACHINE}
    if "targets" in suites:
        lists["targets"] = cases_of(targets(cache_bytes(_runtime.versions(), 2)))
    offered = tuple(dict.fromkeys(case for name in suites for case in lists.get(name, ())))
    cases = select(offered, [word for word in kernels.split(",") if word])
    if offered and not cases:
        names = "\n".join(case.name for case in offered)
        raise typer.BadParameter(f"no case matches {kernels!r}; the cases are\n{names}", param_hint="--kernels")
    return cases


def _families(peers: str, quick: bool) -> tuple[list[str], dict[str, str]]:
    """Choose the families to run; for every peer give its version, or why it is left out."""
    named = [] if peers == "none" else peers.split(",") if peers else list(PEERS)
    unknown = [name for name in named if name not in PEERS]
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(PEERS)}", param_hint="--peers")
    states = {}
    for name in PEERS:
        if name not in named:
            states[name] = "not asked for"
        elif not installed(name):
            states[name] = "not installed"
        elif quick and not peers and name in SLOW_TO_COMPILE:
            states[name] = "left out by --quick (slow to compile; name it with --peers)"
    families = ["lossk"] + [name for name in PEERS if name not in states]
    return families, {name: states.get(name) or version_of(name) for name in PEERS}


def _thread_counts(threads: str) -> list[int]:
    counts = []
    for word in threads.split(","):
        if word != "all" and not (word.isdigit() and int(word) > 0):
            raise typer.BadParameter(f"{word!r} is neither a positive number nor all", param_hint="--threads")
        counts.append(lossk.get_num_threads() if word == "all" else int(word))
    return list(dict.fromkeys(counts))


def _draw(results: Results, output: Path, console: Console) -> None:
    if find_spec("matplotlib") is None:
        console.print(f"wrote {output / 'results.json'}; no pictures: matplotlib is not installed")
        return
    from lossk.cli.bench.figure import draw
    from lossk.cli.bench.growth_figure import draw_growth
    from lossk.cli.bench.limits_figure import draw_limits

    written = [output / "results.json"]
    for wanted, drawing, name in (
        (results.cases, draw, "results.png"),
        (results.cases, draw_limits, "limits.png"),
        (results.growth, draw_growth, "growth.png"),
    ):
        if wanted:
            drawing(results, output / name)
            written.append(output / name)
    console.print(f"wrote {', '.join(str(path) for path in written)}")
