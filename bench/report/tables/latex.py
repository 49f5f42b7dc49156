"""A group as a LaTeX table to be pasted into a paper."""

from __future__ import annotations

import re

from bench.analysis.comparison import Group
from bench.report.tables.comparison import STACKED_ALIGN, stacked, stacked_headers
from bench.report.tables.footnotes import notes, title

__all__ = ["framed", "inert", "latex", "number"]

# A bracket or star after the end of a row would be read as its argument, so these stand in braces.
_ESCAPED = str.maketrans({
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{c: f"{{{c}}}" for c in "[]*"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''",
    "–": "--", "·": r"\textperiodcentered{}", "Δ": r"$\Delta$", "±": r"$\pm$", "≤": r"$\leq$",
})  # fmt: skip


def latex(group: Group) -> str:
    """The table with its title as the caption and its notes below. Two rows a line."""
    rows = [[number(cell[i]) for cell in row] for row in stacked(group) for i in (0, 1)]
    methods = 2 * len(group.rows)
    return framed(
        caption=inert(title(group)),
        columns="".join(side[0] for side in STACKED_ALIGN),
        headers=[[inert(header[i]) for header in stacked_headers(group)] for i in (0, 1)],
        blocks=[rows[:methods], rows[methods:]],
        notes=[inert(note) for note in notes(group)],
    )


def framed(*, caption: str, columns: str, headers: list[list[str]], blocks: list[list[list[str]]], notes: list[str]) -> str:
    """A table in plain LaTeX and booktabs, a rule above each block of rows. All texts are LaTeX already."""
    lines = [r"    \toprule", *(rf"    {' & '.join(row)} \\" for row in headers)]
    for block in blocks:
        lines += [r"    \midrule", *(rf"    {' & '.join(row)} \\" for row in block)]
    return "\n".join([
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{3pt}",
        rf"  \caption{{{caption}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        *lines,
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip\raggedright",
        *(rf"  {note}\par" for note in notes),
        r"\end{table}",
    ])  # fmt: skip


def number(cell: str) -> str:
    """A cell, signed numbers and intervals with the signs of mathematics."""
    number = r"-?[0-9.]+"
    return f"${cell}$" if re.fullmatch(rf"[-+][0-9.]+|\[{number}, {number}\]", cell) else inert(cell)


def inert(text: str) -> str:
    """The text without a meaning in LaTeX. What the fonts of pdfLaTeX lack becomes a question mark."""
    return re.sub("[^\x20-\x7eÀ-ÏÑ-ÝßÀ-ïñ-ýÿ]", "?", text.translate(_ESCAPED))
