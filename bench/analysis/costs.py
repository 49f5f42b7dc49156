"""Costs of a method beside its budget: memory by purpose, latency, bytes, energy; and out-of-domain accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench.analysis.comparison import Row
from bench.analysis.statistics import mean_half_width
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

    memory_bytes: dict[str, int] | None
    """The peak of training by the fields of `MemorySplit`; the median of each part by itself."""
    energy_joules: float | None
    """While the clock charged."""
    device_seconds: float | None
    """Charged, mean over runs."""
    bytes_to_ship: float | None
    latency: list[Call]
    """By batch."""
    out_of_domain_accuracy: float | None
    """On reviews from elsewhere, mean over the runs that measured it."""
    out_of_domain_half_width: float | None
    """Half the width of its 95 % interval over seeds."""
    accuracy_without_leaked: float | None
    """Mean accuracy on the test reviews whose text is not in train; None where no run met such a review."""


def costs(row: Row) -> Costs:
    """Return the costs of one method: memory, energy and times from its runs on the kind of machine that is compared."""
    runs, measured = row.runs, row.measured
    splits = [r.memory.split for r in measured if r.memory and r.memory.split]
    tests, elsewhere = [r.test for r in runs if r.test], [r.out_of_domain.accuracy for r in runs if r.out_of_domain]
    charged = [r.seconds.charged for r in measured if r.seconds]
    parts = {part: round(median(getattr(split, part) for split in splits)) for part in MemorySplit.model_fields if splits}
    return Costs(
        memory_bytes=parts or None,
        energy_joules=_median([r.energy.joules for r in measured if r.energy]),
        device_seconds=fmean(charged) if charged else None,
        bytes_to_ship=_median([r.bytes_to_ship for r in runs if r.bytes_to_ship is not None]),
        latency=[_call(measured, batch) for batch in sorted({call.batch for r in measured for call in r.latency or []})],
        out_of_domain_accuracy=fmean(elsewhere) if elsewhere else None,
        out_of_domain_half_width=mean_half_width(elsewhere),
        accuracy_without_leaked=fmean(t.accuracy_without_leaked for t in tests) if any(t.leaked for t in tests) else None,
    )


def _call(runs: Sequence[Record], batch: int) -> Call:
    calls = [call for r in runs for call in r.latency or [] if call.batch == batch]
    return Call(
        batch=batch,
        milliseconds=median(call.milliseconds for call in calls),
        overhead=_median([call.milliseconds / call.bare_milliseconds - 1 for call in calls if call.bare_milliseconds > 0]),
        merged_milliseconds=_median([c.merged_milliseconds for c in calls if c.merged_milliseconds is not None]),
    )


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
