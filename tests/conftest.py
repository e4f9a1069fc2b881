"""Fixtures: the instruction set that runs (forced, and proven to run), and seeded random numbers, of torch too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import lossk
from lossk import _core
from tests.support.isas import REGISTER_BYTES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--last-level-cache", type=int, metavar="BYTES", help="run as if the last-level cache were so large"
    )


def pytest_configure(config: pytest.Config) -> None:
    if bytes_ := config.getoption("--last-level-cache"):
        _core.pretend_last_level_cache(bytes_)


def pytest_report_header() -> str:
    missing = sorted(set(REGISTER_BYTES) - set(lossk.available_isas()))
    return f"lossk: tests run on {', '.join(lossk.available_isas())}; this CPU or build has no {', '.join(missing)}"


@pytest.fixture(params=lossk.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on each instruction set that this CPU has.

    `register_bytes` is told by code compiled into the ISA's own object, so a forced ISA that is silently ignored fails.
    """
    before = lossk.isa()
    lossk.set_isa(request.param)
    assert lossk.isa() == request.param
    assert _core.register_bytes() == REGISTER_BYTES[request.param]
    yield request.param
    assert _core.register_bytes() == REGISTER_BYTES[request.param], "the test changed the instruction set"
    lossk.set_isa(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture
def torch_seed() -> None:
    import torch

    torch.manual_seed(5)
