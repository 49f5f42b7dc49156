"""Tuning (rules, section 6): which learning rates are tried, and which of them is chosen. No trial is ever tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import methods
from bench.errors import UserError
from bench.record import FINAL, Record
from bench.spec import Budget

__all__ = ["Choice", "best", "choose", "learning_rate", "rates", "validation_accuracy"]


def rates(method: str, count: int) -> list[float]:
    """The learning rates of `count` trials: the declared default, then its neighbours in the method's declared grid, the
    nearer first and of two as near the smaller.

    Raises:
        UserError: if `count` is below 2, or more than the method declares.
        MethodError: for an unknown method.
    """
    if count < 2:
        raise UserError(f"--tune {count}: a choice needs at least 2 learning rates")
    declared = methods.get(method)
    grid = sorted({*declared.learning_rates, declared.learning_rate})
    if count > len(grid):
        raise UserError(f"--tune {count} is more than the {len(grid)} learning rates that {method} declares")
    default = grid.index(declared.learning_rate)
    return sorted(grid, key=lambda rate: abs(grid.index(rate) - default))[:count]


def learning_rate(record: Record) -> float | None:
    """The peak learning rate of a run or trial; None where its record has none that is a number."""
    value = record.spec.hyperparameters.get("learning_rate")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def validation_accuracy(trial: Record) -> float | None:
    """Accuracy on the validation reviews at the end of the budget, a share; None where the trial did not get there."""
    if trial.state != "complete" or trial.training is None or not trial.training.curve:
        return None
    return trial.training.curve[-1].accuracy


def best(trials: Iterable[Record], default: float) -> Record | None:
    """The trial with the highest validation accuracy at the end of the budget, of trials of one method in one setting.

    A tie goes to the trial at `default`, else to the smaller learning rate. A trial that diverged or ran out of memory
    cannot win; None if no trial completed.
    """

    def standing(trial: Record) -> tuple[float, bool, float]:
        rate, accuracy = learning_rate(trial), validation_accuracy(trial)
        assert rate is not None
        assert accuracy is not None
        return accuracy, rate == default, -rate

    completed = [trial for trial in trials if learning_rate(trial) is not None and validation_accuracy(trial) is not None]
    return max(completed, key=standing, default=None)


@dataclass(frozen=True)
class Choice:
    """What the trials of one method under one budget came to."""

    method: str
    budget: Budget
    trials: list[Record]
    """In the order in which they were tried."""
    rate: float | None
    """The learning rate that is frozen for all seeds; None: there is none."""
    reason: str = ""
    """Why there is none."""


def choose(trials: Iterable[Record]) -> list[Choice]:
    """One choice for each method and budget among the trials, in the order of their first trials.

    There is none while a trial is to be run again (it failed or was cancelled), since the choice would then be from fewer
    than for the other methods, and none where no trial completed.
    """
    grouped: dict[tuple[str, Budget], list[Record]] = defaultdict(list)
    for trial in trials:
        grouped[trial.spec.method, trial.spec.budget].append(trial)
    return [_choice(method, budget, found) for (method, budget), found in grouped.items()]


def _choice(method: str, budget: Budget, trials: list[Record]) -> Choice:
    open_ = next((trial for trial in trials if trial.state not in FINAL), None)
    if open_ is not None:
        return Choice(method, budget, trials, None, f"a trial ended as {open_.state}; the same command runs it again")
    winner = best(trials, methods.get(method).learning_rate)
    if winner is None:
        return Choice(method, budget, trials, None, "no trial completed")
    return Choice(method, budget, trials, learning_rate(winner))
