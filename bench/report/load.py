"""What a report is made of: the records of a folder as comparable groups, and its tuning trials."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import methods
from bench.analysis.comparison import Group, compare
from bench.analysis.sensitivity import Sensitivity, sensitivities
from bench.records.attempts import attempts
from bench.records.schema import AnyRecord, Baseline, Calibration, Record
from bench.records.store import Damaged, load
from bench.rules import MARGIN
from bench.system.errors import RecordError, SpecError
from bench.system.text import harmless

__all__ = ["read"]


def read(
    folder: Path, reference: str, left_out: list[Damaged] | None = None, margin: float = MARGIN
) -> tuple[list[Group], list[Sensitivity]]:
    """The comparable groups among the records of a folder and the tuning trials, of which one may be empty. What is no record
    is named on the error stream, left alone, and added to `left_out`. Differences within `margin` count as equivalent.

    Raises:
        BenchError: if there is no record of a run, or none of a method called `reference`.
    """
    left_out, records = [] if left_out is None else left_out, list[Record | Baseline]()
    for item in load(folder) if folder.is_dir() else ():
        if isinstance(item, Damaged):
            print(harmless(f"left out {item.path.name}: {item.reason}"), file=sys.stderr)
            left_out.append(item)
        elif not isinstance(item, Calibration):
            records.append(item)
    compared, trials = compare(records, reference, methods.names(), margin), sensitivities(records, methods.names())
    if not compared and not trials:
        raise RecordError(f"{str(folder)!r} holds no records of runs; make some with: python -m bench run --method all")
    known = sorted({row.method for group in compared for row in group.rows})
    if compared and reference not in known:
        near = difflib.get_close_matches(reference, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise SpecError(f"no run here is of the reference {reference!r}{hint} There are: {', '.join(known)}")
    earlier = list(attempts(folder))
    return [replace(group, attempts=_replaced(group, earlier)) for group in compared], trials


def _replaced(group: Group, earlier: Sequence[AnyRecord]) -> int:
    """How many earlier attempts there are of a group's runs."""
    shown = {record.run_id: record for row in group.rows for record in (*row.runs, *row.others)}
    # A process that was killed as it replaced a record leaves the copy beside it: that is no earlier attempt.
    return sum(found.run_id in shown and found != shown[found.run_id] for found in earlier)
