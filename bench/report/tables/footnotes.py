"""Footnotes of a comparison, the most important first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from statistics import fmean

import methods
from bench.analysis.comparison import Group, Row
from bench.analysis.groups import machine
from bench.analysis.statistics import clopper_pearson
from bench.analysis.verdicts import Paired
from bench.report.tables.formatting import of_seeds, seed_list
from bench.report.tables.table import Note, naming
from bench.rules import LEAST_SEEDS
from bench.system.text import harmless, mebibytes, points

__all__ = ["notes", "of_collapse", "of_family", "title"]


def title(group: Group) -> str:
    """Write what all runs of a group share."""
    key = group.key
    parts = [
        f"{' = '.join(group.encoders)} on {key.cut}",
        f"budget {key.budget}",
        f"length {key.max_length} {key.truncation}",
        f"batch {key.batch_size}",
        key.precision,
    ]
    if key.device is not None:
        calibrated = "calibrated on " if key.budget.endswith("reference tokens") else ""
        parts.append(f"{calibrated}{key.device}, {key.threads} thread{'s' if key.threads != 1 else ''}")
    if key.kernels != "plain":
        parts.append(f"CUDA {key.kernels}")
    parts.append(f"rules {key.rules}")
    if key.tuning is not None:
        seeds = "" if key.tuning_seeds is None else f" × {key.tuning_seeds} seeds"
        parts.append(f"tuned, {key.tuning} trial{'s' if key.tuning != 1 else ''}{seeds} a method")
    if key.classes > 2:
        parts.append(f"{key.classes} classes, precision, recall and F1 are macro averages")
    if key.train_limit is not None:
        parts.append(f"train limited to {key.train_limit:,}")
    if key.memory_cap is not None:
        parts.append(f"memory cap {key.memory_cap / 2**20:,.0f} MiB")
    return harmless(" · ".join(parts))


def notes(group: Group) -> tuple[Note, ...]:
    """Return the notes of this group. What holds for all groups is in RULES.md."""
    return tuple(note._replace(text=harmless(note.text)) for note in _notes(group))


def _notes(group: Group) -> Iterator[Note]:
    runs, others = group.runs, [(row, record) for row in group.rows for record in row.other_runs]
    tested = runs[0].test.reviews if runs and runs[0].test else 0
    if group.reference is None:
        yield Note("reference", "No run of the reference method is complete here, so there are no differences.")
    elif len({record.spec.seed for record in runs}) == 1 and group.reference.accuracy is not None:
        accuracy = group.reference.accuracy
        error = math.sqrt(accuracy * (1 - accuracy) / tested) if tested else 0.0
        yield Note(
            "one seed",
            f"One seed gives no verdict: the standard error of one accuracy on {tested:,} reviews is {100 * error:.1f} points, "
            "and other seeds differ.",
        )
    yield from of_collapse(group)
    ends = {f"{row.label} seed {r.spec.seed}": f"{r.state} ({r.reason or 'no reason was recorded'})" for row, r in others}
    yield from naming("state", "Not complete: {}.", ends)
    yield from _of_differences(group)
    yield from _of_rates(group)
    yield from _of_budgets(group)
    yield from _of_machines(group)
    reserved = [r.memory.cuda_reserved for r in runs if r.memory and r.memory.cuda_reserved]
    if group.key.kernels == "graphs" and reserved:
        held = max(reserved)
        yield Note("memory", f"Memory is of tensors; torch reserved up to {mebibytes(held)} MiB, CUDA graphs among them.")
    if any(record.test and record.test.leaked for record in runs):
        without = {
            row.label: f"{100 * fmean(r.test.accuracy_without_leaked for r in row.runs if r.test):.2f}"
            for row in group.rows
            if row.runs
        }
        leaked = len(runs[0].test.leaked) if runs[0].test else 0
        yield from naming("leak", f"{leaked} test reviews are also in train; accuracy without them: {{}}.", without)
    if group.key.test_limit is not None and runs:
        yield Note("test", f"Tested on {tested:,} of the {runs[0].data.test:,} test reviews, the last of each class.")
    if group.key.cut.startswith("embedded"):
        yield Note("test", "The test is cut from IMDB's train reviews: a number on it is not one on the official test.")
    if len({tuple(sorted(r.environment.versions.items())) for r in runs}) > 1:
        yield Note("versions", "The runs used different versions of their libraries.")
    if any(record.environment.dirty for record in runs):
        yield Note("uncommitted", "Some runs were made from a checkout with uncommitted changes.")
    if group.attempts:
        yield Note("attempts", f"Earlier attempts of these runs, replaced by --force and kept in attempts/: {group.attempts}.")


def _of_rates(group: Group) -> Iterator[Note]:
    """Name learning rates at the edge of their grid, and untuned defaults."""
    tuned = {row.label: row.runs[0] for row in group.rows if row.runs and (c := row.runs[0].choice) and c.at_edge}
    edges = {label: f"{record.spec.hyperparameters.get('learning_rate')}" for label, record in tuned.items()}
    yield from naming("edge", "Learning rates chosen at the edge of their grids: {}.", edges)
    known = {name: methods.get(name) for name in methods.names()} if group.key.tuning is None else {}
    untuned = {
        row.label: ""
        for row in group.rows
        if (method := known.get(row.method)) and not method.rates_tuned
        and {record.spec.hyperparameters.get("learning_rate") for record in row.runs} == {method.learning_rate}
    }  # fmt: skip
    yield from naming("rates", "Default learning rates that no data chose: {}; --tune 3 chooses on validation.", untuned)


def _of_machines(group: Group) -> Iterator[Note]:
    """Note runs on several kinds of machine, and that of the measurements."""
    kinds = Counter(machine(record) for record in group.runs)
    if len(kinds) > 1:
        measured = next(record for row in group.rows for record in row.measured)
        by_seed = Counter(seed for seed, _ in {(record.spec.seed, machine(record)) for record in group.runs})
        mixed = sorted(seed for seed, machines in by_seed.items() if machines > 1)
        within = f" On seeds {seed_list(mixed)} the methods had different ones." if mixed else ""
        yield Note(
            "machines",
            f"Runs are of {len(kinds)} kinds of machine; memory and times are of {measured.environment.device}, "
            f"{measured.environment.threads} threads, alone.{within}",
        )


def _of_budgets(group: Group) -> Iterator[Note]:
    """Explain shares of reference tokens."""
    runs = {row.label: next((r for r in row.runs if r.spec.reference_tokens is not None), None) for row in group.rows}
    shares = {label: run for label, run in runs.items() if run is not None}
    wide = [row.label for row in group.rows if (c := row.conversion) and row.runs and c.high - c.low > 0.2 * c.ratio]
    if group.calibrated:
        bounds = f", known to no better than ±10 % for {', '.join(wide)}" if wide else ""
        yield Note("time", f"Time per token is over the reference's, by calibration{bounds}.", tuple(wide))
    if shares and group.key.budget == str(next(iter(shares.values())).spec.budget):
        yield Note(
            "shares", f"These runs' own budget was in reference tokens, of which this is the share: {', '.join(shares)}."
        )
    elif shares:
        each = {label: f"{run.spec.budget.amount:,.0f}" for label, run in shares.items()}
        yield from naming("shares", "Each method's share of the budget, in tokens: {}.", each)


def _of_differences(group: Group) -> Iterator[Note]:
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
