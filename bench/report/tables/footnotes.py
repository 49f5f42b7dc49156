"""What a reader must know beside the numbers of a table, said under it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator

import methods
from bench.analysis.comparison import Group
from bench.analysis.groups import Machine, machine
from bench.report.tables.comparison_rows import listed
from bench.report.tables.verdict_notes import of_differences
from bench.system.text import harmless

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
    ]
    if key.device is not None:
        calibrated = "calibrated on " if key.budget.endswith("reference tokens") else ""
        parts.append(f"{calibrated}{key.device}, {key.threads} thread{'s' if key.threads != 1 else ''}")
    parts.append(f"rules {key.rules}")
    if key.tuning is not None:
        seeds = "" if key.tuning_seeds is None else f" × {key.tuning_seeds} seeds"
        parts.append(f"tuned, {key.tuning} trial{'s' if key.tuning != 1 else ''}{seeds} a method")
    if key.train_limit is not None:
        parts.append(f"train limited to {key.train_limit:,}")
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
    said += of_differences(group)
    said += _of_rates(group)
    said += _of_budgets(group)
    said += _of_machines(group)
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


def _of_rates(group: Group) -> Iterator[str]:
    """Which methods ran at a default learning rate that no data chose."""
    if group.key.tuning is not None:
        return
    known = {name: methods.get(name) for name in methods.names()}
    untuned = [
        row.label
        for row in group.rows
        if (method := known.get(row.method)) and not method.rates_tuned
        and {record.spec.hyperparameters.get("learning_rate") for record in row.runs} == {method.learning_rate}
    ]  # fmt: skip
    if untuned:
        yield f"Learning rate not tuned: {', '.join(untuned)}, at a default that no data chose; --tune 3 chooses on validation."


def _of_machines(group: Group) -> Iterator[str]:
    """Where the runs of a counted budget are of several kinds of machine, and which the measurements are of."""
    kinds = Counter(machine(record) for record in group.runs)
    if len(kinds) > 1:
        each = "; ".join(f"{device}, {threads} threads: {count} runs" for (device, threads), count in sorted(kinds.items()))
        measured = next(record for row in group.rows for record in row.measured)
        speed = "" if group.calibrated else "speed, "
        yield (
            f"Runs are of several kinds of machine ({each}). Memory, {speed}latency and energy are of "
            f"{measured.environment.device}, {measured.environment.threads} threads, alone."
        )
        by_seed: dict[int, set[Machine]] = defaultdict(set)
        for record in group.runs:
            by_seed[record.spec.seed].add(machine(record))
        mixed = sorted(seed for seed, found in by_seed.items() if len(found) > 1)
        if mixed:
            yield f"On seeds {listed(mixed)} the methods did not run on one kind of machine, whose arithmetic may differ."


def _of_budgets(group: Group) -> Iterator[str]:
    """How shares of reference tokens came about."""
    if group.calibrated:
        yield (
            "Time a token is by calibration, over that of its reference, with its 95 % interval. Runs may share a device, so "
            "their own clock gives no speed."
        )
    runs = {row.label: next((r for r in row.runs if r.spec.reference_tokens is not None), None) for row in group.rows}
    shares = {label: run for label, run in runs.items() if run is not None}
    if not shares:
        return
    if group.key.budget == str(next(iter(shares.values())).spec.budget):
        yield (
            f"{', '.join(shares)}: budgeted in reference tokens, of which this budget was the share; the runs stand in that "
            "table as well."
        )
        return
    each = ", ".join(f"{label} {run.spec.budget.amount:,.0f}" for label, run in shares.items())
    yield f"Each method's share of the budget, in tokens: {each}."
    wide = [label for label, run in shares.items() if (c := run.conversion) and c.high - c.low > 0.2 * c.ratio]
    if wide:
        yield f"The calibrated ratio of {', '.join(wide)} is known to no better than ±10 %."
