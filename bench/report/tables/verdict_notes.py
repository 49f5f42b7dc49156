"""Footnotes on differences: the tests, and which runs collapsed."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.comparison import Group, Row
from bench.analysis.statistics import clopper_pearson
from bench.analysis.verdicts import Paired
from bench.report.tables.formatting import of_seeds, seed_list
from bench.report.tables.table import Note, naming
from bench.rules import LEAST_SEEDS
from bench.system.text import points

__all__ = ["of_collapse", "of_differences", "of_family"]


def of_differences(group: Group) -> Iterator[Note]:
    """Name the tests of the differences from the reference, and where two of them disagree."""
    compared = [(row.label, row.paired) for row in group.rows if row.paired is not None]
    incomplete = {label: why for label, paired in compared if paired.verdict == "incomplete" for why in [_why(paired)]}
    its = of_seeds(group.reference.seeds) if group.reference else ""
    yield from naming("incomplete", f"No verdict, the reference having {its}: {{}}.", incomplete)
    judged = [paired for _, paired in compared if paired.p_holm is not None]
    yield from of_family(group, judged, f"{len(judged)} methods" if len(judged) > 1 else "one method", group.detectable)
    if any(paired.verdict == "too few seeds" for _, paired in compared):
        yield Note("few seeds", f"A verdict takes {LEAST_SEEDS} shared seeds or more on which neither method collapsed.")
    at_odds = {row.label: detail for row in group.rows if (detail := _at_odds(row))}
    yield from naming("permutation", "By the permutation test over all seeds: {}.", at_odds)


def of_family(group: Group, judged: list[Paired], family: str, detectable: float | None = None) -> Iterator[Note]:
    """Name the test of one family of comparisons; nothing where none was judged."""
    if not judged:
        return
    seeds = sorted({len(paired.seeds) for paired in judged})
    over = f"{seeds[0]} seeds" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    variance = "pooled seed variance" if group.pools else f"own seed variances (Bartlett p = {group.variance_p or 0:.2g})"
    least = "" if detectable is None else f"; minimum detectable difference {100 * detectable:.2f} points"
    yield Note("verdicts", f"Paired over {over} and reviews: t test, {variance}, Holm over {family}; brackets 95 %{least}.")


def of_collapse(group: Group) -> Iterator[Note]:
    """Name the runs that ended no better than chance, their rate, and which of them answer one class."""
    fallen = [row for row in group.rows if row.collapsed]
    each = {row.label: _collapse(row, rate=len(fallen) < 3) for row in fallen}
    yield from naming("collapse", "Collapsed to guessing, yet in the means: {}.", each)


def _collapse(row: Row, *, rate: bool) -> str:
    low, high = clopper_pearson(len(row.collapsed), len(row.runs))
    parts = [f"{100 * len(row.collapsed) / len(row.runs):.0f} % [{100 * low:.1f}, {100 * high:.1f}]"] if rate else []
    if row.one_class:
        parts.append("one class" if row.one_class == row.collapsed else f"one class on {seed_list(row.one_class)}")
    return f"on {of_seeds(row.collapsed)}" + (f" ({', '.join(parts)})" if parts else "")


def _at_odds(row: Row) -> str:
    """Write the permutation verdict where a seed collapsed, or where it differs from the t test's."""
    paired, sure = row.paired, {"better", "worse"}
    if paired is None or paired.unconditional is None:
        return ""
    free = paired.unconditional
    differs = free.verdict not in ("too few seeds", paired.verdict) and {free.verdict, paired.verdict} & sure
    if not (paired.collapsed or differs):
        return ""
    return f"{points(free.difference)} {free.verdict}" + ("" if free.verdict == "too few seeds" else f", p = {free.p_holm:.3f}")


def _why(paired: Paired) -> str:
    """Say how the seeds of a method differ from the reference's."""
    reasons = [(paired.lacking, "lacks {}"), (paired.extra, "has {} more"), (paired.unusable, "has unusable {}")]
    return " and ".join(words.format(seed_list(seeds)) for seeds, words in reasons if seeds)
