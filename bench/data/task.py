"""From reviews to token ids: deduplicated, split, tokenised once and cached.

Reviews are stored whole, so that one cache serves every maximum length and truncation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.data.sources import Reviews, Source
from bench.data.tokenization import Ints, Split, open_tokenizer, special_tokens, tokenised
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Truncation
from bench.rules import LARGE_TRAIN, LARGE_VALIDATION_A_CLASS, TEST_A_CLASS, VALIDATION_A_CLASS
from bench.system.cache import Arrays, cached_arrays
from bench.system.errors import DataError, ModelError
from bench.system.files import sha256_bytes

__all__ = ["Cut", "Ints", "Split", "Task", "cut", "prepare", "sampled"]

CUT_VERSION = 2
"""Version 1 held 250 a class out for validation, of however many reviews there were."""
_SAMPLE = 2**32
"""Sets the generator that samples reviews apart from those of the epochs, which are numbered from 0."""


@dataclass(frozen=True)
class Cut:
    """Which reviews train, validate and test. A source without a test split of its own has one cut from its train reviews."""

    name: str
    train: Reviews
    validation: Reviews
    test: Reviews
    duplicates_removed: int
    """Train rows dropped because their very text came before."""
    leaked: Ints
    """Test reviews whose very text is also in train, as positions in `test`."""


def _take(reviews: Reviews, rows: list[int]) -> Reviews:
    return Reviews([reviews.texts[i] for i in rows], [reviews.labels[i] for i in rows])


def cut(source: Source) -> Cut:
    """Split a source, the same for all seeds.

    Duplicate train texts go first. Validation is the source's own, or the last 250 reviews a class, of more than 10,000 the
    last 1,000; a source without a test split loses the last 1,000 a class to the test before that (less of each where a source
    is small: a tenth, and two fifths).
    Reviews of a film stand together within a class, so a block at the end shares fewer films with train than a random
    sample would; it still shares some, which is why a number on it is not one on the official test.

    Raises:
        DataError: if a class has fewer than ten reviews to split.
    """
    seen: dict[str, int] = {}
    for row, text in enumerate(source.train.texts):
        seen.setdefault(text, row)
    unique = sorted(seen.values())
    by_class = [[row for row in unique if source.train.labels[row] == label] for label in (0, 1)]
    smallest = min(len(rows) for rows in by_class)
    if smallest < 10:
        raise DataError(f"data {source.name!r} has {smallest} different train reviews of a class; at least 10 are needed")
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
    # Leaks are looked for in every review of the source's train split, held out or not.
    known = set() if source.test is None else set(source.train.texts)
    return Cut(
        name=f"{source.name}-v{CUT_VERSION}",
        train=train,
        validation=source.validation or _take(source.train, parts["validation"]),
        test=test,
        duplicates_removed=len(source.train) - len(unique),
        leaked=np.array([i for i, text in enumerate(test.texts) if text in known], dtype=np.int64),
    )


@dataclass(frozen=True)
class Task:
    """What a run trains and is tested on, with the special tokens of its encoder."""

    train: Split
    validation: Split
    test: Split
    leaked: Ints
    prefix: Ints
    suffix: Ints
    pad_id: int

    def lengths(self, split: Split, max_length: int) -> Ints:
        """Tokens of each review after truncation, special tokens included."""
        special = len(self.prefix) + len(self.suffix)
        kept: Ints = np.minimum(np.diff(split.starts), max_length - special) + special
        return kept

    def sampled(self, limit: int | None, seed: int) -> Task:
        """The task with the reviews that a limit leaves to train on."""
        return self if limit is None else replace(self, train=self.train.take(sampled(len(self.train), limit, seed)))

    def encode(self, split: Split, row: int, max_length: int, truncation: Truncation) -> Ints:
        """Ids of one review, cut to `max_length` and framed by the special tokens."""
        ids = split.ids[split.starts[row] : split.starts[row + 1]]
        room = max_length - len(self.prefix) - len(self.suffix)
        if len(ids) > room:
            # A quarter of the head and three quarters of the tail: where reviews say what they think.
            head = {"head": room, "tail": 0, "head+tail": room // 4}[truncation]
            ids = np.concatenate([ids[:head], ids[len(ids) - (room - head) :]])
        return np.concatenate([self.prefix, ids, self.suffix], dtype=np.int64)


def sampled(reviews: int, limit: int | None, seed: int) -> Ints:
    """Positions of the reviews to train on, ascending: all, or `limit` of them. Samples of one seed are nested: the first of
    its order, which comes from a generator of its own.
    """
    if limit is None or limit >= reviews:
        return np.arange(reviews)
    order = np.random.default_rng([seed, _SAMPLE]).permutation(reviews)
    return np.sort(order[:limit])


_SPLITS = ("train", "validation", "test")
Progress = Callable[[int, int], None]
"""Called with (done, all) while something long goes on."""


def prepare(
    pretrained: PretrainedModel, data_sha256: str, make_cut: Callable[[], Cut], progress: Progress | None = None
) -> Task:
    """The task for an encoder's tokenizer: from the cache, or cut and tokenised now and put there.

    Raises:
        ModelError: if the tokenizer cannot be used.
    """
    key = sha256_bytes(f"{CUT_VERSION} {data_sha256} {pretrained.tokenizer_sha256}".encode())
    arrays = cached_arrays(
        f"tasks/{key}.npz",
        ("leaked", "prefix", "suffix", *(f"{split}_{part}" for split in _SPLITS for part in ("ids", "starts", "labels"))),
        lambda: _tokenised(pretrained.folder / "tokenizer.json", make_cut(), progress or (lambda done, total: None)),
    )
    return _checked(_from_arrays(arrays, int(pretrained.config["pad_token_id"])), pretrained)


def _checked(task: Task, pretrained: PretrainedModel) -> Task:
    """The task, unless the tokenizer is another encoder's, with ids that this one has no vectors for."""
    parts = (task.train.ids, task.validation.ids, task.test.ids, task.prefix, task.suffix)
    highest = max(int(part.max(initial=0)) for part in parts)
    if highest >= pretrained.config["vocab_size"]:
        raise ModelError(
            f"encoder {pretrained.name!r}: its tokenizer.json gives ids up to {highest:,}, but its vocabulary has "
            f"{pretrained.config['vocab_size']:,} entries; give the tokenizer of this encoder"
        )
    return task


def _from_arrays(arrays: Arrays, pad_id: int) -> Task:
    def split(name: str) -> Split:
        return Split(arrays[f"{name}_ids"], arrays[f"{name}_starts"], arrays[f"{name}_labels"])

    return Task(
        split("train"), split("validation"), split("test"), arrays["leaked"], arrays["prefix"], arrays["suffix"], pad_id
    )


def _tokenised(tokenizer_json: Path, made: Cut, progress: Progress) -> Arrays:
    tokenizer = open_tokenizer(tokenizer_json)
    prefix, suffix = special_tokens(tokenizer)
    arrays: Arrays = {"leaked": made.leaked, "prefix": prefix, "suffix": suffix}
    total, done = sum(len(part) for part in (made.train, made.validation, made.test)), 0

    def on_chunk(reviews: int) -> None:
        nonlocal done
        done += reviews
        progress(done, total)

    for name in _SPLITS:
        split = tokenised(tokenizer, getattr(made, name), on_chunk)
        arrays |= {f"{name}_ids": split.ids, f"{name}_starts": split.starts, f"{name}_labels": split.labels}
    return arrays
