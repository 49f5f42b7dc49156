"""Each method of a comparison against its reference: difference, interval and verdict. Computed once, then cached."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, TypeAdapter

from bench import statistics
from bench.files import atomic_write, cache_dir
from bench.record import Evaluation, Record, unpack_bits

__all__ = ["McNemar", "Paired", "Verdict", "verdicts"]

Verdict = Literal["better", "worse", "tied", "one seed", "incomplete"]
_FORMULAS = 1
"""Raised when a formula of the statistics changes, so that no older number is read from the cache."""
_Bits = npt.NDArray[np.uint8]


class _Part(BaseModel):
    # What is cached was finite when it was written; anything else is damage.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class McNemar(_Part):
    """McNemar's exact test of one seed, a description."""

    seed: int
    only_method: int
    """Reviews that the method has right and the reference wrong."""
    only_reference: int
    """The reverse."""
    p: float


class Paired(_Part):
    """A method minus the reference, on shared seeds and reviews. Differences are shares of 1, not points."""

    verdict: Verdict
    """Better, worse or tied, after Holm. "one seed": nothing is known of others. "incomplete": the method and the reference
    do not have the same seeds, so there is a difference on the shared ones but no verdict."""
    seeds: list[int]
    """Shared, and used."""
    lacking: list[int]
    """Seeds of the reference that the method does not have."""
    extra: list[int]
    """Seeds that only the method has; not used."""
    unusable: list[int]
    """Shared seeds left out, since the predictions of a record do not give its counts, or are of other reviews."""
    difference: float | None = None
    """Mean over shared seeds and reviews; None if no seed is shared."""
    low: float | None = None
    """95 % interval of the difference, taken alone."""
    high: float | None = None
    covers: Literal["seeds and reviews", "reviews of one seed"] | None = None
    """What other than the method may vary within the interval."""
    standard_error: float | None = None
    freedom: float | None = None
    """Degrees of freedom of the standard error."""
    p: float | None = None
    """Two-sided, of no difference; only where there is a verdict."""
    p_holm: float | None = None
    """The same after Holm over all methods of the group that have one."""
    resolvable: float | None = None
    """The smallest true difference that would have got a verdict with 80 % power, at the strictest step of Holm."""
    mcnemar: list[McNemar] = []
    """A test a shared seed."""


_CACHED: TypeAdapter[list[Paired]] = TypeAdapter(list[Paired])


def verdicts(reference: Sequence[Record], methods: Sequence[Sequence[Record]]) -> list[Paired]:
    """Complete runs of methods, each against those of the reference, as one family of comparisons. In the order of `methods`.

    Read from the cache where the same predictions were compared before; then no statistics library is imported, which
    keeps the report quick. A cache that is damaged or cannot be written costs time, no more.
    """
    folder = cache_dir()
    path = folder / "statistics" / f"{_digest(reference, methods)}.json" if folder else None
    if path is not None:
        try:
            found = _CACHED.validate_json(path.read_bytes())
            if len(found) == len(methods):
                return found
        except (OSError, ValueError):
            pass
    made = _compute(reference, methods)
    if path is not None:
        try:
            with atomic_write(path) as file:
                file.write(_CACHED.dump_json(made))
        except OSError:
            pass
    return made


def _digest(reference: Sequence[Record], methods: Sequence[Sequence[Record]]) -> str:
    """Names all that the numbers depend on: seeds, counts and predictions, in order, and the formulas."""
    digest = hashlib.sha256(f"{_FORMULAS} {statistics.ALPHA} {statistics.POWER}".encode())
    for runs in (reference, *methods):
        digest.update(b"\n\n")
        for record in runs:
            if (test := record.test) is not None:
                counts = f"\n{record.spec.seed} {test.tp} {test.fp} {test.fn} {test.tn} {test.reviews} "
                digest.update(f"{counts}{test.predictions} {test.correct}".encode())
    return digest.hexdigest()


def _compute(reference: Sequence[Record], methods: Sequence[Sequence[Record]]) -> list[Paired]:
    its = _by_seed(reference)
    pairs = [_differences(its, _by_seed(runs)) for runs in methods]
    found = [statistics.two_way(differences) if len(differences) else None for _, differences in pairs]
    # The family is every comparison that can have a verdict at all.
    judged = [i for i, (paired, _) in enumerate(pairs) if paired.verdict == "tied"]
    family = [float(two_way.p) for i in judged if (two_way := found[i])]
    adjusted = dict(zip(judged, statistics.holm(family), strict=True))
    made = []
    for i, ((paired, differences), two_way) in enumerate(zip(pairs, found, strict=True)):
        if two_way is None:
            made.append(paired)
            continue
        described = _described(two_way, differences, paired.seeds)
        if i in adjusted:
            described |= _judged(two_way, adjusted[i], len(family))
        made.append(paired.model_copy(update=described))
    return made


def _described(found: statistics.TwoWay, differences: npt.NDArray[np.int8], seeds: list[int]) -> dict[str, Any]:
    """The fields of a comparison that need no verdict, from differences [seeds, reviews]."""
    difference, half = float(found.difference), float(statistics.half_width(found))
    tests = [(seed, *statistics.mcnemar(row)) for seed, row in zip(seeds, differences, strict=True)]
    return {
        "difference": difference,
        "low": max(-1.0, difference - half),
        "high": min(1.0, difference + half),
        "covers": "seeds and reviews" if len(seeds) > 1 else "reviews of one seed",
        "standard_error": float(found.standard_error),
        "freedom": float(found.freedom),
        "mcnemar": [McNemar(seed=s, only_method=b, only_reference=c, p=p) for s, b, c, p in tests],
    }


def _judged(found: statistics.TwoWay, p_holm: float, comparisons: int) -> dict[str, Any]:
    clear = p_holm <= statistics.ALPHA
    # Without any spread, as between two equal methods, there is nothing to say what could have been resolved.
    resolvable = float(statistics.resolvable(found, comparisons)) if found.standard_error > 0 else None
    verdict: Verdict = "tied" if not clear else "better" if found.difference > 0 else "worse"
    return {"p": float(found.p), "p_holm": p_holm, "resolvable": resolvable, "verdict": verdict}


def _by_seed(runs: Sequence[Record]) -> dict[int, Evaluation]:
    return {record.spec.seed: record.test for record in runs if record.test is not None}


def _differences(its: dict[int, Evaluation], own: dict[int, Evaluation]) -> tuple[Paired, npt.NDArray[np.int8]]:
    """The comparison before any number: which seeds enter it, and differences [seeds, reviews] for these.

    Its verdict is "tied" where one is to be given.
    """
    seeds, unusable, rows = [], [], []
    reviews: _Bits | None = None
    for seed in sorted(its.keys() & own.keys()):
        left, right = _bits(own[seed]), _bits(its[seed])
        same = left is not None and right is not None and np.array_equal(left[0], right[0])
        if left is None or right is None or not same or not (reviews is None or np.array_equal(reviews, left[0])):
            unusable.append(seed)
            continue
        reviews = left[0]
        seeds.append(seed)
        rows.append(left[1].astype(np.int8) - right[1].astype(np.int8))
    lacking, extra = sorted(its.keys() - own.keys()), sorted(own.keys() - its.keys())
    whole = bool(seeds) and not (lacking or extra or unusable)
    verdict: Verdict = "incomplete" if not whole else "one seed" if len(seeds) == 1 else "tied"
    paired = Paired(verdict=verdict, seeds=seeds, lacking=lacking, extra=extra, unusable=unusable)
    return paired, np.stack(rows) if rows else np.zeros((0, 0), dtype=np.int8)


def _bits(test: Evaluation) -> tuple[_Bits, _Bits] | None:
    """Labels and what was predicted correctly, [reviews] each; None unless there are two, and they give the counts."""
    try:
        predicted, correct = unpack_bits(test.predictions, test.reviews), unpack_bits(test.correct, test.reviews)
    except ValueError:
        return None
    labels = (predicted == correct).astype(np.uint8)
    counts = (int(correct.sum()), int(labels.sum()))
    return (labels, correct) if test.reviews >= 2 and counts == (test.tp + test.tn, test.tp + test.fn) else None
