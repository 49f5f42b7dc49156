"""What a watcher sees of runs that were asked for: those that are left, trials, and calibrated budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench.runs.watch as watch
import methods
from bench.records.spec import Budget
from bench.records.store import save
from bench.runs.budgets import convert_if_calibrated
from bench.runs.monitor import overview
from bench.runs.plan import Matrix, Request, extended, plan
from bench.system.device import device_model
from bench.training.job import Job, record_of
from tests.factories import calibration, kept, run, trial
from tests.runs.watching import held, said

RATIOS = {"houlsby": 1.0, "lora": 2.0}


@pytest.fixture
def asked(tiny_folder: Path, small_folder: Path) -> Callable[..., list[Matrix]]:
    def of(*, elsewhere: bool = False, **fields: object) -> list[Matrix]:
        settings = {"encoder": str(tiny_folder), "data": str(small_folder), "budget": "4 steps", "device": "cpu", **fields}
        return [plan(Request(["lora", "houlsby"], **settings), elsewhere=elsewhere)]  # type: ignore[arg-type]

    return of


def test_what_was_asked_for_and_is_left(asked: Callable[..., list[Matrix]], tmp_path: Path) -> None:
    matrices, folder = asked(seeds="2"), tmp_path
    first, second, third, fourth = matrices[0].jobs
    kept(tmp_path, run("full"))  # of somebody else
    assert overview(folder, matrices).to_do == 4
    save(tmp_path, record_of(first, "complete"))
    save(tmp_path, record_of(second, "diverged", "the loss became nan"))
    save(tmp_path, record_of(third, "failed", "its process died"))
    with held(tmp_path, third.run_id), held(tmp_path, "f" * 16, name="full seed 7"):
        found = overview(folder, matrices)
        assert [run.name for run in found.running] == ["lora seed 0, 60 s"]
        assert (found.states, found.to_do, found.requested) == ({"complete": 1, "diverged": 1}, 1, 4)
        assert not found.over
    found = overview(folder, matrices)
    assert (found.states["failed"], found.to_do) == (1, 2)
    for job in (third, fourth):
        save(tmp_path, record_of(job, "complete"))
    assert overview(folder, matrices).over
    assert "all 4 running or done" in watch.line(overview(folder, matrices))


def test_runs_of_another_device_are_not_taken_for_those_that_were_asked_for(
    asked: Callable[..., list[Matrix]], tmp_path: Path
) -> None:
    """Where a machine without a GPU watches what one with a GPU does, it has to be told the device; else it says so."""
    here, there, folder = asked(seeds="1"), asked(seeds="1", device="cuda", elsewhere=True), tmp_path
    hint = "say --device, or watch the folder alone"
    assert not overview(folder, here).unmatched, "nothing goes on"
    with held(tmp_path, there[0].jobs[0].run_id):
        found = overview(folder, here)
        assert (found.running, found.to_do, found.unmatched) == ([], 2, True)
        assert hint in watch.line(found)
        found = overview(folder, there)
        assert (len(found.running), found.to_do, found.unmatched) == (1, 1, False)
        assert hint not in watch.line(found)
        assert not overview(folder, None).unmatched
        save(tmp_path, record_of(here[0].jobs[0], "complete"))
        assert not overview(folder, here).unmatched, "some of what was asked for was begun here"


def test_runs_follow_from_the_trials(asked: Callable[..., list[Matrix]], tmp_path: Path) -> None:
    matrices, folder = asked(tune=2), tmp_path
    (matrix,) = matrices
    made = trial("lora", 0.001, 0.7).training

    def end(job: Job) -> None:
        """The higher the rate, the better."""
        rate = float(job.spec.hyperparameters["learning_rate"] or 0)
        curve = [point.model_copy(update={"accuracy": 1 - 1 / (10 + 100 * rate)}) for point in made.curve]
        save(tmp_path, record_of(job, "complete", training=made.model_copy(update={"curve": curve})))

    assert len(matrix.trials) == 8
    for job in matrix.trials:
        assert overview(folder, matrices).requested == 10
        end(job)
    # Of two rates the best is at an edge: each method has one more rate, with both tuning seeds.
    found = overview(folder, matrices)
    assert (found.requested, found.to_do) == (14, 6)
    best = {name: methods.get(name).learning_rate for name in ("lora", "houlsby")}
    higher = {name: min(rate for rate in methods.get(name).learning_rates if rate > best[name]) for name in best}
    for job in extended(matrix.trials, {(name, Budget.parse("4 steps")): rate for name, rate in higher.items()}):
        assert overview(folder, matrices).requested == 14
        end(job)
    found = overview(folder, matrices)
    assert (found.requested, found.to_do) == (14, 2)
    # The last were the best: the runs are at their rates, and have other ids than at the declared ones.
    for job in matrix.jobs:
        save(tmp_path, record_of(job.at_rate(higher[job.spec.method]), "complete"))
    assert overview(folder, matrices).over


def test_a_calibrated_budget_is_watched_from_before_its_calibration(
    asked: Callable[..., list[Matrix]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids of the runs follow from the calibration, which is made after the watch began."""
    (matrix,) = matrices = asked(budget="60s")
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            save(tmp_path, calibration(matrix.jobs[0], RATIOS, device=device_model("cpu")))
        elif looks <= 3:
            for job in convert_if_calibrated(matrix, tmp_path).jobs[looks - 2 : looks - 1]:
                save(tmp_path, record_of(job, "complete"))
        else:
            raise AssertionError("it should be over")

    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep))  # git, which is asked for the commit, sleeps as well
    watch.follow(tmp_path, matrices, once=False)
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert looks == 3
    assert lines[0] == "2 of 2 to do  about 2:50 left", "budgets, and 25 s around each"
    assert lines[1] == "2 of 2 to do  about 2:50 left", "what the calibration expects"
    assert lines[2].startswith("1 complete, 1 of 2 to do")
    assert lines[3] == "2 complete, all 2 running or done"
    found = convert_if_calibrated(matrix, tmp_path)
    assert {job.spec.method: int(job.spec.budget.amount) for job in found.jobs} == {"houlsby": 60_000, "lora": 30_000}


def test_a_calibration_that_is_named_is_watched_by_and_a_wrong_one_is_refused(
    asked: Callable[..., list[Matrix]], what: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (matrix,) = asked(budget="5000 reference tokens")
    file = save(tmp_path / "elsewhere", calibration(matrix.jobs[0], RATIOS, device="Another CPU"))
    out = tmp_path / "out"
    what = [*what, "--budget", "5000 reference tokens", "--once"]
    for job in convert_if_calibrated(replace(matrix, calibration=file), out).jobs:
        assert (job.spec.reference_tokens, job.spec.budget.unit) == (5000, "tokens")
        save(out, record_of(job, "complete"))
    code, shown, err = said(out, *what, "--calibration", str(file), capsys=capsys)
    assert (code, err) == (0, "")
    assert "1 complete, all 1 running or done" in shown
    code, shown, err = said(out, *what, "--max-length", "64", "--calibration", str(file), capsys=capsys)
    assert (code, shown, err.count("\n")) == (2, "", 1)
    assert "is of another setting" in err
