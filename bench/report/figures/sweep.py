"""Accuracy by budget, each a run of its own: the only figure across budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from bench.analysis.budget_sweep import Sweep
from bench.analysis.comparison import Row
from bench.report.figures.axes import Scale, line_layers, line_words, lines_across, place_lines, widen
from bench.report.figures.figure import Canvas, Drawing, Layers
from bench.report.figures.label_placement import Box
from bench.report.figures.marks import Look, bars, dots, end_names, last_points, lines_of
from bench.report.figures.points import CUT, Point, interval, is_cut, labels, names, of_row
from bench.report.tables.budgets import crossing_budget, sweep_title
from bench.report.tables.formatting import plus_minus
from bench.system.text import harmless

__all__ = ["drawing", "means", "rows_by_name"]

_BUDGETS = "Each budget is a run of its own with a whole schedule."


def drawing(sweep: Sweep, looks: Mapping[str, Look]) -> Drawing | None:
    """Draw a sweep; None where no run of it is complete."""
    points = means(sweep)
    if not points:
        return None
    ends = ", ".join(f"{end['label']} {end['y']:.2f} % at {end['budget']}" for end in last_points(points))
    crossings = [
        harmless(f"{crossing.label} and {sweep.reference} cross at about {crossing_budget(crossing)}.")
        for crossing in sweep.crossings
        if crossing.at is not None
    ]
    rows, bars, key = [row for line in sweep.lines for row in line.rows if row is not None], "One run each.", ""
    if any(len(row.runs) > 1 for row in rows):
        cut = f" {CUT}" if any(map(is_cut, rows)) else ""
        bars = f"Means over seeds, with the 95 % interval over seeds where there are several.{cut}"
        key = f" Bars: 95 % interval over seeds, where there are several.{cut}"
    return Drawing(
        figure="sweep",
        title="Accuracy as the budget grows",
        caption=" ".join([f"{ends}.", bars, *crossings, _BUDGETS, line_words(sweep.groups[-1], equal=False)]),
        shared=sweep_title(sweep),
        draw=lambda canvas: _layers(sweep, looks, canvas),
        key=f"Each budget is a run of its own.{key}",
        shown=labels(points),
    )


def means(sweep: Sweep) -> list[Point]:
    """Return a point for each method and budget that has a complete run, by method and then by budget."""
    points = []
    for name, rows in rows_by_name(sweep).items():
        for row, budget in zip(rows, sweep.budgets, strict=True):
            if row is None or row.accuracy is None:
                continue
            points.append(
                of_row(row, name, f"{plus_minus(row.accuracy, row.accuracy_half_width)} % at {budget}")
                | {"x": budget.amount, "y": 100 * row.accuracy, "budget": str(budget)}
                | {"where": "" if budget == sweep.budgets[-1] else f" at {budget}"}
                | interval(row)
            )
    return points


def rows_by_name(sweep: Sweep) -> dict[str, list[Row | None]]:
    """Return the rows of each line by its name in the figure, a row a budget."""
    return dict(zip(names([line.label for line in sweep.lines]), (line.rows for line in sweep.lines), strict=True))


def _layers(sweep: Sweep, looks: Mapping[str, Look], canvas: Canvas) -> Layers:
    points, lines = means(sweep), lines_across(sweep.groups[-1], canvas, equal=False)
    amounts = sorted({budget.amount for budget in sweep.budgets})
    across = Scale(amounts[0] / 1.25, amounts[-1] * 1.02, log=True)
    heights = [point[at] for point in (*points, *lines) for at in ("y", "accuracy", "low", "high") if at in point]
    up = widen(heights, least=0.5, ends=(0, 100))
    unit = sweep.budgets[0].unit
    form = "~s" if amounts[-1] >= 100_000 else ",.6~g"
    axis = alt.Axis(values=amounts, format=form, grid=False, labelFlush=False)
    x = alt.X("x:Q", axis=axis).scale(**across.altair())
    x = x.title(f"budget, {'device seconds' if unit == 'seconds' else unit}, log scale")

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q").scale(**up.altair()).title("test accuracy, %")

    spots = [(canvas.width * across.share(p["x"]), canvas.height * (1 - up.share(p["y"]))) for p in points]
    places, _ = place_lines(lines, up, canvas, [Box(left - 8, top - 8, left + 8, top + 8) for left, top in spots])
    return [
        *line_layers(lines, places, y("accuracy"), canvas),
        *lines_of(points, looks, x, y("y")),
        *bars(points, "low", "high", x=x, y=y("low"), y2="high"),
        *dots(points, looks, x=x, y=y("y"), size=90),
        *end_names(points, looks, up, canvas, y("y")),
    ], canvas.height
