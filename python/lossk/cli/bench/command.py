"""``lossk bench``: measure, print, write ``results.json`` and the picture."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from dataclasses import asdict
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
from lossk.cli.bench.markdown import render_markdown
from lossk.cli.bench.report import print_results
from lossk.cli.bench.results import OK, Results, read_json, write_json
from lossk.cli.bench.run import Settings, run_case
from lossk.cli.bench.worker import HALVE_GEMM, Pool, close_case
from lossk.cli.tables import output as output_console

PEERS = ("numpy", "torch", "torch.compile")
BESIDES = Path("bench/peers")  # of a checkout: files of other peers, by name


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
        seconds = 0.003 if quick else 0.010
        settings = Settings(rounds or (5 if quick else 15), seconds, seed, budget or math.inf)
        cases = _cases("quick" if quick else suite, kernels)
        states = _peers(peers or ("none" if suite == "machine" else ""), quick)
        results = _measure(cases, states, _thread_counts(threads), settings, output)
    else:
        try:
            results = read_json(source)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error), param_hint="--from") from error
    if markdown:
        print(render_markdown(results), end="")
    else:
        print_results(results, output_console())
    if any(entry.provider == "lossk" and entry.status != OK for _, entry in results.rows()):
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


def _peers(named: str, quick: bool) -> dict[str, str]:
    """Return the version of every peer, or why it is left out, in parentheses."""
    states = dict.fromkeys(PEERS, "(not asked for)")
    for name in [] if named == "none" else named.split(",") if named else PEERS:
        if name in PEERS:
            package = name.partition(".")[0]
            compiles = quick and not named and name == "torch.compile"
            missing = "(not installed)" if find_spec(package) is None else "(slow to compile)" if compiles else ""
            states[name] = missing or version(package)
        elif (file := Path(name) if name.endswith(".py") else BESIDES / f"{name}.py").is_file():
            states[str(file)] = "as installed"
        else:
            known = f"{', '.join(PEERS)}, and Python files that define PROVIDERS"
            raise typer.BadParameter(f"unknown: {name}; known are {known}", param_hint="--peers")
    return states


def _thread_counts(threads: str) -> list[int]:
    for word in threads.split(","):
        if word != "all" and not (word.isdigit() and int(word) > 0):
            raise typer.BadParameter(f"{word!r} is neither a positive number nor all", param_hint="--threads")
    words = dict.fromkeys(threads.split(","))
    return [lossk.get_num_threads() if word == "all" else int(word) for word in words]


def _measure(
    cases: tuple[Case, ...], states: dict[str, str], threads: list[int], settings: Settings, folder: Path
) -> Results:
    """Measure everything; what there is so far is written after each case."""
    console, path = Console(stderr=True), folder / "results.json"
    folder.mkdir(parents=True, exist_ok=True)
    now, command = datetime.now(timezone.utc).isoformat(timespec="seconds"), shlex.join(["lossk", *sys.argv[1:]])
    told = {**asdict(settings), "unset": HALVE_GEMM}
    results = Results(now, command, _runtime.versions(), told, states, list(os.getloadavg()))
    for count in threads:
        pool = Pool(["lossk", *(name for name, state in states.items() if not state.startswith("("))], count)
        for number, case in enumerate(cases, 1):
            start = time.perf_counter()
            results.cases.append(run_case(case, pool, settings))
            write_json(results, path)
            console.print(f"{number:3}/{len(cases)}, {count} threads {time.perf_counter() - start:6.1f} s  {case.name}")
        results.threadpools.update({f"{name}, {count}": pool.ask(name, close_case) for name in pool.workers})
    if find_spec("matplotlib"):
        from lossk.cli.bench.limits_figure import draw_limits

        draw_limits(results, folder / "limits.png")
    console.print(f"wrote {folder}/*")
    return results
