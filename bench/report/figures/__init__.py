"""All figures, and those that the records of a folder give. Altair draws them, for the page and as files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.analysis.budget_sweep import Sweep, budget_of, sweeps
from bench.analysis.comparison import Group
from bench.report.figures import curves, forest, memory, scatter, sweep
from bench.report.figures.figure import Drawing
from bench.report.figures.marks import Look, looks
from bench.report.figures.points import named
from bench.report.tables.columns import ended
from bench.report.tables.footnotes import of_collapse, title
from bench.system.text import harmless

__all__ = ["LACKING", "drawings", "of_group", "of_sweep"]

LACKING = {
    "forest": "no complete run of the reference beside another method",
    "accuracy-time": "no complete run with a calibrated time, or with a device of its own",
    "accuracy-memory": "no complete run that measured its memory",
    "accuracy-parameters": "no complete run",
    "curves": "no run with a learning curve",
    "memory-split": "no run that measured its memory by purpose",
    "sweep": "no runs that differ in the amount of their budget alone",
}
"""Why a figure cannot be drawn, in the order of figures."""


def of_group(group: Group, look: Mapping[str, Look]) -> list[Drawing]:
    """Draw the figures that a group has data for, each with its caveats."""
    candidates = (
        forest.drawing(group, look),
        scatter.drawing(group, look, scatter.time(group)),
        scatter.drawing(group, look, scatter.MEMORY),
        scatter.drawing(group, look, scatter.PARAMETERS),
        curves.drawing(group, look),
        memory.drawing(group),
    )
    ends = {name: ended(row) for row, name in named(group.rows)}
    collapsed = [note.text for note in of_collapse(group)]
    drawn = [replace(drawing, shared=title(group)) for drawing in candidates if drawing is not None]
    return [
        _with_caveats(drawing, {name: why for name, why in ends.items() if name not in drawing.shown}, collapsed)
        for drawing in drawn
    ]


def of_sweep(swept: Sweep, look: Mapping[str, Look]) -> list[Drawing]:
    """Draw groups that differ in their budget alone, if a run of them is complete."""
    drawn = sweep.drawing(swept, look)
    if drawn is None:
        return []
    absent = {
        f"{name} at {budget}": ended(row)
        for name, rows in sweep.rows_by_name(swept).items()
        for budget, row in zip(swept.budgets, rows, strict=True)
        if row is not None and row.accuracy is None
    }
    each = zip(swept.budgets, swept.groups, strict=True)
    return [_with_caveats(drawn, absent, [f"At {budget}: {note.text}" for budget, of in each for note in of_collapse(of)])]


def _with_caveats(drawing: Drawing, absent: Mapping[str, str], collapsed: Sequence[str]) -> Drawing:
    """Add methods without a number, with the states of their runs, and collapsed runs to the caption and the key."""
    without = ", ".join(f"{name} ({why})" if why else name for name, why in absent.items())
    lines = [*([f"Without a number here: {without}."] if without else []), *map(harmless, collapsed)]
    return replace(drawing, caption=" ".join([drawing.caption, *lines]), key=" ".join([drawing.key, *lines]).strip())


def drawings(groups: Sequence[Group]) -> dict[str, Drawing]:
    """Draw every figure of these groups and of the sweeps among them, by file name."""
    look = looks(row.method for group in groups for row in group.rows)
    by_name, times = dict[str, Drawing](), Counter[str]()
    sets = [(f"{_encoder(group)}-{budget_of(group).slug}", of_group(group, look)) for group in groups]
    sets += [(_encoder(swept.groups[0]), of_sweep(swept, look)) for swept in sweeps(groups)]
    for of, figures in sets:
        # Groups of one encoder and budget, such as those of different machines, are numbered.
        times[of] += 1
        which = of if times[of] == 1 else f"{of}-{times[of]}"
        by_name |= {f"{drawing.figure}-{which}": drawing for drawing in figures}
    return by_name


def _encoder(group: Group) -> str:
    """Write the encoder as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", group.encoders[0])[:60]
