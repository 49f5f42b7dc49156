"""Where the output of a command goes, and what a folder is called."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.system.errors import RecordError
from bench.system.files import name_of, write_out


def test_a_pipe_and_a_link_stay_what_they_are(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    link.symlink_to(target)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        write_out(pipe, b"whole", "the report")
        assert read.result(60) == b"whole"
    write_out(link, b"whole", "the report")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert target.read_bytes() == b"whole"


def test_a_device_that_takes_nothing_has_its_line() -> None:
    with pytest.raises(RecordError, match=r"the report cannot be written to '/dev/full' \(No space left on device\)"):
        write_out(Path("/dev/full"), b"whole", "the report")
    assert Path("/dev/full").is_char_device()


def test_a_folder_is_called_by_its_last_part_and_the_root_as_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_of(Path()) == name_of(tmp_path) == tmp_path.name
    assert name_of(Path("/")) == "/"
    assert name_of(Path("a\udcff")) == "a\ufffd"
