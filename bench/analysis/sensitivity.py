"""Tuning trials by method: how much accuracy depends on the learning rate. No part of the comparison."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import methods
from bench.analysis.comparison import Group, compare, setting_labels
from bench.analysis.groups import Setting
from bench.analysis.tuning import choose, learning_rate, tried
from bench.records.schema import FINAL, Baseline, Record, Trial

__all__ = ["Sensitivity", "Trials", "sensitivities"]


@dataclass(frozen=True)
class Trials:
    """The trials of one method in one setting, the learning rate aside."""

    label: str
    method: str
    trials: list[Record]
    """By learning rate; what has none comes last."""
    rates: list[Trial]
    """The same over tuning seeds, by learning rate."""
    default: float | None
    """The method's declared default; None where this machine does not have the method."""
    declared: tuple[float, ...]
    """The rates that the method declares."""
    chosen_rate: float | None
    """As `bench.analysis.tuning.choose` has it; None where every rate collapsed, or a trial is still to be run again."""

    @property
    def seconds(self) -> float:
        """Device seconds charged over all trials; those of a trial that did not get to its end are not known."""
        return sum(record.seconds.charged for record in self.trials if record.seconds)

    @property
    def all_timed(self) -> bool:
        """Whether every trial has its seconds, so that their sum is the whole."""
        return all(record.seconds for record in self.trials)


@dataclass(frozen=True)
class Sensitivity:
    """Trials that may be compared: equal in all that the runs of one table are equal in."""

    group: Group
    """The same trials as the comparison groups records, none of them tested."""
    methods: list[Trials]


def sensitivities(records: Iterable[Record | Baseline], order: list[str]) -> list[Sensitivity]:
    """Return the trials among the records, grouped as runs are, in the order of `order` and then of names."""
    trials = [record for record in records if isinstance(record, Record) and record.spec.purpose == "trial"]
    # To the comparison a trial is a run that was never tested: it groups them, and counts once what is there twice.
    as_runs = [trial.model_copy(update={"spec": trial.spec.model_copy(update={"purpose": "run"})}) for trial in trials]
    return [
        Sensitivity(group, _methods([record for row in group.rows for record in (*row.runs, *row.other_runs)], order))
        for group in compare(as_runs, "", order)
    ]


def _methods(trials: list[Record], order: list[str]) -> list[Trials]:
    settings: dict[str, dict[Setting, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        rest = {name: value for name, value in trial.spec.hyperparameters.items() if name != "learning_rate"}
        settings[trial.spec.method][frozenset(rest.items())].append(trial)
    rows = [
        _trials(label, method, members)
        for method, own in settings.items()
        for label, members in zip(setting_labels(method, list(own)), own.values(), strict=True)
    ]
    return sorted(rows, key=lambda row: (order.index(row.method) if row.method in order else len(order), row.label))


def _trials(label: str, method: str, trials: list[Record]) -> Trials:
    registered = methods.get(method) if method in methods.names() else None
    default = registered.learning_rate if registered else None
    finished, rates = all(trial.state in FINAL for trial in trials), tried(trials)
    return Trials(
        label=label,
        method=method,
        trials=sorted(trials, key=lambda trial: (_or(learning_rate(trial), math.inf), trial.spec.seed)),
        default=default,
        declared=registered.learning_rates if registered else (),
        rates=rates,
        chosen_rate=choose(rates, _or(default, math.nan)) if finished else None,
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
