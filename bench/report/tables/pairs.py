"""Every two methods of a group against each other, as a table."""

from __future__ import annotations

from bench.analysis.comparison import Group
from bench.analysis.verdicts import Paired, worded
from bench.report.tables.footnotes import of_collapse, of_family, title
from bench.report.tables.formatting import interval, probability
from bench.report.tables.table import Note, Section
from bench.system.text import points

__all__ = ["as_json", "sections"]


def sections(group: Group) -> list[Section]:
    """Return the table of a group; empty for fewer than three methods with complete runs, whose pairs the comparison shows."""
    if len(group.pairs) < 3:
        return []
    judged = [paired for *_, paired in group.pairs if paired.p_holm is not None]
    notes = [*of_family(group, judged, f"all {len(judged)} pairs, a family of its own"), *of_collapse(group)]
    if any(paired.collapsed for *_, paired in group.pairs):
        notes.append(Note("without", "Where a seed collapsed for a method of a pair, its difference is without that seed."))
    return [
        Section(
            title=f"All pairs · {title(group)}",
            headers=["method\nminus other", "Δ points\n[95 %]", "verdict", "p\n(Holm)", "seeds"],
            words=frozenset({0, 2}),
            rows=[[f"{method} − {other}", *_cells(paired)] for method, other, paired in group.pairs],
            notes=notes,
        )
    ]


def _cells(paired: Paired) -> list[str]:
    difference = f"{points(paired.difference)}\n{interval(paired)}".rstrip("\n")
    p = "" if paired.p_holm is None else probability(paired.p_holm)
    return [difference, worded(paired), p, str(len(paired.seeds))]


def as_json(group: Group) -> list[dict[str, object]]:
    """Return the same as plain values."""
    return [
        {"method": method, "other": other, "paired": paired.model_dump(exclude={"mcnemar"})}
        for method, other, paired in group.pairs
    ]
