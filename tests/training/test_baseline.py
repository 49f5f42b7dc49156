"""The baseline without an encoder: it is strong, its C comes from validation, and its records are audited."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.sources import Reviews, Source
from bench.data.sources import read as read_data
from bench.data.task import split
from bench.records.audit import audit
from bench.records.schema import Baseline, BaselineTrial
from bench.records.store import path_of, read
from bench.training.baseline import STRENGTHS, fit_baseline
from tests.conftest import baseline_job
from tests.factories import baseline, kept


@pytest.fixture(scope="module")
def small() -> Source:
    """Reviews whose class is in their pairs of words alone: "not good" and "good", "not bad" and "bad"."""
    generator = np.random.default_rng(0)
    texts, labels = [], []
    for i in range(600):
        positive, negated = i % 2, int(generator.integers(2))
        word = "good" if positive != negated else "bad"
        noise = " ".join(f"w{n}" for n in generator.integers(0, 300, 12))
        texts.append(f"{noise} film was {'not ' if negated else 'very '}{word} x{i}")
        labels.append(positive)
    return Source("small", Reviews(texts, labels), None)


def test_pairs_of_words_count_and_c_is_chosen_on_validation(small: Source, tmp_path: Path) -> None:
    found = fit_baseline(baseline_job(small))
    assert [trial.c for trial in found.trials] == list(STRENGTHS)
    assert found.test.accuracy > 0.9, "single words tell nothing here"
    assert found.spec.model == "TF-IDF + linear SVM"
    path = kept(tmp_path, found)
    assert path.name.startswith("baseline-")
    assert read(path) == found
    (outcome,) = audit([path])
    assert not outcome.failed, outcome.text()


def test_a_budget_may_have_seen_one_class_or_few_reviews(small: Source) -> None:
    one_class = np.flatnonzero(np.array(split(small).train.labels) == 1)[:8]
    assert fit_baseline(baseline_job(small, one_class)).test.recall == 1
    assert fit_baseline(baseline_job(small, np.arange(4))).spec.train_reviews == 4


@pytest.mark.parametrize(
    "trials",
    [[], [(1.0, 0.8), (0.1, 0.9)], [(0.1, 0.8), (0.1, 0.8)], [(0.1, 1.2)], [(0.1, 0.8001)]],
    ids=["none", "order", "twice", "above 1", "no whole review"],
)
def test_the_audit_reads_the_trials(trials: list[tuple[float, float]], tmp_path: Path) -> None:
    tried = [BaselineTrial(c=c, accuracy=accuracy) for c, accuracy in trials]
    (outcome,) = audit([kept(tmp_path, baseline(22404, trials=tried))])
    assert outcome.failed[0] == "baseline trials"


def test_a_record_of_rules_2_keeps_its_name(tmp_path: Path) -> None:
    old: Baseline = baseline(1600, rules_version=2)
    assert path_of(tmp_path, old).name == f"floor-1600-reviews-{old.run_id}.json"
    assert old.spec.model == "TF-IDF + logistic regression"


@pytest.mark.slow
def test_it_reaches_88_percent_on_the_embedded_reviews() -> None:
    found = fit_baseline(baseline_job(read_data("embedded")))
    assert found.test.accuracy >= 0.88
    print(found.test.accuracy, found.fit_seconds, found.trials)
