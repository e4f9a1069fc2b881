"""lossk otherwise than by default, for MACHINES.md: each instruction set of the same bits, results streamed and not.

``lossk bench --suite machine --peers choices``
"""

from __future__ import annotations

from functools import partial

from lossk import _profile
from lossk.cli.bench.cases import TO_OUT, Case
from lossk.cli.bench.kernels import Build, Inputs, Runner, build


def choose(isa: str, stream_from: int) -> None:
    """Let all families of kernels run by this instruction set, and stream results of so many bytes."""
    for family in _profile.choices():
        _profile.choose(family, stream_from, isa)


def chosen(isa: str, stream_from: int, case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build lossk's call with a choice, which is made before each call."""
    if stream_from and mode not in TO_OUT:
        return None
    runner = build(case, mode, inputs, threads)
    restore = runner.prepare

    def prepare() -> None:
        choose(isa, stream_from)
        if restore is not None:
            restore()

    return Runner(runner.call, prepare)


PROVIDERS: dict[str, Build] = {
    "lossk streamed": partial(chosen, "", 1),  # results go by non-temporal stores
    "lossk stored": partial(chosen, "", _profile.NEVER),
    **{f"lossk {isa}": partial(chosen, isa, 0) for isa in _profile.alike()},
}
