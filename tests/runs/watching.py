"""A run that is held as if it went on, and what `watch` says of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.runs.status import Note
from bench.system.locks import exclusive, lock_path
from tests.conftest import call

RUN = "a" * 16


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
