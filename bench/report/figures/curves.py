"""Learning curves: validation accuracy as the budget is spent."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt

from bench.analysis.comparison import Group
from bench.analysis.learning_curves import at_marks, marks
from bench.report.figures.axes import Scale, widen
from bench.report.figures.figure import Canvas, Drawing, Layers
from bench.report.figures.marks import Look, dots, end_names, last_points, lines_of
from bench.report.figures.points import Point, labels, named, of_row, of_run
from bench.report.tables.formatting import seconds
from bench.rules import MARKS
from bench.system.text import percent

__all__ = ["drawing", "means", "runs"]


def drawing(group: Group, looks: Mapping[str, Look]) -> Drawing | None:
    """Draw a group; None where no run of it has a curve."""
    points = means(group)
    if not points:
        return None
    ends = ", ".join(f"{end['label']} {end['y']:.2f} %" for end in last_points(points))
    reviews = next(record.data.validation for record in group.runs)
    return Drawing(
        figure="curves",
        title="Learning curves",
        caption=f"At the last mark {ends}, on the {reviews:,} validation reviews, mean over seeds. The learning rate follows "
        "the share of the budget spent: a point on the way is not where a smaller budget would end.",
        draw=lambda canvas: _layers(group, looks, canvas),
        shown=labels(points),
        key="Means over seeds; small points are runs." if runs(group) else "",
    )


def means(group: Group) -> list[Point]:
    """Return a point for each method and mark that all its runs with a curve have."""
    return [
        of_row(
            row, name,
            f"{percent(mark.accuracy)} % at {100 * mark.fraction:.0f} % of the budget"
            f"{_took(group, mark.calibrated, mark.seconds)}, {mark.reviews:,.0f} reviews",
        )
        | {"x": 100 * mark.fraction, "y": 100 * mark.accuracy}
        for row, name in named(group.rows)
        for mark in marks(row.runs)
        if mark.accuracy is not None and mark.seconds is not None and mark.reviews is not None
    ]  # fmt: skip


def runs(group: Group) -> list[Point]:
    """Return a point for each run and mark of the methods that have several runs."""
    return [
        of_run(
            record, name,
            f"{percent(point.accuracy)} % at {100 * mark:.0f} % of the budget{_took(group, None, point.seconds)}, "
            f"{point.reviews:,} reviews",
        )
        | {"x": 100 * mark, "y": 100 * point.accuracy}
        for row, name in named(group.rows)
        for record in row.runs
        if len(row.runs) > 1 and record.training is not None
        for mark, point in at_marks(record.training.curve).items()
    ]  # fmt: skip


def _took(group: Group, calibrated: float | None, clock: float) -> str:
    """Write the device seconds of a point; those of the clock only where no device was shared."""
    took = calibrated if group.shared else clock
    return "" if took is None else f", {seconds(took)}"


def _layers(group: Group, looks: Mapping[str, Look], canvas: Canvas) -> Layers:
    points, single = means(group), runs(group)
    across = Scale(100 * MARKS[0] - 5, 100)
    up = widen([point["y"] for point in (*points, *single)], least=0.5, ends=(0, 100))
    axis = alt.Axis(values=[100 * mark for mark in MARKS], grid=False, labelFlush=False)
    x = alt.X("x:Q", axis=axis).scale(**across.altair())
    x = x.title(f"budget spent, % of {group.key.budget}")
    y = alt.Y("y:Q").scale(**up.altair()).title("validation accuracy, %")
    return [
        *lines_of(points, looks, x, y),
        *dots(single, looks, of=points, x=x, y=y, size=25, opacity=0.6),
        *dots(points, looks, x=x, y=y, size=80),
        *end_names(points, looks, up, canvas, y),
    ], canvas.height
