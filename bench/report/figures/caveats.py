"""What tables say beside a method's numbers, said with a figure: that other work took a share of a run's budget, and which
methods have no number that the figure is of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bench.comparison import Group, Row
from bench.record import Record
from bench.report.figures.drawing import Drawing
from bench.report.figures.points import names
from bench.report.figures.sweep import named
from bench.report.lines import ended
from bench.sweep import Sweep

__all__ = ["beside_group", "beside_sweep"]


def beside_group(drawing: Drawing, group: Group) -> Drawing:
    """The figure of a group with what is to be said of its methods, in its caption and in its key."""
    rows = dict(zip(names(group.rows), group.rows, strict=True))
    runs = {name: row.runs for name, row in rows.items() if name in drawing.shown}
    return _beside(drawing, runs, {name: row for name, row in rows.items() if name not in drawing.shown})


def beside_sweep(drawing: Drawing, sweep: Sweep) -> Drawing:
    """The same of a sweep, in which a method may have no number under some of the budgets."""
    lines = named(sweep)
    runs = {name: [run for row in rows if row for run in row.runs] for name, rows in lines.items() if name in drawing.shown}
    absent = {
        f"{name} at {budget}": row
        for name, rows in lines.items()
        for budget, row in zip(sweep.budgets, rows, strict=True)
        if row is not None and row.accuracy is None
    }
    return _beside(drawing, runs, absent)


def _beside(drawing: Drawing, runs: Mapping[str, Iterable[Record]], absent: Mapping[str, Row]) -> Drawing:
    contended = [name for name, found in runs.items() if any(run.compute and run.compute.contended for run in found)]
    said = []
    if contended:
        whose = "every method" if 1 < len(runs) == len(contended) else ", ".join(contended)
        said.append(f"† In runs of {whose} other work took a share of the budget.")
    if absent:
        each = (f"{name} ({why})" if (why := ended(row)) else name for name, row in absent.items())
        said.append(f"Without a number here: {', '.join(each)}.")
    return replace(drawing, caption=" ".join([drawing.caption, *said]), key=" ".join([drawing.key, *said]).strip())
