"""The baseline: TF-IDF of word 1–2-grams and a linear SVM on the same texts, without any encoder.

A strong linear model for sentiment (Wang and Manning, Baselines and Bigrams, ACL 2012).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bench.data.batches import stream
from bench.data.sources import plain
from bench.data.task import Ints, Splits, Task, sample
from bench.records.environment import environment
from bench.records.schema import Baseline, BaselineSpec, BaselineTrial, DataCut
from bench.rules import RULES_VERSION
from bench.system.device import cpu_model
from bench.system.files import sha256_bytes

__all__ = ["STRENGTHS", "BaselineJob", "baseline_spec", "fit_baseline", "rows_seen"]

STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""Values of C, the inverse strength of regularisation."""


@dataclass(frozen=True)
class BaselineJob:
    """A baseline to fit."""

    run_id: str
    spec: BaselineSpec
    rows: Ints
    """Positions in the train split to fit on."""
    splits: Splits
    task: Task
    data: DataCut
    threads: int


def rows_seen(task: Task, max_length: int, batch_size: int, seed: int, count: int, train_limit: int | None = None) -> Ints:
    """Return the rows of the first `count` different train texts in the order of a seed, ascending."""
    rows: list[int] = []
    sampled = sample(len(task.train), train_limit, seed)
    for batch in stream(task.lengths(task.train, max_length)[sampled], batch_size, seed):
        rows += batch.tolist()
        if len(rows) >= min(count, len(sampled)):
            return sampled[np.sort(np.array(rows[:count], dtype=np.int64))]
    raise AssertionError("the stream of batches has no end")


def baseline_spec(rows: Ints, test_limit: int | None) -> BaselineSpec:
    """Make the spec of a baseline on these train rows."""
    return BaselineSpec(
        train_reviews=len(rows),
        rows_sha256=sha256_bytes(rows.astype("<i8").tobytes()),
        test_limit=test_limit,
        vectorizer="TfidfVectorizer: lower-cased word 1–2-grams, sublinear tf, in two reviews at least, l2",
        classifier=f"LinearSVC: squared hinge, l2, C of {', '.join(f'{c:g}' for c in STRENGTHS)} by validation",
    )


def fit_baseline(job: BaselineJob, notify: Callable[[str, float], None] = lambda phase, share: None) -> Baseline:
    """Fit on the job's rows, choose C on validation, and test once on the same texts as the runs."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from bench.inference.evaluation import evaluation_of, rows_to_test

    notify("training", 0.0)
    began = time.monotonic()
    train, validation, test = (split.texts for split in (job.splits.train, job.splits.validation, job.splits.test))
    labels = job.task.train.labels[job.rows]
    tested = rows_to_test(job.task.test, job.spec.test_limit)
    # Terms of a single text take most of the memory and a third of the time, and gain nothing on validation.
    fewest = 2 if len(job.rows) >= 100 else 1
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=fewest, dtype=np.float32)
    features = vectorizer.fit_transform([plain(train[i]) for i in job.rows])
    held_out = vectorizer.transform([plain(text) for text in validation])
    trials: list[BaselineTrial] = []
    best: tuple[float, Any] | None = None
    for done, strength in enumerate(STRENGTHS):
        classifier = _classifier(strength, labels).fit(features, labels)
        accuracy = float((classifier.predict(held_out) == job.task.validation.labels).mean())
        trials.append(BaselineTrial(c=strength, accuracy=accuracy))
        if best is None or accuracy > best[0]:  # a tie goes to the smaller C
            best = accuracy, classifier
        notify("training", (done + 1) / len(STRENGTHS))
    assert best is not None
    seconds = time.monotonic() - began
    notify("test", 0.0)
    predictions = best[1].predict(vectorizer.transform([plain(test[i]) for i in tested]))
    return Baseline(
        run_id=job.run_id,
        rules_version=RULES_VERSION,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        spec=job.spec,
        environment=environment(device=cpu_model(), threads=job.threads),
        data=job.data,
        fit_seconds=seconds,
        trials=trials,
        test=evaluation_of(
            job.task.test, tested, predictions.astype(np.int64), classes=len(job.data.labels), leaked=job.task.leaked
        ),
    )


def _classifier(strength: float, labels: Ints) -> Any:
    """Make a linear SVM; for texts of one class, all that a tiny budget may have seen, a constant."""
    from sklearn.dummy import DummyClassifier
    from sklearn.svm import LinearSVC

    one_class = len(np.unique(labels)) == 1
    return DummyClassifier(strategy="most_frequent") if one_class else LinearSVC(C=strength, random_state=0)
