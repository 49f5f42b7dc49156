"""Runs whose reviews are right as a test says, their table and the comparison of two methods in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.analysis.comparison import Group, compare
from bench.analysis.verdicts import Paired
from bench.records.metrics import confusion
from bench.records.schema import Evaluation, Record, pack_bits
from bench.rules import TUNING_SEED
from tests import factories
from tests.factories import LABELS, ended, evaluation, run


def evaluated(correct: np.ndarray) -> Evaluation:
    """The test of a run that has these reviews [200] right, and no others."""
    predictions = np.where(correct.astype(bool), LABELS, 1 - LABELS)
    counts = confusion(LABELS, predictions)
    return evaluation(0, logits=False).model_copy(
        update={
            **counts.fields(), "accuracy_without_leaked": counts.accuracy,
            "predictions": pack_bits(predictions), "correct": pack_bits(correct),
        }
    )  # fmt: skip


def runs(method: str, correct: np.ndarray, seeds: list[int] | None = None) -> list[Record]:
    """A run a row of [seeds, 200]."""
    return [run(method, s, test=evaluated(row)) for s, row in zip(seeds or range(len(correct)), correct, strict=True)]


def table(*records: list[Record]) -> Group:
    (group,) = compare([record for part in records for record in part], "houlsby", ["houlsby"])
    return group


def paired(group: Group, method: str) -> Paired:
    found = next(row.paired for row in group.rows if row.method == method)
    assert found is not None
    return found


def trial(rate: float, accuracy: float = 0.8, state: str = "complete", method: str = "lora", **spec: Any) -> Record:
    """A trial at a learning rate that had this validation accuracy at the end, and a better one before it."""
    if state == "complete":
        return factories.trial(method, rate, accuracy, spec=spec)
    own = {"purpose": "trial", "seed": TUNING_SEED, "hyperparameters": {"learning_rate": rate}, **spec}
    return ended(method, state, spec=own)
