"""Fixtures of tests of linear layers."""

from __future__ import annotations

import pytest

from lossk._linear import _run
from lossk._linear._run import Plan, Sizes


@pytest.fixture
def windowed(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Lists the plans of calls that hold the logits of a window of classes at a time, and so compute them twice."""
    used: list[Plan] = []
    plan_of = _run.plan_of

    def noted(sizes: Sizes) -> Plan:
        found = plan_of(sizes)
        used.extend([found] if found.window < sizes.classes else [])
        return found

    monkeypatch.setattr(_run, "plan_of", noted)
    return used
