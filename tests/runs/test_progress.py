"""What a run tells of itself: how far it is and how long it will take, in notes that never hold it up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bench.runs.status as status
from bench.runs.monitor import OVERHEAD, Running, overview
from bench.runs.status import Note, is_running, read_status
from bench.system.locks import exclusive, lock_path
from tests.factories import kept, run
from tests.runs.watching import RUN, everything, held, said


def test_a_run_that_goes_on_tells_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(tmp_path) as note:
        (now,) = overview(tmp_path, None).running
        assert (now.name, now.setting, now.phase, now.share) == ("lora seed 0, 60 s", "minilm on embedded", "set-up", 0.0)
        note.update("training", 0.4)
        (now,) = overview(tmp_path, None).running
        assert (now.phase, now.share) == ("training", 0.4)
        before = everything(tmp_path)
        code, out, _ = said(tmp_path, "--once", capsys=capsys)
        assert code == 0
        assert "lora seed 0, 60 s" in out
        assert "training 40%" in out
        assert "1 running" in out
        assert everything(tmp_path) == before
    assert overview(tmp_path, None).running == []
    assert list(tmp_path.iterdir()) == [], "the line goes with the lock"


def test_how_long_it_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another trained for 64 s of its 67; two run, started by one process that has one more to do."""
    kept(tmp_path, run("houlsby", 5))
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    first, second = run("lora", 0).run_id, run("lora", 1).run_id
    with held(tmp_path, first, number=3, runs=5) as one, held(tmp_path, second, number=4, runs=5) as two:
        now += 30
        one.update("training", 0.5)
        two.update("test", 0.5)
        found = overview(tmp_path, None)
        assert sorted(run.remaining for run in found.running if run.remaining) == pytest.approx([3 / 2, 64 / 2 + 3])
        assert found.remaining == pytest.approx((3 / 2 + 64 / 2 + 3 + 67) / 2)


def test_a_phase_has_its_own_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run starts near the end of its training: what passed since then tells nothing of the whole."""
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def left() -> float | None:
        return overview(tmp_path, None).remaining

    with held(tmp_path, run("lora", 0).run_id, number=1, runs=1) as note:
        assert left() is None, "neither its budget nor its pace is known"
        now += 10
        note.update("training", 0.9)
        now += 20
        note.update("training", 0.95)  # all of it would take 400 s
        assert left() == pytest.approx(20 + OVERHEAD)
        note.update("test", 0.0)
        now += 300
        note.update("test", 0.1)
        assert left() == pytest.approx(2700)
        # A finished run took 3000 s beside its training; an older version does not write when the phase started.
        others = run("lora", 1)
        took = others.seconds.model_copy(update={"charged": 1000.0, "before": 0.0, "total": 4000.0})
        kept(tmp_path, others.model_copy(update={"seconds": took}))
        line = read_status(lock_path(tmp_path, run("lora", 0).run_id))
        lock_path(tmp_path, run("lora", 0).run_id).write_text(line.model_dump_json(exclude={"since", "found"}))
        assert left() == pytest.approx(3000 * 0.9)


def test_a_run_that_was_killed_does_not_go_on(tmp_path: Path) -> None:
    """Its lock and its line are still there, and so is its checkpoint; nobody removes them but the next run."""
    code = (
        "import os, pathlib, signal\nfrom bench.system.locks import exclusive\nfrom bench.runs.status import Note\n"
        f"path = pathlib.Path({str(lock_path(tmp_path, RUN))!r})\n"
        "with exclusive(path, print):\n    Note(path, 'lora', 'minilm', 1, 1)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{RUN}.safetensors").touch()
    path = lock_path(tmp_path, RUN)
    told = read_status(path)
    assert told.name == "lora"
    found = overview(tmp_path, None)
    assert (found.running, found.stopped) == ([], [RUN])
    assert path.exists()
    # Another process with its number is not it.
    assert not is_running(path, told.model_copy(update={"process": os.getpid()}))
    # Processes of another machine cannot be asked for: what counts is how long they have been silent.
    elsewhere = told.model_copy(update={"machine": "another"})
    assert is_running(path, elsewhere)
    os.utime(path, (time.time() - 2 * status.SILENCE,) * 2)
    assert not is_running(path, elsewhere)


def test_a_watcher_never_holds_a_run_up(tmp_path: Path) -> None:
    """A run takes and leaves its lock hundreds of times under the eyes of watchers, and never meets one that has it."""
    waits, over = list[str](), threading.Event()

    def look() -> None:
        while not over.is_set():
            overview(tmp_path, None)

    with ThreadPoolExecutor(2) as pool:
        looks = [pool.submit(look) for _ in range(2)]
        try:
            for number in range(300):
                with exclusive(lock_path(tmp_path, RUN), lambda: waits.append("waited")):
                    Note(lock_path(tmp_path, RUN), "lora", "minilm", number, 300).close()
        finally:
            over.set()
    assert [one.result() for one in looks] == [None, None]
    assert waits == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\0" * 3000, b"[]", b'{"name": 3}', b"\xff" * 100, b"9" * 5000, b'{"name": "x", "process": -1}']
)
def test_any_lock_can_be_read(tmp_path: Path, content: bytes) -> None:
    path = lock_path(tmp_path, RUN)
    path.parent.mkdir()
    path.write_bytes(content)
    assert read_status(path) is None
    (now,) = overview(tmp_path, None).running  # it may just be beginning
    assert now == Running("a run", "", "set-up", 0.0, None, None)
    path.unlink()
    os.mkfifo(path.with_name("b.lock"))
    path.with_name("c.lock").symlink_to(path.with_name("nowhere"))
    path.with_name("d.lock").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    assert overview(tmp_path, None).damaged == 1, "what is no file is not opened"


def test_a_line_is_written_once_a_second_and_where_it_cannot_be_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *arguments: (written.append(json.loads(arguments[1])), pwrite(*arguments)))
    with held(tmp_path) as note:
        for step in range(30):
            now += 0.1
            note.update("training", step / 30)
        note.update("test", 0.0)
        told = read_status(lock_path(tmp_path, RUN))
        assert told.phase == "test"
    assert [line["phase"] for line in written] == ["set-up", "training", "training", "training", "test"]

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with held(tmp_path) as note:
        note.update("test", 0.5)
    nowhere = Note(tmp_path / "none", "\ud800" * 300, "x" * 300, 1, 1)
    nowhere.update("training", 1.02)
    nowhere.close()
