"""Training with the loop of this suite, as a run does it, or with one ablation moved."""

from __future__ import annotations

import gc
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

import methods
from bench.data.task import Task
from bench.data.tokenization import Ints
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Budget, RunSpec
from bench.system.meters import DeviceClock, MemoryMeter
from bench.training.budget import Ledger
from bench.training.trainer import Trainer
from tests.measurements.peers.common import LEARNING_RATE, device, untested
from tests.measurements.peers.products import Product, Recorder
from tests.measurements.peers.recipes import OURS, Recipe

__all__ = ["SuitePeer"]


@dataclass
class _Ablations(Trainer):
    """The loop with its batches made differently."""

    recipe: Recipe = OURS
    given: Sequence[Ints] = ()
    """Batches to train on in this order, again and again; where there are none, the suite makes its own."""

    def _rows(self) -> Iterator[Ints]:
        yield from itertools.cycle(self.given) if self.given else super()._rows()

    def _validate_at_mark(self) -> None:
        """Nobody else's training validates."""

    def _step(self, rows: Ints) -> float:
        if self.recipe.like_lengths:  # the loop takes pieces in the order of the rows
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
        return super()._step(rows)

    def _micro_batches(self, reviews: int, longest: int) -> list[slice]:
        if self.recipe.whole:
            return [slice(0, reviews)]
        if self.recipe.like_lengths:
            size = math.ceil(reviews / self.recipe.like_lengths)
            return [slice(start, start + size) for start in range(0, reviews, size)]
        return super()._micro_batches(reviews, longest)


class SuitePeer:
    """Trains with the suite's loop, turn after turn, each as a run of its own on the same classifier."""

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        pretrained: PretrainedModel,
        task: Task,
        length: int,
        batch: int,
        memory: MemoryMeter,
        *,
        seed: int = 0,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        self.recipe, self.task, self.memory = recipe, task, memory
        self.method = methods.get(name)
        where = device()
        self.spec = RunSpec(
            method=name, hyperparameters={**self.method.hyperparameters(), "learning_rate": learning_rate}, encoder="minilm",
            data="embedded", budget=Budget(amount=1, unit="epochs"), seed=seed, max_length=length, truncation="head",
            batch_size=batch, dropout=recipe.dropout, attention_dropout=recipe.attention_dropout,
            precision=recipe.arithmetic(where), device=where, threads=torch.get_num_threads(),
            kernels=recipe.kernels,
        )  # fmt: skip
        self.classifier: Classifier = load_classifier(
            pretrained, seed=seed, dropout=recipe.dropout, attention_dropout=recipe.attention_dropout
        )
        torch.manual_seed(seed)
        self.classifier.encoder = self.method.attach(self.classifier.encoder)
        self.classifier.head.requires_grad_(True)
        self.classifier.to(where)
        if recipe.torch_attention:
            self.classifier.attention = nullcontext

    def trainer(self, batches: Sequence[Ints], epochs: int = 1, on_step: Callable[[Ledger], None] = lambda _: None) -> Trainer:
        """A loop over the reviews of these batches, batch after batch, that many times."""
        rows = np.concatenate(batches)
        starts = np.cumsum([0, *(len(batch) for batch in batches)])
        given = [np.arange(start, end) for start, end in itertools.pairwise(starts)]
        return self._loop(rows.tolist(), epochs, given, on_step)

    def _loop(self, rows: list[int], epochs: int, given: Sequence[Ints], on_step: Callable[[Ledger], None]) -> Trainer:
        task = untested(self.task, rows)
        spec = self.spec.model_copy(update={"budget": Budget(amount=epochs, unit="epochs")})
        trainer = _Ablations(
            self.classifier, task, spec, self.method.encodes_once, DeviceClock(self.spec.device), self.memory, on_step,
            multiple=self.recipe.multiple, recipe=self.recipe, given=given,
        )  # fmt: skip
        if not self.recipe.fused:
            trainer.optimizer = torch.optim.AdamW(trainer.trained, lr=0.0, weight_decay=0.0, fused=False, foreach=False)
        return trainer

    def turn(self, batches: Sequence[Ints], epochs: int, after_first: Callable[[], None] = lambda: None) -> float:
        """Train on these batches in this order; returns the seconds that all but the first step took."""
        gc.collect()
        first = math.inf

        def look(ledger: Ledger) -> None:
            nonlocal first
            if first == math.inf:
                if trainer.device == "cuda":
                    torch.cuda.synchronize()
                after_first()
                first = trainer.clock.seconds

        self.classifier.train()
        trainer = self.trainer(batches, epochs, look)
        if self.recipe.kernels == "graphs":
            trainer.warm_up()
        trainer.run()
        return trainer.clock.seconds - first

    def products(self, batches: Sequence[Ints], epochs: int) -> Counter[Product]:
        """Count the matrix products of the steps that a turn times."""
        with Recorder() as recorder:
            self.turn(batches, epochs, recorder.products.clear)
        return recorder.products

    def train(self, rows: list[int], epochs: int) -> None:
        """Train on these reviews in batches and an order of the suite's own making."""
        self.classifier.train()
        self._loop(rows, epochs, (), lambda _: None).run()
