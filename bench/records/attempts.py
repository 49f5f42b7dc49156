"""Earlier attempts: what `--force` replaces is kept beside the results, in `attempts/` (rules, section 7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.records.schema import AnyRecord
from bench.records.store import Damaged, checksum_of, finished_file, load, path_of, save
from bench.system.files import atomic_write

__all__ = ["ATTEMPTS", "attempt_name", "attempts", "folder_of", "save_anew"]

ATTEMPTS = "attempts"
"""The folder of earlier attempts, within that of the records. Their logits stay with those of the records."""
_DIGITS = 16


def attempt_name(record: AnyRecord, checksum: str) -> str:
    """Name the file of an earlier attempt: as the record's was, with the first digits of its checksum."""
    return f"{path_of(Path(), record).stem}-{checksum[:_DIGITS]}.json"


def folder_of(path: Path) -> Path:
    """Return the folder of results to which a record's file belongs, as a record or as an earlier attempt."""
    return path.parent.parent if path.parent.name == ATTEMPTS else path.parent


def save_anew(folder: Path, record: AnyRecord, logits: npt.NDArray[np.float32] | None = None) -> Path:
    """Replace the finished record of the same run, which is kept as an attempt.

    The copy is made first, so that a killed process loses neither.
    """
    replaced = finished_file(folder, record.run_id, or_damaged=True)
    if replaced is None:
        return save(folder, record, logits)
    earlier, its_record = replaced
    with atomic_write(folder / ATTEMPTS / attempt_name(its_record, checksum_of(earlier))) as file:
        file.write(earlier.read_bytes())
    path = save(folder, record, logits)
    if earlier.name != path.name:  # the encoder was asked for under another name
        earlier.unlink(missing_ok=True)
    return path


def attempts(folder: Path) -> Iterator[AnyRecord]:
    """Load the earlier attempts of a folder of results, in the order of file names."""
    yield from (record for record in load(folder / ATTEMPTS) if not isinstance(record, Damaged))
