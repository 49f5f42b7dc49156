"""How far each method's probabilities can be believed, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from bench.analysis.comparison import Group
from bench.analysis.confidence import BINS, RESAMPLES, Confidence
from bench.report.tables.comparison_rows import listed
from bench.report.tables.footnotes import title
from bench.report.tables.table import Section
from bench.system.text import percent

__all__ = ["as_json", "section"]


def section(group: Group, found: Sequence[Confidence]) -> Section | None:
    """The table of a group; None where no run has its logits."""
    if not found:
        return None
    lacking = [row.label for row in group.rows if row.runs and row.label not in {one.label for one in found}]
    notes = [
        f"ECE: mean distance between confidence and accuracy in {BINS} bins of equal mass; after ±, half the width of its 95 % "
        f"interval, over seeds and over {RESAMPLES} resamples of the reviews. It is never below zero: a perfectly calibrated "
        "model would be expected to show what the next column says.",
        "NLL: negative log-likelihood of the labels in nats. Brier: squared distance of the probabilities from the labels, "
        "summed over the classes. After ±, half the width of the 95 % interval over seeds.",
        "Probabilities are those of the trained classifier as it is; none was recalibrated.",
    ]
    return Section(
        title=f"Confidence · {title(group)}",
        headers=[("method", ""), ("ECE", "%"), ("if calibrated", "%"), ("NLL", ""), ("Brier", ""), ("seeds", "")],
        rows=[
            [
                one.label,
                f"{percent(one.ece)} ±{percent(one.ece_half_width)}",
                percent(one.ece_floor),
                _plus_minus(one.nll, one.nll_half_width),
                _plus_minus(one.brier, one.brier_half_width),
                listed(one.seeds),
            ]
            for one in found
        ],
        notes=[*notes, *([f"Without logits beside their records: {', '.join(lacking)}."] if lacking else [])],
    )


def _plus_minus(value: float, half: float | None) -> str:
    return f"{value:.4f}" + ("" if half is None else f" ±{half:.4f}")


def as_json(found: Sequence[Confidence]) -> list[dict[str, object]]:
    """The same as plain values, with the bins of the reliability figure."""
    return [asdict(one) for one in found]
