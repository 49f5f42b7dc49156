"""Tuning: what is tried, what is chosen from it, and that runs are made at what was chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import methods
from bench.analysis.tuning import Decision, choose, decide, extension, one_more_rate, rates, tried, validation_accuracy
from bench.records.schema import Record, Trial
from bench.records.spec import Budget, tuning_seeds
from bench.records.store import load
from bench.report.tables.formatting import choice_line, run_line
from bench.rules import TUNING_SEED
from bench.runs.launchers.process import LocalEngine
from bench.system.errors import SpecError
from bench.training.job import Outcome, Result, record_of
from tests import factories
from tests.conftest import call
from tests.factories import baseline, ended, run

DEFAULT = 1e-3


def trial(rate: float, accuracy: float = 0.8, state: str = "complete", method: str = "lora", **spec: Any) -> Record:
    """A trial at a learning rate that had this validation accuracy at the end, and a better one before it."""
    if state == "complete":
        return factories.trial(method, rate, accuracy, spec=spec)
    own = {"purpose": "trial", "seed": TUNING_SEED, "hyperparameters": {"learning_rate": rate}, **spec}
    return ended(method, state, spec=own)


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


# Whole commands, on a two-layer encoder and real reviews.


def records(folder: Path, purpose: str) -> list[Record]:
    return [item for item in load(folder) if isinstance(item, Record) and item.spec.purpose == purpose]


@pytest.fixture(scope="module")
def command(tiny_folder: Path, easy_folder: Path) -> list[str]:
    return [
        "run", "--encoder", str(tiny_folder), "--data", str(easy_folder), "--max-length", "16", "--batch-size", "8",
        "--precision", "fp32", "--test-limit", "20",
    ]  # fmt: skip


@pytest.mark.usefixtures("short_runs")
def test_runs_are_made_at_the_rates_that_trials_chose(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*command, "--out", str(tmp_path), "--method", "head-only", "--budget", "80 steps"]
    command += ["--tune", "2", "--tune-seeds", "1"]
    assert call([*command, "--trials-only"]) == 0
    assert capsys.readouterr().out.count("is chosen") == 1
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    trials = records(tmp_path, "trial")
    assert (len(written), len(trials)) == (3, 3), "of two rates one is always at an edge: there is a third"
    for record in trials:
        assert record.state == "complete", record.reason
        assert (record.spec.seed, record.spec.tuning, record.spec.test_limit) == (TUNING_SEED, None, None)
        assert record.test is None
        assert record.out_of_domain is None
        assert record.training is not None
        assert record.training.curve[-1].fraction == 1

    assert call(command) == 0
    assert capsys.readouterr().out.count("finished before") == 3
    assert all(path.stat().st_mtime_ns == at for path, at in written.items()), "no trial is repeated"
    (record,) = records(tmp_path, "run")
    assert record.state == "complete", record.reason
    assert record.test is not None
    assert (record.spec.tuning, record.spec.tuning_seeds) == (2, 1)
    assert record.choice is not None
    assert (record.choice.trials, record.choice.seeds, record.choice.extended) == (tried(trials), [TUNING_SEED], True)
    rate = choose(tried(trials), methods.get("head-only").learning_rate)
    assert record.spec.hyperparameters["learning_rate"] == rate
    assert all(trial.choice is None for trial in trials)

    def no_process(*arguments: object, **named: object) -> None:
        raise AssertionError("something is run again")

    monkeypatch.setattr(LocalEngine, "run", no_process)
    assert call(command) == 0
    assert capsys.readouterr().out.count("finished before") == 4


Asked = list[tuple[str, str, float, int]]
ACCURACY: dict[str, Callable[[float, int], float]] = {
    "head-only": lambda rate, seed: {0.01: 0.7, 0.03: 0.9, 0.1: 0.8}[rate],
    "lora": lambda rate, seed: 0.9 + 0.05 * math.log10(rate),
    "houlsby": lambda rate, seed: 0.5 if (rate, seed) == (0.0015, TUNING_SEED - 1) else 0.9 - 20 * abs(rate - 0.0015),
    "pfeiffer": lambda rate, seed: 0.9 - abs(rate - 0.005),
}
"""Validation accuracy by learning rate and seed: of head-only the default is best, of lora the highest rate, of pfeiffer and
houlsby the default, under which the second tuning seed of houlsby collapses."""


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """An engine that makes records up by `ACCURACY`: full diverges, and a run sees ten reviews a step. Returns what it was
    asked for: method or "baseline", budget, learning rate or reviews, and seed.
    """
    asked: Asked = []

    def instant(engine: LocalEngine, work: str, job: Any, **named: Any) -> Result:
        if work == "bench.training.baseline:fit_baseline":
            asked.append(("baseline", "", len(job.rows), 0))
            return Result(baseline(len(job.rows)).model_copy(update={"run_id": job.run_id, "spec": job.spec}))
        spec = job.spec
        method, rate, seed = spec.method, spec.hyperparameters["learning_rate"], spec.seed
        asked.append((method, str(spec.budget), rate, seed))
        if method == "full":
            return Result(Outcome(record_of(job, "diverged", "the loss became nan at step 2")))
        training = trial(rate, accuracy=ACCURACY[method](rate, seed)).training
        assert training is not None
        seen = training.model_copy(update={"reviews_distinct": int(10 * spec.budget.amount)})
        return Result(Outcome(record_of(job, "complete", training=seen)))

    monkeypatch.setattr(LocalEngine, "run", instant)
    return asked


def test_each_budget_has_its_own_trials_and_other_methods_go_on(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], done: Asked
) -> None:
    asked = [*command, "--out", str(tmp_path), "--tune", "3", "--budget", "4 steps,6 steps"]
    assert call([*asked, "--method", "full", "--method", "head-only"]) == 1
    budgets = ("4 steps", "6 steps")
    tried = [
        (method, budget, rate, seed)
        for method in ("full", "head-only")
        for budget in budgets
        for rate in rates(method, 3)
        for seed in tuning_seeds(2)
    ]
    assert sorted(done[: len(tried)]) == sorted(tried)
    assert [seed for *_, seed in done[: len(tried)]] == sorted((seed for *_, seed in tried), reverse=True), "seeds outermost"
    assert sorted(done[len(tried) :]) == [("head-only", budget, 0.03, 0) for budget in budgets]
    said = capsys.readouterr().out
    assert said.count("no runs, since every rate collapsed under some tuning seed") == 2
    assert "trial, learning rate 0.0001, tuning seed 2  diverged: the loss became nan" in said
    assert [record.spec.method for record in records(tmp_path, "run")] == ["head-only"] * 2


def test_a_best_rate_at_an_edge_gives_every_method_one_more_rate_once(command: list[str], tmp_path: Path, done: Asked) -> None:
    """The third rate is best, the fourth better still, and there is no fifth."""
    asked = [*command, "--out", str(tmp_path), "--tune", "3", "--budget", "4 steps", "--method", "lora", "--method", "pfeiffer"]
    assert call(asked) == 0
    first, then, runs = done[:12], done[12:16], done[16:]
    assert sorted(first) == sorted(
        (method, "4 steps", rate, seed)
        for method in ("lora", "pfeiffer")
        for rate in methods.get(method).learning_rates
        for seed in tuning_seeds(2)
    )
    more = {"lora": 0.045, "pfeiffer": 0.00045}  # towards the best, and to the side of the better neighbour
    assert sorted(then) == sorted((name, "4 steps", rate, seed) for name, rate in more.items() for seed in tuning_seeds(2))
    assert sorted(runs) == [("lora", "4 steps", 0.045, 0), ("pfeiffer", "4 steps", 0.005, 0)]
    for record in records(tmp_path, "run"):
        assert record.choice is not None
        assert record.choice.extended
        assert record.choice.at_edge == (record.spec.method == "lora")
        assert [trial.learning_rate for trial in record.choice.trials] == sorted(
            {*methods.get(record.spec.method).learning_rates, more[record.spec.method]}
        )
        assert record.choice.seeds == tuning_seeds(2)
    asked_before = len(done)
    assert call(asked) == 0
    assert len(done) == asked_before, "what was extended is finished"


def test_a_rate_under_which_a_seed_collapses_is_out(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], done: Asked
) -> None:
    asked = [*command, "--out", str(tmp_path), "--tune", "3", "--budget", "4 steps", "--method", "houlsby"]
    assert call([*asked, "--tune-seeds", "1"]) == 0
    assert "learning rate 0.0015 is chosen; " in capsys.readouterr().out
    assert call([*asked, "--tune-seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert "learning rate 0.0005 is chosen; " in said, "one more rate below is worse"
    assert "0.0015 70.00 %, collapsed" in said
    assert [rate for _, _, rate, seed in done if seed == 0] == [0.0015, 0.0005]
    (second,) = [record for record in records(tmp_path, "run") if record.spec.tuning_seeds == 2]
    assert second.choice is not None
    assert [trial.learning_rate for trial in second.choice.trials if trial.collapsed] == [0.0015]


def test_baselines_are_fitted_once_for_what_was_seen(command: list[str], tmp_path: Path, done: Asked) -> None:
    asked = [*command, "--out", str(tmp_path), "--method", "all", "--force"]
    assert call([*asked, "--budget", "4 steps,6 steps,900 steps", "--seeds", "2"]) == 1, "full diverges"
    whole, *seen = [reviews for what, _, reviews, _ in done if what == "baseline"]
    assert whole == 360
    assert sorted(seen) == [40, 40, 60, 60], "each seed sees other reviews, and 900 steps see all"
