"""The reliability figure: accuracy against confidence, bin by bin, and the line on which they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from bench.analysis.comparison import Group
from bench.analysis.confidence import BINS, Confidence
from bench.report.figures.axes import widen
from bench.report.figures.figure import Canvas, Drawing, Layers
from bench.report.figures.marks import Look, dots, end_names, lines_of
from bench.report.figures.points import Point, data, labels, named, of_row
from bench.system.text import percent

__all__ = ["drawing", "points"]


def drawing(group: Group, looks: Mapping[str, Look], confidences: Sequence[Confidence]) -> Drawing | None:
    """Draw a group; None where no run has its logits."""
    bins = points(group, confidences)
    if not bins:
        return None
    errors = ", ".join(f"{entry.label} {percent(entry.ece)} %" for entry in confidences)
    return Drawing(
        figure="reliability",
        title="Reliability",
        caption=f"Accuracy against confidence in {BINS} bins of equal mass, means over seeds. Below the dashed line a method "
        f"is surer than it is right. Expected calibration error: {errors}.",
        draw=lambda canvas: _layers(bins, looks, canvas),
        shown=labels(bins),
        key="Dashed: accuracy equals confidence. By each name: accuracy where it is surest.",
    )


def points(group: Group, confidences: Sequence[Confidence]) -> list[Point]:
    """Return a point for each method and bin, in %."""
    by_label = {entry.label: entry for entry in confidences}
    return [
        of_row(row, name, f"{100 * b['confidence']:.1f} % sure, {100 * b['accuracy']:.1f} % right")
        | {"x": 100 * b["confidence"], "y": 100 * b["accuracy"]}
        for row, name in named(group.rows)
        if row.label in by_label
        for b in by_label[row.label].bins
    ]


def _layers(bins: Sequence[Point], looks: Mapping[str, Look], canvas: Canvas) -> Layers:
    across = widen([point["x"] for point in bins], least=0.5, ends=(0, 100))
    up = widen([value for point in bins for value in (point["x"], point["y"])], least=0.5, ends=(0, 100))
    x = alt.X("x:Q", axis=alt.Axis(grid=False, tickCount=6)).scale(**across.altair()).title("confidence, %")
    y = alt.Y("y:Q").scale(**up.altair()).title("accuracy, %")
    agree: list[Point] = [{"x": end, "y": end} for end in (across.low, across.high)]
    return [
        data(agree).mark_line(strokeDash=[5, 4], strokeWidth=1.5, opacity=0.65, aria=False).encode(x=x, y=y),
        *lines_of(bins, looks, x, y),
        *dots(bins, looks, x=x, y=y, size=50),
        *end_names(bins, looks, up, canvas, y),
    ], canvas.height
