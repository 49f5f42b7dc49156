"""kill -9 at any moment: the same command goes on, ends as if nothing had happened, and leaves nothing behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.records.store import load
from bench.runs.launchers.process import context_of
from bench.system.processes import without_main
from tests.conftest import call
from tests.killing import PHASES, SETTINGS, kill, left_over, until

CORE = ("houlsby", "head-only", "lora", "full", "pfeiffer")


def harness(tmp_path: Path, scenarios: list[dict[str, Any]], share: float, timeout: float) -> list[dict[str, Any]]:
    report = tmp_path / "report.json"
    process = context_of("cpu").Process(target=kill, args=(scenarios, share, report))
    with without_main():
        process.start()
    process.join(timeout)
    assert process.exitcode == 0, "what went wrong stands on the error stream"
    return json.loads(report.read_text())


def nothing_is_lost(found: dict[str, Any]) -> None:
    assert found["reference"]["code"] == found["code"] == 0, found["log"]
    assert found["orphans"] == []
    for end in found["ends"]:
        assert end["records"] == 1, found["log"]
        assert end["state"] == "complete"
        assert end["left"] == []
        assert end["result"] == found["reference"]["result"]


def resumed(found: list[dict[str, Any]]) -> int:
    return sum(end["resumed"] for run in found for end in run["ends"])


def scenarios(count: int, encoder: Path | str, data: Path, budget: str, kills: int) -> list[dict[str, Any]]:
    """So many runs, one method after the other, each killed in so many phases; all phases are killed in as often."""
    dice = random.Random(7)
    phases = [phase for _ in range(count * kills // len(PHASES) + 1) for phase in dice.sample(PHASES, len(PHASES))]
    return [
        {
            "method": CORE[i % len(CORE)], "encoder": str(encoder), "data": str(data), "budget": budget, "seed": 0,
            # In the order of a run: one that was killed late goes on from there, and enters no earlier phase again.
            "phases": sorted(phases[i * kills : (i + 1) * kills], key=PHASES.index),
        }
        for i in range(count)
    ]  # fmt: skip


def test_a_kill_in_each_phase(tiny_folder: Path, small_folder: Path, tmp_path: Path) -> None:
    (found,) = harness(tmp_path, scenarios(1, tiny_folder, small_folder, "24 steps", 5), share=0.3, timeout=300)
    nothing_is_lost(found)
    assert len(found["kills"]) >= 4, found["kills"]
    assert {phase for phase, _ in found["kills"]} >= {"set-up", "training", "evaluation"}
    assert resumed([found]) >= 1


@pytest.mark.slow
def test_a_hundred_kills_over_all_phases(tiny_folder: Path, small_folder: Path, tmp_path: Path) -> None:
    asked = scenarios(24, tiny_folder, small_folder, "200 steps", 5)
    asked += scenarios(4, tiny_folder, small_folder, "30k tokens", 4)
    found = harness(tmp_path, asked, share=0.3, timeout=2400)
    for run in found:
        nothing_is_lost(run)
    kills = [tuple(kill) for run in found for kill in run["kills"]]
    assert len(kills) >= 100
    assert all(count >= 5 for count in Counter(phase for phase, _ in kills).values())
    assert {phase for phase, _ in kills} == set(PHASES)
    assert {who for _, who in kills} == {"parent", "child"}
    assert resumed(found) >= 30


@pytest.mark.slow
def test_two_kills_a_method_on_a_real_encoder(small_folder: Path, tmp_path: Path) -> None:
    found = harness(tmp_path, scenarios(5, "minilm", small_folder, "16 steps", 2), share=0.5, timeout=1200)
    for run in found:
        nothing_is_lost(run)
    assert [len(run["kills"]) for run in found] == [2] * len(CORE)


@pytest.mark.slow
def test_the_command_itself_goes_on_after_a_kill(
    tiny_folder: Path, small_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a person starts it, with its fork server; the parent is killed, and whatever it started ends by itself."""
    out = tmp_path / "out"
    command = ["run", "--method", "lora", "--encoder", str(tiny_folder), "--data", str(small_folder), *SETTINGS]
    command += ["--budget", "700 steps", "--out", str(out)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "bench", *command], stdout=log, stderr=log)
    until(lambda: list(out.glob("checkpoints/*.safetensors")) or process.poll() is not None)
    assert len(left_over(tmp_path)) > 2
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    until(lambda: not left_over(tmp_path), 20)
    assert list(load(out)) == []
    capfd.readouterr()
    assert call(command) == 0
    assert "resumes from its checkpoint" in capfd.readouterr().err
    (record,) = load(out)
    assert (record.state, record.resumed) == ("complete", 1)
    assert record.training.steps == 700
    assert sorted(path.name for path in out.iterdir() if not path.name.endswith(".json")) == ["logits"]
