"""A run that goes on from its checkpoint ends as one that was never stopped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import bench.system.files as files
import bench.training.checkpointer as resume
from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.records.schema import CurvePoint
from bench.records.spec import Budget
from bench.training.trainer import Trainer
from tests.classifiers import EVERY, loop_for
from tests.training.keeping import Kept, Killed, kept


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here."""
    monkeypatch.setattr(files.os, "fsync", lambda handle: None)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is worth a checkpoint."""
    monkeypatch.setattr(resume, "SHARE", 1e9)


def untimed(curve: list[CurvePoint]) -> list[dict[str, Any]]:
    return [point.model_dump(exclude={"seconds"}) for point in curve]


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    moments = {f"{i} {k}": v for i, p in enumerate(trainer.trained) for k, v in trainer.optimizer.state[p].items()}
    return {**{n: p.detach() for n, p in trainer.classifier.named_parameters()}, **moments}


def same_end(one: Trainer, other: Trainer) -> None:
    assert one.ledger.losses == other.ledger.losses
    assert untimed(one.ledger.curve) == untimed(other.ledger.curve)
    timed = {"longest_step_seconds", "curve"}
    assert one.summary().model_dump(exclude=timed) == other.summary().model_dump(exclude=timed)
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", EVERY)
def test_every_method_goes_on_bit_for_bit(tiny: PretrainedModel, small_task: Task, tmp_path: Path, name: str) -> None:
    budget = Budget(amount=9, unit="steps")
    whole = kept(tmp_path / "whole", tiny, small_task, name, budget=budget).until()
    path = tmp_path / "kept"
    # 7 steps end a quarter: a stop between its validation and the next step, and one in the middle of nothing.
    for step in (2, 7):
        kept(path, tiny, small_task, name, budget=budget).until(step)
    last = kept(path, tiny, small_task, name, budget=budget)
    assert last.said == [f"resumes from its checkpoint: 7 batches, {last.trainer.ledger.seconds:.1f} device seconds"]
    assert last.checkpointer.resumed == 2
    assert last.checkpointer.seconds_before == last.trainer.ledger.seconds + last.trainer.clock.paused_seconds
    last.until()
    same_end(whole, last.trainer)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("full", Budget(amount=5000, unit="tokens")),
        ("lora", Budget(amount=1.5, unit="epochs")),
        ("head-only", Budget(amount=2.5, unit="epochs")),
    ],
)
def test_every_counted_budget_goes_on(
    tiny: PretrainedModel, small_task: Task, tmp_path: Path, name: str, budget: Budget
) -> None:
    large = {"budget": budget, "batch_size": 100}
    whole = kept(tmp_path / "whole", tiny, small_task, name, **large).until()
    assert whole.ledger.batches >= 2
    for part in (0.3, 0.7):
        kept(tmp_path / "kept", tiny, small_task, name, **large).until(math.ceil(part * whole.ledger.batches))
    last = kept(tmp_path / "kept", tiny, small_task, name, **large)
    assert last.checkpointer.resumed == 2
    last.until()
    same_end(whole, last.trainer)


@pytest.mark.usefixtures("always")
def test_dropout_goes_on_with_its_generator(tiny: PretrainedModel, small_task: Task, tmp_path: Path) -> None:
    from bench.models.classifier import load_classifier

    def dropped(path: Path) -> Kept:
        made = kept(path, tiny, small_task, "full", budget=Budget(amount=6, unit="steps"))
        made.trainer.classifier.load_state_dict(load_classifier(tiny, seed=0, dropout=0.0, attention_dropout=0.0).state_dict())
        for module in made.trainer.classifier.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        made.checkpointer.load()
        return made

    torch.manual_seed(5)
    whole = dropped(tmp_path / "whole").until()
    torch.manual_seed(5)
    dropped(tmp_path / "kept").until(3)
    torch.manual_seed(6)
    last = dropped(tmp_path / "kept")
    assert last.until().ledger.losses == whole.ledger.losses


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("units", [2, 3, 17], ids=["while encoding", "as passes begin", "in the passes"])
def test_a_head_on_kept_features_resumes_where_it_was(
    tiny: PretrainedModel, small_task: Task, tmp_path: Path, units: int
) -> None:
    def made(path: Path) -> Kept:
        return kept(path, tiny, small_task, "head-only", budget=Budget(amount=3, unit="steps"))

    whole = made(tmp_path / "whole").until()
    made(tmp_path / "kept").until(units)
    last = made(tmp_path / "kept")
    assert (last.trainer.ledger.units, last.checkpointer.resumed) == (units, 1)
    same_end(whole, last.until())


@pytest.mark.usefixtures("always")
def test_a_finished_training_is_not_done_again(tiny: PretrainedModel, small_task: Task, tmp_path: Path) -> None:
    whole = kept(tmp_path / "kept", tiny, small_task, "lora").until()
    again = kept(tmp_path / "kept", tiny, small_task, "lora")
    steps: list[int] = []
    again.trainer.on_step = lambda ledger: steps.append(ledger.steps)
    again.trainer.run()
    assert steps == []
    same_end(whole, again.trainer)
    assert again.trainer.tensor_bytes() == whole.tensor_bytes()


@pytest.mark.usefixtures("always")
def test_a_validation_that_was_stopped_is_read_at_its_own_step(
    tiny: PretrainedModel, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept(tmp_path / "whole", tiny, small_task, "full", budget=Budget(amount=8, unit="steps")).until()
    stopped = kept(tmp_path / "kept", tiny, small_task, "full", budget=Budget(amount=8, unit="steps"))

    def stop(trainer: Trainer) -> float:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_validation_accuracy", stop)
        with pytest.raises(Killed):
            stopped.trainer.run()
    assert stopped.trainer.between_steps
    stopped.checkpointer.save()
    last = kept(tmp_path / "kept", tiny, small_task, "full", budget=Budget(amount=8, unit="steps"))
    assert last.trainer.ledger.mark_reached
    same_end(whole, last.until())


def test_the_middle_of_a_step_is_not_whole(tiny: PretrainedModel, small_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = loop_for(tiny, small_task, "full")
    trainer.warm_up()

    def stop(*arguments: Any, **named: Any) -> None:
        raise Killed

    monkeypatch.setattr(trainer.optimizer, "step", stop)
    with pytest.raises(Killed):
        trainer.run()
    assert not trainer.between_steps


def test_memory_is_that_of_the_process_that_took_most(tiny: PretrainedModel, small_task: Task, tmp_path: Path) -> None:
    first = kept(tmp_path / "kept", tiny, small_task, "lora")
    first.trainer.run()
    first.trainer.memory.look()
    first.trainer.memory._peaks.append((first.trainer.memory.baseline + 2**40, 0, 0))
    first.checkpointer.save()
    peak = kept(tmp_path / "kept", tiny, small_task, "lora").trainer.memory.peak()
    assert peak.above_baseline == 2**40
    assert peak.peak - peak.baseline == 2**40


def test_cost_stays_below_its_share(
    tiny: PretrainedModel, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clock and disk by hand: a step takes 0.1 s, a write 0.5 s."""
    made = kept(tmp_path / "kept", tiny, small_task, "lora", budget=Budget(amount=400, unit="steps"))
    now, writes = [0.0], []
    trainer, checkpointer = made.trainer, made.checkpointer
    monkeypatch.setattr(resume.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(trainer, "_step", lambda *batch: 0.5)
    monkeypatch.setattr(type(trainer.clock), "_now", lambda clock: now[0])
    monkeypatch.setattr(trainer, "_validation_accuracy", lambda: 0.5)
    checkpointer._measured = (2**20, 0.5)

    def slow(path: Path, *content: Any) -> int:
        now[0] += 0.5
        writes.append(trainer.ledger.seconds)
        return 2**20

    monkeypatch.setattr(resume, "write", slow)

    def after(ledger: Any) -> None:
        checkpointer.save_if_due()
        now[0] += 0.1

    trainer.on_step = after
    trainer.run()
    assert trainer.clock.seconds == pytest.approx(40, abs=0.2), "writing is not charged"
    assert writes == pytest.approx([25.0], abs=0.11)
    assert 50 * 0.5 * len(writes) <= trainer.clock.seconds
