"""`run --save` and `predict` through the command: the logits are the run's own, and bad input is one line."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.data.sources import read, read_sentences
from bench.data.task import split
from bench.records.artifacts import CARD, HEAD
from bench.records.audit import audit
from bench.records.schema import Record
from bench.records.store import load_logits
from bench.rules import SENTENCES
from bench.system.files import sha256_file
from tests.conftest import call, records, runs_by
from tests.inference.refusals import CASES, FILES, PIPES

SMALL = ["--max-length", "32", "--batch-size", "8", "--budget", "30 steps"]
FILM = "A warm and funny film, and a fine one."


@pytest.fixture(scope="module")
def out(tiny_folder: Path, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved runs of three methods on reviews, and of one on the sentences of Rotten Tomatoes."""
    folder = tmp_path_factory.mktemp("results")
    common = ["run", "--encoder", str(tiny_folder), *SMALL, "--out", str(folder), "--save"]
    three = ["--method", "houlsby", "--method", "lora", "--method", "full"]
    with runs_by("short"):
        assert call([*common, "--data", str(small_folder), *three]) == 0
        assert call([*common, "--data", SENTENCES, "--method", "houlsby", "--test-limit", "100"]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(out: Path) -> dict[str, Record]:
    """The four records: by method, and `sentences`."""
    return {SENTENCES if record.spec.data == SENTENCES else record.spec.method: record for record in records(out)}


@pytest.fixture
def ask(out: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def asked(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert call(["predict", "--results", str(out), "--encoder", str(tiny_folder), *arguments]) == code
        printed, said = capsys.readouterr()
        assert said == ""
        return printed

    return asked


def logits_in(printed: str) -> np.ndarray:
    return np.array([answer["logits"] for answer in json.loads(printed)], dtype=np.float32)


def test_each_run_is_saved_beside_its_record(out: Path, runs: dict[str, Record]) -> None:
    assert set(runs) == {"houlsby", "lora", "full", SENTENCES}
    folders = {path.name: {file.name for file in path.iterdir()} for path in (out / "adapters").iterdir()}
    assert set(folders) == {record.run_id for record in runs.values()}
    assert folders[runs["houlsby"].run_id] == {"adapter_config.json", "adapter.safetensors", HEAD, CARD}
    assert folders[runs["lora"].run_id] == {"adapter_config.json", "adapter_model.safetensors", HEAD, CARD}
    assert folders[runs["full"].run_id] == {"model.safetensors", HEAD, CARD}
    card = json.loads((out / "adapters" / runs["lora"].run_id / CARD).read_text())
    assert (out / card["record"]).is_file()


@pytest.mark.usefixtures("short_runs")
def test_saving_is_no_part_of_what_determines_a_run(
    out: Path, runs: dict[str, Record], tiny_folder: Path, small_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ["run", "--encoder", str(tiny_folder), "--data", str(small_folder), *SMALL, "--method", "lora"]
    assert call([*arguments, "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "adapters").exists()
    (again,) = records(tmp_path)
    assert (again.run_id, again.test) == (runs["lora"].run_id, runs["lora"].test)
    capsys.readouterr()
    assert call([*arguments, "--out", str(tmp_path), "--save"]) == 1
    assert "finished without --save; --force --save runs it again\n" in capsys.readouterr().out
    assert call([*arguments, "--out", str(out), "--save"]) == 0
    assert f"saved: {out / 'adapters' / again.run_id}" in capsys.readouterr().out


def test_sentences_are_cut_like_reviews_and_not_tested_out_of_domain(runs: dict[str, Record], out: Path) -> None:
    made, record = split(read(SENTENCES)), runs[SENTENCES]
    assert (len(made.validation), len(made.test)) == (500, 2000)
    assert len(made.train) + 2500 + made.duplicates_removed == len(read_sentences())
    assert (record.data.train, record.data.cut) == (len(made.train), "rotten-tomatoes-v2")
    assert record.out_of_domain is None
    assert runs["houlsby"].out_of_domain is not None
    assert [outcome.text() for outcome in audit([out]) if outcome.failed] == []


@pytest.mark.parametrize("name", ["houlsby", "lora", "full"])
def test_the_test_again_gives_the_logits_of_the_run_bit_for_bit(
    name: str, runs: dict[str, Record], small_folder: Path, ask: Any
) -> None:
    record = runs[name]
    printed = ask(record.run_id, "--test", "--data", str(small_folder))
    assert printed == (
        f"{name} {record.run_id}: 200 reviews, accuracy {100 * record.test.accuracy:.2f} %, logits identical to the run's own\n"
    )


def test_other_weights_are_told_from_the_run_s_own(out: Path, runs: dict[str, Record], tmp_path: Path, ask: Any) -> None:
    """Weights that were changed, with a card that says so: the hash of the run's logits still tells."""
    from safetensors.numpy import load_file, save_file

    run_id = runs["houlsby"].run_id
    shutil.copytree(out / "logits", tmp_path / "logits")
    folder = shutil.copytree(out / "adapters" / run_id, tmp_path / "adapters" / run_id)
    head = load_file(folder / HEAD)
    save_file({**head, "bias": head["bias"] + np.array([0.25, 0], dtype=np.float32)}, folder / HEAD)
    card = json.loads((folder / CARD).read_text())
    card["files"][HEAD] = sha256_file(folder / HEAD)
    (folder / CARD).write_text(json.dumps(card))
    assert "logits not the run's own, by at most 0.25\n" in ask(str(folder), "--test", code=1)


@pytest.mark.parametrize("name", ["houlsby", "lora", "full"])
def test_single_texts_agree_with_the_run(
    name: str, runs: dict[str, Record], out: Path, small_folder: Path, tmp_path: Path, ask: Any
) -> None:
    test, record = split(read(str(small_folder))).test, runs[name]
    own = load_logits(out, record.test.logits_sha256)
    for row in (0, 57):
        found = logits_in(ask(record.run_id, test.texts[row], "--format", "json"))
        assert np.abs(found[0] - own[row]).max() <= 1e-5
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "text"], *([i, text] for i, text in enumerate(test.texts))])
    found = logits_in(ask(record.run_id, "--csv", str(path), "--format", "json"))
    assert np.abs(found - own).max() <= 1e-5
    assert np.abs(own[1:] - own[:-1]).max() > 1e-3, "texts must differ for that to say something"


def test_answers_as_text_csv_and_json(runs: dict[str, Record], tmp_path: Path, ask: Any) -> None:
    run = runs["houlsby"].run_id[:6]
    answers = json.loads(ask(run, FILM, "Dull.\x1b[31m", "--format", "json"))
    assert [answer["text"] for answer in answers] == [FILM, "Dull.\x1b[31m"]
    for answer in answers:
        negative, positive = answer["logits"]
        assert answer["probability"] == pytest.approx(1 / (1 + np.exp(negative - positive)))
        assert answer["label"] == ("positive" if positive > negative else "negative")
    lines = ask(run, FILM, "Dull.\x1b[31m").splitlines()
    assert lines[0] == f"{answers[0]['label']:<8}  {answers[0]['probability']:.4f}  {FILM}"
    assert lines[1].endswith("Dull.\N{REPLACEMENT CHARACTER}[31m")
    rows = list(csv.reader(io.StringIO(ask(run, FILM, "--format", "csv"))))
    assert rows == [["text", "prediction", "probability"], [FILM, answers[0]["label"], f"{answers[0]['probability']:.6f}"]]
    table = tmp_path / "table.csv"
    table.write_text('\ufeffid,review,note\n7,"A film,\nin two lines",\n8,Dull.,"a ""note"""\n', encoding="utf-8")
    target = tmp_path / "new" / "answers.csv"
    assert ask(run, "--csv", str(table), "--column", "review", "--out", str(target)) == ""
    header, *found = csv.reader(io.StringIO(target.read_text()))
    assert header == ["id", "review", "note", "prediction", "probability"]
    assert [row[:3] for row in found] == [["7", "A film,\nin two lines", ""], ["8", "Dull.", 'a "note"']]
    assert {row[3] for row in found} <= {"negative", "positive"}
    assert all(0 <= float(row[4]) <= 1 for row in found)


def test_answers_to_texts_with_carriage_returns_are_read_again(runs: dict[str, Record], tmp_path: Path, ask: Any) -> None:
    run, case = runs["houlsby"].run_id, Path(__file__).parents[1] / "cases" / "carriage.csv"
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    ask(run, "--csv", str(case), "--out", str(once))
    ask(run, "--csv", str(once), "--out", str(twice))
    tables = [list(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))) for path in (case, once, twice)]
    assert [len(table) for table in tables] == [4, 4, 4]
    assert [[row[0] for row in table] for table in tables] == [[row[0] for row in tables[0]]] * 3
    assert tables[2][0] == ["text", "prediction", "probability", "prediction_2", "probability_2"]
    assert all(row[1:3] == row[3:] for row in tables[2][1:]), "the same texts have the same answers"
    assert pd.read_csv(twice).text.tolist() == [row[0] for row in tables[0][1:]]


@pytest.mark.slow
def test_a_pipe_in_a_process_of_its_own_gives_the_same(out: Path, runs: dict[str, Record], tiny_folder: Path, ask: Any) -> None:
    run = runs["houlsby"].run_id
    here = ask(run, FILM, "Dull.", "--format", "json")
    where = ["--results", str(out), "--encoder", str(tiny_folder)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "predict", *where, run, "--format", "json"],
        input=f"{FILM}\nDull.\n", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == here
    assert done.stderr == ""


def test_adapters_of_two_tasks_answer_and_reproduce_their_tests_from_one_encoder(
    out: Path, runs: dict[str, Record], small_folder: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reviews are recorded under the name of their folder; the sentences under their own.
    imdb = f"imdb={runs['houlsby'].run_id}"
    both = json.loads(ask("--adapter", imdb, "--adapter", SENTENCES, FILM, "Dull.", "--format", "json"))
    assert [(answer["adapter"], answer["text"]) for answer in both] == [
        ("imdb", FILM), (SENTENCES, FILM), ("imdb", "Dull."), (SENTENCES, "Dull."),
    ]  # fmt: skip
    for name, asked in (("imdb", imdb), (SENTENCES, SENTENCES)):
        alone = json.loads(ask("--adapter", asked, FILM, "Dull.", "--format", "json"))
        assert alone == [answer for answer in both if answer["adapter"] == name]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{FILM}\r\nDull.\n".encode())))
    lines = ask("--adapter", imdb, "--adapter", SENTENCES, "-").splitlines()
    assert [line.split()[0] for line in lines] == ["imdb", SENTENCES, "imdb", SENTENCES]
    assert lines[0].endswith(FILM)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FILM.encode())))
    header = ask("--adapter", imdb, "--adapter", SENTENCES, "--format", "csv").splitlines()[0]
    assert header == "text,imdb_prediction,imdb_probability,rotten-tomatoes_prediction,rotten-tomatoes_probability"
    printed = ask("--adapter", f"imdb={runs['houlsby'].run_id}", "--adapter", SENTENCES, "--test").splitlines()
    assert [line.split(" ")[0] for line in printed] == ["imdb", SENTENCES]
    assert all(line.endswith("logits identical to the run's own") for line in printed), printed


@pytest.mark.parametrize(
    ("arguments", "pipe", "says"), CASES, ids=[re.sub(r"[^\w ={}.-]", "?", " ".join(c[0]))[:60] + c[1] for c in CASES]
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], pipe: str, says: str, out: Path, runs: dict[str, Record], tiny_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "files").mkdir()
    for name, content in FILES.items():
        (tmp_path / "files" / name).write_bytes(content)
    places = {name: record.run_id for name, record in runs.items()} | {"files": str(tmp_path / "files")}
    places |= {"data": runs["houlsby"].spec.data} | {name: str(tmp_path / "files" / name) for name in FILES}
    filled = [re.sub(r"\{(.+?)\}", lambda match: places[match[1]], argument) for argument in arguments]
    if "--encoder" not in filled:
        filled += ["--encoder", str(tiny_folder)]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PIPES.get(pipe, b"good\n"))))
    if pipe == "uncached":
        monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path / "files"))
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    capfd.readouterr()
    code = call(["predict", "--results", str(out), *filled])
    printed, line = capfd.readouterr()
    assert code == 2
    assert re.fullmatch(r"error: [^\n]+\n", line), line
    assert says in line
    assert printed == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_encoder_or_reviews_that_moved_are_asked_for(
    out: Path, runs: dict[str, Record], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run = runs["houlsby"].run_id
    assert call(["predict", "--results", str(out), run, "good"]) == 2
    assert f"the encoder 'tiny' of run {run} is not found; say where it is with --encoder" in capsys.readouterr().err
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path / "cache"))
    assert call(["predict", "--results", str(out), "--encoder", str(tiny_folder), run, "--test"]) == 2
    assert "are not found; say where with --data" in capsys.readouterr().err
    assert call(["predict", "--results", str(out), "--encoder", str(tiny_folder), run, "good", "--out", "/proc/no/file"]) == 2
    assert "the predictions cannot be written to '/proc/no/file'" in capsys.readouterr().err


def test_a_damaged_folder_is_one_line(
    out: Path, runs: dict[str, Record], tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(out / "adapters" / runs["houlsby"].run_id, tmp_path / "copy")
    weights = folder / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert call(["predict", str(folder), "good", "--encoder", str(tiny_folder)]) == 2
    assert "adapter.safetensors was changed after it was saved" in capsys.readouterr().err
    card = json.loads((folder / CARD).read_text())
    card["files"]["adapter.safetensors"] = sha256_file(weights)
    (folder / CARD).write_text(json.dumps(card))
    assert call(["predict", str(folder), "good", "--encoder", str(tiny_folder)]) == 2
    line = capsys.readouterr().err
    assert "its saved weights do not load" in line
    assert str(tmp_path) not in line
    assert line.count("\n") == 1
