"""A training that keeps checkpoints, and is stopped as if it were killed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.training.checkpointer import Checkpointer
from bench.training.trainer import Trainer
from tests.classifiers import loop_for

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


def changed(command: list[str], option: str, value: str) -> list[str]:
    at = command.index(option) + 1
    return [*command[:at], value, *command[at + 1 :]]
