"""Tuning (rules, section 6): which rates are tried and chosen, and how accuracy depends on them. No trial is ever tested."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import methods
from bench.analysis import statistics
from bench.analysis.comparison import Group, by_setting, compare
from bench.records.schema import FINAL, Baseline, Choice, Record, Trial
from bench.records.spec import Budget
from bench.system.errors import SpecError

__all__ = [
    "Decision", "Sensitivity", "Trials", "choose", "decide", "extension", "learning_rate", "one_more_rate", "rates",
    "sensitivities", "tried", "validation_accuracy",
]  # fmt: skip


def rates(method: str, count: int) -> list[float]:
    """Return the `count` learning rates to try: the declared default, then its neighbours in the method's declared grid,
    the nearer first and of two as near the smaller.

    Raises:
        SpecError: if `count` is below 2, or more than the method declares.
        MethodError: for an unknown method.
    """
    if count < 2:
        raise SpecError(f"--tune {count}: a choice needs at least 2 learning rates")
    declared = methods.get(method)
    grid = _grid(method)
    if count > len(grid):
        raise SpecError(f"--tune {count} is more than the {len(grid)} learning rates that {method} declares")
    default = grid.index(declared.learning_rate)
    return sorted(grid, key=lambda rate: abs(grid.index(rate) - default))[:count]


def _grid(method: str) -> list[float]:
    declared = methods.get(method)
    return sorted({*declared.learning_rates, declared.learning_rate})


def learning_rate(record: Record) -> float | None:
    """Return the peak learning rate of a run or trial; None where its record has none that is a number."""
    value = record.spec.hyperparameters.get("learning_rate")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def validation_accuracy(trial: Record) -> float | None:
    """Accuracy on the validation reviews at the end of the budget, a share; None where the trial did not get there."""
    if trial.state != "complete" or trial.training is None or not trial.training.curve:
        return None
    return trial.training.curve[-1].accuracy


def tried(records: Iterable[Record]) -> list[Trial]:
    """Return the learning rates of these trials of one method and budget, ascending, each over its tuning seeds."""
    by_rate: dict[float, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: -record.spec.seed):
        rate = learning_rate(record)
        if rate is not None:
            by_rate[rate].append(record)
    return [_trial(rate, by_rate[rate]) for rate in sorted(by_rate)]


def _trial(rate: float, records: list[Record]) -> Trial:
    scores = [(record, validation_accuracy(record)) for record in records]
    accuracies = [accuracy for _, accuracy in scores if accuracy is not None]
    collapsed = any(
        accuracy is None
        or statistics.collapsed(round(accuracy * record.data.validation), record.data.validation, 1 / record.spec.classes)
        for record, accuracy in scores
    )
    return Trial(learning_rate=rate, accuracies=accuracies, collapsed=collapsed)


def choose(trials: Sequence[Trial], default: float | None) -> float | None:
    """Return the rate with the highest mean accuracy of those under which no seed collapsed; None if there is none.

    A tie goes to the default, else to the smaller rate.
    """
    eligible = [trial for trial in trials if not trial.collapsed]
    best = max(eligible, key=lambda t: (fmean(t.accuracies), t.learning_rate == default, -t.learning_rate), default=None)
    return None if best is None else best.learning_rate


def extension(trials_by_method: dict[str, list[Trial]]) -> dict[str, float]:
    """One more learning rate for every method, where the best of any stands at the edge of its grid; else none.

    A method extends towards its best where that is at an edge, and otherwise on the side of its better neighbour: to the
    next rate that it declares there, or by the ratio of the two outermost rates.
    """
    bests = {method: choose(trials, methods.get(method).learning_rate) for method, trials in trials_by_method.items()}
    if not any(best in _edges(trials_by_method[method]) for method, best in bests.items()):
        return {}
    return {method: _next_rate(method, trials, bests[method]) for method, trials in trials_by_method.items()}


def _edges(trials: list[Trial]) -> tuple[float, float]:
    return trials[0].learning_rate, trials[-1].learning_rate


def _next_rate(method: str, trials: list[Trial], best: float | None) -> float:
    grid = [trial.learning_rate for trial in trials]
    if best is None:  # every rate collapsed: smaller ones are what is left
        below = True
    elif best in _edges(trials):
        below = best == grid[0]
    else:
        place = grid.index(best)
        means = [-1.0 if trial.collapsed else fmean(trial.accuracies) for trial in trials]
        below = means[place - 1] >= means[place + 1]
    beyond = [rate for rate in _grid(method) if (rate < grid[0] if below else rate > grid[-1])]
    if beyond:
        return beyond[-1] if below else beyond[0]
    rate = grid[0] * grid[0] / grid[1] if below else grid[-1] * grid[-1] / grid[-2]
    return float(f"{rate:.2g}")


def one_more_rate(trials: Iterable[tuple[Budget, Record]]) -> dict[tuple[str, Budget], float]:
    """Return the extension of every method under each budget, as requested, of these trials; none before all have ended."""
    by_budget: dict[Budget, dict[str, list[Record]]] = {}
    for budget, record in trials:
        if record.state not in FINAL:
            return {}
        by_budget.setdefault(budget, {}).setdefault(record.spec.method, []).append(record)
    return {
        (method, budget): rate
        for budget, records in by_budget.items()
        for method, rate in extension({method: tried(own) for method, own in records.items()}).items()
    }


@dataclass(frozen=True)
class Decision:
    """What the trials of one method under one budget came to."""

    method: str
    budget: Budget
    """As it was asked for."""
    trials: list[Record]
    rate: float | None
    """The learning rate that is frozen for all seeds; None: there is none."""
    choice: Choice | None = None
    """The same for the records of its runs."""
    reason: str = ""
    """Why there is none."""


def decide(trials: Iterable[tuple[Budget, Record]], *, extended: bool = False) -> list[Decision]:
    """One decision for each method and budget, as requested, among the trials, in the order of their first trials.

    There is none while a trial is to be run again (it failed or was cancelled), since the choice would then be from fewer
    than for the other methods, and none where every rate collapsed.
    """
    grouped: dict[tuple[str, Budget], list[Record]] = defaultdict(list)
    for budget, record in trials:
        grouped[record.spec.method, budget].append(record)
    return [_decision(method, budget, records, extended) for (method, budget), records in grouped.items()]


def _decision(method: str, budget: Budget, records: list[Record], extended: bool) -> Decision:
    unfinished = next((record for record in records if record.state not in FINAL), None)
    if unfinished is not None:
        reason = f"a trial ended as {unfinished.state}; the same command runs it again"
        return Decision(method, budget, records, None, reason=reason)
    trials = tried(records)
    rate = choose(trials, methods.get(method).learning_rate)
    if rate is None:
        return Decision(method, budget, records, None, reason="every rate collapsed under some tuning seed")
    choice = Choice(
        trials=trials, seeds=sorted({record.spec.seed for record in records}, reverse=True), budget=str(budget),
        extended=extended, at_edge=rate in _edges(trials),
        seconds=sum(record.seconds.charged for record in records if record.seconds),
    )  # fmt: skip
    return Decision(method, budget, records, rate, choice)


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
    """As `choose` has it; None where every rate collapsed, or a trial is still to be run again."""

    @property
    def seconds(self) -> float:
        """Device seconds charged over all trials; those of a trial that did not get to its end are not known."""
        return sum(record.seconds.charged for record in self.trials if record.seconds)

    @property
    def at_edge(self) -> bool:
        """Whether the chosen rate is the smallest or largest of those tried."""
        return self.chosen_rate is not None and self.chosen_rate in _edges(self.rates)

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

    def place(row: Trials) -> tuple[int, str]:
        return order.index(row.method) if row.method in order else len(order), row.label

    return [
        Sensitivity(group, sorted((_trials(*own) for own in by_setting(group.records, but="learning_rate")), key=place))
        for group in compare(as_runs, "", order)
    ]


def _trials(label: str, trials: list[Record]) -> Trials:
    method = trials[0].spec.method
    registered = methods.get(method) if method in methods.names() else None
    default = registered.learning_rate if registered else None
    finished, rates = all(trial.state in FINAL for trial in trials), tried(trials)
    return Trials(
        label=label,
        method=method,
        trials=sorted(trials, key=lambda trial: (learning_rate(trial) or math.inf, trial.spec.seed)),
        default=default,
        declared=registered.learning_rates if registered else (),
        rates=rates,
        chosen_rate=choose(rates, default) if finished else None,
    )
