"""Tracking from commit to commit: ``pytest bench/test_kernels.py --benchmark-autosave --benchmark-compare``.

The quick cases of lossk alone, and what bytes and limits make of them (`extra_info`).
"""

from __future__ import annotations

import pytest
from interleaved import against_limits
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk.cli.bench.cases import SUITES, Case

CALLS = [(case, mode) for case in SUITES["quick"] for mode in case.modes]


@pytest.mark.parametrize("threads", sorted({1, lossk.get_num_threads()}))
@pytest.mark.parametrize(("case", "mode"), CALLS, ids=lambda part: part if isinstance(part, str) else part.name)
def test_kernel(benchmark: BenchmarkFixture, case: Case, mode: str, threads: int) -> None:
    """Measure one call."""
    against_limits(benchmark, case, mode, threads, rounds=5)
