"""Build the evaluation of a record: metrics by the library `evaluate`, without the hub that `evaluate.load` asks, and
predictions packed into bits.
"""

from __future__ import annotations

import tempfile
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

from bench.data.tokenization import Ints, Split
from bench.records.metrics import confusion
from bench.records.schema import Evaluation, pack_bits, pack_classes

__all__ = ["ConfusionMetric", "evaluation_of", "rows_to_test", "score"]

_NONE: Ints = np.array([], dtype=np.int64)


def rows_to_test(split: Split, limit: int | None) -> Ints:
    """Return the positions of the texts to test on: all, or the last `limit`, as many of each class, ascending."""
    rows = np.arange(len(split))
    if limit is None or limit >= len(rows):
        return rows
    by_class = [np.flatnonzero(split.labels == label) for label in np.unique(split.labels)]
    each = limit // len(by_class)
    return np.sort(np.concatenate([rows[max(0, len(rows) - each) :] for rows in by_class]))


def evaluation_of(
    split: Split,
    rows: Ints,
    predictions: npt.NDArray[np.int64],
    *,
    classes: int = 2,
    leaked: Ints = _NONE,
    logits_sha256: str | None = None,
) -> Evaluation:
    """Make the record of a test on `rows` [n] of a split with `predictions` [n], each below `classes`.

    `leaked` are the positions in the split of texts that are also in train.
    """
    labels = split.labels[rows]
    among = np.flatnonzero(np.isin(rows, leaked))
    right = predictions == labels
    return Evaluation.model_validate(
        {
            "reviews": len(rows),
            **score(labels, predictions, classes),
            "accuracy_without_leaked": float(np.delete(right, among).mean()),
            "leaked": among.tolist(),
            "predictions": pack_classes(predictions, classes),
            "labels": pack_classes(labels, classes) if classes > 2 else None,
            "correct": pack_bits(right),
            "logits_sha256": logits_sha256,
        }
    )


class ConfusionMetric(evaluate.Metric):  # type: ignore[misc]
    """Accuracy, precision, recall and F1 of a test, with the counts that they come from."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Integer confusion matrix of a test and the metrics that follow from it.",
            citation="",
            inputs_description="predictions and references: lists of whole numbers from 0, of one length; classes: k",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: Any, references: Any, classes: int = 2) -> dict[str, Any]:
        return confusion(references, predictions, classes).fields()


def score(labels: Any, predictions: Any, classes: int = 2) -> dict[str, Any]:
    """Compute the metric in memory: the library's default writes and locks files under the user's cache."""
    # It makes its folder all the same, which fails where the cache cannot be written: at the very end of a run.
    with tempfile.TemporaryDirectory() as folder:
        metric = ConfusionMetric(cache_dir=folder, keep_in_memory=True)
        result: dict[str, Any] = metric.compute(predictions=predictions, references=labels, classes=classes)
    return result
