"""What a watcher sees of runs, and that it never gets in their way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import bench.runs.watch as watch
from bench.records.store import save
from bench.runs.monitor import Overview, Running, overview, records_of
from bench.runs.status import Note
from tests.conftest import call
from tests.factories import ended, kept, run
from tests.runs.watching import everything, said
from tests.work import HEAVY, imported_by


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


def test_names_command_no_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2J\u202eevil\n[red]"
    now = Overview([Running(hostile, hostile, hostile, 0.5, 1.0, 2.0)], {"complete": 1}, 1, 2, [hostile], [], 3.0, 0)
    console = Console(file=io.StringIO(), record=True, width=200)
    console.print(watch.screen(now, Path(hostile)))
    shown = console.export_text() + watch.line(now)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown, "it is no markup"


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
