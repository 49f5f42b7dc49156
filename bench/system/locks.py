"""One process at a time: a lock that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.system.files import present

__all__ = ["alone", "lock_path", "tidy"]

WAIT = 0.2
"""Seconds between two looks at a lock that another process holds."""


def lock_path(out: Path, run_id: str) -> Path:
    """The file that is locked while a process does a run whose record belongs in `out`."""
    return out / ".locks" / f"{run_id}.lock"


@contextmanager
def alone(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of `path`, which is there only as long as someone holds it or waits for it.

    `waits` is called at each look while another process holds it, and may raise. A file system without locks gives none, and
    nobody waits.

    Raises:
        OSError: if the file cannot be made.
    """
    handle = _locked(path, waits)
    try:
        yield
    finally:
        # Removed before it is let go of: whoever waits for it sees that and makes a new one.
        path.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):
            path.parent.rmdir()


def tidy(out: Path) -> None:
    """Remove the locks that processes left when they were killed."""
    folder = lock_path(out, "").parent
    for path in present(folder, "*.lock"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_nlink:
                    path.unlink()
            finally:
                os.close(handle)
    with suppress(OSError):
        folder.rmdir()


def _locked(path: Path, waits: Callable[[], None]) -> int:
    while True:
        handle = _opened(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            waits()
            time.sleep(WAIT)
            continue
        except OSError:
            return handle
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)


def _opened(path: Path, tries: int = 20) -> int:
    """A handle of the file, which is made with its folder; another process may be removing that folder when it is empty."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        if not tries:
            raise
        return _opened(path, tries - 1)
