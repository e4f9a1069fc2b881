"""``lossk bench``: measure, print, write ``results.json`` and ``results.png``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import lossk
from lossk import _runtime
from lossk.cli.bench.cases import FULL, QUICK, Case, select
from lossk.cli.bench.markdown import render_markdown
from lossk.cli.bench.measure import Settings, run_case, steps_per_case
from lossk.cli.bench.pool import HALVES_GEMM, Pool
from lossk.cli.bench.providers import PEERS, SLOW_TO_COMPILE, installed
from lossk.cli.bench.report import print_results
from lossk.cli.bench.results import Results, read_json, write_json

WIDTH = 120  # columns of the tables when the output is not a terminal
DISTRIBUTIONS = {"torch.compile": "torch"}


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller cases, 5 rounds: under a minute.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for results.json and results.png.")] = Path("lossk-bench"),
    peers: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(PEERS)}; or none.")] = "",
    kernels: Annotated[str, typer.Option(help="Comma-separated globs or regular expressions on case names.")] = "",
    threads: Annotated[str, typer.Option(help="Comma-separated thread counts; all is lossk's default.")] = "all",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds per case; 15, with --quick 5.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the inputs and of the order within a round.")] = 0,
    source: Annotated[
        Path | None, typer.Option("--from", help="Show an earlier results.json; measure nothing.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the README's table instead of tables.")] = False,
) -> None:
    """Compare lossk with its bandwidth limit and with every installed peer, interleaved in one run."""
    progress_console = Console(stderr=True)
    if source is not None:
        results = _read(source)
    else:
        cases = _cases(quick, kernels)
        families, states = _families(peers, quick)
        settings = Settings(rounds or (5 if quick else 15), 0.003 if quick else 0.010, seed)
        results = _measure(cases, families, states, _thread_counts(threads), settings, progress_console)
        output.mkdir(parents=True, exist_ok=True)
        write_json(results, output / "results.json")
    if markdown:
        print(render_markdown(results), end="")
    else:
        print_results(results, _console())
    if source is None:
        _draw(results, output, progress_console)
    if results.lossk_failed:
        raise typer.Exit(1)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _read(source: Path) -> Results:
    try:
        return read_json(source)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--from") from error


def _cases(quick: bool, kernels: str) -> tuple[Case, ...]:
    cases = select(QUICK if quick else FULL, [word for word in kernels.split(",") if word])
    if not cases:
        names = "\n".join(case.name for case in (QUICK if quick else FULL))
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
    return families, {name: states.get(name) or _version(name) for name in PEERS}


def _version(family: str) -> str:
    try:
        return version(DISTRIBUTIONS.get(family, family))
    except PackageNotFoundError:
        return "version unknown"


def _thread_counts(threads: str) -> list[int]:
    counts = []
    for word in threads.split(","):
        if word != "all" and not (word.isdigit() and int(word) > 0):
            raise typer.BadParameter(f"{word!r} is neither a positive number nor all", param_hint="--threads")
        counts.append(lossk.get_num_threads() if word == "all" else int(word))
    return list(dict.fromkeys(counts))


def _measure(
    cases: Sequence[Case],
    families: Sequence[str],
    states: dict[str, str],
    thread_counts: Sequence[int],
    settings: Settings,
    console: Console,
) -> Results:
    results = Results(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["lossk", *sys.argv[1:]]),
        facts=_runtime.versions(),
        settings={"rounds": settings.rounds, "seconds": settings.seconds, "seed": settings.seed, "unset": HALVES_GEMM},
        peers=states,
        load_average=list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    )
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting the peers", total=len(cases) * len(thread_counts) * steps_per_case(settings))
        for threads in thread_counts:
            progress.update(task, description=f"starting {', '.join(families)}")
            with Pool(families, threads) as pool:
                for case in cases:
                    progress.update(task, description=f"{case.name} x {threads}")
                    results.cases.append(run_case(case, pool, settings, lambda _: progress.advance(task)))
                results.threadpools.update({f"{name}, {threads}": found for name, found in pool.describe().items()})
    return results


def _draw(results: Results, output: Path, console: Console) -> None:
    if find_spec("matplotlib") is None:
        console.print(f"wrote {output / 'results.json'}; no picture: matplotlib is not installed")
        return
    from lossk.cli.bench.figure import draw

    draw(results, output / "results.png")
    console.print(f"wrote {output / 'results.json'} and {output / 'results.png'}")
