"""The look of each method in every figure and table: a colour and a shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import methods

__all__ = ["COLOURS", "DASHES", "SHAPES", "Look", "looks"]

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
