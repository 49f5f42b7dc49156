"""Tables with a title and notes, and their layout in a terminal."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.system.text import harmless

__all__ = ["MOST_NOTES", "MOST_WORDS", "Note", "Section", "footnotes", "naming", "terminal"]

MOST_NOTES, MOST_WORDS = 5, 25
"""Under any table. The page and JSON have the other notes, RULES.md has what holds for all tables."""
_LINE = 110
"""Columns beyond which a line of words is hard to read."""
_LIST = 80
"""Columns up to which the comparison is a list a method: stacked cells fit from about 90 on."""
_WORDS, _VERDICT = 16, 13
"""Columns of a stacked cell of words, in the first column and in others."""


class Note(NamedTuple):
    """A footnote: its kind, text, and the methods or runs that it is about."""

    kind: str
    text: str
    where: tuple[str, ...] = ()


def naming(kind: str, words: str, items: Mapping[str, str]) -> list[Note]:
    """Fill the {} of a note with methods or runs and their details; yield nothing without any."""
    each = "; ".join(f"{name} {detail}".strip() for name, detail in items.items())
    return [Note(kind, words.replace("{}", each), tuple(items))] if items else []


@dataclass(frozen=True)
class Section:
    """A table of texts. Words align left, numbers right. Headers and cells have lines for short widths."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    """[rows, headers]."""
    notes: Sequence[Note] = ()
    """The most important first."""
    below: Sequence[Sequence[str]] = ()
    """Baselines and the published result, [rows, headers]."""
    words: frozenset[int] = frozenset({0})
    """Columns of words."""
    bold: bool = False
    """Whether the first row is the reference."""


def footnotes(section: Section) -> list[str]:
    """Write the notes under a table, a few short ones."""
    return [harmless(_short(note.text)) for note in section.notes[:MOST_NOTES]]


def _short(text: str) -> str:
    words = text.split()
    return text if len(words) <= MOST_WORDS else " ".join([*words[: MOST_WORDS - 1], "…"])


def terminal(section: Section, width: int = 100) -> str:
    """Write a table for a terminal of so many columns: each row in a line, else with its cells in lines, else as a list."""
    tables = (_table(section, stacked=stacked) for stacked in (False, True))
    body = next((text for text, columns in tables if columns <= width), None)
    if body is None or (section.bold and width <= _LIST):
        body = _list(section, width)
    wide = min(width, _LINE)
    notes = [_wrapped(note, wide, "- ") for note in footnotes(section)]
    return "\n".join([_wrapped(harmless(section.title), wide), "", body, *([""] if notes else []), *notes])


def _wrapped(text: str, width: int, mark: str = "") -> str:
    """Wrap a text, but neither before a % nor before the dot between two settings."""
    unbroken = text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" ·", "\N{NO-BREAK SPACE}·")
    lines = textwrap.fill(unbroken, width, initial_indent=mark, subsequent_indent=" " * len(mark))
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def _table(section: Section, *, stacked: bool) -> tuple[str, int]:
    """Return the table and the columns of its widest line."""
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    between = "\n" if stacked else " "

    def text(cell: str) -> Text:
        return Text(between.join(harmless(part) for part in cell.strip("\n").split("\n")))

    rule = Box("    \n    \n────\n    \n────\n────\n    \n    \n")
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for i, header in enumerate(section.headers):
        if i in section.words:
            table.add_column(text(header), max_width=(_VERDICT if i else _WORDS) if stacked else 2 * _WORDS, overflow="fold")
        else:
            table.add_column(text(header), justify="right", no_wrap=True)
    for rows in (section.rows, section.below):
        for row in rows:
            table.add_row(*map(text, row))
        table.add_section()
    console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join(lines), console.measure(table).maximum


def _list(section: Section, width: int) -> str:
    """Write a paragraph a row, a line a cell."""
    names = [header.replace("\n", " ").strip() for header in section.headers]

    def lines(row: Sequence[str]) -> Iterable[str]:
        first, *cells = (harmless(cell.replace("\n", " ")) for cell in row)
        yield from textwrap.wrap(first, width) or ["–"]
        for name, cell in zip(names[1:], cells, strict=True):
            if cell:
                yield from textwrap.wrap(f"{name}: {cell}", width, initial_indent="  ", subsequent_indent="    ")

    return "\n\n".join("\n".join(lines(row)) for row in (*section.rows, *section.below))
