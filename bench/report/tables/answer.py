"""Summarise a comparison in a sentence per method: accuracy, verdict and costs."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.comparison import Group, Row
from bench.report.tables.formatting import plus_minus, seed_list
from bench.system.text import harmless, mebibytes, points

__all__ = ["sentences"]

_WORDS = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to", "not resolved": "not resolved from"}


def sentences(group: Group) -> list[str]:
    """Summarise each method with complete runs against the reference."""
    return [harmless(f"{row.label}: {', '.join(_parts(row, group))}.") for row in group.rows if row.accuracy is not None]


def _parts(row: Row, group: Group) -> Iterator[str]:
    reference = group.reference
    yield f"{plus_minus(row.accuracy, row.accuracy_half_width).replace(' ±', ' ± ')} %"
    if row.collapsed:
        how = "answering one class" if row.one_class == row.collapsed else "collapsed"
        yield f"{how} on seed{'s' if len(row.collapsed) > 1 else ''} {seed_list(row.collapsed)}"
    if reference is None or row is reference:
        yield f"{mebibytes(row.memory)} MiB" + (", the reference" if row is reference else "")
        return
    if row.paired is not None:
        words = _WORDS.get(row.paired.verdict, f"no verdict ({row.paired.verdict}) against")
        class_ = ", which answers one class" if row.paired.one_class else ""
        yield f"{words} {reference.label}{class_} ({points(row.accuracy_difference)} points)"
    for quantity, own, its in (
        ("time per token", row.conversion.ratio if row.conversion else None, 1.0),
        ("time per review", _slowness(row, group), _slowness(reference, group)),
        ("memory", row.memory, reference.memory),
        ("trainable parameters", row.body, reference.body),
    ):
        if own and its:
            yield f"{own / its:.{0 if own > 10 * its else 2}f} × its {quantity}"


def _slowness(row: Row, group: Group) -> float | None:
    """Return the time of a review by the runs' own clocks, where these were alone on their device."""
    return 1 / row.reviews_per_second if row.reviews_per_second and not group.shared else None
