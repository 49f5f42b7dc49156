"""Training with the loop of this suite, as a run does it, or with one lever moved."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import methods
from bench.checkpoint import Checkpoint
from bench.encoder import Classifier, load_classifier
from bench.meters import DeviceClock, MemoryMeter
from bench.spec import Budget, RunSpec
from bench.task import Task
from bench.tokens import Ints, Split
from bench.training import Loop
from tests.benchmarks.peers.recipes import OURS, Recipe
from tests.benchmarks.peers.trainers import LEARNING_RATE

__all__ = ["SuitePeer", "part"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt(3)."""


def part(split: Split, rows: list[int]) -> Split:
    """Some reviews of a split, in the given order."""
    pieces = [split.ids[split.starts[row] : split.starts[row + 1]] for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return Split(np.concatenate(pieces), starts, split.labels[rows])


@dataclass
class _Levers(Loop):
    """The loop with its batches made differently."""

    recipe: Recipe = OURS

    def _rows(self) -> Iterator[Ints]:
        if self.recipe.batches == "length buckets":
            yield from super()._rows()
        epoch = 0
        while True:
            order = np.random.default_rng([self.spec.seed, epoch]).permutation(len(self.lengths))
            yield from np.array_split(order, len(order) // self.spec.batch_size)
            epoch += 1

    def _step(self, rows: Ints, ids: Tensor, mask: Tensor, labels: Tensor) -> float:
        if self.recipe.like_lengths:  # the loop takes pieces in the order of the rows
            order = np.argsort(self.lengths[rows], kind="stable")
            rows, ids, mask, labels = rows[order], ids[order], mask[order], labels[order]
        return super()._step(rows, ids, mask, labels)

    def _pieces(self, reviews: int, longest: int) -> list[slice]:
        if self.recipe.whole:
            return [slice(0, reviews)]
        if self.recipe.like_lengths:
            size = math.ceil(reviews / self.recipe.like_lengths)
            return [slice(start, start + size) for start in range(0, reviews, size)]
        return super()._pieces(reviews, longest)


class SuitePeer:
    """Trains chunk after chunk of reviews with the suite's loop, each as a run of its own on the same classifier."""

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        checkpoint: Checkpoint,
        task: Task,
        length: int,
        batch: int,
        memory: MemoryMeter,
        *,
        seed: int = 0,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        if recipe.keeps_memory:
            libc = ctypes.CDLL(None)
            for parameter, value in ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**26)):
                libc.mallopt(parameter, value)
        self.recipe, self.task, self.memory = recipe, task, memory
        self.method = methods.get(name)
        device: Any = "cuda" if torch.cuda.is_available() else "cpu"
        self.spec = RunSpec(
            method=name, hyperparameters={**self.method.hyperparameters(), "learning_rate": learning_rate}, encoder="minilm",
            data="embedded", budget=Budget(amount=1, unit="epochs"), seed=seed, max_length=length, truncation="head",
            batch_size=batch, dropout=recipe.dropout, attention_dropout=recipe.attention_dropout,
            precision="bf16" if device == "cuda" else "fp32", device=device, threads=torch.get_num_threads(),
        )  # fmt: skip
        self.classifier: Classifier = load_classifier(
            checkpoint, seed=seed, dropout=recipe.dropout, attention_dropout=recipe.attention_dropout
        )
        torch.manual_seed(seed)
        self.classifier.encoder = self.method.attach(self.classifier.encoder)
        self.classifier.head.requires_grad_(True)
        self.classifier.to(device)

    def loop(self, rows: list[int], epochs: int = 1) -> Loop:
        """A loop over these reviews. Validation is two reviews: nobody else's training validates."""
        train = part(self.task.train, rows)
        validation = part(self.task.validation, [0, len(self.task.validation) - 1])
        task = Task(
            train, validation, validation, np.array([], dtype=np.int64), self.task.prefix, self.task.suffix, self.task.pad_id
        )
        spec = self.spec.model_copy(update={"budget": Budget(amount=epochs, unit="epochs")})
        clock = DeviceClock(self.spec.device)
        loop = _Levers(
            self.classifier, task, spec, self.method.encodes_once, clock, self.memory,
            recipe=self.recipe,
        )  # fmt: skip
        if not self.recipe.fused:
            loop.optimizer = torch.optim.AdamW(loop.trained, lr=0.0, weight_decay=0.0, fused=False, foreach=False)
        return loop

    def turn(self, rows: list[int], epochs: int) -> float:
        """Train on these reviews; returns the seconds that it took."""
        self.classifier.train()
        loop = self.loop(rows, epochs)
        loop.rehearse()  # as every run does, untimed; the largest blocks of memory are then taken first
        loop.run()
        return loop.clock.seconds
