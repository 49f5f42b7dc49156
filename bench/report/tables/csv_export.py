"""Every group in one CSV: plain numbers under full names, for a spreadsheet or a script."""

from __future__ import annotations

from collections.abc import Iterable

from bench.analysis.comparison import Group, Row
from bench.report.tables.columns import COLUMNS, Column
from bench.report.tables.footnotes import title
from bench.report.tables.rows import rows
from bench.system.text import csv_text, harmless

__all__ = ["HEADERS", "spreadsheet"]

_COLUMNS = [column for column in COLUMNS if column.name]
HEADERS = ("group", *(column.full_name for column in _COLUMNS), "minimum detectable difference of the table (points)")
_COMMANDS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def spreadsheet(groups: Iterable[Group]) -> str:
    """Write one row for each of the comparison, the group that it belongs to first. An empty cell was not measured."""
    return csv_text([HEADERS, *(_row(group, row) for group in groups for row in rows(group))])


def _row(group: Group, row: Row) -> list[str]:
    detectable = None if group.detectable is None else 100 * group.detectable
    return [_text(title(group)), *(_cell(column, column.scaled(row)) for column in _COLUMNS), _number(detectable)]


def _cell(column: Column, value: float | str | None) -> str:
    if isinstance(value, str):
        return _text(value)
    return "" if value is None else f"{value:.4g}" if column.unit == "p" else _number(value)


def _number(value: float | None) -> str:
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _text(text: str) -> str:
    """Escape a text that a spreadsheet would take for a formula."""
    safe = harmless(text)
    return f"'{safe}" if safe.lstrip().startswith(_COMMANDS) else safe
