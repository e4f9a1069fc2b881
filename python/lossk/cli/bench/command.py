"""``lossk bench``: measure, print, write ``results.json`` and the picture."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import lossk
from lossk import _runtime
from lossk.cli.bench.cases import SUITES, Case, select
from lossk.cli.bench.markdown import print_results, render_markdown
from lossk.cli.bench.results import OK, Results, read_json, write_json
from lossk.cli.bench.run import run_case
from lossk.cli.bench.worker import Pool, close_case
from lossk.cli.tables import output as output_console

PEERS = ("numpy", "torch", "choices")  # the last are lossk's own; others are files


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller cases, 5 rounds: under a minute.")] = False,
    suite: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(SUITES)}.")] = "table",
    output: Annotated[Path, typer.Option(help="Folder for results.json and the picture.")] = Path("lossk-bench"),
    peers: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(PEERS)}, files; or none.")] = "",
    kernels: Annotated[str, typer.Option(help="Comma-separated globs or regular expressions on case names.")] = "",
    threads: Annotated[str, typer.Option(help="Comma-separated thread counts; all is lossk's default.")] = "all",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds per case; 15, with --quick 5.")] = None,
    budget: Annotated[float, typer.Option(min=0, help="Seconds for the rounds of a case, of which 3 are kept.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the inputs and of the order within a round.")] = 0,
    source: Annotated[Path | None, typer.Option("--from", help="Show a results.json; measure nothing.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare lossk with its limits and with other libraries, interleaved in one run."""
    if source is None:
        words = list(dict.fromkeys(threads.split(",")))
        if wrong := [word for word in words if word != "all" and not (word.isdigit() and int(word) > 0)]:
            raise typer.BadParameter(f"{wrong[0]!r} is neither a positive number nor all", param_hint="--threads")
        now, command = datetime.now(timezone.utc).isoformat(timespec="seconds"), shlex.join(["lossk", *sys.argv[1:]])
        settings = {"rounds": rounds or (5 if quick else 15), "seconds": 0.003 if quick else 0.010, "seed": seed}
        settings["budget"] = budget or math.inf
        versions = _peers(peers or ("choices" if suite == "machine" else "numpy,torch"))
        results = Results(now, command, _runtime.versions(), settings, versions, list(os.getloadavg()))
        counts = [lossk.get_num_threads() if word == "all" else int(word) for word in words]
        _measure(_cases("quick" if quick else suite, kernels), counts, results, output)
    else:
        try:
            results = read_json(source)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error), param_hint="--from") from error
    if markdown:
        print(render_markdown(results), end="")
    else:
        print_results(results, output_console())
    if any(entry.provider == "lossk" and entry.status != OK for case in results.cases for entry in case.entries):
        raise typer.Exit(1)  # peers may fail, lossk may not


def _cases(suite: str, kernels: str) -> tuple[Case, ...]:
    if unknown := set(suite.split(",")) - set(SUITES):
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(SUITES)}", param_hint="--suite")
    offered = tuple(dict.fromkeys(case for name in suite.split(",") for case in SUITES[name]))
    if find_spec("ml_dtypes") is None:  # whose type bfloat16 is
        offered = tuple(case for case in offered if case.dtype != "bfloat16")
    if not (cases := select(offered, [word for word in kernels.split(",") if word])):
        names = "\n".join(case.name for case in offered)
        raise typer.BadParameter(f"no case matches {kernels!r}; the cases are\n{names}", param_hint="--kernels")
    return cases


def _peers(named: str) -> dict[str, str]:
    """Return the version of every peer, or why it is left out, in parentheses; a file is a peer as well."""
    states = {}
    for name in named.split(",") if named != "none" else []:
        file = Path(name if name.endswith(".py") else f"bench/peer_{name.replace('-', '_').replace('.', '_')}.py")
        if name in PEERS:
            found = lossk.__version__ if name == "choices" else version(name) if find_spec(name) else ""
            states[name] = found or "(not installed)"
        elif file.is_file():
            states[str(file)] = "as installed"
        else:
            told = f"unknown: {name}; known are {', '.join(PEERS)}, and Python files that define PROVIDERS"
            raise typer.BadParameter(told, param_hint="--peers")
    return states


def _measure(cases: tuple[Case, ...], threads: list[int], results: Results, folder: Path) -> None:
    """Measure everything; what there is so far is written after each case."""
    from lossk.cli.plot.limits import draw_limits  # matplotlib takes its time

    console, path = Console(stderr=True), folder / "results.json"
    folder.mkdir(parents=True, exist_ok=True)
    families = ["lossk", *(name for name, state in results.peers.items() if state != "(not installed)")]
    for count in threads:
        pool = Pool(families, count)
        for number, case in enumerate(cases, 1):
            start = time.perf_counter()
            results.cases.append(run_case(case, pool, **results.settings))
            write_json(results, path)
            console.print(f"{number:3}/{len(cases)}, {count} threads {time.perf_counter() - start:6.1f} s  {case.name}")
        results.threadpools.update({f"{name}, {count}": pool.ask(name, close_case) for name in families})
        for worker in pool.workers.values():
            worker.shutdown()
    draw_limits(results, folder / "limits.png")
