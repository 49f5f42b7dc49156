"""From predictions to an integer confusion matrix, and from that to every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.records.spec import Part

__all__ = ["Confusion", "Scores", "confusion"]


class Scores(Part):
    """Precision, recall and F1 of one class, or averages over classes."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Confusion:
    """Counts [true class][predicted class] of a test of k classes.

    With two classes precision, recall and F1 are those of class 1 (positive), with more their means over the classes (macro).
    A ratio without cases (no text predicted positive, say) is 0, as scikit-learn's zero_division=0 has it.
    """

    matrix: tuple[tuple[int, ...], ...]

    @property
    def classes(self) -> int:
        return len(self.matrix)

    @property
    def support(self) -> list[int]:
        """Texts of each class."""
        return [sum(row) for row in self.matrix]

    @property
    def predicted(self) -> list[int]:
        """Predictions of each class."""
        return [sum(column) for column in zip(*self.matrix, strict=True)]

    @property
    def reviews(self) -> int:
        return sum(self.support)

    @property
    def correct(self) -> int:
        return sum(row[i] for i, row in enumerate(self.matrix))

    @property
    def accuracy(self) -> float:
        return _ratio(self.correct, self.reviews)

    @property
    def per_class(self) -> list[Scores]:
        """The scores of each class against all others."""
        scores = []
        for i, (predicted, own) in enumerate(zip(self.predicted, self.support, strict=True)):
            right = self.matrix[i][i]
            f1 = _ratio(2 * right, predicted + own)
            scores.append(Scores(precision=_ratio(right, predicted), recall=_ratio(right, own), f1=f1))
        return scores

    @property
    def weighted(self) -> Scores:
        """Means over the classes, weighted by their numbers of texts."""
        return _mean(self.per_class, self.support)

    @property
    def scores(self) -> Scores:
        """Of class 1 with two classes, with more the means over the classes."""
        return self.per_class[1] if self.classes == 2 else _mean(self.per_class, [1] * self.classes)

    def fields(self) -> dict[str, Any]:
        """Return counts and metrics as a record has them: of two classes tp, fp, fn and tn, of more the matrix."""
        values = {"accuracy": self.accuracy, **self.scores.model_dump()}
        if self.classes > 2:
            return {"matrix": [list(row) for row in self.matrix], **values, "weighted": self.weighted.model_dump()}
        (tn, fp), (fn, tp) = self.matrix
        return {"tp": tp, "fp": fp, "fn": fn, "tn": tn, **values}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _mean(scores: Sequence[Scores], weights: Sequence[int]) -> Scores:
    if not any(weights):
        return Scores(precision=0.0, recall=0.0, f1=0.0)
    means = {name: fmean((getattr(score, name) for score in scores), weights) for name in Scores.model_fields}
    return Scores(**means)


def confusion(labels: npt.ArrayLike, predictions: npt.ArrayLike, classes: int = 2) -> Confusion:
    """Count two arrays [n] of classes, whole numbers below `classes`, against each other.

    Raises:
        ValueError: if they differ in length or hold anything else.
    """
    truth, guess = np.asarray(labels), np.asarray(predictions)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(f"labels {truth.shape} and predictions {guess.shape} must be arrays of one length")
    if not (np.isin(truth, range(classes)).all() and np.isin(guess, range(classes)).all()):
        raise ValueError(f"labels and predictions must be whole numbers from 0 to {classes - 1}")
    counts = np.bincount(classes * truth.astype(int) + guess.astype(int), minlength=classes**2).reshape(classes, classes)
    return Confusion(tuple(tuple(int(n) for n in row) for row in counts))
