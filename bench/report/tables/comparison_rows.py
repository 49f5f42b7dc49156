"""A group of comparable runs as lines of plain numbers: what every table says, before any format has its way with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from bench.analysis.comparison import Group, Row
from bench.analysis.verdicts import Paired
from bench.records.schema import Baseline, Conversion

__all__ = ["PUBLISHED", "Line", "baselines", "differs", "ended", "lines", "listed"]


@dataclass(frozen=True)
class Line:
    """One line. Metrics are shares of 1; None is not measured, or has no meaning on this line."""

    role: Literal["reference", "method", "baseline", "published"]
    label: str
    accuracy: float | None = None
    accuracy_deviation: float | None = None
    """Standard deviation over seeds."""
    accuracy_half_width: float | None = None
    """Of its 95 % interval over seeds."""
    accuracy_difference: float | None = None
    paired: Paired | None = None
    """Interval and verdict of that difference, where there is a reference."""
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    f1_difference: float | None = None
    body: int | None = None
    head: int | None = None
    memory: float | None = None
    """Bytes."""
    reviews_seen: float | None = None
    reviews_per_second: float | None = None
    conversion: Conversion | None = None
    """The calibrated time a token, where there is one."""
    complete: int | None = None
    """Runs that the numbers are means of."""
    collapsed: int | None = None
    """Of the complete runs, those no better than the most frequent class."""
    others: str = ""
    """Runs that ended otherwise: "1 failed, 2 cancelled"."""


PUBLISHED = Line(
    role="published",
    label="published: RoBERTa-base + adapters",
    accuracy=0.94156,
    precision=0.93823,
    recall=0.94536,
    f1=0.94178,
    body=2_379_264,
    head=592_130,
    complete=1,
)
"""The result that this comparison is centred on: 25,000 official test reviews, one run, bottleneck 64, length 256;
TP 11,817, FP 778, FN 683, TN 11,722 (deepmancer/roberta-adapter-fine-tuning)."""
_OFFICIAL = (25_000, 123)
"""Test reviews of the official split, and those of them that are in its train split too."""


def lines(group: Group) -> list[Line]:
    """The methods, the reference first, then the baselines, then the published result."""
    methods, fitted = [_method(row, group) for row in group.rows], [_baseline(found, group) for found in baselines(group)]
    return [*methods, *fitted, replace(PUBLISHED, label=f"{PUBLISHED.label} ({differs(group)})")]


def differs(group: Group) -> str:
    """What the published result does not share with a group: "other encoder and test"."""
    data = {(run.data.test, run.data.leaked) for row in group.rows for run in (*row.runs, *row.others)}
    same_test = data == {_OFFICIAL} and group.key.test_limit is None
    same_encoder = "roberta-base" in {name.rsplit("/", 1)[-1] for name in group.encoders}
    other = [what for what, same in (("encoder", same_encoder), ("test", same_test)) if not same]
    return f"other {' and '.join(other)}" if other else "one run elsewhere"


def baselines(group: Group) -> list[list[Baseline]]:
    """The baselines of a group, those together that are shown as one: that on all reviews, then those on as many as the
    reference saw, of which each of its seeds has its own.
    """
    whole = [baseline for baseline in group.baselines if _is_whole(baseline)]
    alike = [baseline for baseline in group.baselines if not _is_whole(baseline)]
    return [found for found in (whole, alike) if found]


def _is_whole(baseline: Baseline) -> bool:
    return baseline.spec.train_reviews == baseline.data.train


def ended(row: Row) -> str:
    """How many runs of a row did not complete, by what they ended in: "1 failed, 2 cancelled"."""
    states = [record.state for record in row.others]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _method(row: Row, group: Group) -> Line:
    is_reference = group.reference is row
    return Line(
        role="reference" if is_reference else "method",
        label=row.label,
        accuracy=row.accuracy,
        accuracy_deviation=row.accuracy_deviation,
        accuracy_half_width=row.accuracy_half_width,
        paired=row.paired,
        accuracy_difference=None if is_reference else row.accuracy_difference,
        precision=row.precision,
        recall=row.recall,
        f1=row.f1,
        f1_difference=None if is_reference else row.f1_difference,
        body=row.body,
        head=row.head,
        memory=row.memory,
        reviews_seen=row.reviews_seen,
        reviews_per_second=row.reviews_per_second,
        conversion=row.conversion,
        complete=len(row.runs),
        collapsed=len(row.collapsed),
        others=ended(row),
    )


def _baseline(found: Sequence[Baseline], group: Group) -> Line:
    tests, centre = [baseline.test for baseline in found], group.reference
    which = "all reviews" if _is_whole(found[0]) else "as many reviews as the reference"
    each = f", mean of {len(found)}" if len(found) > 1 else ""
    accuracy, f1 = fmean(test.accuracy for test in tests), fmean(test.f1 for test in tests)
    return Line(
        role="baseline",
        label=f"baseline: {found[0].spec.model}, {which}{each}",
        accuracy=accuracy,
        accuracy_difference=None if centre is None or centre.accuracy is None else accuracy - centre.accuracy,
        precision=fmean(test.precision for test in tests),
        recall=fmean(test.recall for test in tests),
        f1=f1,
        f1_difference=None if centre is None or centre.f1 is None else f1 - centre.f1,
        reviews_seen=fmean(baseline.spec.train_reviews for baseline in found),
    )


def listed(seeds: list[int]) -> str:
    """Seeds in one word or two: "0, 1", "0–49, 60", or "none"."""
    parts: list[str] = []
    ordered = sorted(seeds)
    while ordered:
        first, run = ordered[0], 1
        while run < len(ordered) and ordered[run] == first + run:
            run += 1
        parts += [f"{first}–{ordered[run - 1]}"] if run > 3 else [str(seed) for seed in ordered[:run]]
        ordered = ordered[run:]
    return ", ".join(parts) or "none"
