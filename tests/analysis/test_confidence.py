"""How far probabilities can be believed: the scores of logits, their table, and the figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from bench.analysis.confidence import BINS, Confidence, available, confidences, scores, summarise
from bench.records.store import load
from bench.report.figures import reliability
from bench.report.figures.figure import PICTURE
from bench.report.figures.marks import looks
from bench.report.render import render
from tests.conftest import call
from tests.factories import COMMITTED, folder_of, one_group, run


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Logits [30,000, 2] and labels that were drawn from the very probabilities that they say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (30_000, 2))
    positive = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    return logits, (rng.random(30_000) < positive).astype(np.int64)


def scored(logits: np.ndarray, labels: np.ndarray) -> Confidence:
    return summarise("lora", "lora", {0: scores(logits, labels)})


def test_scores_are_those_of_a_library(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    positive = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    found = scored(logits, labels)
    assert found.nll == pytest.approx(log_loss(labels, positive))
    assert found.brier == pytest.approx(2 * brier_score_loss(labels, positive))
    confidence, right = np.maximum(positive, 1 - positive), (positive > 0.5) == labels
    sure, correct = (values[np.argsort(confidence)].reshape(BINS, -1).mean(axis=1) for values in (confidence, right))
    assert found.ece == pytest.approx(np.abs(sure - correct).mean())
    assert [tuple(b.values()) for b in found.bins] == [pytest.approx(pair) for pair in zip(sure, correct, strict=True)]
    few = scored(logits[:7], labels[:7])
    assert (len(few.bins), few.ece) == (7, pytest.approx(np.abs(confidence[:7] - right[:7]).mean()))


def test_a_calibrated_model_shows_what_one_is_expected_to(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    honest, sure = scored(logits, labels), scored(3 * logits, labels)
    assert honest.ece == pytest.approx(honest.ece_floor, abs=0.003)
    assert sure.ece > 10 * sure.ece_floor
    assert scores(1000 * logits, labels).nll < np.inf


def test_runs_without_their_logits_are_left_out(tmp_path: Path) -> None:
    folder_of(tmp_path, run(), run(seed=1, wrong=30), run("lora"))
    group = one_group(run(), run(seed=1, wrong=30), run("lora", wrong=50))
    assert available(group, [tmp_path])
    assert not available(group, [tmp_path / "none"])
    (found,) = confidences(group, [tmp_path])
    assert (found.label, found.seeds) == ("houlsby", [0, 1])
    # Each run is 73.1 % sure of all it says, and right on 90 and 85 %; which texts share a bin then makes it no smaller.
    assert found.ece > 0.875 - 1 / (1 + np.exp(-1))
    assert [b["confidence"] for b in found.bins] == pytest.approx([1 / (1 + np.exp(-1))] * BINS)
    assert found.ece_half_width > found.ece_floor / 10
    text = render(tmp_path, reference="houlsby", style="table", view="confidence")
    assert f"{100 * found.ece:.2f} ±" in text
    data = json.loads(render(tmp_path, reference="houlsby", style="json"))
    assert data["groups"][0]["confidence"][0]["brier"] > 0
    assert "Reliability" in render(tmp_path, reference="houlsby", style="html")


def test_committed_logits_give_what_was_found_of_them() -> None:
    folder = next(folder for folder in COMMITTED if folder.name == "official")
    group = one_group(*(item for item in load(folder) if hasattr(item, "spec")))
    found = {one.label: one for one in confidences(group, [folder])}
    assert found["houlsby"].ece == pytest.approx(0.0070, abs=0.0002)
    assert found["head-only"].ece > found["full"].ece > found["houlsby"].ece
    drawing = reliability.drawing(group, looks([]), list(found.values()))
    assert drawing
    assert drawing.shown == {"houlsby", "pfeiffer", "lora", "full", "head-only"}
    assert "layer" in drawing.spec(PICTURE)


def test_a_margin_is_in_the_words_and_one_that_says_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for margin in ("0", "-1", "101", "nan"):
        assert call(["report", "--results", str(COMMITTED[0]), "--margin", margin]) == 2
        assert "--margin" in capsys.readouterr().err
    assert call(["report", "--results", str(COMMITTED[0]), "--margin", "3"]) == 0
    assert "equivalent" in (said := capsys.readouterr().out)
    assert "within 3" in said
