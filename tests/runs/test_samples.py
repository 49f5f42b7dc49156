"""Fewer reviews to train on, validation at marks and at the end, and tests that are made once a method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.training.trainer as module
from bench.data.batches import first_balanced
from bench.data.task import Task, sample
from bench.models.pretrained import PretrainedModel
from bench.runs.plan import Matrix, Request, plan
from bench.system.errors import SpecError
from bench.training.baseline import rows_seen
from tests.classifiers import trained


def test_samples_of_a_seed_are_nested_and_others_differ() -> None:
    large, small = sample(1000, 300, 0), sample(1000, 20, 0)
    assert (len(large), len(small)) == (300, 20)
    assert set(small) < set(large) < set(range(1000))
    assert (np.diff(large) > 0).all()
    assert set(sample(1000, 300, 1)) != set(large)
    for whole in (sample(1000, None, 0), sample(1000, 1000, 0)):
        assert whole.tolist() == list(range(1000))


def test_a_limited_task_holds_the_sample_alone(small_task: Task) -> None:
    rows = sample(len(small_task.train), 20, 3)
    limited = small_task.sample(20, 3)
    assert len(limited.train) == 20
    for i, row in enumerate(rows):
        expected = small_task.encode(small_task.train, int(row), 32, "head")
        assert (limited.encode(limited.train, i, 32, "head") == expected).all()
        assert limited.train.labels[i] == small_task.train.labels[row]
    assert small_task.sample(None, 3) is small_task


def test_the_baseline_reads_what_a_limited_run_read(small_task: Task) -> None:
    rows = rows_seen(small_task, 32, 8, 3, 16, 20)
    assert len(rows) == 16
    assert set(rows) < set(sample(len(small_task.train), 20, 3))
    assert rows_seen(small_task, 32, 8, 3, 20, 20).tolist() == sample(len(small_task.train), 20, 3).tolist()


def test_the_first_of_each_class() -> None:
    labels = np.array([0] * 6 + [1] * 6)
    assert first_balanced(labels, 4).tolist() == [0, 1, 6, 7]
    assert first_balanced(labels, 99).tolist() == list(range(12))
    uneven = np.array([1, 1, 1, 1, 0])
    assert first_balanced(uneven, 4).tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("purpose", "test_limit", "expected"),
    [("run", None, [6, 6, 6, 6]), ("run", 9, [3, 3, 3, 3]), ("run", 40, [6, 6, 6, 6]), ("trial", None, [6, 6, 6, 36])],
)
def test_a_mark_reads_the_first_of_validation_and_the_end_of_a_trial_all(
    tiny: PretrainedModel,
    small_task: Task,
    monkeypatch: pytest.MonkeyPatch,
    purpose: str,
    test_limit: int | None,
    expected: list[int],
) -> None:
    read_rows: list[int] = []
    predict = module.predict

    def counted(*arguments: Any) -> Any:
        read_rows.append(len(arguments[4]))
        return predict(*arguments)

    monkeypatch.setattr(module, "VALIDATION_AT_MARKS", 6)
    monkeypatch.setattr(module, "predict", counted)
    trainer = trained(tiny, small_task, "lora", purpose=purpose, test_limit=test_limit)
    assert len(small_task.validation) == 36
    assert read_rows == expected
    for point, texts in zip(trainer.ledger.curve, read_rows, strict=True):
        assert point.accuracy * texts == pytest.approx(round(point.accuracy * texts))


def test_train_limit_is_checked_and_planned(tiny_folder: Path, small_folder: Path) -> None:
    def asked(limit: int | str | None) -> Matrix:
        return plan(Request(
            ["lora", "head-only"], str(tiny_folder), str(small_folder), "4 steps", "5,2", 32, train_limit=limit
        ))  # fmt: skip

    whole = asked(None)
    reviews = whole.data.train
    assert {job.spec.train_limit for job in asked(20).jobs} == {20}
    assert [job.run_id for job in asked(reviews).jobs] == [job.run_id for job in whole.jobs]
    several = asked("20, 40")
    assert {(job.spec.train_limit, job.spec.method, job.spec.seed) for job in several.jobs} == {
        (limit, method, seed) for limit in (20, 40) for method in ("lora", "head-only") for seed in (5, 2)
    }
    alone = {job.run_id for limit in (20, 40) for job in asked(limit).jobs}
    assert {job.run_id for job in several.jobs} == alone, "an axis makes the runs that each limit makes"
    assert [job.run_id for job in asked(f"20,{reviews}").jobs if job.spec.train_limit is None] != []
    for wrong in (1, 0, -3, reviews + 1):
        with pytest.raises(SpecError, match=f"--train-limit {wrong} must be between 2 and the {reviews}"):
            asked(wrong)
    with pytest.raises(SpecError, match="--batch-size 16 is more than the 10 reviews"):
        asked(10)
    assert {job.spec.seed: job.side_tests for job in whole.jobs} == {5: True, 2: False}
