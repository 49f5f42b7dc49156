"""Bring large files to a machine that accepts a limited folder at a time: cut here, join and check there.

    python -m tests.measurements.gpu.carry pack DEST [--half] [--mib N] [NAME=]PATH…
    python -m tests.measurements.gpu.carry receive LOAD STORE

`pack` writes `DEST/load-01`, `DEST/load-02`, … of at most N MiB each. Every load holds pieces and the whole manifest (name,
size and SHA-256 of each file and piece). A folder stands for the files in it; `NAME=` places a file or folder under another
name. `--half` stores the fp32 tensors of `model.safetensors` files in fp16: half as large, but another encoder hash.

`receive` copies the pieces of one load into STORE and joins each file whose pieces are all there. Loads may come in any
order and more than once. It prints what is complete and exits with 0, or with 3 while pieces are missing.

Only the standard library is used, so that it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import struct
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["BadInput", "main", "pack", "receive", "to_half"]

MANIFEST = "manifest.json"
PIECES = ".pieces"
"""Folder in the store for pieces of files that are not complete."""
MIB = 2**20
LOAD_MIB = 56
"""For transfers of at most 64 MiB that carry a checkout, too."""
MISSING = 3
"""Exit code while pieces are missing."""
_CHUNK = MIB
_TABLES = MIB
"""Bytes of a load kept free for its manifest."""


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
        name = named or path.resolve().name
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        if not files:
            raise BadInput(f"{text!r} holds no files; give another path")
        for file in files:
            whole = PurePosixPath(name, *(file.relative_to(path).parts if path.is_dir() else ()))
            if whole.is_absolute() or ".." in whole.parts or whole.parts[0] == PIECES:
                raise BadInput(f"the name {str(whole)!r} would lie outside the store; choose another NAME=")
            if str(whole) in found:
                raise BadInput(f"two files are named {str(whole)!r}; tell them apart by NAME=PATH")
            found[str(whole)] = file
    return found


def to_half(source: Path, target: Path) -> None:
    """Write a safetensors file with its F32 tensors in F16; other tensors are copied. The layout is safetensors 0.x.

    Raises:
        BadInput: if `source` is not a safetensors file, or a value is too large for fp16.
    """
    try:
        with source.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(size))
            entries = sorted(
                ((k, v) for k, v in header.items() if k != "__metadata__"), key=lambda item: int(item[1]["data_offsets"][0])
            )
    except (OSError, ValueError, struct.error, KeyError, TypeError, MemoryError, OverflowError):
        raise BadInput(f"{str(source)!r} is not a safetensors file; leave --half out") from None
    new: dict[str, Any] = {k: v for k, v in header.items() if k == "__metadata__"}
    end = 0
    for name, entry in entries:
        first, last = entry["data_offsets"]
        half = entry["dtype"] == "F32"
        length = (last - first) // 2 if half else last - first
        new[name] = {"dtype": "F16" if half else entry["dtype"], "shape": entry["shape"], "data_offsets": [end, end + length]}
        end += length
    text = json.dumps(new, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as file, target.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, entry in entries:
            first, last = entry["data_offsets"]
            file.seek(8 + size + first)
            for length in _steps(last - first):
                data = file.read(length)
                try:
                    out.write(_halved(data) if entry["dtype"] == "F32" else data)
                except (OverflowError, struct.error):
                    raise BadInput(f"{str(source)!r}: {name} holds values too large for fp16; leave --half out") from None


def _halved(data: bytes) -> bytes:
    """fp32 little-endian values as fp16, rounded to nearest even."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return struct.pack(f"<{len(values)}e", *values)


def _steps(length: int) -> Iterator[int]:
    while length:
        yield min(length, _CHUNK)
        length -= min(length, _CHUNK)


def pack(destination: Path, given: Sequence[str], *, mib: int = LOAD_MIB, half: bool = False) -> list[Path]:
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
    limit = mib * MIB - _TABLES
    files: list[dict[str, Any]] = []
    number, used = 1, 0
    with tempfile.TemporaryDirectory(dir=destination, prefix=".half-") as scratch:
        for name, path in sources.items():
            if half and path.name == "model.safetensors":
                to_half(path, Path(scratch) / path.name)
                path = Path(scratch) / path.name
            digest, pieces = sha256_of(path), []
            left = path.stat().st_size
            with path.open("rb") as file:
                while left or not pieces:
                    if used >= limit:
                        number, used = number + 1, 0
                    length = min(left, limit - used)
                    load = destination / f"load-{number:02d}"
                    load.mkdir(exist_ok=True)
                    piece = f"{digest[:16]}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.{len(pieces):03d}"
                    pieces.append({"file": piece, "size": length, "sha256": _copy(file, load / piece, length)})
                    left, used = left - length, used + length
            files.append({"name": name, "size": path.stat().st_size, "sha256": digest, "pieces": pieces})
    loads = sorted(destination.glob("load-*"))
    for load in loads:
        (load / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")
    return loads


def _copy(source: Any, target: Path, length: int) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for step in _steps(length):
            data = source.read(step)
            digest.update(data)
            out.write(data)
    return digest.hexdigest()


def receive(load: Path, store: Path) -> tuple[list[str], list[str]]:
    """Take over the pieces of a load; returns the names of the complete files and of those that lack pieces.

    Raises:
        BadInput: if the folder is no load, or a piece or a joined file has another content than the manifest says.
    """
    try:
        files = json.loads((load / MANIFEST).read_text())["files"]
        wanted = {piece["file"]: piece["sha256"] for file in files for piece in file["pieces"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{str(load)!r} is no load: its {MANIFEST} cannot be read; give a folder made by pack") from None
    pieces = store / PIECES
    pieces.mkdir(parents=True, exist_ok=True)
    done = {file["name"] for file in files if _whole(_inside(store, file["name"]), file)}
    kept = {piece["file"] for file in files if file["name"] not in done for piece in file["pieces"]}
    for name in sorted(wanted):
        path = load / name
        if name not in kept or not path.is_file():
            continue
        if sha256_of(path) != wanted[name]:
            raise BadInput(f"piece {name} of {str(load)!r} is damaged; carry this load again")
        shutil.copyfile(path, pieces / f"{name}.new")
        (pieces / f"{name}.new").replace(pieces / name)
    missing = []
    for file in files:
        if file["name"] in done:
            continue
        parts = [pieces / piece["file"] for piece in file["pieces"]]
        if all(path.is_file() for path in parts):
            _join(parts, _inside(store, file["name"]), file)
            done.add(file["name"])
        else:
            missing.append(file["name"])
    with suppress(OSError):  # not empty: pieces of files that are not complete
        pieces.rmdir()
    return [file["name"] for file in files if file["name"] in done], missing


def _inside(store: Path, name: str) -> Path:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise BadInput(f"the manifest names {name!r}, which lies outside the store; pack again")
    return store / name


def _whole(path: Path, file: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == file["size"] and sha256_of(path) == file["sha256"]


def _join(parts: Sequence[Path], target: Path, file: dict[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.joining")
    with unfinished.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, _CHUNK)
    for part in parts:
        part.unlink()
    if sha256_of(unfinished) != file["sha256"]:
        unfinished.unlink()
        raise BadInput(f"{file['name']} has another content than was packed; carry its loads again")
    unfinished.replace(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.gpu.carry", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="cut files and folders into loads")
    packing.add_argument("destination", type=Path, metavar="DEST")
    packing.add_argument("paths", nargs="+", metavar="[NAME=]PATH")
    packing.add_argument("--mib", type=int, default=LOAD_MIB, help=f"largest load in MiB (default: {LOAD_MIB})")
    packing.add_argument("--half", action="store_true", help="model.safetensors in fp16")
    receiving = commands.add_parser("receive", help="take over one load and join what is complete")
    receiving.add_argument("load", type=Path, metavar="LOAD")
    receiving.add_argument("store", type=Path, metavar="STORE")
    given = parser.parse_args(arguments)
    try:
        if given.command == "pack":
            for load in pack(given.destination, given.paths, mib=given.mib, half=given.half):
                size = sum(path.stat().st_size for path in load.iterdir())
                print(f"{load}: {size / MIB:.1f} MiB")
            return 0
        done, missing = receive(given.load, given.store)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2
    print(
        f"{len(done)} of {len(done) + len(missing)} files complete" + (f"; waiting for {', '.join(missing)}" if missing else "")
    )
    return MISSING if missing else 0


if __name__ == "__main__":
    sys.exit(main())
