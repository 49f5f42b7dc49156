"""What tables say beside a method's numbers, said with a figure: which methods have no number that the figure is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.analysis.budget_sweep import Sweep
from bench.analysis.comparison import Group, Row
from bench.report.figures.figure import Drawing
from bench.report.figures.points import names
from bench.report.figures.sweep import named
from bench.report.tables.comparison_rows import ended

__all__ = ["beside_group", "beside_sweep"]


def beside_group(drawing: Drawing, group: Group) -> Drawing:
    """The figure of a group with what is to be said of its methods, in its caption and in its key."""
    rows = dict(zip(names(group.rows), group.rows, strict=True))
    return _beside(drawing, {name: row for name, row in rows.items() if name not in drawing.shown})


def beside_sweep(drawing: Drawing, sweep: Sweep) -> Drawing:
    """The same of a sweep, in which a method may have no number under some of the budgets."""
    lines = named(sweep)
    absent = {
        f"{name} at {budget}": row
        for name, rows in lines.items()
        for budget, row in zip(sweep.budgets, rows, strict=True)
        if row is not None and row.accuracy is None
    }
    return _beside(drawing, absent)


def _beside(drawing: Drawing, absent: Mapping[str, Row]) -> Drawing:
    if not absent:
        return drawing
    each = (f"{name} ({why})" if (why := ended(row)) else name for name, row in absent.items())
    said = f"Without a number here: {', '.join(each)}."
    return replace(drawing, caption=f"{drawing.caption} {said}", key=f"{drawing.key} {said}".strip())
