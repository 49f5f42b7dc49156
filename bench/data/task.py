"""From texts to token ids: deduplicated, split, tokenized once and cached.

Texts are stored whole, so that one cache serves every maximum length and truncation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bench.data.sources import DataRequest, Reviews, Source, read, read_sentences
from bench.data.tokenization import Ints, Split, open_tokenizer, special_tokens, tokenize
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Truncation
from bench.rules import LARGE_TRAIN, LARGE_VALIDATION_A_CLASS, TEST_A_CLASS, VALIDATION_A_CLASS
from bench.system.errors import DataError
from bench.system.files import cached, sha256_bytes

__all__ = ["Ints", "Split", "Splits", "Task", "prepare", "sample", "sentences", "split", "splits_of"]

SENTENCES_VERSION = 1
SPLIT_VERSION = 2
"""Version 1 always held out 250 texts of each class for validation."""
_SAMPLE = 2**32
"""Seeds the generator that samples texts apart from those of the epochs, which are numbered from 0."""


@dataclass(frozen=True)
class Splits:
    """The texts to train, validate and test on. A source without a test split of its own has one of its train texts."""

    name: str
    train: Reviews
    validation: Reviews
    test: Reviews
    duplicates_removed: int
    """Train rows dropped as exact repetitions of an earlier text."""
    leaked: Ints
    """Positions in `test` of texts that are also in train."""


def _take(reviews: Reviews, rows: list[int]) -> Reviews:
    return Reviews([reviews.texts[i] for i in rows], [reviews.labels[i] for i in rows])


def split(source: Source) -> Splits:
    """Split a source, the same for all seeds.

    Repeated train texts are dropped. Without a test split of its own, a source gives the last 1,000 texts of each class to the
    test; without a validation split, the last 250 before those, or 1,000 of more than 10,000 texts, to validation. A small
    source gives two fifths and a tenth at most.
    Reviews of a film are adjacent within a class, so a block at the end shares fewer films with train than a random
    sample. It still shares some: its accuracy is not comparable with the official test.

    Raises:
        DataError: if a class has fewer than ten reviews to split.
    """
    first_rows: dict[str, int] = {}
    for row, text in enumerate(source.train.texts):
        first_rows.setdefault(text, row)
    unique = sorted(first_rows.values())
    by_class: list[list[int]] = [[] for _ in source.labels]
    for row in unique:
        by_class[source.train.labels[row]].append(row)
    smallest = min(len(rows) for rows in by_class)
    if smallest < 10:
        rarest = source.labels[min(range(len(by_class)), key=lambda label: len(by_class[label]))]
        which = "a class" if len(source.labels) == 2 else f"class {rarest!r}"
        raise DataError(f"data {source.name!r} has {smallest} different train reviews of {which}; at least 10 are needed")
    test_size = 0 if source.test else min(TEST_A_CLASS, smallest * 2 // 5)
    most = LARGE_VALIDATION_A_CLASS if len(unique) > LARGE_TRAIN else VALIDATION_A_CLASS
    validation_size = 0 if source.validation else min(most, max(1, (smallest - test_size) // 10))
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for rows in by_class:
        held_out = len(rows) - test_size
        parts["test"] += rows[held_out:]
        parts["validation"] += rows[held_out - validation_size : held_out]
        parts["train"] += rows[: held_out - validation_size]
    train = _take(source.train, sorted(parts["train"]))
    test = source.test if source.test is not None else _take(source.train, parts["test"])
    # Held-out texts count as train texts here: they come from the same split of the source.
    known = set() if source.test is None else set(source.train.texts)
    return Splits(
        name=f"{source.name}-v{SPLIT_VERSION}",
        train=train,
        validation=source.validation or _take(source.train, parts["validation"]),
        test=test,
        duplicates_removed=len(source.train) - len(unique),
        leaked=np.array([i for i, text in enumerate(test.texts) if text in known], dtype=np.int64),
    )


def splits_of(request: DataRequest, sha256: str) -> Splits:
    """Read and split texts again, for a process that has no cache of their tokens.

    Raises:
        DataError: if they cannot be read, or their hash is another one.
    """
    source = read(request)
    if source.sha256 != sha256:
        raise DataError("the texts changed after the run was requested; request it again")
    return split(source)


@dataclass(frozen=True)
class Task:
    """Tokenized splits, with the special tokens of an encoder."""

    train: Split
    validation: Split
    test: Split
    leaked: Ints
    prefix: Ints
    suffix: Ints
    pad_id: int

    def lengths(self, split: Split, max_length: int) -> Ints:
        """Return the tokens of each text after truncation, special tokens included."""
        special = len(self.prefix) + len(self.suffix)
        truncated: Ints = np.minimum(np.diff(split.starts), max_length - special) + special
        return truncated

    def sample(self, limit: int | None, seed: int) -> Task:
        """Return the task with a sample of `limit` train texts; itself without a limit."""
        return self if limit is None else replace(self, train=self.train.take(sample(len(self.train), limit, seed)))

    def encode(self, split: Split, row: int, max_length: int, truncation: Truncation) -> Ints:
        """Return the ids of one text, truncated to `max_length` and framed by the special tokens."""
        ids = split.ids[split.starts[row] : split.starts[row + 1]]
        room = max_length - len(self.prefix) - len(self.suffix)
        if len(ids) > room:
            # A quarter of the head and three quarters of the tail (Sun et al. 2019): reviews conclude at their end.
            head = {"head": room, "tail": 0, "head+tail": room // 4}[truncation]
            ids = np.concatenate([ids[:head], ids[len(ids) - (room - head) :]])
        return np.concatenate([self.prefix, ids, self.suffix], dtype=np.int64)


def sample(texts: int, limit: int | None, seed: int) -> Ints:
    """Return positions of the texts to train on, ascending: all, or the first `limit` of an order that the seed gives.

    Samples of one seed are nested.
    """
    if limit is None or limit >= texts:
        return np.arange(texts)
    order = np.random.default_rng([seed, _SAMPLE]).permutation(texts)
    return np.sort(order[:limit])


_SPLITS, _PARTS = ("train", "validation", "test"), ("ids", "starts", "labels")
Progress = Callable[[int, int], None]
"""Called with (done, total)."""
Arrays = dict[str, npt.NDArray[Any]]


def prepare(
    pretrained: PretrainedModel, data_sha256: str, make_splits: Callable[[], Splits], progress: Progress | None = None
) -> Task:
    """Return the task for an encoder's tokenizer: from the cache, or split and tokenized now and cached.

    Raises:
        ModelError: if the tokenizer cannot be used.
    """
    key = sha256_bytes(f"{SPLIT_VERSION} {data_sha256} {pretrained.tokenizer_sha256}".encode())
    arrays = _cached(
        f"tasks/{key}.npz",
        ("leaked", "prefix", "suffix", *(f"{name}_{part}" for name in _SPLITS for part in _PARTS)),
        lambda: _tokenize(pretrained.folder / "tokenizer.json", make_splits(), progress or (lambda done, total: None)),
    )
    train, validation, test = (Split(*(arrays[f"{name}_{part}"] for part in _PARTS)) for name in _SPLITS)
    leaked, prefix, suffix = (arrays[name] for name in ("leaked", "prefix", "suffix"))
    return Task(train, validation, test, leaked, prefix, suffix, int(pretrained.config["pad_token_id"]))


def _cached(place: str, names: Collection[str], make: Callable[[], Arrays]) -> Arrays:
    """Load the arrays called `names` from the file `place` of the cache; where it is absent or damaged, make and write it."""

    def load(file: IO[bytes]) -> Arrays:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}

    return cached(place, load, make, lambda file, arrays: np.savez(file, allow_pickle=False, **arrays))


def _tokenize(tokenizer_json: Path, splits: Splits, progress: Progress) -> Arrays:
    tokenizer = open_tokenizer(tokenizer_json)
    prefix, suffix = special_tokens(tokenizer)
    arrays: Arrays = {"leaked": splits.leaked, "prefix": prefix, "suffix": suffix}
    total, done = sum(len(part) for part in (splits.train, splits.validation, splits.test)), 0

    def on_chunk(reviews: int) -> None:
        nonlocal done
        done += reviews
        progress(done, total)

    for name in _SPLITS:
        tokens = tokenize(tokenizer, getattr(splits, name), on_chunk)
        arrays |= {f"{name}_{part}": value for part, value in vars(tokens).items()}
    return arrays


def sentences(pretrained: PretrainedModel) -> Split:
    """Return all 8,530 Rotten Tomatoes sentences (Pang and Lee, ACL 2005), tokenized; from the cache if they are there.

    They are the out-of-domain test: other films, another style, a tenth of the length of the embedded reviews. Nothing is
    trained on them or chosen by them.

    Raises:
        BenchError: if the package of the embedded reviews is not installed, or the tokenizer cannot be used.
    """
    key = sha256_bytes(f"{SENTENCES_VERSION} rotten-tomatoes {pretrained.tokenizer_sha256}".encode())

    def make() -> Arrays:
        return vars(tokenize(open_tokenizer(pretrained.folder / "tokenizer.json"), read_sentences()))

    return Split(**_cached(f"sentences/{key}.npz", _PARTS, make))
