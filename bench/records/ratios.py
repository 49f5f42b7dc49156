"""Ratios of speed, with their intervals, from the timed slices of a calibration: formulas alone, no clock and no process."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np

from bench.records.schema import CalibrationSetting, Slice

__all__ = [
    "FEWEST", "LEVEL", "QUIET", "ROUNDED", "RULE", "Ratio", "Rule", "calibration_id", "interval_of_median",
    "qualifying_rounds", "ratio", "speed",
]  # fmt: skip

Rule = Literal["reference", "both"]
"""Which rounds a ratio is the median of, where at least `FEWEST` are: those in which the reference was within `QUIET` of its
fastest slice; or those in which the method and the reference both were within `QUIET` of the lower quartile of their own.
A choice by the reference alone prefers slices in which it was lucky, so ratios came out too high where few rounds were left."""
RULE: Rule = "both"
"""The rule of calibrations made now; records of the first kept theirs."""
QUIET = 1.15
"""Slowdown up to which a slice met a free machine. Contention does not slow all methods alike (one that is bound by memory
suffers more), so ratios are taken where the machine was as good as free."""
FEWEST = 6
"""Rounds that an interval needs: the extremes of six values hold the median with probability 1 - 2 / 2**6 = 96.9 %, those of
five with 93.8 %."""
LEVEL = 0.95
"""Confidence of an interval."""
SPEED = 90
"""Percentile of the reference's slices that is its speed: what it does when left alone, yet no single lucky slice."""
ROUNDED = 1000
"""Tokens to which a budget in seconds is rounded: its last digits would be noise."""


class Ratio(NamedTuple):
    """Time of a token under a method over its time under the reference."""

    value: float
    low: float | None
    """Interval at `LEVEL`; None where there are too few rounds for one."""
    high: float | None
    rounds: int
    """Rounds that it is the median of."""

    @property
    def spread(self) -> float:
        """The longer side of the interval as a share of the ratio; infinite where there is none."""
        if self.low is None or self.high is None:
            return math.inf
        return max(self.high - self.value, self.value - self.low) / self.value


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Bound the median at `LEVEL` by order statistics (Conover 1999, section 3.2), whatever the distribution.

    None for fewer than `FEWEST` values, whose extremes do not hold it as often.
    """
    ordered, count = sorted(values), len(values)
    tails = accumulate(math.comb(count, below) / 2**count for below in range(count // 2))
    # The largest k for which the k-th smallest and the k-th largest value hold the median as often.
    rank = sum(2 * tail <= 1 - LEVEL for tail in tails)
    return (ordered[rank - 1], ordered[-rank]) if rank else None


def _pace(timed: Slice) -> float:
    """Seconds per token."""
    return timed.seconds / timed.tokens


def qualifying_rounds(slices: Iterable[Slice], rule: Rule = RULE) -> set[int]:
    """List the rounds in which a method met a free machine, by its own slices."""
    paces = {timed.round: _pace(timed) for timed in slices}
    if not paces:
        return set()
    free = min(paces.values()) if rule == "reference" else float(np.quantile(list(paces.values()), 0.25))
    return {number for number, pace in paces.items() if pace <= QUIET * free}


def ratio(slices: Sequence[Slice], reference: Sequence[Slice], rule: Rule = RULE) -> Ratio | None:
    """Take the median over the rounds that count of the ratio within a round.

    Where fewer than `FEWEST` rounds count: over all (rule "both"), or over the `FEWEST` with the fastest reference.
    None where the method has no slice beside one of the reference.
    """
    beside = {timed.round: timed for timed in reference}
    pairs = [(timed, beside[timed.round]) for timed in slices if timed.round in beside]
    if not pairs:
        return None
    quiet = qualifying_rounds(reference, rule)
    if rule == "both":
        quiet &= qualifying_rounds(slices, rule)
    selected = [pair for pair in pairs if pair[1].round in quiet]
    if len(selected) < FEWEST:
        selected = pairs if rule == "both" else sorted(pairs, key=lambda pair: _pace(pair[1]))[:FEWEST]
    ratios = [_pace(own) / _pace(other) for own, other in selected]
    low, high = interval_of_median(ratios) or (None, None)
    return Ratio(float(np.median(ratios)), low, high, len(ratios))


def speed(reference: Iterable[Slice]) -> float:
    """Tokens a second: the percentile `SPEED` of the reference's slices."""
    return float(np.percentile([1 / _pace(timed) for timed in reference], SPEED))


def calibration_id(
    setting: CalibrationSetting, methods: Iterable[tuple[str, Mapping[str, object]]], device: str, finished: str
) -> str:
    """Sixteen hex digits that identify a calibration by its setting, methods, device and the time of its end."""
    determined = [setting.model_dump(mode="json"), [[name, dict(own)] for name, own in methods], device, finished]
    return hashlib.sha256(json.dumps(determined, sort_keys=True).encode()).hexdigest()[:16]
