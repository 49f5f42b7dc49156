"""Reviews are read as they were written, hash the same in every format, and are refused in one line when they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.data.sources import Reviews, Source, plain, read
from bench.system.errors import DataError

TEXTS = ['A "fine" film,\nwith <br /><br />breaks', "Línea\r\nde Windows", "  spaces kept  ", "NA", "dull; very dull", "🎬 ok"]
LABELS = [1, 0, 1, 0, 0, 1]
TABLE = pd.DataFrame({"text": TEXTS, "label": LABELS})


def as_csv(folder: Path, split: str) -> None:
    TABLE.to_csv(folder / f"{split}.csv", index=False)


def test_the_embedded_reviews_are_the_25000_of_the_official_train_split(embedded: Source) -> None:
    assert len(embedded.train) == 25_000
    assert embedded.train.labels.count(0) == embedded.train.labels.count(1) == 12_500
    assert embedded.test is None
    assert read("embedded").sha256 == embedded.sha256


def test_numbers_are_sentiments_only_where_the_reviews_are_known(embedded: Source, tmp_path: Path) -> None:
    table = pd.DataFrame({"text": embedded.train.texts, "label": embedded.train.labels})
    for rows, labels in ((table, ["negative", "positive"]), (table.iloc[:-1], ["0", "1"])):
        rows.to_parquet(tmp_path / "reviews.parquet")
        assert read(str(tmp_path / "reviews.parquet")).labels == labels


def test_the_aclimdb_layout_hashes_like_the_same_reviews_in_a_table(tmp_path: Path) -> None:
    acl, table = tmp_path / "aclImdb", tmp_path / "table"
    table.mkdir()
    order = sorted(range(6), key=lambda row: LABELS[row])
    for split in ("train", "test"):
        for row in order:
            folder = acl / split / ("neg", "pos")[LABELS[row]]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}_7.txt").write_bytes(TEXTS[row].encode())
        TABLE.iloc[order].to_csv(table / f"{split}.csv", index=False)
    assert read(str(acl)).train == read(str(table)).train
    assert read(str(acl)).sha256 == read(str(table)).sha256


def test_the_hash_tells_texts_labels_order_and_splits_apart() -> None:
    base = Source("a", Reviews(["x", "yz"], [0, 1]), None)
    others = [
        Source("a", Reviews(["xy", "z"], [0, 1]), None),
        Source("a", Reviews(["x", "yz"], [1, 0]), None),
        Source("a", Reviews(["yz", "x"], [1, 0]), None),
        Source("a", Reviews(["x"], [0]), Reviews(["yz"], [1])),
    ]
    assert len({base.sha256, *(other.sha256 for other in others)}) == 5
    assert Source("b", base.train, None, "e" * 40).sha256 == base.sha256


def test_line_breaks_become_spaces_for_the_model_only() -> None:
    assert plain("a<br /><br />b") == "a  b"


def csv(text: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "train.csv").write_bytes(text.encode() if isinstance(text, str) else text)

    return write


def named(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def both(folder: Path) -> None:
    as_csv(folder, "train")
    parquet(TABLE)(folder)


def parquet(table: pd.DataFrame) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        table.to_parquet(folder / "train.parquet")

    return write


def twice(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([["a"], [1], ["b"]], names=["text", "label", "text"]), folder / "train.parquet")


def acl(**files: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, content in files.items():
            path = folder / "train" / name.split("_")[0] / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return write


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing there": (lambda folder: None, "has no train.csv, .tsv, .jsonl or .parquet"),
    "empty file": (csv(""), "train.csv is empty"),
    "header alone": (csv("text,label\n"), "holds no rows under a header"),
    "no text column": (csv("opinion,label\nfine,1\n"), "no column called 'text' or 'review' or 'sentence' or 'content'"),
    "no label column": (csv("text,score\nfine,1\n"), "no column called 'label' or 'sentiment'"),
    "two usual columns": (csv("review,content,label\nfine,x,1\n"), "'review' and 'content'; name one with --text-column"),
    "pairs": (csv("sentence1,sentence2,label\na,b,1\n"), "two texts a row (sentence1 and sentence2)"),
    "premises": (csv("Premise,Hypothesis,label\na,b,1\n"), "pairs of texts are not supported"),
    "a label missing": (csv("text,label\nfine,1\ndull\n"), "train.csv, row 2 has 1 field, its header 2; is its label missing?"),
    "an empty label": (csv("text,label\nfine,1\ndull,\n"), "train.csv, row 2: the label is empty"),
    "unlabelled": (parquet(pd.DataFrame({"text": ["a", "b"], "label": [-1, -1]})), "its 2 texts are all of one class, -1"),
    "a NaN label": (parquet(pd.DataFrame({"text": ["a", "b"], "label": [1, np.nan]})), "row 2: the label is empty"),
    "lists of labels": (parquet(pd.DataFrame({"text": ["a"], "label": [[1, 2]]})), "each text needs one label"),
    "a case apart": (csv("text,label\na,Good\nb,bad\nc,good\n"), "'Good' and 'good' differ in case or spaces only"),
    "a space apart": (csv("text,label\na,good\nb,bad\nc,good \n"), "'good' and 'good ' differ in case or spaces only"),
    "scores": (csv("text,label\n" + "".join(f"a,0.{i}7\n" for i in range(1001))), "has 1,001 different values"),
    "texts for labels": (csv(f"text,label\nfine,{'x' * 101}\n"), "has 101 characters"),
    "an empty text": (csv('text,label\nfine,1\n"",0\n'), "train.csv, row 2: the text is empty"),
    "a blank text": (csv('text,label\nfine,1\n" \n ",0\n'), "row 2: the text is empty"),
    "a missing text": (parquet(pd.DataFrame({"text": ["a", None], "label": [1, 0]})), "row 2: the text is empty"),
    "numbers for texts": (parquet(pd.DataFrame({"text": [1, 2], "label": [1, 0]})), "row 1: the text is empty or not text"),
    "one class": (csv("text,label\nfine,1\ngood,1\n"), "its 2 texts are all of one class, 1; at least two"),
    "an unclosed quote": (csv('text,label\n"fine,1\ndull,0\n'), "row 1: a double quote opens a text and none closes it"),
    "a quote within": (csv('text,label\n"fine" film,1\ndull,0\n'), "row 1: it is not CSV"),
    "unquoted commas": (csv("text,label\nfine,really,1\ndull,very,0\n"), "row 1 has 3 fields, its header 2; put texts"),
    "a comma in one row": (csv("text,label\nfine,1\ndull,very,0\n"), "row 2 has 3 fields"),
    "text twice": (csv("text,label,text\na,1,b\n"), "two columns 'text'"),
    "text twice in parquet": (twice, "two columns 'text'"),
    "a NUL": (csv("text,label\nfi\0ne,1\ndull,0\n"), "NUL"),
    "UTF-16": (csv("text,label\nfine,1\ndull,0\n".encode("utf-16")), "iconv -f UTF-16LE -t UTF-8 train.csv > train-utf8.csv"),
    "UTF-16 without a mark": (csv("text,label\nfine,1\n".encode("utf-16-be")), "is UTF-16BE, not UTF-8"),
    "Latin-1": (csv("text,label\nqué,1\ndull,0\n".encode("latin-1")), "line 2: byte 0xE9 is not UTF-8"),
    "a picture": (csv(b"\x89PNG\r\n\x1a\n\0\0"), "line 1: byte 0x89"),
    "text called parquet": (lambda folder: (folder / "train.parquet").write_text("text,label\n") and None, "cannot be read"),
    "text called gzip": (lambda folder: (folder / "train.csv.gz").write_text("text,label\n") and None, "cannot be read"),
    "lines that are no JSON": (named("train.jsonl", '{"text": "a", "label": 1}\n{"text"\n'), "row 2: it is not JSON"),
    "lines that are no objects": (named("train.jsonl", '"a"\n'), "row 1: 'a' is not an object"),
    "two formats": (both, "has train.csv and train.parquet side by side"),
    "a shard missing": (named("train-00000-of-00002.csv", "text,label\na,1\n"), "1 of the 2 shards of train.csv"),
    "one file of another name": (named("IMDB Dataset.csv", "a,b\n"), "to have one file split, name it with --data"),
    "a folder called train.csv": (lambda folder: (folder / "train.csv").mkdir(), "has no train.csv"),
    "aclImdb without neg": (acl(pos_1=b"fine"), "train/neg holds no .txt"),
    "aclImdb without test": (acl(pos_1=b"fine", neg_1=b"dull"), "test/neg holds no .txt"),
    "aclImdb with an empty review": (acl(pos_1=b"fine", neg_1=b""), "train/neg/neg_1.txt: the text is empty"),
    "aclImdb in Latin-1": (acl(pos_1=b"qu\xe9", neg_1=b"dull"), "train/pos/pos_1.txt cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_labelled_text_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    write, expected = BAD[case]
    write(tmp_path)
    if "aclImdb" not in case:
        (tmp_path / "test.csv").write_text("text,label\nfine,1\ndull,0\n")
    with pytest.raises(DataError) as caught:
        read(str(tmp_path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_bad_test_split_is_named(tmp_path: Path) -> None:
    as_csv(tmp_path, "train")
    with pytest.raises(DataError, match=r"has no test\.csv"):
        read(str(tmp_path))
    (tmp_path / "test.csv").write_text("text,label\nfine,1\n")
    with pytest.raises(DataError, match=r"test\.csv holds no text of class '0', which train has"):
        read(str(tmp_path))
    (tmp_path / "test.csv").write_text("text,label\nfine,1\nso so,2\n")
    with pytest.raises(DataError, match=r"test\.csv, row 2: label '2' is not among those of train \(0, 1\)"):
        read(str(tmp_path))


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "~nobody-of-this-name/x", "x" * 5000, "", "/dev/null"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        read(name)
