"""Differences against the reference: the numbers, the verdicts, and the cache that keeps the report quick."""

from __future__ import annotations

import json
import math
import statistics as plain
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench import statistics, verdicts
from bench.comparison import Group, compare
from bench.record import Evaluation, Record, pack_bits
from bench.scoring import confusion
from bench.store import save
from bench.verdicts import Paired
from tests.records import LABELS, evaluation, run


def evaluated(correct: np.ndarray) -> Evaluation:
    """The test of a run that has these reviews [200] right, and no others."""
    predictions = np.where(correct.astype(bool), LABELS, 1 - LABELS)
    counts = confusion(LABELS, predictions)
    return evaluation(0, logits=False).model_copy(
        update={
            "tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn, "accuracy": counts.accuracy,
            "precision": counts.precision, "recall": counts.recall, "f1": counts.f1, "accuracy_without_leaked": counts.accuracy,
            "predictions": pack_bits(predictions), "correct": pack_bits(correct),
        }
    )  # fmt: skip


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
    level = np.array([0.85, 0.83, 0.6])[:, None, None] + rng.normal(0, 0.005, (3, 4, 1))
    easy = rng.random(200) < 0.6
    return (easy | (rng.random((3, 4, 200)) < (level - 0.6) / 0.4)).astype(np.uint8)


def test_the_statistics_are_those_of_their_definition(some: np.ndarray) -> None:
    differences = some[1].astype(int) - some[0]
    found = statistics.two_way(differences)
    of_seeds = plain.variance(differences.mean(1).tolist()) / 4
    of_reviews = plain.variance(differences.mean(0).tolist()) / 200
    error = math.sqrt(of_seeds + of_reviews)
    freedom = (of_seeds + of_reviews) / (of_seeds / 3 + of_reviews / 199)
    assert found.difference == pytest.approx(differences.mean())
    assert found.standard_error == pytest.approx(error)
    assert found.freedom == pytest.approx(freedom)
    assert 3 <= freedom <= 202
    assert found.p == pytest.approx(2 * stats.t.cdf(-abs(differences.mean()) / error, freedom))
    assert statistics.half_width(found) == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    for comparisons, alpha in ((1, 0.05), (4, 0.0125)):
        wanted = (stats.t.ppf(1 - alpha / 2, freedom) + stats.t.ppf(0.8, freedom)) * error
        assert statistics.resolvable(found, comparisons) == pytest.approx(wanted)


def test_an_interval_and_its_p_agree(some: np.ndarray) -> None:
    found = statistics.two_way(some[1:].astype(int) - some[0])
    outside = np.abs(found.difference) > statistics.half_width(found)
    assert outside.tolist() == (found.p < 0.05).tolist() == [False, True]


def test_a_batch_is_its_members(some: np.ndarray) -> None:
    differences = some[1:].astype(np.int8) - some[0].astype(np.int8)
    batch = statistics.two_way(differences)
    for i, own in enumerate(differences):
        alone = statistics.two_way(own)
        for name in ("difference", "standard_error", "freedom", "p"):
            assert getattr(batch, name)[i] == pytest.approx(float(getattr(alone, name)), rel=1e-12)


@pytest.mark.parametrize(
    ("differences", "p"),
    [(np.zeros((3, 50)), 1), (np.ones((3, 50)), 0), (-np.ones((2, 50)), 0), (np.zeros((2, 50)), 1)],
    ids=["equal", "always right", "always wrong", "equal on two seeds"],
)
def test_no_spread_at_all(differences: np.ndarray, p: float) -> None:
    found = statistics.two_way(differences.astype(np.int8))
    assert (float(found.standard_error), float(found.p)) == (0, p)
    assert float(statistics.half_width(found)) == 0


def test_opposite_seeds_and_opposite_reviews_are_no_difference() -> None:
    found = statistics.two_way(np.array([[1, -1, 1, -1], [-1, 1, -1, 1], [0, 0, 0, 0]]))
    assert (float(found.difference), float(found.p)) == (0, 1)


def test_few_seeds() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-1, 2, (2, 100))
    one, two = statistics.two_way(differences[:1]), statistics.two_way(differences)
    assert math.isnan(one.p)
    assert (one.freedom, two.freedom) == (99, 1)
    assert one.standard_error == pytest.approx(differences[0].std(ddof=1) / 10)
    for shape in ((0, 10), (3, 1)):
        with pytest.raises(ValueError, match="too few to compare"):
            statistics.two_way(np.zeros(shape, dtype=np.int8))


def test_holm() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


def test_mcnemar_is_exact() -> None:
    assert statistics.mcnemar(np.array([1] * 8 + [-1] * 2 + [0] * 90)) == (8, 2, pytest.approx(stats.binomtest(2, 10).pvalue))
    assert statistics.mcnemar(np.zeros(9, dtype=int)) == (0, 0, 1)


def test_verdicts(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0]), runs("lora", some[1]), runs("full", some[2]), runs("same", some[0]))
    lora, full, same = (paired(group, name) for name in ("lora", "full", "same"))
    assert (lora.verdict, full.verdict, same.verdict) == ("tied", "worse", "tied")
    assert (lora.covers, lora.seeds, len(lora.mcnemar)) == ("seeds and reviews", [0, 1, 2, 3], 4)
    ps = [found.p for found in (full, lora, same)]
    assert [found.p_holm for found in (full, lora, same)] == pytest.approx(statistics.holm([p or 0 for p in ps]))
    assert same.p == 1
    assert (same.difference, same.low, same.high, same.resolvable) == (0, 0, 0, None)
    assert group.rows[0].paired is None
    other_way = compare([*runs("houlsby", some[0]), *runs("full", some[2])], "full", ["full"])[0]
    assert paired(other_way, "houlsby").verdict == "better"
    assert paired(other_way, "houlsby").difference == pytest.approx(-(full.difference or 0))
    for found in (lora, full):
        assert found.low is not None
        assert found.high is not None
        assert found.difference is not None
        assert found.low < found.difference < found.high
        assert found.mcnemar[0].only_method - found.mcnemar[0].only_reference == round(
            200 * (group.rows[[r.method for r in group.rows].index("full" if found is full else "lora")].runs[0].test.accuracy
                   - group.rows[0].runs[0].test.accuracy)
        )  # fmt: skip


def test_more_methods_make_a_verdict_harder(some: np.ndarray) -> None:
    alone = paired(table(runs("houlsby", some[0]), runs("lora", some[1])), "lora")
    more = paired(table(runs("houlsby", some[0]), runs("lora", some[1]), runs("a", some[2]), runs("b", some[2])), "lora")
    assert alone.p == alone.p_holm == more.p
    assert alone.resolvable is not None
    assert more.resolvable is not None
    assert more.resolvable > alone.resolvable


def test_one_seed_has_no_verdict(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0, :1]), runs("full", some[2, :1]))
    full = paired(group, "full")
    assert (full.verdict, full.covers, full.p, full.p_holm, full.resolvable) == ("one seed", "reviews of one seed", *[None] * 3)
    assert full.high is not None
    assert full.high < 0
    assert full.mcnemar[0].p < 0.001
    assert group.rows[0].accuracy_half_width is None


def test_two_seeds_resolve_only_what_is_large(some: np.ndarray) -> None:
    group = table(runs("houlsby", some[0, :2]), runs("lora", some[1, :2]), runs("full", some[2, :2] & (np.arange(200) % 2)))
    assert [paired(group, name).freedom for name in ("lora", "full")] == [1, 1]
    assert paired(group, "lora").verdict == "tied"


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
    assert (few.p, few.p_holm, few.resolvable) == (None, None, None)
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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "statistics"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each computation."""
    calls: list[int] = []
    compute = verdicts._compute
    monkeypatch.setattr(verdicts, "_compute", lambda *given: calls.append(1) or compute(*given))
    return calls


def test_the_cache_returns_what_was_computed(cache: Path, some: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    records = [runs("houlsby", some[0]), runs("lora", some[1])]
    first, again = paired(table(*records), "lora"), paired(table(*records), "lora")
    assert len(calls) == 1
    assert again == first
    assert len(list(cache.iterdir())) == 1


def test_other_predictions_are_computed_anew(cache: Path, some: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    changed = some[1].copy()
    changed[3, 7] ^= 1
    for correct, seeds in ((some[1], None), (changed, None), (some[1], [0, 1, 2, 5])):
        table(runs("houlsby", some[0]), runs("lora", correct, seeds))
    assert len(calls) == 3
    monkeypatch.setattr(verdicts, "_FORMULAS", 0)
    table(runs("houlsby", some[0]), runs("lora", some[1]))
    assert len(calls) == 4


@pytest.mark.parametrize("damaged", [b"", b"[]", b'[{"verdict": "best"}]', b"\xff\x00", b'[{"seeds": NaN}]'])
def test_a_damaged_cache_is_computed_again(cache: Path, some: np.ndarray, damaged: bytes) -> None:
    records = [runs("houlsby", some[0]), runs("lora", some[1])]
    first = paired(table(*records), "lora")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damaged)
    assert paired(table(*records), "lora") == first
    assert file.read_bytes() == whole


def test_without_a_cache(some: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path / "file"))
    assert paired(table(runs("houlsby", some[0]), runs("full", some[2])), "full").verdict == "worse"
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))
    (tmp_path / "statistics").write_text("")
    assert paired(table(runs("houlsby", some[0]), runs("full", some[2])), "full").verdict == "worse"


def test_a_report_from_the_cache_imports_no_statistics(cache: Path, some: np.ndarray, tmp_path: Path) -> None:
    for record in (*runs("houlsby", some[0]), *runs("lora", some[1])):
        save(tmp_path / "runs", record)
    script = (
        "import json, sys; from pathlib import Path; from bench.report import render\n"
        "text = render(Path(sys.argv[1]), reference='houlsby', style='json')\n"
        "print(json.dumps([text, sorted({'scipy', 'statsmodels', 'pandas', 'torch'} & sys.modules.keys())]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "runs")]
    (cold, needed), (warm, kept) = (
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout) for _ in range(2)
    )
    assert cold == warm
    assert {"scipy", "statsmodels"} <= set(needed)
    assert kept == []
