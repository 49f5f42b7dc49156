"""The cut is fixed and leaks nothing, truncation keeps exactly what it says, and the cache changes nothing but time."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.data.sources import Reviews, Source, plain
from bench.data.task import Splits, Task, prepare, split
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Truncation
from bench.system.errors import DataError


@pytest.fixture(scope="module")
def embedded_cut(embedded: Source) -> Splits:
    return split(embedded)


def same(a: Task, b: Task) -> bool:
    arrays = ("ids", "starts", "labels")
    splits = [(getattr(a, name), getattr(b, name)) for name in ("train", "validation", "test")]
    return (
        all(np.array_equal(getattr(x, name), getattr(y, name)) for x, y in splits for name in arrays)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("leaked", "prefix", "suffix"))
        and a.pad_id == b.pad_id
    )


def test_the_embedded_cut_has_its_published_sizes_and_no_text_twice(embedded_cut: Splits) -> None:
    assert (len(embedded_cut.train), len(embedded_cut.validation), len(embedded_cut.test)) == (20_904, 2_000, 2_000)
    assert embedded_cut.duplicates_removed == 96
    assert len(embedded_cut.leaked) == 0
    texts = [*embedded_cut.train.texts, *embedded_cut.validation.texts, *embedded_cut.test.texts]
    assert len(set(texts)) == len(texts)
    assert Counter(embedded_cut.validation.labels) == {0: 1000, 1: 1000}
    assert Counter(embedded_cut.test.labels) == {0: 1000, 1: 1000}
    train = Counter(embedded_cut.train.labels)
    assert abs(train[0] - train[1]) < 100


def test_texts_keep_their_labels(embedded: Source, embedded_cut: Splits) -> None:
    first: dict[str, int] = {}
    for text, label in zip(embedded.train.texts, embedded.train.labels, strict=True):
        first.setdefault(text, label)
    for part in (embedded_cut.train, embedded_cut.validation, embedded_cut.test):
        assert [first[text] for text in part.texts] == part.labels


@pytest.mark.parametrize("size", [10, 11, 16, 17, 100])
@pytest.mark.parametrize("own_test", [True, False])
def test_small_sources_still_get_three_parts(size: int, own_test: bool) -> None:
    train = Reviews([f"review {i}" for i in range(2 * size)], [i % 2 for i in range(2 * size)])
    test = Reviews(["review 3", "new a", "new b"], [1, 0, 1]) if own_test else None
    made = split(Source("small", train, test))
    assert all(set(part.labels) == {0, 1} for part in (made.train, made.validation, made.test))
    held_out = 0 if own_test else len(made.test)
    assert len(made.train) + len(made.validation) + held_out == 2 * size
    assert made.leaked.tolist() == ([0] if own_test else [])


def test_too_few_different_reviews_are_refused() -> None:
    train = Reviews([*["same"] * 50, *(f"review {i}" for i in range(24))], [*[1] * 50, *(i % 3 // 2 for i in range(24))])
    with pytest.raises(DataError, match="9 different train reviews of a class; at least 10"):
        split(Source("few", train, None))


def review(task: Task, row: int) -> list[int]:
    return task.test.ids[task.test.starts[row] : task.test.starts[row + 1]].tolist()


@pytest.mark.parametrize("max_length", [8, 10, 33, 128])
@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail"])
def test_truncation_keeps_exactly_these_ids(small_task: Task, truncation: Truncation, max_length: int) -> None:
    row = int(np.argmax(np.diff(small_task.test.starts)))
    ids, room = review(small_task, row), max_length - 2
    quarter = room // 4
    kept = {"head": ids[:room], "tail": ids[-room:], "head+tail": ids[:quarter] + ids[-(room - quarter) :]}[truncation]
    assert small_task.encode(small_task.test, row, max_length, truncation).tolist() == [101, *kept, 102]
    assert small_task.lengths(small_task.test, max_length)[row] == max_length


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail"])
def test_a_review_that_fits_is_kept_whole(small_task: Task, truncation: Truncation) -> None:
    row = int(np.argmin(np.diff(small_task.test.starts)))
    ids = review(small_task, row)
    assert small_task.encode(small_task.test, row, len(ids) + 2, truncation).tolist() == [101, *ids, 102]
    assert small_task.lengths(small_task.test, 8192)[row] == len(ids) + 2


def test_ids_are_those_of_the_tokenizer_without_line_breaks(
    small_task: Task, small_source: Source, tiny: PretrainedModel
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny.folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    made = split(small_source)
    for row in (0, 57, len(made.test) - 1):
        assert (
            small_task.encode(small_task.test, row, 8192, "head").tolist() == tokenizer.encode(plain(made.test.texts[row])).ids
        )
        assert small_task.test.labels[row] == made.test.labels[row]


def never() -> Splits:
    raise AssertionError("the cache was there and must be used")


def test_a_cached_task_equals_a_fresh_one(
    tiny: PretrainedModel, small_source: Source, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))
    seen: list[tuple[int, int]] = []
    fresh = prepare(tiny, small_source.sha256, lambda: split(small_source), lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(fresh.train) + len(fresh.validation) + len(fresh.test)
    cached = prepare(tiny, small_source.sha256, never)
    assert same(fresh, cached)
    assert same(fresh, small_task)


@pytest.mark.parametrize("damage", ["half", "one bit", "another array", "empty", "no archive"])
def test_a_damaged_cache_is_made_again(
    damage: str, tiny: PretrainedModel, small_source: Source, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", str(tmp_path))
    prepare(tiny, small_source.sha256, lambda: split(small_source))
    [file] = (tmp_path / "tasks").iterdir()
    content, array = file.read_bytes(), io.BytesIO()
    np.save(array, np.zeros(3))
    first, rest = content[: len(content) // 2], content[len(content) // 2 :]
    changed = {
        "half": first,
        "one bit": first + bytes([rest[0] ^ 1]) + rest[1:],
        "another array": array.getvalue(),
        "empty": b"",
    }
    file.write_bytes(changed.get(damage, damage.encode()))
    assert same(prepare(tiny, small_source.sha256, lambda: split(small_source)), small_task)
    assert same(prepare(tiny, small_source.sha256, never), small_task)


@pytest.mark.parametrize("cache", ["/proc/no-cache-here", "a-file/cache"])
def test_no_cache_costs_time_and_nothing_else(
    cache: str, tiny: PretrainedModel, small_source: Source, small_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAPTER_BENCH_CACHE", cache)
    assert same(prepare(tiny, small_source.sha256, lambda: split(small_source)), small_task)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file"]


def test_a_task_is_cached_by_tokenizer_and_reviews_not_by_encoder(
    tiny: PretrainedModel, minilm: PretrainedModel, small_source: Source, small_task: Task
) -> None:
    assert same(prepare(minilm, small_source.sha256, never), small_task)
    other = dataclasses.replace(tiny, tokenizer_sha256="0" * 64)
    with pytest.raises(AssertionError, match="the cache was there"):
        prepare(other, small_source.sha256, never)
