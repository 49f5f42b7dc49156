"""A figure before it has a size, and the canvases that it can be drawn on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

__all__ = ["NARROW", "PICTURE", "WIDE", "Canvas", "Drawing", "Layers", "Spec", "theme", "vl_version"]

Spec = dict[str, Any]
"""A figure in Vega-Lite."""
Layers = tuple[list[Any], int]
"""Altair charts to be laid over each other, and the height of the plot in pixels."""


@dataclass(frozen=True)
class Canvas:
    """Size for which texts are placed, in pixels."""

    width: int
    """Of the plot, without its axes; where the figure is fluid, the least that it is to have."""
    height: int
    """Of the plot, where nothing in the figure asks for another."""
    text: int
    """Height of text."""
    fluid: bool = True
    """Whether the figure is as wide as what holds it, and has its title there, or is a picture alone."""


PICTURE = Canvas(width=520, height=340, text=15, fluid=False)
"""A picture in a README: still to be read where a telephone shows it at half its size."""
WIDE = Canvas(width=420, height=320, text=15)
NARROW = Canvas(width=230, height=300, text=13)
"""The page on a telephone."""

_PAPER = ("#1b1f24", "#6b7480", "#dfe3e8")
"""Colours of texts, axes and grid lines in a picture; those of the page are in its style sheet, light and dark."""
_PAGE = ("var(--ink)", "var(--axis)", "var(--grid)")
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""What vl-convert brings along, so that a picture is the same on every machine, and fonts of the same widths."""


@dataclass(frozen=True)
class Drawing:
    """A figure of one group or sweep."""

    figure: str
    """Which of the figures it is, as `--figure` names it."""
    title: str
    caption: str
    """Description of the figure, and how to read it."""
    draw: Callable[[Canvas], Layers]
    shared: str = ""
    """What all its runs share, the title of the table."""
    key: str = ""
    """Legend of a picture without a caption."""
    shown: frozenset[str] = frozenset()
    """Names of the methods in it; methods without its number are absent."""

    def spec(self, canvas: Canvas) -> Spec:
        """Write the figure in Vega-Lite. Its validity does not depend on the records: tests check it, not each report."""
        # Altair would check each part as it is made, which takes longer than all else.
        with debug_mode(False):
            layers, height = self.draw(canvas)
            chart = alt.layer(*layers).properties(description=f"{self.title}. {self.caption}", height=height)
            if canvas.fluid:
                chart = chart.properties(width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
            else:
                lines = [part for text in (self.shared, self.key) for part in _lines(text, canvas)]
                chart = chart.properties(width=canvas.width, title=alt.Title(self.title, subtitle=lines))
            spec: Spec = chart.to_dict(validate=False)
        # Colours and sizes of text are the theme's, which the page puts on by itself.
        spec.pop("config", None)
        if canvas.fluid:
            del spec["$schema"]  # an address: the page names no network location
            return spec
        return spec | {"config": theme(canvas.text, _PAPER, background="#ffffff")}


def _lines(text: str, canvas: Canvas) -> list[str]:
    """Wrap a text to the canvas, so that no line begins with the dot between two settings."""
    held = text.replace(" · ", "\N{NO-BREAK SPACE}· ")
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(held, round(canvas.width / (0.42 * canvas.text)))]


def vl_version() -> str:
    """Return the version of Vega-Lite that specifications are written in, as vl-convert names it."""
    return "_".join(alt.SCHEMA_VERSION.split(".")[:2])


def theme(text: int, inks: tuple[str, str, str] = _PAGE, background: str = "transparent") -> dict[str, Any]:
    """Return Vega-Lite's config: the looks of a figure that do not depend on its data."""
    ink, quiet, grid = inks
    return {
        "background": background,
        "font": _FONT,
        "padding": 8,
        "view": {"stroke": None},
        "axis": {
            "labelColor": ink, "titleColor": ink, "domainColor": quiet, "tickColor": quiet, "gridColor": grid,
            "labelFontSize": text - 1, "titleFontSize": text, "titleFontWeight": "normal", "titlePadding": 10,
            "labelLimit": 13 * text, "labelPadding": 6,
        },
        "axisY": {"domain": False, "ticks": False},
        "legend": {
            "labelColor": ink, "titleColor": ink, "labelFontSize": text, "orient": "top", "symbolStrokeColor": ink,
            "labelLimit": 0,
        },
        "title": {
            "color": ink, "subtitleColor": "#4a525c", "fontSize": text + 3, "subtitleFontSize": text - 2,
            "fontWeight": "bold", "anchor": "start", "frame": "bounds", "offset": 16, "subtitlePadding": 6,
        },
        "text": {"color": ink, "fontSize": text},
        "rule": {"color": ink},
        # Yellow and the like are seen on any ground by the line around them.
        "point": {"filled": True, "stroke": ink, "strokeWidth": 1, "opacity": 1},
        "bar": {"stroke": ink, "strokeWidth": 0.5},
        "line": {"color": ink, "strokeWidth": 2.5},
    }  # fmt: skip
