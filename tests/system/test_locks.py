"""Locks between processes that remove their file while they hold it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.system.locks import lock_path

TAKE_TURNS = """import pathlib, sys
from bench.system import locks
locks.WAIT = 0.001
out = pathlib.Path(sys.argv[1])
for _ in range(40):
    with locks.exclusive(locks.lock_path(out, "a" * 16), lambda: None):
        count = int((out / "count").read_text())
        (out / "count").write_text(str(count + 1))
"""


def test_processes_take_turns_although_each_removes_the_file(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", TAKE_TURNS, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "160"
    assert not lock_path(tmp_path, "a").parent.exists()
