"""Budgets side by side: accuracy as the budget grows, where the lead changes, and what equal reviews buy."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from bench.analysis.budget_sweep import Crossing, Line, Sweep, budget_of
from bench.analysis.comparison import Group, Row
from bench.analysis.verdicts import worded
from bench.records.spec import Budget
from bench.report.tables.footnotes import title
from bench.report.tables.table import Section, plus_minus
from bench.system.text import points

__all__ = ["as_json", "equal_reviews", "rounded", "sections", "sweep_title"]


def sections(sweep: Sweep) -> list[Section]:
    """Two tables: test accuracy by method and budget, and its difference from the reference with the verdict on it."""
    heads = [("", str(budget)) for budget in sweep.budgets]
    name = sweep_title(sweep)
    accuracy = Section(
        title=f"Test accuracy by budget · {name}",
        headers=[("method", ""), *heads],
        rows=[[line.label, *(_accuracy(row) for row in line.rows)] for line in sweep.lines],
        notes=[
            "Accuracy in %, mean over seeds, and after ± the half-width of its 95 % interval over seeds. Each budget is a run "
            "of its own with a whole schedule.",
            *_settings(sweep),
        ],
    )
    if sweep.reference is None:
        return [accuracy]
    beside = Section(
        title=f"Difference from {sweep.reference} by budget · {name}",
        headers=[("points", ""), *heads],
        rows=[[line.label, *(_difference(row) for row in line.rows)] for line in sweep.lines if _others(line, sweep)],
        notes=_crossings(sweep),
    )
    return [accuracy, beside] if beside.rows else [accuracy]


def _others(line: Line, sweep: Sweep) -> bool:
    """Whether a line has a difference from the reference, and is not the reference's own."""
    beside = zip(line.rows, sweep.groups, strict=True)
    return any(row is not None and row is not group.reference and row.accuracy_difference is not None for row, group in beside)


def sweep_title(sweep: Sweep) -> str:
    """What all runs of a sweep share, and its budgets."""
    first = sweep.groups[0]
    return title(replace(first, key=first.key._replace(budget=", ".join(map(str, sweep.budgets)))))


def _accuracy(row: Row | None) -> str:
    return "–" if row is None else plus_minus(row.accuracy, row.accuracy_half_width)


def _difference(row: Row | None) -> str:
    if row is None or row.accuracy_difference is None:
        return "–"
    return points(row.accuracy_difference) + (f" ({worded(row.paired.verdict, row.paired.margin)})" if row.paired else "")


def _settings(sweep: Sweep) -> list[str]:
    """Which hyperparameters a line does not share over its budgets, as after tuning."""
    said = []
    for line in sweep.lines:
        known = [setting for setting in line.settings if setting is not None]
        shared = frozenset.intersection(*(frozenset(setting.items()) for setting in known))
        if all(frozenset(setting.items()) == shared for setting in known):
            continue
        each = "; ".join(
            f"{budget}: " + ", ".join(sorted(f"{name} {value}" for name, value in frozenset(setting.items()) - shared))
            for budget, setting in zip(sweep.budgets, line.settings, strict=True)
            if setting is not None
        )
        said.append(f"{line.label} does not have the same hyperparameters at every budget ({each}).")
    return said


def _crossings(sweep: Sweep) -> list[str]:
    verdicts = "In parentheses is the verdict of the comparison under that budget alone."
    if not sweep.crossings:
        return ["No difference changes its sign between two budgets.", verdicts]
    found = [_crossing(crossing, sweep) for crossing in sweep.crossings]
    return [
        *found,
        verdicts,
        "A crossing is claimed where both differences are resolved; its budget is linear in the logarithm between the two.",
    ]


def _crossing(crossing: Crossing, sweep: Sweep) -> str:
    below, above = crossing.below, crossing.above
    rises = crossing.differences[0] < 0
    if crossing.at is not None:
        return (
            f"{crossing.label} is {'below' if rises else 'above'} {sweep.reference} at {below} and "
            f"{'above' if rises else 'below'} it at {above}: they cross at about {rounded(crossing)}."
        )
    sides = [str(budget) for budget, sure in zip((below, above), crossing.resolved, strict=True) if sure]
    but = f"only that at {sides[0]}" if sides else "neither"
    return f"{crossing.label}: the difference changes sign between {below} and {above}, but {but} is resolved."


def rounded(crossing: Crossing) -> str:
    """Where the lead changes, in two digits: more of them no interpolation knows."""
    return str(Budget(amount=float(f"{crossing.at:.2g}"), unit=crossing.below.unit))


_SAME = {"epochs": "reviews", "steps": "reviews", "tokens": "tokens"}
"""What is equal for every method under a budget that is no time."""


def equal_reviews(group: Group) -> Section | None:
    """The second view, of a group whose budget is no time: as many reviews for each method, however long they take it."""
    same = _SAME.get(budget_of(group).unit)
    rows = [row for row in group.rows if row.runs]
    if same is None or not rows:
        return None
    centre = _seconds(group.reference) if group.reference else None
    return Section(
        title=f"Equal {same} for every method · {title(group)}",
        headers=[
            ("method", ""), ("accuracy", "%"), ("Δ", "points"), ("reviews", "trained on"), ("device", "seconds"),
            ("times the", "reference's"),
        ],
        rows=[
            [
                row.label,
                _accuracy(row),
                "ref." if row is group.reference else _difference(row),
                _mean(row, "reviews_trained"),
                "–" if (own := _seconds(row)) is None else f"{own:,.1f}",
                "–" if own is None or not centre else f"{own / centre:.2f}",
            ]
            for row in rows
        ],
        notes=[
            "This view separates the faster method from the better one: a difference in accuracy is in what a method learns "
            f"from the same {same}, and device seconds (mean over seeds) are what that takes. A time budget mixes the two.",
        ],
    )  # fmt: skip


def _seconds(row: Row) -> float | None:
    charged = [record.seconds.charged for record in row.measured if record.seconds]
    return fmean(charged) if charged else None


def _mean(row: Row, field: str) -> str:
    values = [getattr(record.training, field) for record in row.runs if record.training]
    return f"{fmean(values):,.0f}" if values else "–"


def as_json(sweep: Sweep) -> dict[str, object]:
    """The same as plain values: shares of 1, budgets in their unit; null where there is none."""
    return {
        "title": sweep_title(sweep),
        "unit": sweep.budgets[0].unit,
        "budgets": [budget.amount for budget in sweep.budgets],
        "reference": sweep.reference,
        "methods": [
            {
                "label": line.label,
                "accuracy": [row.accuracy if row else None for row in line.rows],
                "accuracy_half_width": [row.accuracy_half_width if row else None for row in line.rows],
                "accuracy_difference": [row.accuracy_difference if row else None for row in line.rows],
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
