"""A small table with a title and notes, written for a terminal, as Markdown or as LaTeX. The views beside the comparison
are made of these.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from tabulate import tabulate

from bench.report.tables.comparison import NOTE_WIDTH, bulleted, ruled
from bench.report.tables.comparison import inert as markdown_text
from bench.report.tables.comparison import inert_line as markdown_line
from bench.report.tables.latex import framed
from bench.report.tables.latex import inert as latex_text
from bench.report.tables.latex import number as latex_cell
from bench.system.text import harmless, percent

__all__ = ["Section", "latex", "markdown", "plus_minus", "seconds", "terminal"]

WIDTH = 132
"""Columns of a terminal that a table may take."""
_FIRST, _OTHER = 22, 15
"""Where a longer cell is wrapped in a terminal: in the first column, and in the others."""
_MATH = {"≤": r"$\leq$", "±": r"$\pm$", "≥": r"$\geq$"}


@dataclass(frozen=True)
class Section:
    """A table of texts. The first column is left-aligned, the others stand to the right."""

    title: str
    headers: Sequence[tuple[str, str]]
    """Each in two lines, where width is short."""
    rows: list[list[str]]
    """[rows, headers]."""
    notes: list[str] = field(default_factory=list)


def seconds(value: float) -> str:
    """Seconds with a decimal where it says something: 45.2 s, 240 s."""
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def plus_minus(mean: float | None, half: float | None) -> str:
    """A mean of shares over seeds in %, and the half-width of its 95 % interval where there is one."""
    return percent(mean) + ("" if half is None else f" ±{percent(half)}")


def terminal(section: Section) -> str:
    """For a terminal: a table wider than it goes on below, with its first column again."""
    rows = [[_wrapped(cell, _OTHER if i else _FIRST) for i, cell in enumerate(row)] for row in section.rows]
    lines = [list(header) for header in zip(*section.headers, strict=True)] + rows
    widths = [max(len(part) for row in lines for part in row[i].split("\n")) for i in range(len(section.headers))]
    blocks = [
        ruled([[row[i] for i in columns] for row in lines], ["left", *["right"] * (len(columns) - 1)])
        for columns in _columns(widths)
    ]
    said = bulleted(harmless(note) for note in section.notes)
    title = textwrap.fill(harmless(section.title), NOTE_WIDTH)
    return "\n".join([title, "", "\n\n".join(blocks), *([""] if said else []), *said])


def _wrapped(cell: str, width: int) -> str:
    return "\n".join(textwrap.wrap(harmless(cell), width))


def _columns(widths: list[int]) -> list[list[int]]:
    """Which columns stand side by side; the first one in every block."""
    blocks, used = [[0]], widths[0]
    for i, width in enumerate(widths[1:], 1):
        if used + 2 + width > WIDTH and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(i)
        used += 2 + width
    return blocks


def markdown(section: Section) -> str:
    """For a README. Cells are escaped, so that no name can break a row or bring in HTML."""
    rows = [[markdown_text(harmless(cell)) for cell in row] for row in section.rows]
    headers = [markdown_text(harmless(" ".join(part for part in header if part))) for header in section.headers]
    align = ["left", *["right"] * (len(headers) - 1)]
    text = tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True, colalign=align)
    said = [f"- {markdown_line(harmless(note))}" for note in section.notes]
    return "\n".join([f"**{markdown_text(harmless(section.title))}**", "", text, *([""] if said else []), *said])


def latex(section: Section) -> str:
    """For a paper: the title as the caption and the notes below."""
    return framed(
        caption=_latex(section.title),
        columns="l" + "r" * (len(section.headers) - 1),
        headers=[[_latex(header[i]) for header in section.headers] for i in (0, 1)],
        blocks=[[[_latex(cell) for cell in row] for row in section.rows]],
        notes=[_latex(note) for note in section.notes],
    )


def _latex(text: str) -> str:
    """The text without a meaning in LaTeX, but with the signs of mathematics that the sections use."""
    number, rest = re.fullmatch(r"([-+][0-9.]+(?= ))?(.*)", harmless(text)).groups(default="")  # type: ignore[union-attr]
    parts = re.split(f"([{''.join(_MATH)}])", rest)
    written = [latex_cell(rest)] if len(parts) == 1 else [_MATH.get(part) or latex_text(part) for part in parts]
    return (f"${number}$" if number else "") + "".join(written)
