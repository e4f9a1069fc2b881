"""What the parent and its workers say to each other; a module of its own because pickles name it."""

from __future__ import annotations

from dataclasses import dataclass

from lossk.cli.bench.inputs import Array

Key = tuple[str, str]  # (provider, mode)
TWIN_MODE = "twin"


@dataclass(frozen=True)
class Built:
    """What the parent learns of one runner: its results at the sampled places, or why there are none."""

    provider: str
    mode: str
    value: float | None = None
    array: Array | None = None
    extra_memory: int | None = None
    failure: str | None = None

    @property
    def key(self) -> Key:
        """(provider, mode)."""
        return self.provider, self.mode
