"""The counts are exact, and three implementations agree on what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bench.inference.evaluation import ConfusionMetric, score
from bench.records.metrics import Confusion, Scores, confusion
from bench.records.schema import pack_bits, pack_classes, unpack_classes

bits = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=200)


def test_golden_confusion_matrix() -> None:
    """RoBERTa-base + adapters on the 25,000 official test reviews: the result that this comparison is centred on."""
    golden = {"tp": 11_817, "fp": 778, "fn": 683, "tn": 11_722}
    counts = Confusion(((golden["tn"], golden["fp"]), (golden["fn"], golden["tp"])))
    labels = np.repeat([1, 0, 1, 0], list(golden.values()))
    predictions = np.repeat([1, 1, 0, 0], list(golden.values()))
    assert confusion(labels, predictions) == counts
    scored = score(labels, predictions)
    assert scored.items() >= golden.items()
    assert scored.keys() == {*golden, "accuracy", "precision", "recall", "f1"}
    for found in (scored, counts.fields()):
        assert [round(found[name], 5) for name in ("accuracy", "precision", "recall", "f1")] == [
            0.94156,
            0.93823,
            0.94536,
            0.94178,
        ]


@settings(max_examples=40)  # the library makes a folder for each
@given(bits)
def test_the_metric_and_scikit_learn_agree(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = zip(*pairs, strict=True)
    found = score(labels, predictions)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions), abs=1e-12)
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert found[name] == pytest.approx(function(labels, predictions, zero_division=0), abs=1e-12)
    matrix = sk.confusion_matrix(labels, predictions, labels=[0, 1])
    assert [found[name] for name in ("tn", "fp", "fn", "tp")] == matrix.ravel().tolist()


@given(st.integers(3, 20), st.data())
def test_k_classes_score_as_scikit_learn_scores_them(classes: int, data: st.DataObject) -> None:
    one = st.integers(0, classes - 1)
    pairs = data.draw(st.lists(st.tuples(one, one), min_size=1, max_size=200))
    labels, predictions = zip(*pairs, strict=True)
    found = confusion(labels, predictions, classes).fields()
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions), abs=1e-12)
    assert found["matrix"] == sk.confusion_matrix(labels, predictions, labels=range(classes)).tolist()
    settings = {"labels": range(classes), "zero_division": 0}
    macro = sk.precision_recall_fscore_support(labels, predictions, average="macro", **settings)[:3]
    weighted = sk.precision_recall_fscore_support(labels, predictions, average="weighted", **settings)[:3]
    for name, mean, share in zip(("precision", "recall", "f1"), macro, weighted, strict=True):
        assert found[name] == pytest.approx(mean, abs=1e-12)
        assert found["weighted"][name] == pytest.approx(share, abs=1e-12)


@given(st.integers(2, 1000), st.data())
def test_classes_are_packed_without_loss(classes: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, classes - 1), max_size=50))
    packed = pack_classes(values, classes)
    assert unpack_classes(packed, len(values), classes).tolist() == values
    if classes == 2:
        assert packed == pack_bits(values)
    with pytest.raises(ValueError, match="do not hold"):
        unpack_classes(packed, len(values) + 9, classes)


def test_a_test_without_positives_scores_zero() -> None:
    counts = confusion([0, 0], [0, 0])
    assert (counts.accuracy, counts.scores) == (1.0, Scores(precision=0.0, recall=0.0, f1=0.0))


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
