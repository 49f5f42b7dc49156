"""What a run tells of itself while it goes on: a line in the file that its process holds locked, for `watch` to read.

That file is there as long as the run is, so that nothing more has to be made, swept away or told apart from what is stale. A
line is written in one piece, and at most once a second; where it cannot be, the run goes on without.

Whether the process lives is asked of the kernel by its number. Trying the lock would tell as well, but whoever tries a lock
holds it for that moment, and a run that begins in that moment would take the watcher for a process that does the same run. The
kernel's list of locks names files by numbers that are not those of `stat` on every file system.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.system.files import sha256_bytes

__all__ = ["SHARES", "Note", "Status", "going_on", "read_status", "share_of_run"]

SHARES = {"training": (0.0, 0.75), "test": (0.75, 0.2), "elsewhere": (0.95, 0.05)}
"""What part of a run is done when a phase begins, and how much the phase adds."""
EVERY = 1.0
"""Seconds between two lines of a phase."""
SILENCE = 120.0
"""Seconds without a line after which a run on another machine, whose processes cannot be asked for, counts as ended."""
_WIDTH = 2**11
"""Bytes of a line, the same for all: a shorter one leaves nothing of a longer one behind."""
_LONGEST = 100
"""Letters of a name, which JSON may write in six bytes each."""


class Status(BaseModel):
    """How far a run is."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)

    name: str = Field(max_length=_LONGEST)
    """What a person calls the run."""
    setting: str = Field(max_length=_LONGEST)
    """Encoder and reviews, by name."""
    phase: str = Field(default="set-up", max_length=20)
    share: float = Field(default=0.0, ge=0, le=1)
    """How much of the phase is done."""
    since: float | None = None
    """When the phase was begun, in seconds of the system's clock; None in set-up, and where an older version writes."""
    found: float = Field(default=0.0, ge=0, le=1)
    """How much of the phase was done then: a run that goes on from a checkpoint begins in the middle of its training."""
    began: float
    """When the run was begun, in seconds of the system's clock."""
    number: int = Field(ge=0)
    """Which of the runs that its process was asked for it is, from 1."""
    runs: int = Field(ge=0)
    """How many those are."""
    machine: str = Field(max_length=_LONGEST)
    """Where numbers of processes mean the same: a hash of the system's start and the process namespace."""
    process: int = Field(gt=0)
    born: int
    """When that process started, in the kernel's ticks: another may get its number."""


def share_of_run(phase: str, share: float, shares: dict[str, tuple[float, float]] = SHARES) -> float:
    """How much of a whole run is done."""
    before, weight = shares.get(phase, (0.0, 0.0))
    return before + weight * share


class Note:
    """Writes lines into the locked file of a run. Nothing that goes wrong here is the run's concern."""

    def __init__(self, path: Path, name: str, setting: str, number: int, runs: int) -> None:
        self._handle: int | None = None
        with suppress(OSError):
            self._handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        own = os.getpid()
        self._status = Status(
            name=_said(name), setting=_said(setting), began=time.time(), number=number, runs=runs,
            machine=_machine(), process=own, born=_born(own) or 0,
        )  # fmt: skip
        self._written = 0.0
        self._write()

    def hears(self, phase: str, share: float) -> None:
        """The run tells how much of a phase is done."""
        begins = phase != self._status.phase
        if begins or time.monotonic() - self._written >= EVERY:
            now: dict[str, str | float] = {"phase": phase[:20], "share": min(1.0, share)}
            if begins:
                now |= {"since": time.time(), "found": now["share"]}
            self._status = self._status.model_copy(update=now)
            self._write()

    def close(self) -> None:
        """The run is over; the line goes with the lock."""
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


def _said(name: str) -> str:
    """A name in a form that can be written: one that came from a path may be any bytes."""
    return name[:_LONGEST].encode(errors="replace").decode()


def read_status(path: Path) -> Status | None:
    """The line in a locked file; None where there is none, or none that is whole just now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            line = os.read(handle, _WIDTH)
        finally:
            os.close(handle)
        return Status.model_validate_json(line)
    except (OSError, ValidationError):
        return None


def going_on(path: Path, status: Status | None) -> bool:
    """Whether the run of a locked file goes on, and was not left there by a process that was killed."""
    if status is not None and status.machine == _machine():
        return _born(status.process) == status.born
    try:
        return time.time() - path.stat().st_mtime < SILENCE
    except OSError:
        return False


def _born(process: int) -> int | None:
    """When a process started; None if there is none, or it has ended and nobody has asked how."""
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
