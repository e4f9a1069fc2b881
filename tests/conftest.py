"""Fixtures: the instruction set that runs (forced, and proven to run), and seeded random numbers, of torch too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lossk
from lossk import _core
from lossk.optimizers import OPTIMIZERS
from tests.support.arrays import seeded
from tests.support.cases import Case
from tests.support.isas import REGISTER_BYTES

# Tests by which every variant meets its reference on every instruction set.
EVERYWHERE = ("test_losses_match_their_reference_at_every_size", "test_steps_match_the_reference")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--last-level-cache", type=int, metavar="BYTES", help="run as if the last-level cache were so large"
    )


def pytest_configure(config: pytest.Config) -> None:
    if bytes_ := config.getoption("--last-level-cache"):
        _core.pretend_last_level_cache(bytes_)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run variants beyond the first on one instruction set each, in turn, but for the tests above."""
    isas, others = lossk.available_isas(), list[pytest.Item]()
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        number = _variant(parameters)
        elsewhere = number > 0 and parameters.get("isa", isas[number % len(isas)]) != isas[number % len(isas)]
        if elsewhere and not item.name.startswith(EVERYWHERE):
            others.append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        left_out = set(map(id, others))
        items[:] = [item for item in items if id(item) not in left_out]


def _variant(parameters: dict[str, Any]) -> int:
    """Return the number of a test's variant of a loss or an optimizer; 0 where it has none."""
    if isinstance(case := parameters.get("case"), Case):
        return case.variant
    if (name := parameters.get("name")) in OPTIMIZERS and "variant" in parameters:
        return OPTIMIZERS[name]._variants.index(parameters["variant"])
    return 0


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
    return seeded()


@pytest.fixture
def torch_seed() -> None:
    import torch

    torch.manual_seed(5)
