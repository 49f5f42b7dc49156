"""A test as a record keeps it: metrics through the library `evaluate`, and every review's prediction in a bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.metric import score
from bench.record import Evaluation, pack_bits
from bench.task import Ints, Task

__all__ = ["evaluation_of", "test_rows"]


def test_rows(task: Task, limit: int | None) -> Ints:
    """Positions of the test reviews to test on: all, or the last `limit` of them, half of each class, in their order."""
    rows = np.arange(len(task.test))
    if limit is None or limit >= len(rows):
        return rows
    by_class = [np.flatnonzero(task.test.labels == label) for label in (0, 1)]
    return np.sort(np.concatenate([rows[len(rows) - limit // 2 :] for rows in by_class]))


def evaluation_of(task: Task, rows: Ints, predictions: npt.NDArray[np.int64], logits_sha256: str | None = None) -> Evaluation:
    """The record of a test on `rows` [n] of the task's test reviews with `predictions` [n], each 0 or 1."""
    labels = task.test.labels[rows]
    leaked = np.flatnonzero(np.isin(rows, task.leaked))
    right = predictions == labels
    return Evaluation.model_validate(
        {
            "reviews": len(rows),
            **score(labels, predictions),
            "accuracy_without_leaked": float(np.delete(right, leaked).mean()),
            "leaked": leaked.tolist(),
            "predictions": pack_bits(predictions),
            "correct": pack_bits(right),
            "logits_sha256": logits_sha256,
        }
    )
