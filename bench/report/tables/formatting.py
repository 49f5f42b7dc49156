"""One run in one line, and the words that tables and lines share."""

from __future__ import annotations

from statistics import fmean

from bench.analysis.tuning import Decision, learning_rate, tried, validation_accuracy
from bench.records.schema import Baseline, Record, Trial
from bench.rules import TUNING_SEED
from bench.system.text import harmless, mebibytes, percent

__all__ = ["baseline_line", "choice_line", "run_line"]


def run_line(record: Record) -> str:
    """A run or a tuning trial in one readable row."""
    spec = record.spec
    rate, accuracy = learning_rate(record), validation_accuracy(record)
    is_trial = spec.purpose == "trial"
    name = f"{spec.method:<16} " + (
        f"trial, learning rate {_rate(rate)}, tuning seed {TUNING_SEED - spec.seed + 1}" if is_trial else f"seed {spec.seed}"
    )
    if record.state != "complete":
        return harmless(f"{name}  {record.state}: {record.reason or 'no reason was recorded'}")
    parts = [name]
    if is_trial:
        parts.append(f"validation {percent(accuracy)} %")
    if record.test:
        parts.append(f"accuracy {percent(record.test.accuracy)} %  F1 {percent(record.test.f1)} %")
    if record.parameters:
        parts.append(f"trains {record.parameters.body:,} + head {record.parameters.head:,}")
    if record.training and record.seconds and record.seconds.charged:
        rate = record.training.reviews_seen / record.seconds.charged
        parts.append(f"{record.training.reviews_seen:,} reviews in {record.seconds.charged:.1f} s ({rate:.1f}/s)")
    if record.memory:
        parts.append(f"{mebibytes(record.memory.training_bytes)} MiB")
    return harmless("  ".join(parts) + f"  [{spec.encoder}, {spec.asked}]")


def choice_line(decision: Decision) -> str:
    """Which learning rate the trials of a method chose, and from what, in one row; or why none."""
    trials = tried(decision.trials)
    said = ", ".join(f"{_rate(trial.learning_rate)} {_trial(trial)}" for trial in trials)
    chosen = (
        f"learning rate {_rate(decision.rate)} is chosen" if decision.rate is not None else f"no runs, since {decision.reason}"
    )
    if decision.choice is not None and decision.choice.at_edge:
        chosen += " (at the edge of its grid)"
    return harmless(f"{decision.method:<16} tuned: {chosen}; validation by learning rate: {said}  [{decision.budget}]")


def _trial(trial: Trial) -> str:
    mean = f"{percent(fmean(trial.accuracies))} %" if trial.accuracies else "no accuracy"
    return f"{mean}, collapsed" if trial.collapsed else mean


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:g}"


def baseline_line(baseline: Baseline) -> str:
    """A baseline in one readable row."""
    return (
        f"baseline: {baseline.spec.model} on {baseline.spec.train_reviews:,} reviews  "
        f"accuracy {percent(baseline.test.accuracy)} %  F1 {percent(baseline.test.f1)} %  "
        f"fitted in {baseline.fit_seconds:.1f} s"
    )
