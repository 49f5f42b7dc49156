"""Runs whose budget a calibration converts: they count tokens, and are the same runs whatever else the machine does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench.runs.budgets as module
from bench.records.audit import audit
from bench.records.store import save
from bench.runs.budgets import convert_budgets
from bench.runs.plan import Matrix, Request, plan
from tests.conftest import call, records
from tests.factories import calibration
from tests.killing import result

RATIOS = {"houlsby": 1.0, "lora": 2.0}
SMALL = {"max_length": 32, "batch_size": 8}


@pytest.fixture
def matrix(tiny_folder: Path, small_folder: Path) -> Matrix:
    asked: dict[str, Any] = {"encoder": str(tiny_folder), "data": str(small_folder), **SMALL}
    return plan(Request(list(RATIOS), budget="5000 reference tokens", **asked))


@pytest.fixture
def file(matrix: Matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A calibration by hand of another machine; from now on nothing is timed."""

    def nothing_is_timed(*arguments: object, **named: object) -> None:
        raise AssertionError("it is timed")

    monkeypatch.setattr(module, "calibrate", nothing_is_timed)
    return save(tmp_path / "elsewhere", calibration(matrix.jobs[0], RATIOS))


@pytest.fixture
def command(tiny_folder: Path, small_folder: Path, file: Path) -> list[str]:
    small = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["run", "--encoder", str(tiny_folder), "--data", str(small_folder), *small, "--calibration", str(file)]


@pytest.mark.usefixtures("short_runs")
def test_a_budget_is_counted_by_the_calibration_that_is_named_and_beside_a_load_it_is_the_same_run(
    command: list[str], file: Path, tmp_path: Path
) -> None:
    asked = [*command, "--method", "houlsby", "--method", "lora", "--budget", "2000 reference tokens"]
    assert call([*asked, "--out", str(tmp_path / "quiet")]) == 0
    found = {record.spec.method: record for record in records(tmp_path / "quiet")}
    for method, tokens in {"houlsby": 2000, "lora": 1000}.items():
        record = found[method]
        assert (record.state, record.spec.reference_tokens) == ("complete", 2000)
        assert (str(record.spec.budget), str(record.spec.requested_budget)) == (f"{tokens:,} tokens", "2,000 reference tokens")
        made = record.conversion
        assert (made.asked, made.ratio, made.device) == ("2,000 reference tokens", RATIOS[method], "Some CPU")
        assert made.calibration == file.stem.rsplit("-", 1)[1]
        assert made.expected_seconds == 2.0
        assert tokens <= record.training.tokens_seen == record.training.spent < tokens + 8 * 32
    assert [outcome.text() for outcome in audit([tmp_path / "quiet"]) if outcome.failed] == []
    burns = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert call([*command, "--method", "houlsby", "--budget", "2s", "--out", str(tmp_path / "loaded")]) == 0
    finally:
        burns.kill()
        burns.wait()
    quiet, (loaded,) = found["houlsby"], records(tmp_path / "loaded")
    assert quiet.run_id == loaded.run_id
    # With the hash of the logits.
    assert result(quiet.model_dump()) == result(loaded.model_dump())


def test_seconds_and_the_reference_tokens_that_they_buy_are_one_run(matrix: Matrix, file: Path, tmp_path: Path) -> None:
    def ids(budget: str, **fields: Any) -> list[str]:
        request = Request(
            list(RATIOS), encoder=str(matrix.pretrained.folder), data=matrix.jobs[0].data_argument.name, budget=budget,
            calibration=str(file), **SMALL, **fields,
        )  # fmt: skip
        return [job.run_id for job in convert_budgets(plan(request), tmp_path, say=print).jobs]

    assert ids("60s") == ids("60000 reference tokens")
    assert ids("1m") == ids("60s")
    assert not set(ids("60s")) & set(ids("61s"))
    by_budget = convert_budgets(replace(matrix, calibration=file), tmp_path, say=print)
    assert not {job.run_id for job in by_budget.jobs} & {job.run_id for job in matrix.jobs}


def test_a_budget_below_one_batch_of_a_method_is_refused_before_anything_is_written(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call([*command, "--method", "all", "--budget", "50 reference tokens", "--out", str(out)]) == 2
    assert "does not hold " in capsys.readouterr().err
    assert call([*command, "--method", "lora", "--budget", "50 reference tokens", "--out", str(out)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "lora" in line
    assert not out.exists()
