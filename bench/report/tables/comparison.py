"""The comparison of a group as a table, in sentences, as JSON, and of all groups as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.analysis.comparison import Group, Row
from bench.report.tables.columns import COLUMNS, columns, rows
from bench.report.tables.footnotes import notes, title
from bench.report.tables.formatting import plus_minus, seed_list
from bench.report.tables.table import Section
from bench.system.text import csv_text, harmless, mebibytes, no_formula, points

__all__ = ["HEADERS", "as_json", "section", "sentences", "spreadsheet"]

_WORDS = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to", "not resolved": "not resolved from"}
_SHEET = [column for column in COLUMNS if column.name]
HEADERS = ("group", *(column.full_name for column in _SHEET), "minimum detectable difference of the table (points)")


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
    """Return the texts of every column, a row each, by the column names of JSON."""
    return [{column.key: column.cell(row).replace("\n", " ") for column in columns(group, wide=True)} for row in rows(group)]


def sentences(group: Group) -> list[str]:
    """Summarise each method with complete runs against the reference: accuracy, verdict and costs."""
    return [harmless(f"{row.label}: {', '.join(_parts(row, group))}.") for row in group.rows if row.accuracy is not None]


def _parts(row: Row, group: Group) -> Iterator[str]:
    reference = group.reference
    yield f"{plus_minus(row.accuracy, row.accuracy_half_width).replace(' ±', ' ± ')} %"
    if row.collapsed:
        how = "answering one class" if row.one_class == row.collapsed else "collapsed"
        yield f"{how} on seed{'s' if len(row.collapsed) > 1 else ''} {seed_list(row.collapsed)}"
    if reference is None or row is reference:
        yield f"{mebibytes(row.memory)} MiB" + (", the reference" if row is reference else "")
        return
    if row.paired is not None:
        words = _WORDS.get(row.paired.verdict, f"no verdict ({row.paired.verdict}) against")
        class_ = ", which answers one class" if row.paired.one_class else ""
        yield f"{words} {reference.label}{class_} ({points(row.accuracy_difference)} points)"
    for quantity, own, its in (
        ("time per token", row.conversion.ratio if row.conversion else None, 1.0),
        ("time per review", _slowness(row, group), _slowness(reference, group)),
        ("memory", row.memory, reference.memory),
        ("trainable parameters", row.body, reference.body),
    ):
        if own and its:
            yield f"{own / its:.{0 if own > 10 * its else 2}f} × its {quantity}"


def _slowness(row: Row, group: Group) -> float | None:
    """Return the time of a review by the runs' own clocks, where these were alone on their device."""
    return 1 / row.reviews_per_second if row.reviews_per_second and not group.shared else None


def spreadsheet(groups: Iterable[Group]) -> str:
    """Write plain numbers as CSV, a row for each of the comparison, its group first. An empty cell was not measured."""
    return csv_text([HEADERS, *(_row(group, row) for group in groups for row in rows(group))])


def _row(group: Group, row: Row) -> list[str]:
    detectable = None if group.detectable is None else 100 * group.detectable
    return [no_formula(title(group)), *(_cell(column.scaled(row), column.unit) for column in _SHEET), _cell(detectable)]


def _cell(value: float | str | None, unit: str = "") -> str:
    if isinstance(value, str):
        return no_formula(value)
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    return f"{value:.4g}" if unit == "p" else f"{value:.4f}".rstrip("0").rstrip(".")
