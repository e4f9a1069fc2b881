"""The profile of a machine, which `lossk tune` writes: read once, before the first call of a kernel; changes no bit."""

from __future__ import annotations

import functools
import json
import os
import warnings
from pathlib import Path
from typing import Any

from . import _core

FORMAT = 1
NEVER = 2**60  # bytes of a result from which on it is streamed: none has so many

# The choices in use, for what measures them.
choices, choose = _core.choices, _core.choose
elements_per_thread, choose_elements_per_thread = _core.elements_per_thread, _core.choose_elements_per_thread
last_level_cache, preset = _core.last_level_cache, _core.preset

# Where the choices in use come from, for people.
source = "none; choices are those for " + _core.preset()


def path() -> Path | None:
    """Return the file that LOSSK_PROFILE names, else the user's; None without platformdirs, the command's."""
    if (asked := os.environ.get("LOSSK_PROFILE", "off")) not in ("", "off"):
        return Path(asked)
    try:
        import platformdirs
    except ImportError:
        return None
    return Path(platformdirs.user_config_path("lossk"), "profile.json")


def machine() -> dict[str, Any]:
    """Return what a profile is for: the kind of CPU, and how many of them there are to use."""
    return {"cpu": list(_core.cpu_kind()), "cpus": _core.usable_cpus()}


def alike() -> list[str]:
    """Return the instruction sets that give the bits of the best one: all that have a fused multiply-add."""
    isas: list[str] = _core.available_isas()
    return [isa for isa in isas if isa != "base"] or isas


@functools.cache  # the first call of a kernel asks for it, or whoever wants to know the source before that
def load() -> None:
    """Read the profile that LOSSK_PROFILE names, else the user's, if there is one; warn if it cannot be used."""
    global source
    asked = os.environ.get("LOSSK_PROFILE", "")
    if asked == "off":
        source += " (LOSSK_PROFILE=off)"
        return
    if (file := path()) is None:
        return
    try:
        apply(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        if not asked and isinstance(error, OSError):
            return
        source += f" ({file} is ignored)"
        # The user's own may be for other CPUs than those of this process, as under taskset.
        if asked or not isinstance(error, ForeignProfileError):
            warnings.warn(f"profile {file} is ignored: {error}", RuntimeWarning, stacklevel=4)
    else:
        source = str(file)


class ForeignProfileError(ValueError):
    """A profile of another machine, of other CPUs of this one, or for another version."""


def apply(profile: Any) -> None:
    """Choose what a profile says, after all of it was checked; ValueError if it is broken or another machine's."""
    wanted = {"format": FORMAT, **machine()}
    if not isinstance(profile, dict):
        raise ValueError(f"got {type(profile).__name__}, wanted an object")
    for name, value in wanted.items():
        if profile.get(name) != value:
            raise ForeignProfileError(f"{name}: got {profile.get(name)!r}, this machine and version have {value!r}")
    elements, families = profile.get("elements_per_thread", 0), profile.get("families", {})
    if not _is_count(elements):
        raise ValueError(f"elements_per_thread: got {elements!r}, wanted an integer, 0 or more")
    if not isinstance(families, dict):
        raise ValueError(f"families: got {families!r}, wanted an object")
    known, isas = _core.choices(), ["", *alike()]
    for family, choice in families.items():
        if family not in known or not isinstance(choice, dict):
            raise ValueError(f"families: got {family!r}, wanted an object for some of {', '.join(known)}")
        stream_from, isa = choice.get("stream_from", 0), choice.get("isa", "")
        if not _is_count(stream_from):
            raise ValueError(f"{family}.stream_from: got {stream_from!r}, wanted an integer, 0 or more")
        if isa not in isas:
            raise ValueError(f"{family}.isa: got {isa!r}, wanted one of {', '.join(isas[1:])}")
    _core.choose_elements_per_thread(elements)
    for family in known:
        choice = families.get(family, {})
        _core.choose(family, choice.get("stream_from", 0), choice.get("isa", ""))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= NEVER
