"""Differences between methods: moments, variances, tests and intervals, against libraries and by hand."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bench.analysis import statistics
from bench.analysis.verdicts import Analysis, analyse, has_collapsed
from bench.records.metrics import confusion
from bench.records.schema import Evaluation, pack_bits, pack_classes
from tests.analysis.experiments import evaluated
from tests.factories import LABELS, run


def of_four_classes(correct: np.ndarray) -> Evaluation:
    """The same of a test of four classes, whose wrong predictions are the next class."""
    labels = np.arange(200) % 4
    predictions = np.where(correct.astype(bool), labels, (labels + 1) % 4)
    counts = confusion(labels, predictions, 4)
    return Evaluation(
        reviews=200, **counts.fields(), leaked=[], accuracy_without_leaked=counts.accuracy,
        predictions=pack_classes(predictions, 4), labels=pack_classes(labels, 4), correct=pack_bits(correct),
    )  # fmt: skip


def test_verdicts_depend_on_what_is_right_and_not_on_the_number_of_classes() -> None:
    rng = np.random.default_rng(0)
    better, worse = rng.random((4, 200)) < 0.95, rng.random((4, 200)) < 0.7

    def analysis(test_of: Callable[[np.ndarray], Evaluation]) -> Analysis:
        both = {"houlsby": worse, "lora": better}
        return analyse([[run(name, seed, test=test_of(row)) for seed, row in enumerate(rows)] for name, rows in both.items()])

    four = analysis(of_four_classes)
    assert four == analysis(evaluated)
    assert four.against_first[0].verdict == "better"
    assert len(four.against_first[0].mcnemar) == 4
    assert not has_collapsed(of_four_classes(rng.random(200) < 0.4)), "chance is a quarter"
    assert has_collapsed(of_four_classes(rng.random(200) < 0.25))


def test_the_moments_are_those_of_their_definition(some: np.ndarray) -> None:
    differences = some[1].astype(int) - some[0]
    found = statistics.moments(differences)
    by_seed, by_text = differences.mean(1), differences.mean(0)
    rest = differences - by_seed[:, None] - by_text + differences.mean()
    assert found.difference == pytest.approx(differences.mean())
    assert found.text_variance == pytest.approx(plain.variance(by_text.tolist()) / 200)
    assert found.seed_variance == pytest.approx(plain.variance(by_seed.tolist()) - (rest**2).sum() / (3 * 199) / 200)
    assert (statistics.two_way(found).freedom, found.seeds, found.texts) == (3, 4, 200)


def test_a_comparison_by_hand(some: np.ndarray) -> None:
    found = statistics.moments(some[2].astype(int) - some[0])
    tested = statistics.two_way(found, statistics.SeedVariance(0.0004, 9))
    error = math.sqrt(0.0004 / 4 + found.text_variance)
    t = abs(found.difference) / error
    assert (tested.standard_error, tested.freedom) == (pytest.approx(error), 9)
    assert tested.p == pytest.approx(2 * stats.t.sf(t, 9))
    assert statistics.half_width(tested) == pytest.approx(stats.t.ppf(0.975, 9) * error)
    inside = (0.2 - abs(found.difference)) / error
    assert statistics.equivalence_p(tested, 0.2) == pytest.approx(stats.t.sf(inside, 9))
    # A variance that chance made negative is none.
    assert statistics.two_way(found, statistics.SeedVariance(-1.0, 9)).standard_error == math.sqrt(found.text_variance)


@pytest.mark.parametrize(("freedom", "comparisons"), [(2, 1), (8, 4), (36, 10)])
def test_the_detectable_difference_has_its_power(freedom: int, comparisons: int) -> None:
    shift, critical = statistics.detectable(1.0, freedom, comparisons), stats.t.isf(0.025 / comparisons, freedom)
    assert stats.nct.sf(critical, freedom, shift) == pytest.approx(0.8, abs=1e-6)
    assert statistics.detectable(0.01, freedom, comparisons) == pytest.approx(0.01 * shift)


def test_the_pooled_variance_is_twice_the_mean_square_of_methods_times_seeds() -> None:
    rng = np.random.default_rng(1)
    right = (rng.random((4, 5, 400)) < 0.8 + rng.normal(0, 0.03, (4, 5, 1))).astype(int)
    pairs = {(i, j): statistics.moments(right[j] - right[i]) for i in range(4) for j in range(i + 1, 4)}
    accuracy = right.mean(2)
    residual = accuracy - accuracy.mean(0) - accuracy.mean(1, keepdims=True) + accuracy.mean()
    rest = np.mean([of.text_variance for of in pairs.values()])
    found = statistics.pooled(pairs, np.ones((4, 5), dtype=bool))
    assert found.freedom == pytest.approx(12)
    # But for what single predictions add, which is taken off each pair.
    assert 0 < 2 * (residual**2).sum() / 12 - found.value < 5 * rest
    fewer = np.ones((4, 5), dtype=bool)
    fewer[1, :2] = False
    shared = {key: statistics.moments((right[key[1]] - right[key[0]])[2 * (1 in key) :]) for key in pairs}
    assert 9 < statistics.pooled(shared, fewer).freedom <= 10 + 1e-9
    assert statistics.pooled({}, np.ones((1, 3), dtype=bool)).freedom == 0


def test_the_check_of_one_variance_is_bartletts() -> None:
    groups = [[0.8, 0.81, 0.83], [0.7, 0.75, 0.71, 0.72], [0.9, 0.901, 0.902]]
    assert statistics.bartlett(groups) == pytest.approx(stats.bartlett(*groups).pvalue)
    assert statistics.bartlett(groups[:2]) is None
    assert statistics.bartlett([*groups[:2], [0.5]]) is None
    assert statistics.bartlett([[0.5, 0.5]] * 3) == 1
    assert statistics.bartlett([[0.5, 0.5]] * 2 + [[0.5, 0.6]]) == 0


@pytest.mark.parametrize(
    ("differences", "p"),
    [(np.zeros((3, 50)), 1), (np.ones((3, 50)), 0), (-np.ones((2, 50)), 0), (np.zeros((2, 50)), 1)],
    ids=["equal", "always right", "always wrong", "equal on two seeds"],
)
def test_no_spread_at_all(differences: np.ndarray, p: float) -> None:
    found = statistics.two_way(statistics.moments(differences.astype(np.int8)))
    assert (found.standard_error, found.p) == (0, p)
    assert statistics.half_width(found) == 0
    assert statistics.equivalence_p(found, 0.5) == 1 - p


def test_few_seeds() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-1, 2, (2, 100))
    one, two = (statistics.two_way(statistics.moments(part)) for part in (differences[:1], differences))
    assert math.isnan(one.p)
    assert two.freedom == 1
    assert statistics.two_way(statistics.moments(differences), statistics.SeedVariance(1e-4, 9)).freedom == 1
    assert one.standard_error == pytest.approx(differences[0].std(ddof=1) / 10)


def test_holm_and_mcnemar_are_those_of_a_library() -> None:
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for count in (1, 2, 7):
        p = rng.random(count) ** 3
        assert statistics.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])
    assert statistics.holm([]) == []
    for differences in rng.integers(-1, 2, (5, 60)):
        b, c, p = statistics.mcnemar(differences)
        assert (b, c) == ((differences > 0).sum(), (differences < 0).sum())
        assert p == pytest.approx(mcnemar([[0, b], [c, 0]], exact=True).pvalue)
    assert statistics.mcnemar(np.zeros(9, dtype=int)) == (0, 0, 1)


def test_sign_flips_are_exact_for_few_seeds() -> None:
    means = np.array([0.02, 0.01, 0.03, -0.005])
    wanted = stats.permutation_test((means,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert statistics.sign_flip(means, 0.0) == pytest.approx(wanted)
    assert statistics.sign_flip(np.full(8, 0.1), 0.0) == 2 / 2**8
    assert statistics.sign_flip(np.full(8, 0.01), 0.01**2) > 0.2  # other texts alone could move all seeds by as much
    assert statistics.sign_flip(np.full(20, 0.1), 1e-9) == pytest.approx(1 / 20_000)
    assert statistics.sign_flip(np.zeros(5), 0.0) == 1
    assert [statistics.permutation_attainable(seeds, 4) for seeds in (7, 8)] == [False, True]
    assert [statistics.permutation_attainable(seeds, 1) for seeds in (5, 6)] == [False, True]


def test_collapse_is_no_better_than_the_most_frequent_class() -> None:
    for texts, majority in ((200, 0.5), (2000, 0.5), (25_000, 0.5), (300, 0.4)):
        least = next(k for k in range(texts) if stats.binom.sf(k - 1, texts, majority) <= 0.001)
        assert statistics.collapsed(least - 1, texts, majority)
        assert not statistics.collapsed(least, texts, majority)
    assert statistics.collapsed(0, 10, 0.5)
    assert has_collapsed(evaluated(LABELS == 1))
    assert not has_collapsed(evaluated(np.ones(200)))


def test_the_interval_of_a_rate() -> None:
    for cases, of in ((0, 10), (2, 10), (10, 10)):
        low, high = stats.binomtest(cases, of).proportion_ci(0.95, method="exact")
        assert statistics.clopper_pearson(cases, of) == pytest.approx((low, high))
