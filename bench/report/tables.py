"""A group of comparable runs as a table of cells, and that table as text."""

from __future__ import annotations

from tabulate import tabulate

from bench.comparison import Group, Row
from bench.record import Floor
from bench.report.notes import SEED_ROW, notes, title
from bench.report.rows import harmless, mebibytes, percent, points

__all__ = ["HEADERS", "cells", "markdown", "terminal"]

HEADERS = (
    "method", "accuracy %", "Δ points", "precision %", "recall %", "F1 %", "Δ F1", "trains: body", "+ head", "memory MiB",
    "reviews seen", "reviews/s", "seeds",
)  # fmt: skip
TEXT_COLUMNS = {0, 12}


def cells(group: Group) -> list[list[str]]:
    """One list a row, in the order of `HEADERS`: the methods, then the floors, then the published result."""
    rows = [_method(row, group) for row in group.rows]
    rows += [_floor(floor, group) for floor in group.floors]
    label, accuracy, precision, recall, f1, body, head = SEED_ROW
    published = [
        label,
        percent(accuracy),
        "",
        percent(precision),
        percent(recall),
        percent(f1),
        "",
        f"{body:,}",
        f"{head:,}",
    ]
    rows.append([*published, "", "", "", "1"])
    return [[harmless(cell) for cell in row] for row in rows]


def _method(row: Row, group: Group) -> list[str]:
    is_reference = group.reference is row
    label = row.label + (" †" if any(r.compute and r.compute.contended for r in row.runs) else "")
    states = [str(len(row.runs))] if row.runs else []
    for state in sorted({record.state for record in row.others}):
        states.append(f"{sum(record.state == state for record in row.others)} {state}")
    return [
        label,
        percent(row.accuracy),
        "reference" if is_reference else points(row.accuracy_difference),
        percent(row.precision),
        percent(row.recall),
        percent(row.f1),
        "" if is_reference else points(row.f1_difference),
        "–" if row.body is None else f"{row.body:,}",
        "–" if row.head is None else f"{row.head:,}",
        mebibytes(row.memory),
        "–" if row.reviews_seen is None else f"{row.reviews_seen:,.0f}",
        "–" if row.reviews_per_second is None else f"{row.reviews_per_second:.1f}",
        ", ".join(states),
    ]


def _floor(floor: Floor, group: Group) -> list[str]:
    seen, test = floor.spec.train_reviews, floor.test
    which = "all" if seen == floor.data.train else "as many as the reference saw,"
    centre = group.reference
    compared = centre is not None and centre.accuracy is not None and centre.f1 is not None
    return [
        f"floor: TF-IDF + logistic regression, {which} {seen:,} reviews",
        percent(test.accuracy),
        points(test.accuracy - centre.accuracy) if compared and centre and centre.accuracy else "",
        percent(test.precision),
        percent(test.recall),
        percent(test.f1),
        points(test.f1 - centre.f1) if compared and centre and centre.f1 else "",
        "", "", "", f"{seen:,}", "", "",
    ]  # fmt: skip


_ALIGN = ["left" if i in TEXT_COLUMNS else "right" for i in range(len(HEADERS))]


def terminal(group: Group) -> str:
    """The table for a terminal, its title above and its notes below."""
    table = tabulate(
        cells(group),
        headers=HEADERS,
        tablefmt="simple",
        disable_numparse=True,
        colalign=_ALIGN,
        maxcolwidths=[32, *[None] * 12],
    )
    return "\n".join([title(group), "", table, "", *(f"- {note}" for note in notes(group))])


def markdown(group: Group) -> str:
    """The table for a README. Cells are escaped, so that no name can break a row or bring in HTML."""
    table = [[_inert(cell) for cell in row] for row in cells(group)]
    if group.reference is not None:
        table[0][0] = f"**{table[0][0]}**"
    text = tabulate(table, headers=HEADERS, tablefmt="pipe", disable_numparse=True, colalign=_ALIGN)
    return "\n".join([f"**{_inert(title(group))}**", "", text, "", *(f"- {_inert(note)}" for note in notes(group))])


def _inert(text: str) -> str:
    """The text without a meaning in Markdown or HTML."""
    for plain, escaped in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("`", "\\`"),
        ("[", "\\["),
        ("*", "\\*"),
    ):
        text = text.replace(plain, escaped)
    return text
