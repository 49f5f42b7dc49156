"""The marks that figures are made of: methods in their looks, names down the side, and names at the ends of lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

import methods
from bench.report.figures.axes import Scale
from bench.report.figures.figure import Canvas
from bench.report.figures.label_placement import spread
from bench.report.figures.points import Point, data
from bench.system.text import harmless

__all__ = ["COLOURS", "SHAPES", "Look", "bars", "dots", "down_the_side", "end_names", "last_points", "lines_of", "looks"]


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#f0e442")
"""The palette of Okabe and Ito (Color Universal Design, 2008), with grey for black, which a dark page would swallow."""
SHAPES = (
    "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "M-0.9,-0.9L0.9,-0.9L0.9,0.9L-0.9,0.9Z",
    "M0,-1L1,0.8L-1,0.8Z",
    "M0,-1L1,0L0,1L-1,0Z",
    "M-0.35,-1L0.35,-1L0.35,-0.35L1,-0.35L1,0.35L0.35,0.35L0.35,1L-0.35,1L-0.35,0.35L-1,0.35L-1,-0.35L-0.35,-0.35Z",
    "M0,1L1,-0.8L-1,-0.8Z",
    "M-1,0L0.8,1L0.8,-1Z",
)
"""Circle, square, triangle, diamond, cross and triangles that point down and left: SVG paths from -1 to 1, as Vega takes
them. There is one less than there are colours, so that 56 methods pass before a pair of both comes again.
"""

DASHES = ((1, 0), (7, 4), (2, 3), (14, 4), (4, 9), (1, 6), (22, 8))
"""Pixels drawn and left out, the solid line first: one for each round through the colours."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    shape: str
    """An SVG path from -1 to 1."""
    dash: tuple[int, int] = DASHES[0]
    """Of its lines, in pixels drawn and left out: on a line a shape is seen at its points alone, and colours come again."""


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """Return the look of every registered method, in the order of the registry, then of those in `labels` that it lacks."""
    registered = methods.names()
    order = [*registered, *sorted(set(labels) - set(registered))]
    return {
        name: Look(COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)], DASHES[i // len(COLOURS) % len(DASHES)])
        for i, name in enumerate(order)
    }


def _by_method(channel: Any, look: str, rows: Sequence[Point], looks: Mapping[str, Look]) -> Any:
    """Encode methods by a part of their look. There is no legend: names are next to their marks."""
    present = {row["method"] for row in rows}
    shown = {harmless(method): getattr(own, look) for method, own in looks.items() if harmless(method) in present}
    return channel("method:N").scale(domain=list(shown), range=list(shown.values())).legend(None)


def dots(
    rows: Sequence[Point], looks: Mapping[str, Look], *, of: Sequence[Point] = (), x: Any, y: Any, **mark: Any
) -> list[Any]:
    """Draw points that say what they are; methods and their order are those `of` these points, by default its own."""
    if not rows:
        return []
    color, shape = (_by_method(*channel, of or rows, looks) for channel in ((alt.Color, "colour"), (alt.Shape, "shape")))
    encoded = {"color": color, "shape": shape, "tooltip": "says:N", "description": "says:N"}
    return [data(rows).mark_point(**mark).encode(x=x, y=y, **encoded)]


def bars(
    rows: Sequence[Point], low: str, high: str, width: float = 1.5, *, opacity: float | None = None, **place: Any
) -> list[Any]:
    """Draw the intervals between two fields, where one is below the other."""
    sure = [row for row in rows if low in row and row[low] < row[high]]
    mark = {"strokeWidth": width, "aria": False} | ({} if opacity is None else {"opacity": opacity})
    return [data(sure).mark_rule(**mark).encode(**place)] if sure else []


def lines_of(rows: Sequence[Point], looks: Mapping[str, Look], x: Any, y: Any) -> list[Any]:
    """Draw a line a method. Below each is a wider one in the colour of text, for yellow alone is hardly seen on white."""
    placed = {"x": x, "y": y, "detail": "label:N", "strokeDash": _by_method(alt.StrokeDash, "dash", rows, looks)}
    return [
        data(rows).mark_line(strokeWidth=4, opacity=0.45, aria=False).encode(**placed),
        data(rows).mark_line(aria=False).encode(**placed, color=_by_method(alt.Color, "colour", rows, looks)),
    ]


def last_points(points: Sequence[Point]) -> list[Point]:
    """Return the last point of each line, of points that follow each other within a line."""
    return list({point["label"]: point for point in points}.values())


def end_names(points: Sequence[Point], looks: Mapping[str, Look], up: Scale, canvas: Canvas, y: Any) -> list[Any]:
    """Write the names of lines at their right ends, each behind its method's point, moved apart where lines end close together.

    The heights of points are in their field `y`, and the argument of that name is its encoding. Where a line does not end at
    the right, `where` says where it does.
    """
    ends = last_points(points)
    wanted = [canvas.height * (1 - up.share(end["y"])) for end in ends]
    moved = spread(wanted, 1.25 * canvas.text, canvas.height)
    rows = [
        {**end, "y": up.value(1 - at / canvas.height), "end": f"{end['label']} {end['y']:.1f}{end.get('where', '')}"}
        for end, at in zip(ends, moved, strict=True)
    ]
    color, shape = (_by_method(*channel, rows, looks) for channel in ((alt.Color, "colour"), (alt.Shape, "shape")))
    right = alt.value("width")
    texts = data(rows).mark_text(align="left", baseline="middle", dx=24, limit=round(0.55 * canvas.width), aria=False)
    return [
        data(rows).mark_point(size=60, xOffset=14, aria=False).encode(x=right, y=y, color=color, shape=shape),
        texts.encode(x=right, y=y, text="end:N"),
    ]


def down_the_side(rows: Sequence[Point], canvas: Canvas, **scale: Any) -> Any:
    """Encode names as rows, the first on top. A setting is below the name of its method."""
    two_lines = "split(replace(datum.label, ')', ''), ' (')"
    axis = alt.Axis(grid=False, labelExpr=two_lines, labelLimit=round(0.6 * canvas.width))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return alt.Y("label:N", axis=axis).scale(domain=labels, **scale).sort(None).title(None)
