"""Where the memory of training goes: weights, gradients, optimizer state, activations."""

from __future__ import annotations

from typing import Any

import altair as alt

from bench.analysis.comparison import Group
from bench.analysis.costs import costs
from bench.report.figures.figure import Canvas, Drawing, Layers
from bench.report.figures.marks import down_the_side
from bench.report.figures.points import Point, data, labels, named, of_row
from bench.report.tables.costs import peak

__all__ = ["drawing", "parts"]

_PARTS = {
    "weights": ("weights", "#2f4b7c", "#ffffff"),
    "gradients": ("gradients", "#a05195", "#ffffff"),
    "optimizer": ("optimizer state", "#f9a15a", "#1b1f24"),
    "activations": ("activations, rest", "#cfd8e3", "#1b1f24"),
}
"""The parts of a record's split: name, colour, and that of a number on it, from dark to light, also in grey."""
_STEP = 2.6
"""Height of a row, in the height of its text."""


def drawing(group: Group) -> Drawing | None:
    """Draw a group; None where no run measured its memory by purpose."""
    points = parts(group)
    if not points:
        return None
    total = {point["label"]: point["to"] for point in points}
    return Drawing(
        figure="memory-split",
        title="Memory by purpose",
        caption=", ".join(f"{label} {size:,.0f} MiB" for label, size in total.items())
        + f". Medians over seeds of the {peak(group)}. Activations are the rest of the peak: work space of kernels "
        "and kept encoder output are in them.",
        draw=lambda canvas: _layers(group, canvas),
        shown=labels(points),
    )


def parts(group: Group) -> list[Point]:
    """Return the parts of each method's bar, from the left to the right, in MiB."""
    points = []
    for row, name in named(group.rows):
        split = costs(row).memory_bytes
        if split is None:
            continue
        end = 0.0
        for part, (label, *_) in _PARTS.items():
            size = split[part] / 2**20
            point = of_row(row, name, f"{label} {size:,.1f} MiB") | {"part": label, "size": size}
            points.append(point | {"from": end, "to": end + size, "number": f"{size:,.0f}"})
            end += size
    return points


def _layers(group: Group, canvas: Canvas) -> Layers:
    points = parts(group)
    widest = max(point["to"] for point in points) or 1.0
    # A part has a number where there is room for it.
    inside = [
        {**point, "middle": (point["from"] + point["to"]) / 2}
        for point in points
        if canvas.width * point["size"] / widest > 0.65 * canvas.text * (len(point["number"]) + 1)
    ]

    def x(field: str) -> Any:
        axis = alt.Axis(format=",d", tickCount=5)
        return alt.X(f"{field}:Q", axis=axis).scale(domain=[0, widest], nice=False).title(f"{peak(group)}, MiB")

    y = down_the_side(points, canvas, padding=0.25)
    legend = alt.Legend(title=None, symbolType="square", columns=4 if canvas.width > 300 else 2)
    keys, colours, inks = zip(*_PARTS.values(), strict=True)
    color = alt.Color("part:N", legend=legend).scale(domain=list(keys), range=list(colours)).sort(None)
    channels = {"tooltip": "says:N", "description": "says:N"}
    layers = [data(points).mark_bar().encode(x=x("from"), x2="to", y=y, color=color, **channels)]
    for key, ink in zip(keys, inks, strict=True):
        numbers = [point for point in inside if point["part"] == key]
        if numbers:
            text = data(numbers).mark_text(color=ink, fontSize=canvas.text - 2, aria=False)
            layers.append(text.encode(x=x("middle"), y=y, text="number:N"))
    return layers, round(_STEP * canvas.text * len({point["label"] for point in points}))
