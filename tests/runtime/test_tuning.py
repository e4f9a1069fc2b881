"""What is chosen by machine: the cache that is counted on, profiles, and that no choice changes a bit."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lossk import _core, _profile
from lossk.cli import tune
from lossk.cli.app import app
from tests.support.processes import python
from tests.support.streaming import last_level_cache

MIB = 1 << 20


SCRIPT = """
import hashlib, warnings
import numpy as np
import lossk
from lossk import _core, _profile

digest = hashlib.sha256()
rng = np.random.default_rng(0)
for shape in ((300, 7), (40, 1500), (5, 9000), (2, 40_000)):
    z = rng.normal(size=shape).astype(np.float32)
    labels = rng.integers(0, shape[1], shape[0])
    for result in (
        *lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(z, labels),
        *lossk.NLL().value_and_grad(z, labels),
        *lossk.KLDivergence().value_and_grad(z, abs(z)),
        *lossk.Huber().value_and_grad(z, z[::-1].copy()),
        lossk.softmax(z),
        lossk.SELU()(z),
    ):
        digest.update(np.asarray(result).tobytes())
    optimizer = lossk.AdamW([z], lr=0.1)
    optimizer.step([z.copy()])
    digest.update(z.tobytes())
print(digest.hexdigest())
print(_profile.source)
"""


def run(profile: str | Path, warn: str = "error", **more: str) -> subprocess.CompletedProcess[str]:
    return python(SCRIPT, warn=warn, LOSSK_PROFILE=str(profile), **more)


@pytest.fixture(scope="module")
def bits_without_profile() -> str:
    done = run("off")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def written(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({"format": _profile.FORMAT, **_profile.machine(), **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("reported", "cpus", "counted_on"),
    [(32 * MIB, 2, 32 * MIB), (480 * MIB, 2, 32 * MIB), (480 * MIB, 64, 480 * MIB), (32 * MIB, 1, 16 * MIB)],
)
def test_a_process_counts_on_no_more_cache_than_its_cpus_can_own(reported: int, cpus: int, counted_on: int) -> None:
    found, source = _core.bounded_cache(reported, cpus)
    assert found == counted_on
    assert f"{reported // MIB} MiB" in source


def test_a_machine_that_reports_no_cache_is_given_a_guess() -> None:
    found, source = _core.bounded_cache(0, 4)
    assert found > 0
    assert "a guess" in source


def test_no_profile_changes_a_bit(bits_without_profile: str, tmp_path: Path) -> None:
    families = list(_core.choices())
    profiles = [
        written(
            tmp_path / f"{number}.json",
            elements_per_thread=elements,
            families={name: {"stream_from": stream_from, "isa": isa} for name in families},
        )
        for number, (elements, stream_from, isa) in enumerate(
            (elements, stream_from, isa)
            for isa in _profile.alike()
            for elements, stream_from in ((1, 1), (10**9, _profile.NEVER))
        )
    ]
    for profile in profiles:
        done = run(profile)
        assert done.returncode == 0, done.stderr
        bits, source = done.stdout.splitlines()
        assert bits == bits_without_profile
        assert source == str(profile)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"),
        ("[" * 100_000, "while decoding a JSON array"),
        ("[]", "got list, wanted an object"),
        ({"format": 0}, "format: got 0"),
        ({"cpu": ["AcmeCPU", 1, 2]}, "cpu: got ['AcmeCPU', 1, 2], this machine"),
        ({"cpus": 4097}, "cpus: got 4097, this machine"),
        ({"elements_per_thread": -1}, "elements_per_thread: got -1"),
        ({"families": {"nothing": {}}}, "families: got 'nothing'"),
        ({"families": {"pointwise": {"stream_from": "1"}}}, "pointwise.stream_from: got '1'"),
        ({"families": {"pointwise": {"isa": "z80"}}}, "pointwise.isa: got 'z80'"),
    ],
    ids=lambda text: str(text)[:30],
)
def test_a_broken_or_foreign_profile_is_said_to_be_so_and_ignored(
    text: str | dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = tmp_path / "profile.json", (_core.choices(), _core.elements_per_thread())
    if isinstance(text, str):
        path.write_text(text, encoding="utf-8")
    else:
        written(path, **text)
    monkeypatch.setenv("LOSSK_PROFILE", str(path))
    monkeypatch.setattr(_profile, "source", "none")
    with pytest.warns(RuntimeWarning, match=rf"(?s)^profile {re.escape(str(path))} is ignored: .*{re.escape(said)}"):
        _profile.load.__wrapped__()
    assert _profile.source == f"none ({path} is ignored)"
    assert (_core.choices(), _core.elements_per_thread()) == before


@pytest.mark.parametrize("text", ["{", None], ids=["broken", "missing"])
def test_a_profile_that_cannot_be_used_is_told_once(
    text: str | None, bits_without_profile: str, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = run(path, "always")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"profile {path} is ignored: " in done.stderr
    source = f"none; choices are those for {_core.preset()} ({path} is ignored)"
    assert done.stdout.splitlines() == [bits_without_profile, source]


def test_the_users_own_profile_is_ignored_in_silence_where_it_is_for_other_cpus(
    bits_without_profile: str, tmp_path: Path
) -> None:
    """As it may be under taskset; one that cannot be read is none."""
    (tmp_path / "lossk").mkdir()
    written(tmp_path / "lossk" / "profile.json", cpus=4097)
    for home in (tmp_path, tmp_path / "lossk" / "profile.json", tmp_path / "nowhere"):
        done = run("", XDG_CONFIG_HOME=str(home))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == bits_without_profile


@pytest.mark.parametrize(
    ("ratios", "certain"),
    [
        ([1.2] * 20, 1.2),
        ([0.8] * 20, 0.8),
        ([0.5, 2.0] * 10, 1.0),  # noise
        ([1.0 + 0.01 * k for k in range(25)], 1.07),
        ([0.7, 1.3, 1.3, 1.3, 1.3], 1.0),  # five are too few
    ],
)
def test_a_choice_changes_by_what_is_certain(ratios: list[float], certain: float) -> None:
    assert tune.cautious(ratios) == pytest.approx(certain)


def test_a_choice_is_kept_where_a_second_look_confirms_it(monkeypatch: pytest.MonkeyPatch) -> None:
    isa, again = _profile.alike()[0], {"rows": 1.2, "steps": 0.9, "pointwise": 1.0}
    tuner = tune.Tuner()
    for family in again:
        tuner.families[family] = {"isa": isa}
        tuner._tell(family, "instruction set", "usual", isa, 1.2)
    monkeypatch.setattr(tune, "MAKERS", {family: lambda n, family=family: [family, family] for family in again})
    monkeypatch.setattr(tune.Tuner, "with_choice", lambda self, call, *choice: call)
    monkeypatch.setattr(tune, "advantage", lambda usual, other: again[other])
    for family in again:
        tuner.confirm(family)
    assert tuner.profile()["families"] == {"rows": {"isa": isa}}
    assert [line[0] for line in tuner.lines] == ["rows"]


@pytest.mark.parametrize(
    ("faster", "chosen"), [((1.3, 0.9), None), ((0.9, 0.8), _profile.NEVER), ((1.0, 0.8), _profile.NEVER)]
)
def test_streaming_is_changed_where_no_length_of_rows_loses_by_it(
    faster: tuple[float, float], chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = tune.Tuner()
    monkeypatch.setattr(tune, "MAKERS", {"long_rows": lambda n: [0, 1]})
    monkeypatch.setattr(tune, "streams", lambda call: True)
    monkeypatch.setattr(tune.Tuner, "with_choice", lambda self, call, *choice: call)
    monkeypatch.setattr(tune, "advantage", lambda usual, other: faster[other])
    tuner.streaming("long_rows")
    assert tuner.families["long_rows"].get("stream_from") == chosen


@pytest.mark.parametrize("named_by", ["--output", "LOSSK_PROFILE"])
def test_what_tune_writes_is_a_profile_of_this_machine(
    named_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By few measurements of small arrays: what they choose is chance, how it is kept is not."""
    monkeypatch.setattr(tune.advantage, "__defaults__", (0.0,))
    path = tmp_path / "folder" / "profile.json"
    if named_by == "LOSSK_PROFILE":
        monkeypatch.setenv(named_by, str(path))
    try:
        with last_level_cache(MIB):
            done = CliRunner().invoke(app, ["tune", *(["--output", str(path)] if named_by == "--output" else [])])
    finally:
        _core.choose_elements_per_thread(0)
        for family in _core.choices():
            _core.choose(family, 0, "")
    assert done.exit_code == 0, done.output
    assert f"wrote {path}" in done.stdout
    profile = json.loads(path.read_text(encoding="utf-8"))
    assert {name: profile[name] for name in ("cpu", "cpus")} == _profile.machine()
    assert run(path).stdout.splitlines()[1] == str(path)
    for family in profile["families"]:
        assert family in done.stdout
