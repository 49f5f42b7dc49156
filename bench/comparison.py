"""Which records may be compared, and how each method stands beside the reference: paired by seed, on the same reviews."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from bench.intervals import half_width
from bench.record import Floor, Record
from bench.spec import Budget
from bench.verdicts import Paired, verdicts

__all__ = ["Group", "GroupKey", "Row", "Setting", "compare", "encoder_names", "setting_labels"]

Setting = frozenset[tuple[str, float | int | str | bool | None]]
"""Hyperparameters, by name."""


class GroupKey(NamedTuple):
    """What must be equal for two runs to stand in one table (rules, section 10). The encoder counts by its content."""

    rules: int
    data_sha256: str
    cut: str
    test_limit: int | None
    encoder_sha256: str
    device: str
    threads: int
    precision: str
    budget: str
    memory_cap: int | None
    max_length: int
    truncation: str
    batch_size: int
    dropout: float
    attention_dropout: float
    tuning: int | None


@dataclass(frozen=True)
class Row:
    """One method with one set of hyperparameters. Means are over its complete runs; None where there is none."""

    label: str
    method: str
    runs: list[Record]
    """Complete runs, by seed."""
    others: list[Record]
    """Runs that ended in another state."""
    accuracy: float | None
    accuracy_deviation: float | None
    """Standard deviation of the accuracy over seeds, a share; None for one seed."""
    accuracy_half_width: float | None
    """Half the width of the 95 % t interval of the accuracy over seeds, on these very reviews; None for one seed."""
    precision: float | None
    recall: float | None
    f1: float | None
    accuracy_difference: float | None
    """Mean over the seeds that the reference has too of accuracy minus the reference's; a share, not points."""
    f1_difference: float | None
    paired: Paired | None
    """The method against the reference; None for the reference itself, and without one."""
    body: int | None
    head: int | None
    memory: float | None
    """Median of `Memory.taken`, bytes."""
    reviews_seen: float | None
    reviews_per_second: float | None

    @property
    def seeds(self) -> list[int]:
        return [record.spec.seed for record in self.runs]


@dataclass(frozen=True)
class Group:
    """Runs that may be compared, the reference first, and the baselines on the same test."""

    key: GroupKey
    rows: list[Row]
    floors: list[Floor]
    reference: Row | None
    """The row that differences are taken from; None if no run of it is complete."""
    encoders: tuple[str, ...] = ()
    """Names under which the one encoder of the group was asked for, the earliest run's first."""

    @property
    def runs(self) -> list[Record]:
        return [record for row in self.rows for record in row.runs]


def _key(record: Record) -> GroupKey:
    spec = record.spec
    return GroupKey(
        record.rules_version, record.data.sha256, record.data.cut, spec.test_limit, record.encoder.sha256,
        record.environment.device, spec.threads, spec.precision, str(spec.budget), spec.memory_cap, spec.max_length,
        spec.truncation, spec.batch_size, spec.dropout, spec.attention_dropout, spec.tuning,
    )  # fmt: skip


def encoder_names(records: Iterable[Record]) -> tuple[str, ...]:
    """The names under which people asked for the encoder of these records, each once, the earliest first."""
    return tuple(dict.fromkeys(record.spec.encoder for record in sorted(records, key=lambda r: r.finished)))


def compare(records: Iterable[Record | Floor], reference: str, order: list[str]) -> list[Group]:
    """Group what is comparable, and put each method beside `reference`. `order` sorts the other methods.

    Tuning trials are no part of a comparison. A run that is there twice counts once: complete rather than not, else the
    later one. Groups that differ in their budget alone stand together, by its unit and its amount.
    """
    grouped: dict[GroupKey, list[Record]] = defaultdict(list)
    floors: dict[str, Floor] = {}
    for record in records:
        if isinstance(record, Floor):
            floors[record.run_id] = record
        elif record.spec.purpose == "run":
            grouped[_key(record)].append(record)
    found = sorted(grouped.items(), key=lambda item: _place(item[0], item[1][0].spec.budget))
    return [_group(key, _once(runs), list(floors.values()), reference, order) for key, runs in found]


def _place(key: GroupKey, budget: Budget) -> tuple[Any, ...]:
    """What groups are sorted by: numbers as numbers, for as text 120 s would come before 15 s, and none before any."""
    return (*((value is not None, value) for value in key._replace(budget="")), budget.unit, budget.amount)


def _once(records: list[Record]) -> list[Record]:
    chosen: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (r.state == "complete", r.finished)):
        chosen[record.run_id] = record
    return list(chosen.values())


def _group(key: GroupKey, records: list[Record], floors: list[Floor], reference: str, order: list[str]) -> Group:
    rows = [_row(label, found) for label, found in _settings(records)]

    def place(row: Row) -> tuple[bool, int, int, str]:
        # Of several settings of a method, the one with the most complete runs comes first, as the reference too.
        rank = order.index(row.method) if row.method in order else len(order)
        return row.method != reference, rank, -len(row.runs), row.label

    rows.sort(key=place)
    centre = rows[0] if rows[0].method == reference and rows[0].runs else None
    if centre is not None:
        paired = verdicts(centre.runs, [row.runs for row in rows[1:]])
        rows = [_beside(centre, centre, centre.seeds)] + [
            replace(_beside(row, centre, found.seeds), paired=found) for row, found in zip(rows[1:], paired, strict=True)
        ]
        centre = rows[0]
    seen = {record.training.reviews_distinct for record in centre.runs if record.training} if centre else set()
    same_test = [
        floor
        for floor in floors
        if floor.rules_version == key.rules
        and (floor.data.sha256, floor.data.cut, floor.spec.test_limit) == (key.data_sha256, key.cut, key.test_limit)
        and floor.spec.train_reviews in seen | {floor.data.train}
    ]
    same_test.sort(key=lambda floor: -floor.spec.train_reviews)
    return Group(key, rows, same_test, centre, encoder_names(records))


def _settings(records: list[Record]) -> list[tuple[str, list[Record]]]:
    """The runs of each method under its label; two settings of one method stand apart, labelled with what differs."""
    methods: dict[str, dict[Setting, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        methods[record.spec.method][frozenset(record.spec.hyperparameters.items())].append(record)
    return [
        (label, found)
        for method, settings in methods.items()
        for label, found in zip(setting_labels(method, list(settings)), settings.values(), strict=True)
    ]


def setting_labels(method: str, settings: Sequence[Setting]) -> list[str]:
    """A label for each of a method's settings: its name, with what is not the same in all of them."""
    shared = frozenset.intersection(*settings)
    different = [", ".join(f"{name} {value}" for name, value in sorted(setting - shared)) for setting in settings]
    return [f"{method} ({which})" if which else method for which in different]


def _row(label: str, records: list[Record]) -> Row:
    runs = sorted((r for r in records if r.state == "complete" and r.test), key=lambda r: r.spec.seed)
    others = sorted((r for r in records if r.state != "complete" or not r.test), key=lambda r: r.spec.seed)
    tests = [r.test for r in runs if r.test]
    parameters = next((r.parameters for r in (*runs, *others) if r.parameters), None)
    return Row(
        label=label,
        method=records[0].spec.method,
        runs=runs,
        others=others,
        accuracy=_mean([t.accuracy for t in tests]),
        accuracy_deviation=stdev([t.accuracy for t in tests]) if len(tests) > 1 else None,
        accuracy_half_width=half_width([t.accuracy for t in tests]),
        precision=_mean([t.precision for t in tests]),
        recall=_mean([t.recall for t in tests]),
        f1=_mean([t.f1 for t in tests]),
        accuracy_difference=None,
        f1_difference=None,
        paired=None,
        body=parameters.body if parameters else None,
        head=parameters.head if parameters else None,
        memory=float(median(taken)) if (taken := [r.memory.taken for r in runs if r.memory]) else None,
        reviews_seen=_mean([float(r.training.reviews_seen) for r in runs if r.training]),
        reviews_per_second=_mean(
            [r.training.reviews_seen / r.seconds.charged for r in runs if r.training and r.seconds and r.seconds.charged]
        ),
    )


def _beside(row: Row, centre: Row, seeds: list[int]) -> Row:
    """The row with its differences from the reference, seed by seed over `seeds`, which both have."""
    own, its = ({record.spec.seed: record.test for record in of.runs if record.test} for of in (row, centre))
    pairs = [(own[seed], its[seed]) for seed in seeds]
    return replace(
        row,
        accuracy_difference=_mean([one.accuracy - other.accuracy for one, other in pairs]),
        f1_difference=_mean([one.f1 - other.f1 for one, other in pairs]),
    )


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
