"""The confusion matrix as a metric of the library `evaluate`, without the hub that `evaluate.load` asks."""

from __future__ import annotations

import tempfile
from typing import Any

import datasets
import evaluate

from bench.records.metrics import confusion

__all__ = ["ConfusionMetric", "score"]


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
