"""The status of a run while it executes: a line in its lock file, for `watch` to read.

The file exists as long as the run, so that there is no other file to remove and none is stale. A line is
written in one piece, at most once a second; where it cannot be written, the run continues without.

The process id shows whether the run lives. Trying the lock would too, but takes it for a moment, in which a starting run
would wait for the watcher. The kernel's list of locks names files by numbers that differ from those of `stat` on some file
systems.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError

from bench.records.spec import Part
from bench.system.files import sha256_bytes

__all__ = ["Note", "Status", "is_running", "read_status", "share_of_run"]

_SHARES = {"training": (0.0, 0.75), "test": (0.75, 0.2), "elsewhere": (0.95, 0.05)}
"""Share of a run that is done when a phase starts, and the share of the phase."""
EVERY = 1.0
"""Seconds between two lines of a phase."""
SILENCE = 120.0
"""Seconds without a line after which a run on another machine, whose processes cannot be looked up, counts as ended."""
_WIDTH = 2**11
"""Bytes of every line: a shorter one leaves nothing of a longer one behind."""
_LONGEST = 100
"""Letters of a name, each of up to six bytes in JSON."""


class Status(Part):
    """How far a run is."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=_LONGEST)
    """As `run_name` gives it."""
    setting: str = Field(max_length=_LONGEST)
    """Encoder and reviews, by name."""
    phase: str = Field(default="set-up", max_length=20)
    share: float = Field(default=0.0, ge=0, le=1)
    """How much of the phase is done."""
    since: float | None = None
    """When the phase started, in seconds of the system's clock; None in set-up, and from older versions."""
    found: float = Field(default=0.0, ge=0, le=1)
    """Share of the phase that was done at its start: a resumed run starts in the middle of its training."""
    began: float
    """When the run started, in seconds of the system's clock."""
    number: int = Field(ge=0)
    """Its place among the runs of its process, from 1."""
    runs: int = Field(ge=0)
    """Number of runs of its process."""
    machine: str = Field(max_length=_LONGEST)
    """Where process ids mean the same: a hash of the system's start and the process namespace."""
    process: int = Field(gt=0)
    born: int
    """When that process started, in the kernel's ticks: another may get its id."""


def share_of_run(phase: str, share: float) -> float:
    """Return the share of a whole run that is done."""
    before, weight = _SHARES.get(phase, (0.0, 0.0))
    return before + weight * share


class Note:
    """Writer of status lines into the lock file of a run. Its failures do not reach the run."""

    def __init__(self, path: Path, name: str, setting: str, number: int, runs: int) -> None:
        self._handle: int | None = None
        with suppress(OSError):
            self._handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        own = os.getpid()
        self._status = Status(
            name=_writable(name), setting=_writable(setting), began=time.time(), number=number, runs=runs,
            machine=_machine(), process=own, born=_born(own) or 0,
        )  # fmt: skip
        self._written = 0.0
        self._write()

    def update(self, phase: str, share: float) -> None:
        """Write the share of a phase that is done."""
        starts = phase != self._status.phase
        if starts or time.monotonic() - self._written >= EVERY:
            now: dict[str, str | float] = {"phase": phase[:20], "share": min(1.0, share)}
            if starts:
                now |= {"since": time.time(), "found": now["share"]}
            self._status = self._status.model_copy(update=now)
            self._write()

    def close(self) -> None:
        """Close the file; the line goes with the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._handle is not None:
            with suppress(OSError, ValueError):
                line = self._status.model_dump_json(ensure_ascii=True).encode()
                if len(line) < _WIDTH:
                    os.pwrite(self._handle, line.ljust(_WIDTH - 1) + b"\n", 0)


def _writable(name: str) -> str:
    """Make a name that can be written: one that came from a path may be any bytes."""
    return name[:_LONGEST].encode(errors="replace").decode()


def read_status(path: Path) -> Status | None:
    """Read the line in a lock file; None if there is none, or none that is whole just now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            line = os.read(handle, _WIDTH)
        finally:
            os.close(handle)
        return Status.model_validate_json(line)
    except (OSError, ValidationError):
        return None


def is_running(path: Path, status: Status | None) -> bool:
    """Return whether the run of a lock file executes, and the file was not left by a killed process."""
    if status is not None and status.machine == _machine():
        return _born(status.process) == status.born
    try:
        return time.time() - path.stat().st_mtime < SILENCE
    except OSError:
        return False


def _born(process: int) -> int | None:
    """Return when a process started; None if there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@cache
def _machine() -> str:
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return sha256_bytes(f"{started} {Path('/proc/self/ns/pid').readlink()}".encode())[:16]
    except OSError:
        return "unknown"
