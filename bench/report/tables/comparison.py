"""The comparison of a group, with its main columns or all."""

from __future__ import annotations

from bench.analysis.comparison import Group
from bench.report.tables.columns import COLUMNS, columns
from bench.report.tables.footnotes import notes, title
from bench.report.tables.rows import rows
from bench.report.tables.table import Section

__all__ = ["as_json", "section"]


def section(group: Group, *, wide: bool = False) -> Section:
    """Return the table of a group: the methods, the reference first, then baselines and the published result."""
    visible = columns(group, wide=wide)
    cells = [[column.cell(row) for column in visible] for row in rows(group)]
    return Section(
        title=title(group),
        headers=[column.header for column in visible],
        rows=cells[: len(group.rows)],
        below=cells[len(group.rows) :],
        notes=notes(group),
        words=frozenset(i for i, column in enumerate(visible) if column.words),
        bold=group.reference is not None,
    )


def as_json(group: Group) -> list[dict[str, str]]:
    """Return the same texts, a row each, by the column names of JSON."""
    excluded = "reviews per s" if group.calibrated else "time a token"
    keyed = [column for column in COLUMNS if column.key and column.key != excluded]
    return [{column.key: column.cell(row).replace("\n", " ") for column in keyed} for row in rows(group)]
