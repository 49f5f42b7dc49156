"""What a report is made of: the records of a folder as comparable groups, and its tuning trials."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import methods
from bench.comparison import Group, compare
from bench.errors import UserError
from bench.record import Calibration, Floor, Record
from bench.report.rows import harmless
from bench.sensitivity import Sensitivity, sensitivities
from bench.store import Damaged, load

__all__ = ["read"]


def read(folder: Path, reference: str, left_out: list[Damaged] | None = None) -> tuple[list[Group], list[Sensitivity]]:
    """The comparable groups among the records of a folder and the tuning trials, of which one may be empty. What is no record
    is named on the error stream, left alone, and added to `left_out`.

    Raises:
        UserError: if there is no record of a run, or none of a method called `reference`.
    """
    left_out, records = [] if left_out is None else left_out, list[Record | Floor]()
    for item in load(folder) if folder.is_dir() else ():
        if isinstance(item, Damaged):
            print(harmless(f"left out {item.path.name}: {item.reason}"), file=sys.stderr)
            left_out.append(item)
        elif not isinstance(item, Calibration):
            records.append(item)
    compared, trials = compare(records, reference, methods.names()), sensitivities(records, methods.names())
    if not compared and not trials:
        raise UserError(f"{str(folder)!r} holds no records of runs; make some with: python -m bench run --method all")
    known = sorted({row.method for group in compared for row in group.rows})
    if compared and reference not in known:
        near = difflib.get_close_matches(reference, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UserError(f"no run here is of the reference {reference!r}{hint} There are: {', '.join(known)}")
    return compared, trials
