"""The report: reads records, never writes one, and never imports torch."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path

import methods
from bench.comparison import Group, compare
from bench.errors import UserError
from bench.report.latex import latex
from bench.report.notes import notes, title
from bench.report.rows import harmless
from bench.report.spreadsheet import spreadsheet
from bench.report.tables import HEADERS, cells, markdown, terminal
from bench.store import Damaged, load

__all__ = ["groups", "render"]


def groups(folder: Path, *, reference: str) -> list[Group]:
    """The comparable groups among the records of a folder. What is no record is named on the error stream and left alone.

    Raises:
        UserError: if there is no record, or none of a method called `reference`.
    """
    found = list(load(folder)) if folder.is_dir() else []
    for item in found:
        if isinstance(item, Damaged):
            print(harmless(f"left out {item.path.name}: {item.reason}"), file=sys.stderr)
    records = [item for item in found if not isinstance(item, Damaged)]
    compared = compare(records, reference, methods.names())
    if not compared:
        raise UserError(f"{str(folder)!r} holds no records of runs; make some with: python -m bench run --method all")
    known = sorted({row.method for group in compared for row in group.rows})
    if reference not in known:
        near = difflib.get_close_matches(reference, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UserError(f"no run here is of the reference {reference!r}{hint} There are: {', '.join(known)}")
    return compared


def render(folder: Path, *, reference: str, style: str) -> str:
    """The comparison as text: `table` for a terminal, `markdown`, `latex`, `csv` or `json`.

    Raises:
        UserError: as `groups`.
    """
    compared = groups(folder, reference=reference)
    if style == "json":
        # Escaped beyond ASCII: names from records may hold characters that command a terminal.
        return json.dumps([_as_json(group) for group in compared], indent=1).replace("\x7f", "\\u007f")
    if style == "csv":
        return spreadsheet(compared)
    write = {"markdown": markdown, "latex": latex}.get(style, terminal)
    return "\n\n\n".join(write(group) for group in compared)


def _as_json(group: Group) -> dict[str, object]:
    return {
        "title": title(group),
        "key": group.key._asdict(),
        "reference": group.reference.label if group.reference else None,
        "table": [dict(zip(HEADERS, row, strict=True)) for row in cells(group)],
        "methods": [
            {
                "label": row.label,
                "method": row.method,
                "run_ids": [record.run_id for record in row.runs],
                "seeds": row.seeds,
                "states": {record.run_id: record.state for record in row.others},
                "accuracy": row.accuracy,
                "precision": row.precision,
                "recall": row.recall,
                "f1": row.f1,
                "accuracy_difference": row.accuracy_difference,
                "f1_difference": row.f1_difference,
                "trainable_body": row.body,
                "trainable_head": row.head,
                "memory_bytes": row.memory,
                "reviews_seen": row.reviews_seen,
                "reviews_per_second": row.reviews_per_second,
            }
            for row in group.rows
        ],
        "notes": notes(group),
    }
