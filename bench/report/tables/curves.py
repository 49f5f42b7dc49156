"""Learning curves and time to accuracy: what a group's runs had learned along the way."""

from __future__ import annotations

import math

from bench.analysis.comparison import Group
from bench.analysis.learning_curves import Mark, TimeTo, levels, marks, time_to
from bench.report.tables.footnotes import title
from bench.report.tables.table import Section, seconds
from bench.rules import MARKS
from bench.system.text import percent

__all__ = ["as_json", "sections"]


def sections(group: Group) -> list[Section]:
    """Two tables: validation accuracy at quarters of the budget, and the time to some accuracies. None without curves."""
    rows = [row for row in group.rows if any(record.training and record.training.curve for record in row.runs)]
    if not rows:
        return []
    reviews = next(record.data.validation for row in rows for record in row.runs)
    error = math.sqrt(0.8 * 0.2 / max(1, reviews))
    curve = Section(
        title=f"Learning curves · {title(group)}",
        headers=[
            ("method", ""),
            *(("validation %" if not i else "", f"at {100 * mark:.0f} %") for i, mark in enumerate(MARKS)),
        ],
        rows=[[row.label, *(_mark(mark) for mark in marks(row.runs))] for row in rows],
        notes=[
            f"Accuracy on the {reviews:,} validation reviews at shares of the budget, mean over seeds, with the device seconds "
            f"charged by then. Of one accuracy of 80 % on so many the standard error is {100 * error:.1f} points.",
            "The learning rate follows the share of the budget spent, so a point on the way is not where a run with a smaller "
            "budget would end.",
        ],
    )
    wanted = levels(group)
    timed = Section(
        title=f"Time to validation accuracy · {title(group)}",
        headers=[
            ("method", ""),
            *(part for level in wanted for part in (("time to", f"{_level(level)} %"), ("reviews", "by then"))),
        ],
        rows=[[row.label, *(cell for level in wanted for cell in _time(time_to(row.measured, level)))] for row in rows],
        notes=[
            "Device seconds and reviews at the first quarter of the budget at which the accuracy was seen: an upper bound. "
            "Median over seeds; a seed that never had it counts as later than all others."
        ],
    )
    return [curve, timed]


def _level(level: float) -> str:
    return f"{100 * level:.2f}".removesuffix(".00")


def _mark(mark: Mark) -> str:
    return "–" if mark.accuracy is None or mark.seconds is None else f"{percent(mark.accuracy)} ({seconds(mark.seconds)})"


def _time(found: TimeTo) -> tuple[str, str]:
    partly = f" ({found.reached} of {found.runs})" if 0 < found.reached < found.runs else ""
    if found.seconds is None or found.reviews is None:
        return f"not reached{partly}", ""
    return f"≤ {seconds(found.seconds)}{partly}", f"{found.reviews:,.0f}"


def as_json(group: Group) -> list[dict[str, object]]:
    """The same as plain values: shares of 1, device seconds, reviews; null where there is none."""
    return [
        {
            "label": row.label,
            "marks": [vars(mark) for mark in marks(row.runs)],
            "time_to_accuracy": [vars(time_to(row.measured, level)) for level in levels(group)],
        }
        for row in group.rows
    ]
