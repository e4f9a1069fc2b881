"""The commands `lossk info`, `check` and `plot`: what they print, write and answer to nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lossk
from lossk.cli.app import app
from lossk.cli.check.errors import kernels
from lossk.cli.plot.style import PICTURES

run = CliRunner().invoke
PNG = b"\x89PNG\r\n\x1a\n"


def test_info_prints_one_json_object() -> None:
    result = run(app, ["info", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["isa"] == lossk.isa()


def test_check_covers_every_loss_activation_and_optimizer() -> None:
    names = set(kernels())
    ours = {name for name in lossk.__all__ if isinstance(getattr(lossk, name), type)} - {
        "RowStats",
        "StepResult",
        "threads",
    }
    assert names == ours | {"softmax", "log_softmax", "logsumexp"}


def test_check_prints_a_row_per_type_and_isa() -> None:
    before = lossk.isa()
    result = run(app, ["check", "huber", "sgd"])
    assert result.exit_code == 0, result.output
    assert lossk.isa() == before
    for isa in lossk.available_isas():
        assert (
            sum(line.split()[1:2] in (["Huber"], ["SGD"]) and isa in line for line in result.stdout.splitlines()) >= 6
        )


def test_check_exits_with_1_on_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lossk.Huber._reference

    def wrong(self: Any, z: Any, y: Any) -> Any:
        value, grad, hess = right(self, z, y)
        return value, grad + 1e-4, hess

    monkeypatch.setattr(lossk.Huber, "_reference", wrong)
    result = run(app, ["check", "--misses", "huber"])
    assert result.exit_code == 1
    assert "MISS" in result.stdout
    assert "gradient" in result.stdout


def test_check_of_nothing_says_what_there_is() -> None:
    result = run(app, ["check", "hubert"])
    assert result.exit_code == 2
    assert "hubert" in result.output


@pytest.mark.parametrize("name", PICTURES)
def test_plot_writes_a_picture(name: str, tmp_path: Path) -> None:
    result = run(app, ["plot", name, "--output", str(tmp_path), "--dpi", "40"])
    assert result.exit_code == 0, result.output
    written = (tmp_path / f"{name}.png").read_bytes()
    assert written.startswith(PNG)
    assert len(written) > 5000


def test_plot_of_nothing_says_what_there_is(tmp_path: Path) -> None:
    result = run(app, ["plot", "loss", "--output", str(tmp_path / "new")])
    assert result.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_momentum_leaves_the_minimum_where_plain_descent_stays() -> None:
    """What the picture claims: the plain run ends right of the hill, the one with momentum left of it."""
    from lossk.cli.plot.descent import double_well_slope, walk

    plain = walk(double_well_slope, 2.2, 120, lr=0.02)[:, 0]
    heavy = walk(double_well_slope, 2.2, 120, lr=0.02, momentum=0.9)[:, 0]
    assert abs(double_well_slope(np.array(plain[-1]))) < 1e-2
    assert plain[-1] > 1
    assert heavy[-1] < -1
