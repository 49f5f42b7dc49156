"""The loop keeps its rules: budgets, streams, audits, and ends that are states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.budget import MARKS
from bench.checkpoint import Checkpoint
from bench.encoder import load_classifier
from bench.reviews import Source
from bench.spec import Budget, Precision
from bench.task import Task, cut, prepare
from bench.training import PIECE, AuditError, Diverged, Loop, MemoryCapReached, touch
from tests.test_methods import loop_for, trained


def test_a_step_budget_is_spent_exactly(tiny: Checkpoint, small_task: Task) -> None:
    loop = trained(tiny, small_task, "houlsby", budget=Budget(amount=9, unit="steps"))
    summary = loop.summary()
    assert (summary.steps, summary.overshoot) == (9, 0)
    assert summary.reviews_seen == summary.reviews_trained == 9 * 8
    assert [point.step for point in summary.curve] == [math.ceil(9 * mark) for mark in MARKS]


def test_an_epoch_budget_sees_every_review(tiny: Checkpoint, small_task: Task) -> None:
    summary = trained(tiny, small_task, "lora", budget=Budget(amount=1, unit="epochs")).summary()
    assert summary.reviews_seen == summary.reviews_distinct == len(small_task.train)
    assert summary.overshoot == 0
    assert summary.tokens_seen == small_task.lengths(small_task.train, 32).sum()
    assert summary.tokens_padded >= summary.tokens_seen


def test_a_token_budget_overruns_by_less_than_a_batch(tiny: Checkpoint, small_task: Task) -> None:
    summary = trained(tiny, small_task, "full", budget=Budget(amount=1500, unit="tokens")).summary()
    assert 0 <= summary.overshoot < 8 * 32
    assert summary.tokens_seen == summary.spent


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_touching_the_libraries_leaves_chance_as_it_was(precision: Precision) -> None:
    before = torch.get_rng_state()
    touch(precision)
    assert torch.equal(torch.get_rng_state(), before)


def steps_of(loop: Loop) -> torch.Tensor:
    """What three steps of plain gradient descent change, which is the gradient."""
    loop.rehearse()
    loop.optimizer, loop.peak_rate = torch.optim.SGD(loop.trained), 0.1
    before = torch.cat([parameter.detach().flatten().clone() for parameter in loop.trained])
    loop.run()
    summary = loop.summary()
    assert (summary.steps, summary.reviews_trained, summary.frozen_sha256_before) == (3, 24, summary.frozen_sha256_after)
    return torch.cat([parameter.detach().flatten() for parameter in loop.trained]) - before


@pytest.mark.parametrize("name", ["houlsby", "lora", "full", "head-only"])
def test_a_batch_in_pieces_is_one_step_of_the_whole_batch(
    tiny: Checkpoint, small_task: Task, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch here has up to 8 reviews of 32 tokens."""
    changes: list[torch.Tensor] = []
    losses: list[float] = []
    for tokens, parts in ((8 * 32, 1), (100, 3)):
        monkeypatch.setattr("bench.training.PIECE", tokens)
        loop = loop_for(tiny, small_task, name, budget=Budget(amount=3, unit="steps"))
        assert len(loop._pieces(8, 32)) == parts
        changes.append(steps_of(loop))
        losses += loop.ledger.losses
    assert changes[0].abs().max() > 1e-3
    torch.testing.assert_close(changes[0], changes[1], rtol=1e-3, atol=1e-6)
    assert losses[:3] == pytest.approx(losses[3:], rel=1e-5)


@pytest.mark.parametrize("name", ["houlsby", "lora", "full", "head-only"])
def test_wider_batches_have_the_same_gradient(tiny: Checkpoint, small_task: Task, name: str) -> None:
    changes: list[torch.Tensor] = []
    padded: list[int] = []
    for multiple in (1, 32):
        loop = loop_for(tiny, small_task, name, budget=Budget(amount=3, unit="steps"), max_length=256)
        loop.multiple = multiple
        changes.append(steps_of(loop))
        padded.append(loop.ledger.tokens_padded)
    assert padded[0] < padded[1]
    assert changes[0].abs().max() > 1e-3
    torch.testing.assert_close(changes[0], changes[1], rtol=1e-3, atol=1e-6)


def test_pieces_are_even_and_hold_every_review(tiny: Checkpoint, small_task: Task) -> None:
    loop = loop_for(tiny, small_task, "houlsby")
    for reviews, longest in ((16, 128), (16, 129), (16, 256), (7, 512), (1, 8192), (33, 512)):
        pieces = loop._pieces(reviews, longest)
        rows = [row for piece in pieces for row in range(reviews)[piece]]
        assert rows == list(range(reviews))
        sizes = [len(range(reviews)[piece]) for piece in pieces]
        assert sizes[0] == max(sizes)
        assert sizes[0] == 1 or sizes[0] * longest <= PIECE + longest
    assert len(loop._pieces(16, 128)) == 1, "the default setting is trained on whole batches"
    assert len(loop_for(tiny, small_task, "head-only")._pieces(16, 512)) == 3, "a method that encodes once is no exception"


@pytest.mark.parametrize("name", ["houlsby", "head-only"])
def test_a_time_budget_overruns_by_at_most_a_step(tiny: Checkpoint, small_task: Task, name: str) -> None:
    loop = trained(tiny, small_task, name, budget=Budget(amount=1.5, unit="seconds"))
    summary = loop.summary()
    assert 1.5 <= summary.spent <= 1.5 + summary.longest_step_seconds
    assert summary.spent == pytest.approx(loop.clock.seconds, abs=0.05)
    assert len(summary.curve) == len(MARKS)


def test_head_only_encodes_each_review_once(tiny: Checkpoint, small_task: Task) -> None:
    summary = trained(tiny, small_task, "head-only", budget=Budget(amount=3, unit="epochs")).summary()
    assert summary.reviews_seen == summary.reviews_distinct == len(small_task.train)
    assert summary.reviews_trained == 3 * len(small_task.train)


def test_head_only_stops_reading_at_four_fifths_of_a_time_budget(
    tiny: Checkpoint, small_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is driven by hand: every reading is a second later, so that the place of the change is exact."""
    loop = loop_for(tiny, small_task, "head-only", budget=Budget(amount=50, unit="seconds"))
    loop.rehearse()
    now = iter(range(10_000))
    monkeypatch.setattr(type(loop.clock), "_now", lambda clock: float(next(now)))
    seen: list[tuple[float, int]] = []
    loop.on_step = lambda ledger: seen.append((ledger.fraction, ledger.reviews_seen))
    loop.run()
    reading = [count for fraction, count in seen if fraction < 0.8]
    rest = {count for fraction, count in seen if fraction >= 0.8}
    assert len(reading) > 10
    assert np.diff(reading).min() > 0  # new reviews until then
    assert len(rest) == 1  # and none after
    assert loop.ledger.reviews_trained > loop.ledger.reviews_seen


def test_head_only_trains_on_what_the_encoder_says(tiny: Checkpoint, small_task: Task) -> None:
    loop = trained(tiny, small_task, "head-only", budget=Budget(amount=2, unit="epochs"))
    assert loop.features is not None
    assert loop.known.all()
    row = np.array([17])
    ids = torch.from_numpy(small_task.encode(small_task.train, 17, 32, "head+tail"))[None]
    with torch.no_grad():
        fresh = loop.classifier.features(ids, torch.ones_like(ids))
    torch.testing.assert_close(loop.features[torch.from_numpy(row)], fresh, atol=1e-5, rtol=1e-5)


def test_a_loss_that_is_no_number_is_a_state_with_its_step(tiny: Checkpoint, small_task: Task) -> None:
    loop = loop_for(tiny, small_task, "full", budget=Budget(amount=20, unit="steps"))
    loop.rehearse()

    def poison(ledger: object) -> None:
        if loop.ledger.steps == 3:
            with torch.no_grad():
                next(loop.classifier.head.parameters()).fill_(math.nan)

    loop.on_step = poison
    with pytest.raises(Diverged, match="nan at step 4"):
        loop.run()
    assert loop.summary().steps == 3


def test_a_memory_cap_ends_the_run(tiny: Checkpoint, small_task: Task) -> None:
    loop = loop_for(tiny, small_task, "full", memory_cap=2**20, max_length=128, batch_size=64)
    loop.memory.start()
    loop.rehearse()
    with pytest.raises(MemoryCapReached, match="the cap is 1 MiB"):
        loop.run()
    assert loop.ledger.steps == 1


def test_a_roomy_memory_cap_changes_nothing(tiny: Checkpoint, small_task: Task) -> None:
    loop = loop_for(tiny, small_task, "full", memory_cap=2**40)
    loop.memory.start()
    loop.rehearse()
    loop.run()
    assert loop.ledger.losses == trained(tiny, small_task, "full").ledger.losses


def test_a_trainable_parameter_without_gradient_is_an_error(tiny: Checkpoint, small_task: Task) -> None:
    loop = loop_for(tiny, small_task, "full")
    loop.classifier.register_parameter("idle", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(AuditError, match="idle should train"):
        loop.rehearse()


def test_a_frozen_parameter_with_gradient_is_an_error(tiny: Checkpoint, small_task: Task) -> None:
    loop = loop_for(tiny, small_task, "head-only")
    frozen = next(loop.classifier.encoder.parameters())
    frozen.grad = torch.zeros_like(frozen)
    with pytest.raises(AuditError, match="should be frozen"):
        loop.rehearse()


def test_dropout_reaches_attention(tiny: Checkpoint) -> None:
    classifier = load_classifier(tiny, seed=0, dropout=0.2, attention_dropout=0.3)
    assert classifier.encoder.config.attention_probs_dropout_prob == 0.3
    assert classifier.encoder.embeddings.dropout.p == 0.2


def test_bf16_keeps_the_weights_in_fp32(tiny: Checkpoint, small_task: Task) -> None:
    loop = trained(tiny, small_task, "houlsby", precision="bf16")
    assert {p.dtype for p in loop.classifier.parameters()} == {torch.float32}
    exact = trained(tiny, small_task, "houlsby").ledger.losses
    assert loop.ledger.losses != exact
    assert loop.ledger.losses == pytest.approx(exact, abs=0.02)


def test_a_loop_learns(minilm: Checkpoint, small_source: Source) -> None:
    """Real encoder, real reviews, a few steps: the loss of the adapter falls."""
    task = prepare(minilm, small_source.sha256, lambda: cut(small_source))
    loop = trained(minilm, task, "houlsby", budget=Budget(amount=25, unit="steps"), max_length=64, batch_size=16)
    losses = loop.ledger.losses
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02
