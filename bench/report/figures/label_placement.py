"""Place texts in a figure so that they cover no points, lines or other texts. In pixels from the top left of the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

__all__ = ["AROUND", "Box", "Place", "Text", "place_labels", "spread"]

_WIDTH, _HEIGHT = 0.56, 1.2
"""Of a letter, in the height of the text: a little more than the mean of the fonts that figures are set in."""
_ROUNDS = 3


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: Box) -> float:
        """Return the area that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)


@dataclass(frozen=True)
class Place:
    """Position of a text relative to its point or line."""

    dx: float
    dy: float
    align: Literal["left", "center", "right"]
    """Which side of the text is held there."""
    baseline: Literal["top", "middle", "bottom"]


@dataclass(frozen=True)
class Text:
    """A text, its anchor, and its possible places, the best first."""

    text: str
    x: float
    y: float
    places: tuple[Place, ...]

    def box(self, place: Place, size: float) -> Box:
        """Return what the text would cover."""
        width, height = _WIDTH * size * len(self.text), _HEIGHT * size
        left = self.x + place.dx - {"left": 0.0, "center": width / 2, "right": width}[place.align]
        top = self.y + place.dy - {"top": 0.0, "middle": height / 2, "bottom": height}[place.baseline]
        return Box(left, top, left + width, top + height)


AROUND = (
    Place(15, 0, "left", "middle"),
    Place(-15, 0, "right", "middle"),
    Place(0, -14, "center", "bottom"),
    Place(0, 14, "center", "top"),
    Place(10, -10, "left", "bottom"),
    Place(10, 10, "left", "top"),
    Place(-10, -10, "right", "bottom"),
    Place(-10, 10, "right", "top"),
    Place(0, -30, "center", "bottom"),
    Place(0, 30, "center", "top"),
)
"""Places around a point."""


def place_labels(texts: Sequence[Text], obstacles: Sequence[Box], frame: Box, size: float) -> list[Place]:
    """Place each text: in turns each takes the one where it covers least of the obstacles and of the other texts, and
    least of it is outside the frame; of equal ones its best.
    """
    boxes = [[text.box(place, size) for place in text.places] for text in texts]
    costs = [[_cost(box, obstacles, frame) for box in of_text] for of_text in boxes]
    chosen = [0] * len(texts)
    for _ in range(_ROUNDS):
        for i, (own, cost) in enumerate(zip(boxes, costs, strict=True)):
            others = [boxes[j][at] for j, at in enumerate(chosen) if j != i]
            covered = [known + sum(box.shared(other) for other in others) for box, known in zip(own, cost, strict=True)]
            chosen[i] = covered.index(min(covered))
    return [text.places[at] for text, at in zip(texts, chosen, strict=True)]


def _cost(box: Box, obstacles: Sequence[Box], frame: Box) -> float:
    return sum(box.shared(other) for other in obstacles) + 2 * (box.shared(box) - box.shared(frame))


def spread(positions: Sequence[float], gap: float, last: float) -> list[float]:
    """Positions near the wanted ones and in their order, at least `gap` apart, none beyond `last` if there is room."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    apart = accumulate((positions[i] for i in order), lambda above, wanted: max(wanted, above + gap))
    lowest = [last - gap * below for below in reversed(range(len(order)))]
    placed = dict(zip(order, map(min, apart, lowest), strict=True))
    return [placed[i] for i in range(len(positions))]
