"""Learning curves and time to accuracy."""

from __future__ import annotations

import math

from bench.analysis.comparison import Group
from bench.analysis.learning_curves import Mark, TimeTo, levels, marks, time_to
from bench.report.tables.footnotes import title
from bench.report.tables.formatting import seconds
from bench.report.tables.table import Note, Section
from bench.rules import MARKS
from bench.system.text import percent

__all__ = ["as_json", "sections"]


def sections(group: Group) -> list[Section]:
    """Return two tables: accuracy at quarters of the budget, and the time to some accuracies. None without curves."""
    rows = [row for row in group.rows if any(record.training and record.training.curve for record in row.runs)]
    if not rows:
        return []
    reviews = next(record.data.validation for row in rows for record in row.runs)
    expected = "By their clocks runs shared their device, so seconds are those that the calibration expects."
    clock = [Note("clock", expected)] if group.shared else []
    precision = f"standard error of one of 80 %: {100 * math.sqrt(0.8 * 0.2 / max(1, reviews)):.1f} points"
    curve = Section(
        title=f"Learning curves · {title(group)}",
        headers=["method", *(f"at {100 * mark:.0f} %" for mark in MARKS)],
        rows=[[row.label, *(_mark(mark, shared=group.shared) for mark in marks(row.runs))] for row in rows],
        notes=[
            Note("validation", f"Accuracy in % on {reviews:,} validation reviews ({precision}), with device seconds by then."),
            *clock,
            Note("schedule", "The learning rate follows the budget: a point on the way is not where a smaller budget ends."),
        ],
    )
    accuracies = levels(group)
    timed = Section(
        title=f"Time to validation accuracy · {title(group)}",
        headers=["method", *(head for level in accuracies for head in (f"time to\n{100 * level:.4g} %", "reviews\nby then"))],
        rows=[
            [row.label, *(c for level in accuracies for c in _time(time_to(row.measured, level), shared=group.shared))]
            for row in rows
        ],
        notes=[
            Note(
                "bound",
                "Seconds and reviews at the first quarter of the budget with that accuracy: upper bounds, median over seeds.",
            ),
            *clock,
        ],
    )
    return [curve, timed]


def _mark(mark: Mark, *, shared: bool) -> str:
    if mark.accuracy is None:
        return "–"
    took = mark.calibrated if shared else mark.seconds
    return percent(mark.accuracy) + ("" if took is None else f"\n({seconds(took)})")


def _time(time_to: TimeTo, *, shared: bool) -> tuple[str, str]:
    partly = f" ({time_to.reached} of {time_to.runs})" if 0 < time_to.reached < time_to.runs else ""
    if time_to.seconds is None or time_to.reviews is None:
        return f"not reached{partly}", ""
    took = time_to.calibrated if shared else time_to.seconds
    return ("–" if took is None else f"≤ {seconds(took)}{partly}"), f"{time_to.reviews:,.0f}"


def as_json(group: Group) -> list[dict[str, object]]:
    """Return the same as plain values: shares of 1, device seconds, reviews; null where there is none."""
    return [
        {
            "label": row.label,
            "marks": [vars(mark) for mark in marks(row.runs)],
            "time_to_accuracy": [vars(time_to(row.measured, level)) for level in levels(group)],
        }
        for row in group.rows
    ]
