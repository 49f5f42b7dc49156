"""Faults are states: signals, diverging losses, stops in every phase, clocks that jump."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.records.store as store
import bench.training.run as run
from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.records.audit import audit
from bench.records.spec import Budget
from bench.runs.launchers.process import Died, LocalEngine
from bench.system.signals import Interrupts
from bench.training.cancel import Cancelled, Stop
from bench.training.job import Job, Outcome, Result, checkpoint_path, record_of
from bench.training.late_losses import Diverged
from bench.training.trainer import Trainer
from tests.classifiers import loop_for
from tests.conftest import call, left, make_job, make_spec, only
from tests.training.keeping import changed
from tests.work import FEW

# Signals


@pytest.fixture
def sigint() -> Iterator[None]:
    """SIGINT as a terminal has it; what runs in the background of a script starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_a_run_with_all_that_it_trained(command: list[str], tmp_path: Path, number: signal.Signals) -> None:
    """SIGINT comes to this process, SIGTERM to one as a person starts it."""
    out = tmp_path / "out"
    long = changed(command, "--budget", "20M tokens")

    def send(pid: int) -> None:
        end = time.monotonic() + 90
        while time.monotonic() < end and not list(out.glob("checkpoints/*.safetensors")):
            time.sleep(0.02)
        os.kill(pid, number)

    if number == signal.SIGINT:
        threading.Thread(target=send, args=(os.getpid(),)).start()
        assert call(long) == 130
    else:
        process = subprocess.Popen([sys.executable, "-m", "bench", *long], stderr=subprocess.PIPE, text=True)
        send(process.pid)
        _, err = process.communicate(timeout=15)
        assert process.returncode == 130, err
    record = only(out)
    assert record.state == "cancelled"
    assert record.training.steps > 0
    assert record.test is None
    assert left(out) == ["checkpoints"]
    # All of it: the checkpoint is of the very step at which the run stopped.
    from bench.training.checkpoint import read

    (path,) = out.glob("checkpoints/*")
    assert read(path)[0].counts.steps == record.training.steps


def test_a_stop_waits_for_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: alarms.append(seconds))
    stop = Stop()
    stop.busy = lambda: True
    stop._hear(signal.SIGTERM, None)
    assert alarms == [2.0]
    with pytest.raises(Cancelled):
        stop.check()
    stop._hear(signal.SIGTERM, None)  # a second one is the same
    with pytest.raises(Cancelled):
        stop._impatient(signal.SIGALRM, None)
    idle = Stop()
    with pytest.raises(Cancelled):
        idle._hear(signal.SIGTERM, None)


@pytest.mark.usefixtures("sigint")
def test_interrupts_are_raised_when_nothing_is_half_done() -> None:
    done, interrupts = [], Interrupts()

    def interrupted() -> None:
        with interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            with interrupts:
                done.append("inner")
            done.append("outer")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["inner", "outer"]
    assert interrupts.count == 2


@pytest.mark.usefixtures("sigint")
def test_an_ignored_interrupt_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.count == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("sigint")
def test_interrupts_are_raised_at_once_where_nothing_can_be_lost() -> None:
    def waiting() -> None:
        with Interrupts() as interrupts, interrupts.at_once():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
            raise AssertionError("it slept")

    with pytest.raises(KeyboardInterrupt):
        waiting()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_result_that_came_with_an_interrupt_is_kept(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finishes(engine: LocalEngine, work: str, job: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)  # heard in the moment in which the run is done
        return Result(Outcome(record_of(job, "complete"), np.zeros((40, 2), dtype=np.float32)), interrupted=True)

    monkeypatch.setattr(LocalEngine, "run", finishes)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert call(command) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert only(tmp_path / "out").state == "complete"
    assert left(tmp_path / "out") == []


# Training that breaks


def test_weights_that_break_at_the_last_step_diverge(
    tiny: PretrainedModel, small_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loss tells of it any more."""
    trainer = loop_for(tiny, small_task, "full")
    trainer.warm_up()
    step = trainer._step

    def breaks(*batch: Any) -> float:
        loss = step(*batch)
        if trainer.ledger.steps == 3:
            trainer.trained[-1].data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(trainer, "_step", breaks)
    with pytest.raises(Diverged, match="no numbers at step 4"):
        trainer.run()


@pytest.fixture
def job(tiny: PretrainedModel, small_folder: Path, tmp_path: Path) -> Job:
    job = make_job(make_spec("lora", test_limit=20), tiny, small_folder)
    return replace(job, checkpoint=checkpoint_path(tmp_path, job.run_id))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in this very process, with latency measured for a moment."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    monkeypatch.setattr("bench.inference.latency.SECONDS", 0.01)
    monkeypatch.setattr(run, "FEW_TEXTS", FEW)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("quick")
def test_a_stop_in_every_phase_goes_on_to_the_same_end(job: Job, tmp_path: Path) -> None:
    whole = run.execute(replace(job, checkpoint=None)).record  # a slow machine would leave one to the next
    assert whole.state == "complete", whole.reason
    for phase in ("training", "test", "elsewhere"):
        stopped = replace(job, checkpoint=tmp_path / phase)

        def stops(now: str, share: float, line: str | None = None, phase: str = phase) -> None:
            if now == phase and line is None and share > 0:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0)

        cancelled = run.execute(stopped, stops).record
        assert (cancelled.state, cancelled.test, cancelled.out_of_domain) == ("cancelled", None, None), phase
        said: list[str] = []
        outcome = run.execute(stopped, lambda now, share, line=None, said=said: said.append(line) if line else None)
        again = outcome.record
        assert said[0].startswith(f"resumes from its checkpoint: {cancelled.training.steps} batches")
        assert (again.state, again.resumed, again.test) == ("complete", 1, whole.test), phase
        here = again.timeline.training_ended - again.timeline.training_started
        assert again.seconds.charged + again.seconds.paused == pytest.approx(again.seconds.before + here, abs=0.1)
        assert again.seconds.before > 0
        seen = {"outside": again.seconds.total, "outside_training": here}
        record = again.model_copy(update={"seconds": again.seconds.model_copy(update=seen)})
        (audited,) = audit([store.save(tmp_path / f"{phase} out", record, outcome.logits)])
        assert audited.failed is None, audited.text()


def test_a_forced_run_that_is_stopped_leaves_the_finished_record_and_goes_on(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[Job] = []

    def pretends(engine: LocalEngine, work: str, job: Any, **named: Any) -> Any:
        asked.append(job)
        if len(asked) == 1:
            return Result(Outcome(record_of(job, "complete"), None))
        job.checkpoint.parent.mkdir(exist_ok=True)
        job.checkpoint.write_text("half way")
        raise Died(-9, False)

    monkeypatch.setattr(LocalEngine, "run", pretends)
    assert call(command) == 0
    record = only(tmp_path / "out")
    assert asked[0].replaces is None
    capfd.readouterr()
    for _ in range(2):
        assert call([*command, "--force"]) == 1
        assert "failed, the process of the run ended by SIGKILL; the finished record stays" in capfd.readouterr().err
        assert only(tmp_path / "out") == record
        assert left(tmp_path / "out") == ["checkpoints"]
    assert asked[1].replaces == asked[2].replaces is not None
    assert call(command) == 0, "without --force nothing is left to do, and nobody needs the checkpoint"
    assert left(tmp_path / "out") == []
    assert len(asked) == 3


# Clocks


def test_a_clock_that_jumps_changes_no_budget(tiny: PretrainedModel, small_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's time leaps by years, back and forth, at every reading: a run counts the same, and its clock is right."""
    budget = Budget(amount=1500, unit="tokens")
    steady: Trainer = loop_for(tiny, small_task, "lora", budget=budget)
    steady.warm_up()
    steady.run()
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 4e9 * (next(jumps) % 2))
    monkeypatch.setattr(time, "time_ns", lambda: 4 * 10**18 * (next(jumps) % 2))
    trainer: Trainer = loop_for(tiny, small_task, "lora", budget=budget)
    trainer.warm_up()
    began = time.monotonic()
    trainer.run()
    took = time.monotonic() - began
    assert trainer.ledger.losses == steady.ledger.losses
    assert 0 < trainer.clock.seconds + trainer.clock.paused_seconds <= took
