"""Groups that differ in the budget alone: which method leads as the budget grows, and where the lead changes.

The only comparison across budgets (rules, section 8). Differences are still taken within a budget.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from bench.analysis.comparison import Group, Row, setting_labels
from bench.analysis.groups import Setting
from bench.records.spec import Budget

__all__ = ["Crossing", "Line", "Sweep", "budget_of", "sweeps"]


@dataclass(frozen=True)
class Line:
    """One method over the budgets."""

    label: str
    rows: list[Row | None]
    """[budgets]; None where it was not run."""


@dataclass(frozen=True)
class Crossing:
    """A difference from the reference that has another sign at the next budget."""

    label: str
    below: Budget
    above: Budget
    differences: tuple[float, float]
    """At the lower and at the higher budget, shares of 1."""
    resolved: tuple[bool, bool]
    """Whether the statistics tell each difference from none: the verdict is that it is better or worse."""

    @property
    def at(self) -> float | None:
        """The budget at which the difference is none, in the budget's unit, linear in its logarithm. None unless both
        sides are resolved: a sign that chance could have turned marks no point.
        """
        if not all(self.resolved):
            return None
        below, above, (before, after) = math.log(self.below.amount), math.log(self.above.amount), self.differences
        return math.exp(below + before / (before - after) * (above - below))


@dataclass(frozen=True)
class Sweep:
    """Comparable groups by growing budget of one unit."""

    groups: list[Group]
    budgets: list[Budget]
    reference: str | None
    """The method that differences are taken from; None where no group has it complete."""
    lines: list[Line]
    crossings: list[Crossing]


def budget_of(group: Group) -> Budget:
    """Return the budget that all runs of a group share; of a run in two tables, that of this one."""
    return Budget.parse(group.key.budget)


def sweeps(groups: Iterable[Group]) -> list[Sweep]:
    """Return every set of two or more groups that differ in the amount of their budget alone."""
    series: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in groups:
        series[(*group.key._replace(budget=""), budget_of(group).unit)].append(group)
    return [_sweep(sorted(members, key=lambda g: budget_of(g).amount)) for members in series.values() if len(members) > 1]


def _sweep(groups: list[Group]) -> Sweep:
    budgets, lines = [budget_of(group) for group in groups], _lines(groups)
    crossings = [crossing for line in lines for crossing in _crossings(line, budgets)]
    reference = next((group.reference.method for group in groups if group.reference), None)
    return Sweep(groups, budgets, reference, lines, crossings)


def _lines(groups: list[Group]) -> list[Line]:
    """Return a line a method; one with several settings under one budget gets a line for each of them."""
    places = Counter((i, row.method) for i, group in enumerate(groups) for row in group.rows)
    several = {method for (_, method), count in places.items() if count > 1}
    # By method in the order of the tables, and within one by setting.
    cells: dict[str, dict[Setting, list[Row | None]]] = defaultdict(dict)
    for i, group in enumerate(groups):
        for row in group.rows:
            setting: Setting = frozenset(row.hyperparameters.items()) if row.method in several else frozenset()
            cells[row.method].setdefault(setting, [None] * len(groups))[i] = row
    return [
        Line(label, rows)
        for method, settings in cells.items()
        for label, rows in zip(setting_labels(method, list(settings)), settings.values(), strict=True)
    ]


def _crossings(line: Line, budgets: list[Budget]) -> list[Crossing]:
    # A difference of exactly zero has no sign: it says nothing about on which side of it the lead changes.
    signed = [
        (budget, row.accuracy_difference, row.paired is not None and row.paired.verdict in {"better", "worse"})
        for budget, row in zip(budgets, line.rows, strict=True)
        if row is not None and row.accuracy_difference
    ]
    return [
        Crossing(line.label, below, above, (before, after), (sure_before, sure_after))
        for (below, before, sure_before), (above, after, sure_after) in pairwise(signed)
        if before * after < 0
    ]
