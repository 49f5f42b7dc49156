"""All figures, and those that the records of a folder give. Altair draws them, for the page and as files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from bench.analysis.budget_sweep import Sweep, budget_of, sweeps
from bench.analysis.comparison import Group
from bench.report.figures import curves, forest, memory, scatter, sweep
from bench.report.figures.caveats import beside_group, beside_sweep
from bench.report.figures.figure import INKS, NARROW, PICTURE, WIDE, Canvas, Drawing, Spec, theme, vl_version
from bench.report.figures.style import Look, looks

__all__ = [
    "INKS", "LACKING", "NARROW", "PICTURE", "WIDE", "Canvas", "Drawing", "Look", "Spec", "drawings", "looks_of", "of_group",
    "of_sweep", "theme", "vl_version",
]  # fmt: skip

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


def looks_of(groups: Sequence[Group]) -> dict[str, Look]:
    """Return the look of every method, the same in all figures of a report."""
    return looks(row.method for group in groups for row in group.rows)


def of_group(group: Group, look: Mapping[str, Look]) -> list[Drawing]:
    """Draw the figures that a group has data for."""
    candidates = (
        forest.drawing(group, look),
        scatter.drawing(group, look, scatter.time(group)),
        scatter.drawing(group, look, scatter.MEMORY),
        scatter.drawing(group, look, scatter.PARAMETERS),
        curves.drawing(group, look),
        memory.drawing(group),
    )
    return [beside_group(drawing, group) for drawing in candidates if drawing is not None]


def of_sweep(swept: Sweep, look: Mapping[str, Look]) -> list[Drawing]:
    """Draw groups that differ in their budget alone, if a run of them is complete."""
    drawn = sweep.drawing(swept, look)
    return [] if drawn is None else [beside_sweep(drawn, swept)]


def drawings(groups: Sequence[Group]) -> dict[str, Drawing]:
    """Draw every figure of these groups and of the sweeps among them, by file name."""
    look, by_name, times = looks_of(groups), dict[str, Drawing](), Counter[str]()
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
    name = group.encoders[0] if group.encoders else group.key.encoder_sha256[:12]
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60]
