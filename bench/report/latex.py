"""A group as a LaTeX table to be pasted into a paper."""

from __future__ import annotations

import re

from bench.comparison import Group
from bench.report.notes import notes, title
from bench.report.tables import STACKED_ALIGN, STACKED_HEADERS, stacked

__all__ = ["latex"]

# A bracket or star after the end of a row would be read as its argument, so these stand in braces.
_ESCAPED = str.maketrans({
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{c: f"{{{c}}}" for c in "[]*"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''",
    "–": "--", "†": r"\textdagger{}", "·": r"\textperiodcentered{}", "Δ": r"$\Delta$", "±": r"$\pm$", "≤": r"$\leq$",
})  # fmt: skip


def latex(group: Group) -> str:
    """The table with its title as the caption and its notes below, in plain LaTeX and booktabs. Two rows a line."""
    methods = 2 * len(group.rows)
    rows = [" & ".join(_number(cell[i]) for cell in row) + r" \\" for row in stacked(group) for i in (0, 1)]
    headers = [" & ".join(_inert(header[i]) for header in STACKED_HEADERS) + r" \\" for i in (0, 1)]
    return "\n".join([
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{3pt}",
        rf"  \caption{{{_inert(title(group))}}}",
        rf"  \begin{{tabular}}{{{''.join(side[0] for side in STACKED_ALIGN)}}}",
        r"    \toprule",
        *(f"    {line}" for line in headers),
        r"    \midrule",
        *(f"    {line}" for line in rows[:methods]),
        r"    \midrule",
        *(f"    {line}" for line in rows[methods:]),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip\raggedright",
        *(rf"  {_inert(note)}\par" for note in notes(group)),
        r"\end{table}",
    ])  # fmt: skip


def _number(cell: str) -> str:
    """A cell, signed numbers and intervals with the signs of mathematics."""
    number = r"-?[0-9.]+"
    return f"${cell}$" if re.fullmatch(rf"[-+][0-9.]+|\[{number}, {number}\]", cell) else _inert(cell)


def _inert(text: str) -> str:
    """The text without a meaning in LaTeX. What the fonts of pdfLaTeX lack becomes a question mark."""
    return re.sub("[^\x20-\x7eÀ-ÏÑ-ÝßÀ-ïñ-ýÿ]", "?", text.translate(_ESCAPED))
