"""Batches: their texts, order and tensors.

The order has its own generator, so that it is the same for every method with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.data.task import Ints, Split, Task
from bench.records.spec import Truncation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MULTIPLE",
    "Batch",
    "collate",
    "epoch_batches",
    "first_balanced",
    "in_length_order",
    "round_up",
    "stream",
    "to_device",
]

POOL = 50
"""Batches sorted by length together. Larger pools save little more padding and make batches less random."""

MULTIPLE = 32
"""Tokens of which the width of a training batch is a multiple. With few shapes, memory that one batch frees fits the next; with
any width, the peak grows with the number of texts. `make growth` and `make ablations` measure it."""


class Batch(NamedTuple):
    """The tensors of some texts."""

    ids: Tensor
    """[texts, width]."""
    mask: Tensor
    """[texts, width]; 1 for tokens, 0 for padding."""
    labels: Tensor
    """[texts]."""
    padded: bool
    """Whether the mask hides anything."""


def epoch_batches(lengths: Ints, batch_size: int, seed: int, epoch: int) -> list[Ints]:
    """Return one pass over all texts in length-bucketed batches, each an array of rows.

    Texts are shuffled, sorted by length within pools of `POOL` batches, split into batches, and the batches shuffled.
    Every row comes once; only the last batch of the last pool can be smaller than `batch_size`.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    batches: list[Ints] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        chunks = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        batches += [chunks[i] for i in generator.permutation(len(chunks))]
    return batches


def stream(lengths: Ints, batch_size: int, seed: int, first_epoch: int = 0, skip: int = 0) -> Iterator[Ints]:
    """Yield batches without end: pass after pass, each in an order of its own, from the batch numbered `skip` on."""
    passes, skip = divmod(skip, math.ceil(len(lengths) / batch_size))
    epoch = first_epoch + passes
    while True:
        yield from epoch_batches(lengths, batch_size, seed, epoch)[skip:]
        epoch, skip = epoch + 1, 0


def first_balanced(labels: Ints, count: int) -> Ints:
    """Return positions of the first `count` of labels [n], ascending, the classes balanced; all of them if n is no more."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rank[rows] = np.arange(len(rows))
    return np.sort(np.argsort(rank, kind="stable")[:count])


def in_length_order(lengths: Ints, batch_size: int) -> Iterator[Ints]:
    """Yield all rows in batches of like length, the longest first: for evaluation, where order means nothing."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def round_up(longest: int, multiple: int, most: int) -> int:
    """Round up to a multiple, at most to `most`."""
    return min(math.ceil(longest / multiple) * multiple, most)


def collate(
    task: Task, split: Split, rows: Ints, max_length: int, truncation: Truncation, multiple: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Make the tensors of a batch: ids and mask [batch, its longest text rounded up to a multiple], labels [batch]."""
    import torch

    encoded = [task.encode(split, int(row), max_length, truncation) for row in rows]
    width = round_up(max(len(ids) for ids in encoded), multiple, max_length)
    ids = np.full((len(rows), width), task.pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(encoded):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(split.labels[rows])


def to_device(tensor: Tensor, device: str) -> Tensor:
    """Move a tensor to a device; to CUDA from pinned memory, so that the copy does not wait for running kernels."""
    return tensor.pin_memory().to(device, non_blocking=True) if device == "cuda" else tensor
