"""Whether the budget, its curve and the counts of training agree with each other and with the clocks."""

from __future__ import annotations

import math
from math import inf
from statistics import fmean

from bench.records.audit.check import Case, Checks, Mismatch, NotApplicable, display, near, require, same, within
from bench.records.schema import Training
from bench.rules import MARKS, PASSES, VALIDATION_AT_MARKS

__all__ = ["CHECKS"]

CHECKS = Checks()


def _training(case: Case) -> Training:
    return require(case.run.training, "training")


def _complete(case: Case) -> Training:
    if case.run.state != "complete":
        raise NotApplicable(f"the run ended as {case.run.state}")
    return _training(case)


def _reused(training: Training) -> bool:
    """Whether encoder output was kept and trained on again."""
    return training.reviews_trained > training.reviews_seen


def _train(case: Case) -> int:
    if case.run.data.train < 1:
        raise Mismatch(case.run.data.train, "at least one review to train on")
    limit = case.run.spec.train_limit
    return case.run.data.train if limit is None else min(limit, case.run.data.train)


@CHECKS("spent")
def _spent(case: Case) -> str:
    """Check that the amount spent is the raw counter of the budget's unit: steps, epochs (reviews trained / reviews to train
    on), tokens (those encoded; at least those, where encoder output is reused), or the device seconds charged, which run for
    a moment after the last step (1 % or 50 ms).
    """
    training, unit = _training(case), case.run.spec.budget.unit
    over_kept = case.run.rules_version >= 3 and _reused(training)
    if unit == "steps":
        batch = case.run.spec.batch_size
        return near(training.spent, float(math.ceil(training.reviews_seen / batch) if over_kept else training.steps))
    if unit == "epochs":
        return near(training.spent, (training.reviews_seen if over_kept else training.reviews_trained) / _train(case))
    if unit == "tokens":
        # Under rules 2 what was trained on again counted too; from rules 3 on a budget counts what goes through the encoder.
        reused = case.run.rules_version < 3 and _reused(training)
        return within(training.spent, training.tokens_seen, inf if reused else training.tokens_seen, "tokens")
    charged = require(case.run.seconds, "a division of the time").charged
    return near(training.spent, charged, share=0.01, slack=0.05)


@CHECKS("overshoot")
def _overshoot(case: Case) -> str:
    """Check that the overshoot is the amount spent beyond the budget, else 0."""
    training = _training(case)
    return near(training.overshoot, max(0.0, training.spent - case.run.spec.budget.amount))


@CHECKS("at most one step too much")
def _one_step(case: Case) -> str:
    """Check that a run overshoots by at most one step: the longest one, a batch of reviews, or a full batch in tokens."""
    training, spec = _training(case), case.run.spec
    most = {
        "seconds": training.longest_step_seconds,
        "steps": 1.0,
        "epochs": spec.batch_size / _train(case),
        "tokens": float(spec.batch_size * spec.max_length),
    }[spec.budget.unit]
    return within(training.overshoot, 0.0, most, spec.budget.unit)


@CHECKS("budget used up")
def _used_up(case: Case) -> str:
    """Check that a complete run spent its budget; one that trains a head on cached features reads at most one epoch for it."""
    training, amount = _complete(case), case.run.spec.budget.amount
    if case.run.rules_version >= 3 and _reused(training) and training.reviews_distinct == _train(case):
        return same(training.reviews_seen, training.reviews_distinct)
    return within(training.spent, amount, inf, case.run.spec.budget.unit)


@CHECKS("reviews trained on")
def _reviews(case: Case) -> str:
    """Different reviews are no more than were seen and than there are; a step trains on at most a batch; all that was seen
    was trained on, except a last batch whose step never ended.
    """
    training, batch = _training(case), case.run.spec.batch_size
    within(training.reviews_distinct, 0, min(training.reviews_seen, _train(case)), "different reviews")
    within(training.reviews_trained, training.steps, training.steps * batch, "reviews trained on")
    unended = 0 if case.run.state == "complete" else batch
    return within(training.reviews_seen, 0, training.reviews_trained + unended, "reviews seen")


@CHECKS("tokens")
def _tokens(case: Case) -> str:
    """Tokens are at least one a review seen, no more with padding than the maximum length allows, and no more without."""
    training = _training(case)
    within(training.tokens_padded, 0, training.reviews_seen * case.run.spec.max_length, "tokens with padding")
    return within(training.tokens_seen, training.reviews_seen, training.tokens_padded, "tokens")


@CHECKS("passes over cached features")
def _passes(case: Case) -> str:
    """Check that a head on cached features is trained in exactly `PASSES` passes over what was encoded (rules, section 4)."""
    training = _complete(case)
    if case.run.rules_version < 3 or not _reused(training):
        raise NotApplicable("no features were kept")
    same(training.steps, PASSES * math.ceil(training.reviews_seen / case.run.spec.batch_size))
    return same(training.reviews_trained, PASSES * training.reviews_seen)


@CHECKS("longest step")
def _longest_step(case: Case) -> str:
    """Check that the longest step took no less than the mean step and no more than all of training."""
    training = _complete(case)
    charged = require(case.run.seconds, "a division of the time").charged
    if training.steps < 1:
        raise Mismatch(training.steps, "at least one step")
    # The curve's last point is read when the last step ends, so it counts steps alone.
    stepped = training.curve[-1].seconds if training.curve else charged
    return within(training.longest_step_seconds, stepped / training.steps - 1e-9, charged, "seconds")


@CHECKS("curve in order")
def _in_order(case: Case) -> str:
    """Along the curve nothing that is counted falls."""
    curve = _training(case).curve
    for field in ("fraction", "seconds", "step", "reviews", "tokens"):
        values = [getattr(point, field) for point in curve]
        if values != sorted(values) or (values and values[0] < 0):
            raise Mismatch(f"curve, {field}: {', '.join(map(display, values))}", "an ascending order")
    return f"{len(curve)} points"


@CHECKS("curve at its marks")
def _at_marks(case: Case) -> str:
    """Each point was read once its mark (25, 50, 75, 100 % of the budget) was reached; a complete run has all. Passes over kept
    features have the last alone.
    """
    training = _training(case)
    marks = MARKS[-1:] if case.run.rules_version >= 3 and _reused(training) else MARKS
    if (case.run.state == "complete" and len(training.curve) != len(marks)) or len(training.curve) > len(marks):
        raise Mismatch(f"{len(training.curve)} points", f"{len(marks)} marks")
    for point, mark in zip(training.curve, marks, strict=False):
        within(point.fraction, mark, 1.0, "of the budget")
    return ", ".join(f"{100 * point.fraction:.1f} %" for point in training.curve) or "none"


@CHECKS("curve fractions")
def _fractions(case: Case) -> str:
    """Each point's fraction is its own seconds, steps, tokens or epochs over the budget, at most 1; tokens and epochs where
    encoder output is not reused.
    """
    training, budget = _training(case), case.run.spec.budget
    if _reused(training) and (case.run.rules_version >= 3 or budget.unit in ("tokens", "epochs")):
        raise NotApplicable("the points do not hold what was trained on again")
    for point in training.curve:
        spent = {
            "seconds": point.seconds,
            "steps": float(point.step),
            "epochs": point.reviews / _train(case),
            "tokens": float(point.tokens),
        }[budget.unit]
        near(point.fraction, min(1.0, spent / budget.amount))
    return f"{len(training.curve)} points"


@CHECKS("curve end")
def _end(case: Case) -> str:
    """Check that the last point of a complete run is its end: the whole budget, and the counts of the record."""
    training = _complete(case)
    if not training.curve:
        raise Mismatch("no curve", "a point at the end")
    last = training.curve[-1]
    same(last.fraction, 1.0)
    counts = (training.steps, training.reviews_seen, training.tokens_seen)
    return same(_text(last.step, last.reviews, last.tokens), _text(*counts))


def _text(steps: int, reviews: int, tokens: int) -> str:
    return f"{display(steps)} steps, {display(reviews)} reviews, {display(tokens)} tokens"


@CHECKS("validation accuracy")
def _validation(case: Case) -> str:
    """Each accuracy of the curve is a whole number of validation texts: since rules 3 of 500, or of a quarter of the test's
    limit where it is less, and at the end of the budget of a tuning trial of all of them. Earlier runs of rules 3 read 500
    whatever the limit, or as many as the limit, and at the end all.
    """
    curve, validation = _training(case).curve, case.run.data.validation
    part = min(validation, VALIDATION_AT_MARKS)
    limit = case.run.spec.test_limit or len(MARKS) * part
    parts = [part, min(part, limit), min(part, math.ceil(limit / len(MARKS)))]
    for point in curve:
        sizes = [validation] if case.run.rules_version < 3 else parts
        if point.fraction >= 1.0:
            sizes = [validation] if case.run.spec.purpose == "trial" else [*sizes, validation]
        shares = [round(point.accuracy * texts) / max(1, texts) for texts in sizes]
        near(point.accuracy, min(shares, key=lambda share: abs(share - point.accuracy)))
        within(point.accuracy, 0.0, 1.0, "of validation")
    return f"{fmean(point.accuracy for point in curve):.3f} in the mean" if curve else "none"
