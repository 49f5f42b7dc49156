"""Caveats of a figure, as in the notes of tables: methods without a number, and runs that collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.analysis.budget_sweep import Sweep
from bench.analysis.comparison import Group
from bench.report.figures.figure import Drawing
from bench.report.figures.points import names
from bench.report.figures.sweep import rows_by_name
from bench.report.tables.rows import ended
from bench.report.tables.verdict_notes import of_collapse
from bench.system.text import harmless

__all__ = ["beside_group", "beside_sweep"]


def beside_group(drawing: Drawing, group: Group) -> Drawing:
    """Add the caveats of its methods to the caption and the key of a group's figure."""
    absent = [
        f"{name} ({why})" if (why := ended(row)) else name
        for name, row in zip(names(group.rows), group.rows, strict=True)
        if name not in drawing.shown
    ]
    return _beside(drawing, absent, [note.text for note in of_collapse(group)])


def beside_sweep(drawing: Drawing, sweep: Sweep) -> Drawing:
    """Do the same for a sweep, in which a method may have no number under some of the budgets."""
    absent = [
        f"{name} at {budget}" + (f" ({why})" if (why := ended(row)) else "")
        for name, rows in rows_by_name(sweep).items()
        for budget, row in zip(sweep.budgets, rows, strict=True)
        if row is not None and row.accuracy is None
    ]
    collapsed = [
        f"At {budget}: {note.text}"
        for budget, group in zip(sweep.budgets, sweep.groups, strict=True)
        for note in of_collapse(group)
    ]
    return _beside(drawing, absent, collapsed)


def _beside(drawing: Drawing, absent: Sequence[str], collapsed: Sequence[str]) -> Drawing:
    lines = [*([f"Without a number here: {', '.join(absent)}."] if absent else []), *map(harmless, collapsed)]
    if not lines:
        return drawing
    return replace(drawing, caption=" ".join([drawing.caption, *lines]), key=" ".join([drawing.key, *lines]).strip())
