"""From the runs of a table's methods to a difference, an interval and a verdict for every pair of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from bench.analysis import statistics
from bench.records.schema import Classes, Evaluation, Record
from bench.rules import ALPHA, HETEROGENEITY, LEAST_SEEDS, MARGIN

__all__ = ["Analysis", "McNemar", "Paired", "Unconditional", "Verdict", "analyse", "has_collapsed", "one_class", "worded"]

Verdict = Literal["better", "worse", "equivalent", "not resolved", "one seed", "too few seeds", "incomplete"]
_Bits = npt.NDArray[np.int8]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class McNemar(_Part):
    """McNemar's exact test of one seed, a description."""

    seed: int
    only_method: int
    """Texts that the method has right and the other wrong."""
    only_reference: int
    """The reverse."""
    p: float


class Unconditional(_Part):
    """The same comparison over all shared seeds, collapsed ones included, by a paired permutation test."""

    verdict: Literal["better", "worse", "not resolved", "too few seeds"]
    """"too few seeds": not even the smallest p that so many seeds can give reaches the first step of Holm's procedure."""
    seeds: int
    difference: float
    p: float
    p_holm: float


class Paired(_Part):
    """A method minus another, on shared seeds and texts. Differences are shares of 1, not points."""

    verdict: Verdict
    """Better or worse, or equivalent within the margin, after Holm, on the seeds on which neither collapsed; else not
    resolved. "one seed", "too few seeds" (fewer than three are left): no verdict. "incomplete": both do not have the same
    seeds, so there is a difference on the shared ones but no verdict."""
    seeds: list[int]
    """Shared, and used."""
    collapsed: list[int] = []
    """Shared, and left out since either method collapsed."""
    lacking: list[int]
    """Seeds of the other that the method does not have."""
    extra: list[int]
    """Seeds that only the method has; not used."""
    unusable: list[int]
    """Shared seeds left out, since the predictions of a record do not give its counts, or are of other texts."""
    one_class: list[int] = []
    """Shared seeds on which the other answers a single class: nothing is learned of a method from beating that."""
    margin: float
    """Differences within it count as equivalent."""
    difference: float | None = None
    """Mean over the used seeds and the texts; None if there is none."""
    low: float | None = None
    """95 % interval of the difference over seeds and texts, taken alone; None for one seed."""
    high: float | None = None
    standard_error: float | None = None
    freedom: float | None = None
    """Degrees of freedom of the standard error."""
    p: float | None = None
    """Two-sided, of no difference; only where there is a verdict."""
    p_holm: float | None = None
    """The same after Holm over the family."""
    p_equivalence: float | None = None
    """Of a difference beyond the margin (two one-sided tests), after Holm over the family."""
    unconditional: Unconditional | None = None
    """Where both have the same seeds, two or more."""
    mcnemar: list[McNemar] = []
    """A test a used seed."""


@dataclass(frozen=True)
class Analysis:
    """All comparisons of one table. The order is that of the methods given."""

    against_first: list[Paired]
    """Every other method minus the first, one family."""
    pairs: list[tuple[int, int, Paired]]
    """(method, other, method minus other) for every pair of methods with runs, the other being the earlier; one family."""
    detectable: float | None
    """The planned minimum detectable difference from the first method: of its seeds, these texts and the pooled seed
    variance, at the first step of Holm's procedure, with 80 % power. None where no comparison gets a verdict."""
    variance_p: float | None
    """Of one seed variance for all methods (Bartlett); None for fewer than three methods."""
    pools: bool
    """Whether the seed variance is pooled over the methods; if not, each pair has its own."""


class _Method(NamedTuple):
    """The complete runs of one method, by seed."""

    tests: dict[int, Evaluation]
    right: dict[int, _Bits]
    """What it got right, [texts], of the usable tests."""
    sound: set[int]
    """Seeds of usable tests that did not collapse."""


class _Pair(NamedTuple):
    """One pair before any variance is pooled."""

    paired: Paired
    moments: statistics.Moments | None
    """Of the seeds on which neither collapsed; None where no seed is left."""
    every: statistics.Moments | None
    """Of all usable seeds."""
    permutation_p: float
    """Of all usable seeds; NaN for fewer than two."""


def worded(paired: Paired) -> str:
    """Write the verdict in the words of a table: "equivalent within 0.5 points"."""
    words = f"equivalent within {100 * paired.margin:g} points" if paired.verdict == "equivalent" else paired.verdict
    return f"{words}, against one class" if paired.one_class else words


def one_class(test: Evaluation) -> bool:
    """Whether all predictions of a test are the same class."""
    return test.reviews in test.counts.predicted


def has_collapsed(test: Evaluation) -> bool:
    """Whether a test is no better than always answering the most frequent class of its labels (rules, section 9)."""
    counts = test.counts
    return test.reviews > 0 and statistics.collapsed(counts.correct, test.reviews, max(counts.support) / test.reviews)


def analyse(methods: Sequence[Sequence[Record]], margin: float = MARGIN) -> Analysis:
    """Every method against the first, and every pair, from their complete runs.

    The seed variance is pooled over all methods, since its check does not reject that they share one; otherwise each pair
    has its own, with fewer degrees of freedom. Simulated at three to ten seeds, tables of five methods without any
    difference have a false verdict in at most 4.5 % (tests/analysis/test_simulation.py). The check misses much at few seeds:
    where one method alone has three times the seed deviation of the others, it is 6 to 11 % at three seeds, 4 to 8 % at five,
    and about 5 % at ten.
    """
    compared = _comparable(methods)
    seeds = sorted({seed for one in compared for seed in one.tests})
    sound = np.array([[seed in one.sound for seed in seeds] for one in compared], dtype=bool)
    pairs = {(i, j): _pair(compared[i], compared[j], margin) for i, j in combinations(range(len(compared)), 2)}
    moments = {key: pair.moments for key, pair in pairs.items() if pair.moments is not None}
    variance = statistics.pooled(moments, sound)
    p = statistics.bartlett([[one.tests[seed].accuracy for seed in sorted(one.sound)] for one in compared])
    pools = p is None or p > HETEROGENEITY
    first = {key: pair for key, pair in pairs.items() if key[0] == 0}
    every = {key: pair for key, pair in pairs.items() if all(compared[i].tests for i in key)}
    against_first, judged = (_family(family, variance if pools else None) for family in (first, every))
    return Analysis(
        against_first=list(against_first.values()),
        pairs=[(j, i, paired) for (i, j), paired in judged.items()],
        detectable=_detectable(first, variance, len(compared[0].tests)),
        variance_p=p,
        pools=pools,
    )


def _comparable(methods: Sequence[Sequence[Record]]) -> list[_Method]:
    """Read the tests of each method; right are those whose predictions give the counts and whose labels are the usual ones."""
    tests = [{record.spec.seed: record.test for record in runs if record.test is not None} for runs in methods]
    bits = [{seed: both for seed, test in own.items() if (both := _bits(test)) is not None} for own in tests]
    counts = Counter(truth.tobytes() for own in bits for truth, _ in own.values())
    usual = max(counts, key=lambda labels: counts[labels], default=b"")
    right = [{seed: correct for seed, (truth, correct) in own.items() if truth.tobytes() == usual} for own in bits]
    sound = [{seed for seed in own if not has_collapsed(its[seed])} for own, its in zip(right, tests, strict=True)]
    return [_Method(*parts) for parts in zip(tests, right, sound, strict=True)]


def _pair(first: _Method, other: _Method, margin: float) -> _Pair:
    """`other` minus `first`: which seeds enter, and their differences."""
    its, own = first.tests.keys(), other.tests.keys()
    usable = sorted(first.right.keys() & other.right.keys())
    seeds = [seed for seed in usable if seed in first.sound & other.sound]
    fallen = [seed for seed in usable if seed not in seeds]
    every = np.array([other.right[seed] - first.right[seed] for seed in usable] or np.zeros((0, 0)), dtype=np.int8)
    used = every[np.isin(usable, seeds)]
    lacking, extra, unusable = sorted(its - own), sorted(own - its), sorted((its & own) - set(usable))
    tests = zip(seeds, map(statistics.mcnemar, used), strict=True)
    verdict: Verdict = "not resolved"
    if not usable or lacking or extra or unusable:
        verdict = "incomplete"
    elif len(seeds) < LEAST_SEEDS:
        verdict = "one seed" if len(usable) == 1 else "too few seeds"
    paired = Paired(
        verdict=verdict, seeds=seeds, collapsed=fallen, lacking=lacking, extra=extra, unusable=unusable, margin=margin,
        one_class=[seed for seed in fallen if one_class(first.tests[seed])],
        mcnemar=[McNemar(seed=seed, only_method=ours, only_reference=theirs, p=p) for seed, (ours, theirs, p) in tests],
    )  # fmt: skip
    moments = statistics.moments(used) if seeds else None
    both = moments if seeds == usable else statistics.moments(every)
    p = statistics.sign_flip(every.mean(axis=1), both.text_variance) if both and both.seeds > 1 else math.nan
    return _Pair(paired, moments, both, p)


def _family(pairs: Mapping[tuple[int, int], _Pair], pooled: statistics.SeedVariance | None) -> dict[tuple[int, int], Paired]:
    """Judge the comparisons of one family; without a pooled variance, each by its own."""
    tests = {key: statistics.two_way(pair.moments, pooled) for key, pair in pairs.items() if pair.moments is not None}
    judged = [key for key, pair in pairs.items() if pair.paired.verdict == "not resolved"]
    differs = dict(zip(judged, statistics.holm([tests[key].p for key in judged]), strict=True))
    tost = [statistics.equivalence_p(tests[key], pairs[key].paired.margin) for key in judged]
    within = dict(zip(judged, statistics.holm(tost), strict=True))
    unconditional = _unconditional(pairs)
    verdicts = {}
    for key, pair in pairs.items():
        update: dict[str, Any] = {"unconditional": unconditional.get(key)}
        if key in tests:
            test = tests[key]
            update["difference"] = test.difference
            if len(pair.paired.seeds) > 1:
                half = statistics.half_width(test)
                update |= {"low": max(-1.0, test.difference - half), "high": min(1.0, test.difference + half)}
                update |= {"standard_error": test.standard_error, "freedom": float(test.freedom)}
        if key in differs:
            update |= {"p": tests[key].p, "p_holm": differs[key], "p_equivalence": within[key]}
            if differs[key] <= ALPHA:
                update["verdict"] = "better" if tests[key].difference > 0 else "worse"
            elif within[key] <= ALPHA:
                update["verdict"] = "equivalent"
        verdicts[key] = pair.paired.model_copy(update=update)
    return verdicts


def _unconditional(pairs: Mapping[tuple[int, int], _Pair]) -> dict[tuple[int, int], Unconditional]:
    """Test by permutation every pair whose methods have the same seeds, two or more."""
    whole = [
        (key, pair.every, pair.permutation_p)
        for key, pair in pairs.items()
        if pair.every and pair.every.seeds > 1 and pair.paired.verdict != "incomplete"
    ]
    verdicts = {}
    for (key, every, p), adjusted in zip(whole, statistics.holm([p for *_, p in whole]), strict=True):
        verdict: Literal["better", "worse", "not resolved", "too few seeds"] = "not resolved"
        if not statistics.permutation_attainable(every.seeds, len(whole)):
            verdict = "too few seeds"
        elif adjusted <= ALPHA:
            verdict = "better" if every.difference > 0 else "worse"
        verdicts[key] = Unconditional(verdict=verdict, seeds=every.seeds, difference=every.difference, p=p, p_holm=adjusted)
    return verdicts


def _detectable(first: Mapping[tuple[int, int], _Pair], variance: statistics.SeedVariance, seeds: int) -> float | None:
    judged = [pair.moments for pair in first.values() if pair.paired.verdict == "not resolved" and pair.moments]
    if not judged:
        return None
    texts = float(np.mean([pair.text_variance for pair in judged]))
    error = (max(variance.value, 0.0) / seeds + texts) ** 0.5
    # Without any spread, as between equal methods, there is nothing to say what could have been detected.
    return statistics.detectable(error, variance.freedom, len(judged)) if error > 0 else None


def _bits(test: Evaluation) -> tuple[Classes, _Bits] | None:
    """Return labels and correctness, [texts] each; None for fewer than two texts or where they contradict the counts."""
    try:
        labels, predicted = test.unpack()
    except ValueError:
        return None
    correct: _Bits = (predicted == labels).astype(np.int8)
    counts = (int(correct.sum()), np.bincount(labels, minlength=test.classes).tolist())
    return (labels, correct) if test.reviews >= 2 and counts == (test.counts.correct, test.counts.support) else None
