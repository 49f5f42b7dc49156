"""The floor: TF-IDF and logistic regression on the same reviews, without any encoder, in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from bench import RULES_VERSION
from bench.batches import stream
from bench.files import sha256_bytes
from bench.provenance import cpu_model, environment
from bench.record import DataCut, Floor, FloorSpec
from bench.reviews import plain
from bench.task import Cut, Ints, Task, sampled

__all__ = ["FloorJob", "fit_floor", "floor_spec", "rows_seen"]


@dataclass(frozen=True)
class FloorJob:
    """A floor to be measured."""

    run_id: str
    spec: FloorSpec
    rows: Ints
    """Positions in the train split to fit on."""
    cut: Cut
    task: Task
    data: DataCut
    threads: int


def rows_seen(task: Task, max_length: int, batch_size: int, seed: int, count: int, train_limit: int | None = None) -> Ints:
    """The first `count` different train reviews in the order that every method reads them with this seed."""
    rows: list[int] = []
    sample = sampled(len(task.train), train_limit, seed)
    for batch in stream(task.lengths(task.train, max_length)[sample], batch_size, seed):
        rows += batch.tolist()
        if len(rows) >= min(count, len(sample)):
            return sample[np.sort(np.array(rows[:count], dtype=np.int64))]
    raise AssertionError("the stream of batches has no end")


def floor_spec(rows: Ints, test_limit: int | None) -> FloorSpec:
    """What a floor on these rows is; the settings are scikit-learn's defaults, which reach 88.9 % on the official split."""
    return FloorSpec(
        train_reviews=len(rows),
        rows_sha256=sha256_bytes(rows.astype("<i8").tobytes()),
        test_limit=test_limit,
        vectorizer="TfidfVectorizer: lower-cased unigrams, l2",
        classifier="LogisticRegression: C 1, l2, lbfgs, at most 1000 iterations",
    )


def fit_floor(job: FloorJob, notify: Callable[[str, float], None] = lambda phase, share: None) -> Floor:
    """Fit on the job's rows and test on the same reviews as the runs."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from bench.evaluation import evaluation_of, rows_to_test

    notify("training", 0.0)
    began = time.monotonic()
    vectorizer = TfidfVectorizer()
    features = vectorizer.fit_transform([plain(job.cut.train.texts[i]) for i in job.rows])
    classifier = LogisticRegression(max_iter=1000).fit(features, job.task.train.labels[job.rows])
    seconds = time.monotonic() - began
    notify("test", 0.0)
    tested = rows_to_test(job.task.test, job.spec.test_limit)
    predictions = classifier.predict(vectorizer.transform([plain(job.cut.test.texts[i]) for i in tested]))
    return Floor(
        run_id=job.run_id,
        rules_version=RULES_VERSION,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        spec=job.spec,
        environment=environment(device=cpu_model(), threads=job.threads),
        data=job.data,
        fit_seconds=seconds,
        test=evaluation_of(job.task.test, tested, predictions.astype(np.int64), leaked=job.task.leaked),
    )
