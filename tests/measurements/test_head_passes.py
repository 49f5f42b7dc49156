"""Passes of a head over cached features: heads do not disturb each other, and the file gives the constant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import rules
from tests.measurements.head_passes import COUNTS, OUT, PASSES, RATES, SEEDS, Kept, best, chosen, passes_over, train_heads

COMMITTED = Path(__file__).parents[2] / OUT


def test_a_head_trained_among_others_is_the_one_trained_alone() -> None:
    torch.manual_seed(0)
    features = 8 * torch.randn(40, 6)  # steep enough to be clipped
    data = Kept(features, (features[:, 0] > 0).long(), np.arange(40) % 7 + 3)
    slow, fast = train_heads(data, (1e-2, 1e-1), 3, seed=1)
    (alone,) = train_heads(data, (1e-1,), 3, seed=1)
    torch.testing.assert_close(fast.weight, alone.weight)
    assert not torch.allclose(slow.weight, fast.weight, atol=0.01)
    found = passes_over(data, data, 1, seed=1)
    assert [one["rate"] for one in found] == list(RATES)
    assert found[0]["train_loss"] > found[-1]["train_loss"]


def test_the_fewest_passes_are_chosen_beyond_which_little_is_gained() -> None:
    accuracy = dict(zip(PASSES, [0.70, 0.75, 0.779, 0.7805, 0.78, 0.7795, 0.7805], strict=True))
    runs = [
        {"reviews": count, "passes": k, "rate": rate, "seed": seed, "accuracy": accuracy[k] - (rate != RATES[2]) / 10}
        for count in COUNTS for k in PASSES for rate in RATES for seed in SEEDS
    ]  # fmt: skip
    assert best(runs, COUNTS[0], 1) == (RATES[2], pytest.approx(0.70))
    assert chosen(runs) == 5


def test_the_committed_runs_give_the_committed_number() -> None:
    found = json.loads(COMMITTED.read_text())
    assert len(found["runs"]) == len(COUNTS) * len(PASSES) * len(RATES) * len(SEEDS)
    assert found["environment"]["dirty"] is False
    assert found["passes"] == chosen(found["runs"]) == rules.PASSES
