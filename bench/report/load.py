"""Load the records of a report as comparable groups and tuning trials."""

from __future__ import annotations

import difflib
import glob
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import methods
from bench.analysis.comparison import Group, compare, unique
from bench.analysis.tuning import Sensitivity, sensitivities
from bench.records.attempts import attempts, folder_of
from bench.records.schema import AnyRecord, Baseline, Record
from bench.records.store import Damaged, load
from bench.rules import MARGIN
from bench.system.errors import RecordError, SpecError
from bench.system.text import harmless

__all__ = ["compared", "folders", "items", "quoted", "read", "records"]


def read(
    sources: Sequence[Path], reference: str, left_out: list[Damaged] | None = None, margin: float = MARGIN
) -> tuple[list[Group], list[Sensitivity]]:
    """Read records, files and folders of them, into comparable groups and tuning trials, of which one may be empty.

    Differences within `margin` count as equivalent. Other files of a folder are added to `left_out`.

    Raises:
        RecordError: as `records`.
        SpecError: if there is no record of a method called `reference`.
    """
    loaded = records(sources, left_out)
    groups, trials = compared(loaded, reference, margin), sensitivities(loaded, methods.names())
    if not groups and not trials:
        raise _no_records(sources)
    earlier = [attempt for place in folders(sources) for attempt in attempts(place)]
    return [replace(group, attempts=_replaced(group, earlier)) for group in groups], trials


def compared(loaded: Iterable[Record | Baseline], reference: str, margin: float) -> list[Group]:
    """Compare records with `reference`, the registered methods in their order.

    Raises:
        RecordError: as `compare`.
        SpecError: if there are runs, but none of a method called `reference`.
    """
    groups = compare(loaded, reference, methods.names(), margin)
    available = sorted({row.method for group in groups for row in group.rows})
    if groups and reference not in available:
        near = difflib.get_close_matches(reference, available, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise SpecError(f"no run here is of the reference {reference!r}{hint} There are: {', '.join(available)}")
    return groups


def records(sources: Sequence[Path], left_out: list[Damaged] | None = None) -> list[Record | Baseline]:
    """Read the records of runs, trials and baselines in files and folders.

    Of duplicates a complete one counts, else the latest. Other files of a folder are named on the error stream and added
    to `left_out`.

    Raises:
        RecordError: if a source has no record, or a file that is named is none.
    """
    places = list({place.resolve() if place.exists() else place: place for place in sources}.values())
    loaded: list[list[Record | Baseline]] = []
    for place in places:
        found = items(place)
        damaged = [item for item in found if isinstance(item, Damaged)]
        if damaged and not place.is_dir():
            raise RecordError(f"{str(place)!r} is not a whole record ({damaged[0].reason}); name records, or folders of them")
        for item in damaged:
            print(harmless(f"left out {item.path.name}: {item.reason}"), file=sys.stderr)
        if left_out is not None:
            left_out += damaged
        loaded.append([item for item in found if isinstance(item, (Record, Baseline))])
    if empty := [place for place, part in zip(places, loaded, strict=True) if not part]:
        raise _no_records(empty)
    merged = unique(record for part in loaded for record in part)
    if len(places) > 1:
        counts = ", ".join(f"{len(part)} of {str(place)!r}" for place, part in zip(places, loaded, strict=True))
        print(harmless(f"merged {counts} into {len(merged)} records"), file=sys.stderr)
    return merged


def items(place: Path) -> list[AnyRecord | Damaged]:
    """Read what a folder holds, or the one record in a file; nothing where there is neither."""
    if place.is_dir():
        return list(load(place))
    return list(load(place.parent, glob.escape(place.name))) if place.is_file() else []


def _no_records(sources: Sequence[Path]) -> RecordError:
    missing = [path for path in sources if not path.exists()]
    problem = f"there is no file or folder {quoted(missing)}" if missing else f"{quoted(sources)} holds no records of runs"
    return RecordError(f"{problem}; make some with: python -m bench run --method all")


def quoted(sources: Sequence[Path]) -> str:
    """Name sources in a message."""
    return ", ".join(repr(str(place)) for place in sources)


def folders(sources: Sequence[Path]) -> list[Path]:
    """List the folders of results that these records, and folders of them, are in."""
    return list(dict.fromkeys(folder_of(place) if place.is_file() else place for place in sources))


def _replaced(group: Group, earlier: Sequence[AnyRecord]) -> int:
    """Count the earlier attempts of a group's runs."""
    current = {record.run_id: record for record in group.records}
    # A process that was killed as it replaced a record leaves the copy beside it: that is no earlier attempt.
    return sum(attempt.run_id in current and attempt != current[attempt.run_id] for attempt in earlier)
