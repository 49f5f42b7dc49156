"""Accuracy against what a method costs, trainable parameters or memory, and which methods no other beats at both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt

from bench.analysis.comparison import Group, Row
from bench.records.schema import Record
from bench.report.figures.axes import Scale, line_layers, line_words, lines_across, place_lines, widen
from bench.report.figures.figure import Canvas, Drawing, Layers
from bench.report.figures.label_placement import AROUND, Box, Place, Text, place_labels
from bench.report.figures.marks import Look, bars, dots
from bench.report.figures.points import CUT, Point, data, interval, is_cut, labels, named, of_row, of_run
from bench.report.tables.formatting import plus_minus
from bench.system.text import percent

__all__ = ["MEMORY", "PARAMETERS", "Cost", "drawing", "front", "means", "runs", "time"]


@dataclass(frozen=True)
class Cost:
    """The horizontal axis."""

    figure: str
    title: str
    axis: str
    unit: str
    large: str
    """What the point of a method with several runs is."""
    of_row: Callable[[Row], float | None]
    of_run: Callable[[Record], float | None]
    log: bool = False
    least: float = 1.0
    """Room at the ends of the axis."""
    form: str = ",.0f"
    """Of a number, for Python and for d3."""


PARAMETERS = Cost(
    "accuracy-parameters", "Accuracy and trainable parameters", "trainable parameters, log scale",
    "trainable parameters", "mean accuracy over seeds",
    lambda row: None if row.body is None or row.head is None else row.body + row.head,
    lambda record: None if record.parameters is None else record.parameters.body + record.parameters.head, log=True,
)  # fmt: skip
MEMORY = Cost(
    "accuracy-memory", "Accuracy and memory", "peak memory of training, MiB", "MiB",
    "mean accuracy and median memory over seeds",
    lambda row: None if row.memory is None else row.memory / 2**20,
    lambda record: None if record.memory is None else record.memory.training_bytes / 2**20,
    least=5.0,  # so that ticks are whole numbers
)  # fmt: skip
_CALIBRATED = Cost(
    "accuracy-time", "Accuracy and device time", "time per token over the reference's, calibrated", "× the time per token",
    "mean accuracy over seeds and calibrated time, its 95 % interval across",
    lambda row: row.conversion.ratio if row.conversion else None,
    lambda record: None, least=0.05, form=",.2f",
)  # fmt: skip
_CLOCKED = Cost(
    "accuracy-time", "Accuracy and device time", "device seconds for 1,000 reviews", "s for 1,000 reviews",
    "mean accuracy and speed over seeds",
    lambda row: 1000 / row.reviews_per_second if row.reviews_per_second else None,
    lambda record: None, least=0.1, form=",.1f",
)  # fmt: skip


def time(group: Group) -> Cost | None:
    """Return the axis of time: that of a calibration, else the runs' own clocks unless their device was shared."""
    return _CALIBRATED if group.calibrated else None if group.shared else _CLOCKED


def drawing(group: Group, looks: Mapping[str, Look], cost: Cost | None) -> Drawing | None:
    """Draw a group; None where no method has both an accuracy and this cost."""
    points = means(group, cost) if cost else []
    if not points or cost is None:
        return None
    summary = ", ".join(f"{point['label']} {point['accuracy']:.2f} %" for point in points)
    large, key = "One run each.", ""
    if any(len(row.runs) > 1 for row in group.rows):
        cut = f" {CUT}" if any(map(is_cut, group.rows)) else ""
        large = f"Large points are {cost.large}, bars 95 % intervals of that mean, small points runs.{cut}"
        key = f" Points: {cost.large}. Bars: 95 % interval over seeds. Small points: runs.{cut}"
    return Drawing(
        figure=cost.figure,
        title=cost.title,
        caption=f"{summary}. Ringed and joined: the front of these estimates, each more accurate than all that cost as much or "
        "less; whether neighbours on it really differ, the verdicts say, and it may be unresolved. "
        f"{large} {line_words(group)}",
        draw=lambda canvas: _layers(group, looks, cost, canvas),
        key=f"Ringed: front of the points shown; neighbours on it may be unresolved.{key}",
        shown=labels(points),
    )


def means(group: Group, cost: Cost) -> list[Point]:
    """Return a point for each method that has an accuracy and this cost."""
    points = []
    for row, name in named(group.rows):
        x = cost.of_row(row)
        if row.accuracy is None or not x:
            continue
        points.append(
            of_row(row, name, f"{plus_minus(row.accuracy, row.accuracy_half_width)} %, {x:{cost.form}} {cost.unit}")
            | {"x": x, "accuracy": 100 * row.accuracy}
            | interval(row)
            | ({"left": row.conversion.low, "right": row.conversion.high} if cost is _CALIBRATED and row.conversion else {})
        )
    return points


def runs(group: Group, cost: Cost) -> list[Point]:
    """Return a point for each run of the methods that have several."""
    return [
        of_run(record, name, f"{percent(record.test.accuracy)} %, {x:{cost.form}} {cost.unit}")
        | {"x": x, "accuracy": 100 * record.test.accuracy}
        for row, name in named(group.rows)
        for record in row.runs
        if len(row.runs) > 1 and record.test is not None and (x := cost.of_run(record))
    ]


def front(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front by rising cost: points that no cheaper or equal one matches in accuracy."""
    frontier: list[Point] = []
    for point in sorted(points, key=lambda p: (p["x"], -p["accuracy"])):
        if not frontier or point["accuracy"] > frontier[-1]["accuracy"]:
            frontier.append(point)
    return frontier


def _layers(group: Group, looks: Mapping[str, Look], cost: Cost, canvas: Canvas) -> Layers:
    points, single, lines = means(group, cost), runs(group, cost), lines_across(group, canvas)
    ends = [point[at] for point in (*points, *single) for at in ("x", "left", "right") if at in point]
    across = widen(ends, log=cost.log, least=cost.least)
    heights = [point[at] for point in (*points, *single, *lines) for at in ("accuracy", "low", "high") if at in point]
    up = widen(heights, least=0.5, ends=(0, 100))
    axis = alt.Axis(values=across.ticks(), format="~s") if cost.log else alt.Axis(format=cost.form, tickCount=5)

    def x(field: str = "x") -> Any:
        return alt.X(f"{field}:Q", axis=axis).scale(**across.altair()).title(cost.axis)

    def y(field: str = "accuracy") -> Any:
        return alt.Y(f"{field}:Q").scale(**up.altair()).title("test accuracy, %")

    spots = [(canvas.width * across.share(p["x"]), canvas.height * (1 - up.share(p["accuracy"]))) for p in (*points, *single)]
    line_places, labelled = _placed(points, spots, lines, across, up, canvas)
    best = front(points)
    place = {name: alt.ExprRef(f"datum.{name}") for name in ("dx", "dy", "align", "baseline")}
    return [
        *line_layers(lines, line_places, y(), canvas),
        data(best).mark_line(interpolate="step-after", strokeWidth=1.5, opacity=0.5, aria=False).encode(x=x(), y=y()),
        data(labelled).mark_text(limit=round(0.7 * canvas.width), aria=False, **place).encode(x=x(), y=y(), text="label:N"),
        data(best).mark_point(shape="circle", size=320, filled=False, strokeWidth=1.5, aria=False).encode(x=x(), y=y()),
        *bars(points, "low", "high", x=x(), y=y("low"), y2="high"),
        *bars(points, "left", "right", x=x("left"), x2="right", y=y(), opacity=0.6),
        *dots(single, looks, of=points, x=x(), y=y(), size=35, opacity=0.75),
        *dots(points, looks, x=x(), y=y(), size=110),
    ], canvas.height


def _placed(
    points: Sequence[Point],
    spots: Sequence[tuple[float, float]],
    lines: Sequence[Point],
    across: Scale,
    up: Scale,
    canvas: Canvas,
) -> tuple[list[Place], list[Point]]:
    """Places for the texts of lines, and the points with places for their names. `spots` are all points, those first."""
    drawn = [*(Box(x - 11, y - 11, x + 11, y + 11) for x, y in spots), *_steps(points, spots)]
    for point, (x, y) in zip(points, spots, strict=False):
        top, bottom = (canvas.height * (1 - up.share(point[end])) for end in ("high", "low"))
        left, right = (canvas.width * across.share(point[end if end in point else "x"]) for end in ("left", "right"))
        drawn += [Box(x - 2, top, x + 2, bottom), Box(left, y - 2, right, y + 2)]
    line_places, covered = place_lines(lines, up, canvas, drawn)
    at_points = [Text(point["label"], x, y, AROUND) for point, (x, y) in zip(points, spots, strict=False)]
    places = place_labels(at_points, [*drawn, *covered], Box(0, 0, canvas.width, canvas.height), canvas.text)
    return line_places, [{**point, **vars(place)} for point, place in zip(points, places, strict=True)]


def _steps(points: Sequence[Point], spots: Sequence[tuple[float, float]]) -> list[Box]:
    """Return what the line of the front covers: from each point to the right, and then up to the next."""
    on_front = [spots[points.index(point)] for point in front(points)]
    return [
        box
        for (x, y), (to_x, to_y) in pairwise(on_front)
        for box in (Box(x, y - 1, to_x, y + 1), Box(to_x - 1, to_y, to_x + 1, y))
    ]
