"""The plan: which jobs answer a request, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import methods
from bench.analysis.tuning import Decision
from bench.records.schema import Choice
from bench.records.spec import Budget, run_id, tuning_seeds
from bench.records.store import save
from bench.rules import TUNING_SEED
from bench.runs.budgets import convert_budgets
from bench.runs.plan import Matrix, Request, extended, plan, tuned
from bench.system.errors import SpecError
from bench.training.job import Job
from tests.factories import calibration


@pytest.fixture
def planned(tiny_folder: Path, small_folder: Path) -> Any:
    def make(names: tuple[str, ...] = ("houlsby", "lora"), **fields: Any) -> Matrix:
        where = {"encoder": str(tiny_folder), "data": str(small_folder), "max_length": 16, "device": "cpu"}
        return plan(Request(methods=list(names), **{**where, **fields}))

    return make


def what(jobs: list[Job]) -> list[tuple[int, str, str]]:
    return [(job.spec.seed, str(job.spec.budget), job.spec.method) for job in jobs]


def test_seeds_are_outermost_and_the_rest_in_an_order_that_each_seed_gives(planned: Any) -> None:
    matrix = planned(budget="60s, 15s,1 epoch", seeds="8")
    crossed = [(budget, method) for budget in ("60 s", "15 s", "1 epoch") for method in ("houlsby", "lora")]
    by_seed = [what(matrix.jobs)[6 * seed : 6 * seed + 6] for seed in range(8)]
    for seed, part in enumerate(by_seed):
        assert sorted(part) == sorted((seed, *one) for one in crossed)
    orders = {tuple((budget, method) for _, budget, method in part) for part in by_seed}
    assert len(orders) > 4, "one order for all seeds would let what drifts fall on the same methods"
    assert {part[0][2] for part in by_seed} == {"houlsby", "lora"}
    assert what(planned(budget="60s, 15s,1 epoch", seeds="8").jobs) == what(matrix.jobs), "each seed gives the same again"
    assert what(planned(budget="60s, 15s,1 epoch", seeds="5,").jobs) == by_seed[5], "whatever other seeds there are"
    assert matrix.trials == []
    assert len({job.run_id for job in matrix.jobs}) == 48


def test_a_budget_among_others_is_the_same_run_as_alone(planned: Any) -> None:
    alone, among = planned(budget="15s").jobs, planned(budget="60s,15s").jobs
    assert [job.run_id for job in alone] == [job.run_id for job in among if job.spec.budget.amount == 15]


@pytest.mark.parametrize(
    ("budget", "says"), [("60s,1m", "'60s' and '1m' are the same"), ("60s,soon", "budget 'soon'"), (",", "''")]
)
def test_budgets_that_are_refused(planned: Any, budget: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        planned(budget=budget)


def test_trials_are_shuffled_within_each_tuning_seed(planned: Any) -> None:
    matrix = planned(("houlsby", "head-only"), budget="15s,60s", seeds="2", tune=3, tune_seeds=3, test_limit=40)
    found = [(job.spec.hyperparameters["learning_rate"], str(job.spec.budget), job.spec.method) for job in matrix.trials]
    crossed = sorted(
        (rate, budget, method)
        for method in ("houlsby", "head-only")
        for rate in methods.get(method).learning_rates
        for budget in ("15 s", "60 s")
    )
    parts = [found[start : start + 12] for start in (0, 12, 24)]
    assert [sorted(part) for part in parts] == [crossed] * 3
    assert len({tuple(part) for part in parts}) == 3
    assert [job.spec.seed for job in matrix.trials] == [seed for seed in tuning_seeds(3) for _ in range(12)]
    for job in matrix.trials:
        assert (job.spec.purpose, job.spec.tuning, job.spec.tuning_seeds) == ("trial", None, None)
        assert job.spec.test_limit is None
    what_runs_are = {(job.spec.purpose, job.spec.tuning, job.spec.tuning_seeds, job.spec.test_limit) for job in matrix.jobs}
    assert what_runs_are == {("run", 3, 3, 40)}
    assert not {job.run_id for job in matrix.trials} & {job.run_id for job in matrix.jobs}


def test_a_trial_is_the_same_whatever_is_run_after_it(planned: Any) -> None:
    few = {job.run_id for job in planned(tune=2, trials_only=True).trials}
    assert few == {job.run_id for job in planned(tune=2, seeds="5,", test_limit=40).trials}
    assert few < {job.run_id for job in planned(tune=3).trials}
    assert few < {job.run_id for job in planned(tune=2, tune_seeds=3).trials}


def test_only_trials(planned: Any) -> None:
    matrix = planned(("all",), tune=2, trials_only=True)
    assert (len(matrix.trials), matrix.jobs, matrix.with_baseline) == (5 * 2 * 2, [], False)
    assert len(planned(("all",), tune=2, tune_seeds=1, trials_only=True).trials) == 5 * 2
    with pytest.raises(SpecError, match="--trials-only needs trials"):
        planned(trials_only=True)


def test_seeds_and_counts_that_tuning_refuses(planned: Any) -> None:
    with pytest.raises(SpecError, match="kept for the tuning trials"):
        planned(tune=2, seeds=f"0,{TUNING_SEED}")
    with pytest.raises(SpecError, match=f"seed {TUNING_SEED - 2} is kept for the tuning trials"):
        planned(tune=2, tune_seeds=3, seeds=f"0,{TUNING_SEED - 2}")
    assert len(planned(tune=2, seeds=f"0,{TUNING_SEED - 2}").jobs) == 4, "two tuning seeds leave it free"
    with pytest.raises(SpecError, match="--tune-seeds 0"):
        planned(tune=2, tune_seeds=0)
    assert planned(seeds=f"0,{TUNING_SEED}").jobs[-1].spec.seed == TUNING_SEED
    for count in (-1, 0, 1, 4):
        with pytest.raises(SpecError, match=f"--tune {count}"):
            planned(tune=count)


def test_tuned_runs_have_the_chosen_rates_and_their_own_ids(planned: Any) -> None:
    matrix = planned(seeds="2", tune=2)
    budget = Budget.parse("60s")
    choice = Choice(trials=[], seeds=[TUNING_SEED], budget="60 s", extended=False, at_edge=True, seconds=1.0)
    found = [Decision("houlsby", budget, [], 5e-4, choice), Decision("lora", budget, [], None, reason="no rate held")]
    jobs = tuned(matrix.jobs, found)
    assert [(job.spec.method, job.spec.seed, job.spec.hyperparameters["learning_rate"]) for job in jobs] == [
        ("houlsby", 0, 5e-4), ("houlsby", 1, 5e-4),
    ]  # fmt: skip
    for job in jobs:
        others = {**methods.get("houlsby").hyperparameters(), "learning_rate": 5e-4}
        assert job.spec.hyperparameters == others
        assert job.run_id == run_id(job.spec, encoder_sha256=job.pretrained.sha256, data_sha256=job.data.sha256)
        assert job.choice == choice
    same = tuned(matrix.jobs, [Decision(name, budget, [], methods.get(name).learning_rate) for name in ("houlsby", "lora")])
    assert same == matrix.jobs
    untuned = {job.run_id for job in planned(seeds="2").jobs}
    assert not untuned & {job.run_id for job in matrix.jobs}


def test_a_grid_is_extended_with_all_tuning_seeds_where_it_was_asked_for(planned: Any) -> None:
    trials = planned(budget="60s,15s", tune=2).trials
    short, long = Budget.parse("15s"), Budget.parse("60s")
    jobs = extended(trials, {("lora", short): 1e-4, ("lora", long): 2e-4, ("houlsby", long): 3e-4})
    assert sorted(
        (job.spec.method, str(job.spec.budget), job.spec.hyperparameters["learning_rate"], job.spec.seed) for job in jobs
    ) == [
        (method, budget, rate, seed)
        for method, budget, rate in (("houlsby", "60 s", 3e-4), ("lora", "15 s", 1e-4), ("lora", "60 s", 2e-4))
        for seed in sorted(tuning_seeds(2))
    ]
    assert {job.spec.purpose for job in jobs} == {"trial"}
    assert not {job.run_id for job in jobs} & {job.run_id for job in trials}
    assert extended(trials, {}) == []


def test_a_converted_matrix_counts_tokens_and_remembers_what_was_asked_for(planned: Any, tmp_path: Path) -> None:
    matrix = planned(budget="60s,1M reference tokens,4 steps", tune=2)
    ratios = {"houlsby": 1.0, "lora": 2.0}
    made = calibration(next(job for job in matrix.jobs if job.spec.budget.calibrated), ratios)
    found = convert_budgets(replace(matrix, calibration=save(tmp_path, made)), tmp_path, say=print)
    assert len(found.trials) == len(matrix.trials)
    for before, job in zip((*matrix.trials, *matrix.jobs), (*found.trials, *found.jobs), strict=True):
        assert job.requested_budget == before.spec.budget
        if before.spec.budget.unit == "steps":
            assert job == before
            continue
        whole = 60_000 if before.spec.budget.unit == "seconds" else 1_000_000
        tokens = Budget(amount=whole / ratios[job.spec.method], unit="tokens")
        assert (job.spec.budget, job.spec.reference_tokens) == (tokens, whole)
        assert str(job.spec.requested_budget) == f"{whole:,} reference tokens"
        assert job.run_id != before.run_id
        assert job.run_id == run_id(job.spec, encoder_sha256=job.pretrained.sha256, data_sha256=job.data.sha256)


def test_a_method_that_does_not_attach_to_the_encoder_is_refused_and_left_out_of_groups(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(methods.get("ia3")), "families", frozenset({"roberta"}))
    for names in (("lora", "ia3"), ("peft", "ia3")):
        with pytest.raises(SpecError, match="--method ia3 does not attach to 'tiny', of family bert, only to roberta;"):
            planned(names)
    assert {job.spec.method for job in planned(("every",)).jobs} == set(methods.names()) - {"ia3"}
    assert [job.spec.method for job in planned(("lora", "lora-family", "lora")).jobs].count("lora") == 1
