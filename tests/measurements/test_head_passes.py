"""Passes of a head over cached features: the optimizer of the measurement is AdamW, and its file gives the constant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench import rules
from bench.data.batches import stream
from bench.training.budget import schedule
from tests.measurements import head_passes
from tests.measurements.head_passes import BATCH, CLIP, COUNTS, OUT, PASSES, RATES, SEEDS, Kept, best, chosen, train_heads

COMMITTED = Path(__file__).parents[2] / OUT


def test_heads_trained_together_are_those_of_adamw() -> None:
    torch.manual_seed(0)
    features = 8 * torch.randn(40, 6)  # steep enough to be clipped
    data = Kept(features, (features[:, 0] > 0).long(), np.arange(40) % 7 + 3)
    weights, biases = train_heads(data, (1e-2, 1e-1), 3, seed=1)
    for i, rate in enumerate((1e-2, 1e-1)):
        head = nn.Linear(6, 2)
        with torch.no_grad():
            head.weight.normal_(0.0, head_passes.STD, generator=torch.Generator().manual_seed(1))
            head.bias.zero_()
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.0, weight_decay=0.0)
        batches, steps = stream(data.lengths, BATCH, 1, first_epoch=1), 9
        for step in range(steps):
            rows = torch.from_numpy(next(batches))
            optimizer.param_groups[0]["lr"] = rate * schedule(step / steps)
            optimizer.zero_grad()
            cross_entropy(head(features[rows]), data.labels[rows]).backward()
            nn.utils.clip_grad_norm_(head.parameters(), CLIP)
            optimizer.step()
        torch.testing.assert_close(weights[i], head.weight.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(biases[i], head.bias.detach(), rtol=1e-4, atol=1e-6)


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
