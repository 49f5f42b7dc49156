"""Tables for a README, in Markdown, and to be pasted into a paper, in LaTeX. No name from a record has a meaning in either."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from bench.report.tables.table import Section, footnotes
from bench.system.text import harmless

__all__ = ["latex", "markdown"]

# A backslash before a backslash or a pipe is read in more than one way inside tables; an entity is not.
_MARKDOWN = str.maketrans(
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
    return plain.translate(_MARKDOWN).replace("://", "&#58;//").replace("www.", "www&#46;")


# A bracket or star after the end of a row would be read as its argument, so these stand in braces.
_LATEX = str.maketrans({
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{c: f"{{{c}}}" for c in "[]*"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''",
    "–": "--", "·": r"\textperiodcentered{}", "Δ": r"$\Delta$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$",
    "−": "$-$", "×": r"$\times$", "…": "...",
})  # fmt: skip
_WIDE = 22
"""Letters of a line of words."""


def latex(section: Section) -> str:
    """Write a table in plain LaTeX and booktabs, the title as its caption and the notes below. A row takes several lines."""
    lines = [r"    \toprule", *_lines(section.headers, section)]
    for block in (section.rows, section.below):
        if block:
            lines += [r"    \midrule", *(line for row in block for line in _lines(row, section))]
    return "\n".join([
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{3pt}",
        rf"  \caption{{{_cell(section.title)}}}",
        rf"  \begin{{tabular}}{{{''.join('l' if i in section.words else 'r' for i in range(len(section.headers)))}}}",
        *lines,
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip\raggedright",
        *(rf"  {_cell(note)}\par" for note in footnotes(section)),
        r"\end{table}",
    ])  # fmt: skip


def _lines(row: Sequence[str], section: Section) -> Iterator[str]:
    cells = [
        [line for part in cell.split("\n") for line in (textwrap.wrap(harmless(part), _WIDE) if i in section.words else [part])]
        for i, cell in enumerate(row)
    ]
    for i in range(max(1, *map(len, cells))):
        yield rf"    {' & '.join(_cell(cell[i]) if i < len(cell) else '' for cell in cells)} \\"


def _cell(text: str) -> str:
    """Write a text without a meaning in LaTeX; signed numbers and intervals have the signs of mathematics. What the fonts of
    pdfLaTeX lack becomes a question mark.
    """
    plain, number = harmless(text), r"-?[0-9.]+"
    if re.fullmatch(rf"\[{number}, {number}\]", plain):
        return f"${plain}$"
    signed, rest = re.fullmatch(r"([-+][0-9.]+(?= |$))?(.*)", plain).groups(default="")  # type: ignore[union-attr]
    return (f"${signed}$" if signed else "") + re.sub("[^\x20-\x7eÀ-ÏÑ-ÝßÀ-ïñ-ýÿ]", "?", rest.translate(_LATEX))
