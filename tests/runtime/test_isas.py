"""Which instruction set runs: by name, by the environment, by default."""

from __future__ import annotations

import re

import pytest

import lossk
from tests.support.isas import REGISTER_BYTES
from tests.support.processes import python


def test_an_unknown_instruction_set_is_refused() -> None:
    before = lossk.isa()
    for wrong in ("avx1024", "", "BASE"):
        with pytest.raises(ValueError, match=rf"got '{wrong}', this CPU has '.*base"):
            lossk.set_isa(wrong)
    assert lossk.isa() == before
    with pytest.raises(TypeError):
        lossk.set_isa(3)  # type: ignore[arg-type]


def test_instruction_sets_end_with_the_base() -> None:
    assert lossk.available_isas()[-1] in ("base", "neon")
    assert len(set(lossk.available_isas())) == len(lossk.available_isas())


@pytest.mark.parametrize("name", lossk.available_isas())
def test_the_environment_chooses_the_instruction_set(name: str) -> None:
    done = python("import lossk; print(lossk.isa(), lossk._core.register_bytes())", LOSSK_ISA=name)
    assert done.returncode == 0, done.stderr
    got, width = done.stdout.split()
    assert got == name
    assert int(width) == REGISTER_BYTES[name]


def test_the_best_instruction_set_is_the_default() -> None:
    for environment in ({}, {"LOSSK_ISA": ""}):
        done = python("import lossk; print(lossk.isa())", **environment)
        assert done.stdout.strip() == lossk.available_isas()[0], done.stderr


def test_an_unknown_instruction_set_in_the_environment_fails_at_import() -> None:
    done = python("import lossk", LOSSK_ISA="avx1024")
    assert done.returncode == 1, "an error, not a crash"
    assert re.search(r"LOSSK_ISA: got 'avx1024', this CPU has '", done.stderr)
