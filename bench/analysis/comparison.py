"""Group comparable records and compare each method with the reference, paired by seed on the same reviews."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median, stdev
from typing import Any, Literal, TypeVar

from bench.analysis.groups import GroupKey, Machine, Setting, Value, grouped, machine, shared_device
from bench.analysis.statistics import mean_half_width
from bench.analysis.verdicts import Paired, analyse, has_collapsed, one_class
from bench.records.schema import Baseline, Conversion, Record
from bench.records.spec import Budget
from bench.rules import MARGIN

__all__ = ["Group", "Row", "by_setting", "compare", "setting_labels", "unique"]

AnyRun = TypeVar("AnyRun", Record, Baseline, Record | Baseline)


@dataclass(frozen=True)
class Row:
    """One method with one set of hyperparameters, or what methods are seen against. Metrics are shares of 1 and means over the
    complete runs; None is not measured.
    """

    label: str
    method: str = ""
    role: Literal["reference", "method", "baseline", "published"] = "method"
    runs: list[Record] = field(default_factory=list)
    """Complete runs, by seed."""
    other_runs: list[Record] = field(default_factory=list)
    """Runs that ended in another state."""
    accuracy: float | None = None
    accuracy_deviation: float | None = None
    """Standard deviation of the accuracy over seeds; None for one seed."""
    accuracy_half_width: float | None = None
    """Half the width of the 95 % t interval of the accuracy over seeds, on these very reviews; None for one seed, and where a
    seed collapsed, since then no such interval covers what it says."""
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    accuracy_difference: float | None = None
    """Mean over the seeds that the reference has too of accuracy minus the reference's; a share, not points."""
    f1_difference: float | None = None
    paired: Paired | None = None
    """The method against the reference; None for the reference itself, and without one."""
    body: int | None = None
    """Trainable parameters in the encoder."""
    head: int | None = None
    memory: float | None = None
    """Median of `Memory.training_bytes`, bytes."""
    reviews_seen: float | None = None
    reviews_per_second: float | None = None
    """By the clock of the runs; None in a calibrated group, whose runs may have shared a device."""
    conversion: Conversion | None = None
    """Calibrated time per token, over the reference's; None where no run is calibrated."""
    collapsed: list[int] = field(default_factory=list)
    """Seeds of complete runs no better than the most frequent class."""
    one_class: list[int] = field(default_factory=list)
    """Those of them whose predictions are all the same."""
    measured: list[Record] = field(default_factory=list)
    """Complete runs on the kind of machine that memory and times of the group are of."""

    @property
    def records(self) -> list[Record]:
        return [*self.runs, *self.other_runs]

    @property
    def hyperparameters(self) -> Mapping[str, Value]:
        return self.records[0].spec.hyperparameters

    @property
    def seeds(self) -> list[int]:
        return [record.spec.seed for record in self.runs]


@dataclass(frozen=True)
class Group:
    """Runs that may be compared, the reference first, and the baselines on the same test."""

    key: GroupKey
    rows: list[Row]
    baselines: list[Baseline]
    reference: Row | None
    """The row that differences are taken from; None if no run of it is complete."""
    encoders: tuple[str, ...] = ()
    """Requested names of the group's encoder, the earliest run's first."""
    margin: float = MARGIN
    """Differences within it count as equivalent, a share of 1."""
    detectable: float | None = None
    """The minimum detectable difference from the reference, a share of 1; None where no comparison gets a verdict."""
    variance_p: float | None = None
    """Of the check that all methods have one seed variance; None for fewer than three methods."""
    pools: bool = True
    """Whether the seed variance is pooled over the methods."""
    pairs: Sequence[tuple[str, str, Paired]] = ()
    """(method, other, method minus other) of every two rows with complete runs, by their labels; a family of its own."""
    attempts: int = 0
    """Earlier attempts of the runs shown, which `--force` replaced."""

    @property
    def runs(self) -> list[Record]:
        return [record for row in self.rows for record in row.runs]

    @property
    def records(self) -> list[Record]:
        return [record for row in self.rows for record in row.records]

    @property
    def calibrated(self) -> bool:
        """Whether speed is that of a calibration, not of the runs."""
        return any(row.conversion is not None for row in self.rows)

    @property
    def shared(self) -> bool:
        """Whether a run shared its device, so that clocks of the group's runs are not compared."""
        return any(map(shared_device, self.runs))


def compare(records: Iterable[Record | Baseline], reference: str, order: list[str], margin: float = MARGIN) -> list[Group]:
    """Group comparable records and compare each method with `reference`. `order` sorts the other methods.

    Tuning trials are left out. Of duplicate runs a complete one counts, else the latest. Groups that differ in their
    budget alone follow each other by its unit and amount. Differences within `margin`, a share of 1, are equivalent.

    Raises:
        RecordError: if one method has several shares of one number of reference tokens.
    """
    loaded = list(records)
    runs = [record for record in loaded if isinstance(record, Record) and record.spec.purpose == "run"]
    baselines = unique(record for record in loaded if isinstance(record, Baseline))
    groups = sorted(grouped(runs).items(), key=lambda item: _place(item[0]))
    speeds = {(record.conversion.calibration, *_timed(record)): record.conversion for record in runs if record.conversion}
    return [_group(key, unique(members), baselines, reference, order, margin, speeds) for key, members in groups]


def _timed(record: Record) -> tuple[str, Setting]:
    """Return what a calibration times: a method and its hyperparameters, of which the learning rate takes no time."""
    return record.spec.method, frozenset(item for item in record.spec.hyperparameters.items() if item[0] != "learning_rate")


def unique(records: Iterable[AnyRun]) -> list[AnyRun]:
    """Keep one record of each run: of duplicates a complete one, else the latest."""
    ordered = sorted(records, key=lambda one: (isinstance(one, Baseline) or one.state == "complete", one.finished))
    return list({record.run_id: record for record in ordered}.values())


def _place(key: GroupKey) -> tuple[Any, ...]:
    """Sort groups: equal device budgets before equal tokens, then numbers as numbers, for as text 120 s would
    come before 15 s, and none before any.
    """
    budget = Budget.parse(key.budget)
    second_view = key.rules >= 3 and not budget.calibrated
    return (second_view, *((value is not None, value) for value in key._replace(budget="")), budget.unit, budget.amount)


def _group(
    key: GroupKey,
    records: list[Record],
    baselines: list[Baseline],
    reference: str,
    order: list[str],
    margin: float,
    speeds: Mapping[tuple[str, str, Setting], Conversion],
) -> Group:
    kinds = Counter(machine(record) for record in records if record.state == "complete")
    kind = max(sorted(kinds), key=lambda one: kinds[one], default=None)
    rows = [_row(label, runs, kind) for label, runs in by_setting(records)]
    if (calibration := next((row.conversion.calibration for row in rows if row.conversion), None)) is not None:
        # A method whose own budget was counted may have been calibrated beside the others.
        known = [row.conversion or speeds.get((calibration, *_timed(row.records[0]))) for row in rows]
        rows = [replace(row, reviews_per_second=None, conversion=one) for row, one in zip(rows, known, strict=True)]

    def place(row: Row) -> tuple[bool, int, int, str]:
        # Of several settings of a method, the one with the most complete runs comes first, as the reference too.
        rank = order.index(row.method) if row.method in order else len(order)
        return row.method != reference, rank, -len(row.runs), row.label

    rows.sort(key=place)
    centre = rows[0] if rows[0].method == reference and rows[0].runs else None
    analysis = analyse([row.runs for row in rows], margin)
    pairs = [(rows[i].label, rows[j].label, paired) for i, j, paired in analysis.pairs]
    if centre is not None:
        beside = zip(rows, [None, *analysis.against_first], strict=True)
        rows = [replace(_beside(row, centre), paired=paired) for row, paired in beside]
        rows[0] = centre = replace(rows[0], role="reference")
    distinct = {record.training.reviews_distinct for record in centre.runs if record.training} if centre else set()
    same_test = [
        baseline
        for baseline in baselines
        if baseline.rules_version == key.rules
        and (baseline.data.sha256, baseline.data.cut, baseline.spec.test_limit) == (key.data_sha256, key.cut, key.test_limit)
        and baseline.spec.train_reviews in distinct | {key.train_limit or baseline.data.train}
    ]
    same_test.sort(key=lambda baseline: -baseline.spec.train_reviews)
    encoders = dict.fromkeys(record.spec.encoder for record in sorted(records, key=lambda record: record.finished))
    return Group(
        key, rows, same_test, centre, tuple(encoders), margin, analysis.detectable if centre else None, analysis.variance_p,
        analysis.pools, pairs,
    )  # fmt: skip


def by_setting(records: Iterable[Record], but: str | None = None) -> list[tuple[str, list[Record]]]:
    """Return the records of each setting of a method, the hyperparameter `but` aside, under a label that says what differs."""
    methods: dict[str, dict[Setting, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        setting = frozenset((name, value) for name, value in record.spec.hyperparameters.items() if name != but)
        methods[record.spec.method][setting].append(record)
    return [
        (label, runs)
        for method, settings in methods.items()
        for label, runs in zip(setting_labels(method, list(settings)), settings.values(), strict=True)
    ]


def setting_labels(method: str, settings: Sequence[Setting]) -> list[str]:
    """Return a label for each of a method's settings: its name, with what is not the same in all of them."""
    shared = frozenset.intersection(*settings)
    different = [", ".join(f"{name} {value}" for name, value in sorted(setting - shared)) for setting in settings]
    return [f"{method} ({which})" if which else method for which in different]


def _row(label: str, records: list[Record], kind: Machine | None) -> Row:
    runs = sorted((r for r in records if r.state == "complete" and r.test), key=lambda r: r.spec.seed)
    others = sorted((r for r in records if r.state != "complete" or not r.test), key=lambda r: r.spec.seed)
    tests, measured = [r.test for r in runs if r.test], [r for r in runs if machine(r) == kind]
    collapsed = [r for r in runs if r.test and has_collapsed(r.test)]
    parameters = next((r.parameters for r in (*runs, *others) if r.parameters), None)
    return Row(
        label=label,
        method=records[0].spec.method,
        runs=runs,
        other_runs=others,
        accuracy=_mean([t.accuracy for t in tests]),
        accuracy_deviation=stdev([t.accuracy for t in tests]) if len(tests) > 1 else None,
        accuracy_half_width=None if collapsed else mean_half_width([t.accuracy for t in tests]),
        precision=_mean([t.precision for t in tests]),
        recall=_mean([t.recall for t in tests]),
        f1=_mean([t.f1 for t in tests]),
        body=parameters.body if parameters else None,
        head=parameters.head if parameters else None,
        memory=float(median(peaks)) if (peaks := [r.memory.training_bytes for r in measured if r.memory]) else None,
        reviews_seen=_mean([float(r.training.reviews_seen) for r in runs if r.training]),
        reviews_per_second=_mean(
            [r.training.reviews_seen / r.seconds.charged for r in measured if r.training and r.seconds and r.seconds.charged]
        ),
        conversion=next((r.conversion for r in (*runs, *others) if r.conversion), None),
        collapsed=[r.spec.seed for r in collapsed],
        one_class=[r.spec.seed for r in collapsed if r.test and one_class(r.test)],
        measured=measured,
    )


def _beside(row: Row, centre: Row) -> Row:
    """Return the row with its differences from the reference, over the seeds that both have, collapsed ones included."""
    own, its = ({record.spec.seed: record.test for record in of.runs if record.test} for of in (row, centre))
    pairs = [(own[seed], its[seed]) for seed in sorted(own.keys() & its.keys())]
    return replace(
        row,
        accuracy_difference=_mean([one.accuracy - other.accuracy for one, other in pairs]),
        f1_difference=_mean([one.f1 - other.f1 for one, other in pairs]),
    )


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
