"""The confusion matrix as a metric of the library `evaluate`, without the hub that `evaluate.load` asks."""

from __future__ import annotations

import tempfile
from typing import Any

import datasets
import evaluate

from bench.records.metrics import confusion

__all__ = ["ConfusionMetric", "score"]


class ConfusionMetric(evaluate.Metric):  # type: ignore[misc]
    """Accuracy, precision, recall and F1 of a two-class test, with the four counts that they come from."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Integer confusion matrix of a two-class test and the metrics that follow from it.",
            citation="",
            inputs_description="predictions and references: lists of 0 and 1 of one length",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | int]:
        counts = confusion(references, predictions)
        return {
            "tp": counts.tp,
            "fp": counts.fp,
            "fn": counts.fn,
            "tn": counts.tn,
            "accuracy": counts.accuracy,
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
        }


def score(labels: Any, predictions: Any) -> dict[str, float | int]:
    """Compute the metric in memory: the library's default writes and locks files under the user's cache."""
    # It makes its folder all the same, which fails where the cache cannot be written: at the very end of a run.
    with tempfile.TemporaryDirectory() as folder:
        metric = ConfusionMetric(cache_dir=folder, keep_in_memory=True)
        result: dict[str, float | int] = metric.compute(predictions=predictions, references=labels)
    return result
