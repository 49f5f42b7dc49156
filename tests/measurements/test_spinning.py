"""The ablation of spinning: its turns are fresh processes with the spin counts that they are named after."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: F401  brings its OpenMP runtime

from bench.data.sources import Source
from bench.data.task import prepare, split
from bench.system.openmp import SPIN_COUNT
from tests.conftest import write_encoder
from tests.measurements.peers import spinning
from tests.measurements.peers.tables import spinning_table


@pytest.mark.skipif("libgomp" not in Path("/proc/self/maps").read_text(), reason="torch has another OpenMP runtime")
def test_the_default_is_that_of_the_runtime() -> None:
    clean = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    told = subprocess.run(
        [sys.executable, "-c", "import torch"], env={**clean, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True,
        check=True, timeout=120,
    ).stderr  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spinning.DEFAULT}'" in told


def test_a_fresh_process_has_its_spin_count() -> None:
    before = dict(os.environ)
    assert spinning.in_fresh_process("7", "tests.work:environment_variable", "GOMP_SPINCOUNT") == "7"
    assert dict(os.environ) == before


def test_a_turn_trains(small_source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_encoder(tmp_path / "plain")
    monkeypatch.setattr(spinning, "task_of", lambda one: prepare(one, small_source.sha256, lambda: split(small_source)))
    monkeypatch.setattr(spinning, "BATCH", 4)
    assert spinning.train(folder, 2, 1, lambda *_: None) > 0


def test_each_round_has_every_way_in_every_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rounds differ in speed, and ratios are of one round."""
    burning, turns = [False], []

    @contextmanager
    def burn(pause: float) -> Iterator[None]:
        assert pause == 0, "busy all the time"
        burning[0] = True
        yield
        burning[0] = False

    def turn(spin_count: str, *given: Any) -> float:
        turns.append((burning[0], spin_count))
        return (1 + (len(turns) - 1) // 4) * {True: 10.0, False: 40.0}[burning[0]] * (1 + (turns[-1] == (True, SPIN_COUNT)))

    monkeypatch.setattr(spinning, "burning", burn)
    monkeypatch.setattr(spinning, "in_fresh_process", turn)
    places = spinning.measure(tmp_path, 6, 40, 2)
    assert all(len(set(turns[4 * round_ : 4 * round_ + 4])) == 4 for round_ in range(6))
    lines = spinning_table({"method": "houlsby", "steps": 40, "places": places}).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    assert rows == [
        ["houlsby, 40 steps, reviews/s", "GOMP_SPINCOUNT=2000", "range", "default", "range", "× as fast", "95 % interval"],
        ["quiet", "140.0", "40.0–240.0", "140.0", "40.0–240.0", "1.00", "1.00–1.00"],
        ["beside one busy process", "70.0", "20.0–120.0", "35.0", "10.0–60.0", "2.00", "2.00–2.00"],
    ]  # fmt: skip
