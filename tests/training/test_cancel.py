"""A stop leaves a whole record, and a checkpoint that ends as if there had been none, at whatever line of training it comes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bench.system.files as files
import bench.training.checkpointer as checkpointer
import bench.training.run as run
from bench.models.classifier import frozen_sha256
from bench.models.pretrained import PretrainedModel
from bench.records.schema import Record
from bench.training.checkpointer import owner_of
from bench.training.job import Job
from bench.training.trainer import Trainer
from tests.conftest import make_job, make_spec
from tests.killing import result

STEPS = 4
WITHIN = {"run.py", "trainer.py", "meters.py"}
"""Files whose lines are stopped at; a stop within those of a step waits for its end."""


class Stopper:
    """Executes a job with a stop before a line: the `at`-th of those that are new, from the end of set-up to the test."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.lines, self.where = at, set[tuple[str, int]](), ""

    def execute(self, job: Job) -> Record:
        prepare = run._Run.prepare

        def then_trace(own: Any, *arguments: Any) -> Any:
            trainer = prepare(own, *arguments)
            self.stop, clock = own.stop, trainer.clock
            began = time.monotonic() - clock.seconds - clock.paused_seconds
            self.excess = lambda: clock.seconds + clock.paused_seconds - (time.monotonic() - began)
            frame = sys._getframe(1)
            frame.f_trace = self.trace
            sys.settrace(self.trace)
            return trainer

        def notify(phase: str, share: float, line: str | None = None) -> None:
            if phase == "test":
                sys.settrace(None)
                self.at = None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run._Run, "prepare", then_trace)
            try:
                return run.execute(job, notify).record
            finally:
                sys.settrace(None)

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        path = Path(frame.f_code.co_filename)
        if path.name not in WITHIN or "bench" not in path.parts:
            return None
        place = (path.name, frame.f_lineno)
        if event == "line" and place not in self.lines:
            self.lines.add(place)
            if len(self.lines) == self.at:
                self.where = f"{path.name}:{frame.f_lineno}"
                self.stop._hear(signal.SIGTERM, frame)
        return self.trace


@pytest.fixture
def job(tiny: PretrainedModel, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """A run whose checkpoint is of its last step but one, set up once for all executions of it."""
    job = make_job(make_spec("lora", test_limit=4, max_length=16), tiny, small_folder)
    job = replace(job, checkpoint=tmp_path / "checkpoint", side_tests=False)
    setup = run.set_up(job, run.MemoryMeter("cpu"))
    owner = owner_of(job)

    def warm_up(trainer: Trainer) -> None:
        trainer.frozen_before = frozen_sha256(trainer.classifier)

    def stops(phase: str, share: float, line: str | None = None) -> None:
        if share == (STEPS - 1) / STEPS:
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    monkeypatch.setattr(run, "set_up", lambda job, memory: setup)
    monkeypatch.setattr(run, "owner_of", lambda job: owner)
    monkeypatch.setattr(run.MemoryMeter, "_reset", lambda meter: None)
    monkeypatch.setattr(Trainer, "warm_up", warm_up)
    monkeypatch.setattr("bench.training.trainer.VALIDATION_AT_MARKS", 4)
    monkeypatch.setattr(files.os, "fsync", lambda handle: None)
    monkeypatch.setattr(checkpointer, "SHARE", 0.0)
    stopped = run.execute(job, stops).record
    assert stopped.training.steps == STEPS - 1
    shutil.copy(tmp_path / "checkpoint", tmp_path / "last but one")
    yield job
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_a_stop_at_any_line_of_training_leaves_its_record_and_its_checkpoint(job: Job, tmp_path: Path, every: int) -> None:
    def again(at: int | None = None) -> tuple[Stopper, Record]:
        stopper = Stopper(at)
        return stopper, stopper.execute(job)

    counted, whole = again()
    assert (whole.state, whole.resumed) == ("complete", 1), whole.reason
    assert len(counted.lines) > 60
    assert {name for name, _ in counted.lines} == WITHIN
    ended: set[int] = set()
    for at in range(1, len(counted.lines) + 1, every):
        shutil.copy(tmp_path / "last but one", tmp_path / "checkpoint")
        stopper, record = again(at)
        where = stopper.where
        assert record.state == "cancelled", where
        assert record.training is not None, where
        assert record.memory is not None, where
        assert record.compute is not None, where
        assert record.test is None, where
        ended.add(record.training.steps)
        assert record.training.frozen_sha256_after == record.training.frozen_sha256_before, where
        assert stopper.excess() < 1e-3, f"{where}: the clock counted time twice"
        if at % 10 > 1:
            continue
        _, resumed = again()
        assert resumed.state == "complete", where
        assert result(resumed.model_dump()) == result(whole.model_dump()), where
    assert ended == {STEPS - 1, STEPS}
