"""Load the records of a report as comparable groups and tuning trials."""

from __future__ import annotations

import difflib
import glob
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import methods
from bench.analysis.comparison import Group, compare
from bench.analysis.sensitivity import Sensitivity, sensitivities
from bench.records.attempts import attempts, folder_of
from bench.records.schema import AnyRecord, Baseline, Record
from bench.records.store import Damaged, load
from bench.rules import MARGIN
from bench.system.errors import RecordError, SpecError
from bench.system.text import harmless

__all__ = ["folders", "items", "quoted", "read", "records", "unique"]


def read(
    sources: Path | Sequence[Path], reference: str, left_out: list[Damaged] | None = None, margin: float = MARGIN
) -> tuple[list[Group], list[Sensitivity]]:
    """Read records, files and folders of them, into comparable groups and tuning trials, of which one may be empty.

    Differences within `margin` count as equivalent. Other files of a folder are added to `left_out`.

    Raises:
        RecordError: as `records`.
        SpecError: if there is no record of a method called `reference`.
    """
    loaded = records(sources, left_out)
    compared, trials = compare(loaded, reference, methods.names(), margin), sensitivities(loaded, methods.names())
    if not compared and not trials:
        raise _no_records(sources)
    available = sorted({row.method for group in compared for row in group.rows})
    if compared and reference not in available:
        near = difflib.get_close_matches(reference, available, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise SpecError(f"no run here is of the reference {reference!r}{hint} There are: {', '.join(available)}")
    earlier = [attempt for place in folders(sources) for attempt in attempts(place)]
    return [replace(group, attempts=_replaced(group, earlier)) for group in compared], trials


def records(sources: Path | Sequence[Path], left_out: list[Damaged] | None = None) -> list[Record | Baseline]:
    """Read the records of runs, trials and baselines in files and folders.

    Of duplicates a complete one counts, else the latest. Other files of a folder are named on the error stream and added
    to `left_out`.

    Raises:
        RecordError: if a source has no record, or a file that is named is none.
    """
    left_out = [] if left_out is None else left_out
    paths = [sources] if isinstance(sources, Path) else list(sources)
    places = list({place.resolve(): place for place in paths}.values()) if len(paths) > 1 else paths
    loaded = [_records(place, left_out) for place in places]
    merged = unique(record for part in loaded for record in part)
    empty = [place for place, part in zip(places, loaded, strict=True) if not part]
    if empty:
        raise _no_records(empty)
    if len(places) > 1:
        counts = ", ".join(f"{len(part)} of {str(place)!r}" for place, part in zip(places, loaded, strict=True))
        print(harmless(f"merged {counts} into {len(merged)} records"), file=sys.stderr)
    return merged


def items(place: Path) -> list[AnyRecord | Damaged]:
    """Read what a folder holds, or the one record in a file; nothing where there is neither."""
    if place.is_dir():
        return list(load(place))
    return list(load(place.parent, glob.escape(place.name))) if place.is_file() else []


def unique(records: Iterable[Record | Baseline]) -> list[Record | Baseline]:
    """Keep one record of each run: of duplicates a complete one, else the latest."""
    return list({record.run_id: record for record in sorted(records, key=_preference)}.values())


def _no_records(sources: Path | Sequence[Path]) -> RecordError:
    make_some = "make some with: python -m bench run --method all"
    paths = [sources] if isinstance(sources, Path) else list(sources)
    missing = [path for path in paths if not path.exists()]
    if missing:
        return RecordError(f"there is no file or folder {quoted(missing)}; {make_some}")
    return RecordError(f"{quoted(sources)} holds no records of runs; {make_some}")


def quoted(sources: Path | Sequence[Path]) -> str:
    """Name sources in a message."""
    return ", ".join(repr(str(place)) for place in ([sources] if isinstance(sources, Path) else sources))


def folders(sources: Path | Sequence[Path]) -> list[Path]:
    """List the folders of results that these records, and folders of them, are in."""
    places = [sources] if isinstance(sources, Path) else sources
    return list(dict.fromkeys(folder_of(place) if place.is_file() else place for place in places))


def _records(place: Path, left_out: list[Damaged]) -> list[Record | Baseline]:
    """Read the records of a folder, or the one in a file."""
    found = items(place)
    for item in found:
        if isinstance(item, Damaged):
            if not place.is_dir():
                raise RecordError(f"{str(place)!r} is not a whole record ({item.reason}); name records, or folders of them")
            print(harmless(f"left out {item.path.name}: {item.reason}"), file=sys.stderr)
            left_out.append(item)
    return [item for item in found if isinstance(item, (Record, Baseline))]


def _preference(record: Record | Baseline) -> tuple[bool, str]:
    """Sort what is complete, and of that the latest, last."""
    return isinstance(record, Baseline) or record.state == "complete", record.finished


def _replaced(group: Group, earlier: Sequence[AnyRecord]) -> int:
    """Count the earlier attempts of a group's runs."""
    current = {record.run_id: record for row in group.rows for record in (*row.runs, *row.other_runs)}
    # A process that was killed as it replaced a record leaves the copy beside it: that is no earlier attempt.
    return sum(attempt.run_id in current and attempt != current[attempt.run_id] for attempt in earlier)
