"""Estimate how long runs take: the rest of the budget, and the median overhead of finished runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from bench.records.schema import Record
from bench.runs.status import Status
from bench.training.job import Job

__all__ = ["OVERHEAD", "Pace", "until_all_done"]

OVERHEAD = 25.0
"""Seconds that a run takes beside its training, before any is finished: set-up and test of the smallest encoder."""
SOON = 0.03
"""Share of a phase below which its pace is no estimate."""


class Pace:
    """Seconds of training and of all else in finished runs."""

    def __init__(self, records: Iterable[Record]) -> None:
        times = [(record, record.seconds) for record in records if record.state == "complete" and record.seconds is not None]
        self._trained: dict[str | None, list[float]] = defaultdict(list)
        """By budget, and of all under None."""
        for record, seconds in times:
            for budget in (str(record.spec.requested_budget), None):
                self._trained[budget].append(seconds.charged)
        self.overhead = median(max(0.0, took.total + took.before - took.charged) for _, took in times) if times else OVERHEAD

    def training(self, run: Job | Record | None) -> float | None:
        """Return the seconds of training: of the budget, else by its calibration, else the median of finished ones like it."""
        if run is not None and run.conversion is not None:
            return run.conversion.expected_seconds
        if run is not None and run.spec.budget.unit == "seconds":
            return run.spec.budget.amount
        others = self._trained.get(None if run is None else str(run.spec.requested_budget))
        return median(others) if others else None

    def whole(self, run: Job | Record | None) -> float | None:
        """Return the seconds of a run from start to end."""
        training = self.training(run)
        return None if training is None else training + self.overhead

    def remaining(self, status: Status, run: Job | Record | None, now: float) -> float | None:
        """Return the seconds until a run ends; None where neither its budget nor its pace is known."""
        rest, done = 1.0 - status.share, status.share - status.found
        paced = (now - status.since) / done * rest if status.since is not None and done > SOON else None
        if status.phase not in ("set-up", "training"):
            return self.overhead * rest if paced is None else paced
        whole = self.training(run)
        planned = None if whole is None else whole * rest
        training = planned if paced is None or status.phase == "set-up" else paced
        return None if training is None else training + self.overhead


def until_all_done(running: Sequence[float | None], waiting: Sequence[float | None]) -> float | None:
    """Return the seconds until all runs end if as many execute at once as do now; None where one is unknown."""
    parts = [*running, *waiting]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return max(sum(known) / max(1, len(running)), max((part or 0.0 for part in running), default=0.0))
