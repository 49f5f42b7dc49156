"""Locks, sweeps and full disks: one process has a run, nothing of the living is removed, and no record is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import bench.records.store as store
import bench.runs.disk_space as space
import bench.runs.executor as doing
from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.records.schema import DataCut
from bench.records.spec import Budget
from bench.system.errors import RecordError
from bench.system.files import atomic_write, sweep, temporary_folder
from bench.system.locks import exclusive, lock_path, tidy
from bench.training.job import job_of
from tests.classifiers import loop_for
from tests.conftest import call, left, only, runs_by
from tests.training.keeping import changed

DATA = DataCut(sha256="d", cut="small-v1", train=400, validation=50, test=100, duplicates_removed=0, leaked=0)

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
