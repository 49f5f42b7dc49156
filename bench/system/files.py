"""Files: where the cache is, content hashes, and writes that are whole or absent."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar
from zipfile import BadZipFile

from bench.system.errors import RecordError, SpecError

__all__ = [
    "RUNS", "TEMPORARY", "atomic_write", "cache_dir", "cached", "existing", "expanded", "in_folder", "name_of", "present",
    "sha256_bytes", "sha256_file", "sweep", "temporary_folder", "write_out",
]  # fmt: skip

T = TypeVar("T")
RUNS = Path("results/runs")
"""Folder of records, unless another is named."""
TEMPORARY = ".bench.tmp"
"""How the names of unfinished files and folders end; they begin with a dot."""


def cache_dir() -> Path | None:
    """Return the folder for what can be made again (tokenised reviews, content hashes).

    `ADAPTER_BENCH_CACHE`, or `adapter-bench` under `XDG_CACHE_HOME` or `~/.cache`; None where it cannot be written,
    and then nothing is cached.
    """
    try:
        configured = os.environ.get("ADAPTER_BENCH_CACHE")
        base = os.environ.get("XDG_CACHE_HOME")
        folder = Path(configured) if configured else Path(base or Path.home() / ".cache") / "adapter-bench"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` once it is written and on disk, or leaves no trace."""
    handle, temporary = _locked(path.parent, path.name, tempfile.mkstemp)
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


def write_out(path: Path, content: bytes, label: str) -> None:
    """Write the output of a command to its `--out`; errors call it `label`. A link, a device and a pipe stay what they are.

    Raises:
        RecordError: if it cannot be written.
    """
    try:
        through = path.is_symlink() or (path.exists() and not path.is_file())
        with path.open("wb") if through else atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise RecordError(f"{label} cannot be written to {str(path)!r} ({error.strerror}); choose another --out") from None


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make an empty folder in `parent`, locked against `sweep`, and remove it with what is in it at the end.

    Raises:
        OSError: if it cannot be made.
    """

    def make(*args: Any) -> tuple[int, str]:
        path = tempfile.mkdtemp(*args)
        return os.open(path, os.O_RDONLY), path

    handle, folder = _locked(parent, name, make)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(parent: Path, name: str, make: Callable[[str, str, Path], tuple[int, str]]) -> tuple[int, Path]:
    """Make a temporary file or folder and lock it; again if `sweep` of another process removes it between the two."""
    while True:
        handle, created = in_folder(parent, lambda: make(TEMPORARY, f".{name[:80]}.", parent))
        with suppress(OSError):  # a file system without locks: nothing is ever swept there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if (path := Path(created)).exists():
            return handle, path
        os.close(handle)


def in_folder(folder: Path, act: Callable[[], T], tries: int = 100) -> T:
    """Make `folder` and act in it; again if another process, which finds the folder empty, removes it between the two.

    Raises:
        OSError: if either cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return act()
    except (FileNotFoundError, FileExistsError):  # the second from mkdir, if the folder goes as it looks at what exists
        if not tries or folder.is_file():
            raise
    return in_folder(folder, act, tries - 1)


def expanded(name: str) -> Path:
    """Return the path that a person names, with the home folder in the place of a `~` or `~user` that it begins with.

    Raises:
        SpecError: if there is no such home folder.
    """
    text = os.path.expanduser(name)  # noqa: PTH111  to Path './~x' is '~x'
    if text.startswith("~"):
        home = name.partition("/")[0]
        raise SpecError(f"{name!r} cannot be a path (there is no home folder {home!r}); name another, or write './{name}'")
    path = Path(text)
    return path.absolute() if str(path).startswith("~") else path


def existing(name: str) -> Path | None:
    """Return the path that a person names, if something is there; None also for a text that can be no path."""
    try:
        path = expanded(name)
        return path if name and path.exists() else None
    except (OSError, ValueError, SpecError):  # too long, a NUL, or ~ of an unknown user
        return None


def present(folder: Path, pattern: str) -> list[Path]:
    """List what matches in a folder; nothing where there is no folder, also if another process removes it meanwhile."""
    try:
        return list(folder.glob(pattern))
    except OSError:  # also of a name that no folder can have
        return []


def sweep(*folders: Path, pattern: str = f".*{TEMPORARY}") -> None:
    """Remove from these folders the temporary files and folders that killed processes left.

    Those whose writer lives are locked, and stay.
    """
    for folder in folders:
        for path in present(folder, pattern):
            with suppress(OSError):
                # NFS locks only what is open for writing; a folder cannot be.
                access = os.O_RDONLY if path.is_dir() else os.O_RDWR
                handle = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(handle).st_nlink:  # else it was removed meanwhile, and the name may be another file's
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                finally:
                    os.close(handle)


def name_of(folder: Path) -> str:
    """Return the last part of a folder's path as text that a record can hold: a path may be any bytes.

    The root has no last part, and is named as it is given.
    """
    return os.fsencode(folder.resolve().name or folder).decode("utf-8", "replace")


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content, cached by path, size, inode and time of last change."""
    status = path.stat()
    about = f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}"
    key = sha256_bytes(os.fsencode(path.resolve()) + about.encode())

    def make() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return cached(
        f"hashes/{key}.json",
        lambda file: str(json.load(file)["sha256"]),
        make,
        lambda file, digest: file.write(json.dumps({"sha256": digest}).encode()),
    )


def cached(place: str, load: Callable[[IO[bytes]], T], make: Callable[[], T], dump: Callable[[IO[bytes], T], object]) -> T:
    """Load a value from the file `place` of the cache; where that is absent or damaged, make it and write it there."""
    cache = cache_dir()
    if cache is None:
        return make()
    with (
        suppress(OSError, ValueError, LookupError, EOFError, AttributeError, TypeError, BadZipFile),
        (cache / place).open("rb") as file,
    ):
        return load(file)
    value = make()
    with suppress(OSError), atomic_write(cache / place) as file:  # a cache that cannot be written costs time, not a run
        dump(file, value)
    return value
