"""On CUDA a loss is read when the next step was launched; nothing is lost by it, and nothing said too late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.task import Task
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Budget
from bench.training.late_losses import Diverged, LateLosses
from bench.training.trainer import Trainer
from tests.classifiers import loop_for, trained


class _Event:
    """An event of a device that is always done."""

    waited = 0

    def synchronize(self) -> None:
        _Event.waited += 1


@pytest.fixture
def late(tiny: PretrainedModel, small_task: Task, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A loop on a CPU that reads its losses as on CUDA."""
    monkeypatch.setattr(LateLosses, "_send", lambda self, loss: (loss.clone(), _Event()))
    monkeypatch.setattr(_Event, "waited", 0)
    trainer = loop_for(tiny, small_task, "full", budget=Budget(amount=9, unit="steps"))
    trainer.late = LateLosses(trainer.ledger, "cuda")
    trainer.warm_up()
    return trainer


def test_losses_and_curve_are_those_that_are_read_at_once(late: Trainer, tiny: PretrainedModel, small_task: Task) -> None:
    late.run()
    at_once = trained(tiny, small_task, "full", budget=Budget(amount=9, unit="steps"))
    assert late.ledger.losses == pytest.approx(at_once.ledger.losses, rel=1e-6)
    assert [point.loss for point in late.ledger.curve] == pytest.approx([p.loss for p in at_once.ledger.curve], rel=1e-6)
    assert _Event.waited == 9


def test_no_loss_is_waited_for_before_the_next_step(late: Trainer) -> None:
    waited: list[int] = []
    late.on_step = lambda ledger: waited.append(_Event.waited)
    late._validate_at_mark = lambda: None  # type: ignore[method-assign]
    late.run()
    assert waited == list(range(9))


def test_a_checkpoint_has_the_last_loss(late: Trainer) -> None:
    kept: list[Tensor] = []

    def keep(ledger: Any) -> None:
        kept.append(late.state_dict()["tensors"]["losses"])

    late.on_step = keep
    late.run()
    assert [len(losses) for losses in kept] == list(range(1, 10))
    assert all(torch.equal(losses, kept[-1][: len(losses)]) for losses in kept)
    assert float(kept[-1].min()) > 0


@pytest.mark.parametrize("steps", [3, 8], ids=["on the way", "before the last step"])
def test_what_diverges_is_said_one_step_late_with_its_own_step(late: Trainer, steps: int) -> None:
    def poison(ledger: Any) -> None:
        if ledger.steps == steps:
            with torch.no_grad():
                next(late.classifier.head.parameters()).fill_(np.nan)

    late.on_step = poison
    late._validate_at_mark = lambda: None  # type: ignore[method-assign]
    with pytest.raises(Diverged, match=f"nan at step {steps + 1}"):
        late.run()
    assert np.isfinite(late.summary().loss_last)
    assert len(late.ledger.losses) <= steps + 1
