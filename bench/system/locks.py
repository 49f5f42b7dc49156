"""Locks between processes, which the kernel releases when their holder dies, however it dies."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from bench.system.files import in_folder, sweep

__all__ = ["exclusive", "lock_path", "tidy"]

WAIT = 0.2
"""Seconds between two attempts to take a lock that another process holds."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_path(out: Path, run_id: str) -> Path:
    """Name the file that is locked while a process does a run whose record belongs in `out`."""
    return out / ".locks" / f"{run_id}.lock"


@contextmanager
def exclusive(path: Path, waits: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of `path`, a file that exists only while a process holds it or waits for it.

    `waits` is called at each attempt while another process holds it, and may raise. A file system without locks gives none,
    and no process waits.

    Raises:
        OSError: if the file cannot be made.
    """
    lock = FileLock(path, mode=0o644, poll_interval=WAIT, fallback_to_soft=False)
    try:
        in_folder(path.parent, lambda: lock.acquire(cancel_check=lambda: bool(waits())))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        # Removed while it is held, which the library leaves to its callers: one that waits for it sees that it has no name
        # any more, and makes a new one.
        path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            path.parent.rmdir()


def tidy(out: Path) -> None:
    """Remove the locks that killed processes left."""
    folder = lock_path(out, "").parent
    sweep(folder, pattern="*.lock")
    with suppress(OSError):
        folder.rmdir()
