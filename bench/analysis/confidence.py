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

import numpy as np
import numpy.typing as npt

from bench.analysis.comparison import Group, Row
from bench.analysis.intervals import half_width
from bench.records.schema import Evaluation
from bench.records.store import load_logits
from bench.system.errors import BenchError

__all__ = ["BINS", "Bin", "Confidence", "Folders", "available", "confidences", "scores"]

BINS = 15
RESAMPLES = 200
"""Of the texts, for the interval of the ECE."""
Floats = npt.NDArray[np.float64]
Folders = Path | Sequence[Path]
"""One folder of results, or several."""


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


def available(group: Group, folder: Folders) -> bool:
    """Whether any run of a group has its logits beside it."""
    hashes = (record.test.logits_sha256 for record in group.runs if record.test)
    return any(_place(folder, name) for name in hashes if name)


def _place(folders: Folders, name: str) -> Path | None:
    """Find the folder of results that holds the logits of this name."""
    places = [folders] if isinstance(folders, Path) else folders
    return next((place for place in places if (place / "logits" / f"{name}.npy").is_file()), None)


def confidences(group: Group, folder: Folders) -> list[Confidence]:
    """Score each method with complete runs whose logits are in the results `folder`; other runs are left out."""
    results = []
    for row in group.rows:
        runs = {record.spec.seed: of for record in row.runs if record.test and (of := _of(record.test, folder)) is not None}
        if runs:
            results.append(_mean(row, runs))
    return results


def _of(test: Evaluation, folder: Folders) -> _Scores | None:
    if test.logits_sha256 is None or (place := _place(folder, test.logits_sha256)) is None:
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
    over_seeds = half_width([of.ece for of in scored]) or 0.0
    return Confidence(
        label=row.label,
        method=row.method,
        seeds=list(runs),
        ece=float(np.mean([of.ece for of in scored])),
        ece_half_width=math.hypot(over_seeds, 1.96 * _deviation_over_texts(scored)),
        ece_floor=float(np.mean([of.floor for of in scored])),
        nll=float(np.mean([of.nll for of in scored])),
        nll_half_width=half_width([of.nll for of in scored]),
        brier=float(np.mean([of.brier for of in scored])),
        brier_half_width=half_width([of.brier for of in scored]),
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
        gaps = [np.bincount(of.bin, times * (of.confidence - of.right), BINS) for of in scored if len(of.bin) == texts]
        values.append(float(np.mean([np.abs(gap).sum() for gap in gaps])) / texts)
    return float(np.std(values, ddof=1))
