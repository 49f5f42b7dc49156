"""The rows of a comparison: its methods, the baselines without an encoder, and the published result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from bench.analysis.comparison import Group, Row
from bench.records.schema import SENTIMENT, Baseline

__all__ = ["PUBLISHED", "baselines", "differs", "ended", "on_reviews", "rows"]

PUBLISHED = Row(
    "published: RoBERTa-base + adapters", role="published", accuracy=0.94156, precision=0.93823, recall=0.94536, f1=0.94178,
    body=2_379_264, head=592_130,
)  # fmt: skip
"""The result that this comparison is centred on: 25,000 official test reviews, one run, bottleneck 64, length 256;
TP 11,817, FP 778, FN 683, TN 11,722 (deepmancer/roberta-adapter-fine-tuning)."""
_OFFICIAL = (25_000, 123)
"""Test reviews of the official split, and those of them that are in its train split too."""


def rows(group: Group) -> list[Row]:
    """Return the methods, the reference first, then the baselines, then, beside reviews, the published result."""
    fitted = [_baseline(fits, group) for fits in baselines(group)]
    published = [replace(PUBLISHED, label=f"{PUBLISHED.label} ({differs(group)})")] if on_reviews(group) else []
    return [*group.rows, *fitted, *published]


def on_reviews(group: Group) -> bool:
    """Whether the classes are negative and positive, as those of the published result."""
    return all(run.data.labels == list(SENTIMENT) for row in group.rows for run in (*row.runs, *row.other_runs))


def differs(group: Group) -> str:
    """Name the differences of the published result: "other encoder and test"."""
    data = {(run.data.test, run.data.leaked) for row in group.rows for run in (*row.runs, *row.other_runs)}
    same_test = data == {_OFFICIAL} and group.key.test_limit is None
    same_encoder = "roberta-base" in {name.rsplit("/", 1)[-1] for name in group.encoders}
    other = [what for what, same in (("encoder", same_encoder), ("test", same_test)) if not same]
    return f"other {' and '.join(other)}" if other else "one run elsewhere"


def baselines(group: Group) -> list[list[Baseline]]:
    """Group the baselines into rows: the one on all reviews, then those on as many as each seed of the reference saw."""
    whole = [baseline for baseline in group.baselines if _is_whole(baseline, group)]
    alike = [baseline for baseline in group.baselines if not _is_whole(baseline, group)]
    return [fits for fits in (whole, alike) if fits]


def _is_whole(baseline: Baseline, group: Group) -> bool:
    return baseline.spec.train_reviews == (group.key.train_limit or baseline.data.train)


def ended(row: Row) -> str:
    """Count the runs of a row that did not complete, by their state: "1 failed, 2 cancelled"."""
    states = [record.state for record in row.other_runs]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _baseline(fits: Sequence[Baseline], group: Group) -> Row:
    tests, reference = [baseline.test for baseline in fits], group.reference
    which = "all reviews" if _is_whole(fits[0], group) else "as many reviews as the reference"
    each = f", mean of {len(fits)}" if len(fits) > 1 else ""
    accuracy, f1 = fmean(test.accuracy for test in tests), fmean(test.f1 for test in tests)
    return Row(
        label=f"baseline: {fits[0].spec.model}, {which}{each}",
        role="baseline",
        accuracy=accuracy,
        accuracy_difference=None if reference is None or reference.accuracy is None else accuracy - reference.accuracy,
        precision=fmean(test.precision for test in tests),
        recall=fmean(test.recall for test in tests),
        f1=f1,
        f1_difference=None if reference is None or reference.f1 is None else f1 - reference.f1,
        reviews_seen=fmean(baseline.spec.train_reviews for baseline in fits),
    )
