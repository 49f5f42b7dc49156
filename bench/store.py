"""Records on disk: one JSON file a run, logits beside it, written whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from bench.errors import UserError
from bench.files import atomic_write, sha256_bytes
from bench.record import FINAL, SCHEMA_VERSION, AnyRecord, Floor, FloorSpec, Record

__all__ = ["Damaged", "finished", "load", "load_logits", "logits_sha256", "path_of", "prepare_folder", "read", "save", "schema"]


@dataclass(frozen=True)
class Damaged:
    """A file among the records that is not one, and why; it is left as it is."""

    path: Path
    reason: str


def path_of(folder: Path, record: Record | Floor) -> Path:
    """Where a record belongs: a name that a person can read, made unique by the run id."""
    spec = record.spec
    if isinstance(spec, FloorSpec):
        return folder / f"floor-{spec.train_reviews}-reviews-{record.run_id}.json"
    rate = spec.hyperparameters.get("learning_rate")
    which = f"seed{spec.seed}" if spec.purpose == "run" else _safe(f"trial{rate}")
    return folder / f"{_safe(spec.method)}-{_safe(spec.encoder)}-{spec.budget.slug}-{which}-{record.run_id}.json"


def _safe(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[:60]


def _logits_bytes(logits: npt.NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(logits, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def logits_sha256(logits: npt.NDArray[np.float32]) -> str:
    """The name of the sidecar for these logits, [reviews, 2]."""
    return sha256_bytes(_logits_bytes(logits))


def prepare_folder(folder: Path) -> None:
    """See that the folder can be made and written, before anything is spent on a run. Nothing stays of the attempt: the
    first record makes the folder.

    Raises:
        UserError: if it cannot.
    """
    made: list[Path] = []
    try:
        made += [part for part in (folder, *folder.parents) if not part.exists()]
        with atomic_write(folder / ".writable") as file:
            file.write(b"")
        (folder / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"results cannot be written to {str(folder)!r} ({error.strerror}); choose another --out") from None
    finally:
        for part in made:
            with suppress(OSError):
                part.rmdir()


def save(folder: Path, record: Record | Floor, logits: npt.NDArray[np.float32] | None = None) -> Path:
    """Write a record, its logits first, so that no record ever names a sidecar that is not there."""
    if logits is not None:
        data = _logits_bytes(logits)
        with atomic_write(folder / "logits" / f"{sha256_bytes(data)}.npy") as file:
            file.write(data)
    path = path_of(folder, record)
    with atomic_write(path) as file:
        file.write(record.model_dump_json(indent=1).encode() + b"\n")
    return path


def load_logits(folder: Path, sha256: str) -> npt.NDArray[np.float32]:
    """The logits of a run, [reviews, 2].

    Raises:
        UserError: if the sidecar is missing or is not what its name says.
    """
    path = folder / "logits" / f"{sha256}.npy"
    try:
        data = path.read_bytes()
    except OSError:
        raise UserError(f"the logits {sha256[:12]}… are not beside their record") from None
    if sha256_bytes(data) != sha256:
        raise UserError(f"the logits {sha256[:12]}… were changed after they were written")
    logits: npt.NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
    return logits


def read(path: Path) -> Record | Floor:
    """The record in a file.

    Raises:
        UserError: if there is none.
    """
    try:
        return _parse(path)
    except FileNotFoundError:
        raise UserError(f"there is no record {str(path)!r}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} is not a record: {_why(error)}") from None


def load(folder: Path) -> Iterator[Record | Floor | Damaged]:
    """Every record of a folder, in the order of file names, and what else lies there as .json."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield _parse(path)
        except (OSError, ValueError) as error:
            yield Damaged(path, _why(error))


_ANY: TypeAdapter[Record | Floor] = TypeAdapter(AnyRecord)


def _parse(path: Path) -> Record | Floor:
    # pydantic reads the JSON itself, which is what makes thousands of records quick.
    return _ANY.validate_json(path.read_bytes())


def _why(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"it cannot be read ({type(error).__name__})"
    first = error.errors(include_url=False, include_input=True)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("run", "floor"))
    if first["type"] == "json_invalid":
        return "it is not whole JSON"
    if where == "schema_version":
        return f"its schema version is {str(first['input'])[:20]!r}; this suite reads version {SCHEMA_VERSION}"
    return f"{where or 'it'}: {first['msg'].lower()}"


def finished(folder: Path, run_id: str) -> Record | Floor | None:
    """The record of a run or floor that has ended in a final state in this folder; None if it is still to be run."""
    for path in folder.glob(f"*-{run_id}.json"):
        try:
            record = _parse(path)
        except (OSError, ValueError):
            continue
        if isinstance(record, Floor) or record.state in FINAL:
            return record
    return None


def schema() -> str:
    """The JSON schema of a record, with the meaning of every field."""
    return json.dumps(_ANY.json_schema(), indent=1)
