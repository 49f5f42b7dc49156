"""Differences between methods: the numbers, and the verdicts on them."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.analysis import statistics
from bench.analysis.comparison import Group, compare
from bench.analysis.verdicts import Analysis, Paired, analyse, has_collapsed, worded
from bench.records.metrics import confusion
from bench.records.schema import Evaluation, Record, pack_bits, pack_classes
from tests.factories import LABELS, evaluation, run


def evaluated(correct: np.ndarray) -> Evaluation:
    """The test of a run that has these reviews [200] right, and no others."""
    predictions = np.where(correct.astype(bool), LABELS, 1 - LABELS)
    counts = confusion(LABELS, predictions)
    return evaluation(0, logits=False).model_copy(
        update={
            **counts.fields(), "accuracy_without_leaked": counts.accuracy,
            "predictions": pack_bits(predictions), "correct": pack_bits(correct),
        }
    )  # fmt: skip


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


def runs(method: str, correct: np.ndarray, seeds: list[int] | None = None) -> list[Record]:
    """A run a row of [seeds, 200]."""
    return [run(method, s, test=evaluated(row)) for s, row in zip(seeds or range(len(correct)), correct, strict=True)]


def table(*records: list[Record]) -> Group:
    (group,) = compare([record for part in records for record in part], "houlsby", ["houlsby"])
    return group


def paired(group: Group, method: str) -> Paired:
    found = next(row.paired for row in group.rows if row.method == method)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def some() -> np.ndarray:
    """Right or wrong of three methods, [methods, 4 seeds, 200 reviews]; the second a little and the third much worse."""
    rng = np.random.default_rng(0)
    level = np.array([0.85, 0.83, 0.7])[:, None, None] + rng.normal(0, 0.005, (3, 4, 1))
    easy = rng.random(200) < 0.6
    return (easy | (rng.random((3, 4, 200)) < (level - 0.6) / 0.4)).astype(np.uint8)


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


def test_verdicts(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0]), runs("lora", some[1]), runs("full", some[2]), runs("same", some[0]))
    lora, full, same = (paired(group, name) for name in ("lora", "full", "same"))
    assert (lora.verdict, full.verdict, same.verdict) == ("not resolved", "worse", "equivalent")
    assert (lora.seeds, len(lora.mcnemar)) == ([0, 1, 2, 3], 4)
    ps = [found.p for found in (full, lora, same)]
    assert [found.p_holm for found in (full, lora, same)] == pytest.approx(statistics.holm([p or 0 for p in ps]))
    assert (same.p, same.difference) == (1, 0)
    assert group.rows[0].paired is None
    other_way = compare([*runs("houlsby", some[0]), *runs("full", some[2])], "full", ["full"])[0]
    assert paired(other_way, "houlsby").verdict == "better"
    assert paired(other_way, "houlsby").difference == pytest.approx(-(full.difference or 0))
    for found in (lora, full):
        assert found.low is not None
        assert found.high is not None
        assert found.difference is not None
        assert found.low < found.difference < found.high
    assert full.mcnemar[0].only_method - full.mcnemar[0].only_reference == int(some[2, 0].sum()) - int(some[0, 0].sum())


def test_the_seed_variance_is_pooled_unless_the_methods_have_not_one() -> None:
    rng = np.random.default_rng(3)
    level = 0.8 + 0.005 * rng.standard_normal((4, 5, 1))
    right = (rng.random((4, 5, 200)) < level).astype(np.uint8)
    group = table(*(runs(name, rows) for name, rows in zip(("houlsby", "a", "b", "c"), right, strict=True)))
    assert group.pools
    assert {paired(group, name).freedom for name in "abc"} == {12}
    wild = right.copy()
    wild[3, ::2, :40] = 0
    apart = table(*(runs(name, rows) for name, rows in zip(("houlsby", "a", "b", "c"), wild, strict=True)))
    assert not apart.pools
    assert (apart.variance_p or 0) < 0.05
    assert {paired(apart, name).freedom for name in "abc"} == {4}


def test_a_small_difference_is_equivalent_within_a_large_margin(some: np.ndarray) -> None:
    records = [*runs("houlsby", some[0]), *runs("lora", some[1])]
    (wide,) = compare(records, "houlsby", ["houlsby"], margin=0.2)
    lora = paired(wide, "lora")
    assert (lora.verdict, worded(lora)) == ("equivalent", "equivalent within 20 points")
    assert (lora.p_equivalence or 1) <= 0.05
    assert paired(table(records), "lora").verdict == "not resolved"


def test_more_methods_make_a_verdict_harder(some: np.ndarray) -> None:
    alone = table(runs("houlsby", some[0]), runs("lora", some[1]))
    more = table(runs("houlsby", some[0]), runs("lora", some[1]), runs("a", some[1]), runs("b", some[0]))
    assert paired(alone, "lora").p == paired(alone, "lora").p_holm
    lora = paired(more, "lora")
    assert (lora.p_holm or 0) > (lora.p or 0)
    freedom, error = lora.freedom or 0, lora.standard_error or 0
    assert statistics.detectable(error, freedom, 3) > statistics.detectable(error, freedom, 1)
    assert alone.detectable is not None


def test_all_pairs_are_a_family_of_their_own(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0]), runs("lora", some[1]), runs("full", some[2]))
    found = {(method, other): paired for method, other, paired in group.pairs}
    assert set(found) == {("full", "houlsby"), ("lora", "houlsby"), ("lora", "full")}
    ps = [pair.p or 0 for pair in found.values()]
    assert [pair.p_holm for pair in found.values()] == pytest.approx(statistics.holm(ps))
    (without,) = compare([*runs("lora", some[1]), *runs("full", some[2])], "houlsby", ["houlsby"])
    assert without.reference is None
    assert len(without.pairs) == 1
    assert without.detectable is None


def test_one_seed_has_no_interval_and_two_are_too_few_for_a_verdict(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0, :1]), runs("full", some[2, :1]))
    full = paired(group, "full")
    assert (full.verdict, full.low, full.high, full.standard_error, full.p, full.p_holm) == ("one seed", *[None] * 5)
    assert full.difference == pytest.approx(some[2, 0].mean() - some[0, 0].mean())
    assert full.unconditional is None
    assert full.mcnemar[0].p < 0.001
    assert (group.rows[0].accuracy_half_width, group.detectable) == (None, None)
    found = paired(table(runs("houlsby", some[0, :2]), runs("full", some[2, :2])), "full")
    assert (found.verdict, found.freedom, found.p) == ("too few seeds", 1, None)
    assert found.low is not None


def with_collapse(correct: np.ndarray, *seeds: int) -> np.ndarray:
    fallen = correct.copy()
    fallen[list(seeds)] = LABELS == 1
    return fallen


def test_collapsed_seeds_count_in_the_means_and_not_in_the_verdict(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0]), runs("lora", with_collapse(some[1], 2)), runs("full", some[2]))
    row = next(row for row in group.rows if row.method == "lora")
    lora = paired(group, "lora")
    assert (row.collapsed, lora.seeds, lora.collapsed, lora.verdict) == ([2], [0, 1, 3], [2], "not resolved")
    assert row.accuracy == pytest.approx(with_collapse(some[1], 2).mean())
    assert row.accuracy_half_width is None
    assert lora.difference == pytest.approx(some[1, [0, 1, 3]].mean() - some[0, [0, 1, 3]].mean())
    assert lora.unconditional
    assert lora.unconditional.difference == pytest.approx(row.accuracy_difference)
    assert (lora.unconditional.verdict, lora.unconditional.seeds) == ("too few seeds", 4)
    assert paired(group, "full").collapsed == []
    two = paired(table(runs("houlsby", some[0]), runs("lora", with_collapse(some[1], 2, 3))), "lora")
    assert (two.verdict, two.seeds) == ("too few seeds", [0, 1])
    none = paired(table(runs("houlsby", some[0]), runs("lora", with_collapse(some[1], 0, 1, 2, 3))), "lora")
    assert (none.verdict, none.difference) == ("too few seeds", None)


def test_many_seeds_have_an_unconditional_verdict() -> None:
    rng = np.random.default_rng(5)
    right = (rng.random((2, 8, 200)) < np.array([0.9, 0.7])[:, None, None]).astype(np.uint8)
    found = paired(table(runs("houlsby", right[0]), runs("lora", with_collapse(right[1], 4))), "lora")
    assert found.unconditional
    assert (found.verdict, found.unconditional.verdict) == ("worse", "worse")
    assert found.unconditional.p == found.unconditional.p_holm >= 2 / 2**8


def test_other_seeds_are_never_averaged_away(some: np.ndarray) -> None:
    group = table(
        runs("houlsby", some[0, :3]),
        runs("few", some[2, :2]),
        runs("more", some[1]),
        runs("other", some[1, :1], [9]),
        runs("lora", some[1, :3]),
    )
    few, more, other, lora = (paired(group, name) for name in ("few", "more", "other", "lora"))
    assert [found.verdict for found in (few, more, other)] == ["incomplete"] * 3
    assert (few.seeds, few.lacking, more.extra, other.seeds, other.lacking) == ([0, 1], [2], [3], [], [0, 1, 2])
    assert few.difference == pytest.approx(some[2, :2].mean() - some[0, :2].mean())
    assert (few.p, few.p_holm, few.unconditional) == (None, None, None)
    assert few.low is not None
    assert (other.difference, other.low) == (None, None)
    # They are no part of the family either: the one method with the reference's seeds has its plain p.
    assert lora.p is not None
    assert lora.p == lora.p_holm


@pytest.mark.parametrize(
    "damage",
    [{"correct": "!"}, {"predictions": pack_bits([1] * 8)}, {"tp": 0}, {"predictions": pack_bits(1 - LABELS)}],
    ids=["no base64", "too short", "other counts", "other labels"],
)
def test_predictions_that_fit_nothing_are_left_out(some: np.ndarray, damage: dict[str, Any]) -> None:
    records = runs("lora", some[1])
    assert records[1].test is not None
    records[1] = records[1].model_copy(update={"test": records[1].test.model_copy(update=damage)})
    lora = paired(table(runs("houlsby", some[0]), records), "lora")
    assert (lora.verdict, lora.seeds, lora.unusable) == ("incomplete", [0, 2, 3], [1])
    assert lora.difference == pytest.approx(some[1, [0, 2, 3]].mean() - some[0, [0, 2, 3]].mean())


def test_reviews_in_another_order_are_other_reviews(some: np.ndarray) -> None:
    records = runs("lora", some[1])
    turned = evaluated(some[1, 2])
    bits = np.roll(np.where(some[1, 2] == 1, LABELS, 1 - LABELS), 1)
    moved = {"predictions": pack_bits(bits), "correct": pack_bits(np.roll(some[1, 2], 1))}
    records[2] = records[2].model_copy(update={"test": turned.model_copy(update=moved)})
    assert paired(table(runs("houlsby", some[0]), records), "lora").unusable == [2]


def test_the_spread_of_an_accuracy(some: np.ndarray) -> None:
    row = table(runs("houlsby", some[0])).rows[0]
    values = some[0].mean(1)
    assert row.accuracy_deviation == pytest.approx(values.std(ddof=1))
    assert row.accuracy_half_width == pytest.approx(stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2)
