"""The 95 % interval of a mean over a few seeds, by Student's t, without a statistics library: a report must be quick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev

__all__ = ["half_width", "t_quantile"]

LEVEL = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % interval of the mean of `values`, one a seed; None for fewer than two.

    It covers what seeds change, on the very reviews that were tested.
    """
    if len(values) < 2:
        return None
    return t_quantile(len(values) - 1) * stdev(values, fmean(values)) / math.sqrt(len(values))


@cache
def t_quantile(freedom: int) -> float:
    """The t that a variable of Student's distribution with `freedom` (1 or more) degrees of freedom stays within, on both
    sides of zero, with probability 0.95.
    """
    below, above = 0.0, 100.0
    while above - below > 1e-12 * above:
        middle = (below + above) / 2
        below, above = (middle, above) if _within(middle, freedom) < LEVEL else (below, middle)
    return (below + above) / 2


def _within(t: float, freedom: int) -> float:
    """P(|T| ≤ t), a finite sum for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for i in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (i + 1) / (i + 2)
    inside = math.sin(angle) * total
    return 2 / math.pi * (angle + inside) if odd else inside
