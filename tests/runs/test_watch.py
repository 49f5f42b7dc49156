"""What a watcher sees of runs, and that it never gets in their way."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import bench.runs.status as status
import bench.runs.watch as watch
import methods
from bench.records.spec import Budget
from bench.records.store import save
from bench.runs.budgets import convert_if_calibrated
from bench.runs.monitor import OVERHEAD, Overview, Running, overview, records_of
from bench.runs.plan import Matrix, Request, extended, plan
from bench.runs.status import Note, is_running, read_status
from bench.system.device import device_model
from bench.system.locks import exclusive, lock_path
from bench.training.job import Job, record_of
from tests.cli.test_bad_input import HEAVY, imported_by
from tests.conftest import call
from tests.factories import calibration, ended, kept, run, trial

RUN = "a" * 16
RATIOS = {"houlsby": 1.0, "lora": 2.0}


@contextmanager
def held(out: Path, run_id: str = RUN, name: str = "lora seed 0, 60 s", number: int = 2, runs: int = 5) -> Iterator[Note]:
    """A run of this process that goes on."""
    path = lock_path(out, run_id)
    with exclusive(path, lambda: None):
        note = Note(path, name, "minilm on embedded", number, runs)
        yield note
        note.close()


def said(out: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    return call(["watch", "--out", str(out), *arguments]), *capsys.readouterr()


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(tmp_path / "none", "--once", capsys=capsys)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "nothing yet"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    code, _, err = said(tmp_path / "file", "--once", capsys=capsys)
    assert (code, err.count("is not a folder of records; name one with --out")) == (2, 1)


def test_what_is_done_and_what_is_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, run("houlsby", 0, wrong=20))
    kept(tmp_path, run("houlsby", 1, wrong=30))
    kept(tmp_path, run("lora", 0, wrong=22))
    # Of another length: it would be the best, but stands in another table.
    kept(tmp_path, run("full", 0, wrong=10, spec={"max_length": 64}, finished="2025-01-01T00:00:00+00:00"))
    save(tmp_path, ended("pfeiffer", "failed"))
    (tmp_path / "torn.json").write_text("{")
    before = everything(tmp_path)
    code, out, _ = said(tmp_path, "--once", capsys=capsys)
    assert code == 0
    assert out.splitlines()[-4:] == [  # below the folder and the time, in one line or two
        "4 complete, 1 failed",
        "files that are no whole records: 1; `report` names them",
        "best so far [minilm on embedded, 60 s]: lora 89.00 %, houlsby 87.50 % (2 seeds)",
        "best so far [minilm on embedded, 60 s]: full 95.00 %",
    ]
    assert everything(tmp_path) == before


def test_records_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.runs.monitor as module

    asked: list[str] = []
    examine = module.examine
    monkeypatch.setattr(module, "examine", lambda path: (asked.append(path.name), examine(path))[1])
    folder, first = tmp_path, kept(tmp_path, run(seed=0))
    assert len(records_of(folder)[0]) == len(records_of(folder)[0]) == 1
    second = kept(tmp_path, run(seed=1))
    assert len(records_of(folder)[0]) == 2
    second.write_text(second.read_text().replace("0.9", "0.8"))  # edited: it is no whole record any more
    os.utime(second, (1, 1))  # two writes in one tick of the clock would look alike
    assert records_of(folder)[1] == 1
    first.unlink()
    assert records_of(folder) == ([], 1)
    assert asked == [first.name, second.name, second.name]


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
    waits, over = [0], threading.Event()

    def look() -> None:
        folder = tmp_path
        while not over.is_set():
            overview(folder, None)

    def waited() -> None:
        waits[0] += 1

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for number in range(300):
            with exclusive(lock_path(tmp_path, RUN), waited):
                Note(lock_path(tmp_path, RUN), "lora", "minilm", number, 300).close()
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
    assert waits == [0]
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


def test_names_command_no_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2J\u202eevil\n[red]"
    now = Overview([Running(hostile, hostile, hostile, 0.5, 1.0, 2.0)], {"complete": 1}, 1, 2, [hostile], [], 3.0, 0)
    console = Console(file=io.StringIO(), record=True, width=200)
    console.print(watch.screen(now, Path(hostile)))
    shown = console.export_text() + watch.line(now)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown, "it is no markup"


@pytest.fixture
def asked(tiny_folder: Path, small_folder: Path) -> Callable[..., list[Matrix]]:
    def of(*, elsewhere: bool = False, **fields: object) -> list[Matrix]:
        settings = {"encoder": str(tiny_folder), "data": str(small_folder), "budget": "4 steps", "device": "cpu", **fields}
        return [plan(Request(["lora", "houlsby"], **settings), elsewhere=elsewhere)]  # type: ignore[arg-type]

    return of


def test_what_was_asked_for_and_is_left(asked: Callable[..., list[Matrix]], tmp_path: Path) -> None:
    matrices, folder = asked(seeds="2"), tmp_path
    first, second, third, fourth = matrices[0].jobs
    kept(tmp_path, run("full"))  # of somebody else
    assert overview(folder, matrices).to_do == 4
    save(tmp_path, record_of(first, "complete"))
    save(tmp_path, record_of(second, "diverged", "the loss became nan"))
    save(tmp_path, record_of(third, "failed", "its process died"))
    with held(tmp_path, third.run_id), held(tmp_path, "f" * 16, name="full seed 7"):
        found = overview(folder, matrices)
        assert [run.name for run in found.running] == ["lora seed 0, 60 s"]
        assert (found.states, found.to_do, found.requested) == ({"complete": 1, "diverged": 1}, 1, 4)
        assert not found.over
    found = overview(folder, matrices)
    assert (found.states["failed"], found.to_do) == (1, 2)
    for job in (third, fourth):
        save(tmp_path, record_of(job, "complete"))
    assert overview(folder, matrices).over
    assert "all 4 running or done" in watch.line(overview(folder, matrices))


def test_runs_of_another_device_are_not_taken_for_those_that_were_asked_for(
    asked: Callable[..., list[Matrix]], tmp_path: Path
) -> None:
    """Where a machine without a GPU watches what one with a GPU does, it has to be told the device; else it says so."""
    here, there, folder = asked(seeds="1"), asked(seeds="1", device="cuda", elsewhere=True), tmp_path
    hint = "say --device, or watch the folder alone"
    assert not overview(folder, here).unmatched, "nothing goes on"
    with held(tmp_path, there[0].jobs[0].run_id):
        found = overview(folder, here)
        assert (found.running, found.to_do, found.unmatched) == ([], 2, True)
        assert hint in watch.line(found)
        found = overview(folder, there)
        assert (len(found.running), found.to_do, found.unmatched) == (1, 1, False)
        assert hint not in watch.line(found)
        assert not overview(folder, None).unmatched
        save(tmp_path, record_of(here[0].jobs[0], "complete"))
        assert not overview(folder, here).unmatched, "some of what was asked for was begun here"


def test_runs_follow_from_the_trials(asked: Callable[..., list[Matrix]], tmp_path: Path) -> None:
    matrices, folder = asked(tune=2), tmp_path
    (matrix,) = matrices
    made = trial("lora", 0.001, 0.7).training

    def end(job: Job) -> None:
        """The higher the rate, the better."""
        rate = float(job.spec.hyperparameters["learning_rate"] or 0)
        curve = [point.model_copy(update={"accuracy": 1 - 1 / (10 + 100 * rate)}) for point in made.curve]
        save(tmp_path, record_of(job, "complete", training=made.model_copy(update={"curve": curve})))

    assert len(matrix.trials) == 8
    for job in matrix.trials:
        assert overview(folder, matrices).requested == 10
        end(job)
    # Of two rates the best is at an edge: each method has one more rate, with both tuning seeds.
    found = overview(folder, matrices)
    assert (found.requested, found.to_do) == (14, 6)
    best = {name: methods.get(name).learning_rate for name in ("lora", "houlsby")}
    higher = {name: min(rate for rate in methods.get(name).learning_rates if rate > best[name]) for name in best}
    for job in extended(matrix.trials, {(name, Budget.parse("4 steps")): rate for name, rate in higher.items()}):
        assert overview(folder, matrices).requested == 14
        end(job)
    found = overview(folder, matrices)
    assert (found.requested, found.to_do) == (14, 2)
    # The last were the best: the runs are at their rates, and have other ids than at the declared ones.
    for job in matrix.jobs:
        save(tmp_path, record_of(job.at_rate(higher[job.spec.method]), "complete"))
    assert overview(folder, matrices).over


def test_a_calibrated_budget_is_watched_from_before_its_calibration(
    asked: Callable[..., list[Matrix]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids of the runs follow from the calibration, which is made after the watch began."""
    (matrix,) = matrices = asked(budget="60s")
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            save(tmp_path, calibration(matrix.jobs[0], RATIOS, device=device_model("cpu")))
        elif looks <= 3:
            for job in convert_if_calibrated(matrix, tmp_path).jobs[looks - 2 : looks - 1]:
                save(tmp_path, record_of(job, "complete"))
        else:
            raise AssertionError("it should be over")

    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep))  # git, which is asked for the commit, sleeps as well
    watch.follow(tmp_path, matrices, once=False)
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert looks == 3
    assert lines[0] == "2 of 2 to do  about 2:50 left", "budgets, and 25 s around each"
    assert lines[1] == "2 of 2 to do  about 2:50 left", "what the calibration expects"
    assert lines[2].startswith("1 complete, 1 of 2 to do")
    assert lines[3] == "2 complete, all 2 running or done"
    found = convert_if_calibrated(matrix, tmp_path)
    assert {job.spec.method: int(job.spec.budget.amount) for job in found.jobs} == {"houlsby": 60_000, "lora": 30_000}


def test_a_calibration_that_is_named_is_watched_by_and_a_wrong_one_is_refused(
    asked: Callable[..., list[Matrix]], what: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (matrix,) = asked(budget="5000 reference tokens")
    file = save(tmp_path / "elsewhere", calibration(matrix.jobs[0], RATIOS, device="Another CPU"))
    out = tmp_path / "out"
    what = [*what, "--budget", "5000 reference tokens", "--once"]
    for job in convert_if_calibrated(replace(matrix, calibration=file), out).jobs:
        assert (job.spec.reference_tokens, job.spec.budget.unit) == (5000, "tokens")
        save(out, record_of(job, "complete"))
    code, shown, err = said(out, *what, "--calibration", str(file), capsys=capsys)
    assert (code, err) == (0, "")
    assert "1 complete, all 1 running or done" in shown
    code, shown, err = said(out, *what, "--max-length", "64", "--calibration", str(file), capsys=capsys)
    assert (code, shown, err.count("\n")) == (2, "", 1)
    assert "is of another setting" in err


@pytest.fixture
def what(tiny_folder: Path, small_folder: Path) -> list[str]:
    return ["--method", "lora", "--encoder", str(tiny_folder), "--data", str(small_folder), "--device", "cpu"]


@pytest.mark.usefixtures("short_runs")
def test_a_real_run_is_seen_in_all_its_phases(
    what: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Overview] = []
    folder, update = tmp_path / "out", Note.update

    def looked(note: Note, phase: str, share: float) -> None:
        update(note, phase, share)
        seen.append(overview(folder, None))

    monkeypatch.setattr(Note, "update", looked)
    what = [*what, "--max-length", "32", "--test-limit", "20", "--budget", "20 steps"]
    assert call(["run", *what, "--out", str(tmp_path / "out")]) == 0
    running = [run for now in seen for run in now.running]
    assert {"training", "test"} <= {run.phase for run in running}
    assert {run.name for run in running} == {"lora seed 0, 20 steps"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".json") == ["logits"]
    capsys.readouterr()
    # Now that all is done, a watcher of just this shows it and ends; it is given what the run was given.
    code, out, err = said(tmp_path / "out", *what, "--interval", "0.2", capsys=capsys)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert "1 complete, all 1 running or done" in out


@pytest.mark.parametrize("leaves", ["its person", "who reads it"])
def test_it_ends_without_a_trace(leaves: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "watch", "--out", str(tmp_path), "--interval", "0.2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline().rstrip().endswith("nothing yet")
    assert process.stdout.readline().rstrip().endswith("nothing yet")
    if leaves == "its person":
        process.send_signal(signal.SIGTERM)  # which the command hears like Ctrl-C, also where a script ignores that
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, "")
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("terminal", "given", "expected"), [("", None, 60), ("1", None, 2), ("", 0.5, 0.5)])
def test_lines_that_are_kept_are_fewer(
    terminal: str, given: float | None, expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setenv("FORCE_COLOR", terminal)  # by which rich takes what is no terminal for one
    monkeypatch.setattr(watch.time, "sleep", sleep)
    watch.follow(tmp_path, None, once=False, interval=given)
    assert waits == [expected]


def test_it_imports_nothing_heavy(tmp_path: Path) -> None:
    kept(tmp_path, run())
    watches = ["watch", "--once", "--out", str(tmp_path)]
    alone, of_suite = imported_by(tmp_path, watches, ["watch", "--once", "--suite", "quick", "--device", "cpu"])
    assert not alone & HEAVY
    assert not of_suite & (HEAVY - {"pandas"})  # which reads the reviews, as those runs would
