"""The marks that figures are made of: methods in their looks, names down the side, and names at the ends of lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.figures.axes import Scale
from bench.report.figures.figure import Canvas
from bench.report.figures.label_placement import spread
from bench.report.figures.points import Point, data
from bench.report.figures.style import Look
from bench.system.text import harmless

__all__ = ["bars", "dots", "down_the_side", "end_names", "last_points", "lines_of"]


def colours(rows: Sequence[Point], looks: Mapping[str, Look]) -> Any:
    """Encode methods as colours. There is no legend: names are next to their marks."""
    import altair as alt

    shown = _used_looks(rows, looks)
    return alt.Color("method:N").scale(domain=list(shown), range=[look.colour for look in shown.values()]).legend(None)


def shapes(rows: Sequence[Point], looks: Mapping[str, Look]) -> Any:
    """Encode methods as shapes."""
    import altair as alt

    shown = _used_looks(rows, looks)
    return alt.Shape("method:N").scale(domain=list(shown), range=[look.shape for look in shown.values()]).legend(None)


def dots(
    rows: Sequence[Point], looks: Mapping[str, Look], *, of: Sequence[Point] = (), x: Any, y: Any, **mark: Any
) -> list[Any]:
    """Draw points that say what they are; methods and their order are those `of` these points, by default its own."""
    if not rows:
        return []
    shown = of or rows
    encoded = {"color": colours(shown, looks), "shape": shapes(shown, looks), "tooltip": "says:N", "description": "says:N"}
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
    import altair as alt

    shown = _used_looks(rows, looks)
    dash = alt.StrokeDash("method:N").scale(domain=list(shown), range=[list(look.dash) for look in shown.values()]).legend(None)
    placed = {"x": x, "y": y, "detail": "label:N", "strokeDash": dash}
    return [
        data(rows).mark_line(strokeWidth=4, opacity=0.45, aria=False).encode(**placed),
        data(rows).mark_line(aria=False).encode(**placed, color=colours(rows, looks)),
    ]


def _used_looks(rows: Sequence[Point], looks: Mapping[str, Look]) -> dict[str, Look]:
    present = {row["method"] for row in rows}
    return {harmless(method): look for method, look in looks.items() if harmless(method) in present}


def last_points(points: Sequence[Point]) -> list[Point]:
    """Return the last point of each line, of points that follow each other within a line."""
    return list({point["label"]: point for point in points}.values())


def end_names(points: Sequence[Point], looks: Mapping[str, Look], up: Scale, canvas: Canvas, y: Any) -> list[Any]:
    """Write the names of lines at their right ends, each behind its method's point, moved apart where lines end close together.

    The heights of points are in their field `y`, and the argument of that name is its encoding. Where a line does not end at
    the right, `where` says where it does.
    """
    import altair as alt

    ends = last_points(points)
    wanted = [canvas.height * (1 - up.share(end["y"])) for end in ends]
    moved = spread(wanted, 1.25 * canvas.text, canvas.height)
    rows = [
        {**end, "y": up.value(1 - at / canvas.height), "end": f"{end['label']} {end['y']:.1f}{end.get('where', '')}"}
        for end, at in zip(ends, moved, strict=True)
    ]
    color, shape, right = colours(rows, looks), shapes(rows, looks), alt.value("width")
    texts = data(rows).mark_text(align="left", baseline="middle", dx=24, limit=round(0.55 * canvas.width), aria=False)
    return [
        data(rows).mark_point(size=60, xOffset=14, aria=False).encode(x=right, y=y, color=color, shape=shape),
        texts.encode(x=right, y=y, text="end:N"),
    ]


def down_the_side(rows: Sequence[Point], canvas: Canvas, **scale: Any) -> Any:
    """Encode names as rows, the first on top. A setting is below the name of its method."""
    import altair as alt

    two_lines = "split(replace(datum.label, ')', ''), ' (')"
    axis = alt.Axis(grid=False, labelExpr=two_lines, labelLimit=round(0.6 * canvas.width))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return alt.Y("label:N", axis=axis).scale(domain=labels, **scale).sort(None).title(None)
