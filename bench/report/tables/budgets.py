"""Budgets side by side: accuracy as the budget grows, where the lead changes, and what equal reviews buy."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from bench.analysis.budget_sweep import Crossing, Sweep, budget_of
from bench.analysis.comparison import Group, Row
from bench.analysis.costs import costs
from bench.analysis.verdicts import worded
from bench.records.spec import Budget
from bench.report.tables.footnotes import title
from bench.report.tables.formatting import number, plus_minus
from bench.report.tables.table import Note, Section, naming
from bench.system.text import points

__all__ = ["as_json", "equal_reviews", "crossing_budget", "sections", "sweep_title"]


def sections(sweep: Sweep) -> list[Section]:
    """Return two tables: test accuracy by method and budget, and its difference from the reference."""
    heads = [str(budget).replace(" ", "\n", 1) for budget in sweep.budgets]
    name = sweep_title(sweep)
    accuracy = Section(
        title=f"Test accuracy by budget · {name}",
        headers=["method", *heads],
        rows=[[line.label, *(_accuracy(row) for row in line.rows)] for line in sweep.lines],
        notes=[
            Note("budgets", "Accuracy in % over seeds, ± half its 95 % interval. Each budget is a run of its own."),
            *_settings(sweep),
        ],
    )
    if sweep.reference is None:
        return [accuracy]
    beside = Section(
        title=f"Difference from {sweep.reference} by budget · {name}",
        headers=["points", *heads],
        rows=[
            [line.label, *map(_difference, line.rows)]
            for line in sweep.lines
            if any(row and row.role != "reference" and row.accuracy_difference is not None for row in line.rows)
        ],
        notes=_crossings(sweep),
    )
    return [accuracy, beside] if beside.rows else [accuracy]


def sweep_title(sweep: Sweep) -> str:
    """Write what all runs of a sweep share, and its budgets."""
    first = sweep.groups[0]
    return title(replace(first, key=first.key._replace(budget=", ".join(map(str, sweep.budgets)))))


def _accuracy(row: Row | None) -> str:
    return "–" if row is None else plus_minus(row.accuracy, row.accuracy_half_width).replace(" ", "\n")


def _difference(row: Row | None) -> str:
    if row is None or row.accuracy_difference is None:
        return "–"
    return points(row.accuracy_difference) + (f"\n({worded(row.paired)})" if row.paired else "")


def _settings(sweep: Sweep) -> list[Note]:
    """Name the hyperparameters that a line does not share over its budgets, as after tuning."""
    labels = {}
    for line in sweep.lines:
        settings = [row.hyperparameters for row in line.rows if row is not None]
        shared = frozenset.intersection(*(frozenset(setting.items()) for setting in settings))
        if different := sorted({name for setting in settings for name, _ in setting.items() - shared}):
            values = [" ".join(str(setting[name]) for name in different if name in setting) for setting in settings]
            labels[line.label] = f"{', '.join(different)} {', '.join(values)}"
    return naming("settings", "Hyperparameters differ between budgets: {}.", labels)


def _crossings(sweep: Sweep) -> list[Note]:
    verdicts = Note("verdicts", "In parentheses is the verdict of the comparison under that budget alone.")
    if not sweep.crossings:
        return [Note("crossing", "No difference changes its sign between two budgets."), verdicts]
    sure = [Note("crossing", _crossing(crossing, sweep), (crossing.label,)) for crossing in sweep.crossings if crossing.at]
    unsure = {crossing.label: "" for crossing in sweep.crossings if not crossing.at}
    unresolved = naming("sign", "Sign changes that are not resolved on both sides: {}.", unsure)
    return [
        *[*sure, *unresolved][:3],
        verdicts,
        Note("linear", "A crossing's budget is linear in the logarithm between the two."),
    ]


def _crossing(crossing: Crossing, sweep: Sweep) -> str:
    below, above = crossing.below, crossing.above
    rises = crossing.differences[0] < 0
    return (
        f"{crossing.label} is {'below' if rises else 'above'} {sweep.reference} at {below} and "
        f"{'above' if rises else 'below'} it at {above}: they cross at about {crossing_budget(crossing)}."
    )


def crossing_budget(crossing: Crossing) -> str:
    """Format the budget at which the lead changes in two digits, as precise as interpolation is."""
    return str(Budget(amount=float(f"{crossing.at:.2g}"), unit=crossing.below.unit))


_SAME = {"epochs": "reviews", "steps": "reviews", "tokens": "tokens"}
"""What is equal for every method under a budget that is not time."""


def equal_reviews(group: Group) -> list[Section]:
    """Return the second view, of a group whose budget is no time: as many reviews for each method."""
    same = _SAME.get(budget_of(group).unit)
    rows = [row for row in group.rows if row.runs]
    if same is None or not rows:
        return []
    # Seconds of runs that shared their device are not those of the method.
    clocks = [] if group.shared else ["device\nseconds", "times the\nreference's"]
    took = "device seconds are what that takes"
    if group.shared:
        took = "by their clocks runs shared their device, so their seconds are not shown"
    return [
        Section(
            title=f"Equal {same} for every method · {title(group)}",
            headers=["method", "accuracy\n%", "Δ\npoints", "reviews\ntrained on", *clocks],
            rows=[
                [
                    row.label,
                    _accuracy(row),
                    "ref." if row is group.reference else _difference(row),
                    _reviews(row),
                    *([] if group.shared else _clocks(row, group.reference)),
                ]
                for row in rows
            ],
            notes=[Note("equal", f"A difference in accuracy is in what a method learns from the same {same}; {took}.")],
        )
    ]


def _clocks(row: Row, reference: Row | None) -> list[str]:
    own, its = (costs(one).device_seconds if one else None for one in (row, reference))
    return [number(own, ",.1f"), number(own / its if own is not None and its else None, ".2f")]


def _reviews(row: Row) -> str:
    trained = [record.training.reviews_trained for record in row.runs if record.training]
    return number(fmean(trained) if trained else None, ",.0f")


_NUMBERS = ("accuracy", "accuracy_half_width", "accuracy_difference")


def as_json(sweep: Sweep) -> dict[str, object]:
    """Return the same as plain values: shares of 1, budgets in their unit; null where there is none."""
    return {
        "title": sweep_title(sweep),
        "unit": sweep.budgets[0].unit,
        "budgets": [budget.amount for budget in sweep.budgets],
        "reference": sweep.reference,
        "methods": [
            {
                "label": line.label,
                **{name: [getattr(row, name, None) for row in line.rows] for name in _NUMBERS},
                "verdict": [row.paired.verdict if row and row.paired else None for row in line.rows],
            }
            for line in sweep.lines
        ],
        "sign_changes": [
            {
                "label": crossing.label,
                "between": [crossing.below.amount, crossing.above.amount],
                "resolved": list(crossing.resolved),
                "at": crossing.at,
            }
            for crossing in sweep.crossings
        ],
    }
