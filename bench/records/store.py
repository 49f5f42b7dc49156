"""Records on disk: one JSON file a run, logits beside it, written whole or not at all."""

from __future__ import annotations

import io
import json
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from bench.records.integrity import flaw
from bench.records.migrate import migrate
from bench.records.schema import FINAL, SCHEMA_VERSION, AnyRecord, Calibration, Record
from bench.system.errors import RecordError
from bench.system.files import atomic_write, sha256_bytes

__all__ = [
    "Damaged", "checksum_flaw", "checksum_of", "examine", "finished", "finished_file", "load", "load_logits",
    "logits_sha256", "path_of", "prepare_folder", "read", "save", "schema", "seal",
]  # fmt: skip

LARGEST = 64 * 2**20
"""Bytes that no record comes near: one of 25,000 test reviews takes 10 kB. A larger file is not read."""

_HEAD = b'{\n "checksum": "'
_LINE = re.compile(rb'\{\n "checksum": "([0-9a-f]{64})",\n')
"""How a file begins from schema version 2 on."""


@dataclass(frozen=True)
class Damaged:
    """A file among the records that is not a whole record, and why; it is left unchanged."""

    path: Path
    reason: str
    foreign: bool = False
    """Whether it is whole JSON of another kind, and no record at all."""


class _Foreign(ValueError):
    """Whole JSON that is no record."""


def path_of(folder: Path, record: AnyRecord) -> Path:
    """Where a record belongs: a name that a person can read, made unique by the run id."""
    if isinstance(record, Calibration):
        return folder / f"calibration-{_safe(record.encoder)}-{record.setting.device}-{record.run_id}.json"
    if not isinstance(record, Record):
        # Committed files of rules 1 and 2 keep the name that they had.
        name = "baseline" if record.rules_version > 2 or record.spec.classifier.startswith("LinearSVC") else "floor"
        return folder / f"{name}-{record.spec.train_reviews}-reviews-{record.run_id}.json"
    spec = record.spec
    rate = spec.hyperparameters.get("learning_rate")
    which = f"seed{spec.seed}" if spec.purpose == "run" else _safe(f"trial{rate}")
    return folder / f"{_safe(spec.method)}-{_safe(spec.encoder)}-{spec.requested_budget.slug}-{which}-{record.run_id}.json"


def _safe(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[:60]


def _logits_bytes(logits: npt.NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(logits, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def logits_sha256(logits: npt.NDArray[np.float32]) -> str:
    """Name the sidecar for these logits, [reviews, classes]."""
    return sha256_bytes(_logits_bytes(logits))


def prepare_folder(folder: Path) -> None:
    """Check that the folder can be written, or made, before a run starts. It is not made yet, since removing it again could
    interfere with another process: the first record makes it.

    Raises:
        RecordError: if it cannot.
    """
    try:
        # A link that leads nowhere, or to itself, does not exist and cannot be made.
        nearest = next(part for part in (folder, *folder.absolute().parents) if part.is_symlink() or part.exists())
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise RecordError(f"results cannot be written to {str(folder)!r} ({error.strerror}); choose another --out") from None


def save(folder: Path, record: AnyRecord, logits: npt.NDArray[np.float32] | None = None) -> Path:
    """Write a record, its logits first, so that no record ever names a sidecar that is not there."""
    if logits is not None:
        data = _logits_bytes(logits)
        with atomic_write(folder / "logits" / f"{sha256_bytes(data)}.npy") as file:
            file.write(data)
    path = path_of(folder, record)
    with atomic_write(path) as file:
        file.write(seal(record.model_dump_json(indent=1).encode() + b"\n"))
    return path


def seal(text: bytes) -> bytes:
    """Seal the JSON of a record, indented by one, with a second line that holds the checksum of all the others."""
    return _HEAD + sha256_bytes(text).encode() + b'",\n' + text.removeprefix(b"{\n")


def load_logits(folder: Path, sha256: str) -> npt.NDArray[np.float32]:
    """Load the logits of a run, [reviews, classes].

    Raises:
        RecordError: if the sidecar is missing or is not what its name says.
    """
    path = folder / "logits" / f"{sha256}.npy"
    try:
        data = path.read_bytes()
    except OSError:
        raise RecordError(f"the logits {sha256[:12]}… are not beside their record") from None
    if sha256_bytes(data) != sha256:
        raise RecordError(f"the logits {sha256[:12]}… were changed after they were written")
    logits: npt.NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
    return logits


def read(path: Path) -> AnyRecord:
    """Read the record in a file, whether or not its figures agree: that is for the audit to find.

    Raises:
        RecordError: if there is none.
    """
    try:
        return _record(_json(_content(path)[0]))
    except FileNotFoundError:
        raise RecordError(f"there is no record {str(path)!r}") from None
    except _Foreign as error:
        raise RecordError(f"{str(path)!r}: {error}") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{str(path)!r} is not a record: {_why(error)}") from None


def load(folder: Path, pattern: str = "*.json") -> Iterator[AnyRecord | Damaged]:
    """Every record of a folder, in the order of file names, and what else lies there as .json, or matches `pattern`.

    Records of older schema versions come as the present one. One that was edited is damaged as far as that shows at once.
    """
    for path in sorted(folder.glob(pattern)):
        yield examine(path)


def checksum_flaw(path: Path) -> str | None:
    """Say what is wrong with the checksum of a record's file; None where it holds, or where the file is too old to have one.

    Raises:
        OSError, ValueError: if the file holds no JSON.
    """
    text, checksum = _content(path)
    return _unlike(checksum, text, _json(text))


def checksum_of(path: Path) -> str:
    """Compute the checksum of a record's file from its other lines, also where the file is too old to hold one.

    Raises:
        OSError, ValueError: if there is no such file.
    """
    return sha256_bytes(_content(path)[0])


_ANY: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


def examine(path: Path, *, figures: bool = True) -> AnyRecord | Damaged:
    """Read a record, or say why there is none; with `figures`, one whose checksum or derived figures do not hold is damaged."""
    try:
        text, checksum = _content(path)
        parsed = _json(text)
        record = _record(parsed)
        broken = (_unlike(checksum, text, parsed) or flaw(record)) if figures else None
    except (OSError, ValueError) as error:
        return Damaged(path, _why(error), isinstance(error, _Foreign))
    return Damaged(path, broken) if broken else record


def _unlike(checksum: str | None, text: bytes, parsed: Any) -> str | None:
    """Say what is wrong with a checksum for the other lines of a file, which hold `parsed`."""
    if checksum is not None:
        return None if checksum == sha256_bytes(text) else "it was changed after it was written: its checksum does not hold"
    old = isinstance(parsed, dict) and parsed.get("schema_version") == 1
    return None if old else "it was changed after it was written: it does not begin with its checksum"


def _content(path: Path) -> tuple[bytes, str | None]:
    """Read a file without the line of its checksum, and the checksum where it has one."""
    status = path.stat()
    # Opening a pipe would wait for a writer, for ever.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_size > LARGEST:
        raise ValueError(f"it is larger than any record ({status.st_size / 2**20:,.0f} MiB)")
    data = path.read_bytes()
    line = _LINE.match(data)
    return (data, None) if line is None else (b"{\n" + data[line.end() :], line[1].decode())


def _json(text: bytes) -> Any:
    try:
        return from_json(text)
    except ValueError:
        raise ValueError("it is empty" if not text.strip() else "it is not whole JSON") from None


def _record(parsed: Any) -> AnyRecord:
    if not isinstance(parsed, dict) or not {"schema_version", "run_id"} & parsed.keys():
        raise _Foreign("it is not a record of this suite")
    version = parsed.get("schema_version", SCHEMA_VERSION)
    parsed = migrate(parsed)
    # Said before anything else is looked at: what else another version has is not known.
    if "schema_version" in parsed and (type(version) is not int or parsed["schema_version"] != SCHEMA_VERSION):
        newer = ", made by a newer version" if type(version) is int and version > SCHEMA_VERSION else ""
        raise ValueError(f"its schema version is {str(version)[:20]!r}{newer}; this suite reads versions 1 to {SCHEMA_VERSION}")
    return _ANY.validate_python(parsed)


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or type(error).__name__})"
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("run", "floor", "calibration"))
    return f"{where[:80] or 'it'}: {first['msg'].lower()[:200]}"


def finished(folder: Path, run_id: str) -> AnyRecord | None:
    """Find the record alone, as `finished_file` does."""
    found = finished_file(folder, run_id)
    return None if found is None else found[1]


def finished_file(folder: Path, run_id: str, *, or_damaged: bool = False) -> tuple[Path, AnyRecord] | None:
    """Find the file and the record of a run or baseline that ended in a final state in this folder; None if it is still to
    be run.

    Raises:
        RecordError: if what is there under this id is damaged: doing the run again would write over it. With `or_damaged`
            that is as if there were nothing.
    """
    for path in folder.glob(f"*-{run_id}.json"):
        record = examine(path)
        if isinstance(record, Damaged):
            if or_damaged:
                continue
            raise RecordError(
                f"{str(path)!r} is not a whole record ({record.reason}); move it away, or replace it with --force"
            )
        if not isinstance(record, Record) or record.state in FINAL:
            return path, record
    return None


def schema() -> str:
    """Format the JSON schema of a record, with the meaning of every field."""
    return json.dumps(_ANY.json_schema(), indent=1)
