"""What must be said of the differences of a table: how they came about, which runs collapsed, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.comparison import Group, Row
from bench.analysis.statistics import clopper_pearson
from bench.analysis.verdicts import Paired, Verdict, worded
from bench.report.tables.comparison_rows import listed
from bench.rules import COLLAPSE, LEAST_SEEDS
from bench.system.text import points

__all__ = ["interval", "of_collapse", "of_differences", "of_family"]


def interval(paired: Paired) -> str:
    """The 95 % interval of a difference in points: "[-0.51, 0.32]"; empty where there is none."""
    if paired.low is None or paired.high is None:
        return ""
    # The zero that is added turns a rounded -0.0 into 0.0.
    low, high = (round(100 * bound, 2) + 0.0 for bound in (paired.low, paired.high))
    return f"[{low:.2f}, {high:.2f}]"


def of_differences(group: Group) -> Iterator[str]:
    """How the differences from the reference and their verdicts came about, and how far they reach."""
    compared = [(row.label, row.paired) for row in group.rows if row.paired is not None]
    incomplete = [(label, paired) for label, paired in compared if paired.verdict == "incomplete"]
    if incomplete:
        parts = "; ".join(f"{label} {why}" for label, paired in incomplete for why in _whys(paired))
        yield f"Incomplete, and so without a verdict: {parts}. The reference is {_name(group)}."
    judged = [paired for _, paired in compared if paired.p_holm is not None]
    yield from of_family(group, judged, f"over the {len(judged)} methods" if len(judged) > 1 else "(one method: the plain p)")
    if group.detectable is not None:
        yield (
            f"Minimum detectable difference: {100 * group.detectable:.2f} points, which these seeds and reviews would give a "
            "verdict on with 80 % power at Holm's first step."
        )
    verdicts: set[Verdict] = {paired.verdict for _, paired in compared}
    if "one seed" in verdicts:
        yield "With one seed there is neither an interval nor a verdict: nothing is known of what another seed would change."
    if "too few seeds" in verdicts:
        yield f"A verdict takes {LEAST_SEEDS} shared seeds or more on which neither method collapsed."
    yield from of_collapse(group)
    if any(paired.low is not None for _, paired in compared):
        yield (
            "Intervals and verdicts are about reviews like those of this test, of its films: reviews of one film stand "
            "together in it and are counted as if each were drawn alone, so for other films they are too sure."
        )
    tests = [(label, paired.mcnemar) for label, paired in compared if paired.mcnemar]
    if tests:
        each = "; ".join(f"{label} {sum(t.p <= 0.05 for t in found)} of {len(found)}" for label, found in tests)
        yield (
            f"McNemar's exact test of a seed, which describes and gives no verdict, has p ≤ 0.05 on so many seeds: {each}. "
            "Its counts are in the JSON report."
        )


def of_family(group: Group, judged: list[Paired], family: str) -> Iterator[str]:
    """How the comparisons of one family were judged; nothing where none was."""
    if not judged:
        return
    seeds = sorted({len(paired.seeds) for paired in judged})
    over = f"{seeds[0]} seeds" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    pooled = "the seed variance pooled over the methods" if group.pools else "each pair's own seed variance"
    yield (
        f"Differences are over {over} and the same reviews, by a two-way t test with {pooled}. Each interval, taken alone, "
        f"covers 95 %; a verdict needs p ≤ 0.05 by Holm {family}: better or worse, or {worded('equivalent', group.margin)} by "
        "two one-sided tests. Not resolved is neither different nor equal."
    )
    if not group.pools:
        yield (
            f"The methods do not have one seed variance (Bartlett's test, p = {group.variance_p or 0:.2g}), so none is pooled "
            "and fewer degrees of freedom are left; the minimum detectable difference is that of their mean variance."
        )


def of_collapse(group: Group) -> Iterator[str]:
    """Which runs ended no better than chance, how often, and what holds with them and without."""
    for row in group.rows:
        if row.collapsed:
            low, high = clopper_pearson(len(row.collapsed), len(row.runs))
            yield (
                f"{row.label} collapsed on {_seeds(row.collapsed)}: no better there than the most frequent class (one-sided "
                f"binomial test at {COLLAPSE:g}). That is {len(row.collapsed)} of {len(row.runs)} runs, "
                f"{100 * len(row.collapsed) / len(row.runs):.0f} % [{100 * low:.1f}, {100 * high:.1f}]. They are in its means."
            )
    for row in group.rows:
        yield from _both_ways(row)


def _both_ways(row: Row) -> Iterator[str]:
    """The verdict without collapsed seeds and that over all of them, where there is a collapse or they are at odds."""
    paired = row.paired
    if paired is None or paired.unconditional is None:
        return
    free, sure = paired.unconditional, {"better", "worse"}
    with_all = f"over all {free.seeds} seeds, by a paired permutation test, {points(free.difference)} points: "
    words = "too few seeds for an unconditional verdict"
    if free.verdict != "too few seeds":
        words = f"{free.verdict}, p = {free.p_holm:.3f} by Holm"
    if paired.collapsed:
        without = "no seed is left on which neither collapsed"
        if paired.difference is not None:
            found = " ".join(part for part in (points(paired.difference), "points", interval(paired)) if part)
            without = f"on {_seeds(paired.seeds)}, where neither collapsed, {found}, {worded(paired.verdict, paired.margin)}"
        yield f"{row.label}: {without}; {with_all}{words}."
    elif free.verdict != "too few seeds" and free.verdict != paired.verdict and {free.verdict, paired.verdict} & sure:
        yield f"{row.label}: {worded(paired.verdict, paired.margin)} by the t test; {with_all}{words}."


def _seeds(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {listed(seeds)}"


def _whys(paired: Paired) -> list[str]:
    """What keeps a method from having the same seeds as the reference."""
    reasons = [
        (paired.lacking, "lacks {}"),
        (paired.extra, "has {} more"),
        (paired.unusable, "has {}, but with predictions that do not fit its counts or the reviews"),
    ]
    return [words.format(_seeds(seeds)) for seeds, words in reasons if seeds]


def _name(group: Group) -> str:
    assert group.reference is not None
    return f"{group.reference.label} with {_seeds(group.reference.seeds)}"
