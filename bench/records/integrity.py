"""Quick checks of a record: figures that its own fields rule out. The audit checks the rest.

Nothing here is a defence against someone who edits a record and makes the rest fit; the audit and the predictions are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.records.ratios import calibration_id
from bench.records.schema import AnyRecord, Baseline, Calibration, Evaluation, baseline_id
from bench.records.spec import run_id

__all__ = ["expected_id", "flaw"]

_MOST = 1e18
"""Beyond any count or amount of a record: bytes are the largest, and an exabyte is 1e18."""
_SLACK = 1e-9


def flaw(record: AnyRecord) -> str | None:
    """Say in a few words what does not hold in a record; None where no flaw is seen."""
    found = _number(record.__dict__.items())
    if found is None and record.run_id != (follows := expected_id(record)):
        found = f"its id is {record.run_id}, but its spec and contents give {follows}"
    for part in ("test", "out_of_domain"):
        found = found or _counts(part, getattr(record, part, None))
    return found


def expected_id(record: AnyRecord) -> str:
    """Derive the id from spec, encoder, reviews and rules version; of a baseline from spec, reviews and rules version; of a
    calibration from setting, methods, device and the time of its end.
    """
    if isinstance(record, Calibration):
        methods = [(entry.method, entry.hyperparameters) for entry in record.methods]
        return calibration_id(record.setting, methods, record.environment.device, record.finished)
    version, data = record.rules_version, record.data.sha256
    if isinstance(record, Baseline):
        return baseline_id(record.spec, data_sha256=data, rules_version=version)
    return run_id(record.spec, encoder_sha256=record.encoder.sha256, data_sha256=data, rules_version=version)


def _counts(name: str, test: Evaluation | None) -> str | None:
    if test is None:
        return None
    counts, fields = test.counts, test.counts.fields()
    if counts.reviews != test.reviews or not test.reviews:
        which = "tp, fp, fn and tn add" if test.matrix is None else "its matrix adds"
        return f"{name}: {which} up to {counts.reviews:,}, but it says {test.reviews:,} reviews"
    for metric in ("accuracy", "precision", "recall", "f1"):
        says, gives = getattr(test, metric), fields[metric]
        if not abs(says - gives) <= _SLACK:
            return f"{name}.{metric} is {says:.6g}, but its counts give {gives:.6g}"
    return None


def _number(items: Iterable[tuple[object, Any]], where: tuple[object, ...] = (), least: float = 0) -> str | None:
    """Find the first number that is below `least`, not finite, or beyond any use."""
    for name, value in items:
        kind = type(value)
        if value is None or kind is str or kind is bool:
            continue
        if kind is int or kind is float:
            if not least <= value <= _MOST:
                return f"{'.'.join(str(part) for part in (*where, name))} is a number that cannot be"
            continue
        if kind is list:
            path = _number(enumerate(value), (*where, name))
        elif kind is dict:  # hyperparameters, which alone may be below zero
            path = _number(value.items(), (*where, name), -_MOST)
        else:
            path = _number(value.__dict__.items(), (*where, name))
        if path:
            return path
    return None
