"""Tracking benchmarks: lossk's own calls for the quick cases of the registry, under pytest-benchmark.

``pytest bench --benchmark-only --benchmark-autosave``; compare with ``pytest-benchmark compare``. No peers and no
limits here: for those see ``lossk bench`` and bench/README.md.
"""

from __future__ import annotations

from itertools import product

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk.cli.bench.cases import Case
from lossk.cli.bench.inputs import make_inputs
from lossk.cli.bench.providers.lossk_ import build
from lossk.cli.bench.suites import QUICK

CALLS = [(case, mode) for case in QUICK for mode in case.modes]
THREADS = sorted({1, lossk.get_num_threads()})
ROUNDS_IN_PLACE = 20


def _name(call: tuple[Case, str]) -> str:
    case, mode = call
    return f"{case.name} {mode}".replace(" ", "-")


@pytest.mark.parametrize(
    ("case", "mode", "threads"),
    [pytest.param(*call, n, id=f"{_name(call)}-{n}thr") for call, n in product(CALLS, THREADS)],
)
def test_kernel(benchmark: BenchmarkFixture, case: Case, mode: str, threads: int) -> None:
    """One call of lossk; `extra_info` holds the bytes it has to move."""
    benchmark.group = f"{case.name} {mode}"
    benchmark.extra_info.update(nbytes=case.nbytes_moved(mode), threads=threads, isa=lossk.isa())
    with lossk.threads(threads):
        runner = build(case, mode, make_inputs(case, seed=0), threads)
        assert runner is not None, f"lossk does not offer {case.kernel} in mode {mode}"
        if runner.prepare is None:
            benchmark(runner.call)
            return
        prepare = runner.prepare

        def restore() -> None:  # what the in-place call before has overwritten
            prepare()

        benchmark.pedantic(runner.call, setup=restore, rounds=ROUNDS_IN_PLACE, warmup_rounds=1)  # type: ignore[no-untyped-call]
