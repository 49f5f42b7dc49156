"""Faults are states: signals, full disks, diverging losses, two processes with one run, clocks that jump."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.records.store as store
import bench.runs.disk_space as space
import bench.runs.executor as doing
import bench.training.run as run
from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.records.audit import audit
from bench.records.schema import DataCut, Record
from bench.records.spec import Budget
from bench.records.store import load
from bench.runs.launchers.process import Died, LocalEngine
from bench.system.errors import RecordError
from bench.system.files import atomic_write, sweep, temporary_folder
from bench.system.locks import exclusive, lock_path, tidy
from bench.system.signals import Interrupts
from bench.training.cancel import Cancelled, Stop
from bench.training.job import Job, Outcome, Result, checkpoint_path, job_of, record_of
from bench.training.late_losses import Diverged
from bench.training.trainer import Trainer
from tests.conftest import call, make_job, make_spec, runs_by
from tests.methods.test_methods import loop_for
from tests.work import FEW

SMALL = ["--max-length", "32", "--batch-size", "8", "--test-limit", "40"]
DATA = DataCut(sha256="d", cut="small-v1", train=400, validation=50, test=100, duplicates_removed=0, leaked=0)


def changed(command: list[str], option: str, value: str) -> list[str]:
    at = command.index(option) + 1
    return [*command[:at], value, *command[at + 1 :]]


@pytest.fixture
def command(tiny_folder: Path, small_folder: Path, tmp_path: Path) -> list[str]:
    """A run of six steps into `tmp_path`/out."""
    asked = ["run", "--method", "lora", "--encoder", str(tiny_folder), "--data", str(small_folder), *SMALL]
    return [*asked, "--budget", "6 steps", "--out", str(tmp_path / "out")]


def only(folder: Path) -> Record:
    (record,) = load(folder)
    return record


def left(out: Path) -> list[str]:
    """What lies in a results folder beside records and logits."""
    return sorted(path.name for path in out.iterdir() if path.suffix != ".json" and path.name != "logits")


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


# Two processes with one run


@pytest.mark.usefixtures("short_runs")
def test_the_same_run_is_done_once(command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Another process holds the run; when it is done this one finds its record."""
    assert call(command) == 0
    finished = next((tmp_path / "out").glob("*.json"))
    text, run_id = finished.read_bytes(), only(tmp_path / "out").run_id
    finished.unlink()
    path = lock_path(tmp_path / "out", run_id)
    other = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys, pathlib\nfrom bench.system.locks import exclusive\n"
            f"with exclusive(pathlib.Path({str(path)!r}), print):\n"
            "    print('held', flush=True)\n    sys.stdin.readline()\n"
            f"    pathlib.Path({str(finished)!r}).write_bytes({text!r})\n",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout.readline() == "held\n"
    threading.Timer(1.0, lambda: (other.stdin.write("\n"), other.stdin.flush())).start()  # type: ignore[union-attr]
    capfd.readouterr()
    assert call(command) == 0
    said = capfd.readouterr()
    assert said.err.count("waits for the process that runs it") == 1
    assert "finished before" in said.out
    assert finished.read_bytes() == text
    assert other.wait(10) == 0
    other.stdin.close()
    other.stdout.close()
    assert left(tmp_path / "out") == []


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "a" * 16)
    code = (
        f"import time, pathlib\nfrom bench.system.locks import exclusive\nwith exclusive(pathlib.Path({str(path)!r}), print):\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code + "    print('held', flush=True)\n    time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    waits: list[str] = []

    def kill() -> None:
        waits.append("waits")
        holder.kill()

    with exclusive(path, kill):
        assert path.exists()
    holder.wait()
    holder.stdout.close()
    assert set(waits) == {"waits"}
    assert list(tmp_path.iterdir()) == []


def test_locks_of_the_dead_are_removed_and_others_stay(tmp_path: Path) -> None:
    dead = lock_path(tmp_path, "b" * 16)
    with exclusive(lock_path(tmp_path, "a" * 16), lambda: None):
        dead.touch()
        tidy(tmp_path)
        assert [path.name for path in dead.parent.iterdir()] == ["a" * 16 + ".lock"]
    dead.parent.mkdir()
    dead.touch()
    tidy(tmp_path)
    assert list(tmp_path.iterdir()) == []


# Files of the dead


def test_only_files_of_the_dead_are_swept(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib\nfrom bench.system.files import atomic_write, temporary_folder\n"
        f"out = pathlib.Path({str(tmp_path)!r})\n"
        "with atomic_write(out / 'record.json'), temporary_folder(out, 'folder') as folder:\n"
        "    (folder / 'file').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".own.tmp").write_text("a person's")
    with temporary_folder(tmp_path, "mine") as folder, atomic_write(tmp_path / "done.json") as file:
        sweep(tmp_path, tmp_path / "none")
        assert len(list(tmp_path.glob(".done.json.*"))) == 1
        assert folder.exists()
        file.write(b"{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".own.tmp", "done.json"]


# Full disks


def test_too_small_a_disk_is_said_before_training(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**20})())
    assert call(command) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: the disk of ")
    assert "has 1 MiB free, and these runs may need " in line
    assert not (tmp_path / "out").exists()


def test_what_a_run_needs_is_an_upper_bound(tiny: PretrainedModel, small_task: Task, tmp_path: Path) -> None:
    from bench.training.checkpoint import Meta, write

    for name in ("full", "houlsby", "head-only"):
        trainer = loop_for(tiny, small_task, name, budget=Budget(amount=1, unit="epochs"))
        trainer.memory.start()
        trainer.warm_up()
        trainer.run()
        owner = {"run_id": "a", "replaces": None, "device": "d", "cpu": "c", "threads": 2, "python": "3", "versions": {}}
        state = trainer.state_dict()
        tensors = state.pop("tensors")
        size = write(tmp_path / name, Meta(owner=owner, resumed=0, **state), tensors)
        data = DATA.model_copy(update={"train": len(small_task.train)})
        needed = space.checkpoint_bytes(job_of(trainer.spec, tiny, "small", data, "a processor"))
        assert size <= needed <= 1.2 * size + 2 * 2**20


def test_room_for_the_record_is_held_until_it_is_written(tmp_path: Path) -> None:
    with space.reserved(tmp_path, 3 * 2**20) as held:
        assert os.fstat(held.fileno()).st_blocks * 512 >= 3 * 2**20
        held.truncate(0)
        assert os.fstat(held.fileno()).st_blocks == 0
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_the_disk_does_not_take_is_not_lost(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was trained is kept: the next try only tests."""
    command = changed(command, "--budget", "20 steps")

    def full(*arguments: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, runs_by("eager"):
        patch.setattr(doing, "save", full)
        assert call(command) == 1
    err = capfd.readouterr().err
    assert err.count("the record cannot be written (No space left on device); free some room in ") == 1
    assert "Traceback" not in err
    assert left(tmp_path / "out") == ["checkpoints"]
    with runs_by("eager"):
        assert call(command) == 0
    record = only(tmp_path / "out")
    assert (record.state, record.resumed) == ("complete", 1)
    assert "resumes from its checkpoint" in capfd.readouterr().err
    assert left(tmp_path / "out") == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that makes a disk of so many bytes; skips where that is not allowed."""
    made: list[Path] = []

    def of(size: int) -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("a small disk cannot be mounted here (it takes root)")
        made.append(folder)
        return folder

    yield of
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_small_disk_is_refused(command: list[str], disk: Callable[[int], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = disk(512 * 1024)
    assert call(changed(command, "--out", str(folder / "out"))) == 2
    assert "these runs may need" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
    with pytest.raises(RecordError, match="for a record"), space.reserved(folder, 2**20):
        pass
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("short_runs")
def test_a_disk_that_others_fill_costs_the_checkpoint_and_not_the_record(
    command: list[str], disk: Callable[[int], Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = disk(24 * 2**20)
    reserve = doing.reserved

    @contextmanager
    def then_filled(out: Path, size: int) -> Iterator[Any]:
        with reserve(out, size) as release:
            with suppress(OSError), (folder / "others").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            yield release

    monkeypatch.setattr(doing, "reserved", then_filled)
    assert call(changed(command, "--out", str(folder / "out"))) == 0
    assert "no checkpoint can be written (No space left on device); the run continues" in capfd.readouterr().err
    record = only(folder / "out")
    assert record.state == "complete"
    assert store.load_logits(folder / "out", str(record.test.logits_sha256)).shape == (40, 2)
    assert left(folder / "out") == []


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
