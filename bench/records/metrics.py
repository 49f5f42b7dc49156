"""From predictions to an integer confusion matrix, and from that to every metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Confusion", "confusion"]


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-class test; class 1 (positive) is the one that precision, recall and F1 speak of.

    A ratio without cases (no review predicted positive, say) is 0, as scikit-learn's zero_division=0 has it.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def reviews(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float:
        return _ratio(self.tp + self.tn, self.reviews)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def confusion(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Confusion:
    """Count two arrays [n] of zeros and ones against each other.

    Raises:
        ValueError: if they differ in length or hold anything else.
    """
    truth, guess = np.asarray(labels), np.asarray(predictions)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(f"labels {truth.shape} and predictions {guess.shape} must be arrays of one length")
    if not (np.isin(truth, (0, 1)).all() and np.isin(guess, (0, 1)).all()):
        raise ValueError("labels and predictions must be 0 or 1")
    tn, fp, fn, tp = (int(n) for n in np.bincount(2 * truth.astype(int) + guess.astype(int), minlength=4))
    return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)
