"""The plan: which jobs answer a request, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import methods
from bench.errors import UserError
from bench.jobs import Job
from bench.matrix import Matrix, Request, plan, tuned
from bench.rules import TUNING_SEED
from bench.spec import Budget, run_id
from bench.tuning import Choice


@pytest.fixture
def planned(tiny_folder: Path, small_folder: Path) -> Any:
    def make(names: tuple[str, ...] = ("houlsby", "lora"), **fields: Any) -> Matrix:
        where = {"encoder": str(tiny_folder), "data": str(small_folder), "max_length": 16, "device": "cpu"}
        return plan(Request(methods=list(names), **{**where, **fields}))

    return make


def what(jobs: list[Job]) -> list[tuple[int, str, str]]:
    return [(job.spec.seed, str(job.spec.budget), job.spec.method) for job in jobs]


def test_seeds_then_budgets_then_methods(planned: Any) -> None:
    matrix = planned(budget="60s, 15s,1 epoch", seeds="2")
    assert what(matrix.jobs) == [
        (seed, budget, method) for seed in (0, 1) for budget in ("60 s", "15 s", "1 epoch") for method in ("houlsby", "lora")
    ]
    assert matrix.trials == []
    assert len({job.run_id for job in matrix.jobs}) == 12


def test_a_budget_among_others_is_the_same_run_as_alone(planned: Any) -> None:
    alone, among = planned(budget="15s").jobs, planned(budget="60s,15s").jobs
    assert [job.run_id for job in alone] == [job.run_id for job in among if job.spec.budget.amount == 15]


@pytest.mark.parametrize(
    ("budget", "says"), [("60s,1m", "'60s' and '1m' are the same"), ("60s,soon", "budget 'soon'"), (",", "''")]
)
def test_budgets_that_are_refused(planned: Any, budget: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(budget=budget)


def test_trials_are_spread_over_methods_and_have_one_seed(planned: Any) -> None:
    matrix = planned(("houlsby", "head-only"), budget="15s,60s", seeds="2", tune=3, test_limit=40)
    tried = [(job.spec.hyperparameters["learning_rate"], str(job.spec.budget), job.spec.method) for job in matrix.trials]
    assert tried == [
        (methods.get(method).learning_rates[place], budget, method)
        for place in (1, 0, 2)
        for budget in ("15 s", "60 s")
        for method in ("houlsby", "head-only")
    ]
    for job in matrix.trials:
        assert (job.spec.seed, job.spec.purpose, job.spec.tuning) == (TUNING_SEED, "trial", None)
        assert job.spec.test_limit is None
    assert {(job.spec.purpose, job.spec.tuning, job.spec.test_limit) for job in matrix.jobs} == {("run", 3, 40)}
    assert not {job.run_id for job in matrix.trials} & {job.run_id for job in matrix.jobs}


def test_a_trial_is_the_same_whatever_is_run_after_it(planned: Any) -> None:
    few = {job.run_id for job in planned(tune=2, trials_only=True).trials}
    assert few == {job.run_id for job in planned(tune=2, seeds="5,", test_limit=40).trials}
    assert few < {job.run_id for job in planned(tune=3).trials}


def test_only_trials(planned: Any) -> None:
    matrix = planned(("all",), tune=2, trials_only=True)
    assert (len(matrix.trials), matrix.jobs, matrix.with_baseline) == (10, [], False)
    with pytest.raises(UserError, match="--trials-only needs trials"):
        planned(trials_only=True)


def test_seeds_and_counts_that_tuning_refuses(planned: Any) -> None:
    with pytest.raises(UserError, match="kept for the tuning trials"):
        planned(tune=2, seeds=f"0,{TUNING_SEED}")
    assert planned(seeds=f"0,{TUNING_SEED}").jobs[-1].spec.seed == TUNING_SEED
    for count in (-1, 0, 1, 4):
        with pytest.raises(UserError, match=f"--tune {count}"):
            planned(tune=count)


def test_tuned_runs_have_the_chosen_rates_and_their_own_ids(planned: Any) -> None:
    matrix = planned(seeds="2", tune=2)
    budget = Budget.parse("60s")
    chosen = [Choice("houlsby", budget, [], 5e-4), Choice("lora", budget, [], None, "no trial completed")]
    jobs = tuned(matrix.jobs, chosen)
    assert [(job.spec.method, job.spec.seed, job.spec.hyperparameters["learning_rate"]) for job in jobs] == [
        ("houlsby", 0, 5e-4), ("houlsby", 1, 5e-4),
    ]  # fmt: skip
    for job in jobs:
        others = {**methods.get("houlsby").hyperparameters(), "learning_rate": 5e-4}
        assert job.spec.hyperparameters == others
        assert job.run_id == run_id(job.spec, encoder_sha256=job.checkpoint.sha256, data_sha256=job.data.sha256)
    same = tuned(matrix.jobs, [Choice(name, budget, [], methods.get(name).learning_rate) for name in ("houlsby", "lora")])
    assert same == matrix.jobs
    untuned = {job.run_id for job in planned(seeds="2").jobs}
    assert not untuned & {job.run_id for job in matrix.jobs}
