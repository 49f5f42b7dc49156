"""Costs of a method beside its budget: memory by purpose, latency, bytes, energy; and out-of-domain accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench.records.schema import MemorySplit, Record

__all__ = ["Call", "Costs", "costs"]


@dataclass(frozen=True)
class Call:
    """A call of the trained classifier on one batch, without gradients."""

    batch: int
    """Reviews a call."""
    milliseconds: float
    """Median over the runs."""
    overhead: float | None
    """Median over the runs of the time beyond the bare encoder's, a share of the bare encoder's."""
    merged_milliseconds: float | None
    """With the method's weights merged into the encoder's; None where they cannot be."""


@dataclass(frozen=True)
class Costs:
    """The costs of one method: medians over its complete runs; None is not measured."""

    split: MemorySplit | None
    """The peak of training by purpose, bytes; the median of each part by itself."""
    energy: float | None
    """Joules while the clock charged."""
    device_seconds: float | None
    """Charged, mean over runs."""
    bytes_to_ship: float | None
    calls: list[Call]
    """By batch."""
    out_of_domain: list[float]
    """Accuracy on reviews from elsewhere, one a run that measured it."""
    without_leaked: float | None
    """Mean accuracy on the test reviews whose text is not in train; None where no run met such a review."""


def costs(runs: Sequence[Record], measured: Sequence[Record] | None = None) -> Costs:
    """Return the costs of one method: memory, energy and times from the complete runs `measured`, by default all."""
    measured = runs if measured is None else measured
    splits = [r.memory.split for r in measured if r.memory and r.memory.split]
    return Costs(
        split=_middle(splits) if splits else None,
        energy=_median([r.energy.joules for r in measured if r.energy]),
        device_seconds=fmean(charged) if (charged := [r.seconds.charged for r in measured if r.seconds]) else None,
        bytes_to_ship=_median([r.bytes_to_ship for r in runs if r.bytes_to_ship is not None]),
        calls=[_call(measured, batch) for batch in sorted({call.batch for r in measured for call in r.latency or []})],
        out_of_domain=[r.out_of_domain.accuracy for r in runs if r.out_of_domain],
        without_leaked=_without_leaked(runs),
    )


def _middle(splits: list[MemorySplit]) -> MemorySplit:
    return MemorySplit(
        weights=round(median(split.weights for split in splits)),
        gradients=round(median(split.gradients for split in splits)),
        optimizer=round(median(split.optimizer for split in splits)),
        activations=round(median(split.activations for split in splits)),
    )


def _call(runs: Sequence[Record], batch: int) -> Call:
    calls = [call for r in runs for call in r.latency or [] if call.batch == batch]
    return Call(
        batch=batch,
        milliseconds=median(call.milliseconds for call in calls),
        overhead=_median([call.milliseconds / call.bare_milliseconds - 1 for call in calls if call.bare_milliseconds > 0]),
        merged_milliseconds=_median([c.merged_milliseconds for c in calls if c.merged_milliseconds is not None]),
    )


def _without_leaked(runs: Sequence[Record]) -> float | None:
    tests = [r.test for r in runs if r.test]
    return fmean(test.accuracy_without_leaked for test in tests) if any(test.leaked for test in tests) else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
