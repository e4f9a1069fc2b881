"""Fixtures of tests of lossk.torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def torch_put_back(torch_seed: None) -> Iterator[None]:
    """Whatever a test installs, it puts everything back."""
    from tests.support.torch import installed_functions

    before = installed_functions()
    yield
    assert installed_functions() == before
