"""The counts are exact, and three implementations agree on what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from bench.inference.metric import ConfusionMetric, score
from bench.records.metrics import Confusion, confusion

bits = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=200)


def test_golden_confusion_matrix() -> None:
    """RoBERTa-base + adapters on the 25,000 official test reviews: the result that this comparison is centred on."""
    counts = Confusion(tp=11_817, fp=778, fn=683, tn=11_722)
    labels = np.repeat([1, 0, 1, 0], [counts.tp, counts.fp, counts.fn, counts.tn])
    predictions = np.repeat([1, 1, 0, 0], [counts.tp, counts.fp, counts.fn, counts.tn])
    assert confusion(labels, predictions) == counts
    for found in (
        score(labels, predictions),
        counts.__dict__
        | {"accuracy": counts.accuracy, "precision": counts.precision, "recall": counts.recall, "f1": counts.f1},
    ):
        assert [round(found[name], 5) for name in ("accuracy", "precision", "recall", "f1")] == [
            0.94156,
            0.93823,
            0.94536,
            0.94178,
        ]


@given(bits)
def test_the_metric_and_scikit_learn_agree(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = zip(*pairs, strict=True)
    found = score(labels, predictions)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions), abs=1e-12)
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert found[name] == pytest.approx(function(labels, predictions, zero_division=0), abs=1e-12)
    matrix = sk.confusion_matrix(labels, predictions, labels=[0, 1])
    assert [found[name] for name in ("tn", "fp", "fn", "tp")] == matrix.ravel().tolist()


def test_a_test_without_positives_scores_zero() -> None:
    counts = confusion([0, 0], [0, 0])
    assert (counts.accuracy, counts.precision, counts.recall, counts.f1) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("labels", "predictions"), [([0, 1], [0]), ([0, 2], [0, 1]), ([[0, 1]], [[0, 1]]), ([0.5], [1])])
def test_anything_else_is_refused(labels: list[object], predictions: list[object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        confusion(labels, predictions)


def test_the_metric_needs_no_hub_and_leaves_no_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    metric = ConfusionMetric(keep_in_memory=True, cache_dir=str(tmp_path))
    metric.add_batch(predictions=[1, 0], references=[1, 1])
    metric.add_batch(predictions=[0], references=[0])
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
