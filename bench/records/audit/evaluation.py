"""Whether every figure of a test follows from what each single review got."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import wraps

import numpy as np

from bench.records.attempts import folder_of
from bench.records.audit.check import Case, Check, Checks, Labels, Mismatch, NotApplicable, display, near, require, same, within
from bench.records.metrics import Confusion, confusion
from bench.records.schema import Classes, Record, unpack_bits
from bench.records.store import load_logits
from bench.rules import ALL_SENTENCES, FEW_TEXTS
from bench.system.errors import BenchError

__all__ = ["CHECKS", "implied_labels"]

_TEST = Checks()


def _confusion(case: Case) -> Confusion:
    return confusion(*case.test.unpack(), case.test.classes)


def _bytes(labels: Classes) -> bytes:
    return labels.astype("<u2").tobytes()


def _key(case: Case) -> Labels:
    record, sha256, cut = case.tested, "", ""
    if case.part == "test":  # out of domain all are tested on the same sentences, whatever they were trained on
        sha256, cut = record.data.sha256, record.data.cut
    return case.part, sha256, cut, _limit(case), case.test.reviews


def _limit(case: Case) -> int | None:
    """How many reviews were tested at most, None for all: of sentences fewer after little training."""
    limit = case.tested.spec.test_limit
    if case.part == "test":
        return limit
    if case.test.reviews == FEW_TEXTS and case.run.training and case.run.training.reviews_seen < FEW_TEXTS:
        return FEW_TEXTS if limit is None else min(limit, FEW_TEXTS)
    return None if limit is None or limit >= ALL_SENTENCES else limit


def implied_labels(case: Case) -> tuple[Labels, bytes] | None:
    """Which reviews a test was on and the labels that its bits imply, two bytes a review; None if it has no such bits."""
    try:
        return _key(case), _bytes(case.test.unpack()[0])
    except (NotApplicable, ValueError):
        return None


@_TEST("bits")
def _enough_bits(case: Case) -> str:
    """There is one bit a review in `predictions` and in `correct`, and nothing after them. Of more than two classes there are
    as many as the last takes in `predictions` and `labels`, and `correct` says where they agree.
    """
    test = case.test
    if test.reviews < 1:
        raise Mismatch(test.reviews, "at least one review")
    width = (test.classes - 1).bit_length()
    for field, bits in (("predictions", width), ("labels", width), ("correct", 1)):
        packed, count = getattr(test, field), bits * test.reviews
        try:
            # The bits that fill the last byte are 0.
            if packed is not None and unpack_bits(packed, math.ceil(count / 8) * 8)[count:].any():
                raise ValueError(f"more than {count} bits")
        except ValueError as error:
            raise Mismatch(f"{display(test.reviews)} reviews", f"in {field} {error}") from None
    labels, predictions = test.unpack()
    differs = int(((labels == predictions) != unpack_bits(test.correct, test.reviews)).sum())
    if differs:
        raise Mismatch("correct", f"other bits by predictions and labels for {differs:,} reviews")
    return f"2 × {test.reviews:,}" if test.labels is None else f"{2 * width + 1} × {test.reviews:,}"


@_TEST("reviews")
def _reviews(case: Case) -> str:
    """Check that the whole test was taken, or of each class its share of the limit (all, where a class has fewer). How many
    reviews the whole out-of-domain test has no other field tells; it is then held against the other records.
    """
    test, limit = case.test, _limit(case)
    if limit is None:
        return same(test.reviews, case.tested.data.test) if case.part == "test" else _as_others(case)
    counts = _confusion(case)
    larger = max(counts.support)
    if larger != limit // counts.classes:
        raise Mismatch(f"a limit of {limit:,}", f"{larger:,} reviews of one class")
    return f"{test.reviews:,}"


def _as_others(case: Case) -> str:
    own = _key(case)
    votes: dict[int, int] = {}
    for key, labels in case.labels.items():
        if key[:4] == own[:4]:
            votes[key[4]] = votes.get(key[4], 0) + labels.total()
    if sum(votes.values()) < 2:
        raise NotApplicable("no other record given has this test")
    return same(own[4], max(votes, key=lambda reviews: votes[reviews]))


@_TEST("counts")
def _counts(case: Case) -> str:
    """Check that true and false positives and negatives, or the matrix of more than two classes, are those of the bits; and
    that there are as many classes as the data and the spec have.
    """
    test, counts = case.test, _confusion(case)
    if case.part == "test":
        same(test.classes, len(case.tested.data.labels))
        if isinstance(case.record, Record):
            same(case.record.spec.classes, test.classes)
    same(_confusion_text(test.counts), _confusion_text(counts))
    return (
        _confusion_text(counts) if test.classes == 2 else f"{test.classes} × {test.classes}, {counts.correct:,} on the diagonal"
    )


def _confusion_text(counts: Confusion) -> str:
    if counts.classes == 2:
        (tn, fp), (fn, tp) = counts.matrix
        return f"TP {tp:,} FP {fp:,} FN {fn:,} TN {tn:,}"
    return str(counts.matrix)


def _average(case: Case, name: str) -> str:
    """Check precision, recall or F1, and of more than two classes its weighted mean."""
    test, counts = case.test, _confusion(case)
    if test.weighted is not None:
        near(getattr(test.weighted, name), getattr(counts.weighted, name))
    return near(getattr(test, name), getattr(counts.scores, name))


@_TEST("accuracy")
def _accuracy(case: Case) -> str:
    """(TP + TN) / reviews, by the counts of the bits; of more than two classes the diagonal."""
    return near(case.test.accuracy, _confusion(case).accuracy)


@_TEST("precision")
def _precision(case: Case) -> str:
    """TP / (TP + FP), by the counts of the bits; 0 where nothing was predicted positive. Of more than two classes the mean over
    the classes, and `weighted` that by their reviews.
    """
    return _average(case, "precision")


@_TEST("recall")
def _recall(case: Case) -> str:
    """TP / (TP + FN), by the counts of the bits; 0 where nothing is positive. Of more classes as precision."""
    return _average(case, "recall")


@_TEST("F1")
def _f1(case: Case) -> str:
    """2 TP / (2 TP + FP + FN), by the counts of the bits. Of more classes as precision."""
    return _average(case, "f1")


@_TEST("leaked")
def _leaked(case: Case) -> str:
    """Leaked positions are positions of tested reviews in order, and as many as the reviews have (with a limit at most;
    out of domain none).
    """
    test, leaked = case.test, case.test.leaked
    if leaked and not (leaked == sorted(set(leaked)) and leaked[0] >= 0 and leaked[-1] < test.reviews):
        raise Mismatch("positions of leaked reviews", f"not {test.reviews:,} positions in order")
    known = case.tested.data.leaked if case.part == "test" else 0
    least = known if case.part == "out_of_domain" or case.tested.spec.test_limit is None else 0
    return within(len(leaked), least, known, "leaked reviews")


@_TEST("accuracy without leaked")
def _without_leaked(case: Case) -> str:
    """Check that it is the share of correct bits among the reviews that are not leaked."""
    test = case.test
    correct = np.delete(unpack_bits(test.correct, test.reviews), test.leaked)
    if not len(correct):
        raise Mismatch(test.accuracy_without_leaked, "no review that is not leaked")
    return near(test.accuracy_without_leaked, float(correct.mean()))


@_TEST("logits")
def _logits(case: Case) -> str:
    """Check that the logits lie beside the record, hash to their name, and are largest for the class predicted. Those of
    the out-of-domain test are not kept, and a baseline has none.
    """
    test = require(case.run.test, "a test")
    name = test.logits_sha256
    if name is None or not re.fullmatch(r"[0-9a-f]{64}", name):
        raise Mismatch(name, "no name of logits")
    try:
        logits = load_logits(folder_of(case.path), name)
    except BenchError as error:
        raise Mismatch(f"logits {name[:12]}…", str(error)) from None
    except (ValueError, EOFError, OSError):
        raise Mismatch(f"logits {name[:12]}…", "no array of numbers") from None
    if logits.shape != (test.reviews, test.classes) or logits.dtype != np.float32 or not np.isfinite(logits).all():
        raise Mismatch(f"{test.reviews:,} reviews", f"logits of shape {logits.shape}, {logits.dtype}, or not all finite")
    differs = int((logits.argmax(1) != test.unpack()[1]).sum())
    if differs:
        raise Mismatch("predictions", f"another class by the logits for {differs:,} reviews")
    return f"{test.reviews:,} × {test.classes}"


@_TEST("labels")
def _labels(case: Case) -> str:
    """More than half of the records given that were tested on the same reviews imply these labels."""
    test = case.test
    key, labels = _key(case), _bytes(test.unpack()[0])
    labelled = case.labels.get(key)
    if labelled is None or labelled.total() < 2:
        raise NotApplicable("no other record given has this test")
    if 2 * labelled[labels] <= labelled.total():
        other = next(variant for variant, _ in labelled.most_common() if variant != labels)
        differs = int((np.frombuffer(labels, "<u2") != np.frombuffer(other, "<u2")).sum())
        raise Mismatch("labels", f"others for {differs:,} reviews in at least half of {labelled.total():,} records")
    return f"those of {labelled[labels]:,} of {labelled.total():,} records"


def _out_of_domain(check: Check) -> Check:
    function = wraps(check.function)(lambda case: check.function(replace(case, part="out_of_domain")))
    return Check(f"out-of-domain {check.name}", function)


CHECKS = (*_TEST, *(_out_of_domain(check) for check in _TEST if check.name != "logits"))
