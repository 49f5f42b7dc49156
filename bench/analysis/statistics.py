"""Paired differences between methods on the same texts and seeds: their size, standard error, verdicts and power.

The test is a two-way one, since seeds and texts are crossed: every seed is tested on the same texts, and a text that is
easy for one method is easy for it under every seed. With d[s, i] = correct(method) - correct(other), in {-1, 0, 1}:

    d[s, i] = difference + seed[s] + text[i] + rest[s, i],     SE² = V / S + B

V is the variance of the seed effects: that of the seeds' means, less what the rest adds to it. B is the variance over texts
of their means / n, which holds the text effects and the rest. V is pooled over the methods of a table (`pooled`), since
three or five seeds of one pair tell little of it; B is each pair's own. Sums are whole numbers up to the last division:
equal predictions give exactly zero.

The degrees of freedom are those of V alone, as if B were not known so much better. Weighing both (Satterthwaite 1946) gives
5 to 8 % false verdicts at three seeds, since a V that came out small by chance makes SE too small and the degrees of freedom
too many at once; these give at most 5 % (tests/analysis/test_simulation.py).

Of scipy `special` alone is imported: `scipy.stats` takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import stdev
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from bench.rules import ALPHA, COLLAPSE, POWER

__all__ = [
    "Moments", "SeedVariance", "TwoWay", "bartlett", "clopper_pearson", "collapsed", "detectable", "equivalence_p",
    "half_width", "holm", "mcnemar", "mean_half_width", "moments", "permutation_attainable", "pooled", "sign_flip",
    "two_way",
]  # fmt: skip

Floats = npt.NDArray[np.float64]

_EXACT = 12
"""Most seeds whose sign flips are all enumerated."""
_FLIPS = 20_000
"""Sign flips drawn beyond that, from a generator that is the same for every report."""


@dataclass(frozen=True)
class Moments:
    """What one pair's differences [seeds, texts] say, before any variance is pooled. Shares of 1."""

    seeds: int
    texts: int
    difference: float
    seed_variance: float
    """V, of the effect of one seed on the difference; below zero where chance made it so. NaN with one seed."""
    text_variance: float
    """B, of the mean difference over the texts drawn."""


@dataclass(frozen=True)
class SeedVariance:
    """The variance V of a seed's effect on a difference, as it was estimated."""

    value: float
    freedom: float
    """Degrees of freedom; 0 where no pair has two seeds."""


@dataclass(frozen=True)
class TwoWay:
    """One comparison, shares of 1."""

    difference: float
    standard_error: float
    freedom: float
    p: float
    """Two-sided, of no difference; NaN with one seed, whose own share in the difference nothing can tell."""


def moments(differences: npt.NDArray[np.integer[Any]]) -> Moments:
    """Return the moments of differences [seeds, texts], of one seed or more and two texts or more."""
    seeds, texts = differences.shape
    by_seed, by_text = differences.sum(axis=1, dtype=np.int64), differences.sum(axis=0, dtype=np.int64)
    total, squares = int(by_seed.sum()), int(np.square(differences, dtype=np.int64).sum())
    of_seeds, of_texts = int((by_seed**2).sum()), int((by_text**2).sum())
    # Sums of squares times seeds * texts, in whole numbers.
    between_seeds, between_texts = seeds * of_seeds - total**2, texts * of_texts - total**2
    rest = seeds * texts * squares - seeds * of_seeds - texts * of_texts + total**2
    cells = seeds * texts
    value = math.nan
    if seeds > 1:
        value = (between_seeds - rest / (texts - 1)) / (cells * (seeds - 1) * texts)
    return Moments(seeds, texts, total / cells, value, between_texts / (cells * (texts - 1) * cells))


def pooled(pairs: Mapping[tuple[int, int], Moments], used: npt.NDArray[np.bool_]) -> SeedVariance:
    """Return the seed variance over all pairs of methods of a table, each weighed by its seeds - 1.

    `pairs`: by the positions of both methods. `used` [methods, seeds]: which runs enter; a pair has the seeds that both
    its methods have. Where no run is missing this is twice the mean square of methods times seeds, on
    (methods - 1)(seeds - 1) degrees of freedom. In general the estimate is a quadratic form y'Ay in the runs' accuracies,
    and its degrees of freedom are tr(A)² / tr(A²), as if the accuracies of a method had one variance.
    """
    methods, seeds = used.shape
    form = np.zeros((methods * seeds, methods * seeds))
    total, weight = 0.0, 0
    for (i, j), pair in pairs.items():
        shared = np.flatnonzero(used[i] & used[j])
        if len(shared) < 2:
            continue
        total += (len(shared) - 1) * pair.seed_variance
        weight += len(shared) - 1
        rows = np.zeros((len(shared), methods * seeds))
        rows[np.arange(len(shared)), i * seeds + shared] = 1
        rows[np.arange(len(shared)), j * seeds + shared] = -1
        rows -= rows.mean(axis=0)
        form += rows.T @ rows
    if weight == 0:
        return SeedVariance(math.nan, 0)
    return SeedVariance(total / weight, round(float(np.trace(form) ** 2 / (form**2).sum()), 9))


def bartlett(groups: Sequence[Sequence[float]]) -> float | None:
    """Test one variance for all groups of accuracies (Bartlett 1937); return p, None for fewer than three groups of two.

    Two methods have no other variance of their difference than their own. A group without any spread, beside others that
    have one, gives 0.
    """
    values = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    if len(values) < 3:
        return None
    freedom = np.array([len(group) - 1 for group in values])
    variances = np.array([group.var(ddof=1) if len(set(group.tolist())) > 1 else 0.0 for group in values])
    if not variances.all():
        return 0.0 if variances.any() else 1.0
    together = float(freedom @ variances / freedom.sum())
    statistic = freedom.sum() * math.log(together) - float(freedom @ np.log(variances))
    statistic /= 1 + ((1 / freedom).sum() - 1 / freedom.sum()) / (3 * (len(values) - 1))
    return float(special.chdtrc(len(values) - 1, statistic))


def two_way(pair: Moments, variance: SeedVariance | None = None) -> TwoWay:
    """Compare one pair with this seed variance, by default its own on its seeds - 1 degrees of freedom.

    With one seed the standard error is that of the texts alone, and there is no p. With two, there is one degree of freedom
    whatever was pooled. Where the standard error is zero, p is 1 for a difference of zero and else 0.
    """
    variance = variance or SeedVariance(pair.seed_variance, pair.seeds - 1)
    if pair.seeds == 1:
        return TwoWay(pair.difference, math.sqrt(pair.text_variance), pair.texts - 1, math.nan)
    freedom = variance.freedom if pair.seeds > 2 else 1
    error = math.sqrt(max(variance.value, 0.0) / pair.seeds + pair.text_variance)
    if error == 0:
        return TwoWay(pair.difference, 0.0, freedom, 0.0 if pair.difference else 1.0)
    p = 2 * float(special.stdtr(freedom, -abs(pair.difference) / error))
    return TwoWay(pair.difference, error, freedom, p)


def half_width(test: TwoWay) -> float:
    """Half the width of the 95 % interval of the difference, taken alone."""
    return float(special.stdtrit(test.freedom, 1 - ALPHA / 2)) * test.standard_error


def mean_half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % interval of the mean of `values`, one a seed, by Student's t; None for fewer than two.

    It covers what seeds change, on the very texts that were tested.
    """
    if len(values) < 2:
        return None
    return float(special.stdtrit(len(values) - 1, 1 - ALPHA / 2)) * stdev(values) / math.sqrt(len(values))


def equivalence_p(test: TwoWay, margin: float) -> float:
    """Return the larger p of two one-sided tests of a difference beyond -margin or +margin (TOST, Schuirmann 1987)."""
    inside = margin - abs(test.difference)
    if test.standard_error == 0:
        return 0.0 if inside > 0 else 1.0
    return float(special.stdtr(test.freedom, -inside / test.standard_error))


def detectable(standard_error: float, freedom: float, comparisons: int) -> float:
    """Return the minimum detectable difference: the true one that gets a verdict with a probability of `POWER`.

    It is the noncentrality of Student's t at which the first step of Holm's procedure, at `ALPHA / comparisons`, rejects in
    `POWER` of all experiments, times the standard error: a promise that does not depend on how other methods come out.
    """
    critical = special.stdtrit(freedom, 1 - ALPHA / max(comparisons, 1) / 2)
    return float(special.nctdtrinc(freedom, 1 - POWER, critical)) * standard_error


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p of a family of comparisons so that each can be held against `ALPHA` (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def mcnemar(differences: npt.NDArray[np.integer[Any]]) -> tuple[int, int, float]:
    """McNemar's exact test of one seed, from differences [texts] in {-1, 0, 1}.

    Returns how many texts the method alone has right, how many the other alone, and the two-sided p. It takes the texts as
    all there is to chance: it says nothing of other seeds, so it describes and gives no verdict.
    """
    method, other = int((differences > 0).sum()), int((differences < 0).sum())
    return method, other, min(1.0, 2 * float(special.bdtr(min(method, other), method + other, 0.5)))


def permutation_attainable(seeds: int, comparisons: int) -> bool:
    """Whether so many seeds can reach the first step of Holm's procedure: the smallest p of sign flips is 2 / 2^seeds."""
    return 2.0 ** (1 - seeds) <= ALPHA / max(comparisons, 1)


def sign_flip(means: Floats, text_variance: float) -> float:
    """Return the two-sided p of paired differences [seeds] if both methods were exchangeable within a seed, collapse included.

    All sign flips for at most 12 seeds, else 20,000 of them. Flips alone take the texts as given, and on other texts every
    seed moves alike: so each flipped mean is also spread by a normal error of this variance, and the larger p of the two
    counts. It tests exchangeability, not the mean: a method that is better on most seeds and collapses on few has differences
    that are not symmetric, and may be told apart at a mean of zero.
    """
    seeds = len(means)
    signs = _signs(seeds)
    flipped, observed = np.abs(signs @ means) / seeds, abs(float(means.sum())) / seeds
    exact = float((flipped >= observed - 1e-12).mean())
    if text_variance <= 0:
        return exact
    error = math.sqrt(text_variance)
    spread = special.ndtr((flipped - observed) / error) + special.ndtr((-flipped - observed) / error)
    return max(exact, float(spread.mean()))


@cache
def _signs(seeds: int) -> npt.NDArray[np.int64]:
    """Return the sign flips of so many seeds, [flips, seeds]."""
    if seeds <= _EXACT:
        # Half of them: a flip of all signs changes no absolute value.
        return np.asarray(1 - 2 * ((np.arange(2 ** (seeds - 1))[:, None] >> np.arange(seeds)) & 1))
    signs = np.random.default_rng(0).choice([-1, 1], size=(_FLIPS, seeds))
    signs[0] = 1
    return signs


def collapsed(correct: int, texts: int, majority: float) -> bool:
    """Whether a test is no better than always answering the most frequent class.

    `majority`: that class's share of the labels, whatever the number of classes. One-sided binomial test at `COLLAPSE`.
    """
    return correct == 0 or float(special.bdtrc(correct - 1, texts, majority)) > COLLAPSE


def clopper_pearson(cases: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate (Clopper and Pearson 1934)."""
    low = 0.0 if cases == 0 else float(special.betaincinv(cases, of - cases + 1, ALPHA / 2))
    return low, 1.0 if cases == of else float(special.betaincinv(cases + 1, of - cases, 1 - ALPHA / 2))
