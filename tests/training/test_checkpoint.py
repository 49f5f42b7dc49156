"""A checkpoint that is foreign, damaged or cannot be written is left, with a line that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import bench.training.checkpointer as resume
from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.training.checkpoint import Unusable, read
from tests.classifiers import loop_for
from tests.training.keeping import OWNER, kept


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
