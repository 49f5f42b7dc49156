"""Calibration of each method's probabilities, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from bench.analysis.comparison import Group
from bench.analysis.confidence import BINS, RESAMPLES, Confidence
from bench.report.tables.footnotes import title
from bench.report.tables.formatting import seed_list
from bench.report.tables.table import Note, Section, naming
from bench.system.text import percent

__all__ = ["as_json", "sections"]


def sections(group: Group, confidences: Sequence[Confidence]) -> list[Section]:
    """Return the table of a group; empty where no run has its logits."""
    if not confidences:
        return []
    lacking = {row.label: "" for row in group.rows if row.runs and row.label not in {entry.label for entry in confidences}}
    notes = [
        Note("ece", f"ECE: mean distance of confidence from accuracy in {BINS} bins of equal mass; next column: its floor."),
        Note("scores", "NLL in nats, Brier summed over the classes; nothing was recalibrated."),
        Note("interval", f"After ±: half a 95 % interval over seeds, for ECE also over {RESAMPLES} resamples of the reviews."),
        *naming("lacking", "Without logits beside their records: {}.", lacking),
    ]
    return [
        Section(
            title=f"Confidence · {title(group)}",
            headers=["method", "ECE\n%", "if calibrated\n%", "NLL", "Brier", "seeds"],
            words=frozenset({0, 5}),
            rows=[
                [
                    entry.label,
                    f"{percent(entry.ece)}\n±{percent(entry.ece_half_width)}",
                    percent(entry.ece_floor),
                    _plus_minus(entry.nll, entry.nll_half_width),
                    _plus_minus(entry.brier, entry.brier_half_width),
                    seed_list(entry.seeds),
                ]
                for entry in confidences
            ],
            notes=notes,
        )
    ]


def _plus_minus(value: float, half: float | None) -> str:
    return f"{value:.4f}" + ("" if half is None else f"\n±{half:.4f}")


def as_json(confidences: Sequence[Confidence]) -> list[dict[str, object]]:
    """Return the same as plain values, with the bins of the reliability figure."""
    return [asdict(entry) for entry in confidences]
