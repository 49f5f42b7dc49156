"""How long runs take, from those that are complete."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from bench.records.schema import Conversion, Record
from bench.records.spec import RunSpec
from bench.runs.status import SHARES

__all__ = ["AROUND", "Pace"]

AROUND = 25.0
"""Seconds that a run takes beside its budget, where no other has shown how long: set-up and test of the smallest encoder."""


class Pace:
    """How long runs take, from those that are complete."""

    def __init__(self, records: list[Record]) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._phases: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
        """Shares of training and test in a whole run."""
        for record in records:
            if record.state == "complete" and (took := record.seconds) is not None and took.total > 0:
                spec, whole = record.spec, took.total + took.before
                for key in _kinds(spec):
                    self._seconds[key].append(whole)
                    self._phases[key].append(((took.charged + took.paused) / whole, took.test / whole))

    def of(self, spec: RunSpec, conversion: Conversion | None = None) -> float | None:
        """Seconds that a run takes: like others of its method and budget, else of its budget, else what its training should
        take by its calibration and what is around it.
        """
        for key in _kinds(spec):
            if key in self._seconds:
                return median(self._seconds[key])
        if conversion is not None:
            return conversion.expected_seconds + AROUND
        return spec.budget.amount + AROUND if spec.budget.unit == "seconds" else None

    def shares(self, spec: RunSpec | None) -> dict[str, tuple[float, float]]:
        """What `SHARES` says, as runs like it had it: on a long test it is most of a run."""
        for key in () if spec is None else _kinds(spec):
            if key in self._phases:
                training, test = (median(part) for part in zip(*self._phases[key], strict=True))
                rest = max(0.0, 1.0 - training - test)
                return {"training": (0.0, training), "test": (training, test), "elsewhere": (1.0 - rest, rest)}
        return SHARES

    @property
    def typical(self) -> float | None:
        """The same for any run."""
        every = [seconds for key, found in self._seconds.items() if len(key) == 2 for seconds in found]
        return median(every) if every else None


def _kinds(spec: RunSpec) -> tuple[tuple[str, ...], ...]:
    """What runs must share to take about as long, the nearest first."""
    return (spec.purpose, str(spec.asked), spec.method), (spec.purpose, str(spec.asked))
