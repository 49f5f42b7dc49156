"""The out-of-domain reviews are the package's, all of them, tokenised like the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.sources import Source, read_sentences
from bench.data.task import Task, sentences
from bench.data.tokenization import open_tokenizer
from bench.models.pretrained import PretrainedModel
from bench.rules import ALL_SENTENCES


def test_all_sentences_half_of_each_class(tiny: PretrainedModel) -> None:
    split = sentences(tiny)
    assert len(split) == ALL_SENTENCES == 8530
    assert split.labels.sum() == 4265
    first = read_sentences().texts[0]
    expected = open_tokenizer(tiny.folder / "tokenizer.json").encode(first, add_special_tokens=False).ids
    assert split.ids[: split.starts[1]].tolist() == expected


def test_none_is_among_the_reviews(embedded: Source) -> None:
    assert not set(read_sentences().texts) & set(embedded.train.texts)


def test_a_second_call_reads_the_cache_and_a_damaged_one_is_made_again(
    tiny: PretrainedModel, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))
    made = sentences(tiny)
    (file,) = (tmp_path / "sentences").iterdir()
    monkeypatch.setattr("bench.data.task.read_sentences", lambda: pytest.fail("the cache was not read"))
    assert np.array_equal(sentences(tiny).ids, made.ids)
    monkeypatch.undo()
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))
    file.write_bytes(b"damaged")
    assert np.array_equal(sentences(tiny).ids, made.ids)
