"""What a machine of a cluster does, without a cluster: runs that stop, go on, are refused or fail with a reason."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.runs.launchers.process as local
from bench.data.sources import DataRequest
from bench.models.pretrained import PACKAGED, PretrainedModel, find
from bench.records.spec import Budget
from bench.runs.launchers.process import LocalEngine
from bench.runs.launchers.worker import Checkpoint, Ended, Message, Progress, Runner, _find_encoder, difference, software
from bench.system.errors import ModelError
from bench.system.signals import Interrupts
from bench.training.job import Job, Outcome, checkpoint_path, record_of
from tests.conftest import make_job, make_spec
from tests.killing import came_to
from tests.nodes import RAY


@pytest.fixture
def job(tiny: PretrainedModel, small_folder: Path) -> Job:
    return make_job(make_spec("lora", test_limit=20, budget=Budget(amount=40, unit="steps")), tiny, small_folder)


def end_of(runner: Runner, work: str, argument: Any) -> Ended:
    """How a runner says that a piece of work has ended."""
    (*_, last) = runner.execute(work, argument, None)
    assert isinstance(last, Ended)
    return last


@pytest.mark.slow
def test_a_run_goes_on_at_another_runner_from_what_the_first_handed_out(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is handed out while the clock stands still: until it has been heard of, the run waits."""
    monkeypatch.setattr(local, "GRACE", 60.0)  # how long it may take is not asked here
    whole = LocalEngine("cpu").run("bench.training.run:execute", job).outcome.record
    asked = replace(job, device_model="of another machine", checkpoint=checkpoint_path(tmp_path / "not here", job.run_id))
    first, second = Runner("cpu", 2, "elsewhere"), Runner("cpu", 2, "elsewhere")
    told, copies = first.execute("tests.work:eager", asked, None), list[Checkpoint]()
    while len(copies) < 12:  # past the first mark of the curve
        if isinstance(message := next(told), Checkpoint):
            copies.append(message)
            if len(copies) < 12:
                first.copied()
    first.stop()
    first.copied()
    for stopped in told:
        if isinstance(stopped, Checkpoint):  # a run that stops between two steps writes one more
            first.copied()
    assert isinstance(stopped, Ended)
    assert stopped.result.record.state == "cancelled"
    assert 12 <= stopped.result.record.training.steps < 40
    messages: list[Message] = []
    for message in second.execute("tests.work:eager", replace(asked, keep=tmp_path), copies[-1].content):
        messages.append(message)
        if isinstance(message, Checkpoint):
            time.sleep(3 * (sum(isinstance(one, Checkpoint) for one in messages) == 1))
            second.copied()
    (*_, ended) = messages
    record = ended.result.record
    lines = [message.line for message in messages if isinstance(message, Progress) and message.line]
    assert lines[0].startswith("resumes from its checkpoint: ")
    assert (record.resumed, came_to(record)) == (1, came_to(whole))
    assert (record.environment.engine, whole.environment.engine) == ("elsewhere", "local")
    assert record.environment.device == record.environment.cpu != "of another machine"
    assert ended.watch.between("training") == pytest.approx(
        record.seconds.charged + record.seconds.paused - record.seconds.before, abs=1.0
    )
    assert record.seconds.paused > 3 > record.seconds.charged, "the wait is on both clocks, and on neither it is training"
    assert "head.safetensors" in ended.files
    assert not (tmp_path / "not here").exists()


@RAY
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_path_travels_whole_and_a_hub_id_as_it_is(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runs.launchers.ray import portable

    folder = Path(job.data_argument.name)
    monkeypatch.chdir(folder.parent)
    near = replace(job, data_argument=DataRequest(folder.name, "body"))
    assert portable(near).data_argument == DataRequest(str(folder), "body")
    for name in ("imdb", "fancyzhx/ag_news"):
        assert portable(replace(job, data_argument=DataRequest(name))).data_argument == DataRequest(name)


def test_another_encoder_or_other_reviews_are_refused(job: Job, tmp_path: Path) -> None:
    runner = Runner("cpu", 2, "elsewhere")
    other = "has other content on the worker (", "0" * 64
    for wrong, says in (
        (replace(job, pretrained=replace(job.pretrained, sha256=other[1])), f"the encoder 'tiny' {other[0]}"),
        (replace(job, data=job.data.model_copy(update={"sha256": other[1]})), f"the data 'small' {other[0]}"),
        (replace(job, data_argument=DataRequest(str(tmp_path / "none"))), "data 'none' is none of embedded"),
    ):
        record = end_of(runner, "bench.training.run:execute", wrong).result.record
        assert record.state == "failed"
        assert record.reason.startswith(says)
        assert record.environment.engine == "elsewhere"


@pytest.mark.parametrize("at", [1, 2])
def test_a_stop_while_a_snapshot_is_copied_loses_nothing(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The run hears of it in the moment in which it reads the answer; what it read next would be taken for another answer."""
    monkeypatch.setattr(local, "GRACE", 60.0)
    interrupts, copies = Interrupts(), 0

    def copy() -> None:
        nonlocal copies
        copies += 1
        interrupts.count += copies == at
        time.sleep(0.3 * (copies > at))  # time enough for a run that does not wait to be gone

    engine = LocalEngine("cpu", interrupts, copy)
    with pytest.raises(KeyboardInterrupt), interrupts:
        result = engine.run("tests.work:eager", replace(job, checkpoint=checkpoint_path(tmp_path, job.run_id)))
    outcome = result.outcome
    assert result.interrupted
    assert outcome.record.state == "cancelled"
    assert outcome.record.training.steps == copies >= at, "each step was kept and copied once"


@RAY
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_full_disk_of_the_caller_fails_the_run_with_a_reason(job: Job, tmp_path: Path) -> None:
    from bench.runs.launchers.ray import saved

    job = replace(job, keep=tmp_path / "saved")
    job.keep.mkdir()
    there = record_of(job, "complete").environment.model_copy(update={"engine": "ray"})
    whole = Outcome(record_of(job, "complete").model_copy(update={"environment": there}))
    came = Ended(whole, files={"../head.safetensors": np.arange(10**5, dtype=np.uint8)})
    assert saved(job, came) is came
    assert (job.keep / "head.safetensors").read_bytes() == came.files["../head.safetensors"].tobytes()
    (job.keep / "head.safetensors").unlink()
    (job.keep / "head.safetensors").symlink_to("/dev/full")
    record = saved(job, came).result.record
    assert (record.state, record.reason) == ("failed", "the trained weights cannot be written (No space left on device)")
    assert record.environment == there
    stopped = Ended(Outcome(record_of(job, "cancelled", "stopped by a signal")), files=came.files)
    assert saved(job, stopped) is stopped, "nobody wants what is not whole"


def test_a_folder_may_be_called_as_a_package_is(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "not-installed", ("no-such-distribution", "model"))
    for name in ("minilm", "not-installed"):
        asked = find(str(shutil.copytree(tiny_folder, tmp_path / name)))
        assert asked.name == name
        assert _find_encoder(asked) == asked
        if name == "not-installed":
            with pytest.raises(ModelError, match="is not installed; run: pip install no-such-distribution"):
                _find_encoder(replace(asked, folder=tmp_path / "not here"))
    packaged = find("minilm")
    assert _find_encoder(packaged) == _find_encoder(replace(packaged, folder=tmp_path / "not here")) == packaged


def test_a_death_is_handed_on() -> None:
    assert end_of(Runner("cpu", 2, "elsewhere"), "tests.work:die", "exit").died == (3, False)


def test_other_versions_are_named() -> None:
    here = software()
    assert difference(here, software()) is None
    assert difference(here, {**here, "torch": "1.0"}) == f"torch 1.0 there, {here['torch']} here"
    assert difference(here, {name: version for name, version in here.items() if name != "peft"}) == (
        f"peft is missing there, {here['peft']} here"
    )
    assert difference({"commit": "a"}, {}) is None, "an installed package knows of no commit"
    assert difference({"commit": "a"}, {"commit": "b"}) == "commit b there, a here"
