"""Tuning: what is tried, what is chosen from it, and that runs are made at what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import methods
from bench.cli import main
from bench.engines.local import LocalEngine, Watch
from bench.errors import UserError
from bench.jobs import Outcome, record_of
from bench.record import CurvePoint, Record
from bench.report.rows import choice_line, run_line
from bench.rules import TUNING_SEED
from bench.spec import Budget
from bench.store import load
from bench.tuning import Choice, best, choose, rates, validation_accuracy
from tests.records import baseline, ended, run

DEFAULT = 1e-3


def trial(rate: float, accuracy: float = 0.8, state: str = "complete", method: str = "lora", **spec: Any) -> Record:
    """A trial at a learning rate that had this validation accuracy at the end, and a better one before it."""
    made: dict[str, Any] = {
        "purpose": "trial", "seed": TUNING_SEED, "hyperparameters": {"learning_rate": rate}, **spec
    }  # fmt: skip
    if state != "complete":
        return ended(method, state, spec=made)
    whole = run(method, spec=made, test=None)
    assert whole.training is not None
    curve = [
        CurvePoint(fraction=fraction, seconds=60 * fraction, step=1, reviews=16, tokens=1, loss=0.5, accuracy=reached)
        for fraction, reached in ((0.5, 0.99), (1.0, accuracy))
    ]
    return whole.model_copy(update={"training": whole.training.model_copy(update={"curve": curve})})


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
    with pytest.raises(UserError, match=f"more than the {len(tried)} learning rates that lora declares"):
        rates("lora", len(tried) + 1)


@pytest.mark.parametrize(
    ("trials", "rate"),
    [
        ([trial(1e-3, 0.8), trial(3e-3, 0.9), trial(3e-4, 0.7)], 3e-3),
        ([trial(3e-3, 0.8), trial(1e-3, 0.8), trial(3e-4, 0.8)], 1e-3),
        ([trial(1e-3, 0.7), trial(3e-3, 0.8), trial(3e-4, 0.8)], 3e-4),
        ([trial(1e-3, state="diverged"), trial(3e-3, state="out-of-memory"), trial(3e-4, 0.5)], 3e-4),
        ([trial(1e-3, state="diverged"), trial(3e-3, state="diverged")], None),
        ([], None),
    ],
    ids=["highest", "tie to the default", "tie to the smaller", "others lose", "none", "nothing"],
)
def test_the_best_trial(trials: list[Record], rate: float | None) -> None:
    for order in (trials, trials[::-1]):
        won = best(order, DEFAULT)
        assert (won.spec.hyperparameters["learning_rate"] if won else None) == rate


def test_validation_is_read_at_the_end_of_the_budget_and_only_of_what_got_there() -> None:
    reached = trial(DEFAULT, 0.6)
    assert validation_accuracy(reached) == 0.6
    assert validation_accuracy(reached.model_copy(update={"state": "diverged"})) is None
    assert validation_accuracy(run(training=None)) is None
    assert best([run(spec={"hyperparameters": {}}), run(training=None)], DEFAULT) is None


def test_methods_and_budgets_choose_apart() -> None:
    long = Budget(amount=240, unit="seconds")
    found = choose([
        trial(1.5e-3, 0.8), trial(1.5e-3, 0.8, method="houlsby"), trial(5e-4, 0.9), trial(5e-4, 0.7, method="houlsby"),
        trial(1.5e-3, 0.8, budget=long), trial(5e-4, state="diverged", budget=long),
    ])  # fmt: skip
    assert [(choice.method, str(choice.budget), choice.rate, len(choice.trials)) for choice in found] == [
        ("lora", "60 s", 5e-4, 2), ("houlsby", "60 s", 1.5e-3, 2), ("lora", "240 s", 1.5e-3, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_nothing_is_chosen_while_a_trial_is_to_be_run_again(state: str) -> None:
    (choice,) = choose([trial(1.5e-3, 0.9), trial(5e-4, state=state)])
    assert choice.rate is None
    assert state in choice.reason


def test_lines_say_what_was_tried_and_chosen() -> None:
    lost = trial(5e-4, state="diverged")
    (choice,) = choose([trial(1.5e-3, 0.8125), lost])
    assert "learning rate 0.0015 is chosen" in choice_line(choice)
    assert "0.0015 81.25 %, 0.0005 diverged" in choice_line(choice)
    assert "trial, learning rate 0.0015  validation 81.25 %" in run_line(trial(1.5e-3, 0.8125))
    assert "trial, learning rate 0.0005  diverged: why it ended" in run_line(lost)
    assert "no runs, since no trial completed" in choice_line(choose([lost])[0])
    assert "\x1b" not in choice_line(Choice("lora\x1b[31m", choice.budget, [], None))


# Whole commands, on a two-layer encoder and real reviews.


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as over:
        main(list(arguments))
    return int(over.value.code or 0)


def records(folder: Path, purpose: str) -> list[Record]:
    return [item for item in load(folder) if isinstance(item, Record) and item.spec.purpose == purpose]


@pytest.fixture(scope="module")
def command(tiny_folder: Path, small_folder: Path) -> list[str]:
    return [
        "run", "--encoder", str(tiny_folder), "--data", str(small_folder), "--max-length", "16", "--batch-size", "8",
        "--test-limit", "20",
    ]  # fmt: skip


@pytest.mark.usefixtures("short_runs")
def test_runs_are_made_at_the_rates_that_trials_chose(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*command, "--out", str(tmp_path), "--method", "lora", "--method", "head-only", "--budget", "4 steps"]
    assert call(*command, "--tune", "2", "--trials-only") == 0
    assert capsys.readouterr().out.count("is chosen") == 2
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    trials = records(tmp_path, "trial")
    assert (len(written), len(trials)) == (4, 4)
    for record in trials:
        assert record.state == "complete", record.reason
        assert (record.spec.seed, record.spec.tuning, record.spec.test_limit) == (TUNING_SEED, None, None)
        assert record.test is None
        assert record.out_of_domain is None
        assert record.training is not None
        assert record.training.curve[-1].fraction == 1

    assert call(*command, "--tune", "2") == 0
    assert capsys.readouterr().out.count("finished before") == 4
    assert all(path.stat().st_mtime_ns == at for path, at in written.items()), "no trial is repeated"
    runs = records(tmp_path, "run")
    assert {record.spec.method for record in runs} == {"lora", "head-only"}
    assert len(runs) == 2
    for record in runs:
        assert record.state == "complete", record.reason
        assert record.test is not None
        assert record.spec.tuning == 2
        own = [trial for trial in trials if trial.spec.method == record.spec.method]
        assert len(own) == 2
        chosen = best(own, methods.get(record.spec.method).learning_rate)
        assert chosen is not None
        assert record.spec.hyperparameters == chosen.spec.hyperparameters

    def no_process(*arguments: object, **named: object) -> None:
        raise AssertionError("something is run again")

    monkeypatch.setattr(LocalEngine, "run", no_process)
    assert call(*command, "--tune", "2") == 0
    assert capsys.readouterr().out.count("finished before") == 6


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float]]:
    """An engine that makes records up: full diverges, the highest rate of any other method is best, and a run sees ten
    reviews a step. Returns what it was asked for: method or "baseline", budget, and learning rate or reviews.
    """
    asked: list[tuple[str, str, float]] = []

    def instant(engine: LocalEngine, work: str, job: Any, **named: Any) -> tuple[Any, Watch]:
        if work == "bench.baseline:fit_baseline":
            asked.append(("baseline", "", len(job.rows)))
            return baseline(len(job.rows)).model_copy(update={"run_id": job.run_id, "spec": job.spec}), Watch()
        method, rate, budget = job.spec.method, job.spec.hyperparameters["learning_rate"], job.spec.budget
        asked.append((method, str(budget), rate))
        if method == "full":
            return Outcome(record_of(job, "diverged", "the loss became nan at step 2")), Watch()
        training = trial(rate, accuracy=rate).training
        assert training is not None
        seen = training.model_copy(update={"reviews_distinct": int(10 * budget.amount)})
        return Outcome(record_of(job, "complete", training=seen)), Watch()

    monkeypatch.setattr(LocalEngine, "run", instant)
    return asked


def test_each_budget_has_its_own_trials_and_other_methods_go_on(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], done: list[tuple[str, str, float]]
) -> None:
    asked = [*command, "--out", str(tmp_path), "--tune", "2", "--budget", "4 steps,6 steps"]
    assert call(*asked, "--method", "full", "--method", "head-only") == 1
    budgets = ("4 steps", "6 steps")
    tried = [
        (method, budget, rates(method, 2)[rank]) for rank in (0, 1) for budget in budgets for method in ("full", "head-only")
    ]
    assert done == [*tried, *(("head-only", budget, methods.get("head-only").learning_rate) for budget in budgets)]
    said = capsys.readouterr().out
    assert said.count("no runs, since no trial completed") == 2
    assert "trial, learning rate 0.0001  diverged: the loss became nan" in said
    assert [record.spec.method for record in records(tmp_path, "run")] == ["head-only"] * 2


def test_baselines_are_fitted_once_for_what_was_seen(
    command: list[str], tmp_path: Path, done: list[tuple[str, str, float]]
) -> None:
    asked = [*command, "--out", str(tmp_path), "--method", "all", "--force"]
    assert call(*asked, "--budget", "4 steps,6 steps,900 steps", "--seeds", "2") == 1, "full diverges"
    baselines = [reviews for what, _, reviews in done if what == "baseline"]
    assert baselines == [360, 40, 60, 40, 60]
