"""Write runs as lines, and the words and numbers that tables share."""

from __future__ import annotations

from statistics import fmean

from bench.analysis.tuning import Decision, learning_rate, tried, validation_accuracy
from bench.analysis.verdicts import Paired, has_collapsed, one_class
from bench.records.schema import Baseline, Evaluation, Record, Trial
from bench.rules import TUNING_SEED
from bench.system.text import harmless, mebibytes, percent

__all__ = [
    "baseline_line", "choice_line", "interval", "number", "of_seeds", "plus_minus", "probability", "run_line", "seconds",
    "seed_list",
]  # fmt: skip

_EDGE = "at the edge of its grid"


def run_line(record: Record) -> str:
    """Write a run or a tuning trial in one readable row."""
    spec = record.spec
    rate, accuracy, is_trial = number(learning_rate(record), "g"), validation_accuracy(record), spec.purpose == "trial"
    which = f"trial, learning rate {rate}, tuning seed {TUNING_SEED - spec.seed + 1}" if is_trial else f"seed {spec.seed}"
    name = f"{spec.method:<16} {which}"
    if record.state != "complete":
        return harmless(f"{name}  {record.state}: {record.reason or 'no reason was recorded'}")
    parts = [name]
    if is_trial:
        parts.append(f"validation {percent(accuracy)} %")
    if record.test:
        parts.append(f"accuracy {percent(record.test.accuracy)} %  F1 {percent(record.test.f1)} %{_collapse(record.test)}")
    if record.parameters:
        parts.append(f"trainable {record.parameters.body:,} + head {record.parameters.head:,}")
    if record.training and record.seconds and record.seconds.charged:
        speed = record.training.reviews_seen / record.seconds.charged
        parts.append(f"{record.training.reviews_seen:,} reviews in {record.seconds.charged:.1f} s ({speed:.1f}/s)")
    if record.memory:
        parts.append(f"{mebibytes(record.memory.training_bytes)} MiB")
    if record.choice and record.choice.at_edge:
        parts.append(f"learning rate {rate} {_EDGE}")
    return harmless("  ".join(parts) + f"  [{spec.encoder}, {spec.requested_budget}]")


def _collapse(test: Evaluation) -> str:
    if not has_collapsed(test):
        return ""
    return ", COLLAPSED: it answers one class" if one_class(test) else ", COLLAPSED: no better than the most frequent class"


def choice_line(decision: Decision) -> str:
    """Write in one row which learning rate the trials of a method chose, and from what; or why none."""
    scores = ", ".join(f"{trial.learning_rate:g} {_trial(trial)}" for trial in tried(decision.trials))
    choice = f"no runs, since {decision.reason}" if decision.rate is None else f"learning rate {decision.rate:g} is chosen"
    if decision.choice is not None and decision.choice.at_edge:
        choice += f" ({_EDGE})"
    return harmless(f"{decision.method:<16} tuned: {choice}; validation by learning rate: {scores}  [{decision.budget}]")


def _trial(trial: Trial) -> str:
    mean = f"{percent(fmean(trial.accuracies))} %" if trial.accuracies else "no accuracy"
    return f"{mean}, collapsed" if trial.collapsed else mean


def baseline_line(baseline: Baseline) -> str:
    """Write a baseline in one readable row."""
    return (
        f"baseline: {baseline.spec.model} on {baseline.spec.train_reviews:,} reviews  "
        f"accuracy {percent(baseline.test.accuracy)} %  F1 {percent(baseline.test.f1)} %  "
        f"fitted in {baseline.fit_seconds:.1f} s"
    )


def seconds(value: float) -> str:
    """Write seconds with a decimal where it says something: 45.2 s, 240 s."""
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def number(value: float | None, form: str) -> str:
    """Write a number in a format of Python, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def plus_minus(mean: float | None, half: float | None) -> str:
    """Write a mean of shares over seeds in %, with the half-width of its 95 % interval where there is one."""
    return percent(mean) + ("" if half is None else f" ±{percent(half)}")


def probability(p: float) -> str:
    """Write a p to three decimals."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def interval(paired: Paired) -> str:
    """Write the 95 % interval of a difference in points: "[-0.51, 0.32]"; empty where there is none."""
    if paired.low is None or paired.high is None:
        return ""
    # The zero that is added turns a rounded -0.0 into 0.0.
    low, high = (round(100 * bound, 2) + 0.0 for bound in (paired.low, paired.high))
    return f"[{low:.2f}, {high:.2f}]"


def seed_list(seeds: list[int]) -> str:
    """Write seeds in one word or two: "0, 1", "0–49, 60", or "none"."""
    parts: list[str] = []
    ordered = sorted(seeds)
    while ordered:
        first, run = ordered[0], 1
        while run < len(ordered) and ordered[run] == first + run:
            run += 1
        parts += [f"{first}–{ordered[run - 1]}"] if run > 3 else [str(seed) for seed in ordered[:run]]
        ordered = ordered[run:]
    return ", ".join(parts) or "none"


def of_seeds(seeds: list[int]) -> str:
    """Write "seed 3" or "seeds 0, 1"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {seed_list(seeds)}"
