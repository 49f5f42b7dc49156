"""The training loop, one for all methods.

A step: rows → tensors → logits → loss → gradients → clip → AdamW, at a learning rate that follows from the share of the
budget spent. The methods differ only in the attached modules; the one exception is a method that leaves the encoder
untouched: its budget buys encoding, and the head is trained in passes over the cached features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import epoch_batches, first_balanced, stream
from bench.data.task import Ints
from bench.inference.predict import predict
from bench.models.classifier import frozen_sha256
from bench.records.metrics import confusion
from bench.records.schema import Training
from bench.rules import MARKS, PASSES, VALIDATION_AT_MARKS
from bench.system.meters import MemoryMeter
from bench.training.budget import Ledger, schedule
from bench.training.checkpoint import Unusable
from bench.training.graphs import Work
from bench.training.late_losses import Diverged
from bench.training.steps import Steps
from bench.training.warm_up import audit_gradients, shapes

__all__ = ["MemoryCapReached", "Trainer"]


class MemoryCapReached(RuntimeError):
    """Training exceeded the memory cap of its spec."""


@dataclass
class Trainer(Steps):
    """Trains a classifier until its budget is spent: `warm_up`, then `run`. Use one for each run, once."""

    memory: MemoryMeter
    on_step: Callable[[Ledger], None] = lambda ledger: None
    frozen_before: str = field(default="", init=False)
    """Hash of the frozen weights before training."""
    between_steps: bool = field(default=True, init=False)
    """Whether weights, optimizer and ledger are of one and the same step."""

    def warm_up(self) -> None:
        """Pay once-only costs and audit gradients by an untimed step on dummy texts of full length, at learning rate 0.

        Weights, counts, optimizer and generators are then as before.

        Raises:
            AuditError: if other parameters have a gradient than those that should train.
        """
        spec = self.spec
        self.frozen_before = frozen_sha256(self.classifier)
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self.device == "cuda" else []):
            expected = [*shapes(self.device, len(self.task.train), spec.batch_size, spec.max_length, self.multiple)]
            for shape in expected:
                self._dummy_pass(*shape)
            audit_gradients(self.classifier)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.graphs is not None:
                works: dict[Hashable, Work] = {}
                for shape in sorted(expected, reverse=True):  # the largest first: in its memory the smaller find room
                    works |= self._works(*shape)
                self.graphs.record(works)
        self._forget_moments()

    def run(self) -> None:
        """Train from the ledger's step to the end of the budget. Validation at its marks is neither charged nor counted in the
        peak of memory.

        Raises:
            Diverged, MemoryCapReached: the ledger then has all steps before.
        """
        self.clock.start()
        try:
            if self.encodes_once:
                self._encode()
            self._validate_at_mark()  # where a run that resumes was stopped
            batches = self._rows()
            while not self.ledger.done:
                self._train_on(next(batches))
                self._validate_at_mark()
                self.on_step(self.ledger)
            self.late.settle()
        finally:
            self.clock.stop()

    def train_steps(self, batches: Sequence[Ints]) -> int:
        """Train on these batches of rows at the peak rate, outside of budget and schedule. A method that encodes once encodes
        them first and then makes `PASSES` passes over their features.

        Returns the number of encoded tokens.

        Raises:
            Diverged, MemoryCapReached: as in a run.
        """
        self._set_rate(self.peak_rate)
        if self.encodes_once:
            for rows in batches:
                self._keep_features(rows)
        losses = self.ledger.losses
        for _ in range(PASSES if self.encodes_once else 1):
            for rows in batches:
                losses.append(self._optimize(rows))
        self.late.settle()
        if not all(math.isfinite(loss) for loss in losses):
            raise Diverged("the loss became no number")
        losses.clear()
        self._check_memory()
        return int(sum(self.lengths[rows].sum() for rows in batches))

    def _train_on(self, rows: Ints) -> None:
        self._set_rate(self.peak_rate * schedule(self.ledger.fraction))
        self.between_steps = False
        loss = self._optimize(rows)
        if not self.encodes_once:
            self._charge(rows)
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} at step {self.ledger.steps + 1}")
        self.ledger.count_step(len(rows), loss)
        self.between_steps = True
        self._check_memory()

    def _encode(self) -> None:
        """Keep the features of the texts that the budget buys, one epoch at most. Then the passes have a length."""
        spec, ledger = self.spec, self.ledger
        if not ledger.encoding:  # a run that resumes in its passes
            return
        for rows in epoch_batches(self.lengths, spec.batch_size, spec.seed, 0)[ledger.batches :]:
            if ledger.spent >= spec.budget.amount:
                break
            self.between_steps = False
            self._keep_features(rows)
            self._charge(rows)
            self.between_steps = True
            self._check_memory()
            self.on_step(ledger)
        ledger.pass_steps = PASSES * math.ceil(int(self.known.sum()) / spec.batch_size)

    def _charge(self, rows: Ints) -> None:
        self.ledger.charge(len(rows), int(self.lengths[rows].sum()))

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _validate_at_mark(self) -> None:
        if not self.ledger.mark_reached:
            return
        self.late.settle()
        with self.clock.paused(), self.memory.paused():
            accuracy = self._validation_accuracy()
            self.between_steps = False
        self.ledger.add_point(accuracy)
        self.between_steps = True

    def _validation_accuracy(self) -> float:
        """Return the validation accuracy: on all texts at the end of a tuning trial, else on a part."""
        validation = self.task.validation
        whole = self.spec.purpose == "trial" and self.ledger.done
        limit = self.spec.test_limit
        part = VALIDATION_AT_MARKS if limit is None else min(VALIDATION_AT_MARKS, math.ceil(limit / len(MARKS)))
        rows = first_balanced(validation.labels, len(validation) if whole else part)
        logits = predict(self.classifier, self.task, validation, self.spec, rows)
        if not np.isfinite(logits).all():  # the last step broke the weights, and no loss will tell
            raise Diverged(f"the logits on validation became no numbers at step {self.ledger.steps}")
        return confusion(validation.labels[rows], logits.argmax(1), self.spec.classes).accuracy

    def _check_memory(self) -> None:
        cap = self.spec.memory_cap
        if cap is not None and (used := self.memory.above_baseline()) > cap:
            raise MemoryCapReached(
                f"training took {used / 2**20:,.0f} MiB at step {self.ledger.steps}; the cap is {cap / 2**20:,.0f} MiB"
            )

    def _rows(self) -> Iterator[Ints]:
        """Yield batches of rows from the ledger's step on, in the seed's order, pass after pass; for a method that encodes
        once, of the cached features.
        """
        spec = self.spec
        if not self.encodes_once:
            yield from stream(self.lengths, spec.batch_size, spec.seed, skip=self.ledger.steps)
        cached_rows = np.flatnonzero(self.known)
        for rows in stream(self.lengths[cached_rows], spec.batch_size, spec.seed, first_epoch=1, skip=self.ledger.steps):
            yield cached_rows[rows]

    def summary(self) -> Training:
        """Return the counts of training, also after an error."""
        with suppress(Diverged):  # raised before, or overtaken by another end
            self.late.settle()
        return self.ledger.summary(self.frozen_before, frozen_sha256(self.classifier))

    def state_dict(self) -> dict[str, Any]:
        """Return all that training depends on: numbers under the names of a checkpoint's `Meta`, and the "tensors".

        The order of texts needs no more than the number of steps, since it follows from the seed.
        """
        self.late.settle()
        clock = self.clock.state_dict()
        del clock["seconds"]  # as the ledger read them at the end of the last step
        return {
            "frozen_sha256": self.frozen_before, "counts": self.ledger.state_dict(), **clock, **self.memory.state_dict(),
            "tensors": self.tensors(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, bit for bit, after `warm_up`.

        Raises:
            Unusable: if it is of other weights; nothing is then changed.
        """
        if state["frozen_sha256"] != self.frozen_before:
            raise Unusable("it is of an encoder with other weights")
        counts, tensors = state["counts"], state["tensors"]
        self.load_tensors(tensors)
        rows = {"losses": tensors["losses"].tolist(), "distinct": set(tensors["distinct"].tolist())}
        self.ledger.load_state_dict({**counts, **rows})
        self.clock.load_state_dict({**state, "seconds": counts["seconds"]})
        self.memory.load_state_dict(state)
