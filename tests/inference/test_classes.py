"""Four classes as words and twenty, from the file to the record, its audit, the report and predictions."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from bench.data.sources import read as read_data
from bench.records.audit import audit
from bench.records.schema import Record
from bench.training.baseline import fit_baseline
from tests.conftest import baseline_job, call, records, runs_by

FOUR = ("Business", "Sci/Tech", "Sports", "World")
WORDS = [
    "shares profit market bank",
    "telescope rocket software cell",
    "match goal league coach",
    "border vote minister treaty",
]


def write(path: Path, names: list[str], words: list[str], each: int) -> Path:
    rows = [f"{words[k]} {i}\t{name}" for i in range(each) for k, name in enumerate(names)]
    path.write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("four") / "four.tsv", list(FOUR), WORDS, 40)


def run(data: Path, encoder: Path, out: Path, *more: str) -> list[Record]:
    with runs_by("short"):
        assert call([
            "run", "--encoder", str(encoder), "--data", str(data), "--out", str(out), "--max-length", "16", "--batch-size", "8",
            *more,
        ]) == 0  # fmt: skip
    return records(out)


@pytest.fixture(scope="module")
def out(four: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run(four, tiny_folder, folder, "--method", "lora", "--method", "houlsby", "--budget", "60 steps", "--save")
    return folder


def test_four_classes_from_file_to_record_and_report(out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = records(out)
    assert {record.spec.method for record in found} == {"lora", "houlsby"}
    for record in found:
        assert (record.spec.classes, record.data.labels) == (4, list(FOUR))
        assert record.parameters.head == 4 * (32 + 1)
        assert record.out_of_domain is None, "sentences about films are no test of news"
    outcomes = audit([out])
    assert [outcome.failed for outcome in outcomes] == [None, None]
    names = {name for outcome in outcomes for name, _ in outcome.passed}
    assert names >= {"bits", "counts", "accuracy", "precision", "recall", "F1", "logits", "labels"}
    assert call(["report", str(out), "--format", "json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert "lora" in json.dumps(found)
    for style in ("table", "html"):
        assert call(["report", str(out), "--format", style, "--out", str(tmp_path / style)]) == 0
        text = " ".join((tmp_path / style).read_text().split())
        assert "4 classes" in text
        assert "RoBERTa-base + adapters" not in text, "a result on reviews is none on news"
    assert call(["report", str(out), "--view", "confidence"]) == 0
    assert "ECE" in capfd.readouterr().out


@pytest.mark.parametrize("field", ["predictions", "labels", "matrix", "weighted", "correct"])
def test_an_edited_figure_of_four_classes_is_found(field: str, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "logits", tmp_path / "logits")
    record = records(out)[0]
    test = record.test
    own = test.model_dump()
    if field == "matrix":
        own["matrix"][0][1] += 1
    elif field == "weighted":
        own["weighted"]["recall"] += 0.01
    else:
        own[field] = ("A" if own[field][0] != "A" else "g") + own[field][1:]
    edited = record.model_copy(update={"test": type(test).model_validate(own)})
    path = tmp_path / "record.json"
    path.write_text(edited.model_dump_json())
    (outcome,) = audit([path])
    assert outcome.failed is not None


def test_predictions_name_the_class_and_give_every_probability(
    out: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = records(out)[0]
    saved = ["predict", record.run_id, "--results", str(out), "--encoder", str(tiny_folder)]
    asked = [*saved, "the match goal league", "vote treaty"]
    assert call([*asked, "--format", "json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    for row in rows:
        assert list(row["probabilities"]) == list(FOUR)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert row["probability"] == row["probabilities"][row["label"]]
    assert call([*asked, "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert list(table[0]) == ["text", "prediction", "probability", *(f"probability_{name}" for name in FOUR)]
    assert [line["prediction"] for line in table] == [row["label"] for row in rows]
    assert call([*saved, "--test"]) == 0
    assert "identical to the run's own" in capfd.readouterr().out


def test_twenty_classes(tiny_folder: Path, tmp_path: Path) -> None:
    words = [f"{chr(97 + i)}{chr(98 + i)} word" for i in range(20)]
    twenty = write(tmp_path / "twenty.tsv", [f"kind {i}" for i in range(20)], words, 12)
    (record,) = run(
        twenty, tiny_folder, tmp_path / "out", "--method", "head-only", "--budget", "20 steps", "--test-limit", "60"
    )
    assert record.data.labels == sorted(f"kind {i}" for i in range(20))
    assert record.test.counts.support == [3] * 20
    (outcome,) = audit([tmp_path / "out"])
    assert outcome.failed is None


def test_a_baseline_of_four_classes(four: Path) -> None:
    found = fit_baseline(baseline_job(read_data(str(four))))
    assert found.test.classes == 4
    assert found.test.accuracy == 1.0, "each class has words of its own"


def test_a_limit_leaves_as_many_of_each_class(four: Path, tiny_folder: Path, tmp_path: Path) -> None:
    common = ["run", "--method", "lora", "--encoder", str(tiny_folder), "--data", str(four), "--out", str(tmp_path / "out")]
    for limit in ("--test-limit", "--train-limit"):
        assert call([*common, limit, "3"]) == 2
    assert not (tmp_path / "out").exists()
