"""The comparison as a forest plot: each method's difference from the reference, with its interval and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import altair as alt

from bench.analysis.comparison import Group
from bench.analysis.verdicts import worded
from bench.report.figures.axes import Scale, widen
from bench.report.figures.figure import Canvas, Drawing, Layers
from bench.report.figures.label_placement import Box, Place, Text, place_labels
from bench.report.figures.marks import Look, bars, dots, down_the_side
from bench.report.figures.points import Point, data, labels, named, of_row
from bench.report.tables.formatting import seed_list
from bench.system.text import points as in_points

__all__ = ["differences", "drawing"]

_STEP = 3.2
"""Height of a row, in the height of its text."""
_ABOVE = (Place(0, -13, "center", "bottom"), Place(-8, -13, "right", "bottom"), Place(8, -13, "left", "bottom"))


def drawing(group: Group, looks: Mapping[str, Look]) -> Drawing | None:
    """Draw a group; None where there is no reference, or nothing beside it."""
    points = differences(group)
    if group.reference is None or len(points) < 2:
        return None
    summary = ", ".join(f"{point['label']} {point['said']}" for point in points[1:])
    # Only the reference and methods of one seed have no bar.
    sure, unsure = any(point["bar"] for point in points), not all(point["bar"] for point in points[1:])
    bar = "Bars: 95 % interval of each difference taken alone, over seeds and reviews." if sure else ""
    key = f"{bar} {'No bar: one seed, so no interval.' if unsure else ''}".strip()
    return Drawing(
        figure="forest",
        title=f"Difference from {points[0]['label']}",
        caption=f"{summary}. Paired by seed and review. {key} The verdicts are those of the table, and one seed gives none.",
        draw=lambda canvas: _layers(group, looks, canvas),
        key=key,
        shown=labels(points),
    )


def differences(group: Group) -> list[Point]:
    """Return the reference's zero, then each method's difference in points on the seeds on which neither collapsed."""
    points = []
    for row, name in named(group.rows):
        if row is group.reference:
            zero = {"x": 0.0, "low": 0.0, "high": 0.0, "said": "reference", "bar": False}
            points.append(of_row(row, name, "the reference") | zero)
        elif row.paired is not None and row.accuracy_difference is not None:
            paired = row.paired
            middle = row.accuracy_difference if paired.difference is None else paired.difference
            low, high = (middle if bound is None else bound for bound in (paired.low, paired.high))
            interval = ", no interval" if paired.low is None else f" [{in_points(low)}, {in_points(high)}]"
            verdict = worded(paired)
            without = f", without the collapsed seeds {seed_list(paired.collapsed)}" if paired.collapsed else ""
            points.append(
                of_row(row, name, f"{in_points(middle)}{interval} points, {verdict}{without}")
                | {"x": 100 * middle, "low": 100 * low, "high": 100 * high}
                | {"said": f"{in_points(middle)} {paired.verdict}", "bar": paired.low is not None}
            )
    return points


def _layers(group: Group, looks: Mapping[str, Look], canvas: Canvas) -> Layers:
    points = differences(group)
    height = round(_STEP * canvas.text * len(points))
    across = _roomy(points, widen([point[at] for point in points for at in ("x", "low", "high")], least=0.5), canvas)
    rows = _placed(points, across, canvas, height)
    against = f"accuracy minus {points[0]['label']}'s, points"

    def x(field: str = "x") -> Any:
        return alt.X(f"{field}:Q", axis=alt.Axis(format="~f", tickCount=6)).scale(**across.altair()).title(against)

    y = down_the_side(rows, canvas)
    labels = data(rows[1:]).mark_text(
        dx=alt.ExprRef("datum.dx"), dy=-13, baseline="bottom", align=alt.ExprRef("datum.align"), fontSize=canvas.text - 1,
        aria=False,
    )  # fmt: skip
    return [
        data(rows[:1]).mark_rule(strokeWidth=1.5, aria=False).encode(x=x()),
        *bars(rows, "low", "high", 2, x=x("low"), x2="high", y=y),
        labels.encode(x=x(), y=y, text="said:N"),
        *dots(rows, looks, x=x(), y=y, size=110),
    ], height


def _roomy(points: Sequence[Point], across: Scale, canvas: Canvas) -> Scale:
    """Widen the scale, so that each point has room for its text on the side where the reference is not."""
    low, high = across.low, across.high
    # Those right of the reference first, since the other end follows from theirs.
    for point in sorted(points[1:], key=lambda point: point["x"] < 0):
        share = max(0.3, 1 - Text(point["said"], 0, 0, _ABOVE).box(_ABOVE[-1], canvas.text - 1).right / canvas.width)
        if point["x"] >= 0:
            high = max(high, across.low + (point["x"] - across.low) / share)
        else:
            low = min(low, high - (high - point["x"]) / share)
    return replace(across, low=low, high=high)


def _placed(points: Sequence[Point], across: Scale, canvas: Canvas, height: int) -> list[Point]:
    """Choose the side of each text, so that none covers the line of the reference."""
    step, zero = height / len(points), canvas.width * across.share(0.0)
    texts = [
        Text(point["said"], canvas.width * across.share(point["x"]), (i + 0.5) * step, _ABOVE) for i, point in enumerate(points)
    ]
    places = place_labels(texts, [Box(zero - 6, 0, zero + 6, height)], Box(0, 0, canvas.width, height), canvas.text - 1)
    return [{**point, "align": place.align, "dx": place.dx} for point, place in zip(points, places, strict=True)]
