"""Whole runs through the command, on a two-layer encoder and real reviews."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import bench.runs.scheduler as execution
from bench.records.attempts import ATTEMPTS
from bench.records.audit import audit
from bench.records.schema import Baseline
from bench.records.store import checksum_of, load
from bench.rules import PASSES
from bench.runs.launchers.process import Died
from bench.system.errors import RecordError
from bench.training.job import Job, Outcome, Result, record_of
from tests.conftest import call, records, runs_by
from tests.work import FEW

SMALL = ["--max-length", "32", "--batch-size", "8", "--budget", "6 steps"]


def command(tiny_folder: Path, small_folder: Path, out: Path, *more: str) -> list[str]:
    return ["run", "--encoder", str(tiny_folder), "--data", str(small_folder), *SMALL, "--out", str(out), *more]


@pytest.fixture(scope="module")
def all_run(tiny_folder: Path, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    with runs_by("short"):
        assert call(command(tiny_folder, small_folder, out, "--method", "all")) == 0
        assert call(command(tiny_folder, small_folder, out, "--method", "lora", "--seeds", "2")) == 0
    return out


def test_every_method_leaves_a_whole_record(all_run: Path) -> None:
    found = records(all_run)
    assert len(found) == len({record.run_id for record in found}) == 6
    for record in found:
        assert record.state == "complete", record.reason
        assert record.test is not None
        assert record.training.reviews_seen == 6 * 8
        # A head on cached features is trained in passes over what six steps encoded.
        assert record.training.steps == (6 * PASSES if record.spec.method == "head-only" else 6)
        assert record.parameters.body == record.parameters.closed_form
        assert record.training.frozen_sha256_before == record.training.frozen_sha256_after
        assert record.memory.peak_above_baseline == max(0, record.memory.peak - record.memory.baseline)
        assert record.seconds.outside >= record.seconds.total - 0.5
        assert record.seconds.outside_training is not None
        first = record.spec.seed == 0
        assert (record.out_of_domain is not None) == (record.latency is not None) == first
        assert record.out_of_domain is None or record.out_of_domain.reviews == FEW
        assert record.energy is None
        split = record.memory.split
        trained = record.parameters.body + record.parameters.head
        assert split.gradients == 4 * trained
        assert 8 * trained <= split.optimizer <= 8.2 * trained + 1000
        assert record.memory.ru_maxrss >= record.memory.peak
        times = record.timeline
        assert times.training_started < times.training_ended <= times.test_started < times.test_ended
        assert record.spec.encoder == "tiny"
        assert os.sep not in record.spec.data


def test_all_writes_the_baselines_and_the_audit_finds_nothing_in_records_of_real_runs(all_run: Path) -> None:
    outcomes = audit([all_run])
    assert len(outcomes) == 8
    assert [outcome.text() for outcome in outcomes if outcome.failed] == []
    baselines = [item for item in load(all_run) if isinstance(item, Baseline)]
    data = records(all_run)[0].data
    # Six steps of eight reviews, and all of them.
    assert sorted(baseline.spec.train_reviews for baseline in baselines) == [48, data.train]
    assert max(baseline.test.accuracy for baseline in baselines) > 0.6


@pytest.mark.usefixtures("short_runs")
def test_a_finished_run_is_not_run_again(
    all_run: Path, tiny_folder: Path, small_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {path: path.stat().st_mtime_ns for path in all_run.glob("*.json")}
    assert call(command(tiny_folder, small_folder, all_run, "--method", "lora", "--seeds", "0,1")) == 0
    assert capsys.readouterr().out.count("finished before") == 2
    assert files == {path: path.stat().st_mtime_ns for path in all_run.glob("*.json")}
    assert call(command(tiny_folder, small_folder, all_run, "--method", "lora", "--force")) == 0
    changed = [path for path in all_run.glob("*.json") if path.stat().st_mtime_ns != files.get(path)]
    assert len(changed) == 1
    (kept,), (again,) = (all_run / ATTEMPTS).glob("*.json"), [r for r in records(all_run) if r.replaced]
    assert again.replaced == checksum_of(kept)
    assert [outcome.text() for outcome in audit([kept, *changed]) if outcome.failed] == []


def test_a_moved_folder_is_the_same_run(all_run: Path, tiny_folder: Path, small_folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(small_folder, tmp_path / "elsewhere")
    assert call(command(tiny_folder, moved, all_run, "--method", "full")) == 0
    assert len(records(all_run)) == 6


@pytest.mark.usefixtures("short_runs")
def test_a_memory_cap_ends_as_out_of_memory(
    tiny_folder: Path, small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(command(tiny_folder, small_folder, tmp_path, "--method", "full", "--memory", "2MiB")) == 1
    record = records(tmp_path)[0]
    assert record.state == "out-of-memory"
    assert record.test is None
    assert record.training is not None
    assert "out-of-memory" in capsys.readouterr().out


@pytest.mark.parametrize(("out_of_memory", "state"), [(True, "out-of-memory"), (False, "failed")])
def test_a_dead_process_leaves_a_record(
    tiny_folder: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out_of_memory: bool, state: str
) -> None:
    def dies(self: object, work: str, *arguments: object, listen: object) -> None:
        raise Died(-9, out_of_memory)

    monkeypatch.setattr(execution.LocalEngine, "run", dies)
    assert call(command(tiny_folder, small_folder, tmp_path, "--method", "lora")) == 1
    record = records(tmp_path)[0]
    assert record.state == state
    assert "SIGKILL" in str(record.reason)


def test_an_adapter_that_cannot_be_saved_leaves_no_record(
    tiny_folder: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is written after the adapter, so that the same command makes both."""

    def completes(self: object, work: str, job: Job, listen: object) -> Result:
        return Result(Outcome(record_of(job, "complete")))

    def fails(*arguments: object) -> None:
        raise RecordError("what lora trained cannot be saved")

    monkeypatch.setattr(execution.LocalEngine, "run", completes)
    monkeypatch.setattr("bench.runs.executor.publish", fails)
    assert call(command(tiny_folder, small_folder, tmp_path, "--method", "lora", "--save")) == 2
    assert "cannot be saved" in capsys.readouterr().err
    assert records(tmp_path) == []


def test_schema_and_methods_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["schema"]) == 0
    assert "run_id" in json.dumps(json.loads(capsys.readouterr().out))
    assert call(["methods"]) == 0
    out = capsys.readouterr().out
    for text in ("houlsby: trains 226,080", "lora: trains 73,728", "2005.00247", "reduction_factor 16"):
        assert text in out
