"""Fixtures of tests of linear layers."""

from __future__ import annotations

import pytest

from lossk._linear._run import Plan, Planner


@pytest.fixture
def windowed(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Lists the plans of calls that hold the logits of a window of classes at a time, and so compute them twice."""
    used: list[Plan] = []
    plan = Planner.plan

    def noted(planner: Planner) -> Plan:
        found = plan(planner)
        used.extend([found] if found.window < planner.classes else [])
        return found

    monkeypatch.setattr(Planner, "plan", noted)
    return used
