"""Whole commands with tuning: runs are made at the rates that their trials chose."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import methods
from bench.analysis.tuning import choose, rates, tried
from bench.records.schema import Record
from bench.records.spec import tuning_seeds
from bench.records.store import load
from bench.rules import TUNING_SEED
from bench.runs.launchers.process import LocalEngine
from bench.training.job import Outcome, Result, record_of
from tests.analysis.experiments import trial
from tests.conftest import call
from tests.factories import baseline


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
