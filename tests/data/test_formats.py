"""Data as people have them: one file, any usual format, shards, other column names, any number of classes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.data.sources import DataRequest, Reviews, Source, plain, read
from bench.data.task import split
from bench.system.errors import DataError
from tests.data.shards import shards

CASES = Path(__file__).parents[1] / "cases"
TABLE = pd.DataFrame(
    {"text": ['  A "fine"\tfilm ', "dull,\nvery; dull", "🎬\r\nso", "NA"], "label": ["pos", "neg", "pos", "neg"]}
)
WRITERS: dict[str, Callable[[Path], None]] = {
    "a.csv": lambda path: TABLE.to_csv(path, index=False),
    "a.csv.gz": lambda path: TABLE.to_csv(path, index=False),
    "a.CSV": lambda path: TABLE.to_csv(path, index=False, sep=";"),
    "a.tsv": lambda path: TABLE.to_csv(path, index=False, sep="\t"),
    "a.jsonl": lambda path: TABLE.to_json(path, orient="records", lines=True),
    "a.jsonl.gz": lambda path: TABLE.to_json(path, orient="records", lines=True),
    "a.json": lambda path: TABLE.to_json(path, orient="records"),
    "a.parquet": lambda path: TABLE.to_parquet(path),
    "excel.csv": lambda path: TABLE.to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8-sig"),
    "more.csv": lambda path: TABLE.assign(id=range(4), note="x")[["id", "label", "note", "text"]].to_csv(path, index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_one_file_of_any_format_gives_the_same_texts_and_hash(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    source = read(str(tmp_path / name))
    assert source.train == Reviews(TABLE["text"].tolist(), [1, 0, 1, 0])
    assert (source.name, source.test, source.labels) == (name, None, ["neg", "pos"])
    assert source.sha256 == Source("any", source.train, None).sha256


def test_texts_and_labels_of_reviews_as_most_people_keep_them() -> None:
    source = read(str(CASES / "review-sentiment.csv"))
    assert [plain(text) for text in source.train.texts] == ["A fine film.  Well, mostly.", "A dull film."]
    assert (source.train.labels, source.labels) == ([1, 0], ["negative", "positive"])
    assert source.note == "review-sentiment.csv: texts from column 'review', labels from 'sentiment'"


def test_lines_of_json() -> None:
    source = read(str(CASES / "lines.jsonl"))
    assert (source.train.texts, source.train.labels) == (["a fine film", "a dull film"], [1, 0])
    assert source.note is None, "there is nothing to say of what is as usual"


def test_four_classes_as_words() -> None:
    source = read(str(CASES / "four-classes.tsv"))
    assert source.labels == ["Business", "Sci/Tech", "Sports", "World"]
    assert [source.labels[label] for label in source.train.labels] == ["Sports", "Business", "World", "Sci/Tech"]
    assert source.note == "four-classes.tsv: 4 classes: Business, Sci/Tech, Sports, World"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("commas.csv", "commas.csv, row 10 has 3 fields, its header 2; put texts that hold a comma in double quotes"),
        (
            "carriage-unquoted.csv",
            r"row 2 .* a text breaks off at a carriage return .* put texts with line breaks in double quotes",
        ),
        ("latin.csv", r"line 2: byte 0xE9 .* iconv -f WINDOWS-1252 -t UTF-8 latin.csv > latin-utf8.csv"),
    ],
)
def test_files_that_need_mending_say_where_and_how(name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(str(CASES / name))


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        ([1, 0, 1], ["0", "1"], [1, 0, 1]),
        (np.array([1, 0, 1], dtype=np.int8), ["0", "1"], [1, 0, 1]),
        ([1.0, 0.0, 1.0], ["0", "1"], [1, 0, 1]),
        (["positive", "negative", "positive"], ["negative", "positive"], [1, 0, 1]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        ([10, 9, 10], ["9", "10"], [1, 0, 1]),
        ([3, 1, 2], ["1", "2", "3"], [2, 0, 1]),
        (["spam", "1.5", "ham"], ["1.5", "ham", "spam"], [2, 0, 1]),
    ],
    ids=str,
)
def test_classes_are_the_distinct_values_in_their_order(
    values: object, names: list[str], labels: list[int], tmp_path: Path
) -> None:
    for name in ("a.csv", "a.parquet"):
        table = pd.DataFrame({"text": ["a", "b", "c"], "label": values})
        table.to_csv(tmp_path / name, index=False) if name == "a.csv" else table.to_parquet(tmp_path / name)
        source = read(str(tmp_path / name))
        assert (source.labels, source.train.labels) == (names, labels)


def test_columns_of_any_name_by_option_and_of_usual_names_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id, Body ,Stars,text\n1,fine,good,x\n2,dull,bad,y\n")
    source = read(DataRequest(str(path), "Body", "Stars"))
    assert (source.train.texts, source.labels, source.columns) == (["fine", "dull"], ["bad", "good"], ("Body", "Stars"))
    with pytest.raises(
        DataError, match=r"no column 'stars' \(it has id, Body, Stars, text\); name one of its columns with --label"
    ):
        read(DataRequest(str(path), "Body", "stars"))
    path.write_text("Review,TARGET\nfine,good\ndull,bad\n")
    assert read(str(path)).columns == ("Review", "TARGET")


def test_tabs_without_quoting_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"It is fine," he said\t1\n"dull\t0\n')
    assert read(str(path)).train.texts == ['"It is fine," he said', '"dull']


@pytest.mark.parametrize("below", ["data", "plain_text", "."])
def test_shards_as_the_hub_keeps_them_with_the_names_of_their_classes(below: str, tmp_path: Path) -> None:
    rows = [(f"text {i}", i % 3) for i in range(12)]
    shards(tmp_path / below, "train", rows, 2)
    shards(tmp_path / below, "test", rows)
    source = read(str(tmp_path))
    assert source.labels == ["World", "Sports", "Tech"]
    assert source.train.texts == [f"text {i}" for i in (*range(0, 12, 2), *range(1, 12, 2))]
    assert source.test.labels == [i % 3 for i in range(12)]


def test_several_data_sets_in_one_folder_are_named(tmp_path: Path) -> None:
    for name in ("cola", "sst2"):
        for part in ("train", "test"):
            shards(tmp_path / name, part, [("a", 0), ("b", 1)])
    with pytest.raises(DataError, match=r"several data sets \(cola, sst2\); name one"):
        read(str(tmp_path))
    assert len(read(str(tmp_path / "sst2")).train) == 2


@pytest.mark.parametrize("name", ["validation.csv", "dev.tsv", "valid.jsonl.gz"])
def test_a_validation_file_beside_train_and_test_is_used_and_said(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"text": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]})
    for part in ("train", "test"):
        table.to_csv(tmp_path / f"{part}.csv", index=False)
    without = read(str(tmp_path)).sha256
    if "json" in name:
        with gzip.open(tmp_path / name, "wt") as file:
            file.write('{"text": "so", "label": 1}\n{"text": "so so", "label": 0}\n')
    else:
        (tmp_path / name).write_text("text,label\nso,1\n".replace(",", "\t" if "tsv" in name else ","))
    source = read(str(tmp_path))
    assert split(source).validation.texts[0] == "so"
    assert len(split(source).train) == 40, "nothing is held out of it"
    assert source.sha256 != without
    own = f"its own validation split of {len(split(source).validation)} texts"
    assert source.note == f"{tmp_path.name}: 2 classes: 0, 1; {own}"
