"""Tuning: what is tried, and what is chosen from it."""

from __future__ import annotations

import pytest

import methods
from bench.analysis.tuning import Decision, choose, decide, extension, one_more_rate, rates, tried, validation_accuracy
from bench.records.schema import Record, Trial
from bench.records.spec import Budget, tuning_seeds
from bench.report.tables.formatting import choice_line, run_line
from bench.rules import TUNING_SEED
from bench.system.errors import SpecError
from tests.analysis.experiments import trial
from tests.factories import run

DEFAULT = 1e-3


def paired(*records: Record) -> list[tuple[Budget, Record]]:
    """Trials with their budgets."""
    return [(record.spec.budget, record) for record in records]


def test_the_default_is_tried_first_and_then_its_neighbours() -> None:
    low, default, high = methods.get("head-only").learning_rates
    assert rates("head-only", 2) == [default, low]
    assert rates("head-only", 3) == [default, low, high]
    for name in methods.names():
        method = methods.get(name)
        assert rates(name, 3) == [method.learning_rate, *(r for r in method.learning_rates if r != method.learning_rate)]


@pytest.mark.parametrize(
    ("learning_rates", "learning_rate", "tried"),
    [
        ((1, 2, 3, 4, 5), 4, [4, 3, 5, 2, 1]),
        ((3, 1, 2), 1, [1, 2, 3]),
        ((1, 3), 2, [2, 1, 3]),
    ],
)
def test_any_grid_and_default(
    monkeypatch: pytest.MonkeyPatch, learning_rates: tuple[float, ...], learning_rate: float, tried: list[float]
) -> None:
    lora = type(methods.get("lora"))
    monkeypatch.setattr(lora, "learning_rates", learning_rates)
    monkeypatch.setitem(methods.base.registered, "lora", lora(learning_rate=learning_rate))
    assert rates("lora", len(tried)) == tried
    assert rates("lora", 2) == tried[:2]
    with pytest.raises(SpecError, match=f"more than the {len(tried)} learning rates that lora declares"):
        rates("lora", len(tried) + 1)


SECOND = {"seed": TUNING_SEED - 1}


@pytest.mark.parametrize(
    ("trials", "rate"),
    [
        ([trial(1e-3, 0.8), trial(3e-3, 0.9), trial(3e-4, 0.7)], 3e-3),
        ([trial(1e-3, 0.8), trial(3e-3, 0.9), trial(1e-3, 0.9, **SECOND), trial(3e-3, 0.7, **SECOND)], 1e-3),
        ([trial(3e-3, 0.8), trial(1e-3, 0.8), trial(3e-4, 0.8)], 1e-3),
        ([trial(1e-3, 0.7), trial(3e-3, 0.8), trial(3e-4, 0.8)], 3e-4),
        ([trial(1e-3, state="diverged"), trial(3e-3, state="out-of-memory"), trial(3e-4, 0.6)], 3e-4),
        ([trial(3e-3, 0.9), trial(3e-3, 0.51, **SECOND), trial(1e-3, 0.6), trial(1e-3, 0.6, **SECOND)], 1e-3),
        ([trial(3e-3, 0.9), trial(3e-3, state="diverged", **SECOND), trial(1e-3, 0.6), trial(1e-3, 0.6, **SECOND)], 1e-3),
        ([trial(1e-3, state="diverged"), trial(3e-3, state="diverged"), trial(3e-4, 0.5)], None),
        ([], None),
    ],
    ids=[
        "highest", "highest mean over seeds", "tie to the default", "tie to the smaller", "others lose",
        "a seed at chance puts a rate out", "a seed that diverged does too", "none", "nothing",
    ],
)  # fmt: skip
def test_the_best_rate(trials: list[Record], rate: float | None) -> None:
    for order in (trials, trials[::-1]):
        assert choose(tried(order), DEFAULT) == rate


def test_a_rate_is_over_all_its_tuning_seeds_and_rates_ascend() -> None:
    first, second = [trial(3e-3, 0.9), trial(1e-3, 0.8)], [trial(3e-3, 0.569, **SECOND), trial(1e-3, 0.7, **SECOND)]
    assert tried([*second, *first]) == [
        Trial(learning_rate=1e-3, accuracies=[0.8, 0.7], collapsed=False),
        Trial(learning_rate=3e-3, accuracies=[0.9, 0.569], collapsed=True),  # 284 of 500: by guessing once in a thousand
    ]
    assert not tried([trial(3e-3, 0.572)])[0].collapsed, "286 of 500 are more than guessing gives"


def test_validation_is_read_at_the_end_of_the_budget_and_only_of_what_got_there() -> None:
    reached = trial(DEFAULT, 0.6)
    assert validation_accuracy(reached) == 0.6
    assert validation_accuracy(reached.model_copy(update={"state": "diverged"})) is None
    assert validation_accuracy(run(training=None)) is None
    assert tried([run(spec={"hyperparameters": {}})]) == []
    assert choose(tried([run(training=None)]), DEFAULT) is None


def test_methods_and_budgets_choose_apart() -> None:
    long = Budget(amount=240, unit="seconds")
    found = decide(paired(
        trial(1.5e-3, 0.8), trial(1.5e-3, 0.8, method="houlsby"), trial(5e-4, 0.9), trial(5e-4, 0.7, method="houlsby"),
        trial(1.5e-3, 0.8, budget=long), trial(5e-4, state="diverged", budget=long),
    ))  # fmt: skip
    assert [(decision.method, str(decision.budget), decision.rate, len(decision.trials)) for decision in found] == [
        ("lora", "60 s", 5e-4, 2), ("houlsby", "60 s", 1.5e-3, 2), ("lora", "240 s", 1.5e-3, 2),
    ]  # fmt: skip


def test_the_choice_is_kept_with_all_that_it_was_made_from() -> None:
    records = [trial(rate, accuracy, **seed) for seed in ({}, SECOND) for rate, accuracy in ((1e-3, 0.7), (3e-3, 0.8))]
    records += [trial(1e-2, state="diverged"), trial(1e-2, 0.9, **SECOND)]
    (decision,) = decide(paired(*records), extended=True)
    choice = decision.choice
    assert choice is not None
    assert (decision.rate, choice.at_edge, choice.extended, choice.budget) == (3e-3, False, True, "60 s")
    assert choice.seeds == tuning_seeds(2)
    assert choice.trials == tried(records)
    assert choice.seconds == 5 * 64, "the one that diverged left none"
    (at_edge,) = decide(paired(*records[:4]))
    assert at_edge.choice is not None
    assert (at_edge.choice.at_edge, at_edge.choice.extended) == (True, False)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_nothing_is_chosen_while_a_trial_is_to_be_run_again(state: str) -> None:
    pairs = paired(trial(1.5e-3, 0.9), trial(5e-4, state=state))
    (decision,) = decide(pairs)
    assert (decision.rate, decision.choice) == (None, None)
    assert state in decision.reason
    assert one_more_rate(pairs) == {}, "nor is a grid extended"


def test_lines_say_what_was_tried_and_chosen() -> None:
    lost = trial(5e-4, state="diverged")
    (decision,) = decide(paired(trial(1.5e-3, 0.8125), trial(1.5e-3, 0.8375, **SECOND), lost))
    assert "learning rate 0.0015 is chosen (at the edge of its grid)" in choice_line(decision)
    assert "0.0005 no accuracy, collapsed, 0.0015 82.50 %" in choice_line(decision)
    assert "trial, learning rate 0.0015, tuning seed 1  validation 81.25 %" in run_line(trial(1.5e-3, 0.8125))
    assert "trial, learning rate 0.0015, tuning seed 2  validation 81.25 %" in run_line(trial(1.5e-3, 0.8125, **SECOND))
    assert "trial, learning rate 0.0005, tuning seed 1  diverged: why it ended" in run_line(lost)
    assert "no runs, since every rate collapsed under some tuning seed" in choice_line(decide(paired(lost))[0])
    assert "\x1b" not in choice_line(Decision("lora\x1b[31m", decision.budget, [], None))


# One extension of the grids, for all methods at once.


def grid(*accuracies: float | None, rates: tuple[float, ...] = (1.5e-3, 5e-3, 1.5e-2)) -> list[Trial]:
    """Trials of one seed with these accuracies; None: collapsed."""
    return [
        Trial(learning_rate=rate, accuracies=[] if accuracy is None else [accuracy], collapsed=accuracy is None)
        for rate, accuracy in zip(rates, accuracies, strict=True)
    ]


@pytest.mark.parametrize(
    ("found", "rate"),
    [
        (grid(0.7, 0.8, 0.9), 4.5e-2),
        (grid(0.9, 0.8, 0.7), 4.5e-4),
        (grid(0.75, 0.8, 0.7), 4.5e-4),
        (grid(0.7, 0.8, 0.75), 4.5e-2),
        (grid(None, 0.8, 0.75), 4.5e-2),
        (grid(None, None, None), 4.5e-4),
        (grid(0.7, 0.8, rates=(1.5e-3, 5e-3)), 1.5e-2),
        (grid(0.8, 0.7, rates=(5e-3, 1.5e-2)), 1.5e-3),
    ],
    ids=[
        "above", "below", "inside, the better neighbour below", "inside, above", "away from what collapsed",
        "all collapsed", "the next declared rate above", "the next declared rate below",
    ],
)  # fmt: skip
def test_one_best_rate_at_an_edge_extends_every_grid_by_one(found: list[Trial], rate: float) -> None:
    edge = grid(0.7, 0.8, 0.9)
    more = extension({"pfeiffer": edge, "lora": found})
    assert more == {"pfeiffer": 4.5e-2, "lora": rate}


def test_budgets_are_extended_apart_and_none_while_every_best_rate_has_neighbours() -> None:
    long = Budget(amount=240, unit="seconds")
    inside = [trial(rate, accuracy) for rate, accuracy in ((1.5e-3, 0.7), (5e-3, 0.8), (1.5e-2, 0.7))]
    above = [trial(rate, accuracy, budget=long) for rate, accuracy in ((1.5e-3, 0.7), (5e-3, 0.8), (1.5e-2, 0.9))]
    assert one_more_rate(paired(*inside)) == {}
    assert one_more_rate(paired(*inside, *above)) == {("lora", long): 0.045}
    assert extension({"lora": grid(0.7, 0.8, 0.7), "pfeiffer": grid(0.8, 0.9, None)}) == {}
