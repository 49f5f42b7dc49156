"""Trained weights kept for use: `adapters/<run id>/` beside the records, in the layout of the method's library.

A folder holds the files that the method saved, `head.safetensors`, and `card.json`, which says what they belong to. It is
built under a hidden name and renamed when it is whole. Nothing in it is a pickle, and nothing names the machine.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from bench.records.schema import SENTIMENT, Calibration, DataCut, Encoder, Record
from bench.records.spec import Part, RunSpec
from bench.records.store import load, path_of, read
from bench.system.errors import BenchError, RecordError
from bench.system.files import existing, sha256_file, temporary_folder
from methods import Method, MethodError

if TYPE_CHECKING:
    from bench.models.classifier import Classifier

__all__ = ["CARD", "HEAD", "Card", "Saved", "saved_runs", "find", "find_folder", "publish", "stage", "write"]

FOLDER, CARD, HEAD = "adapters", "card.json", "head.safetensors"
_SUFFIXES = {".json", ".safetensors"}
_RERUN = "--force --save runs it again"


class Card(Part):
    """Provenance of a saved folder: enough to use it without the record."""

    schema_version: Literal[1] = 1
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    record: str
    """File name of the run's record."""
    spec: RunSpec
    """Method, encoder's name, maximum length, truncation and all else that was decided before the run."""
    encoder: Encoder
    """The encoder that it was trained on, by content; no other will do."""
    data: DataCut
    """The reviews that it was trained on, by content."""
    labels: tuple[str, ...] = SENTIMENT
    """Names of the classes, in the order of the logits."""
    logits_sha256: str
    """Hash of the run's test logits, to verify a repeated test."""
    files: dict[str, str]
    """SHA-256 of each file beside this one, by name."""


@dataclass(frozen=True)
class Saved:
    """A saved folder and its card."""

    folder: Path
    card: Card

    @property
    def name(self) -> str:
        """Method and run id, for messages."""
        return f"{self.card.spec.method} {self.card.run_id}"

    def verified(self) -> Saved:
        """Return itself, once every file matches its hash on the card.

        Raises:
            RecordError: naming the file that is missing, changed, or neither JSON nor safetensors.
        """
        for name, sha256 in self.card.files.items():
            # The libraries would fall back to a pickle where their safetensors file is missing.
            if Path(name).name != name or Path(name).suffix not in _SUFFIXES:
                raise RecordError(f"{self.name}: its card names {name!r}, but only .json and .safetensors are loaded")
            try:
                same = sha256_file(self.folder / name) == sha256
            except OSError:
                raise RecordError(f"{self.name}: {name} is not in its folder; {_RERUN}") from None
            if not same:
                raise RecordError(f"{self.name}: {name} was changed after it was saved; {_RERUN}")
        return self


@contextmanager
def stage(out: Path, run_id: str) -> Iterator[Path]:
    """Make a hidden folder to save into, as an absolute path; it is removed at the end unless published.

    Raises:
        RecordError: if it cannot be made.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_folder((out / FOLDER).resolve(), run_id))
        except OSError as error:
            raise RecordError(
                f"nothing can be saved in {str(out / FOLDER)!r} ({error.strerror}); choose another --out"
            ) from None
        yield folder


def write(method: Method, classifier: Classifier, folder: Path) -> None:
    """Write what the method trained and the head into an empty folder.

    Raises:
        MethodError: if the method writes anything but files of JSON and safetensors, or takes a name that is not its own.
    """
    from safetensors.torch import save_file

    method.save(classifier.encoder, folder)
    for path in folder.iterdir():
        if not path.is_file() or path.suffix not in _SUFFIXES or path.name in (CARD, HEAD):
            raise MethodError(f"{method.name} saves {path.name}, which cannot be kept: only .json and .safetensors files are")
    head = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.head.state_dict().items()}
    save_file(head, folder / HEAD)


def publish(staging: Path, out: Path, record: Record) -> Path:
    """Add the card to a staged folder and rename it into place; it replaces that of an earlier run of the same id.

    Raises:
        RecordError: if the disk does not take it.
    """
    assert record.test is not None
    assert record.test.logits_sha256 is not None
    target, old = out / FOLDER / record.run_id, staging.with_name(f".old{staging.name}")
    try:
        card = Card(
            run_id=record.run_id, record=path_of(out, record).name, spec=record.spec, encoder=record.encoder, data=record.data,
            labels=tuple(record.data.labels), logits_sha256=record.test.logits_sha256,
            files={path.name: sha256_file(path) for path in sorted(staging.iterdir())},
        )  # fmt: skip
        (staging / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for path in (*staging.iterdir(), staging):
            path.chmod(0o755 if path.is_dir() else 0o644)
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        if target.exists():
            target.rename(old)  # a folder takes no other's place
        staging.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise RecordError(
            f"the weights of {record.spec.method} cannot be saved ({error.strerror}); free some room and repeat the command"
        ) from None
    return target


def _open(folder: Path) -> Saved:
    try:
        card = Card.model_validate_json((folder / CARD).read_bytes())
    except FileNotFoundError:
        raise RecordError(
            f"{str(folder)!r} is no saved folder: it has no {CARD}; name a run, its record or its folder"
        ) from None
    except (OSError, ValidationError) as error:
        raise RecordError(f"{CARD} in {folder.name!r} cannot be read ({type(error).__name__}); {_RERUN}") from None
    return Saved(folder, card)


def _of_record(out: Path, record: Record) -> Saved | None:
    """Open the folder of this very execution of a run: with --force and without --save there may be another's."""
    folder = out / FOLDER / record.run_id
    if not folder.is_dir():
        return None
    saved = _open(folder)
    return saved if record.test is not None and record.test.logits_sha256 == saved.card.logits_sha256 else None


def find_folder(out: Path, record: Record) -> Path | None:
    """Return the folder of this record's trained weights; None where they were not saved or cannot be read."""
    with suppress(BenchError):
        if saved := _of_record(out, record):
            return saved.folder
    return None


def saved_runs(out: Path) -> list[Saved]:
    """List the saved folders beside the records in `out`, by run id; those without a readable card are left out."""
    runs: list[Saved] = []
    for folder in sorted((out / FOLDER).glob("[0-9a-f]*")):
        with suppress(BenchError):
            runs.append(_open(folder))
    return runs


def find(run: str, out: Path) -> Saved:
    """Find the saved folder of a run, named by its id (at least four digits), its record or that folder.

    Raises:
        RecordError: if there is none, several begin so, or the record is of another execution of the run.
    """
    path = existing(run)
    if path is not None and path.is_dir():
        return _open(path)
    if path is not None and path.is_file():
        record = read(path)
        if not isinstance(record, Record):
            kind = "calibration" if isinstance(record, Calibration) else "baseline"
            raise RecordError(f"{path.name} is the record of a {kind}, of which nothing is saved; name a run")
        return _saved_run(path.parent, record)
    if not re.fullmatch(r"[0-9a-f]{4,16}", run, flags=re.ASCII):
        raise RecordError(f"run {run!r} is neither a run id (four digits or more), nor a record or a saved folder")
    records = [item for item in load(out) if isinstance(item, Record) and item.run_id.startswith(run)]
    matches = [saved for saved in saved_runs(out) if saved.card.run_id.startswith(run)]
    ids = sorted({record.run_id for record in records} | {saved.card.run_id for saved in matches})
    if not ids:
        raise RecordError(f"no run in {str(out)!r} has an id that begins with {run}; --results names another folder of records")
    if len(ids) > 1:
        raise RecordError(f"run {run} could be {', '.join(ids[:4])}{' and more' * (len(ids) > 4)}; give more digits")
    return _saved_run(out, records[0]) if records else matches[0]


def _saved_run(out: Path, record: Record) -> Saved:
    saved = _of_record(out, record)
    if saved is None:
        what = f"{record.spec.method} {record.run_id}"
        if record.state != "complete" or record.spec.purpose != "run":
            kind = "a tuning trial" if record.spec.purpose == "trial" else record.state
            raise RecordError(f"{what} is {kind}, which has no saved weights; name a complete run")
        raise RecordError(f"{what} was finished without --save; {_RERUN}")
    return saved
