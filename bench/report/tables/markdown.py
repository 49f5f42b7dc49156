"""Tables for a README."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.report.tables.table import Section, footnotes
from bench.system.text import harmless

__all__ = ["markdown"]

# A backslash before a backslash or a pipe is read in more than one way inside tables; an entity is not.
_ESCAPED = str.maketrans(
    {c: f"&#{ord(c)};" for c in "|\\$@"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: f"\\{c}" for c in "`[]*_~#!"}
)


def markdown(section: Section) -> str:
    """Write a table for a README. Cells are escaped, so that no name can break a row or bring in HTML."""
    rows = [[_inert(cell) for cell in row] for row in (*section.rows, *section.below)]
    if section.bold:
        rows[0][0] = f"**{rows[0][0]}**"
    rules = [":---" if i in section.words else "---:" for i in range(len(section.headers))]
    table = [_row([_inert(header) for header in section.headers]), _row(rules), *map(_row, rows)]
    # A sign or a number at the beginning of a line could begin a list or a heading.
    notes = [re.sub(r"^(\d*)([-+.)=])", r"\1\\\2", _inert(note)) for note in footnotes(section)]
    return "\n".join([f"**{_inert(section.title)}**", "", *table, *([""] if notes else []), *(f"- {note}" for note in notes)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _inert(text: str) -> str:
    """Take from a text its meaning in Markdown or HTML; what looks like an address makes no link."""
    plain = harmless(text.replace("\n", " ")).strip()
    return plain.translate(_ESCAPED).replace("://", "&#58;//").replace("www.", "www&#46;")
