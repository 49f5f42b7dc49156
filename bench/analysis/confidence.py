"""Calibration of a method's probabilities, from logits: expected calibration error, negative log-likelihood, Brier score.

ECE: the mean over texts of |confidence - accuracy| of their bin, in 15 bins of equal mass by confidence (Nixon et al. 2019,
arXiv 1904.01685; Guo et al. 2017 have bins of equal width, most of which are empty where a model is sure). It is never below
zero, so that even a perfectly calibrated model shows some: `floor` says how much to expect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from bench.analysis.comparison import Group
from bench.analysis.statistics import mean_half_width
from bench.records.schema import Evaluation
from bench.records.store import load_logits
from bench.system.errors import BenchError

__all__ = ["BINS", "Confidence", "available", "confidences", "scores", "summarise"]

BINS = 15
RESAMPLES = 200
"""Of the texts, for the interval of the ECE."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Confidence:
    """Calibration of one method, means over seeds."""

    label: str
    method: str
    seeds: list[int]
    """Runs whose logits are there."""
    ece: float
    """A share of 1."""
    ece_half_width: float
    """Half the width of a 95 % interval: over seeds by Student's t (with two or more) and over texts by a bootstrap, added in
    squares."""
    ece_floor: float
    """The ECE to expect of a perfectly calibrated model with these confidences."""
    nll: float
    """Negative log-likelihood of the labels, nats."""
    nll_half_width: float | None
    """Over seeds."""
    brier: float
    """Mean over texts of the squared differences between probabilities and labels, summed over the classes: 0 to 2."""
    brier_half_width: float | None
    bins: list[dict[str, float]]
    """Confidence and accuracy of the texts of about one confidence, means over them and over seeds. Shares of 1."""


class Scores(NamedTuple):
    """Of one run."""

    nll: float
    brier: float
    confidence: Floats
    """[texts], of the predicted class."""
    right: Floats
    """[texts], 1 where that is the label."""


def available(group: Group, folders: Sequence[Path]) -> bool:
    """Whether any run of a group has its logits beside it."""
    return any(record.test and _place(folders, record.test) for record in group.runs)


def _place(folders: Sequence[Path], test: Evaluation) -> Path | None:
    """Find the folder of results that holds the logits of a test."""
    return next((place for place in folders if (place / "logits" / f"{test.logits_sha256}.npy").is_file()), None)


def confidences(group: Group, folders: Sequence[Path]) -> list[Confidence]:
    """Score each method with complete runs whose logits are in these folders of results; other runs are left out."""
    results = []
    for row in group.rows:
        runs = {record.spec.seed: of for record in row.runs if record.test and (of := _of(record.test, folders)) is not None}
        if runs:
            results.append(summarise(row.label, row.method, runs))
    return results


def _of(test: Evaluation, folders: Sequence[Path]) -> Scores | None:
    place = _place(folders, test)
    if test.logits_sha256 is None or place is None:
        return None
    try:
        logits = load_logits(place, test.logits_sha256)
        labels, _ = test.unpack()
    except (BenchError, ValueError):
        return None
    if logits.shape != (test.reviews, test.classes) or not np.isfinite(logits).all():
        return None
    return scores(logits, labels)


def scores(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Scores:
    """Score one run from logits [texts, classes] and labels [texts]."""
    log = special.log_softmax(logits.astype(np.float64), axis=1)
    probability = np.exp(log)
    brier = float(((probability - np.eye(logits.shape[1])[labels]) ** 2).sum(axis=1).mean())
    right = (probability.argmax(axis=1) == labels).astype(np.float64)
    return Scores(float(-log[np.arange(len(labels)), labels].mean()), brier, probability.max(axis=1), right)


def summarise(label: str, method: str, runs: Mapping[int, Scores]) -> Confidence:
    """Summarise the runs of one method, by seed, on the same texts."""
    nll, brier, confidence, right = (np.array(part) for part in zip(*runs.values(), strict=True))
    texts, order = confidence.shape[1], np.argsort(confidence, axis=1, kind="stable")
    _, first = np.unique(np.arange(texts) * BINS // texts, return_index=True)  # of each bin that is not empty

    def binned(values: Floats) -> Any:
        """Sum values [seeds, texts] over each bin."""
        return np.add.reduceat(np.take_along_axis(values, order, axis=1), first, axis=1)

    def distance(weights: npt.NDArray[np.int64] | int) -> Any:
        return np.abs(binned(weights * (confidence - right))).sum(axis=1) / texts

    # Resamples of the texts are the same for every seed, and bins stay.
    rng, ece, sizes = np.random.default_rng(0), distance(1), np.diff([*first, texts])
    drawn = (np.bincount(rng.integers(0, texts, texts), minlength=texts) for _ in range(RESAMPLES))
    over_texts = np.std([distance(times).mean() for times in drawn], ddof=1)
    # The mean of the absolute value of a normal variable of this variance, bin by bin.
    floor = np.sqrt(2 / math.pi * binned(confidence * (1 - confidence))).sum(axis=1) / texts
    sure, correct = ((binned(values) / sizes).mean(axis=0).tolist() for values in (confidence, right))
    return Confidence(
        label=label,
        method=method,
        seeds=list(runs),
        ece=float(ece.mean()),
        ece_half_width=math.hypot(mean_half_width(ece.tolist()) or 0.0, 1.96 * over_texts),
        ece_floor=float(floor.mean()),
        nll=float(nll.mean()),
        nll_half_width=mean_half_width(nll.tolist()),
        brier=float(brier.mean()),
        brier_half_width=mean_half_width(brier.tolist()),
        bins=[{"confidence": own, "accuracy": share} for own, share in zip(sure, correct, strict=True)],
    )
