"""Bring large files to a machine that accepts a limited folder at a time: cut here, join and check there.

    python -m tests.measurements.gpu.carry pack DEST [--mib N] [NAME=]PATH…
    python -m tests.measurements.gpu.carry receive LOAD STORE

`pack` writes a tar archive of the paths as `DEST/load-01`, `DEST/load-02`, … of at most N MiB each. Every load holds a piece
and the SHA-256 of all pieces. `NAME=` places a file or folder under another name.

`receive` copies the piece of one load into STORE and unpacks the archive when all are there. Loads may come in any order and
more than once. It exits with 0 when all is unpacked, or with 3 while pieces are missing. It uses the standard library alone,
so that it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

__all__ = ["BadInput", "main", "pack", "receive"]

MANIFEST = "manifest.json"
MIB = 2**20
LOAD_MIB = 56
"""Largest load, where no other size is asked for."""
MISSING = 3
"""Exit code while pieces are missing."""


class BadInput(Exception):
    """What the caller can mend, in one line."""


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sources(given: Sequence[str]) -> dict[str, Path]:
    """Name in the store → file here."""
    found: dict[str, Path] = {}
    for text in given:
        named, rest = ("", text) if Path(text).exists() else text.partition("=")[::2]
        path = Path(rest)
        if not rest or not path.exists():
            raise BadInput(f"{text!r} is no file or folder, nor NAME= before one; give an existing path")
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        if not files:
            raise BadInput(f"{text!r} holds no files; give another path")
        for file in files:
            whole = PurePosixPath(named or path.resolve().name, file.relative_to(path))
            if whole.is_absolute() or ".." in whole.parts:
                raise BadInput(f"the name {str(whole)!r} would lie outside the store; choose another NAME=")
            if str(whole) in found:
                raise BadInput(f"two files are named {str(whole)!r}; tell them apart by NAME=PATH")
            found[str(whole)] = file
    return found


class _Loads(io.RawIOBase):
    """A stream that is written into one load after another."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit, self.pieces = folder, limit, list[Path]()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        used = self.pieces[-1].stat().st_size if self.pieces else self.limit
        if used >= self.limit:
            number, used = f"{len(self.pieces) + 1:02d}", 0
            self.pieces.append(self.folder / f"load-{number}" / f"piece-{number}")
            self.pieces[-1].parent.mkdir()
        with self.pieces[-1].open("ab") as out:
            return out.write(data[: self.limit - used])


def pack(destination: Path, given: Sequence[str], *, mib: int = LOAD_MIB) -> list[Path]:
    """Cut files into loads; returns the folders of the loads.

    Raises:
        BadInput: if a path does not exist, names clash, or the destination holds loads already.
    """
    if not 2 <= mib <= 1024:
        raise BadInput(f"--mib {mib} must be between 2 and 1024")
    sources = _sources(given)
    if destination.exists() and any(destination.iterdir()):
        raise BadInput(f"{str(destination)!r} is not empty; remove it or give another folder")
    destination.mkdir(parents=True, exist_ok=True)
    loads = _Loads(destination, (mib - 1) * MIB)  # the manifest has the rest
    with io.BufferedWriter(loads, MIB) as out, tarfile.open(fileobj=out, mode="w|", dereference=True) as archive:
        for name, path in sources.items():
            archive.add(path, name)
    manifest = json.dumps({piece.name: sha256_of(piece) for piece in loads.pieces}, indent=1) + "\n"
    for piece in loads.pieces:
        (piece.parent / MANIFEST).write_text(manifest)
    return [piece.parent for piece in loads.pieces]


def receive(load: Path, store: Path) -> list[str]:
    """Take over the piece of a load, and unpack the archive if it was the last; returns the names of the missing pieces.

    Raises:
        BadInput: if the folder is no load, or its piece has another content than the manifest says.
    """
    try:
        text = (load / MANIFEST).read_text()
        wanted: dict[str, str] = dict(json.loads(text))
        (name,) = [path.name for path in load.iterdir() if path.name in wanted]
    except (OSError, ValueError, TypeError):
        raise BadInput(f"{str(load)!r} is no load: no piece that its {MANIFEST} names; give a folder made by pack") from None
    folder = store / f".pieces-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    done = folder / "unpacked"
    if done.exists():
        return []
    if sha256_of(load / name) != wanted[name]:
        raise BadInput(f"{name} of {str(load)!r} is damaged; carry this load again")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(load / name, folder / f"{name}.new")
    (folder / f"{name}.new").replace(folder / name)
    pieces = [folder / piece for piece in wanted]
    if missing := [piece.name for piece in pieces if not piece.exists()]:
        return missing
    with tempfile.TemporaryFile(dir=folder) as whole:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, whole)
            piece.unlink()
        whole.seek(0)
        with tarfile.open(fileobj=whole) as archive:
            archive.extractall(store, filter="data")
    done.touch()
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.gpu.carry", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="cut files and folders into loads")
    packing.add_argument("destination", type=Path, metavar="DEST")
    packing.add_argument("paths", nargs="+", metavar="[NAME=]PATH")
    packing.add_argument("--mib", type=int, default=LOAD_MIB, help=f"largest load in MiB (default: {LOAD_MIB})")
    receiving = commands.add_parser("receive", help="take over one load; unpack when all are there")
    receiving.add_argument("load", type=Path, metavar="LOAD")
    receiving.add_argument("store", type=Path, metavar="STORE")
    given = parser.parse_args(arguments)
    try:
        if given.command == "pack":
            print(*pack(given.destination, given.paths, mib=given.mib), sep="\n")
            return 0
        missing = receive(given.load, given.store)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"waiting for {', '.join(missing)}" if missing else "complete")
    return MISSING if missing else 0


if __name__ == "__main__":
    sys.exit(main())
