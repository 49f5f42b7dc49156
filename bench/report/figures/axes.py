"""Scales of figures, and the lines across those of accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import altair as alt

from bench.analysis.comparison import Group
from bench.records.schema import Baseline
from bench.report.figures.figure import Canvas
from bench.report.figures.label_placement import Box, Place, Text, place_labels
from bench.report.figures.points import DECIMALS, Point, data
from bench.report.tables.columns import PUBLISHED, baselines, differs, on_reviews
from bench.system.text import percent

__all__ = ["Scale", "line_layers", "line_words", "lines_across", "place_lines", "widen"]


@dataclass(frozen=True)
class Scale:
    """From values to shares of an axis, as Vega has it when it is given this domain."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def value(self, share: float) -> float:
        """Do the reverse, on a scale that is not logarithmic."""
        return self.low + share * (self.high - self.low)

    def altair(self) -> dict[str, Any]:
        """Return the arguments of an Altair scale."""
        kind = {"type": "log"} if self.log else {"type": "linear", "zero": False}
        return {**kind, "domain": [round(self.low, DECIMALS), round(self.high, DECIMALS)], "nice": False}

    def ticks(self) -> list[float]:
        """Where a logarithmic axis has its numbers: powers of ten, and between them 2 and 5 where there are few."""
        powers = [10.0**k for k in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)]
        inside = [power for power in powers if self.low <= power <= self.high]
        if len(inside) > 2:
            return inside
        return [step * power for power in powers for step in (1, 2, 5) if self.low <= step * power <= self.high]


def widen(
    values: Iterable[float], *, log: bool = False, least: float = 0.0, ends: tuple[float, float] = (-math.inf, math.inf)
) -> Scale:
    """Make a scale with all values inside it, and room at its ends: 8 % of what they span, and at least `least`, but not beyond
    `ends`, outside of which no value can be.
    """
    bounds = list(values)
    low, high = min(bounds), max(bounds)
    if log:
        factor = max((high / low) ** 0.08, 1.8)
        return Scale(low / factor, high * factor, log=True)
    room = max(0.08 * (high - low), least)
    return Scale(max(low - room, ends[0]), min(high + room, ends[1]))


def lines_across(group: Group, canvas: Canvas, *, equal: bool = True) -> list[Point]:
    """Return the baselines, without `equal` only that on all reviews, and, beside reviews, the published result."""
    assert PUBLISHED.accuracy is not None
    wide = canvas.width > 300
    published = {
        "text": f"published{f', {differs(group)}' if wide else ''}: {percent(PUBLISHED.accuracy)}",
        "says": f"{PUBLISHED.label} ({differs(group)}): {percent(PUBLISHED.accuracy)} %",
        "accuracy": 100 * PUBLISHED.accuracy,
        "runs": [],
    }
    fitted = [_baseline(fits, wide=wide) for fits in _baselines_of(group, equal=equal)]
    return [*fitted, published] if on_reviews(group) else fitted


def line_words(group: Group, *, equal: bool = True) -> str:
    """Say in a sentence what these lines are."""
    fitted = ("", "the baseline without an encoder", "baselines without an encoder")[len(_baselines_of(group, equal=equal))]
    published = f"the published result ({differs(group)})" if on_reviews(group) else ""
    words = ", and ".join(filter(None, (fitted, published)))
    return f"Dashed lines across: {words}." if words else ""


def _baselines_of(group: Group, *, equal: bool) -> list[list[Baseline]]:
    return [fits for fits in baselines(group) if equal or fits[0].spec.train_reviews == fits[0].data.train]


def _baseline(fits: Sequence[Baseline], *, wide: bool) -> Point:
    """Those of several seeds as one line, at their mean: they saw almost as many reviews, and their texts would cover it."""
    reviews = f"{fmean(fit.spec.train_reviews for fit in fits):,.0f}"
    accuracy = fmean(fit.test.accuracy for fit in fits)
    each = f", mean of {len(fits)}" if len(fits) > 1 else ""
    return {
        "text": f"baseline, {reviews}{' reviews' if wide else ''}{each}: {percent(accuracy)}",
        "says": f"baseline: {fits[0].spec.model} on {reviews} reviews{each}, without an encoder: {percent(accuracy)} %",
        "accuracy": 100 * accuracy,
        "runs": [baseline.run_id for baseline in fits],
    }


def place_lines(lines: Sequence[Point], up: Scale, canvas: Canvas, obstacles: Sequence[Box]) -> tuple[list[Place], list[Box]]:
    """Place the text of each line across above or below it, at one end. Return what lines and texts then cover, too."""
    last, size = canvas.width - 4, canvas.text - 2
    places = (
        Place(4, -3, "left", "bottom"), Place(4, 3, "left", "top"), Place(last, -3, "right", "bottom"),
        Place(last, 3, "right", "top"),
    )  # fmt: skip
    texts = [Text(line["text"], 0, canvas.height * (1 - up.share(line["accuracy"])), places) for line in lines]
    chosen = place_labels(texts, obstacles, Box(0, 0, canvas.width, canvas.height), size)
    covered = [Box(0, text.y - 1, canvas.width, text.y + 1) for text in texts]
    return chosen, covered + [text.box(place, size) for text, place in zip(texts, chosen, strict=True)]


def line_layers(lines: Sequence[Point], places: Sequence[Place], y: Any, canvas: Canvas) -> list[Any]:
    """Chart the lines and their texts. `y` is the encoding of accuracy that they share with what is above them."""
    rows = [
        {**line, "dy": place.dy, "baseline": place.baseline, "align": place.align}
        for line, place in zip(lines, places, strict=True)
    ]
    rules = data(rows).mark_rule(strokeDash=[5, 4], strokeWidth=1.5, opacity=0.65)
    layers = [rules.encode(y=y, tooltip="says:N", description="says:N")]
    # A layer for each end, since where the right one is follows the width of the page.
    for align, x, dx in (("left", alt.value(0), 4), ("right", alt.value("width"), -4)):
        aligned = [row for row in rows if row["align"] == align]
        if aligned:
            texts = data(aligned).mark_text(
                align=align, dx=dx, dy=alt.ExprRef("datum.dy"), baseline=alt.ExprRef("datum.baseline"),
                fontSize=canvas.text - 2, opacity=0.85, aria=False,
            )  # fmt: skip
            layers.append(texts.encode(x=x, y=y, text="text:N"))
    return layers
