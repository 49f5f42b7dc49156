"""Accuracy as a function of the budget spent within a run: the learning curve, and how soon it reaches a level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench.analysis.comparison import Group
from bench.records.schema import CurvePoint, Record
from bench.rules import MARKS

__all__ = ["LEVELS", "PUBLISHED_LEVEL", "Mark", "TimeTo", "at_marks", "levels", "marks", "time_to"]

LEVELS = (0.75, 0.80, 0.85)
"""Validation accuracies to time."""
PUBLISHED_LEVEL = 0.94156
"""The test accuracy of RoBERTa-base with adapters that this comparison is centred on, a level for encoders of its size."""
BASE_SIZE = 80_000_000
"""Weights from which an encoder can be called base-size: DistilRoBERTa has 82 million, MPNet-base and BERT-base 110."""


@dataclass(frozen=True)
class Mark:
    """Validation at one share of the budget: means over the runs, None where one of them has no point there."""

    fraction: float
    accuracy: float | None = None
    seconds: float | None = None
    """Device seconds charged."""
    reviews: float | None = None
    """Reviews passed through the encoder."""
    calibrated: float | None = None
    """Device seconds that the calibration expects by then."""


@dataclass(frozen=True)
class TimeTo:
    """When a validation accuracy was first seen. Medians over all runs, in which a run that never reached it is later than
    any other; None where that median is such a run. The marks are quarters of the budget, so both are upper bounds.
    """

    level: float
    seconds: float | None
    """Device seconds charged at the first mark at or above the level."""
    reviews: float | None
    """Reviews passed through the encoder by then."""
    reached: int
    """Runs that reached it."""
    runs: int
    calibrated: float | None = None
    """Device seconds that the calibration expects by the mark of `seconds`."""


def levels(group: Group) -> tuple[float, ...]:
    """Return the accuracies to time: the published one only for encoders of its size."""
    sizes = [record.parameters.total for record in group.runs if record.parameters]
    return (*LEVELS, PUBLISHED_LEVEL) if max(sizes, default=0) >= BASE_SIZE else LEVELS


def marks(runs: Sequence[Record]) -> list[Mark]:
    """Return the learning curve of a method, one entry for each of `MARKS`."""
    curves = [(record, at_marks(record.training.curve)) for record in runs if record.training and record.training.curve]
    points = {mark: [(record, curve[mark]) for record, curve in curves if mark in curve] for mark in MARKS}
    return [_mark(fraction, of) if len(of) == len(curves) > 0 else Mark(fraction) for fraction, of in points.items()]


def _mark(fraction: float, points: Sequence[tuple[Record, CurvePoint]]) -> Mark:
    return Mark(
        fraction,
        accuracy=fmean(point.accuracy for _, point in points),
        seconds=fmean(point.seconds for _, point in points),
        reviews=fmean(point.reviews for _, point in points),
        calibrated=_middle(points, fmean),
    )


def at_marks(curve: Sequence[CurvePoint]) -> dict[float, CurvePoint]:
    """Return the points of a run by mark. A head on cached features has one, at the last mark."""
    ended = bool(curve) and curve[-1].fraction >= MARKS[-1]
    return dict(zip(MARKS[-len(curve) :] if ended else MARKS, curve, strict=False))


def time_to(runs: Sequence[Record], level: float) -> TimeTo:
    """Find when the runs of a method first had a validation accuracy of `level`, a share of 1."""
    curves = [(record, record.training.curve) for record in runs if record.training and record.training.curve]
    firsts = [(record, next((point for point in curve if point.accuracy >= level), None)) for record, curve in curves]
    seconds = median([point.seconds if point else math.inf for _, point in firsts]) if firsts else math.inf
    reviews = median([point.reviews if point else math.inf for _, point in firsts]) if firsts else math.inf
    return TimeTo(
        level=level,
        seconds=seconds if math.isfinite(seconds) else None,
        reviews=reviews if math.isfinite(reviews) else None,
        reached=sum(point is not None for _, point in firsts),
        runs=len(curves),
        calibrated=_middle(firsts, median) if math.isfinite(seconds) else None,
    )


def _middle(points: Sequence[tuple[Record, CurvePoint | None]], mean: Callable[[Sequence[float]], float]) -> float | None:
    """Return the mean of the device seconds that calibrations expect at these points; None unless all runs are calibrated."""
    expected = [
        min(point.fraction, 1.0) * record.conversion.expected_seconds if point else math.inf
        for record, point in points
        if record.conversion
    ]
    return mean(expected) if expected and len(expected) == len(points) else None
