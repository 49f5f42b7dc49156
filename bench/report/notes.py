"""What a reader must know beside the numbers of a table, said under it."""

from __future__ import annotations

import math

from bench.comparison import Group
from bench.report.lines import listed
from bench.report.rows import harmless
from bench.verdicts import Paired

__all__ = ["notes", "title"]


def title(group: Group) -> str:
    """What all runs of a group share."""
    key = group.key
    parts = [
        f"{' = '.join(group.encoders) or f'encoder {key.encoder_sha256[:12]}'} on {key.cut}",
        f"budget {key.budget}",
        f"length {key.max_length} {key.truncation}",
        f"batch {key.batch_size}",
        key.precision,
        f"{key.device}, {key.threads} thread{'s' if key.threads > 1 else ''}",
        f"rules {key.rules}",
    ]
    if key.tuning is not None:
        parts.append(f"tuned, {key.tuning} trial{'s' if key.tuning != 1 else ''} a method")
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
        cells = "; ".join(f"{row.label}: {listed(row.seeds)}" for row in group.rows)
        said.append(
            f"The methods do not have the same complete seeds ({cells}); differences use those shared with the reference."
        )
    said += _of_differences(group)
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
    if len({tuple(sorted(r.environment.versions.items())) for r in runs}) > 1:
        said.append("The runs used different versions of their libraries.")
    if any(record.environment.dirty for record in runs):
        said.append("Some runs were made from a checkout with uncommitted changes.")
    if group.attempts:
        many = group.attempts > 1
        said.append(
            f"{group.attempts} earlier attempt{'s' if many else ''} of the runs shown {'were' if many else 'was'} replaced by "
            "--force and kept in attempts/."
        )
    for row in group.rows:
        for record in row.others:
            said.append(f"{row.label}, seed {record.spec.seed}: {record.state}, {record.reason or 'no reason was recorded'}.")
    return [harmless(sentence) for sentence in said]


def _of_differences(group: Group) -> list[str]:
    """How intervals and verdicts came about, and how far they reach."""
    said: list[str] = []
    compared = [(row.label, row.paired) for row in group.rows if row.paired is not None]
    incomplete = [(label, paired) for label, paired in compared if paired.verdict == "incomplete"]
    if incomplete:
        parts = "; ".join(f"{label} {why}" for label, paired in incomplete for why in _whys(paired))
        said.append(f"Incomplete, and so without a verdict: {parts}. The reference is {_name(group)}.")
    judged = [paired for _, paired in compared if paired.p_holm is not None]
    if judged:
        seeds, several = len(judged[0].seeds), len(judged) > 1
        family = f"over the {len(judged)} methods" if several else "(one method, so it is the plain p)"
        said.append(
            f"Differences are over {seeds} seeds and the same reviews, by a two-way t test. Each interval, taken alone, covers "
            f"95 %; a verdict needs p ≤ 0.05 by Holm {family}. Tied is not resolved, not equal: resolves is the true "
            "difference that would get a verdict with 80 % probability at Holm's strictest step."
        )
    if any(paired.covers == "reviews of one seed" for _, paired in compared):
        said.append(
            "On one seed an interval covers the reviews alone. How far other seeds would come out is not in it, and no "
            "verdict can be given."
        )
    if any(paired.covers for _, paired in compared):
        said.append(
            "Intervals and verdicts are about reviews like those of this test, of its films: reviews of one film stand "
            "together in it and are counted as if each were drawn alone, so for other films they are too sure."
        )
    tests = [(label, paired.mcnemar) for label, paired in compared if paired.mcnemar]
    if tests:
        parts = "; ".join(f"{label} {sum(t.p <= 0.05 for t in found)} of {len(found)}" for label, found in tests)
        said.append(
            f"McNemar's exact test of a seed, which describes and gives no verdict, has p ≤ 0.05 on so many seeds: {parts}. "
            "Its counts are in the JSON report."
        )
    return said


def _whys(paired: Paired) -> list[str]:
    """What keeps a method from having the same seeds as the reference."""
    reasons = [
        (paired.lacking, "lacks {}"),
        (paired.extra, "has {} more"),
        (paired.unusable, "has {}, but with predictions that do not fit its counts or the reviews"),
    ]
    return [words.format(f"seed{'s' if len(seeds) > 1 else ''} {listed(seeds)}") for seeds, words in reasons if seeds]


def _name(group: Group) -> str:
    assert group.reference is not None
    return f"{group.reference.label} with seed{'s' if len(group.reference.seeds) > 1 else ''} {listed(group.reference.seeds)}"
