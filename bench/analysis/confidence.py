"""Calibration of a method's probabilities, from logits: expected calibration error, negative log-likelihood, Brier score.

ECE: the mean over texts of |confidence - accuracy| of their bin, in 15 bins of equal mass by confidence (Nixon et al. 2019,
arXiv 1904.01685; Guo et al. 2017 have bins of equal width, most of which are empty where a model is sure). It is never below
zero, so that even a perfectly calibrated model shows some: `floor` says how much to expect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt

from bench.analysis.comparison import Group, Row
from bench.analysis.statistics import mean_half_width
from bench.records.schema import Evaluation
from bench.records.store import load_logits
from bench.system.errors import BenchError

__all__ = ["BINS", "Bin", "Confidence", "available", "confidences", "scores"]

BINS = 15
RESAMPLES = 200
"""Of the texts, for the interval of the ECE."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """Texts of about one confidence, means over them and over seeds. Shares of 1."""

    confidence: float
    accuracy: float


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
    bins: list[Bin]


@dataclass(frozen=True)
class _Scores:
    """One run's, beside what the bootstrap of its ECE needs."""

    ece: float
    floor: float
    nll: float
    brier: float
    confidence: Floats
    """[texts], of the predicted class."""
    right: Floats
    bin: npt.NDArray[np.int64]


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
            results.append(_mean(row, runs))
    return results


def _of(test: Evaluation, folders: Sequence[Path]) -> _Scores | None:
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


def scores(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> _Scores:
    """Score one run from logits [texts, classes] and labels [texts]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    probability, texts = np.exp(log), np.arange(len(labels))
    confidence = probability.max(axis=1)
    right = (probability.argmax(axis=1) == labels).astype(np.float64)
    of_bin = np.empty(len(labels), dtype=np.int64)
    of_bin[np.argsort(confidence, kind="stable")] = texts * BINS // len(labels)
    target = np.zeros_like(probability)
    target[texts, labels] = 1
    spread = np.bincount(of_bin, confidence * (1 - confidence), BINS)
    return _Scores(
        ece=float(np.abs(np.bincount(of_bin, confidence - right, BINS)).sum() / len(labels)),
        # The mean of the absolute value of a normal variable of this variance, bin by bin.
        floor=float(np.sqrt(2 / math.pi * spread).sum() / len(labels)),
        nll=float(-log[texts, labels].mean()),
        brier=float(((probability - target) ** 2).sum(axis=1).mean()),
        confidence=confidence,
        right=right,
        bin=of_bin,
    )


def _mean(row: Row, runs: dict[int, _Scores]) -> Confidence:
    scored = list(runs.values())
    ece, nll, brier = ([getattr(of, name) for of in scored] for name in ("ece", "nll", "brier"))
    return Confidence(
        label=row.label,
        method=row.method,
        seeds=list(runs),
        ece=fmean(ece),
        ece_half_width=math.hypot(mean_half_width(ece) or 0.0, 1.96 * _deviation_over_texts(scored)),
        ece_floor=fmean(of.floor for of in scored),
        nll=fmean(nll),
        nll_half_width=mean_half_width(nll),
        brier=fmean(brier),
        brier_half_width=mean_half_width(brier),
        bins=[_bin(scored, i) for i in range(BINS) if all((of.bin == i).any() for of in scored)],
    )


def _bin(scored: Sequence[_Scores], i: int) -> Bin:
    return Bin(
        float(np.mean([of.confidence[of.bin == i].mean() for of in scored])),
        float(np.mean([of.right[of.bin == i].mean() for of in scored])),
    )


def _deviation_over_texts(scored: Sequence[_Scores]) -> float:
    """Return the deviation of the mean ECE over bootstrap resamples of the texts, the same for every seed; bins stay."""
    texts = len(scored[0].bin)
    rng, values = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, texts, texts), minlength=texts)
        gaps = [np.bincount(of.bin, times * (of.confidence - of.right), BINS) for of in scored]
        values.append(float(np.mean([np.abs(gap).sum() for gap in gaps])) / texts)
    return float(np.std(values, ddof=1))
