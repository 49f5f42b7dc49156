"""Every two methods of a group against each other, as a table."""

from __future__ import annotations

from bench.analysis.comparison import Group
from bench.analysis.verdicts import Paired, worded
from bench.report.tables.footnotes import title
from bench.report.tables.table import Section
from bench.report.tables.verdict_notes import interval, of_collapse, of_family
from bench.system.text import points

__all__ = ["as_json", "section"]


def section(group: Group) -> Section | None:
    """The table of a group; None where fewer than three methods have complete runs, whose pairs the comparison shows."""
    if len(group.pairs) < 3:
        return None
    judged = [pair.paired for pair in group.pairs if pair.paired.p_holm is not None]
    return Section(
        title=f"All pairs · {title(group)}",
        headers=[("method", "minus other"), ("Δ points", "[95 %]"), ("verdict", ""), ("p", "(Holm)"), ("seeds", "")],
        rows=[
            [
                f"{pair.method} − {pair.other}",
                _difference(pair.paired),
                worded(pair.paired.verdict, pair.paired.margin),
                "" if pair.paired.p_holm is None else _probability(pair.paired.p_holm),
                str(len(pair.paired.seeds)),
            ]
            for pair in group.pairs
        ],
        notes=[
            *of_family(group, judged, f"over all {len(judged)} pairs, a family of its own"),
            *(
                ["Where a seed collapsed for either method of a pair, its difference is without that seed."]
                if any(pair.paired.collapsed for pair in group.pairs)
                else []
            ),
            *of_collapse(group),
        ],
    )


def _difference(paired: Paired) -> str:
    if paired.difference is None:
        return "–"
    return " ".join(part for part in (points(paired.difference), interval(paired)) if part)


def _probability(p: float) -> str:
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def as_json(group: Group) -> list[dict[str, object]]:
    """The same as plain values."""
    return [
        {"method": pair.method, "other": pair.other, "paired": pair.paired.model_dump(exclude={"mcnemar"})}
        for pair in group.pairs
    ]
