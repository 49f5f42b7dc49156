"""What a reader must know beside the numbers of a table, said under it."""

from __future__ import annotations

import math

from bench.comparison import Group
from bench.report.rows import harmless

__all__ = ["notes", "title"]


def title(group: Group) -> str:
    """What all runs of a group share."""
    key = group.key
    parts = [
        f"{key.encoder} on {key.cut}",
        f"budget {key.budget}",
        f"length {key.max_length} {key.truncation}",
        f"batch {key.batch_size}",
        key.precision,
        f"{key.device}, {key.threads} thread{'s' if key.threads > 1 else ''}",
        f"rules {key.rules}",
    ]
    if key.memory_cap is not None:
        parts.append(f"memory cap {key.memory_cap / 2**20:,.0f} MiB")
    return harmless(" · ".join(parts))


def notes(group: Group) -> list[str]:
    """One sentence or two each, the most important first."""
    said: list[str] = []
    key, runs = group.key, group.runs
    tested = runs[0].test.reviews if runs and runs[0].test else 0
    seeds = {record.spec.seed for record in runs}
    if group.reference is None:
        said.append("No run of the reference method is complete here, so there are no differences.")
    if len(seeds) == 1 and group.reference is not None and group.reference.accuracy is not None:
        error = math.sqrt(group.reference.accuracy * (1 - group.reference.accuracy) / tested) if tested else 0.0
        said.append(
            f"Smoke comparison: one seed, and the standard error of one accuracy on {tested:,} reviews is "
            f"{100 * error:.1f} points. It does not order methods that stand close."
        )
    elif any(set(row.seeds) != seeds for row in group.rows):
        cells = "; ".join(f"{row.label}: {_listed(row.seeds)}" for row in group.rows)
        said.append(
            f"The methods do not have the same complete seeds ({cells}); differences use those shared with the reference."
        )
    if key.cut.startswith("embedded"):
        said.append(
            "The test is cut from the official IMDB train reviews, the last 1,000 different ones of each class. Most films "
            "of a class stand together there, yet some are also in train: a number on it is not one on the official test."
        )
    if key.test_limit is not None and runs:
        said.append(f"Tested on {tested:,} of the {runs[0].data.test:,} test reviews, the last of each class.")
    if any(record.test and record.test.leaked for record in runs):
        parts = [
            f"{row.label} {100 * sum(r.test.accuracy_without_leaked for r in row.runs if r.test) / len(row.runs):.2f}"
            for row in group.rows
            if row.runs
        ]
        leaked = len(runs[0].test.leaked) if runs[0].test else 0
        said.append(f"{leaked} test reviews are also in train, word for word. Accuracy without them: {', '.join(parts)}.")
    if any(record.compute and record.compute.contended for record in runs):
        said.append(
            "† The machine's matrix-product rate fell more than 10 % below its best before or after a run: "
            "other work took a share of the budget."
        )
    if len({tuple(sorted(r.environment.versions.items())) for r in runs}) > 1:
        said.append("The runs used different versions of their libraries.")
    if any(record.environment.dirty for record in runs):
        said.append("Some runs were made from a checkout with uncommitted changes.")
    for row in group.rows:
        for record in row.others:
            said.append(f"{row.label}, seed {record.spec.seed}: {record.state}, {record.reason or 'no reason was recorded'}.")
    return [harmless(sentence) for sentence in said]


def _listed(seeds: list[int]) -> str:
    return ", ".join(str(seed) for seed in seeds) or "none"
