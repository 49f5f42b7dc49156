"""Budgets side by side: which groups form a sweep, where a difference changes its sign, and what may be said of it."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats

from bench.analysis.budget_sweep import Crossing, Sweep, sweeps
from bench.analysis.statistics import mean_half_width
from bench.records.schema import Record
from bench.records.spec import Budget
from bench.report.tables import budgets
from bench.report.tables.table import Section
from tests.factories import counted, ended, groups, run, shared


def at(
    amount: float, method: str = "houlsby", seed: int = 0, wrong: int = 20, *, unit: str = "seconds", **fields: Any
) -> Record:
    spec = {"budget": Budget(amount=amount, unit=unit), **fields.pop("spec", {})}  # type: ignore[arg-type]
    return run(method, seed, wrong, spec=spec, **fields)


def found(*records: Record) -> list[Sweep]:
    return sweeps(groups(*records))


def one(*records: Record) -> Sweep:
    (sweep,) = found(*records)
    return sweep


def series(method: str, *wrong: int, seeds: int = 1, first: float = 15) -> list[Record]:
    """A method at 15, 60, 240 … s with so many wrong predictions at each."""
    return [at(first * 4**i, method, seed, w) for i, w in enumerate(wrong) for seed in range(seeds)]


# Which groups


def test_groups_that_differ_in_the_amount_alone_are_a_sweep_in_its_order() -> None:
    sweep = one(at(240), at(60), at(15), at(60, "lora"))
    assert [budget.amount for budget in sweep.budgets] == [15, 60, 240]
    assert [line.label for line in sweep.lines] == ["houlsby", "lora"]
    assert [row is None for row in sweep.lines[1].rows] == [True, False, True]


def test_other_units_and_other_settings_are_other_sweeps() -> None:
    assert found(at(60), at(60, unit="steps")) == []
    assert found(at(60), at(240, spec={"max_length": 256})) == []
    assert found(at(60), at(240, rules_version=2)) == []
    two = found(at(60), at(240), at(60, unit="steps"), at(120, unit="steps"))
    assert sorted(sweep.budgets[0].unit for sweep in two) == ["seconds", "steps"]


def test_a_method_in_two_settings_has_two_lines_and_settings_that_change_are_said() -> None:
    fast = {"hyperparameters": {"learning_rate": 0.003}}
    sweep = one(at(15), at(60), at(15, "lora"), at(15, "lora", spec=fast), at(60, "lora", spec=fast))
    assert [line.label for line in sweep.lines] == ["houlsby", "lora (learning_rate 0.001)", "lora (learning_rate 0.003)"]
    assert [[row is None for row in line.rows] for line in sweep.lines[1:]] == [[False, True], [False, False]]
    sweep = one(at(15), at(60), at(15, "lora"), at(60, "lora", spec=fast))
    assert [line.label for line in sweep.lines] == ["houlsby", "lora"]
    notes = budgets.sections(sweep)[0].notes
    (note,) = (note for note in notes if note.kind == "settings")
    assert note.where == ("lora",)
    assert note.text.endswith("lora learning_rate 0.001, 0.003.")


# Crossings


def test_a_crossing_is_interpolated_in_the_logarithm() -> None:
    # From -1 to +1 the zero is the geometric middle of 15 and 60; from -1 to +3 it is a quarter of the way in logarithms.
    for below, above, differences, zero in ((15, 60, (-1, 1), 30), (1, 16, (-1, 3), 2), (1, 16, (3, -1), 8)):
        both = Budget(amount=below, unit="seconds"), Budget(amount=above, unit="seconds")
        assert Crossing("lora", *both, differences, (True, True)).at == pytest.approx(zero)


@pytest.mark.parametrize(
    ("wrong", "between"),
    [
        ((60, 0), [(15, 60)]),
        ((0, 60), [(15, 60)]),
        ((60, 60, 0), [(60, 240)]),
        ((60, 0, 60), [(15, 60), (60, 240)]),
        ((60, 50, 40), []),
        ((60, 30, 0), [(15, 240)]),  # at 60 s the difference is zero, which has no sign
        ((60, 30, 60), []),
        ((30, 30, 30), []),
    ],
)
def test_where_a_difference_changes_its_sign(wrong: tuple[int, ...], between: list[tuple[int, int]]) -> None:
    sweep = one(*series("houlsby", *[30] * len(wrong)), *series("lora", *wrong))
    assert [(crossing.below.amount, crossing.above.amount) for crossing in sweep.crossings] == between
    assert {crossing.label for crossing in sweep.crossings} <= {"lora"}


@pytest.mark.parametrize(
    ("houlsby", "lora", "seeds", "resolved"), [((30, 30), (90, 0), 1, (False, False)), ((40, 40), (70, 39), 3, (True, False))]
)
def test_a_crossing_with_a_side_that_is_not_resolved_is_not_claimed(
    houlsby: tuple[int, ...], lora: tuple[int, ...], seeds: int, resolved: tuple[bool, bool]
) -> None:
    sweep = one(*series("houlsby", *houlsby, seeds=seeds), *series("lora", *lora, seeds=seeds))
    (crossing,) = sweep.crossings
    assert (crossing.resolved, crossing.at) == (resolved, None)
    note = budgets.sections(sweep)[1].notes[0]
    assert (note.kind, note.where) == ("sign", ("lora",))


def test_a_crossing_is_claimed_where_both_sides_are_resolved_and_none_is_said_too() -> None:
    sweep = one(*series("houlsby", 35, 35, seeds=3), *series("lora", 70, 0, seeds=3), *series("full", 0, 0, seeds=3))
    (crossing,) = sweep.crossings
    assert crossing.differences == (pytest.approx(-0.175), pytest.approx(0.175))
    assert (crossing.resolved, crossing.at) == ((True, True), pytest.approx(30))
    note = budgets.sections(sweep)[1].notes[0]
    assert note.text == "lora is below houlsby at 15 s and above it at 60 s: they cross at about 30 s."
    sweep = one(*series("houlsby", 40, 40), *series("lora", 80, 80))
    assert budgets.sections(sweep)[1].notes[0].text == "No difference changes its sign between two budgets."


def test_a_budget_without_the_reference_has_no_difference() -> None:
    sweep = one(
        *series("lora", 40, 40, 40), at(15), ended("houlsby", "failed", spec={"budget": Budget(amount=60, unit="seconds")})
    )
    accuracy, beside = budgets.sections(sweep)
    assert rows(accuracy)["lora"] == ["80.00", "80.00", "80.00"]
    assert rows(accuracy)["houlsby"] == ["90.00", "–", "–"]
    assert rows(beside) == {"lora": ["-10.00 (one seed)", "–", "–"]}
    (alone,) = budgets.sections(one(*series("lora", 40, 40)))
    assert rows(alone) == {"lora": ["80.00", "80.00"]}


def rows(section: Section) -> dict[str, list[str]]:
    return {row[0]: [cell.replace("\n", " ") for cell in row[1:]] for row in section.rows}


# Tables


def test_accuracies_have_their_interval_over_seeds() -> None:
    sweep = one(*(at(amount, seed=seed, wrong=20 + 2 * seed) for amount in (15, 60) for seed in range(3)), at(60, "lora"))
    half = 4.302653 * 0.01 / 3**0.5
    assert rows(budgets.sections(sweep)[0])["houlsby"] == [f"89.00 ±{100 * half:.2f}"] * 2
    assert rows(budgets.sections(sweep)[0])["lora"] == ["–", "90.00"]
    data = budgets.as_json(sweep)["methods"]
    assert isinstance(data, list)
    assert data[0]["accuracy_half_width"] == pytest.approx([half, half])
    assert data[1]["accuracy"] == [None, pytest.approx(0.9)]


def test_a_budget_of_reviews_is_seen_the_second_way() -> None:
    seconds = run().seconds
    assert seconds
    slow = seconds.model_copy(update={"charged": 128.0})
    (group,) = groups(at(1, unit="epochs"), at(1, "full", unit="epochs", seconds=slow))
    (section,) = budgets.equal_reviews(group)
    assert section.title.startswith("Equal reviews for every method · minilm on embedded-v1 · budget 1 epoch")
    assert rows(section)["full"] == ["90.00", "+0.00 (one seed)", "1,600", "128.0", "2.00"]
    assert rows(section)["houlsby"] == ["90.00", "ref.", "1,600", "64.0", "1.00"]
    assert [note.kind for note in section.notes] == ["equal"]
    # A run that took far longer than its calibration expects was not alone on its device: no seconds are compared.
    late = seconds.model_copy(update={"charged": 90.0})
    found = groups(shared(seconds=late), counted("full", seconds=seconds))
    (plain,) = (group for group in found if "reference" not in group.key.budget)
    (section,) = budgets.equal_reviews(plain)
    assert plain.shared
    assert section.headers[-1] == "reviews\ntrained on"


def test_the_second_view_is_of_budgets_of_reviews_and_tokens_alone() -> None:
    (timed,) = groups(run())
    (tokens,) = groups(at(1000, unit="tokens"))
    (failed,) = groups(ended("houlsby", "failed", spec={"budget": Budget(amount=9, unit="steps")}))
    assert budgets.equal_reviews(timed) == []
    assert budgets.equal_reviews(failed) == []
    (section,) = budgets.equal_reviews(tokens)
    assert section.title.startswith("Equal tokens")


# Intervals


def test_the_interval_of_a_mean() -> None:
    values = [0.8, 0.9, 0.7, 0.85]
    low, high = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert mean_half_width(values) == pytest.approx((high - low) / 2)
    assert mean_half_width([0.5]) is None
    assert mean_half_width([0.5, 0.5]) == 0
