"""A run that goes on from its checkpoint ends as one that was never stopped, and foreign or damaged checkpoints are left."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import bench.system.files as files
import bench.training.checkpointer as resume
from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.records.schema import CurvePoint
from bench.records.spec import Budget
from bench.training.checkpoint import Unusable, read
from bench.training.checkpointer import Checkpointer
from bench.training.trainer import Trainer
from tests.methods.test_methods import EVERY, loop_for

OWNER: dict[str, Any] = {"run_id": "a" * 16, "replaces": None, "threads": 2, "versions": {"torch": "2"}, "commit": None}


class Killed(BaseException):
    pass


@dataclass
class Kept:
    """A loop that is kept in a file at every step, and stopped after some."""

    trainer: Trainer
    checkpointer: Checkpointer
    said: list[str] = field(default_factory=list)

    def until(self, step: int | None = None) -> Trainer:
        def after_step(ledger: Any) -> None:
            self.checkpointer.save_if_due()
            if step is not None and ledger.units >= step:
                raise Killed

        self.trainer.on_step = after_step
        if step is None:
            self.trainer.run()
            return self.trainer
        with pytest.raises(Killed):
            self.trainer.run()
        return self.trainer


def kept(path: Path, pretrained: PretrainedModel, task: Task, name: str, owner: dict[str, Any] = OWNER, **fields: Any) -> Kept:
    trainer = loop_for(pretrained, task, name, **fields)
    trainer.memory.start()
    trainer.warm_up()
    said: list[str] = []
    checkpointer = Checkpointer(path, owner, trainer, said.append)
    checkpointer.probe_disk()
    checkpointer.load()
    return Kept(trainer, checkpointer, said)


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


@pytest.fixture
def stopped(tiny: PretrainedModel, small_task: Task, tmp_path: Path) -> Path:
    made = kept(tmp_path / "kept.safetensors", tiny, small_task, "houlsby")
    made.until(2)
    made.checkpointer.save()
    return tmp_path / "kept.safetensors"


def altered(path: Path, **changes: Any) -> None:
    """The same file with other fields in its place, and the checksum that follows."""
    from bench.training.checkpoint import write

    meta, tensors = read(path)
    write(path, meta.model_copy(update=changes), {name: tensor.clone() for name, tensor in tensors.items()})


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


DAMAGES: list[tuple[str, Any]] = [
    ("cannot be read", lambda path: path.write_bytes(b"")),
    ("is damaged", lambda path: path.write_bytes(b"\xff" * 100)),
    ("is damaged", lambda path: path.write_bytes(path.read_bytes()[:-10])),
    ("is damaged", flipped),
    ("with another run id", lambda path: altered(path, owner={**OWNER, "run_id": "b" * 16})),
    ("with another versions", lambda path: altered(path, owner={**OWNER, "versions": {"torch": "3"}})),
    ("with another threads", lambda path: altered(path, owner={**OWNER, "threads": 9})),
    ("with another replaces", lambda path: altered(path, owner={**OWNER, "replaces": "x"})),
    ("other weights", lambda path: altered(path, frozen_sha256="0" * 64)),
]  # fmt: skip


@pytest.mark.parametrize(("says", "damage"), DAMAGES, ids=[f"{i}-{says}" for i, (says, _) in enumerate(DAMAGES)])
def test_a_checkpoint_that_does_not_fit_is_named_and_left_out(
    stopped: Path, tiny: PretrainedModel, small_task: Task, says: str, damage: Any
) -> None:
    damage(stopped)
    made = kept(stopped, tiny, small_task, "houlsby")
    assert len(made.said) == 1
    assert says in made.said[0]
    assert made.said[0].startswith("the checkpoint kept.safetensors is left out, and training starts from scratch: ")
    assert made.checkpointer.resumed == made.trainer.ledger.steps == 0
    fresh = loop_for(tiny, small_task, "houlsby")
    for mine, other in zip(made.trainer.classifier.parameters(), fresh.classifier.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_checkpoint_is_a_safetensors_file_and_any_broken_byte_is_seen(stopped: Path) -> None:
    with safe_open(stopped, framework="pt") as opened:
        place = json.loads(opened.metadata()["place"])
        assert opened.get_tensor("weights/head.weight").shape == (2, 32)
        assert opened.get_tensor("generator/cpu").dtype == torch.uint8
    assert place["counts"]["steps"] == 2
    assert place["owner"]["run_id"] == "a" * 16
    assert str(Path.cwd()) not in json.dumps(place)
    whole = stopped.read_bytes()
    generator = np.random.default_rng(0)
    for place in [*range(0, 200, 7), *generator.integers(0, len(whole), 60).tolist()]:
        data = bytearray(whole)
        data[place] ^= 1 << int(generator.integers(8))
        stopped.write_bytes(data)
        try:
            meta, found = read(stopped)
        except Unusable:
            continue
        stopped.write_bytes(whole)  # white space of the header may change without a change of what it says
        whole_meta, same = read(stopped)
        assert meta == whole_meta
        assert found.keys() == same.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in same.items())


def test_a_disk_that_takes_nothing_costs_a_warning(
    tiny: PretrainedModel, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kept(tmp_path / "kept", tiny, small_task, "lora")
    monkeypatch.setattr(resume, "SHARE", 1e9)

    def full(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "write", full)
    trainer = made.until()
    assert trainer.ledger.steps == 4
    warning = "no checkpoint can be written (No space left on device); the run continues, but a kill would lose its training"
    assert made.said == [warning]
