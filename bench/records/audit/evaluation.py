"""Whether every figure of a test follows from what each single review got."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import numpy as np

from bench.records.attempts import folder_of
from bench.records.audit.check import Case, Checks, Labels, Mismatch, NotApplicable, display, near, require, same, within
from bench.records.metrics import Confusion, confusion
from bench.records.schema import AnyRecord, Baseline, Calibration, Classes, Evaluation, Record, unpack_bits
from bench.records.store import load_logits
from bench.system.errors import BenchError

__all__ = ["CHECKS", "PARTS", "implied_labels"]

_TEST, _OUT_OF_DOMAIN = Checks(), Checks()
Part = Literal["test", "out_of_domain"]
PARTS: tuple[Part, ...] = ("test", "out_of_domain")
"""Parts of a record that hold an evaluation; every check here is made for each."""


def _for_each_test(name: str) -> Callable[[Callable[[Case, Part], str]], Callable[[Case, Part], str]]:
    """Decorate a check, under its name on the test, and as "out-of-domain …" on the other one."""

    def add(function: Callable[[Case, Part], str]) -> Callable[[Case, Part], str]:
        for part in PARTS:

            def check(case: Case, part: Part = part) -> str:
                return function(case, part)

            check.__doc__ = function.__doc__
            if part == "test":
                _TEST(name)(check)
            else:
                _OUT_OF_DOMAIN(f"out-of-domain {name}")(check)
        return function

    return add


def _evaluation(record: AnyRecord, part: Part) -> Evaluation | None:
    if isinstance(record, Calibration):
        return None
    if part == "test":
        return record.test
    return None if isinstance(record, Baseline) else record.out_of_domain


def _of(case: Case, part: Part) -> Evaluation:
    if part == "out_of_domain":
        return require(case.run.out_of_domain, "an out-of-domain test")
    return require(case.tested.test, "a test")


def _check_rest(packed: str, bits: int) -> None:
    """See that a field holds as many bits.

    Raises:
        ValueError: if it holds more or fewer; the bits that fill the last byte must be 0.
    """
    if unpack_bits(packed, (bits + 7) // 8 * 8)[bits:].any():
        raise ValueError(f"more than {bits} bits")


def _confusion(case: Case, part: Part) -> Confusion:
    test = _of(case, part)
    return confusion(*test.unpack(), test.classes)


def _bytes(labels: Classes) -> bytes:
    return labels.astype("<u2").tobytes()


def _test_key(record: Record | Baseline, part: Part, reviews: int) -> Labels:
    # Out of domain all are tested on the same sentences, whatever they were trained on.
    sha256, cut = (record.data.sha256, record.data.cut) if part == "test" else ("", "")
    return part, sha256, cut, record.spec.test_limit, reviews


def implied_labels(record: AnyRecord, part: Part) -> tuple[Labels, bytes] | None:
    """Which reviews a test was on and the labels that its bits imply, two bytes a review; None if it has no such bits."""
    test = _evaluation(record, part)
    if test is None or isinstance(record, Calibration):
        return None
    try:
        labels, _ = test.unpack()
    except ValueError:
        return None
    return _test_key(record, part, test.reviews), _bytes(labels)


@_for_each_test("bits")
def _enough_bits(case: Case, part: Part) -> str:
    """There is one bit a review in `predictions` and in `correct`, and nothing after them. Of more than two classes there are
    as many as the last takes in `predictions` and `labels`, and `correct` says where they agree.
    """
    test = _of(case, part)
    if test.reviews < 1:
        raise Mismatch(test.reviews, "at least one review")
    width = (test.classes - 1).bit_length()
    for field, bits in (("predictions", width), ("labels", width), ("correct", 1)):
        packed = getattr(test, field)
        try:
            if packed is not None:
                _check_rest(packed, bits * test.reviews)
        except ValueError as error:
            raise Mismatch(f"{display(test.reviews)} reviews", f"in {field} {error}") from None
    labels, predictions = test.unpack()
    differs = int(((labels == predictions) != unpack_bits(test.correct, test.reviews)).sum())
    if differs:
        raise Mismatch("correct", f"other bits by predictions and labels for {differs:,} reviews")
    return f"2 × {test.reviews:,}" if test.labels is None else f"{2 * width + 1} × {test.reviews:,}"


@_for_each_test("reviews")
def _reviews(case: Case, part: Part) -> str:
    """Check that the whole test was taken, or of each class its share of the limit (all, where a class has fewer). How many
    reviews the out-of-domain test has without a limit no other field tells; it is then held against the other records.
    """
    test, limit = _of(case, part), case.tested.spec.test_limit
    if limit is None:
        return same(test.reviews, case.tested.data.test) if part == "test" else _as_others(case, part)
    counts = _confusion(case, part)
    larger = max(counts.support)
    if larger != limit // counts.classes:
        raise Mismatch(f"a limit of {limit:,}", f"{larger:,} reviews of one class")
    return f"{test.reviews:,}"


def _as_others(case: Case, part: Part) -> str:
    own = _test_key(case.tested, part, _of(case, part).reviews)
    votes: dict[int, int] = {}
    for key, labels in case.labels.items():
        if key[:4] == own[:4]:
            votes[key[4]] = votes.get(key[4], 0) + labels.total()
    if sum(votes.values()) < 2:
        raise NotApplicable("no other record given has this test")
    return same(own[4], max(votes, key=lambda reviews: votes[reviews]))


@_for_each_test("counts")
def _counts(case: Case, part: Part) -> str:
    """Check that true and false positives and negatives, or the matrix of more than two classes, are those of the bits; and
    that there are as many classes as the data and the spec have.
    """
    test, counts = _of(case, part), _confusion(case, part)
    if part == "test":
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


def _average(case: Case, part: Part, name: str) -> str:
    """Check precision, recall or F1, and of more than two classes its weighted mean."""
    test, counts = _of(case, part), _confusion(case, part)
    if test.weighted is not None:
        near(getattr(test.weighted, name), getattr(counts.weighted, name))
    return near(getattr(test, name), getattr(counts.scores, name))


@_for_each_test("accuracy")
def _accuracy(case: Case, part: Part) -> str:
    """(TP + TN) / reviews, by the counts of the bits; of more than two classes the diagonal."""
    return near(_of(case, part).accuracy, _confusion(case, part).accuracy)


@_for_each_test("precision")
def _precision(case: Case, part: Part) -> str:
    """TP / (TP + FP), by the counts of the bits; 0 where nothing was predicted positive. Of more than two classes the mean over
    the classes, and `weighted` that by their reviews.
    """
    return _average(case, part, "precision")


@_for_each_test("recall")
def _recall(case: Case, part: Part) -> str:
    """TP / (TP + FN), by the counts of the bits; 0 where nothing is positive. Of more classes as precision."""
    return _average(case, part, "recall")


@_for_each_test("F1")
def _f1(case: Case, part: Part) -> str:
    """2 TP / (2 TP + FP + FN), by the counts of the bits. Of more classes as precision."""
    return _average(case, part, "f1")


@_for_each_test("leaked")
def _leaked(case: Case, part: Part) -> str:
    """Leaked positions are positions of tested reviews in order, and as many as the reviews have (with a limit at most;
    out of domain none).
    """
    test, leaked = _of(case, part), _of(case, part).leaked
    if leaked and not (leaked == sorted(set(leaked)) and leaked[0] >= 0 and leaked[-1] < test.reviews):
        raise Mismatch("positions of leaked reviews", f"not {test.reviews:,} positions in order")
    known = case.tested.data.leaked if part == "test" else 0
    least = known if part == "out_of_domain" or case.tested.spec.test_limit is None else 0
    return within(len(leaked), least, known, "leaked reviews")


@_for_each_test("accuracy without leaked")
def _without_leaked(case: Case, part: Part) -> str:
    """Check that it is the share of correct bits among the reviews that are not leaked."""
    test = _of(case, part)
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


@_for_each_test("labels")
def _labels(case: Case, part: Part) -> str:
    """More than half of the records given that were tested on the same reviews imply these labels."""
    test = _of(case, part)
    key, labels = _test_key(case.tested, part, test.reviews), _bytes(test.unpack()[0])
    labelled = case.labels.get(key)
    if labelled is None or labelled.total() < 2:
        raise NotApplicable("no other record given has this test")
    if 2 * labelled[labels] <= labelled.total():
        other = next(variant for variant, _ in labelled.most_common() if variant != labels)
        differs = int((np.frombuffer(labels, "<u2") != np.frombuffer(other, "<u2")).sum())
        raise Mismatch("labels", f"others for {differs:,} reviews in at least half of {labelled.total():,} records")
    return f"those of {labelled[labels]:,} of {labelled.total():,} records"


CHECKS = Checks([*_TEST, *_OUT_OF_DOMAIN])
