"""A method against the reference on the same reviews and seeds: how large the difference is, and how sure that is.

The test is a two-way one, since seeds and reviews are crossed: every seed is tested on the same reviews, and a review that
is easy for one method is easy for it under every seed. Treating all predictions as independent, or the reviews as nested in
seeds, calls chance a difference far too often. With d[s, i] = correct(method) - correct(reference), in {-1, 0, 1}:

    SE² = a + b,   a = variance over seeds of their means / S,   b = variance over reviews of their means / n

What seeds and reviews do together (each prediction's own chance) is in both parts, so that SE² is somewhat too large, never
too small. Everything is arithmetic on whole numbers up to the last division: equal predictions give exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ALPHA", "POWER", "TwoWay", "half_width", "holm", "mcnemar", "resolvable", "two_way"]

Floats = npt.NDArray[np.float64]

ALPHA = 0.05
"""Share of false verdicts that a table may have where no method differs; an interval covers 1 - ALPHA."""
POWER = 0.8
"""Share of experiments in which a difference called resolvable gets a verdict."""


@dataclass(frozen=True)
class TwoWay:
    """One comparison, or a batch of independent ones: arrays [...], shares of 1."""

    difference: Floats
    standard_error: Floats
    freedom: Floats
    """Degrees of freedom of the standard error."""
    p: Floats
    """Two-sided, of no difference; NaN with one seed, whose own share in the difference nothing can tell."""


def two_way(differences: npt.NDArray[np.integer[Any]]) -> TwoWay:
    """The statistics of differences [..., seeds, reviews]; leading dimensions are separate comparisons.

    With one seed the standard error is that of the reviews alone, and there is no p. Where it is zero, p is 1 for a
    difference of zero and else 0.

    The degrees of freedom are the mean of those of both parts, harmonic and weighted by their shares of SE²:
    1 / df = (a / (S - 1) + b / (n - 1)) / (a + b). Satterthwaite (1946) weighs by the squares of the shares, which is
    right where the shares are known. From few seeds they are estimates, and a share that came out small by chance makes SE
    too small and df too large at once: simulated with three seeds and a standard deviation of 2 points between them, his
    df give 7 to 8 % false verdicts at a nominal 5 %, these 5 to 6 % (with five seeds 5 to 6 and 4 to 5 %;
    tests/test_simulation.py). With two seeds no such mean is safe (9 %), so df are S - 1 = 1, and only very large
    differences get a verdict.

    Raises:
        ValueError: for less than one seed or two reviews.
    """
    from scipy import stats

    seeds, reviews = differences.shape[-2:]
    if seeds < 1 or reviews < 2:
        raise ValueError(f"{seeds} seeds and {reviews} reviews are too few to compare on")
    by_seed = differences.sum(axis=-1, dtype=np.int64)
    by_review = differences.sum(axis=-2, dtype=np.int64)
    total = by_seed.sum(axis=-1)
    scale = float(seeds * reviews) ** 2
    of_reviews = (reviews * (by_review**2).sum(axis=-1) - total**2) / (scale * (reviews - 1))
    of_seeds = np.zeros_like(of_reviews)
    if seeds > 1:
        of_seeds = (seeds * (by_seed**2).sum(axis=-1) - total**2) / (scale * (seeds - 1))
    variance = of_seeds + of_reviews
    freedom = np.full_like(variance, float(seeds - 1 if seeds > 1 else reviews - 1))
    if seeds > 2:
        part = of_seeds / (seeds - 1) + of_reviews / (reviews - 1)
        freedom = np.divide(variance, part, out=freedom, where=part > 0)
    difference, error = total / (seeds * reviews), np.sqrt(variance)
    if seeds == 1:
        return TwoWay(difference, error, freedom, np.full_like(error, np.nan))
    t = np.divide(np.abs(difference), error, out=np.where(difference == 0, 0.0, np.inf), where=error > 0)
    return TwoWay(difference, error, freedom, np.asarray(2 * stats.t.sf(t, freedom)))


def half_width(found: TwoWay) -> Floats:
    """Half the width of the 95 % interval of each difference, taken alone: [...]."""
    from scipy import stats

    return np.asarray(stats.t.isf(ALPHA / 2, found.freedom) * found.standard_error)


def resolvable(found: TwoWay, comparisons: int) -> Floats:
    """The smallest true difference that these reviews and seeds would give a verdict on with a probability of `POWER`: [...].

    That is (t[1 - alpha/2] + t[POWER]) · SE, with the SE and df found. alpha is `ALPHA / comparisons`, what the first step
    of Holm's procedure asks for: a promise that does not depend on how the other methods come out. Where others differ
    clearly, Holm asks for less, and somewhat smaller differences are resolved too.

    It is as uncertain as SE itself, and with two seeds no more than a hint. Simulated new experiments of three or five
    seeds resolve its typical value, the root mean square of what is printed, in 74 to 84 % (tests/test_simulation.py).
    """
    from scipy import stats

    alpha = ALPHA / max(comparisons, 1)
    return np.asarray((stats.t.isf(alpha / 2, found.freedom) + stats.t.isf(1 - POWER, found.freedom)) * found.standard_error)


def holm(p: Sequence[float]) -> list[float]:
    """The p of a family of comparisons, adjusted so that each can be held against `ALPHA` (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p, alpha=ALPHA, method="holm")[1]] if len(p) else []


def mcnemar(differences: npt.NDArray[np.integer[Any]]) -> tuple[int, int, float]:
    """McNemar's exact test of one seed, from differences [reviews] in {-1, 0, 1}.

    Returns how many reviews the method alone has right, how many the reference alone, and the two-sided p. It takes the
    reviews as all there is to chance: it says nothing of other seeds, so it describes and gives no verdict.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    method, reference = int((differences > 0).sum()), int((differences < 0).sum())
    # What both have right or both wrong does not enter the test.
    return method, reference, float(test([[0, method], [reference, 0]], exact=True).pvalue)
