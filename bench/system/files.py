"""Files: where the cache is, content hashes, and writes that are whole or absent."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench.system.errors import RecordError

__all__ = [
    "TEMPORARY",
    "atomic_write",
    "cache_dir",
    "name_of",
    "present",
    "sha256_bytes",
    "sha256_file",
    "sweep",
    "temporary_file",
    "temporary_folder",
    "write_out",
]

TEMPORARY = ".bench.tmp"
"""How the names of unfinished files and folders end; they begin with a dot."""


def cache_dir() -> Path | None:
    """The folder for what can be made again (tokenised reviews, content hashes).

    `ADAPTER_BENCH_CACHE`, or `adapter-bench` under `XDG_CACHE_HOME` or `~/.cache`; None where it cannot be written,
    and then nothing is cached.
    """
    try:
        named = os.environ.get("ADAPTER_BENCH_CACHE")
        base = os.environ.get("XDG_CACHE_HOME")
        folder = Path(named) if named else Path(base or Path.home() / ".cache") / "adapter-bench"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` once it is written and on disk, or leaves no trace."""
    handle, temporary = temporary_file(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)
            os.fchmod(handle, 0o644)
            temporary.replace(path)  # before it is closed: until then its lock keeps it from being swept away
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_out(path: Path, content: bytes, what: str) -> None:
    """Write what was asked for with `--out`, `what` in words.

    Raises:
        RecordError: if it cannot be written.
    """
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise RecordError(f"{what} cannot be written to {str(path)!r} ({error.strerror}); choose another --out") from None


def temporary_file(path: Path, tries: int = 20) -> tuple[int, Path]:
    """A new file beside `path`, open and locked for as long as this process has it open, so that `sweep` leaves it alone.

    Its folder is made; another process may be removing that as long as it is empty.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=TEMPORARY, dir=path.parent)
    except FileNotFoundError:
        if not tries:
            raise
        return temporary_file(path, tries - 1)
    with suppress(OSError):  # a file system without locks: nothing is ever swept there
        fcntl.flock(handle, fcntl.LOCK_EX)
    if os.fstat(handle).st_nlink or not tries:
        return handle, Path(name)
    os.close(handle)  # swept away between its making and its lock
    return temporary_file(path, tries - 1)


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new empty folder in `parent`, which is made, to be removed at the end; `sweep` leaves it alone until then.

    Raises:
        OSError: if it cannot be made.
    """
    handle, folder = _locked_folder(parent, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked_folder(parent: Path, name: str, tries: int = 20) -> tuple[int, Path]:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name[:80]}.", suffix=TEMPORARY, dir=parent))
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        if not tries:
            raise
        return _locked_folder(parent, name, tries - 1)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    if folder.exists() or not tries:
        return handle, folder
    os.close(handle)
    return _locked_folder(parent, name, tries - 1)


def present(folder: Path, pattern: str) -> list[Path]:
    """What matches in a folder now; nothing where there is no folder, also if another process removes it this moment."""
    try:
        return list(folder.glob(pattern))
    except FileNotFoundError:
        return []


def sweep(*folders: Path) -> None:
    """Remove from these folders the temporary files and folders that a process left when it was killed.

    The lock of one whose writer lives is taken, and it stays.
    """
    for folder in folders:
        for path in present(folder, f".*{TEMPORARY}"):
            with suppress(OSError):
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                finally:
                    os.close(handle)


def name_of(folder: Path) -> str:
    """The last part of a folder's path, as text that a record can hold: a path may be any bytes."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "replace")


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content, remembered by path, size and time of last change."""
    status = path.stat()
    cache = cache_dir()
    about = f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}"
    key = sha256_bytes(os.fsencode(path.resolve()) + about.encode())
    remembered = cache / "hashes" / f"{key}.json" if cache else None
    if remembered is not None:
        try:
            return str(json.loads(remembered.read_text())["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if remembered is not None:
        try:
            with atomic_write(remembered) as out:
                out.write(json.dumps({"sha256": digest}).encode())
        except OSError:
            pass  # a cache that cannot be written costs time, not a run
    return digest
