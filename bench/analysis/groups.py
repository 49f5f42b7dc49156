"""Which runs may share a table (rules, section 8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

from bench.records.schema import Record
from bench.system.errors import RecordError

__all__ = ["LIBRARIES", "GroupKey", "Machine", "Setting", "Value", "group_key", "grouped", "machine", "shared_device"]

LIBRARIES = ("torch", "transformers", "adapters", "peft", "tokenizers")
"""Libraries whose versions the runs of a table share."""
BUSY = 1.25
"""A run that takes this many times the calibrated time shared its device."""
Value = float | int | str | bool | None
Setting = frozenset[tuple[str, Value]]
"""Hyperparameters, by name."""
Machine = tuple[str, int]
"""A kind of machine: model of the processor or GPU, and threads."""
_RUN = attrgetter("spec.method", "spec.hyperparameters", "spec.seed")
"""What distinguishes the runs of a table."""


class GroupKey(NamedTuple):
    """Fields that the runs of one table share (rules, section 8). The encoder counts by its content.

    Up to rules 2, and under a budget in seconds, the machine is part of it. A counted budget buys the same on any machine;
    one in reference tokens was converted on one, and that machine is part of it instead of the run's own.
    """

    rules: int
    data_sha256: str
    cut: str
    test_limit: int | None
    train_limit: int | None
    classes: int
    encoder_sha256: str
    device: str | None
    threads: int | None
    precision: str
    budget: str
    """As requested: under reference tokens every method has a share of its own."""
    memory_cap: int | None
    max_length: int
    truncation: str
    batch_size: int
    dropout: float
    attention_dropout: float
    kernels: str
    tuning: int | None
    tuning_seeds: int | None
    versions: str
    """Of `LIBRARIES`, without what names a build."""


def machine(record: Record) -> Machine:
    """Return the kind of machine that a run was charged on."""
    return record.environment.device, record.environment.threads


def shared_device(record: Record) -> bool:
    """Whether a run shared its device or met a busy one: it took far longer than its calibration expects."""
    expected = record.conversion.expected_seconds if record.conversion else None
    return bool(expected and record.seconds and record.seconds.charged > BUSY * expected)


def group_key(record: Record) -> GroupKey:
    """Return the key that a run shares with all others of its table."""
    spec, versions = record.spec, record.environment.versions
    device: str | None = None
    threads: int | None = None
    if record.rules_version < 3 or spec.budget.unit == "seconds":
        device, threads = record.environment.device, spec.threads
    elif spec.reference_tokens is not None:
        device, threads = (record.conversion.device, record.conversion.threads) if record.conversion else machine(record)
    return GroupKey(
        record.rules_version, record.data.sha256, record.data.cut, spec.test_limit, spec.train_limit, spec.classes,
        record.encoder.sha256, device, threads, spec.precision, str(spec.requested_budget), spec.memory_cap, spec.max_length,
        spec.truncation, spec.batch_size, spec.dropout, spec.attention_dropout, spec.kernels, spec.tuning, spec.tuning_seeds,
        ", ".join(f"{name} {versions[name].split('+')[0]}" for name in LIBRARIES if name in versions),
    )  # fmt: skip


def grouped(runs: Iterable[Record]) -> dict[GroupKey, list[Record]]:
    """Group the runs by what they share. One under reference tokens is also among those of as many plain tokens as its share.

    Raises:
        RecordError: if one method has several shares of one number of reference tokens.
    """
    groups: dict[GroupKey, list[Record]] = defaultdict(list)
    shares: dict[tuple[GroupKey, str, Setting], set[str]] = defaultdict(set)
    for record in runs:
        groups[group_key(record)].append(record)
    counted = [(key, run) for key, members in groups.items() for run in members if run.spec.reference_tokens is not None]
    for key, run in counted:
        shares[key, run.spec.method, frozenset(run.spec.hyperparameters.items())].add(str(run.spec.budget))
    for (key, method, _), budgets in shares.items():
        if len(budgets) > 1:
            raise RecordError(
                f"{method} has runs of {' and of '.join(sorted(budgets))} for {key.budget}, by two calibrations: "
                "report the runs of each from a folder of its own"
            )
    for _, run in counted:
        plain = run.model_copy(update={"spec": run.spec.model_copy(update={"reference_tokens": None})})
        its = groups.get(group_key(plain))
        if its is not None and _RUN(run) not in map(_RUN, its):
            its.append(run)
    return dict(groups)
