"""Batches hold every review once, in an order that is the seed's alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.data.batches import POOL, collate, epoch_batches, in_length_order, round_up, stream
from bench.data.task import Task

lengths = st.lists(st.integers(3, 512), min_size=1, max_size=300).map(np.array)


@given(lengths, st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_every_review_once_and_batches_full(lengths: np.ndarray, size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(lengths, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert sum(len(batch) != size for batch in batches) <= 1


@given(lengths, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_evaluation_sees_every_review_once_longest_first(lengths: np.ndarray, size: int, seed: int) -> None:
    batches = list(in_length_order(lengths, size))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    seen = lengths[np.concatenate(batches)]
    assert (np.diff(seen) <= 0).all()


def test_the_order_is_the_seeds_and_the_epochs() -> None:
    lengths = np.random.default_rng(0).integers(10, 400, 1000)

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(epoch_batches(lengths, 16, seed, epoch)).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_buckets_save_padding() -> None:
    lengths = np.random.default_rng(0).integers(10, 513, 16 * POOL * 3)

    def padded(batches: list[np.ndarray]) -> int:
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    shuffled = np.random.default_rng(1).permutation(len(lengths)).reshape(-1, 16)
    bucketed = padded(epoch_batches(lengths, 16, 0, 0))
    assert bucketed < 1.05 * lengths.sum() < padded(list(shuffled))


def test_the_stream_goes_on_with_another_order() -> None:
    lengths = np.arange(10, 30)
    rows = stream(lengths, 5, seed=0)
    first, second = ([next(rows) for _ in range(4)] for _ in range(2))
    assert sorted(np.concatenate(first).tolist()) == sorted(np.concatenate(second).tolist()) == list(range(20))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_collate_pads_with_the_encoders_own_id(small_task: Task) -> None:
    lengths = small_task.lengths(small_task.train, 48)
    rows = np.argsort(lengths)[[0, -1]]
    ids, mask, labels = collate(small_task, small_task.train, rows, 48, "head+tail")
    assert ids.shape == mask.shape == (2, lengths[rows].max())
    assert mask.sum(1).tolist() == lengths[rows].tolist()
    assert (ids[mask == 0] == small_task.pad_id).all()
    assert (ids[:, 0] == int(small_task.prefix[0])).all()
    assert labels.tolist() == small_task.train.labels[rows].tolist()


def test_widths_are_few_and_never_above_the_maximum(small_task: Task) -> None:
    assert [round_up(longest, 32, 80) for longest in (1, 32, 33, 64, 65, 80)] == [32, 32, 64, 64, 80, 80]
    lengths = small_task.lengths(small_task.train, 10_000)
    rows = np.argsort(lengths)[:2]
    most = int(lengths[rows].max()) + 5
    narrow, _, _ = collate(small_task, small_task.train, rows, most, "head+tail")
    wide, mask, _ = collate(small_task, small_task.train, rows, most, "head+tail", multiple=most)
    assert wide.shape[1] == most == narrow.shape[1] + 5
    assert mask.sum(1).tolist() == lengths[rows].tolist()
    assert (wide[:, :-5] == narrow).all()
    assert (wide[:, -5:] == small_task.pad_id).all()
