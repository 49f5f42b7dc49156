"""A group of comparable runs as a table of cells, and that table as text for a terminal or a README."""

from __future__ import annotations

import re
import textwrap

from tabulate import tabulate

from bench.comparison import Group
from bench.report.lines import Line, lines
from bench.report.notes import notes, title
from bench.report.rows import harmless, mebibytes, percent, points

__all__ = ["HEADERS", "STACKED_HEADERS", "cells", "markdown", "terminal"]

STACKED_HEADERS = (
    ("method", ""), ("accuracy", "%"), ("Δ", "points"), ("precision", "%"), ("recall", "%"), ("F1", "%"), ("Δ", "F1"),
    ("trains:", "body"), ("", "+ head"), ("memory", "MiB"), ("reviews", "seen"), ("reviews", "per s"), ("", "seeds"),
)  # fmt: skip
"""Headers in two lines, where width is short."""
HEADERS = tuple(" ".join(part for part in header if part) for header in STACKED_HEADERS)
TEXT_COLUMNS = {0, 12}
_ALIGN = ["left" if i in TEXT_COLUMNS else "right" for i in range(len(HEADERS))]
_NOTE_WIDTH = 110
_WIDEST = {0: 22, 12: 10}
"""Where a longer cell is wrapped in a terminal, by column."""


def cells(group: Group) -> list[list[str]]:
    """One list a line, in the order of `HEADERS`: the methods, then the floors, then the published result."""
    return [[harmless(cell) for cell in _cells(line)] for line in lines(group)]


def _cells(line: Line) -> list[str]:
    # A dash is a number that a method has but that was not measured; elsewhere there is none to measure.
    none = "–" if line.role in {"reference", "method"} else ""
    is_reference = line.role == "reference"
    states = [str(line.complete)] if line.complete else []
    return [
        line.label + (" †" if line.contended else ""),
        percent(line.accuracy, none),
        "ref." if is_reference else points(line.accuracy_difference, none),
        percent(line.precision, none),
        percent(line.recall, none),
        percent(line.f1, none),
        "" if is_reference else points(line.f1_difference, none),
        none if line.body is None else f"{line.body:,}",
        none if line.head is None else f"{line.head:,}",
        mebibytes(line.memory, none),
        none if line.reviews_seen is None else f"{line.reviews_seen:,.0f}",
        none if line.reviews_per_second is None else f"{line.reviews_per_second:.1f}",
        ", ".join([*states, *([line.others] if line.others else [])]),
    ]


def terminal(group: Group) -> str:
    """The table for a terminal, about 130 columns wide, its title above and its notes below."""
    rows = [
        ["\n".join(textwrap.wrap(cell, _WIDEST[i])) if i in _WIDEST else cell for i, cell in enumerate(row)]
        for row in cells(group)
    ]
    # The library widens columns beyond their headers; headers given as rows of the table stay as narrow as they are.
    head = list(zip(*STACKED_HEADERS, strict=True))
    text = tabulate([*head, *rows], tablefmt="plain", disable_numparse=True, colalign=_ALIGN).splitlines()
    rule = "─" * max(len(line.rstrip()) for line in text)
    said = [textwrap.fill(note, _NOTE_WIDTH, initial_indent="- ", subsequent_indent="  ") for note in notes(group)]
    return "\n".join([textwrap.fill(title(group), _NOTE_WIDTH), "", *text[:2], rule, *text[2:], "", *said])


def markdown(group: Group) -> str:
    """The table for a README. Cells are escaped, so that no name can break a row or bring in HTML."""
    table = [[_inert(cell) for cell in row] for row in cells(group)]
    if group.reference is not None:
        table[0][0] = f"**{table[0][0]}**"
    text = tabulate(table, headers=HEADERS, tablefmt="pipe", disable_numparse=True, colalign=_ALIGN)
    return "\n".join([f"**{_inert(title(group))}**", "", text, "", *(f"- {_inert_line(note)}" for note in notes(group))])


# A backslash before a backslash or a pipe is read in more than one way inside tables; an entity is not.
_ESCAPED = str.maketrans(
    {c: f"&#{ord(c)};" for c in "|\\$@"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: f"\\{c}" for c in "`[]*_~#!"}
)


def _inert(text: str) -> str:
    """The text without a meaning in Markdown or HTML; what looks like an address makes no link."""
    return text.strip().translate(_ESCAPED).replace("://", "&#58;//").replace("www.", "www&#46;")


def _inert_line(text: str) -> str:
    """The same for the beginning of a line, where a sign or a number could begin a list or a heading."""
    return re.sub(r"^(\d*)([-+.)=])", r"\1\\\2", _inert(text))
