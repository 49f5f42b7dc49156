"""The 95 % interval of a mean over a few seeds, by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

__all__ = ["half_width"]

LEVEL = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % interval of the mean of `values`, one a seed; None for fewer than two.

    It covers what seeds change, on the very texts that were tested.
    """
    from scipy import special

    if len(values) < 2:
        return None
    quantile = float(special.stdtrit(len(values) - 1, (1 + LEVEL) / 2))
    return quantile * stdev(values, fmean(values)) / math.sqrt(len(values))
