"""Files: where the cache is, content hashes, and writes that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["atomic_write", "cache_dir", "sha256_bytes", "sha256_file"]


def cache_dir() -> Path | None:
    """The folder for what can be made again (tokenised reviews, content hashes, the machine's quiet rate).

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
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content, remembered by path, size and time of last change."""
    status = path.stat()
    cache = cache_dir()
    key = sha256_bytes(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}".encode())
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
