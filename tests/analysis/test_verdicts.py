"""Verdicts on differences: what is called better, equivalent or not resolved, and what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.analysis import statistics
from bench.analysis.comparison import compare
from bench.analysis.verdicts import worded
from bench.records.schema import pack_bits
from tests.analysis.experiments import evaluated, paired, runs, table
from tests.factories import LABELS


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
