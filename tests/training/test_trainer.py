"""The loop keeps its rules: budgets, streams, audits, and ends that are states."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from bench.data.sources import Source
from bench.data.task import Task, prepare, split
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Budget
from bench.rules import MARKS, PASSES, Precision
from bench.training.late_losses import Diverged
from bench.training.steps import MICRO_BATCH
from bench.training.trainer import MemoryCapReached, Trainer
from bench.training.warm_up import AuditError, warm_up_libraries
from tests.classifiers import loop_for, trained


def test_a_step_budget_is_spent_exactly(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = trained(tiny, small_task, "houlsby", budget=Budget(amount=9, unit="steps"))
    summary = trainer.summary()
    assert (summary.steps, summary.overshoot) == (9, 0)
    assert summary.reviews_seen == summary.reviews_trained == 9 * 8
    assert [point.step for point in summary.curve] == [math.ceil(9 * mark) for mark in MARKS]


def test_an_epoch_budget_sees_every_review(tiny: PretrainedModel, small_task: Task) -> None:
    summary = trained(tiny, small_task, "lora", budget=Budget(amount=1, unit="epochs")).summary()
    assert summary.reviews_seen == summary.reviews_distinct == len(small_task.train)
    assert summary.overshoot == 0
    assert summary.tokens_seen == small_task.lengths(small_task.train, 32).sum()
    assert summary.tokens_padded >= summary.tokens_seen


def test_a_token_budget_overruns_by_less_than_a_batch(tiny: PretrainedModel, small_task: Task) -> None:
    summary = trained(tiny, small_task, "full", budget=Budget(amount=1500, unit="tokens")).summary()
    assert 0 <= summary.overshoot < 8 * 32
    assert summary.tokens_seen == summary.spent


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_touching_the_libraries_leaves_chance_as_it_was(precision: Precision) -> None:
    before = torch.get_rng_state()
    warm_up_libraries(precision)
    assert torch.equal(torch.get_rng_state(), before)


def steps_of(trainer: Trainer) -> torch.Tensor:
    """What plain gradient descent changes in three steps, or in the passes over three batches."""
    trainer.warm_up()
    trainer.optimizer, trainer.peak_rate = torch.optim.SGD(trainer.trained), 0.1
    before = torch.cat([parameter.detach().flatten().clone() for parameter in trainer.trained])
    trainer.run()
    summary, passes = trainer.summary(), PASSES if trainer.encodes_once else 1
    assert (summary.steps, summary.reviews_trained) == (3 * passes, 24 * passes)
    assert summary.frozen_sha256_before == summary.frozen_sha256_after
    return torch.cat([parameter.detach().flatten() for parameter in trainer.trained]) - before


@pytest.mark.parametrize("name", ["houlsby", "lora", "full", "head-only"])
def test_a_batch_in_pieces_is_one_step_of_the_whole_batch(
    tiny: PretrainedModel, small_task: Task, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch here has up to 8 reviews of 32 tokens."""
    changes: list[torch.Tensor] = []
    losses: list[float] = []
    for tokens, parts in ((8 * 32, 1), (100, 3)):
        monkeypatch.setattr("bench.training.steps.MICRO_BATCH", tokens)
        trainer = loop_for(tiny, small_task, name, budget=Budget(amount=3, unit="steps"))
        assert len(trainer._micro_batches(8, 32)) == parts
        changes.append(steps_of(trainer))
        losses += trainer.ledger.losses
    assert changes[0].abs().max() > 1e-3
    torch.testing.assert_close(changes[0], changes[1], rtol=1e-3, atol=1e-6)
    half = len(losses) // 2
    assert losses[:half] == pytest.approx(losses[half:], rel=1e-5)


@pytest.mark.parametrize("name", ["houlsby", "lora", "full", "head-only"])
def test_wider_batches_have_the_same_gradient(tiny: PretrainedModel, small_task: Task, name: str) -> None:
    changes: list[torch.Tensor] = []
    padded: list[int] = []
    for multiple in (1, 32):
        trainer = loop_for(tiny, small_task, name, budget=Budget(amount=3, unit="steps"), max_length=256)
        trainer.multiple = multiple
        changes.append(steps_of(trainer))
        padded.append(trainer.ledger.tokens_padded)
    assert padded[0] < padded[1]
    assert changes[0].abs().max() > 1e-3
    torch.testing.assert_close(changes[0], changes[1], rtol=1e-3, atol=1e-6)


def test_pieces_are_even_and_hold_every_review(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = loop_for(tiny, small_task, "houlsby")
    for reviews, longest in ((16, 128), (16, 129), (16, 256), (7, 512), (1, 8192), (33, 512)):
        micro_batches = trainer._micro_batches(reviews, longest)
        rows = [row for micro_batch in micro_batches for row in range(reviews)[micro_batch]]
        assert rows == list(range(reviews))
        sizes = [len(range(reviews)[micro_batch]) for micro_batch in micro_batches]
        assert sizes[0] == max(sizes)
        assert sizes[0] == 1 or sizes[0] * longest <= MICRO_BATCH + longest
    assert len(trainer._micro_batches(16, 128)) == 1, "the default setting is trained on whole batches"
    assert len(loop_for(tiny, small_task, "head-only")._micro_batches(16, 512)) == 3, (
        "a method that encodes once is no exception"
    )


@pytest.mark.parametrize("unit", ["seconds", "reference tokens"])
def test_a_run_counts_and_takes_no_budget_that_a_calibration_should_have_converted(
    tiny: PretrainedModel, small_task: Task, unit: Literal["seconds", "reference tokens"]
) -> None:
    with pytest.raises(ValueError, match=f"not {unit}"):
        trained(tiny, small_task, "houlsby", budget=Budget(amount=500, unit=unit))


@pytest.mark.parametrize(
    ("budget", "reviews"),
    [
        (Budget(amount=5, unit="steps"), 40),
        (Budget(amount=0.5, unit="epochs"), None),
        (Budget(amount=700, unit="tokens"), None),
        (Budget(amount=3, unit="epochs"), "all"),
    ],
)
def test_head_only_encodes_what_the_budget_buys_and_then_makes_its_passes(
    tiny: PretrainedModel, small_task: Task, budget: Budget, reviews: int | str | None
) -> None:
    trainer = trained(tiny, small_task, "head-only", budget=budget)
    summary, train = trainer.summary(), len(small_task.train)
    assert summary.reviews_seen == summary.reviews_distinct <= train
    if reviews is not None:
        assert summary.reviews_seen == (train if reviews == "all" else reviews)
    assert summary.steps == PASSES * math.ceil(summary.reviews_seen / 8)
    assert summary.reviews_trained == PASSES * summary.reviews_seen
    assert [point.fraction for point in summary.curve] == [1.0]
    assert summary.spent <= budget.amount + (0 if reviews == "all" else 8 * 32)


def test_the_learning_rate_of_head_only_follows_its_passes(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = loop_for(tiny, small_task, "head-only", budget=Budget(amount=4, unit="steps"))
    trainer.warm_up()
    rates: list[float] = []
    trainer.on_step = lambda ledger: rates.append(trainer.optimizer.param_groups[0]["lr"])
    trainer.run()
    encoding, passes = rates[:4], rates[4:]
    assert encoding == [0.0] * 4
    assert len(passes) == 4 * PASSES
    assert max(passes) == pytest.approx(trainer.peak_rate, rel=0.05)
    assert passes.index(max(passes)) == pytest.approx(0.06 * len(passes), abs=1.5)


def test_head_only_trains_on_what_the_encoder_says(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = trained(tiny, small_task, "head-only", budget=Budget(amount=2, unit="epochs"))
    assert trainer.known.all()
    row = np.array([17])
    ids = torch.from_numpy(small_task.encode(small_task.train, 17, 32, "head+tail"))[None]
    with torch.no_grad():
        fresh = trainer.classifier.features(ids, torch.ones_like(ids))
    torch.testing.assert_close(trainer.features[torch.from_numpy(row)], fresh, atol=1e-5, rtol=1e-5)


def test_a_loss_that_is_no_number_is_a_state_with_its_step(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = loop_for(tiny, small_task, "full", budget=Budget(amount=20, unit="steps"))
    trainer.warm_up()

    def poison(ledger: object) -> None:
        if trainer.ledger.steps == 3:
            with torch.no_grad():
                next(trainer.classifier.head.parameters()).fill_(math.nan)

    trainer.on_step = poison
    with pytest.raises(Diverged, match="nan at step 4"):
        trainer.run()
    assert trainer.summary().steps == 3


def test_a_memory_cap_ends_the_run(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = loop_for(tiny, small_task, "full", memory_cap=2**20, max_length=128, batch_size=64)
    trainer.memory.start()
    trainer.warm_up()
    with pytest.raises(MemoryCapReached, match="the cap is 1 MiB"):
        trainer.run()
    assert trainer.ledger.steps == 1


def test_gradients_are_where_something_trains_and_nowhere_else(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = loop_for(tiny, small_task, "full")
    trainer.classifier.register_parameter("idle", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(AuditError, match="idle should train"):
        trainer.warm_up()
    trainer = loop_for(tiny, small_task, "head-only")
    frozen = next(trainer.classifier.encoder.parameters())
    frozen.grad = torch.zeros_like(frozen)
    with pytest.raises(AuditError, match="should be frozen"):
        trainer.warm_up()


@pytest.mark.slow
def test_a_loop_learns(minilm: PretrainedModel, small_source: Source) -> None:
    """Real encoder, real reviews, a few steps: the loss of the adapter falls."""
    task = prepare(minilm, small_source.sha256, lambda: split(small_source))
    trainer = trained(minilm, task, "houlsby", budget=Budget(amount=25, unit="steps"), max_length=64, batch_size=16)
    losses = trainer.ledger.losses
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02
